//! Text to [`RawConfig`], and the YAML library's errors in our words.

use super::error::ConfigError;
use super::paths::Paths;
use super::raw::{RawConfig, place_of};
use serde_saphyr::Error;
use std::path::Path;

/// How the file is read. A config is small: the budgets stop bombs of aliases and of nesting early.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 32, max_nodes: 50_000, max_events: 200_000, max_aliases: 1_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 50_000, max_replay_stack_depth: 16 },
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// Reads `source`; `file` stands in errors.
///
/// # Errors
/// The first thing that doesn't fit, with its place and key.
pub(super) fn parse(source: &str, file: &Path) -> Result<RawConfig, ConfigError> {
    serde_saphyr::from_str_with_options(source, options()).map_err(|error| match Paths::of(source, options()) {
        Ok(paths) => explain(&error, &paths, source, file),
        // A mistake in the YAML further down may be the reason for what serde misses: it comes first.
        Err(syntax @ Error::ExternalMessage { .. }) => explain(&syntax, &Paths::default(), source, file),
        Err(_) => explain(&error, &Paths::default(), source, file),
    })
}

fn explain(error: &Error, paths: &Paths, source: &str, file: &Path) -> ConfigError {
    let error = match error.without_snippet() {
        Error::AliasError { error, .. } => error.without_snippet(),
        error => error,
    };
    let place = error.location().map(place_of);
    if let Error::SerdeMissingField { field, .. } = error {
        // Reported at the last key of the map that lacks it.
        let (map, place) = match place.and_then(|place| paths.map_at(place)) {
            Some((map, place)) => (map, Some(place)),
            None => ("", place),
        };
        let key = if map.is_empty() { (*field).to_owned() } else { format!("{map}.{field}") };
        return ConfigError::new(file, place, key, "is missing: add it");
    }
    let key = place.and_then(|place| paths.at(place)).unwrap_or_default();
    if let Error::DuplicateMappingKey { .. } = error {
        let first = paths.first(key).map_or(String::new(), |first| format!(" (first at line {})", first.line));
        return ConfigError::new(file, place, key, format!("is there twice{first}: remove one"));
    }
    if let (Error::ExternalMessage { msg, .. }, Some(place)) = (error, place) {
        let line = (place.line as usize).checked_sub(1).and_then(|index| source.lines().nth(index)).unwrap_or_default();
        return ConfigError::new(file, Some(place), key, not_yaml(msg, line));
    }
    ConfigError::new(file, place, key, message(error))
}

/// What the YAML parser said of `line`, and the likely cause.
fn not_yaml(said: &str, line: &str) -> String {
    let advice = if said.contains("tab") {
        "indent with spaces, YAML forbids tabs there"
    } else if line.contains("${") {
        "within { } and [ ] put ${NAME} in quotes"
    } else {
        "check quotes, brackets and indentation"
    };
    format!("not YAML: {said}: {advice}")
}

/// What is wrong and what to do.
fn message(error: &Error) -> String {
    match error {
        Error::Eof { .. } => "the file is empty: it needs at least version and drivers".into(),
        Error::MultipleDocuments { .. } => "a second YAML document begins here: keep one in the file".into(),
        Error::Unexpected { expected: "mapping start", .. } => "must be a map: write KEY: VALUE lines".into(),
        Error::Unexpected { expected: "sequence start", .. } => {
            "must be a list: write [A, B] or lines that begin with -".into()
        }
        Error::Unexpected { expected: "string scalar", .. } => "must be a single value, not a list or a map".into(),
        Error::NullIntoString { .. } => "has no value: write one or remove the key".into(),
        Error::SerdeUnknownField { expected, .. } => format!("unknown key: possible here are {}", expected.join(", ")),
        Error::MergeKeyNotAllowed { .. } => "merge keys are not supported: write the keys out".into(),
        Error::UnknownAnchor { .. } => "there is no anchor of this name: define it with & above".into(),
        Error::UnsupportedTag { tag, .. } => format!("the tag {tag} is not supported: remove it"),
        Error::InvalidBinaryBase64 { .. } | Error::BinaryNotUtf8 { .. } => "is binary: write text".into(),
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "too large, too deeply nested or too many aliases: write the file in a simpler way".into()
        }
        other => {
            let text = other.to_string();
            let text = text.split(" at line ").next().unwrap_or_default();
            format!("can't be read: {text}: check the value")
        }
    }
}
