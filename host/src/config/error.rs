//! Errors about the config: where, which key, what is wrong and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in the file. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with the config. Displays as one line: `FILE:LINE:COLUMN: KEY: what is wrong: what to do`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file, as it was named.
    pub file: PathBuf,
    /// None where it is the file itself that is wrong.
    pub place: Option<Place>,
    /// Path of the key, e.g. `drivers[0].backend.grants.pools.fast.path`; empty where there is none.
    pub key: String,
    /// What is wrong and what to do, one line.
    pub message: String,
}

impl ConfigError {
    /// An error; control characters in its texts are escaped, so that it stays one line.
    pub(super) fn new(file: &Path, place: Option<Place>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place, key: one_line(key.into()), message: one_line(message.into()) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(place) = self.place {
            write!(f, "{place}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

fn one_line(text: String) -> String {
    if !text.chars().any(char::is_control) {
        return text;
    }
    text.chars().fold(String::new(), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    })
}

/// Collects errors, so that all are reported at once.
pub(super) struct Errors<'a> {
    file: &'a Path,
    found: Vec<ConfigError>,
}

impl<'a> Errors<'a> {
    pub(super) fn new(file: &'a Path) -> Self {
        Self { file, found: Vec::new() }
    }

    pub(super) fn add(&mut self, place: Place, key: impl Into<String>, message: impl Into<String>) {
        self.found.push(ConfigError::new(self.file, Some(place), key, message));
    }

    /// `value` if nothing was found, otherwise what was found, sorted by place.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, Vec<ConfigError>> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|error| error.place);
        Err(self.found)
    }
}
