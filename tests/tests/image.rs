//! Tier "image": the container image is what it says, can be built again, and what is in it runs.
#![allow(missing_docs, clippy::unwrap_used)]

use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Sandbox,
    client::{Use, create_request, is_serving},
    host::{backend, binary, run_with_timeout},
    sandbox::can_mount,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The user that the controller's pods run as.
const NONROOT: u32 = 65532;
/// Where the host and its backends are; everything else that can be run is a helper.
const HOST: &str = "/usr/bin/bulkhead";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
const MIB: i64 = 1 << 20;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Runs to the end and gives the standard output.
fn ok(command: &mut Command) -> String {
    let (status, out, err) = run_with_timeout(command);
    assert!(status.success(), "{command:?}: {status}\n{out}\n{err}");
    out
}

fn build(dir: &Path, name: &str, host: &Path) -> PathBuf {
    build_at(dir, name, host, None)
}

/// Runs `scripts/image.sh`, which makes `NAME.tar` and `NAME.txt` in a directory; the image is of a date.
fn build_at(dir: &Path, name: &str, host: &Path, seconds: Option<&str>) -> PathBuf {
    let mut command = Command::new(repository().join("scripts/image.sh"));
    command.arg(format!("{name}.tar")).current_dir(dir).env("HOST", host);
    for variable in ["IMAGE", "BACKENDS", "SOURCE_DATE_EPOCH"] {
        command.env_remove(variable);
    }
    command.envs(seconds.map(|seconds| ("SOURCE_DATE_EPOCH", seconds)));
    ok(command.env("BACKEND_DIR", backend("local").parent().unwrap()).env("TMPDIR", dir));
    dir.join(format!("{name}.tar"))
}

/// The root file system, as a container would see it.
fn unpacked(dir: &Path) -> PathBuf {
    let root = dir.join("root");
    let archive = build(dir, "image", &binary());
    ok(Command::new(repository().join("scripts/oci.py")).arg("--unpack").arg(archive).arg(&root));
    root
}

/// An archive as files, read with nothing of the packer's.
struct Layout {
    dir: PathBuf,
}

impl Layout {
    fn of(archive: &Path, dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap();
        ok(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&dir));
        Self { dir }
    }

    /// The blob of a descriptor, whose digest and size must fit.
    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let path = self.dir.join("blobs/sha256").join(digest);
        let bytes = fs::read(&path).unwrap();
        assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64), "{descriptor}");
        assert_eq!(hex::encode(Sha256::digest(&bytes)), digest);
        path
    }

    fn json(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }
}

/// The contents list: path and what it holds, a digest or where a link leads.
fn listed(archive: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(archive.with_extension("txt")).unwrap();
    let mut out = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [what, bytes, path, package] = line.split('\t').collect::<Vec<_>>().try_into().expect("four columns");
        assert!(bytes.parse::<u64>().is_ok() && !package.is_empty(), "{line}");
        assert_eq!(out.insert(path.to_owned(), what.to_owned()), None, "twice: {line}");
    }
    out
}

/// What a folder really holds, in the form of the list.
fn held(root: &Path, dir: &Path, out: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        if kind.is_dir() {
            held(root, &path, out);
        } else if kind.is_symlink() {
            out.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else {
            out.insert(name, hex::encode(Sha256::digest(fs::read(&path).unwrap())));
        }
    }
}

#[test]
fn two_builds_are_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let one = build(dir.path(), "one", &binary());
    // Another place, age and mode of what goes in, another place of what comes out.
    let copy = dir.path().join("copy");
    fs::copy(binary(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o700)).unwrap();
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let two = build(&other, "two", &copy);
    assert!(fs::read(&one).unwrap() == fs::read(two).unwrap(), "the archives differ");
    assert!(
        fs::read(one.with_extension("txt")).unwrap() == fs::read(other.join("two.txt")).unwrap(),
        "the lists of contents differ"
    );
    let later = build_at(&other, "later", &copy, Some("4000000000"));
    let layers = |archive: &Path, into: &str| {
        let layout = Layout::of(archive, dir.path().join(into));
        let described = &Layout::json(&layout.dir.join("index.json"))["manifests"][0];
        let manifest = Layout::json(&layout.blob(described));
        (described["digest"].clone(), manifest["layers"].clone())
    };
    let (now, later) = (layers(&one, "now"), layers(&later, "later"));
    assert_ne!(now.0, later.0, "the date is not in the image");
    assert_eq!(now.1, later.1, "a release would ship again what has not changed");
}

