//! The thread `signal`: SIGTERM and SIGINT become events, SIGHUP asks for the configuration to be
//! read again.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crossbeam_channel::Sender;
use nix::unistd::alarm;
use signal_hook::{
    consts::signal::{SIGALRM, SIGHUP, SIGINT, SIGTERM},
    flag,
    iterator::{Handle, Signals as SignalIterator},
};

use crate::{
    host::{wake::Wake, worker::Worker},
    model::event::Event,
};

/// How long the end may take, in seconds: it takes one or two, and supervisors kill after ten. The gRPC
/// core waits for ever at its end for threads that the kernel has refused it.
const END_MAX_S: u32 = 8;

/// Ends the process at SIGTERM or SIGINT where no event could: before the loop receives any, at the
/// second one, since the loop may hang, and when the end takes too long. Without it the first process of a container could not be ended
/// while it starts, as the kernel applies no default action to it.
#[derive(Debug)]
pub struct Abruptly(Arc<AtomicBool>);

impl Abruptly {
    /// From now on, until the loop runs, a signal ends the process at once, and as one that went well.
    pub fn arm() -> io::Result<Abruptly> {
        let at_once = Arc::new(AtomicBool::new(true));
        for signal in [SIGTERM, SIGINT] {
            // The order matters: a signal must see what the one before it has left.
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&at_once))?;
            flag::register(signal, Arc::clone(&at_once))?;
        }
        // The kernel sends it, so that no thread is needed that could be lacking.
        flag::register_conditional_shutdown(SIGALRM, 1, Arc::new(AtomicBool::new(true)))?;
        Ok(Abruptly(at_once))
    }

    /// From now on the first signal becomes an event.
    pub(super) fn disarm(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

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
                _ = alarm::set(END_MAX_S);
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
