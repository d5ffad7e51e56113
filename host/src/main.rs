//! The `bulkhead` command: see `bulkhead --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bulkhead::cli::run()
}
