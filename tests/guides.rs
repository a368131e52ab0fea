//! What the guides for operators say of the program, compared with the program.

use std::{fs, path::Path, process::Command};

use chandler::config;
use regex_lite::Regex;

/// The guides, and the pages of those who come from another plugin.
pub fn guides() -> Vec<String> {
    let names = ["migration", "recipes", "troubleshooting", "what-happens-when"];
    let pages = fs::read_dir("docs/migration").unwrap();
    let pages = pages.map(|it| it.unwrap().path().display().to_string());
    names.map(|it| format!("docs/{it}.md")).into_iter().chain(pages).collect()
}

/// What neither we nor a kubelet's device manager say, as far as it is compared.
const SAID_BY_OTHERS: [&str; 9] = [
    "Insufficient",
    "connection refused",
    "connection error",
    "unresolvable",
    "Read-only file system",
    "hostPath type check failed:",
    "configmap",
    "is mounted on",
    "but it is not a shared or slave mount",
];

#[test]
fn every_configuration_of_the_guides_is_accepted() {
    for file in guides() {
        let text = fs::read_to_string(&file).unwrap();
        let blocks = text.split("```yaml\n").skip(1).filter_map(|it| it.split("```").next());
        for sample in blocks.filter(|it| it.starts_with("version: v1\n")) {
            if let Err(err) = config::parse(&file, sample) {
                panic!("{err}");
            }
        }
    }
}

#[test]
fn the_messages_of_the_guide_are_those_of_the_program() {
    let mut sources = String::new();
    read_sources(Path::new("src"), &mut sources);
    read_sources(Path::new("tests/kubelet"), &mut sources);
    let broken_line = Regex::new(r"\\\n\s*").unwrap();
    let sources = broken_line.replace_all(&sources, "").replace("{{", "{").replace("}}", "}");

    let text = fs::read_to_string("docs/troubleshooting.md").unwrap();
    let first_cells =
        text.lines().filter(|it| it.starts_with("| ")).filter_map(|it| it.split(" | ").next());
    let (span, stand_in) =
        (Regex::new("`` (.+?) ``|`([^`]+)`").unwrap(), Regex::new("…|`|[A-Z]+\\b").unwrap());
    let mut n_compared = 0;
    for cell in first_cells {
        for said in span.captures_iter(cell) {
            let said = said.get(1).or(said.get(2)).unwrap().as_str();
            let parts = stand_in.split(said).map(str::trim).filter(|it| it.len() > 8);
            for part in parts.filter(|it| !SAID_BY_OTHERS.contains(it)) {
                assert!(sources.contains(part), "docs/troubleshooting.md: nobody says `{part}`");
                n_compared += 1;
            }
        }
    }
    assert!(n_compared > 40, "{n_compared}");
}

#[test]
fn the_commands_of_the_guides_are_those_of_the_program() {
    let help = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_chandler")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (command, option) = (
        Regex::new("(?m)(?:`|^    |/usr/bin/)chandler ([a-z]+)([^`\n#]*)").unwrap(),
        Regex::new("--[a-z-]+").unwrap(),
    );
    for file in guides() {
        let text = fs::read_to_string(&file).unwrap();
        for named in command.captures_iter(&text) {
            let shown = help(&[&named[1], "--help"]);
            for option in option.find_iter(&named[2]) {
                assert!(shown.contains(option.as_str()), "{file}: {}", &named[0]);
            }
        }
    }
}

fn read_sources(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs") {
            *all += &fs::read_to_string(path).unwrap();
        }
    }
}
