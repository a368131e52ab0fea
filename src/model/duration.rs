//! Durations as they are written: a whole number and a unit.

use std::time::Duration;

/// The units, the longest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// `<number>(ms|s|m|h)`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, ms) = UNITS.iter().find(|(word, _)| *word == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*ms).map(Duration::from_millis)
}

/// A duration as it is written, in the longest unit that fits.
pub fn duration_text(duration: Duration) -> String {
    let ms = duration.as_millis();
    if ms == 0 {
        return "0s".to_owned();
    }
    let fits = |(_, unit): &&(&str, u64)| ms.is_multiple_of(u128::from(*unit));
    match UNITS.iter().find(fits) {
        Some((word, unit)) => format!("{}{word}", ms / u128::from(*unit)),
        None => format!("{ms}ms"),
    }
}
