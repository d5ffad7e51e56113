//! `make demo`: a volume's life, told step by step, through the CSI socket of a real host. Run it in a mount namespace of
//! its own (`scripts/demo.sh` does): what it mounts is gone with it in any case.

use anyhow::{Context, Result, ensure};
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client,
    client::{Use, capability, create_request, is_serving},
};
use clap::Parser;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const MIB: i64 = 1 << 20;

#[derive(Parser)]
struct Arguments {
    /// The host.
    #[arg(long)]
    host: PathBuf,
    /// The local backend.
    #[arg(long)]
    backend: PathBuf,
    /// Only what works without root: a directory volume.
    #[arg(long)]
    directory_only: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let dir = tempfile::Builder::new().prefix("bulkhead-demo-").tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(tell(&arguments, dir.path()));
    for (point, _) in mounts(dir.path())?.iter().rev() {
        // Only after a failure: the steps leave none.
        let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
    }
    ended
}

/// A step with its time.
async fn step<T>(what: &str, run: impl Future<Output = Result<T>>) -> Result<T> {
    let start = Instant::now();
    let result = run.await.with_context(|| what.to_owned());
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    let mark = if result.is_ok() { "ok" } else { "FAILED" };
    println!("  {mark:<6} {ms:>8.1} ms  {what}");
    result
}

fn note(text: &str) {
    println!("         {:>8}     {text}", "");
}

