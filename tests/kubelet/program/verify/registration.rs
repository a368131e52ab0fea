//! Registering, and registering again, whatever happens to the kubelet, the socket or the plugin.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Bench, QUIET, Verdict, refusals};
use crate::kubelet::pause::pause;
use crate::kubelet::{RegisterFault, node::SOCKET};

/// A pod that is admitted again after a kubelet's restart waits no longer.
const RESTART_MAX: Duration = Duration::from_millis(50);
/// Options that take longer hold up the Register call they are asked in.
const OPTIONS_MAX: Duration = Duration::from_secs(1);
/// The length of a Unix socket's path, less its terminating zero.
const PATH_LEN_MAX: usize = 107;
/// Where the directory is in production.
const DIR_LEN: usize = "/var/lib/kubelet/device-plugins/".len();

impl Bench {
    /// The plugin comes before the kubelet.
    pub(super) fn first_start(&mut self) -> Result<(), String> {
        pause(QUIET);
        let alive = self.plugin.check();
        let verdict = match &alive {
            Ok(()) => Verdict::Held("it waited for a second".to_owned()),
            Err(error) => Verdict::Failed(error.clone()),
        };
        self.find(6, "waits for a kubelet that is not there", verdict);
        if alive.is_err() {
            self.start_plugin()?;
        }
        self.kubelet.start_again();
        // A kubelet that starts deletes every socket, also that of a plugin which was there first.
        let late = self.wait_for_any();
        let verdict = Verdict::of(&late.clone().err().into_iter().collect::<Vec<_>>(), "");
        self.find(13, "registers with a kubelet that starts after it", verdict);
        if late.is_err() {
            self.start_plugin()?;
            self.wait_for_any()?;
        }
        self.settle();
        self.judge_first_registrations();
        Ok(())
    }

    fn wait_for_any(&mut self) -> Result<(), String> {
        let any = |it: &mut crate::kubelet::node::State| (!it.node.is_empty()).then_some(());
        if self.kubelet.shared.wait(Instant::now() + self.patience, any).is_some() {
            return Ok(());
        }
        self.plugin.check()?;
        let history = self.kubelet.history();
        Err(format!(
            "no resource within {:?}\n{history}\n{}",
            self.patience,
            self.plugin.last_lines()
        ))
    }

    fn judge_first_registrations(&mut self) {
        let registrations = self.registrations();
        let refused = refusals(&self.log(), 0);
        self.find(
            1,
            "serves before it registers, on localhost",
            Verdict::of(&refused, format!("{} registered", registrations.len())),
        );
        let slowest = registrations.iter().map(|it| it.answered).max().unwrap_or_default();
        let verdict = match slowest <= OPTIONS_MAX {
            true => Verdict::Held(format!("{:.1} ms", slowest.as_secs_f64() * 1e3)),
            false => Verdict::Failed(format!("took {slowest:?}")),
        };
        self.find(2, "tells its options while Register waits", verdict);
        let mut wrong = Vec::new();
        for it in &registrations {
            if it.endpoint.contains('/') {
                wrong.push(format!("{} is no plain file name", it.endpoint));
            }
            if DIR_LEN + it.endpoint.len() > PATH_LEN_MAX {
                wrong.push(format!("{} is too long a name", it.endpoint));
            }
        }
        let names: BTreeSet<&str> = registrations.iter().map(|it| it.endpoint.as_str()).collect();
        let seen = names.iter().copied().collect::<Vec<&str>>().join(" ");
        self.find(
            3,
            "has its socket in the directory, with a short name",
            Verdict::of(&wrong, seen),
        );
        let resources = self.resources().len();
        let verdict = match resources {
            0 | 1 => Verdict::NotApplicable("there is one resource".to_owned()),
            n if names.len() >= n => Verdict::Held(format!("{n} resources")),
            n => Verdict::Failed(format!("{n} resources on {} sockets", names.len())),
        };
        self.find(17, "serves each resource on a socket of its own", verdict);
        let differ =
            |it: &&crate::kubelet::Registration| it.requested.unwrap_or_default() != it.options;
        let wrong: Vec<String> = registrations
            .iter()
            .filter(differ)
            .map(|it| format!("{}: {:?}, but {:?}", it.resource, it.requested, it.options))
            .collect();
        self.find(19, "tells the same options in both places", Verdict::of(&wrong, ""));
    }

