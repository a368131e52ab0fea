//! Inputs that are changed at random.

use crate::kubelet::dice::Dice;

/// The longest input that is made.
const LEN_MAX: usize = 64 * 1024;

/// What breaks programs.
const TOKENS: &[&str] = &[
    "",
    "\0",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\u{feff}",
    "\u{7f}",
    "\u{1b}[0m",
    "é",
    "\u{202e}",
    "%s",
    "../",
    "/",
    "//",
    "*",
    "**",
    "{",
    "}",
    "[",
    "]",
    "{}",
    "[]",
    "{{",
    "}}",
    "\"",
    "'",
    "`",
    ":",
    ": ",
    "- ",
    "- - ",
    ",",
    "&a ",
    "*a",
    "!!str ",
    "<<: ",
    "|",
    ">",
    "#",
    "~",
    "null",
    "true",
    "yes",
    "0",
    "-1",
    "1e999",
    "NaN",
    "0x",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1.5",
    "0s",
    "1h",
    "99999999999h",
    "=",
    "@",
    ";",
    "\\x00",
    "\\",
    "a@/b",
    "{node}",
    "{pci.address}",
    "{name|name}",
    "{",
    "(?P<a>",
    "(",
    "a{1000}",
    "\u{ff}",
];

/// Changes what there is.
pub struct Mutator {
    dice: Dice,
    corpus: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, corpus: Vec<Vec<u8>>) -> Mutator {
        assert!(!corpus.is_empty(), "there is nothing to begin with");
        Mutator { dice: Dice::new(seed), corpus }
    }

    pub fn len(&self) -> usize {
        self.corpus.len()
    }

    pub fn keep(&mut self, input: Vec<u8>) {
        self.corpus.push(input);
    }

    /// One of those there are, changed in one to eight places.
    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.any();
        for _ in 0..=self.dice.below(8) {
            self.change(&mut input);
        }
        input.truncate(LEN_MAX);
        input
    }

    fn any(&mut self) -> Vec<u8> {
        self.corpus[self.dice.below(self.corpus.len())].clone()
    }

    /// A place in `input`, which may be its end.
    fn place(&mut self, input: &[u8]) -> usize {
        self.dice.below(input.len() + 1)
    }

    /// A part of it, mostly a short one.
    fn part(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let first = self.place(input);
        let len_max = if self.dice.below(4) == 0 { input.len() } else { 24 };
        first..(first + self.dice.below(len_max + 1)).min(input.len())
    }

    /// A word, a line or a line that is behind another: what has a meaning of its own.
    fn piece(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let is_end: fn(&u8) -> bool = match self.dice.below(3) {
            0 => |it| *it == b'\n' || *it == 0,
            1 => |it| !it.is_ascii_alphanumeric(),
            _ => |it| matches!(it, b',' | b'{' | b'}' | b'[' | b']' | b'\n'),
        };
        let at = self.place(input);
        let first = input[..at].iter().rposition(is_end).map_or(0, |it| it + 1);
        let last = input[at..].iter().position(is_end).map_or(input.len(), |it| at + it);
        first..last
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input);
        match self.dice.below(10) {
            0 if at < input.len() => input[at] ^= 1 << self.dice.below(8),
            1 if at < input.len() => input[at] = u8::try_from(self.dice.below(256)).unwrap(),
            2 => drop(input.splice(at..at, self.token())),
            3 => {
                let (piece, token) = (self.piece(input), self.token());
                drop(input.splice(piece, token));
            }
            4 => drop(input.drain(self.part(input))),
            5 => drop(input.drain(self.piece(input))),
            6 => {
                // Again, once or very often.
                let piece = self.piece(input);
                let n = if self.dice.below(8) == 0 { 1_000 } else { 1 + self.dice.below(3) };
                let again = input[piece].repeat(n);
                drop(input.splice(at..at, again.into_iter().take(LEN_MAX)));
            }
            7 => {
                let other = self.any();
                let piece = self.piece(&other);
                drop(input.splice(at..at, other[piece].iter().copied()));
            }
            8 => {
                let other = self.any();
                let (old, new) = (self.piece(input), self.piece(&other));
                drop(input.splice(old, other[new].iter().copied()));
            }
            _ => {
                let part = self.part(input);
                let copy = input[part].to_vec();
                drop(input.splice(at..at, copy));
            }
        }
        input.truncate(LEN_MAX);
    }

    fn token(&mut self) -> Vec<u8> {
        TOKENS[self.dice.below(TOKENS.len())].as_bytes().to_vec()
    }
}
