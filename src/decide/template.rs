//! Filling templates in. Pure.

use crate::model::template::{Filter, Key, Piece, Template};

/// Fills `template` in once. A value that is a list is joined by `,`.
///
/// `lookup` gives the values of a key; its error ends the work.
pub fn render<E>(
    template: &Template,
    mut lookup: impl FnMut(&Key) -> Result<Vec<String>, E>,
) -> Result<String, E> {
    let mut text = String::new();
    for piece in &template.pieces {
        match piece {
            Piece::Text(literal) => text += literal,
            Piece::Value(key, filters) => {
                let values = lookup(key)?;
                let values: Vec<String> = values.iter().map(|it| apply(it, filters)).collect();
                text += &values.join(",");
            }
        }
    }
    Ok(text)
}

/// Fills `template` in once for each element of the lists in it. Lists of different lengths are
/// walked together, as far as the shortest goes; single values repeat.
pub fn render_each<E>(
    template: &Template,
    mut lookup: impl FnMut(&Key) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    let mut holes = Vec::new();
    for key in template.keys() {
        holes.push(lookup(key)?);
    }
    let n_texts = holes.iter().map(Vec::len).filter(|n| *n != 1).min().unwrap_or(1);
    let mut texts = Vec::new();
    for idx in 0..n_texts {
        let mut hole = holes.iter();
        let mut text = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(literal) => text += literal,
                Piece::Value(_, filters) => {
                    let values = hole.next().map(Vec::as_slice).unwrap_or_default();
                    if let Some(value) = values.get(idx).or(values.first()) {
                        text += &apply(value, filters);
                    }
                }
            }
        }
        texts.push(text);
    }
    Ok(texts)
}

fn apply(value: &str, filters: &[Filter]) -> String {
    filters.iter().fold(value.to_owned(), |value, filter| match filter {
        Filter::Lower => value.to_lowercase(),
        Filter::Upper => value.to_uppercase(),
        Filter::Name => value
            .chars()
            .map(|it| if it.is_ascii_alphanumeric() || "-_.".contains(it) { it } else { '_' })
            .collect(),
    })
}
