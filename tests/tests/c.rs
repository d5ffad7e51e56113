//! Tier "c": the backend in C (`tests/backends/c`), built here from its source, so that the interface isn't Rust's alone. What it
//! asks for and offers is on record, csi-sanity and our own suite pass, and what neither of them asks is asked here.
#![allow(missing_docs, clippy::unwrap_used)]

use bulkhead_proto::v1;
use bulkhead_tests::{
    Driver, HostBuilder, Sandbox,
    client::{Use, create_request},
    host::{binary, run_with_patience},
    sandbox::can_mount,
    sanity::{Run, program},
    skips::Mode,
    suite::Suite,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};
use tonic::Code;
use wit_component::DecodedWasm;

const MIB: u64 = 1 << 20;
/// Longest for a build and for our own suite.
const PATIENCE: Duration = Duration::from_secs(300);
/// Most bytes of the component.
const BYTES: usize = 100 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The component, built once for all tests. None, and said so, where the toolchain is missing; with CI=true that is a failure.
fn component() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| build("c.wasm")).as_deref()
}

fn build(name: &str) -> Option<PathBuf> {
    let find = Command::new(root().join("scripts/setup-c.sh")).arg("--find").output().unwrap();
    if !find.status.success() {
        let missing = String::from_utf8_lossy(&find.stderr);
        assert!(env::var("CI").as_deref() != Ok("true"), "CI=true forbids to skip this: {missing}");
        eprintln!("NOT RUN: the backend in C can't be built: {missing}");
        return None;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (status, stdout, stderr) = run_with_patience(
        Command::new(root().join("scripts/build-c.sh"))
            .arg(&out)
            .env("BULKHEAD_COMPONENTIZE", binary().with_file_name("bulkhead-componentize")),
        PATIENCE,
    );
    assert!(status.success(), "{stdout}\n{stderr}");
    Some(out)
}

/// A host of it over one pool; what the test needs to go on, or none.
fn host() -> Option<(Sandbox, HostBuilder)> {
    if !can_mount() {
        return None;
    }
    let source = component()?.to_owned();
    let sandbox = Sandbox::enter();
    let driver = Driver { name: "c.csi.bulkhead.dev".into(), source, ..Driver::local(&sandbox) };
    let builder = HostBuilder::new(&sandbox, [driver]);
    Some((sandbox, builder))
}

#[test]
fn it_imports_and_exports_what_is_on_record() {
    let Some(component) = component() else { return };
    let bytes = fs::read(component).unwrap();
    assert!(bytes.len() < BYTES, "{} bytes", bytes.len());
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes).unwrap() else { panic!("no component") };
    let world = &resolve.worlds[world];
    let line = |what: &str, key| format!("{what} {}\n", resolve.name_world_key(key));
    let imports = world.imports.keys().map(|key| line("imports", key));
    let mut borders: Vec<_> = imports.chain(world.exports.keys().map(|key| line("exports", key))).collect();
    borders.sort();
    let (borders, golden) = (borders.concat(), root().join("tests/golden/borders-c.txt"));
    if env::var_os("BULKHEAD_BLESS").is_some() {
        fs::write(&golden, &borders).unwrap();
    }
    let written = "BULKHEAD_BLESS=1 make tier NAME=c writes it";
    assert_eq!(borders, fs::read_to_string(&golden).unwrap_or_default(), "{}: {written}", golden.display());
    assert!(!borders.contains("wasi:"), "it has no use for anything of WASI");
}

#[test]
fn the_same_source_makes_the_same_component() {
    let Some(component) = component() else { return };
    let first = fs::read(component).unwrap();
    let again = build("again.wasm").unwrap();
    assert!(first == fs::read(again).unwrap(), "two builds differ");
}

fn sanity(mode: Mode, bytes: u64) {
    let Some(program) = program() else { return };
    let Some((sandbox, builder)) = host() else { return };
    Run::new(mode, bytes, 49, "sanity/skipped-c.txt").pass(&program, &sandbox, &builder);
}

#[test]
fn mounted_volumes_conform() {
    sanity(Mode::Mount, 16 * MIB);
}

#[test]
fn raw_volumes_conform() {
    sanity(Mode::Block, 10 * MIB);
}

