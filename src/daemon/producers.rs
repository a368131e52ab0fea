//! The threads that report changes of the host and orders of its operator. What follows from a change is
//! for the inventory to decide.

use std::{path::Path, sync::Arc};

use crossbeam_channel::Sender;

use crate::{
    config::Config,
    daemon::{
        DaemonError,
        config_watch::{ConfigFile, ConfigReader},
        cordon_watch::CordonReader,
        signals::Signals,
        watch::{WatchThread, Watched},
    },
    host::{Host, wake::Wake},
    model::{event::Event, resource::Resource},
};

/// The threads. Dropping it stops them.
#[derive(Debug)]
pub(super) struct Producers {
    _watch: WatchThread,
    _signals: Signals,
}

impl Producers {
    /// Starts them. `config` is what `file` says.
    pub(super) fn start(
        host: &Host,
        file: ConfigFile,
        config: &Config,
        state_dir: &Path,
        events: &Sender<Event>,
    ) -> Result<Producers, DaemonError> {
        let thread = |name| move |source| DaemonError::Thread { name, source };
        let ask = Wake::new().map_err(thread("watch"))?;
        let signals = Signals::start(ask.clone(), events.clone()).map_err(thread("signal"))?;
        let resources: Arc<Vec<Resource>> = Arc::new(config.resources.clone());
        let config = ConfigReader::new(file, config).map_err(thread("watch"))?;
        let cordons = CordonReader::new(state_dir).map_err(thread("watch"))?;
        let watched = Watched { host: host.clone(), resources, config, cordons, ask };
        let watch = WatchThread::start(watched, events.clone()).map_err(thread("watch"))?;
        Ok(Producers { _watch: watch, _signals: signals })
    }
}
