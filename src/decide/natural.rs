//! The order people expect of names with numbers: `ttyUSB2` before `ttyUSB10`. Pure.

use std::cmp::Ordering;

/// Compares digit runs as numbers and everything else as text.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(x), Some(y)) = (left.chars().next(), right.chars().next()) else {
            // Names that differ in leading zeros only are still told apart.
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (n, rest_left) = digits(left);
            let (m, rest_right) = digits(right);
            match n.len().cmp(&m.len()).then_with(|| n.cmp(m)) {
                Ordering::Equal => (left, right) = (rest_left, rest_right),
                unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
            }
        } else if x == y {
            (left, right) = (&left[x.len_utf8()..], &right[y.len_utf8()..]);
        } else {
            return x.cmp(&y);
        }
    }
}

/// The number that `text` begins with, without leading zeros, and what follows.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|it| !it.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}

/// The last number in a kernel's name: `0` of `ttyUSB0`, `3` of `nvme0n3`.
pub fn last_number(name: &str) -> Option<String> {
    let end = name.bytes().rposition(|it| it.is_ascii_digit())? + 1;
    let start = name[..end].bytes().rposition(|it| !it.is_ascii_digit()).map_or(0, |it| it + 1);
    let number = name[start..end].trim_start_matches('0');
    Some(if number.is_empty() { "0" } else { number }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let mut names = ["ttyUSB10", "ttyUSB2", "ttyUSB", "sda", "ttyACM3", "ttyUSB02"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["sda", "ttyACM3", "ttyUSB", "ttyUSB02", "ttyUSB2", "ttyUSB10"]);
    }

    #[test]
    fn the_number_of_a_name_is_its_last() {
        assert_eq!(last_number("ttyUSB12").as_deref(), Some("12"));
        assert_eq!(last_number("nvme0n1").as_deref(), Some("1"));
        assert_eq!(last_number("card00").as_deref(), Some("0"));
        assert_eq!(last_number("kvm"), None);
    }
}