/// Gives the pool a file system of its own: what directories use is measured, and others use that of the machine.
fn apart(sandbox: &Sandbox, pool: &Path) {
    let image = sandbox.path().join("pool.img");
    fs::File::create(&image).unwrap().set_len(8 << 30).unwrap();
    for command in [
        Command::new("mkfs.ext4").arg("-q").arg(&image),
        Command::new("mount").args(["-o", "loop"]).arg(&image).arg(pool),
    ] {
        assert!(command.status().unwrap().success(), "{command:?}");
    }
}

/// Our own suite: repeats, conflicts, paging, limits, concurrency, data. Images mounted and raw, and directories.
#[test]
fn our_own_suite_passes() {
    let runs: [(&str, &[&str]); 2] =
        [("type: image", &["--access", "both", "--fs-type", "ext4"]), ("type: directory", &["--access", "mount"])];
    for (parameters, arguments) in runs {
        let Some((sandbox, builder)) = host() else { return };
        let pool = builder.drivers[0].pools[0].1.clone();
        apart(&sandbox, &pool);
        let host = builder.start();
        let report =
            Suite::new(sandbox.path(), &builder.socket("c.csi.bulkhead.dev"), &builder.kubelet().join("suite"))
                .yaml("--parameters", &format!("{parameters}\nprovisioning: thin"))
                .yaml("--other-parameters", &format!("{parameters}\nprovisioning: thick"))
                .yaml("--bad-parameters", "type: tape")
                .args(arguments)
                .run(PATIENCE);
        let [passed, failed, skipped] = ["pass", "fail", "skip"].map(|outcome| report.with(outcome));
        assert!(failed.is_empty(), "{parameters}: {failed:#?}");
        assert!(passed.len() > 100, "only {} cases have passed", passed.len());
        println!("our own suite, {parameters}: {} passed, {} skipped", passed.len(), skipped.len());
        assert!(host.stop().success());
        assert!(Command::new("umount").arg(&pool).status().unwrap().success());
        sandbox.assert_clean();
    }
}

fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn what_is_wrong_is_named() {
    let Some((_sandbox, builder)) = host() else { return };
    let host = builder.start();
    run(async {
        let client = host.client().await;
        let cases = [
            (("tier", "hidden"), Use::Block, "unknown parameter `tier`; known are `type`, `provisioning`"),
            (("type", "tape"), Use::Block, "parameter `type` must be one of `image`, `directory`"),
            (("type", "directory"), Use::Block, "a directory can't be a block device"),
            (("type", "image"), Use::Mount("xfs"), "the only file system is ext4"),
        ];
        for (parameter, usage, says) in cases {
            let refused = client.create(create_request("v", 1 << 20, usage, &[parameter])).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
            assert!(refused.message().contains(says) && !refused.message().contains("hidden"), "{refused}");
        }
        let huge = client.create(create_request("v", i64::MAX, Use::Block, &[])).await.unwrap_err();
        assert_eq!(huge.code(), Code::OutOfRange, "{huge}");
        let unknown = client.delete("fast/vol-0123456789abcdef0123456789abcdef").await;
        assert!(unknown.is_ok(), "{unknown:?}");
        // The data may still be there.
        let elsewhere = client.delete("slow/vol-0123456789abcdef0123456789abcdef").await.unwrap_err();
        assert_eq!(elsewhere.code(), Code::FailedPrecondition, "{elsewhere}");
    });
    assert!(host.stop().success());
}

#[test]
fn it_wants_exactly_one_pool_and_no_config() {
    let Some((sandbox, builder)) = host() else { return };
    let mut two = builder.clone().apart("two");
    two.drivers[0].pools.push(("slow".into(), sandbox.dir("pool-slow")));
    let host = two.start();
    run(async {
        let client = host.client().await;
        let refused = client.identity.clone().probe(v1::ProbeRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("wants one pool, and grants.pools names 2"), "{refused}");
    });
    assert!(host.stop().success());
    let mut set = builder.apart("set");
    set.drivers[0].config = "colour: blue".into();
    let (status, _, stderr) = set.run(&["check"]);
    assert!(!status.success());
    let says = ["drivers[0].backend.config.colour:", "identity.get-info", "`colour` is set"];
    assert!(says.iter().all(|text| stderr.contains(text)), "{stderr}");
}
