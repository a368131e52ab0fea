//! `docs/conformance.md` says which test covers which check; this says whether it is true.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use regex_lite::Regex;

const N_CHECKS: usize = 64;

#[test]
fn every_check_is_in_the_table_once_and_every_test_it_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let functions = functions(root);
    let mut numbers = Vec::new();
    let mut wrong = Vec::new();
    for line in text.lines().filter(|it| it.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let Ok(number) = cells[0].parse::<usize>() else { continue };
        numbers.push(number);
        assert_eq!(cells.len(), 4, "check {number}: check, what, `it`, `judge`");
        for (suite, cell) in [("it", cells[2]), ("judge", cells[3])] {
            wrong.extend(complaints(suite, cell, &functions).map(|it| format!("{number}: {it}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(numbers, (1..=N_CHECKS).collect::<Vec<usize>>());
}

/// What is wrong with one cell: names of tests in backquotes, or a word why there is none.
fn complaints(
    suite: &'static str,
    cell: &str,
    functions: &BTreeSet<(&'static str, String)>,
) -> impl Iterator<Item = String> {
    let names: Vec<String> =
        Regex::new("`([^`]+)`").unwrap().captures_iter(cell).map(|it| it[1].to_owned()).collect();
    let empty = names.is_empty() && !cell.contains("not yet") && !cell.starts_with('–');
    let unknown: Vec<String> =
        names.into_iter().filter(|it| !functions.contains(&(suite, it.clone()))).collect();
    let unknown = unknown.into_iter().map(move |it| format!("{suite} has no test {it}"));
    unknown.chain(empty.then(|| format!("{suite}: a test, `not yet`, or `–`")))
}

/// All tests, by the suite that runs them: unit tests count as those of `it`.
fn functions(root: &Path) -> BTreeSet<(&'static str, String)> {
    let mut found = BTreeSet::new();
    let name = Regex::new(r"#\[test\]\s+fn ([a-z0-9_]+)\(").unwrap();
    for file in files(&root.join("tests")).into_iter().chain(files(&root.join("src"))) {
        let suite = match file.starts_with(root.join("tests/judge")) {
            true => "judge",
            false => "it",
        };
        let text = fs::read_to_string(&file).unwrap();
        found.extend(name.captures_iter(&text).map(|it| (suite, it[1].to_owned())));
    }
    found
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(files(&path)),
            false if path.extension().is_some_and(|it| it == "rs") => all.push(path),
            false => {}
        }
    }
    all
}