/// Mounts below `root` and what they show, in the order of the table.
fn mounts(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = PathBuf::from(left.split(' ').nth(4)?);
        point.starts_with(root).then(|| (point, right.to_owned()))
    };
    Ok(table.lines().filter_map(line).collect())
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn tell(arguments: &Arguments, root: &Path) -> Result<()> {
    for name in ["kubelet", "pool"] {
        fs::create_dir(root.join(name))?;
    }
    let config = root.join("bulkhead.yaml");
    let backend = arguments.backend.canonicalize().context("the backend: run `make build`")?;
    fs::write(
        &config,
        format!(
            "version: 1\nstateDir: {root}/state\nnode:\n  id: demo-node\n  kubeletRoot: {root}/kubelet\ndrivers:\n  \
             - name: local.csi.bulkhead.dev\n    endpoint: unix://{root}/csi.sock\n    backend:\n      source: {backend}\n      \
             grants:\n        pools:\n          fast: {{ path: {root}/pool }}\n        access: [pool-image, pool-directory]\n",
            root = root.display(),
            backend = backend.display()
        ),
    )?;
    println!(
        "Bulkhead serves CSI on a unix socket; the backend is a sandboxed component of {} bytes.",
        fs::metadata(&backend)?.len()
    );
    let socket = root.join("csi.sock");
    let mut host = step("start the host with the local backend", start(arguments, &config, &socket)).await?;
    let client = Client::connect(&socket, &root.join("kubelet")).await;
    let info = client.identity.clone().get_plugin_info(v1::GetPluginInfoRequest {}).await?.into_inner();
    note(&format!("driver {} version {}", info.name, info.vendor_version));
    if arguments.directory_only {
        println!("\nA directory volume (file systems on loop devices need root)");
        life(&client, root, "", &[("type", "directory")]).await?;
    } else {
        println!("\nAn xfs volume, grown while a pod uses it");
        life(&client, root, "xfs", &[]).await?;
        println!("\nAn ext4 volume, grown at the next stage where the kernel refuses to grow it while mounted");
        life(&client, root, "ext4", &[]).await?;
    }
    println!("\nThe end");
    drop(client);
    step("stop the host", async {
        rustix::process::kill_process(rustix::process::Pid::from_child(&host.0), rustix::process::Signal::TERM)?;
        // Not blocking: the connection is closed by a task of this thread.
        let status = loop {
            match host.0.try_wait()? {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        ensure!(status.success(), "the host ended with {status}");
        Ok(())
    })
    .await?;
    let left = mounts(root)?;
    ensure!(left.is_empty(), "mounts are left: {left:?}");
    let objects = fs::read_dir(root.join("pool/objects"))?.count();
    ensure!(objects == 0, "{objects} objects are left in the pool");
    ensure!(!socket.exists(), "the socket is left");
    note("nothing is left mounted, the pool is empty, the socket is gone");
    Ok(())
}

async fn start(arguments: &Arguments, config: &Path, socket: &Path) -> Result<Running> {
    let child = Command::new(&arguments.host)
        .args(["serve", "--config"])
        .arg(config)
        .env("BULKHEAD_LOG", "warn")
        .stdin(Stdio::null())
        .spawn()
        .context("the host: run `make build`")?;
    let mut host = Running(child);
    let begin = Instant::now();
    while !is_serving(socket) {
        ensure!(host.0.try_wait()?.is_none(), "the host ended");
        ensure!(begin.elapsed() < Duration::from_secs(60), "the host does not come up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(host)
}

fn shown(bytes: i64) -> String {
    format!("{} MiB", bytes / MIB)
}

async fn stats(client: &Client, id: &str, path: &str) -> Result<i64> {
    let usage = client.stats(id, path).await?;
    let line = |unit| usage.iter().find(move |u| u.unit == unit);
    let bytes = line(1).context("no line about bytes")?;
    let inodes = line(2).map(|i| format!(", {} of {} inodes", i.used, i.total)).unwrap_or_default();
    note(&format!("{} used of {}{inodes}", shown(bytes.used), shown(bytes.total)));
    Ok(bytes.total)
}

async fn life(client: &Client, root: &Path, fs_type: &'static str, parameters: &[(&str, &str)]) -> Result<()> {
    let cap = || capability(Use::Mount(fs_type));
    let kind = if fs_type.is_empty() { "directory" } else { fs_type };
    let request = create_request(&format!("pvc-demo-{kind}"), 512 * MIB, Use::Mount(fs_type), parameters);
    let volume = step("CreateVolume 512 MiB", async { Ok(client.create(request).await?) }).await?;
    let id = volume.volume_id.as_str();
    note(&format!("volume {id}, {}", shown(volume.capacity_bytes)));
    step("NodeStageVolume: format, mount", async { Ok(client.stage(&volume, cap()).await?) }).await?;
    let target =
        step("NodePublishVolume for pod-1", async { Ok(client.publish(&volume, cap(), "pod-1", false).await?) })
            .await?;
    let file = Path::new(&target).join("greeting");
    step("the pod writes a file", async { Ok(fs::write(&file, "written by pod-1\n")?) }).await?;
    let before = step("NodeGetVolumeStats", stats(client, id, &target)).await?;
    let expanded =
        step("ControllerExpandVolume to 1 GiB", async { Ok(client.expand(id, 1024 * MIB, cap()).await?) }).await?;
    note(&format!("{}, node expansion required: {}", shown(expanded.capacity_bytes), expanded.node_expansion_required));
    let mut grown = !expanded.node_expansion_required;
    if expanded.node_expansion_required {
        let start = Instant::now();
        match client.node_expand(id, &target, 1024 * MIB).await {
            Ok(bytes) => {
                println!(
                    "  {:<6} {:>8.1} ms  NodeExpandVolume while published",
                    "ok",
                    start.elapsed().as_secs_f64() * 1000.0
                );
                note(&shown(bytes));
                grown = true;
            }
            Err(status) if status.code() == tonic::Code::FailedPrecondition => {
                println!(
                    "  {:<6} {:>8.1} ms  NodeExpandVolume: at the next stage",
                    "later",
                    start.elapsed().as_secs_f64() * 1000.0
                );
                note(status.message());
            }
            Err(status) => return Err(status).context("NodeExpandVolume"),
        }
    }
    if grown && !fs_type.is_empty() {
        let now = step("NodeGetVolumeStats", stats(client, id, &target)).await?;
        ensure!(now > before, "the file system has not grown");
    }
    step("NodeUnpublishVolume", async { Ok(client.unpublish(id, "pod-1").await?) }).await?;
    if !grown {
        step("NodeUnstageVolume", async { Ok(client.unstage(id).await?) }).await?;
        step("NodeStageVolume: check, grow, mount", async { Ok(client.stage(&volume, cap()).await?) }).await?;
    }
    let target = step("NodePublishVolume read-only for pod-2", async {
        Ok(client.publish(&volume, cap(), "pod-2", true).await?)
    })
    .await?;
    if !grown {
        let now = step("NodeGetVolumeStats", stats(client, id, &target)).await?;
        ensure!(now > before, "the file system has not grown");
    }
    step("the other pod reads the file back and may not write", async {
        let text = fs::read_to_string(Path::new(&target).join("greeting"))?;
        ensure!(text == "written by pod-1\n", "other data: {text:?}");
        ensure!(fs::write(Path::new(&target).join("no"), "x").is_err(), "a read-only volume took a write");
        Ok(())
    })
    .await?;
    for (point, what) in mounts(root)? {
        note(&format!("{} <- {what}", point.strip_prefix(root)?.display()));
    }
    step("NodeUnpublishVolume", async { Ok(client.unpublish(id, "pod-2").await?) }).await?;
    step("NodeUnstageVolume", async { Ok(client.unstage(id).await?) }).await?;
    step("DeleteVolume", async { Ok(client.delete(id).await?) }).await?;
    let left = mounts(root)?.len();
    ensure!(left == 0, "{left} mounts are left");
    Ok(())
}
