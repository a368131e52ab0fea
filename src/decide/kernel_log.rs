//! Which devices a line of the kernel's log is about. Pure.

use crate::{
    decide::{health::told, known::Known},
    model::{
        clearing::{ClearedBy, Clearing},
        device::Device,
        fact::Form,
        health::{Consequence, Fault, KERNEL_LOG_CHECK, LogRule, Severity},
        template::Key,
    },
};
use regex_lite::Regex;

/// How much of a line is quoted, in characters.
const QUOTED_MAX: usize = 160;

/// What a line says of the devices that it is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Saying<'l> {
    /// They are ill.
    Ill(Hit<'l>),
    /// What the rule has found before is over, as far as this clearing goes.
    Over(Hit<'l>, &'l Clearing),
}

/// A line that is about devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit<'l> {
    line: &'l str,
    pattern: &'l str,
    code: Option<&'l str>,
    consequence: Consequence,
    // `None` for a group that took no part, which is like nothing.
    wanted: Vec<(&'l Key, Option<&'l str>)>,
}

/// What a line says by `rule`. That something is over counts first, as its pattern may be the narrower one.
pub fn says<'l>(rule: &'l LogRule, line: &'l str) -> Vec<Saying<'l>> {
    let found = Hit::of(rule, &rule.pattern, line);
    let code = found.as_ref().and_then(|it| it.code);
    let over = rule.clears.iter().filter_map(|clearing| {
        let hit = match &clearing.by {
            ClearedBy::Pattern(pattern) => Hit::of(rule, pattern, line),
            ClearedBy::Code(word) => found.clone().filter(|_| code == Some(word)),
        };
        hit.map(|hit| Saying::Over(hit, clearing))
    });
    let over: Vec<Saying<'l>> = over.collect();
    match found.filter(|_| over.is_empty()).and_then(|it| it.judged(rule)) {
        Some(hit) => vec![Saying::Ill(hit)],
        None => over,
    }
}

/// The same if it says that devices are ill.
pub fn hit<'l>(rule: &'l LogRule, line: &'l str) -> Option<Hit<'l>> {
    says(rule, line).into_iter().find_map(|it| match it {
        Saying::Ill(hit) => Some(hit),
        Saying::Over(..) => None,
    })
}

impl<'l> Hit<'l> {
    fn of(rule: &'l LogRule, pattern: &Regex, line: &'l str) -> Option<Hit<'l>> {
        let captures = pattern.captures(line)?;
        let group = |name: &str| captures.name(name).map(|it| it.as_str());
        let wanted = rule.matches.iter().map(|(name, key)| (key, group(name))).collect();
        let (pattern, consequence) = (rule.pattern.as_str(), rule.consequence);
        Some(Hit { line, pattern, code: group("code"), consequence, wanted })
    }

    /// With what its code means. `None` if that is nothing.
    fn judged(self, rule: &LogRule) -> Option<Hit<'l>> {
        let consequence = rule.consequence_of(self.code)?;
        Some(Hit { consequence, ..self })
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.consequence.severity
    }

    /// The code in the line, if the pattern has a group for it.
    pub fn code(&self) -> Option<&'l str> {
        self.code
    }
}

impl Hit<'_> {
    /// Whether the line is about `device`.
    pub fn is_about(&self, device: &Device) -> bool {
        self.wanted.iter().all(|(key, text)| {
            let same =
                |text: &str| Known::of(device).values(key).iter().any(|it| same(key, text, it));
            text.is_some_and(same)
        })
    }

    /// What it says of the device.
    pub fn fault(&self) -> Fault {
        let mut quoted: String = self.line.chars().take(QUOTED_MAX).collect();
        if self.line.chars().count() > QUOTED_MAX {
            quoted.push('…');
        }
        // What one rule finds with one code is one trouble, however often the kernel says it.
        let thing = format!("{} {}", self.code.unwrap_or_default(), self.pattern);
        let check = told::check(KERNEL_LOG_CHECK, &thing);
        Fault::ill(&check, format!("kernel log: {quoted}")).with(self.consequence)
    }
}

/// Whether the kernel means the value of a key. Drivers write PCI addresses in several ways.
fn same(key: &Key, text: &str, value: &str) -> bool {
    if matches!(key, Key::Fact(fact) if fact.form == Form::PciAddress)
        && let (Some(text), Some(value)) = (PciAddress::parse(text), PciAddress::parse(value))
    {
        return text.may_be(value);
    }
    text.eq_ignore_ascii_case(value)
}

/// `0000:3b:00.2`, of which the domain and the function may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PciAddress {
    domain: u32,
    bus: u32,
    device: u32,
    function: Option<u32>,
}

impl PciAddress {
    fn parse(text: &str) -> Option<PciAddress> {
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let (text, function) = match text.split_once('.') {
            Some((text, function)) => (text, Some(hex(function)?)),
            None => (text, None),
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (domain, bus, device) = match parts[..] {
            [domain, bus, device] => (hex(domain)?, bus, device),
            [bus, device] => (0, bus, device),
            _ => return None,
        };
        Some(PciAddress { domain, bus: hex(bus)?, device: hex(device)?, function })
    }

    /// A card is all of its functions.
    fn may_be(self, other: PciAddress) -> bool {
        let slot = |it: PciAddress| (it.domain, it.bus, it.device);
        let functions = self.function.zip(other.function);
        slot(self) == slot(other) && functions.is_none_or(|(a, b)| a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fact::Fact;

    #[test]
    fn a_pci_address_is_the_same_however_a_driver_writes_it() {
        let key = Key::Fact(Fact::find("pci.address").unwrap());
        for text in ["0000:cb:00", "cb:00", "CB:00.0", "00000000:CB:00.0", "0000:cb:00.0"] {
            assert!(same(&key, text, "0000:cb:00.0"), "{text}");
        }
        for text in ["0000:cb:00.1", "0001:cb:00", "0000:cc:00", "cb", "", "zz:00"] {
            assert!(!same(&key, text, "0000:cb:00.0"), "{text}");
        }
        assert!(same(&Key::Attribute("x".to_owned()), "Sda", "sda"));
    }
}
