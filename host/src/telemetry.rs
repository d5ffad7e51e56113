//! The log: one line an event, to standard error.
//!
//! **Invariant:** libraries speak at `warn` and above only, whatever the filter says: at `trace` they would show bytes of
//! requests.

use tracing::{Level, Metadata};
use tracing_subscriber::{EnvFilter, filter::filter_fn, prelude::*};

/// Environment variable with the filter, like `debug` or `info,backend=trace`.
pub const FILTER_VARIABLE: &str = "BULKHEAD_LOG";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. Called once.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(speaks));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // A second subscriber can only come from a test: the first one stays.
    let _ = match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}

fn speaks(meta: &Metadata<'_>) -> bool {
    let ours = |name: &str| meta.target() == name || meta.target().starts_with(&format!("{name}::"));
    ours("bulkhead") || ours("bulkhead_node") || ours("backend") || *meta.level() <= Level::WARN
}