    /// The kubelet comes and goes.
    pub(super) fn restarts(&mut self) -> Result<(), String> {
        let mut wrong = Vec::new();
        let mut slowest = Duration::ZERO;
        for _ in 0..3 {
            match self.kubelet.restart_and_wait(Duration::from_millis(100), self.patience) {
                Ok(times) => slowest = times.into_values().fold(slowest, Duration::max),
                Err(error) => wrong.push(error),
            }
            self.settle();
        }
        if !wrong.is_empty() {
            self.ground.registered = Some(10);
        }
        if slowest > RESTART_MAX {
            wrong.push(format!("took {:.1} ms", slowest.as_secs_f64() * 1e3));
        }
        let seen = format!("{:.1} ms at most", slowest.as_secs_f64() * 1e3);
        self.find(10, "registers within 50 ms of a kubelet's restart", Verdict::of(&wrong, seen));
        self.attempt(
            self.ground.registered,
            11,
            "is registered once after restarts in a row",
            |it| it.restarts_in_a_row(),
        );
        self.attempt_return(7, "registers again after it was refused", Bench::refused_registration);
        self.plugin.check()
    }

    fn restarts_in_a_row(&mut self) -> Verdict {
        let resources = self.resources();
        for _ in 0..4 {
            self.kubelet.restart();
            pause(Duration::from_millis(20));
        }
        let mark = self.last_start();
        let mut wrong = self.missing_after(mark, &resources);
        if !wrong.is_empty() {
            self.ground.registered = Some(11);
        }
        self.settle();
        wrong.extend(self.doubles(mark, &resources));
        Verdict::of(&wrong, "5 restarts")
    }

    /// Where in the log the running kubelet began.
    fn last_start(&self) -> usize {
        let log = self.log();
        let listening = |it: &crate::kubelet::event::Entry| {
            matches!(it.event, crate::kubelet::Event::Listening { .. })
        };
        log.iter().rposition(listening).unwrap_or(0)
    }

    /// Resources that have not exactly one stream, or were registered more than once.
    fn doubles(&self, mark: usize, resources: &[String]) -> Vec<String> {
        let state = self.kubelet.shared.lock();
        let mut wrong = Vec::new();
        for resource in resources {
            let streams = state.streams.get(resource).copied().unwrap_or(0);
            let registrations = state.log[mark..]
                .iter()
                .filter_map(|it| it.event.registration())
                .filter(|it| it.resource == *resource)
                .count();
            if (streams, registrations) != (1, 1) {
                wrong.push(format!("{resource}: {registrations} times, {streams} streams"));
            }
        }
        wrong
    }

    fn refused_registration(&mut self) -> (Vec<String>, String) {
        let resources = self.resources();
        let fault = RegisterFault::RefuseFirst(1, "refused for a test".to_owned());
        self.kubelet.fault(|it| it.register = fault);
        let mark = self.mark();
        self.kubelet.restart();
        let came = self.back_after(mark, &resources);
        self.kubelet.fault(|it| it.register = RegisterFault::None);
        self.settle();
        came
    }

    /// Which of `resources` were not registered after `mark`, and how long the others took from now on.
    fn back_after(&self, mark: usize, resources: &[String]) -> (Vec<String>, String) {
        let began = Instant::now();
        let missing = self.missing_after(mark, resources);
        (missing, format!("after {:.1} s", began.elapsed().as_secs_f64()))
    }

    /// The plugin's socket, stream or connection goes while the kubelet stays.
    pub(super) fn lost_connections(&mut self) {
        self.attempt_return(13, "registers again when its socket was deleted", |bench| {
            let (resources, mark) = (bench.resources(), bench.mark());
            for it in bench.registrations() {
                // Those of earlier registrations are gone already.
                drop(std::fs::remove_file(bench.dir().join(&it.endpoint)));
            }
            let came = bench.back_after(mark, &resources);
            bench.settle();
            came
        });
        self.attempt_return(15, "registers again when its stream was cancelled", |bench| {
            let (resources, mark) = (bench.resources(), bench.mark());
            for resource in &resources {
                bench.kubelet.disconnect(resource);
            }
            let came = bench.back_after(mark, &resources);
            bench.settle();
            came
        });
        let most = self.kubelet.shared.lock().most_streams;
        let verdict = match most {
            0 | 1 => Verdict::Held(String::new()),
            n => Verdict::Failed(format!("{n} streams of one resource at a time")),
        };
        let missing = self.ground.registered;
        self.attempt(missing, 14, "ends a stream before it registers again", |_| verdict);
        let refused = refusals(&self.log(), 0);
        let connected: Vec<String> =
            refused.into_iter().filter(|it| it.contains("already connected")).collect();
        let takes_over = self.kubelet.shared.options.release.keeps_clients_by_path();
        let verdict = match takes_over {
            true => Verdict::of(&connected, ""),
            false => Verdict::NotApplicable("only with --profile takeover".to_owned()),
        };
        let claim = "never registers a socket that is connected";
        self.attempt(missing, 62, claim, |_| verdict);
    }

