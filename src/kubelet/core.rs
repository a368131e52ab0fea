//! The gRPC core of this process, with as few threads and wake-ups as it can be made to have.

#![expect(unsafe_code, reason = "two functions of the gRPC core that grpcio does not have")]

use std::{ffi::c_uint, mem, sync::Arc, time::Duration};

use grpcio::{ChannelBuilder, EnvBuilder, Environment};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::host::worker::with_timer_slack;

// SAFETY: both are functions of the core that grpcio-sys links, version 1.56, with these arguments:
// `include/grpc/support/cpu.h` and, not part of its interface, `src/core/lib/iomgr/timer_manager.h`. Should
// another version lack one, this does not link.
unsafe extern "C" {
    /// How many processors there are. It asks once and keeps the answer.
    safe fn gpr_cpu_num_cores() -> c_uint;
    /// Whether the timers of the core have a thread of their own.
    #[link_name = "_Z32grpc_timer_manager_set_threadingb"]
    safe fn set_timer_threads(has_threads: bool);
}

/// A channel only connects when it is used.
const NOWHERE: &str = "unix:/nonexistent";

/// How late the core's other timers may be. None of them is ours, and a thread wakes up each second to see
/// whether one is due; an idle machine lets it sleep this much longer.
const TIMER_SLACK: Duration = Duration::from_secs(8);

/// Starts the gRPC core with its one thread of ours, `grpc-0`, and sends its log lines where ours
/// go: call it once, after the logger is installed.
///
/// The core stays until the process ends. No call that is made with it has a deadline of the core: see
/// [`Unary`](super::unary::Unary).
///
/// It must not be started before a fork.
pub fn environment() -> Arc<Environment> {
    // Or they would go to stderr in a form of their own.
    grpcio::redirect_log();
    on_one_processor(|| gpr_cpu_num_cores());
    let env = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("grpc").build());
    // It would wake up each second, to find that nothing is due.
    set_timer_threads(false);
    let first_channel = || ChannelBuilder::new(Arc::clone(&env)).connect(NOWHERE);
    // With the first channel come the other threads, and with the last one they would end, for which they wait
    // for each other.
    mem::forget(with_timer_slack(TIMER_SLACK, first_channel));
    env
}

/// Leaves out what nobody here asks the core for, and each connection or server would pay for: its own books on them
/// (channelz), and room for messages that the kernel sends without copying them.
pub(super) fn lean(builder: ChannelBuilder) -> ChannelBuilder {
    builder
        .raw_cfg_int(c"grpc.enable_channelz".to_owned(), 0)
        .raw_cfg_int(c"grpc.experimental.tcp_tx_zerocopy_max_simultaneous_sends".to_owned(), 1)
}

/// Runs `ask` where it sees one processor. The core has a pool with a thread for each, up to sixteen, and work
/// for none of them; musl counts those on which the thread that asks may run.
fn on_one_processor<T>(ask: impl FnOnce() -> T) {
    let this_thread = Pid::from_raw(0);
    let all = sched_getaffinity(this_thread);
    let one = all.as_ref().ok().and_then(|all| {
        let first = (0..CpuSet::count()).find(|it| all.is_set(*it) == Ok(true))?;
        let mut one = CpuSet::new();
        one.set(first).ok().map(|()| one)
    });
    let is_narrowed = one.is_some_and(|it| sched_setaffinity(this_thread, &it).is_ok());
    ask();
    if let (true, Ok(all)) = (is_narrowed, all) {
        // What was allowed before still is.
        _ = sched_setaffinity(this_thread, &all);
    }
}
