//! Parameters of a StorageClass or snapshot class, read into a typed struct, with unknown keys refused.

use crate::size;
use crate::types::{Error, Result};
use std::str::FromStr;

/// Keys of the CO itself (names of the claim and the like): never an error, never a backend's own.
const CO_PREFIX: &str = "csi.storage.k8s.io/";

/// Reads parameters one by one and remembers which were asked for, so that [`Parameters::finish`] can name those that
/// nobody knows: a misspelt key must not be ignored in silence.
///
/// Messages name keys, never values.
///
/// ```
/// use bulkhead_sdk::prelude::*;
///
/// struct Class { tier: String, encrypted: bool }
///
/// fn parse(parameters: &StringMap) -> Result<Class> {
///     let mut p = Parameters::new(parameters);
///     let class = Class { tier: p.required("tier")?.to_owned(), encrypted: p.flag("encrypted", false)? };
///     p.finish()?;
///     Ok(class)
/// }
///
/// let good = [("tier".to_owned(), "gold".to_owned())];
/// assert_eq!(parse(&good.to_vec()).unwrap().tier, "gold");
/// let bad = [good[0].clone(), ("encryptd".to_owned(), "true".to_owned())];
/// assert_eq!(parse(&bad.to_vec()).err(), Some(Error::invalid("unknown parameter `encryptd`; known are `tier`, `encrypted`")));
/// ```
#[must_use = "unknown keys are only found by finish()"]
pub struct Parameters<'a> {
    given: &'a [(String, String)],
    known: Vec<&'static str>,
}

impl<'a> Parameters<'a> {
    /// Starts reading.
    pub fn new(given: &'a [(String, String)]) -> Self {
        Self { given, known: Vec::new() }
    }

    /// The value of `key`, if it is given and not empty.
    pub fn optional(&mut self, key: &'static str) -> Option<&'a str> {
        self.known.push(key);
        self.given
            .iter()
            .find(|(given, _)| given == key)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `invalid-argument` if it isn't given or empty.
    pub fn required(&mut self, key: &'static str) -> Result<&'a str> {
        self.optional(key).ok_or_else(|| Error::invalid(format!("parameter `{key}` is required")))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// `invalid-argument` for any other value.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool> {
        self.choice(key, default, &[("true", true), ("false", false)])
    }

    /// One of a few words.
    ///
    /// # Errors
    /// `invalid-argument` for any other value; the message names the words.
    pub fn choice<T: Clone>(&mut self, key: &'static str, default: T, choices: &[(&str, T)]) -> Result<T> {
        let Some(value) = self.optional(key) else {
            return Ok(default);
        };
        let chosen = choices.iter().find(|(word, _)| *word == value).map(|(_, chosen)| chosen.clone());
        chosen.ok_or_else(|| {
            let words = quoted(choices.iter().map(|(word, _)| *word));
            Error::invalid(format!("parameter `{key}` must be one of {words}"))
        })
    }

    /// A size such as `20GiB` or a plain number of bytes; see [`size::parse`].
    ///
    /// # Errors
    /// `invalid-argument` for anything else.
    pub fn size(&mut self, key: &'static str) -> Result<Option<u64>> {
        let refuse = || Error::invalid(format!("parameter `{key}` must be a size such as `20GiB`"));
        self.optional(key).map(|value| size::parse(value).ok_or_else(refuse)).transpose()
    }

    /// Anything that can be parsed. `what` says what is expected: `a number from 1 to 64`.
    ///
    /// # Errors
    /// `invalid-argument` if it can't be.
    pub fn parsed<T: FromStr>(&mut self, key: &'static str, what: &str) -> Result<Option<T>> {
        let refuse = |_| Error::invalid(format!("parameter `{key}` must be {what}"));
        self.optional(key).map(|value| value.parse().map_err(refuse)).transpose()
    }

    /// Ends reading.
    ///
    /// # Errors
    /// `invalid-argument` if a key was given that nobody has asked for. Keys that begin with `csi.storage.k8s.io/` are
    /// the CO's own and always allowed.
    pub fn finish(self) -> Result<()> {
        let unknown = |key: &&str| !key.starts_with(CO_PREFIX) && !self.known.contains(key);
        let unknown: Vec<&str> = self.given.iter().map(|(key, _)| key.as_str()).filter(unknown).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let plural = if unknown.len() == 1 { "" } else { "s" };
        let known = match self.known.len() {
            0 => "none is known".to_owned(),
            _ => format!("known are {}", quoted(self.known.iter().copied())),
        };
        Err(Error::invalid(format!("unknown parameter{plural} {}; {known}", quoted(unknown.into_iter()))))
    }
}

fn quoted<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn refused<T: std::fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(Error::InvalidArgument(text)) => text,
            other => panic!("expected invalid-argument, got {other:?}"),
        }
    }

    #[test]
    fn values_are_read_by_type() {
        let given =
            map(&[("pool", "fast"), ("thick", "true"), ("lun", "7"), ("size", "20MiB"), ("mode", "b"), ("empty", "")]);
        let mut p = Parameters::new(&given);
        assert_eq!(p.required("pool"), Ok("fast"));
        assert_eq!(p.flag("thick", false), Ok(true));
        assert_eq!(p.flag("absent", true), Ok(true));
        assert_eq!(p.parsed::<u8>("lun", "a number"), Ok(Some(7)));
        assert_eq!(p.size("size"), Ok(Some(20 << 20)));
        assert_eq!(p.choice("mode", 0, &[("a", 1), ("b", 2)]), Ok(2));
        assert_eq!(p.optional("empty"), None);
        assert_eq!(p.finish(), Ok(()));
    }

    #[test]
    fn wrong_values_are_refused_without_showing_them() {
        let given = map(&[("flag", "maybe"), ("lun", "300"), ("size", "20MB"), ("mode", "hunter2")]);
        let mut p = Parameters::new(&given);
        assert_eq!(refused(p.flag("flag", false)), "parameter `flag` must be one of `true`, `false`");
        assert_eq!(refused(p.parsed::<u8>("lun", "a number up to 255")), "parameter `lun` must be a number up to 255");
        assert_eq!(refused(p.size("size")), "parameter `size` must be a size such as `20GiB`");
        assert_eq!(refused(p.choice("mode", 0, &[("a", 1)])), "parameter `mode` must be one of `a`");
        assert_eq!(refused(p.required("pool")), "parameter `pool` is required");
    }

    #[test]
    fn unknown_keys_are_named_and_those_of_the_co_are_not() {
        let given = map(&[("poool", "x"), ("csi.storage.k8s.io/pvc/name", "claim"), ("Type", "y")]);
        let mut p = Parameters::new(&given);
        assert_eq!(p.optional("pool"), None);
        assert_eq!(refused(p.finish()), "unknown parameters `poool`, `Type`; known are `pool`");
        assert_eq!(refused(Parameters::new(&given[..1]).finish()), "unknown parameter `poool`; none is known");
        assert_eq!(Parameters::new(&given[1..2]).finish(), Ok(()));
    }
}
