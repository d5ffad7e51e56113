//! The `bulkhead` command: see `bulkhead --help`.

use std::process::ExitCode;

/// With what whoever builds it calls this build, in `BULKHEAD_BUILD`: two builds of one version can then be told apart.
const VERSION: &str = match option_env!("BULKHEAD_BUILD") {
    Some(build) => build,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    // The node engine runs this program again for work that may hang.
    if let Some(code) = bulkhead_node::helper_main() {
        return code;
    }
    bulkhead::cli::run(VERSION)
}
