//! The recipes and examples for operators: each is accepted, and what it is said to offer is what it offers.

use std::{collections::BTreeSet, fs};

use chandler::{config, discovery::scan};
use expect_test::expect_file;
use regex_lite::Regex;

use crate::{
    compat::snapshot,
    discovery, profiles,
    tree::{hardware, tree},
};

/// What `discover` shows on the machine of a fixture.
fn offered(recipe: &str, fixture: &str) -> String {
    let machine = tree(&hardware(fixture));
    let config = config::parse("recipes.md", recipe).unwrap_or_else(|err| panic!("{recipe}{err}"));
    assert!(config.notes.is_empty(), "{recipe}{}", config.notes);
    discovery::table(&machine.host, &config, &scan(&machine.host, &config))
}

#[test]
fn each_recipe_offers_on_a_machine_of_the_tests_what_it_is_said_to() {
    let text = fs::read_to_string("docs/recipes.md").unwrap();
    let mut made = String::new();
    let mut n_recipes = 0;
    for (idx, section) in text.split("\n## ").enumerate() {
        if idx == 0 {
            made += section.trim_end();
            continue;
        }
        let (title, _) = section.split_once('\n').unwrap();
        let (_, recipe) = section.split_once("```yaml\n").unwrap_or_else(|| panic!("{title}"));
        let (recipe, _) = recipe.split_once("```").unwrap();
        let (before, fixture) =
            section.split_once("<!-- fixture: ").unwrap_or_else(|| panic!("{title}"));
        let (fixture, _) = fixture.split_once(" -->").unwrap();
        let shown = offered(recipe, fixture);
        assert!(shown.contains(" Healthy "), "{title}: nothing is offered:\n{shown}");
        made += &format!(
            "\n\n## {before}<!-- fixture: {fixture} -->\n```console\n$ chandler discover\n{shown}```"
        );
        n_recipes += 1;
    }
    assert!(n_recipes > 12, "{n_recipes}");
    expect_file!["../docs/recipes.md"].assert_eq(&(made + "\n"));
}

/// The whole configurations of a page. Each has the machines on which it is tried: those that a remark before it names, or
/// else those of its profiles.
fn examples(page: &str) -> Vec<(String, Vec<String>)> {
    let (block, remark, profile) = (
        Regex::new("(?s)```yaml\n(.*?)```").unwrap(),
        Regex::new("<!-- fixture: ([^>]+) -->\n$").unwrap(),
        Regex::new("profile: (?:\\{ name: )?([a-z0-9-]+)").unwrap(),
    );
    let whole = |found: regex_lite::Captures<'_>| {
        let text = found[1].to_owned();
        let before = &page[..found.get(0).unwrap().start()];
        let mut machines: Vec<String> = match remark.captures(before) {
            Some(it) => it[1].split(", ").map(str::to_owned).collect(),
            None => profile.captures_iter(&text).map(|it| it[1].to_owned()).collect(),
        };
        let mut seen = BTreeSet::new();
        machines.retain(|it| seen.insert(it.clone()));
        text.starts_with("version: v1\n").then_some((text, machines))
    };
    block.captures_iter(page).filter_map(whole).collect()
}

/// What an example offers on each of its machines, and gives to containers; and its resources that offer nothing on any.
fn tried(example: &str, machines: &[String]) -> (String, Vec<String>) {
    let config = config::parse("page.md", example).unwrap_or_else(|err| panic!("{example}{err}"));
    let notes = config.notes.to_string();
    let mut report: String = notes.lines().map(|it| format!("{it}\n")).collect();
    let mut offering = BTreeSet::new();
    for name in machines {
        let machine = tree(&hardware(name));
        let found = scan(&machine.host, &config);
        let table = discovery::table(&machine.host, &config, &found);
        // What a machine does not have is looked for in vain: that is no news.
        let (rows, rest) = table.split_once("\n\n").unwrap_or((&table, ""));
        let rows = rows.lines().filter(|it| !it.contains(" none "));
        let others = rest.split("\n\n").filter(|it| !it.starts_with("nothing found:"));
        let rest = others.map(|it| format!("\n{}\n", it.trim_end())).collect::<String>();
        let rows: String = rows.map(|it| format!("{}\n", it.trim_end())).collect();
        report += &format!("on {name}:\n{rows}{}", if rest.trim().is_empty() { "" } else { &rest });
        for found in &found.found {
            let snapshot = snapshot(&config, found);
            let ids = profiles::first_two(&snapshot, &table);
            if !ids.is_empty() {
                offering.insert(found.config_idx);
                report += &format!("\n{}", profiles::given(&snapshot, &ids));
            }
        }
        report += "\n";
    }
    let resources = config.resources.iter().enumerate();
    let silent = resources.filter(|(idx, _)| !offering.contains(idx));
    let silent: Vec<String> = silent.map(|(_, it)| it.name.to_string()).collect();
    silent.iter().for_each(|it| report += &format!("{it} offers nothing that works\n\n"));
    (report, silent)
}

#[test]
fn each_resource_in_an_example_of_a_page_offers_something_on_a_machine_of_the_tests() {
    let mut silent = String::new();
    for dir in ["hardware", "migration"] {
        let paths = fs::read_dir(format!("docs/{dir}")).unwrap().map(|it| it.unwrap().path());
        let mut paths: Vec<String> = paths.map(|it| it.display().to_string()).collect();
        paths.sort();
        let mut report = String::new();
        for path in paths {
            for (idx, (example, machines)) in
                examples(&fs::read_to_string(&path).unwrap()).iter().enumerate()
            {
                let (shown, nothing) = tried(example, machines);
                report += &format!("=== {path}, example {}\n{shown}", idx + 1);
                for name in nothing {
                    silent += &format!("{path}, example {}: {name}\n", idx + 1);
                }
            }
        }
        let path = format!("{}/tests/fixtures/pages/{dir}.golden", env!("CARGO_MANIFEST_DIR"));
        expect_file![path].assert_eq(&report);
    }
    assert!(silent.is_empty(), "nothing is offered on any machine of:\n{silent}");
}
