//! Filling templates in with what devices say of themselves, which may be anything. Pure.
//!
//! A serial number such as `../../etc` must not lead a path out of the directory that the operator
//! wrote, and a control character has no business in an environment variable.

use crate::{
    config::quoted,
    decide::template::{filtered, render_each_filtered, render_filtered},
    model::template::{Filter, Key, Template},
};

/// What a text is for, which decides what may be filled into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A path on the host or in a container, or an argument of a program.
    Path,
    /// A value that programs read: an environment variable, an annotation, an id.
    Text,
}

/// Fills `template` in once. The error says which value may not be filled in, and why.
pub fn fill(
    template: &Template,
    usage: Use,
    mut lookup: impl FnMut(&Key) -> Result<Vec<String>, String>,
) -> Result<String, String> {
    let text =
        render_filtered(template, |key, filters| checked(usage, key, filters, &lookup(key)?))?;
    check_whole(usage, &text)?;
    Ok(text)
}

/// Fills `template` in once for each element of the lists in it.
pub fn fill_each(
    template: &Template,
    usage: Use,
    mut lookup: impl FnMut(&Key) -> Result<Vec<String>, String>,
) -> Result<Vec<String>, String> {
    let texts =
        render_each_filtered(template, |key, filters| checked(usage, key, filters, &lookup(key)?))?;
    texts.iter().try_for_each(|it| check_whole(usage, it))?;
    Ok(texts)
}

fn checked(
    usage: Use,
    key: &Key,
    filters: &[Filter],
    values: &[String],
) -> Result<Vec<String>, String> {
    let values = filtered(values, filters);
    for value in &values {
        if value.contains(char::is_control) {
            return Err(format!("`{key}` is {}, which holds a control character", quoted(value)));
        }
        if usage == Use::Path && !key.is_path() && !is_file_name(value) {
            return Err(format!(
                "`{key}` is {}, which may not be part of a path; the filter `name` makes it safe: `{{{key}|name}}`",
                quoted(value)
            ));
        }
    }
    Ok(values)
}

/// Values that are safe alone may not be together: `.` and `.`.
fn check_whole(usage: Use, text: &str) -> Result<(), String> {
    match usage == Use::Path && text.split('/').any(|it| it == "..") {
        true => Err(format!("{} leads out of its directory", quoted(text))),
        false => Ok(()),
    }
}

/// Whether `text` can be the name of a file, and of nothing else.
fn is_file_name(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::template::{Core, Piece};

    fn template(beginning: &str, key: Key, filters: Vec<Filter>) -> Template {
        Template { pieces: vec![Piece::Text(beginning.to_owned()), Piece::Value(key, filters)] }
    }

    fn serial() -> Key {
        Key::Attribute("serial".to_owned())
    }

    #[test]
    fn nothing_that_a_device_says_leaves_the_directory_that_the_operator_wrote() {
        for value in ["../../../etc", "a/b", "..", ".", "", "a\0b", "a\nb", "/etc"] {
            let template = template("/var/lib/sticks/", serial(), Vec::new());
            let lookup = |_: &Key| Ok(vec![value.to_owned()]);
            assert!(fill(&template, Use::Path, lookup).is_err(), "{value:?}");
            assert!(fill_each(&template, Use::Path, lookup).is_err(), "{value:?}");
        }
        let dots = Template {
            pieces: vec![
                Piece::Text("/a/".to_owned()),
                Piece::Value(serial(), Vec::new()),
                Piece::Text(".".to_owned()),
            ],
        };
        assert!(fill(&dots, Use::Path, |_| Ok(vec![".".to_owned()])).is_err());
    }

    #[test]
    fn a_filter_makes_a_value_safe_and_paths_of_ours_are_paths() {
        let safe = template("/var/", serial(), vec![Filter::Name]);
        let filled = fill(&safe, Use::Path, |_| Ok(vec!["a/b".to_owned()]));
        assert_eq!(filled.as_deref(), Ok("/var/a_b"));
        let node = template("", Key::Core(Core::Node), Vec::new());
        let filled = fill(&node, Use::Path, |_| Ok(vec!["/dev/a".to_owned()]));
        assert_eq!(filled.as_deref(), Ok("/dev/a"));
    }

    #[test]
    fn a_text_holds_no_control_characters() {
        let template = template("", serial(), Vec::new());
        let filled = |value: &str| fill(&template, Use::Text, |_| Ok(vec![value.to_owned()]));
        assert_eq!(filled("a/b ..").as_deref(), Ok("a/b .."));
        assert!(filled("a\u{1b}[31m").unwrap_err().contains("control character"));
    }
}
