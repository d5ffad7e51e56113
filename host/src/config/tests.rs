//! YAML in, exact errors or typed values out. Files are looked at only by the tests in `files`.

mod auth;
mod bad;
mod between;
mod examples;
mod facts;
mod files;
mod good;
mod structure;

use super::{Config, ConfigError};
use std::path::Path;

/// The smallest file that is accepted where the surroundings name the node.
const MINIMAL: &str = "version: 1
drivers:
  - name: a.example.com
    endpoint: /run/a.sock
    backend:
      source: a.wasm
";

/// Loads `text` as /etc/bulkhead/f.yaml on a host called `host-1`, with the given environment.
fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Config, Vec<ConfigError>> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::from_text(text, Path::new("/etc/bulkhead/f.yaml"), &env, &|| Some("host-1".into()))
}

fn load(text: &str) -> Result<Config, Vec<ConfigError>> {
    load_with(text, &[])
}

/// The errors as they are shown, without the file's name.
#[track_caller]
fn errors_with(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    let errors = load_with(text, env).expect_err("should be refused");
    let lines = errors.iter().map(ToString::to_string);
    lines.map(|line| line.strip_prefix("/etc/bulkhead/f.yaml:").expect("names the file").trim().to_owned()).collect()
}

/// `MINIMAL` with `from` replaced.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from:?}");
    MINIMAL.replacen(from, to, 1)
}

/// Exactly one error.
#[track_caller]
fn one(text: &str, expected: &str) {
    assert_eq!(errors_with(text, &[]), [expected], "\n{text}");
}
