//! How many descriptors this process may have (getrlimit(2)).

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a run needs whatever it serves, and some room for probes, commands and registrations: 27 are in use
/// when all is quiet. Those who ask for the status are 32 at most.
const NEEDED: u64 = 76;

/// What each resource needs beside: its server, its socket, and the kubelet's connection.
const NEEDED_BY_RESOURCE: u64 = 5;

/// Fewer descriptors than a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{n_resources} resources need {needed} descriptors, and this process may have {limit}; raise the hard \
     limit (`LimitNOFILE=` of the systemd unit, `ulimit -Hn` in a shell, the container runtime's `nofile`)"
)]
pub struct TooFew {
    /// How many resources there are in the configuration.
    pub n_resources: usize,
    /// How many descriptors they need.
    pub needed: u64,
    /// How many there may be.
    pub limit: u64,
}

/// Whether so many resources can be served. Fewer descriptors would mean that some never come back from a
/// kubelet's restart, whichever is unlucky.
pub fn check_limit(n_resources: usize) -> Result<(), TooFew> {
    let by_resources =
        NEEDED_BY_RESOURCE.saturating_mul(n_resources.try_into().unwrap_or(u64::MAX));
    let needed = NEEDED.saturating_add(by_resources);
    // Where the limit cannot be told, what is lacking shows later.
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    if limit < needed { Err(TooFew { n_resources, needed, limit }) } else { Ok(()) }
}

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