#[test]
fn the_archive_is_an_oci_layout_of_what_it_lists() {
    let dir = TempDir::new().unwrap();
    let archive = build(dir.path(), "image", &binary());
    let layout = Layout::of(&archive, dir.path().join("layout"));
    assert_eq!(Layout::json(&layout.dir.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let index = Layout::json(&layout.dir.join("index.json"));
    let described = &index["manifests"][0];
    let version = env!("CARGO_PKG_VERSION");
    let image = format!("ghcr.io/bulkhead-csi/bulkhead:{version}");
    assert_eq!(described["annotations"]["io.containerd.image.name"], image);
    assert_eq!(described["annotations"]["org.opencontainers.image.ref.name"], version);
    let manifest = Layout::json(&layout.blob(described));
    let config_path = layout.blob(&manifest["config"]);
    let config = Layout::json(&config_path);
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!([HOST]));
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["serve", "--config", "/etc/bulkhead/config.yaml"]));
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], version);

    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3, "base, host, backends");
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let mut blobs = 2;
    for (layer, id) in layers.iter().zip(config["rootfs"]["diff_ids"].as_array().unwrap()) {
        assert_eq!(&layer["digest"], id, "a layer isn't compressed, so its digest is that of what it holds");
        let blob = layout.blob(layer);
        blobs += 1;
        check_modes(&ok(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&blob)));
        ok(Command::new("tar").arg("-xf").arg(&blob).arg("-C").arg(&root));
    }
    assert_eq!(fs::read_dir(layout.dir.join("blobs/sha256")).unwrap().count(), blobs, "a blob that nothing names");

    let mut really = BTreeMap::new();
    held(&root, &root, &mut really);
    assert_eq!(really, listed(&archive));
    for path in [HOST, "/usr/lib/bulkhead/backends/local.wasm", "/etc/mke2fs.conf", "/etc/passwd"] {
        assert!(really.contains_key(path), "{path} is missing");
    }
    for path in ["bin/sh", "usr/lib/bulkhead/backends/bad.wasm"] {
        assert!(!root.join(path).exists(), "{path} has no place in the image");
    }
}

/// Checks tar's listing of a layer: root's, no set-uid or set-gid, writable for others only /tmp, and nothing but files,
/// directories and links.
fn check_modes(listing: &str) {
    for line in listing.lines() {
        let [mode, owner] = line.split_whitespace().take(2).collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(owner, "0/0", "{line}");
        if mode.starts_with('l') {
            continue;
        }
        let tmp = line.ends_with(" tmp/");
        assert!(
            mode == if tmp { "drwxrwxrwt" } else { "drwxr-xr-x" } || ["-rwxr-xr-x", "-rw-r--r--"].contains(&mode),
            "{line}"
        );
    }
}

/// The programs that the node engine names: texts in the files that run helpers which are programs of this machine.
fn named_helpers() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut dirs = vec![repository().join("host/node/src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            if !code.contains("helper::run") {
                continue;
            }
            let names = code.split('"').skip(1).step_by(2).filter(|text| !text.is_empty() && !text.contains('/'));
            let installed = |name: &&str| ["/usr/sbin", "/usr/bin"].iter().any(|at| Path::new(at).join(name).is_file());
            out.extend(names.filter(installed).map(str::to_owned));
        }
    }
    out
}

fn inside(root: &Path, program: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).arg(program).env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command
}

#[test]
fn the_helpers_of_the_node_engine_work_inside_and_there_are_no_others() {
    if !can_mount() {
        return;
    }
    let sandbox = Sandbox::enter();
    let root = unpacked(sandbox.path());
    mount(&["-t", "proc"], Path::new("proc"), &root.join("proc"));
    let mut programs = BTreeSet::new();
    for dir in ["usr/bin", "usr/sbin"] {
        programs.extend(fs::read_dir(root.join(dir)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()));
    }
    let mut expected = named_helpers();
    assert!(expected.len() >= 5, "{expected:?}");
    expected.insert("bulkhead".into());
    assert_eq!(programs, expected);

    for (program, argument) in
        [("mkfs.ext4", "-V"), ("mkfs.xfs", "-V"), ("e2fsck", "-V"), ("cp", "--version"), ("bulkhead", "--version")]
    {
        ok(inside(&root, program).arg(argument));
    }
    let truncate = |name: &str, bytes: i64| {
        File::options().create(true).append(true).open(root.join(name)).unwrap().set_len(bytes as u64).unwrap();
    };
    truncate("tmp/ext4", 64 * MIB);
    ok(inside(&root, "mkfs.ext4").args(["-q", "-E", "nodiscard", "/tmp/ext4"]));
    ok(inside(&root, "e2fsck").args(["-f", "-p", "/tmp/ext4"]));
    truncate("tmp/ext4", 96 * MIB);
    ok(inside(&root, "resize2fs").arg("/tmp/ext4"));
    ok(inside(&root, "e2fsck").args(["-f", "-n", "/tmp/ext4"]));
    truncate("tmp/xfs", 300 * MIB);
    ok(inside(&root, "mkfs.xfs").args(["-q", "-K", "/tmp/xfs"]));
    ok(inside(&root, "cp").args(["--reflink=auto", "--sparse=always", "-a", "/tmp/xfs", "/tmp/copy"]));
    for (file, kind) in [("ext4", "ext4"), ("xfs", "xfs"), ("copy", "xfs")] {
        let path = root.join("tmp").join(file);
        assert_eq!(ok(Command::new("blkid").args(["-p", "-o", "value", "-s", "TYPE"]).arg(path)).trim(), kind);
    }
}

