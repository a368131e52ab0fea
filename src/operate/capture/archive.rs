//! A tar archive: the format of POSIX (ustar), with GNU's way to have long names. Pure.

use std::collections::BTreeMap;

use crate::operate::capture::Entry;

/// Everything is in blocks of so many bytes.
const BLOCK: usize = 512;

/// What a node is in an archive that anybody may unpack: a link to this, which `--host-root` understands.
const STAND_IN: &str = "/dev/null";

/// The archive of these entries, by their absolute paths.
pub(super) fn archive(entries: &BTreeMap<String, Entry>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, entry) in entries {
        let name = path.trim_start_matches('/');
        match entry {
            Entry::Text(text) => {
                let text = format!("{text}\n");
                add(&mut archive, name, "", b'0', text.as_bytes());
            }
            Entry::Link(target) => add(&mut archive, name, &relative(path, target), b'2', &[]),
            Entry::Node => add(&mut archive, name, STAND_IN, b'2', &[]),
        }
    }
    // Two empty blocks are the end.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

/// The way from the directory of `path` to `target`.
fn relative(path: &str, target: &str) -> String {
    let from: Vec<&str> = path.split('/').skip(1).collect();
    let to: Vec<&str> = target.split('/').skip(1).collect();
    let above = from.len().saturating_sub(1);
    let n_same = from[..above].iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = "../".repeat(above - n_same);
    format!("{up}{}", to[n_same..].join("/"))
}

fn add(archive: &mut Vec<u8>, name: &str, link: &str, kind: u8, content: &[u8]) {
    const SHORT: usize = 100;
    for (long, kind) in [(name, b'L'), (link, b'K')] {
        if long.len() > SHORT {
            let mut content = long.as_bytes().to_vec();
            content.push(0);
            header(archive, ("././@LongLink", ""), kind, content.len());
            padded(archive, &content);
        }
    }
    let cut = |text: &str| text.bytes().take(SHORT).collect::<Vec<u8>>();
    let (name, link) = (cut(name), cut(link));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    header(archive, (&text(&name), &text(&link)), kind, content.len());
    padded(archive, content);
}

fn header(archive: &mut Vec<u8>, (name, link): (&str, &str), kind: u8, len: usize) {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes().get(..100).unwrap_or(name.as_bytes()));
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{len:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    // The checksum counts itself as blanks.
    put(148, b"        ");
    put(156, &[kind]);
    put(157, link.as_bytes().get(..100).unwrap_or(link.as_bytes()));
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|it| u32::from(*it)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&block);
}

fn padded(archive: &mut Vec<u8>, content: &[u8]) {
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}
