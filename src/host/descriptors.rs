//! How many descriptors this process may have (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one: it is 1024 on most systems, for the sake of programs that use
/// `select`, and each resource needs several. Where that is refused, the old limit stays.
pub fn raise_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(err) = raised {
        log::warn!("cannot raise the limit of descriptors: {err}");
    }
}
