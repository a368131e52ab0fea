//! A channel that holds one message, the latest: for what replaces whatever was said before.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// The end that puts messages in. When it is dropped, the receiver is disconnected.
#[derive(Debug)]
pub struct Latest<T> {
    sender: Sender<T>,
    /// The same channel: what is in it is taken back for what is newer.
    unseen: Receiver<T>,
}

impl<T> Latest<T> {
    /// A channel, and the end from which the latest message is received.
    pub fn new() -> (Latest<T>, Receiver<T>) {
        let (sender, receiver) = bounded(1);
        (Latest { sender, unseen: receiver.clone() }, receiver)
    }

    /// Replaces what has not been received yet. Never waits.
    pub fn put(&self, message: T) {
        let mut message = message;
        while let Err(TrySendError::Full(latest)) = self.sender.try_send(message) {
            // Nobody else sends, so that there is room then.
            drop(self.unseen.try_recv());
            message = latest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_message_is_received_and_the_end_is_heard_of() {
        let (latest, receiver) = Latest::new();
        (0..10).for_each(|it| latest.put(it));
        assert_eq!(receiver.recv(), Ok(9));
        assert!(receiver.is_empty());
        drop(latest);
        assert!(receiver.recv().is_err());
    }
}
