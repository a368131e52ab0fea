//! The engine: one scan of every resource, in the order of the file.

use crate::{
    config::Config,
    discovery::cache::ScanCache,
    host::Host,
    model::event::{Scan, Scope},
};

/// One complete scan of everything that `config` asks for.
pub fn scan(host: &Host, config: &Config) -> Scan {
    ScanCache::default().scan(host, &config.resources, &Scope::All)
}
