//! In which order sockets of processes like us have appeared, as far as events reported them.
//!
//! A process that registers after us and is gone a moment later leaves a kubelet until 1.36 without
//! anybody, and nothing to be seen in the directory.

use std::{collections::BTreeMap, ffi::OsStr};

use crate::kubelet::endpoint::{is_endpoint, is_own_endpoint, tag};

/// A socket of another process that is gone, with the tag of its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It came after ours.
    Successor(u32),
    /// It came before ours, and its process has no other.
    Predecessor(u32),
}

/// The sockets that have appeared and are there, each with a number that grows.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    n_arrived: u64,
    by_name: BTreeMap<Box<OsStr>, u64>,
}

impl Arrivals {
    /// A file of this name has appeared.
    pub(super) fn arrived(&mut self, name: &OsStr) {
        if is_endpoint(name) {
            self.n_arrived += 1;
            self.by_name.insert(name.into(), self.n_arrived);
        }
    }

    /// A file of this name is gone. Says which it was if it was a socket of another process, for a
    /// resource for which we have one.
    pub(super) fn gone(&mut self, name: &OsStr) -> Option<Gone> {
        let theirs = self.by_name.remove(name);
        let tag_of_theirs = tag(name).filter(|_| is_endpoint(name) && !is_own_endpoint(name))?;
        let is_ours = |name: &OsStr| is_own_endpoint(name) && tag(name) == Some(tag_of_theirs);
        let ours = self.by_name.iter().filter(|(name, _)| is_ours(name)).map(|(_, n)| *n).max()?;
        // One that we have not seen appear was there before us.
        if theirs.is_some_and(|it| it > ours) {
            return Some(Gone::Successor(tag_of_theirs));
        }
        // Who only changes its socket has bound the new one before.
        let stays = self.by_name.keys().any(|it| without_counter(it) == without_counter(name));
        (!stays).then_some(Gone::Predecessor(tag_of_theirs))
    }

    /// Events were lost.
    pub(super) fn forget(&mut self) {
        self.by_name.clear();
    }
}

/// What all sockets of one process for one resource begin with.
fn without_counter(name: &OsStr) -> Option<&[u8]> {
    let name = name.as_encoded_bytes();
    name.iter().rposition(|it| *it == b'-').map(|end| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::endpoint::token;

    #[test]
    fn only_who_came_after_us_for_our_resource_is_missed() {
        let ours = format!("chandler-0000000a-{:08x}-0.sock", token());
        let ours_later = format!("chandler-0000000a-{:08x}-1.sock", token());
        let theirs = |n: u32| format!("chandler-0000000a-01234567-{n}.sock");
        let other = "chandler-0000000b-01234567-0.sock";
        let mut arrivals = Arrivals::default();
        for name in [&theirs(0), &ours, &theirs(1), &theirs(2), other, "else", "chandler-x.sock"] {
            arrivals.arrived(OsStr::new(name));
        }

        assert_eq!(arrivals.gone(OsStr::new(&theirs(0))), None, "its process is still there");
        assert_eq!(arrivals.gone(OsStr::new(other)), None, "we do not serve that");
        assert_eq!(arrivals.gone(OsStr::new("else")), None);
        assert_eq!(arrivals.gone(OsStr::new("chandler-x.sock")), None);
        assert_eq!(arrivals.gone(OsStr::new(&theirs(1))), Some(Gone::Successor(0xa)));
        arrivals.arrived(OsStr::new(&ours_later));
        let gone = arrivals.gone(OsStr::new(&theirs(2)));
        assert_eq!(gone, Some(Gone::Predecessor(0xa)), "we came back since");
        assert_eq!(arrivals.gone(OsStr::new(&ours)), None);
        arrivals.arrived(OsStr::new(&theirs(3)));
        arrivals.forget();
        assert_eq!(arrivals.gone(OsStr::new(&theirs(3))), None);
    }

    #[test]
    fn who_came_before_us_and_has_no_socket_left_was_our_predecessor() {
        let ours = format!("chandler-0000000a-{:08x}-0.sock", token());
        let theirs = |n: u32| format!("chandler-0000000a-01234567-{n}.sock");
        let mut arrivals = Arrivals::default();
        assert_eq!(arrivals.gone(OsStr::new(&theirs(9))), None, "we were not there");
        arrivals.arrived(OsStr::new(&ours));

        let unseen = "chandler-0000000a-89abcdef-0.sock";
        assert_eq!(arrivals.gone(OsStr::new(unseen)), Some(Gone::Predecessor(0xa)));
        arrivals.arrived(OsStr::new(&theirs(1)));
        assert_eq!(arrivals.gone(OsStr::new(&theirs(0))), None, "it has registered again");
        arrivals.arrived(OsStr::new(&format!("chandler-0000000a-{:08x}-1.sock", token())));
        assert_eq!(arrivals.gone(OsStr::new(&theirs(1))), Some(Gone::Predecessor(0xa)));
    }
}
