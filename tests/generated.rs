//! What is made from the command line is current: completions for shells, and a manual page for each command.
//! `UPDATE_EXPECT=1 cargo test generated` makes it anew.

use std::{collections::BTreeSet, fs, path::Path};

use clap_complete::{Shell, generate};
use expect_test::expect_file;

fn deploy(path: &str) -> String {
    format!("{}/deploy/{path}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn completions_of_shells_are_those_of_the_command_line() {
    for (shell, file) in
        [(Shell::Bash, "chandler.bash"), (Shell::Zsh, "_chandler"), (Shell::Fish, "chandler.fish")]
    {
        let mut text = Vec::new();
        generate(shell, &mut chandler::cli::command(), "chandler", &mut text);
        let text = String::from_utf8(text).unwrap();
        expect_file![deploy(&format!("completions/{file}"))].assert_eq(&text);
    }
}

#[test]
fn each_command_has_its_manual_page_and_no_other_has() {
    let mut pages = BTreeSet::new();
    let command = chandler::cli::command();
    for of in command.get_subcommands().filter(|it| it.get_name() != "help") {
        let name = format!("chandler-{}", of.get_name());
        let globals = command.get_arguments().filter(|it| it.is_global_set());
        let page = of
            .clone()
            .name(&*name.clone().leak())
            .display_name(name.clone())
            .args(globals.cloned());
        let mut text = Vec::new();
        let man = clap_mangen::Man::new(page).section("8").source("Chandler").date("");
        man.render(&mut text).unwrap();
        let page = format!("{name}.8");
        expect_file![deploy(&format!("man/{page}"))].assert_eq(&String::from_utf8(text).unwrap());
        pages.insert(page);
    }
    let there = fs::read_dir(Path::new(&deploy("man"))).unwrap();
    let there: BTreeSet<String> =
        there.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, pages);
}
