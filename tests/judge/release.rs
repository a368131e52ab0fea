//! Which kubelets there are to judge by.

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    sync::Once,
};

/// The variable that names them: `1.34.4=/path/to/binary`, separated by white space.
const VARIABLE: &str = "CHANDLER_KUBELETS";

/// One release of Kubernetes, as a program.
#[derive(Debug, Clone)]
pub struct Release {
    pub version: String,
    pub binary: PathBuf,
}

impl Release {
    /// 34 for 1.34.4.
    pub fn minor(&self) -> u32 {
        let minor = self.version.split('.').nth(1).and_then(|it| it.parse().ok());
        minor.unwrap_or_else(|| panic!("{VARIABLE}: {:?} is not a version", self.version))
    }
}

/// Tells a story once for each release. Says so, once, where there is none.
pub fn each(story: impl Fn(&Release)) {
    let releases = releases();
    if releases.is_empty() {
        static SAID: Once = Once::new();
        // Not by `eprintln`, which the test harness keeps to itself.
        SAID.call_once(|| {
            let text = format!("judge: skipped, for want of {VARIABLE}; see `make test-kubelet`");
            drop(writeln!(io::stderr(), "{text}"));
        });
    }
    for release in releases {
        eprintln!("kubelet {}", release.version);
        story(&release);
    }
}

fn releases() -> Vec<Release> {
    let text = env::var(VARIABLE).unwrap_or_default();
    let release = |pair: &str| match pair.split_once('=') {
        Some((version, binary)) => {
            Release { version: version.to_owned(), binary: PathBuf::from(binary) }
        }
        None => panic!("{VARIABLE}: {pair:?} is not VERSION=BINARY"),
    };
    text.split_whitespace().map(release).collect()
}
