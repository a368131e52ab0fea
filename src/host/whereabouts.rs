//! Where a thread is in the file system, so that another one sees when it does not come back.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crossbeam_channel::Receiver;

use crate::host::{deadline::Deadline, latest::Latest};

/// How long a thread may be at one place. What works answers within microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// A place, and when the thread should have come back from it.
type Place = (PathBuf, Deadline);

/// The end of the thread that goes to places. It never waits.
#[derive(Debug)]
pub struct Whereabouts(Latest<Option<Place>>);

/// The end of the thread that sees where the other is.
#[derive(Debug)]
pub struct Observer {
    news: Receiver<Option<Place>>,
    last: Option<Place>,
}

impl Whereabouts {
    /// Of a thread that has gone nowhere yet.
    pub fn new() -> (Whereabouts, Observer) {
        let (latest, news) = Latest::new();
        (Whereabouts(latest), Observer { news, last: None })
    }

    /// Goes to `path`.
    pub fn enter(&self, path: &Path) {
        self.0.put(Some((path.to_owned(), Deadline::after(PATIENCE))));
    }

    /// Comes back.
    pub fn leave(&self) {
        self.0.put(None);
    }
}

impl Observer {
    /// From where the thread has not come back in time.
    pub fn blocked_at(&mut self) -> Option<&Path> {
        self.hear();
        self.last.as_ref().filter(|(_, by)| by.has_passed()).map(|(path, _)| path.as_path())
    }

    /// When to ask for it, if the thread is somewhere.
    pub fn deadline(&mut self) -> Option<Deadline> {
        self.hear();
        self.last.as_ref().map(|(_, by)| *by)
    }

    fn hear(&mut self) {
        while let Ok(place) = self.news.try_recv() {
            self.last = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_back_is_not_blocked_however_often_he_goes() {
        let (whereabouts, mut observer) = Whereabouts::new();
        for n in 0..10 {
            whereabouts.enter(&PathBuf::from(format!("/dev/{n}")));
            assert!(observer.deadline().is_some() && observer.blocked_at().is_none());
            whereabouts.leave();
        }
        assert!(observer.deadline().is_none());
        whereabouts.0.put(Some((PathBuf::from("/dev/dead"), Deadline::after(Duration::ZERO))));
        assert_eq!(observer.blocked_at(), Some(Path::new("/dev/dead")));
        assert_eq!(observer.blocked_at(), Some(Path::new("/dev/dead")), "until it comes back");
        whereabouts.leave();
        assert_eq!(observer.blocked_at(), None);
    }
}
