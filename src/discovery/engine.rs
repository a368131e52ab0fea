//! The engine: one pass over every resource, in the order of the file.

use crate::{
    config::Config,
    discovery::memory::Memory,
    host::Host,
    model::event::{Scope, Survey},
};

/// One complete pass over everything that `config` asks for.
pub fn survey(host: &Host, config: &Config) -> Survey {
    Memory::default().survey(host, &config.resources, &Scope::All)
}
