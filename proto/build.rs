//! Compiles `csi/v1/csi.proto` and `kubelet/pluginregistration.proto` in-process (no protoc) and writes what `src/lib.rs`
//! includes.
//!
//! Into `OUT_DIR`: `csi.v1.rs` (messages, clients, servers), `csi.v1.debug.rs` (the Debug that hides
//! secrets) and `csi.v1.bin` (the encoded descriptor set, custom options included); `pluginregistration.rs` and `.bin`.

#[path = "build/debug.rs"]
mod debug;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use protox::Compiler;

const PROTO: &str = "csi/v1/csi.proto";
const PACKAGE: &str = "csi.v1";
const KUBELET: &str = "kubelet/pluginregistration.proto";

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["build.rs", "build", PROTO, KUBELET] {
        println!("cargo::rerun-if-changed={input}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?);

    let mut compiler = Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(PROTO)?;

    // Only the pool keeps custom options: the plain descriptor types drop them.
    let pool = compiler.descriptor_pool();
    let debug = debug::generate(&pool, PACKAGE)?;
    fs::write(out.join(format!("{PACKAGE}.debug.rs")), debug.code)?;

    let mut config = prost_build::Config::new();
    // Sorted maps make encodings and Debug output repeatable.
    config.btree_map(["."]).skip_debug(debug.replaced);
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;

    // Comments have become rustdoc by now; a reader of the descriptor doesn't need them.
    compiler.include_source_info(false);
    fs::write(out.join(format!("{PACKAGE}.bin")), compiler.encode_file_descriptor_set())?;

    let mut compiler = Compiler::new(["."])?;
    compiler.include_source_info(true).open_file(KUBELET)?;
    tonic_prost_build::compile_fds(compiler.file_descriptor_set())?;
    compiler.include_source_info(false);
    fs::write(out.join("pluginregistration.bin"), compiler.encode_file_descriptor_set())?;
    Ok(())
}