/// A host in the unpacked image. Killed when dropped.
struct Contained {
    child: Child,
    log: PathBuf,
}

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the host ---\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn mount(arguments: &[&str], from: &Path, to: &Path) {
    ok(Command::new("mount").args(arguments).arg(from).arg(to));
}

/// A tmpfs as kubelet gives an emptyDir to a pod with fsGroup.
fn empty_dir(at: &Path) {
    mount(&["-t", "tmpfs"], Path::new("tmpfs"), at);
    chown(at, Some(0), Some(NONROOT)).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o2777)).unwrap();
}

#[tokio::test]
async fn the_controller_serves_as_nonroot_on_a_read_only_root() {
    if !can_mount() {
        return;
    }
    let sandbox = Sandbox::enter();
    let root = unpacked(sandbox.path());
    let config = "version: 1\nstateDir: /var/lib/bulkhead\nnode: { id: n1, kubeletRoot: /var/lib/kubelet }\ndrivers:\n  \
        - name: local.csi.bulkhead.dev\n    endpoint: unix:///run/bulkhead/local.sock\n    backend:\n      \
        source: /usr/lib/bulkhead/backends/local.wasm\n      \
        grants: { pools: { fast: { path: /srv/fast } }, access: [pool-image, pool-directory] }\n";
    fs::write(root.join("etc/bulkhead/config.yaml"), config).unwrap();
    fs::create_dir_all(root.join("srv/fast")).unwrap();
    mount(&["--bind"], &root, &root);
    mount(&["-t", "proc"], Path::new("proc"), &root.join("proc"));
    for dir in ["run/bulkhead", "var/lib/bulkhead", "srv/fast"] {
        empty_dir(&root.join(dir));
    }
    ok(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(&root));
    let (status, _, err) = run_with_timeout(inside(&root, "cp").args(["/etc/passwd", "/tmp/x"]));
    assert!(!status.success() && err.contains("Read-only file system"), "{err}");

    let log = sandbox.path().join("host.log");
    let child = Command::new("chroot")
        .arg(format!("--userspec={NONROOT}:{NONROOT}"))
        .args(["--groups=", root.to_str().unwrap(), HOST])
        .args(["serve", "--config", "/etc/bulkhead/config.yaml", "--mode", "controller"])
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut host = Contained { child, log };
    let socket = root.join("run/bulkhead/local.sock");
    let start = Instant::now();
    while !is_serving(&socket) {
        assert_eq!(host.child.try_wait().unwrap(), None, "the host has ended");
        assert!(start.elapsed() < Duration::from_secs(30), "the host does not come up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = fs::read_to_string(format!("/proc/{}/status", host.child.id())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:"), format!("{NONROOT}\t{NONROOT}\t{NONROOT}\t{NONROOT}"));
    assert_eq!(field("CapEff:"), "0000000000000000");

    let mut client = Client::connect(&socket, Path::new("/")).await;
    assert_eq!(client.identity.probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready, Some(true));
    let volume = client.create(create_request("one", 64 * MIB, Use::Mount("ext4"), &[])).await.unwrap();
    client.delete(&volume.volume_id).await.unwrap();

    rustix::process::kill_process(rustix::process::Pid::from_child(&host.child), rustix::process::Signal::TERM)
        .unwrap();
    while host.child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(60), "the host does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!socket.exists(), "the socket is left behind");
}

#[test]
fn the_packer_refuses_what_an_image_must_not_hold_and_finds_what_has_changed() {
    let dir = TempDir::new().unwrap();
    let (folder, archive) = (dir.path().join("folder"), dir.path().join("out.tar"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("program"), "contents to find again").unwrap();
    let packer = repository().join("scripts/oci.py");
    let pack = |more: &[&str]| {
        let mut command = Command::new(&packer);
        command.arg(&archive).args(["--name", "localhost/x:1", "--layer"]).arg(&folder).args(more);
        run_with_timeout(&mut command)
    };
    let (status, _, err) = pack(&["--set", "nowhere=1777"]);
    assert!(!status.success() && err.contains("in no layer: nowhere"), "{err}");
    assert!(pack(&[]).0.success());

    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.windows(8).position(|window| window == b"contents").unwrap();
    bytes[at] = b'C';
    fs::write(&archive, bytes).unwrap();
    let mut unpack = Command::new(&packer);
    unpack.arg("--unpack").arg(&archive).arg(dir.path().join("root"));
    let (status, _, err) = run_with_timeout(&mut unpack);
    assert!(!status.success() && err.contains("another content or size"), "{err}");

    fs::remove_file(&archive).unwrap();
    fs::set_permissions(folder.join("program"), fs::Permissions::from_mode(0o4755)).unwrap();
    let (status, _, err) = pack(&[]);
    assert!(!status.success() && err.contains("program is set-uid"), "{err}");
    assert!(!archive.exists(), "half an image is left behind");
}
