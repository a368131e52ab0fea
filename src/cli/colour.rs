//! Colour, for people at a terminal.

use crate::cli::environment;

/// What is painted where it is all that a cell of a table says, with its number (ECMA-48, 8.3.117).
const COLOURS: [(&str, u8); 5] =
    [("Healthy", 32), ("Degraded", 33), ("Unhealthy", 31), ("note", 33), ("PROBLEM", 31)];

/// `text` as it is, or painted where somebody reads it at a terminal and has nothing against that.
pub(super) fn for_terminal(text: String) -> String {
    match environment::wants_colour() {
        true => painted(&text),
        false => text,
    }
}

fn painted(text: &str) -> String {
    let cell = |cell: &str| match COLOURS.iter().find(|(word, _)| *word == cell.trim()) {
        Some((word, colour)) => cell.replace(word, &format!("\x1b[{colour}m{word}\x1b[0m")),
        None => cell.to_owned(),
    };
    // Cells are two blanks or more from each other, so that one blank may belong to either.
    let line = |line: &str| line.split("  ").map(cell).collect::<Vec<_>>().join("  ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_are_painted_and_the_rest_stays_as_it_is() {
        let table = "DEVICE  HEALTH     NUMA\na       Unhealthy  -\nb       Healthy    1\n";
        let expected = "DEVICE  HEALTH     NUMA\na       \x1b[31mUnhealthy\x1b[0m  -\nb       \x1b[32mHealthy\x1b[0m    1\n";
        assert_eq!(painted(table), expected);
        assert_eq!(
            painted("PROBLEM  it is Unhealthy\n"),
            "\x1b[31mPROBLEM\x1b[0m  it is Unhealthy\n"
        );
    }
}
