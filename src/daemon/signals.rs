//! The thread `signal`: SIGTERM and SIGINT become events, SIGHUP asks for the configuration to be
//! read again.

use std::io;

use crossbeam_channel::Sender;
use signal_hook::{
    consts::signal::{SIGHUP, SIGINT, SIGTERM},
    iterator::{Handle, Signals as SignalIterator},
};

use crate::{
    host::{wake::Wake, worker::Worker},
    model::event::Event,
};

/// Listens for signals until it is dropped.
#[derive(Debug)]
pub(super) struct Signals {
    handle: Handle,
    _worker: Worker,
}

impl Signals {
    /// Starts the thread. On SIGHUP it rings `hang_up`.
    pub(super) fn start(hang_up: Wake, events: Sender<Event>) -> io::Result<Signals> {
        let mut signals = SignalIterator::new([SIGTERM, SIGINT, SIGHUP])?;
        let handle = signals.handle();
        let worker = Worker::spawn("signal", move |_stop| {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    log::info!("signal={signal} reading the configuration file");
                    hang_up.wake();
                    continue;
                }
                log::info!("signal={signal} stopping");
                if events.send(Event::Terminate).is_err() {
                    return;
                }
            }
        })?;
        Ok(Signals { handle, _worker: worker })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}
