//! Rules about the source that the compiler does not know.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each module at the top of `src` and what it may use.
const MODULES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("config", &["model"]),
    ("decide", &["model", "config"]),
    ("host", &["model"]),
    ("discovery", &["model", "config", "decide", "host"]),
    ("actions", &["model", "config", "decide", "host", "discovery"]),
    ("probe", &["model", "config", "decide", "host", "discovery", "actions"]),
    ("kubelet", &["model", "config", "decide", "host", "actions"]),
    ("operate", &["model", "config", "decide", "host", "discovery", "kubelet"]),
    (
        "daemon",
        &[
            "model",
            "config",
            "decide",
            "host",
            "discovery",
            "actions",
            "probe",
            "kubelet",
            "operate",
        ],
    ),
    (
        "cli",
        &[
            "model",
            "config",
            "decide",
            "host",
            "discovery",
            "probe",
            "kubelet",
            "operate",
            "daemon",
        ],
    ),
];

/// Modules that must stay pure.
const PURE: &[&str] = &["model", "config", "decide"];

const IMPURE: &[&str] = &[
    "std::fs",
    "fs::",
    "std::thread",
    "std::net",
    "crossbeam_channel",
    "grpcio",
    "nix::",
    "::now(",
];

/// Without tests; style: a file fits in a head.
const LINES_MAX: usize = 400;

/// Entries at the top of `src` and in a module, so that one finds the way.
const ENTRIES_MAX: usize = 24;

#[test]
fn modules_use_only_what_the_table_allows() {
    for Source { path, module, code, .. } in sources() {
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let (_, allowed) = MODULES
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{}: add the module `{module}` to MODULES", path.display()));
        for used in crate_uses(&code) {
            let ok = used == module || allowed.contains(&used.as_str());
            assert!(ok, "{}: `{module}` may not use `{used}`", path.display());
        }
    }
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    for Source { path, code, .. } in sources().filter(|it| PURE.contains(&it.module.as_str())) {
        for word in IMPURE {
            assert!(!code.contains(word), "{}: pure, but holds `{word}`", path.display());
        }
    }
}

#[test]
fn only_the_wire_module_names_both_worlds_and_only_the_service_is_async() {
    for Source { path, code, .. } in sources() {
        let name = path.file_name().unwrap().to_str().unwrap();
        if code.contains("async ") {
            assert!(matches!(name, "service.rs" | "mailbox.rs"), "{}: async", path.display());
        }
        let ours = code.contains("model::snapshot") || code.contains("model::edits");
        if ours && code.contains("proto::deviceplugin::") {
            assert!(
                matches!(name, "to_proto.rs" | "service.rs"),
                "{}: names wire types and ours",
                path.display()
            );
        }
    }
}

#[test]
fn files_fit_in_a_head() {
    for Source { path, code, .. } in sources() {
        let n_lines = code.lines().count();
        assert!(n_lines <= LINES_MAX, "{}: {n_lines} lines without tests", path.display());
    }
}

#[test]
fn folders_fit_in_a_head() {
    let mut todo = vec![PathBuf::from("src")];
    while let Some(dir) = todo.pop() {
        let entries: Vec<PathBuf> =
            fs::read_dir(&dir).unwrap().map(|it| it.unwrap().path()).collect();
        // Profiles are data, of which there is a file for each kind of hardware.
        let is_code = |it: &PathBuf| it.is_dir() || it.extension() == Some("rs".as_ref());
        let entries: Vec<PathBuf> = entries.into_iter().filter(is_code).collect();
        assert!(entries.len() <= ENTRIES_MAX, "{}: {} entries", dir.display(), entries.len());
        todo.extend(entries.into_iter().filter(|it| it.is_dir()));
    }
}

#[test]
fn every_file_says_what_it_is() {
    for Source { path, text, .. } in sources() {
        assert!(text.starts_with("//! "), "{}: no `//!` at the top", path.display());
    }
}

