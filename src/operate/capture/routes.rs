//! Which interfaces the default routes of a machine lead through. To which addresses is nobody's business.

use crate::operate::capture::{Entry, Walk};

/// Where the tables of the host's network are, in the order in which discovery reads them.
const TABLES: [&str; 2] = ["/proc/1/net", "/proc/net"];

/// What is kept of a line.
type Keep = fn(&str) -> Option<String>;

impl Walk<'_> {
    /// The default routes, and the names by which discovery sees that the tables are the host's.
    pub(super) fn routes(&mut self) {
        let kept: [(&str, Keep); 3] =
            [("route", v4_default), ("ipv6_route", v6_default), ("dev", interface)];
        for tables in TABLES {
            for (name, keep) in kept {
                let path = format!("{tables}/{name}");
                if let Ok(Some(table)) = self.host.table(&path) {
                    let lines: Vec<String> = table.lines().filter_map(keep).collect();
                    self.entries.insert(path, Entry::Text(lines.join("\n")));
                }
            }
        }
    }
}

/// A default route of IPv4: destination and mask are zero.
fn v4_default(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [interface, to @ "00000000", _, flags, _, _, _, "00000000", ..] = words[..] else {
        return None;
    };
    Some(format!("{interface}\t{to}\t{to}\t{flags}\t0\t0\t0\t{to}"))
}

/// The same of IPv6.
fn v6_default(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [to, "00", _, _, _, _, _, _, flags, interface] = words[..] else { return None };
    let is_default = to.bytes().all(|it| it == b'0');
    is_default.then(|| format!("{to} 00 {to} 00 {to} 0 0 0 {flags} {interface}"))
}

/// The name of an interface, from a line of what it has counted.
fn interface(line: &str) -> Option<String> {
    line.split_once(':').map(|(name, _)| format!("{}:", name.trim()))
}