    /// The plugin is killed, comes back, and is asked to end.
    pub(super) fn deaths(&mut self) -> Result<(), String> {
        let resources = self.resources();
        let before = self.ids();
        let answers = self.answers();
        self.plugin.kill().map_err(|it| it.to_string())?;
        for resource in &resources {
            self.kubelet.expect_gone(resource);
        }
        let mark = self.mark();
        self.start_plugin()?;
        // The new process registers what the old one had lost, so that this can be tried in any case.
        let lost = self.ground.registered.take();
        let known: BTreeSet<String> =
            self.registrations().into_iter().map(|it| it.resource).collect();
        let known: Vec<String> = known.into_iter().collect();
        self.attempt_return(4, "starts beside the sockets of a killed one", |bench| {
            (bench.missing_after(mark, &known), String::new())
        });
        self.settle();
        let lost = lost.or(self.ground.registered);
        self.attempt(lost.or(self.ground.listed), 26, "keeps its ids over a restart", |bench| {
            let after = bench.ids();
            match before == after {
                true => {
                    Verdict::Held(format!("{} ids", after.values().map(Vec::len).sum::<usize>()))
                }
                false => Verdict::Failed(format!("{before:?} became {after:?}")),
            }
        });
        let missing = lost.or(self.ground.listed).or(self.ground.answered);
        self.attempt(missing, 40, "answers Allocate as before its restart", |bench| {
            let after = bench.answers();
            match answers == after {
                true => Verdict::Held(String::new()),
                false => Verdict::Failed(format!("{answers:?} became {after:?}")),
            }
        });
        self.names_of_sockets();
        self.end()
    }

    fn names_of_sockets(&mut self) {
        let mut names = BTreeSet::new();
        let registrations = self.registrations();
        let again: Vec<String> = registrations
            .iter()
            .filter(|it| !names.insert(it.endpoint.clone()))
            .map(|it| format!("{} used again", it.endpoint))
            .collect();
        let again: Vec<String> = BTreeSet::from_iter(again).into_iter().collect();
        let seen = format!("{} registrations", registrations.len());
        self.find(5, "uses a new socket name for each registration", Verdict::of(&again, seen));
    }

    fn end(&mut self) -> Result<(), String> {
        let mark = self.mark();
        let began = Instant::now();
        self.plugin.end().map_err(|it| it.to_string())?;
        let took = began.elapsed();
        for resource in self.resources() {
            self.kubelet.expect_gone(&resource);
        }
        let log = self.log();
        let lists = log[mark..]
            .iter()
            .filter(|it| matches!(it.event, crate::kubelet::Event::Devices { .. }))
            .count();
        let verdict = match lists {
            0 => Verdict::Held(format!("ended within {:.1} s", took.as_secs_f64())),
            n => Verdict::Failed(format!("sent {n} more lists")),
        };
        self.find(32, "ends on SIGTERM without another list", verdict);
        let mut left = Vec::new();
        for entry in std::fs::read_dir(self.dir()).map_err(|it| it.to_string())?.flatten() {
            use std::os::unix::fs::FileTypeExt;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stale = log[self.plugin_mark..]
                .iter()
                .filter_map(|it| it.event.registration())
                .any(|it| it.endpoint == name);
            if entry.file_type().is_ok_and(|it| it.is_socket()) && name != SOCKET && stale {
                left.push(format!("{name} is left"));
            }
        }
        self.find(5, "leaves no socket behind", Verdict::of(&left, ""));
        Ok(())
    }
}