#[test]
fn every_test_file_is_part_of_the_test_binary() {
    let main = fs::read_to_string("tests/main.rs").unwrap();
    for entry in fs::read_dir("tests").unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|it| it == "rs") && stem != "main" {
            assert!(main.contains(&format!("\nmod {stem};")), "tests/{stem}.rs is not in main.rs");
        }
    }
}

#[test]
fn every_dependency_has_its_line_in_the_documentation() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let docs = fs::read_to_string("docs/dependencies.md").unwrap();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && let Some((name, _)) = line.split_once('=') {
            let name = name.trim();
            assert!(docs.contains(&format!("| `{name}` |")), "docs/dependencies.md: no `{name}`");
        }
    }
}

#[test]
fn links_in_the_documentation_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, it)| (at, &text[at + it.len()..])) {
            let Some((target, _)) = rest.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or("");
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            let real = path.parent().unwrap().join(target);
            assert!(real.exists(), "{}: no {target}", path.display());
        }
    }
}

#[test]
fn threads_and_channels_are_in_the_architecture_tables() {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for Source { path, code, .. } in sources() {
        for call in ["Worker::spawn(", "Worker::spawn_polling(", "Worker::spawn_detached("] {
            for (at, _) in code.match_indices(call) {
                let rest = &code[at + call.len()..];
                let Some(name) = rest.split('"').nth(1) else { continue };
                let name = name.split('{').next().unwrap_or("").trim_end_matches('-');
                if rest.find('"').is_some_and(|it| it < 40) {
                    assert!(
                        text.contains(&format!("| `{name}")),
                        "{}: the thread `{name}` is not in ARCHITECTURE.md",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn every_test_that_the_traps_name_exists() {
    let traps = fs::read_to_string("docs/dev/traps.md").unwrap();
    let (mut files, mut known) = (Vec::new(), String::new());
    collect(Path::new("src"), "rs", &mut files);
    collect(Path::new("tests"), "rs", &mut files);
    for path in files {
        known += &fs::read_to_string(path).unwrap();
    }
    let mut stories = Vec::new();
    collect(Path::new("tests/lab/stories"), "py", &mut stories);
    for path in stories {
        known += &format!("fn {}(", path.file_stem().unwrap().to_str().unwrap());
    }
    // The name of a test is a sentence; the kernel's names are shorter.
    let is_sentence = |it: &&str| it.matches('_').count() >= 4 && !it.contains(' ');
    for name in traps.split('`').filter(is_sentence).filter(|it| !it.starts_with("aer_")) {
        assert!(known.contains(&format!("fn {name}(")), "docs/dev/traps.md: no test `{name}`");
    }
}

struct Source {
    path: PathBuf,
    module: String,
    text: String,
    code: String,
}

fn sources() -> impl Iterator<Item = Source> {
    let mut paths = Vec::new();
    collect(Path::new("src"), "rs", &mut paths);
    let paths =
        paths.into_iter().filter(|it| !it.ends_with("tests.rs") && !it.ends_with("fake.rs"));
    paths.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let module =
            path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let code = text.split("#[cfg(test)]").next().unwrap_or("").to_owned();
        Source { path, module, text, code }
    })
}

fn documents() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"]
        .iter()
        .map(PathBuf::from)
        .filter(|it| it.exists())
        .collect();
    collect(Path::new("docs"), "md", &mut paths);
    paths
}

fn collect(dir: &Path, extension: &str, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, extension, paths);
        } else if path.extension().is_some_and(|it| it == extension) {
            paths.push(path);
        }
    }
}

fn crate_uses(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            // Only names at the depth of the braces themselves are modules.
            Some(group) => {
                let end = group.find("\n};").unwrap_or(group.len());
                let top = |line: &&str| line.starts_with("    ") && !line.starts_with("     ");
                match group.starts_with('\n') {
                    true => group[..end].lines().filter(top).map(str::trim).collect(),
                    false => vec![group],
                }
            }
            None => vec![rest],
        };
        for name in names {
            let name: String =
                name.chars().take_while(|it| it.is_ascii_lowercase() || *it == '_').collect();
            if !name.is_empty() {
                used.push(name);
            }
        }
    }
    used
}
