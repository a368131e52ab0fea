//! Serial numbers and the like, replaced by made-up ones of the same shape: the same one by the same one, so
//! that twins stay twins. Pure.

use std::collections::BTreeMap;

use crate::operate::capture::Entry;

/// Files that hold a number of one piece of hardware.
const FILES: &[&str] = &[
    "board_serial",
    "chassis_serial",
    "eui",
    "nguid",
    "node_guid",
    "permaddr",
    "product_serial",
    "product_uuid",
    "serial",
    "serial_number",
    "subsysnqn",
    "sys_image_guid",
    "unique_id",
    "uuid",
    "wwid",
    "wwn",
];

/// Parts of the keys of lines that do: `HID_UNIQ=…`, `GPU UUID: …`; of AMD's GPUs `unique_id …` in a file of properties.
const KEYS: &[&str] = &["SERIAL", "UNIQ", "UUID", "GUID"];

/// A shorter one is too common a text to be replaced wherever it stands.
const LEN_MIN: usize = 4;

/// The entries with made-up numbers, and how many those are.
pub(super) fn replaced(entries: BTreeMap<String, Entry>) -> (BTreeMap<String, Entry>, usize) {
    let mut secrets: Vec<String> = Vec::new();
    for (path, entry) in &entries {
        if let Entry::Text(text) = entry {
            secrets.extend(secrets_of(path, text).map(str::to_owned));
        }
    }
    secrets
        .retain(|it| it.len() >= LEN_MIN && it.bytes().any(|it| !matches!(it, b'0' | b':' | b'-')));
    secrets.sort_unstable();
    secrets.dedup();
    let made_up: Vec<String> =
        secrets.iter().enumerate().map(|(idx, it)| in_shape(it, idx + 1)).collect();
    let mut pairs: Vec<(&str, &str)> =
        secrets.iter().map(String::as_str).zip(made_up.iter().map(String::as_str)).collect();
    // One may be part of another.
    pairs.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    let entries = entries.into_iter().map(|(path, entry)| {
        let entry = match entry {
            Entry::Text(text) => Entry::Text(with_made_up(&text, &pairs)),
            Entry::Link(target) => Entry::Link(with_made_up(&target, &pairs)),
            Entry::Node => Entry::Node,
        };
        (with_made_up(&path, &pairs), entry)
    });
    (entries.collect(), secrets.len())
}

/// What in a file is the number of one piece of hardware.
fn secrets_of<'t>(path: &str, text: &'t str) -> impl Iterator<Item = &'t str> {
    let (dir, name) = path.rsplit_once('/').unwrap_or_default();
    let is_address = name == "address" && (dir.contains("/net/") || dir.contains("/bluetooth/"));
    let is_gid = dir.ends_with("/gids");
    let whole = FILES.contains(&name) || is_address || is_gid;
    let whole = whole.then_some(text.trim()).into_iter();
    let blank = (name == "properties").then_some(' ');
    let lines = text.lines().filter_map(move |line| {
        let mut between = ['=', ':'].into_iter().chain(blank);
        let (key, value) = between.find_map(|it| line.split_once(it))?;
        let key = key.to_ascii_uppercase();
        KEYS.iter().any(|it| key.contains(it)).then_some(value.trim())
    });
    whole.chain(lines)
}

/// A text with letters and digits in the same places, which are zeros but for a number at the end.
fn in_shape(secret: &str, number: usize) -> String {
    let mut digits = number.to_string().into_bytes();
    let is_placed = |it: char| it.is_ascii_alphanumeric();
    // What tells what kind of a number it is stays: `GPU-`, `nvme.`, `eui.`.
    let prefix = secret.find(['-', '.']).filter(|at| {
        secret[..*at].bytes().all(|it| it.is_ascii_alphabetic()) && !secret[..*at].is_empty()
    });
    let (prefix, rest) = secret.split_at(prefix.unwrap_or(0));
    let mut shape: Vec<char> = rest
        .chars()
        .rev()
        .map(|it| match is_placed(it) {
            true => digits.pop().map_or('0', char::from),
            false => it,
        })
        .collect();
    shape.reverse();
    format!("{prefix}{}", shape.into_iter().collect::<String>())
}

/// The text with each secret replaced that stands there as a word of its own.
fn with_made_up(text: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (secret, made_up) in pairs {
        let mut from = 0;
        while let Some(at) = text[from..].find(secret).map(|it| it + from) {
            let end = at + secret.len();
            let is_word = |it: Option<char>| it.is_none_or(|it| !it.is_ascii_alphanumeric());
            from = end;
            if is_word(text[..at].chars().next_back()) && is_word(text[end..].chars().next()) {
                text.replace_range(at..end, made_up);
                from = at + made_up.len();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_made_up_in_its_shape_and_wherever_it_stands() {
        let text = |it: &str| Entry::Text(it.to_owned());
        let entries = [
            ("/sys/devices/usb1/1-1/serial", text("FT1ABCDE")),
            ("/sys/devices/usb1/1-2/serial", text("FT1ABCDE")),
            ("/sys/devices/usb1/1-3/serial", text("0000")),
            ("/sys/devices/usb1/1-4/serial", text("77")),
            ("/sys/devices/net/eth0/address", text("0c:42:a1:00:11:22")),
            ("/sys/devices/input0/uevent", text("HID_UNIQ=aa:bb\nHID_NAME=FT1ABCDE-x")),
            (
                "/proc/driver/nvidia/gpus/0/information",
                text("GPU UUID: \t GPU-8d1f00aa-77\nIRQ: 41"),
            ),
            (
                "/sys/class/kfd/kfd/topology/nodes/1/properties",
                text("domain 0\nunique_id 7646256984389867000"),
            ),
            ("/dev/serial/by-id/usb-FTDI_FT1ABCDE-if00", Entry::Node),
            ("/dev/serial/by-id/usb-XFT1ABCDE-if00", Entry::Link("/dev/FT1ABCDE".to_owned())),
        ];
        let entries = entries.map(|(path, entry)| (path.to_owned(), entry));
        let (entries, n_made_up) = replaced(BTreeMap::from(entries));
        assert_eq!(n_made_up, 5);
        let shown: Vec<String> =
            entries.iter().map(|(path, entry)| format!("{path} {entry:?}")).collect();
        expect_test::expect![[r#"
            /dev/serial/by-id/usb-FTDI_00000003-if00 Node
            /dev/serial/by-id/usb-XFT1ABCDE-if00 Link("/dev/00000003")
            /proc/driver/nvidia/gpus/0/information Text("GPU UUID: \t GPU-00000000-04\nIRQ: 41")
            /sys/class/kfd/kfd/topology/nodes/1/properties Text("domain 0\nunique_id 0000000000000000002")
            /sys/devices/input0/uevent Text("HID_UNIQ=00:05\nHID_NAME=00000003-x")
            /sys/devices/net/eth0/address Text("00:00:00:00:00:01")
            /sys/devices/usb1/1-1/serial Text("00000003")
            /sys/devices/usb1/1-2/serial Text("00000003")
            /sys/devices/usb1/1-3/serial Text("0000")
            /sys/devices/usb1/1-4/serial Text("77")"#]]
        .assert_eq(&shown.join("\n"));
    }
}
