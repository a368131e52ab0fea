//! What is wrong with a configuration file, and where.

use std::fmt;

/// How many mistakes are shown, and how many notes. The others are counted.
const SHOWN_MAX: usize = 100;

/// How much memory the regular expressions of a file may take, in bytes.
const REGEXPS_LEN_MAX: usize = 4 * 1024 * 1024;

/// Where something stands in the file, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What stands there in place of what is meant: the name of a profile, whose text it is.
    pub origin: Option<Origin>,
}

/// A place in the text of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its name.
    pub profile: &'static str,
    /// The line, from 1.
    pub line: usize,
}

impl Position {
    pub(super) fn new(line: usize, column: usize) -> Position {
        Position { line, column, origin: None }
    }
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is.
    pub position: Position,
    /// What is wrong, with the offending text.
    pub what: String,
    /// What may have been meant, or what to do.
    pub help: Option<String>,
}

/// Every mistake in a file, or everything that is worth a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    file: String,
    all: Vec<Diagnostic>,
    notes: Vec<Diagnostic>,
    // How many were found beside those that are shown.
    n_more: usize,
    regexps_len: usize,
}

impl Diagnostics {
    pub(super) fn new(file: &str) -> Diagnostics {
        let (all, notes) = (Vec::new(), Vec::new());
        Diagnostics { file: file.to_owned(), all, notes, n_more: 0, regexps_len: 0 }
    }

    pub(super) fn add(&mut self, position: Position, what: impl Into<String>) {
        self.say(position, what, None);
    }

    pub(super) fn add_with_help(
        &mut self,
        position: Position,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.say(position, what, Some(help.into()));
    }

    /// Adds a mistake for which there may be help.
    pub(super) fn say(
        &mut self,
        position: Position,
        what: impl Into<String>,
        help: Option<String>,
    ) {
        if self.all.len() == SHOWN_MAX {
            self.n_more += 1;
            return;
        }
        self.all.push(Diagnostic { position, what: what.into(), help });
    }

    /// Adds what a regular expression may take to what the others of the file do. False if that is too
    /// much.
    pub(super) fn affords(&mut self, regexp_len: usize) -> bool {
        self.regexps_len = self.regexps_len.saturating_add(regexp_len);
        self.regexps_len <= REGEXPS_LEN_MAX
    }

    /// Adds what is no mistake, and yet may not be what was meant.
    pub(super) fn note(&mut self, position: Position, what: &str, help: &str) {
        if self.notes.len() == SHOWN_MAX {
            return;
        }
        let what = format!("note: {what}");
        self.notes.push(Diagnostic { position, what, help: Some(help.to_owned()) });
    }

    /// The notes of a file without mistakes.
    pub(super) fn into_notes(self) -> Diagnostics {
        Diagnostics { all: self.notes, notes: Vec::new(), ..self }
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that are shown, in the order of the file.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = self.all.iter().collect();
        all.sort_by_key(|it| it.position);
        all
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, Diagnostic { position, what, help }) in self.sorted().into_iter().enumerate() {
            if idx > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:{}:{}: ", self.file, position.line, position.column)?;
            if let Some(Origin { profile, line }) = position.origin {
                write!(f, "profile {profile}, line {line}: ")?;
            }
            write!(f, "{what}")?;
            if let Some(help) = help {
                write!(f, "; {help}")?;
            }
        }
        if self.n_more > 0 {
            write!(f, "\n{}: {} more mistakes", self.file, self.n_more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The offending text in backquotes, cut so that a message stays a line.
pub fn quoted(text: &str) -> String {
    const LEN_MAX: usize = 80;
    let mut shown: String = text.chars().take(LEN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().count() > LEN_MAX {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// What to say of `text`, which is none of `known`: the near one, or all.
pub(super) fn suggestion<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match near(text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The one of `known` that `text` is probably a slip of.
pub fn near<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let scored = known.into_iter().map(|it| {
        let distance = strsim::damerau_levenshtein(&lower, &it.to_lowercase());
        (distance, it)
    });
    // A third of the letters may be wrong: `disovery` is near `discovery`, `foo` is near nothing.
    scored
        .filter(|(distance, it)| *distance * 3 <= it.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}
