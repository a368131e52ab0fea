//! The recipes for operators: each is accepted, and what it is said to offer is what it offers.

use std::fs;

use chandler::{config, discovery::scan};
use expect_test::expect_file;

use crate::{
    discovery,
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
