//! Makes a component of a core module that was built with `bulkhead-sdk` (or any wit-bindgen). What the target
//! `wasm32-wasip2` gives is a component already and is copied.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wit_component::{ComponentEncoder, DecodedWasm};

const USAGE: &str = "usage: bulkhead-componentize CORE.wasm OUT.wasm

Makes a component of a core Wasm module that carries a wit-bindgen component type, checks it and writes it
to OUT.wasm. A component is checked and copied. Prints what the component imports and exports.

exit status: 0 done, 1 failed, 2 wrong usage";

/// The module half of WASI 0.1; a component can only have it through an adapter.
const WASI_PREVIEW_1: &str = "wasi_snapshot_preview1";

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.as_slice() {
        [help] if help == Path::new("--help") || help == Path::new("-h") => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        [input, output] => match run(input, output) {
            Ok(report) => {
                print!("{report}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("bulkhead-componentize: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(input: &Path, output: &Path) -> Result<String> {
    let bytes = std::fs::read(input).with_context(|| format!("reading {}", input.display()))?;
    let component = componentize(&bytes).with_context(|| format!("{}", input.display()))?;
    let report = describe(&component).with_context(|| format!("{}", input.display()))?;
    std::fs::write(output, &component).with_context(|| format!("writing {}", output.display()))?;
    Ok(format!("{}: {} bytes\n{report}", output.display(), component.len()))
}

fn componentize(bytes: &[u8]) -> Result<Vec<u8>> {
    // The header of the binary format: magic, then a version (16 bits) and a layer (16 bits); layer 1 is a component.
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => return Ok(bytes.to_vec()),
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {}
        _ => bail!("not a Wasm binary"),
    }
    let encoded = ComponentEncoder::default().validate(true).module(bytes).and_then(|encoder| encoder.encode());
    encoded.map_err(|error| {
        let text = format!("{error:#}");
        if text.contains(WASI_PREVIEW_1) {
            return error.context(format!(
                "the module imports {WASI_PREVIEW_1}: build it for wasm32-unknown-unknown or wasm32-wasip2"
            ));
        }
        error.context("this module can't be made into a component")
    })
}

/// Reads the component back and names its imports and exports, one a line.
fn describe(component: &[u8]) -> Result<String> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).context("not a valid component")?
    else {
        bail!("this is a WIT package in binary form, not a component");
    };
    let world = &resolve.worlds[world];
    let name = |key| resolve.name_world_key(key);
    let exports: Vec<String> = world.exports.keys().map(name).collect();
    if !exports.iter().any(|export| export.starts_with("bulkhead:backend/")) {
        bail!("it exports no interface of bulkhead:backend; does the crate call backend!(…), and is it a cdylib?");
    }
    let imports = world.imports.keys().map(|key| format!("  imports {}\n", name(key)));
    let exports = exports.iter().map(|export| format!("  exports {export}\n"));
    Ok(imports.chain(exports).collect())
}
