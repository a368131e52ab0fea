//! Filling templates in. Pure.

use crate::{
    decide::hash::fnv1a,
    model::{
        name::NAME_LEN_MAX,
        template::{Filter, Key, Piece, Template},
    },
};

/// Fills `template` in once. A value that is a list is joined by `,`.
///
/// `lookup` gives the values of a key; its error ends the work.
pub fn render<E>(
    template: &Template,
    mut lookup: impl FnMut(&Key) -> Result<Vec<String>, E>,
) -> Result<String, E> {
    render_filtered(template, |key, filters| Ok(filtered(&lookup(key)?, filters)))
}

/// The same; `lookup` gives values that have passed through the filters.
pub(super) fn render_filtered<E>(
    template: &Template,
    mut lookup: impl FnMut(&Key, &[Filter]) -> Result<Vec<String>, E>,
) -> Result<String, E> {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(literal) => text += literal,
            Piece::Value(key, filters) => text += &lookup(key, filters)?.join(","),
        }
    }
    Ok(text)
}

/// Fills `template` in once for each element of the lists in it. Lists of different lengths are
/// walked together, as far as the shortest goes; single values repeat. `lookup` gives values that have
/// passed through the filters.
pub(super) fn render_each_filtered<E>(
    template: &Template,
    mut lookup: impl FnMut(&Key, &[Filter]) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    let mut holes = Vec::new();
    for piece in &template.pieces {
        if let Piece::Value(key, filters) = piece {
            holes.push(lookup(key, filters)?);
        }
    }
    let n_texts = holes.iter().map(Vec::len).filter(|n| *n != 1).min().unwrap_or(1);
    let mut texts = Vec::new();
    for idx in 0..n_texts {
        let mut hole = holes.iter();
        let mut text = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(literal) => text += literal,
                Piece::Value(..) => {
                    let values = hole.next().map(Vec::as_slice).unwrap_or_default();
                    if let Some(value) = values.get(idx).or(values.first()) {
                        text += value;
                    }
                }
            }
        }
        texts.push(text);
    }
    Ok(texts)
}

/// `values` when they have passed through `filters`.
pub(super) fn filtered(values: &[String], filters: &[Filter]) -> Vec<String> {
    values.iter().map(|it| apply(it, filters)).collect()
}

fn apply(value: &str, filters: &[Filter]) -> String {
    filters.iter().fold(value.to_owned(), |value, filter| match filter {
        Filter::Lower => value.to_lowercase(),
        Filter::Upper => value.to_uppercase(),
        Filter::Name => part_of_name(&value),
        Filter::Base => value.rsplit('/').next().unwrap_or_default().to_owned(),
    })
}

/// What a resource name whose template has the filter `name` becomes, so that the kubelet takes it
/// whatever the hardware says: the filter knows nothing of the text around it.
pub fn fit_name(text: &str) -> String {
    match text.split_once('/') {
        // A comma stands between the values of a list.
        Some((domain, name)) => format!("{domain}/{}", fitted(&name.replace(',', "_"))),
        None => text.to_owned(),
    }
}

/// A valid part of a resource name that is as near to `value` as can be.
fn part_of_name(value: &str) -> String {
    let is_allowed = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    let plain: String = value.chars().map(|it| if is_allowed(it) { it } else { '_' }).collect();
    match plain.contains(|it: char| it.is_ascii_alphanumeric()) {
        true => fitted(&plain),
        // Nothing is left of it, and yet values that differ must give names that differ.
        false => format!("x{:016x}", fnv1a(value.as_bytes())),
    }
}

/// The text between its first and last letter or digit; what is too long keeps its beginning and
/// gets a hash of the whole.
fn fitted(text: &str) -> String {
    let outer = |it: char| !it.is_ascii_alphanumeric();
    let trimmed = text.trim_matches(outer);
    if trimmed.len() <= NAME_LEN_MAX {
        return trimmed.to_owned();
    }
    let hash = format!("-{:016x}", fnv1a(trimmed.as_bytes()));
    let mut end = NAME_LEN_MAX - hash.len();
    while !trimmed.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{hash}", trimmed[..end].trim_end_matches(outer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::ResourceName;

    fn named(value: &str) -> String {
        apply(value, &[Filter::Name])
    }

    #[test]
    fn the_filter_name_always_gives_a_valid_part_of_a_name() {
        for (value, expected) in [
            ("Prolific Technology Inc.", "Prolific_Technology_Inc"),
            ("(Logitech)", "Logitech"),
            ("a/b c", "a_b_c"),
            ("v1.2-rc_3", "v1.2-rc_3"),
            ("Müller & Söhne", "M_ller___S_hne"),
        ] {
            assert_eq!(named(value), expected);
        }
        let long =
            ["x".repeat(80), format!("{}y", "x".repeat(80)), "ü".repeat(80), "a.".repeat(80)];
        let odd = ["", "...", "///", "äöü", "日本", "\0", "-", "_"].map(str::to_owned);
        let all: Vec<String> = long.into_iter().chain(odd).collect();
        for value in &all {
            let name = format!("example.com/{}", named(value));
            assert!(ResourceName::parse(&name).is_ok(), "{value:?}: {name}");
        }
        let names: std::collections::BTreeSet<String> = all.iter().map(|it| named(it)).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
    }

    #[test]
    fn a_name_with_text_around_the_filter_fits_too() {
        let long = named(&"x".repeat(80));
        for (text, expected) in [
            ("u.e/usb-FT232", Some("u.e/usb-FT232")),
            ("u.e/-FT232-", Some("u.e/FT232")),
            ("u.e/a,b", Some("u.e/a_b")),
            (&format!("u.e/usb-{long}-stick"), None),
            (&format!("u.e/{long}."), None),
        ] {
            let fitted = fit_name(text);
            assert!(ResourceName::parse(&fitted).is_ok(), "{fitted}");
            assert!(expected.is_none_or(|it| it == fitted), "{fitted}");
            assert_eq!(fit_name(&fitted), fitted);
        }
        assert_ne!(fit_name(&format!("u.e/{long}-a")), fit_name(&format!("u.e/{long}-b")));
        // What the operator wrote is refused as it is.
        assert_eq!(fit_name("none"), "none");
        assert!(ResourceName::parse(&fit_name("u.e/a b")).is_err());
    }
}
