//! Table `snapshots`: a snapshot of an image, where the pool's file system can share extents and where it can't.

use crate::{CLIENT_CORE, SERVER_CORE, median, pin};
use anyhow::{Context, Result, ensure};
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Sandbox,
    client::{Use, capability, create_request},
};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

const GIB: u64 = 1 << 30;
/// Of the image.
const SIZE: i64 = GIB as i64;
/// Written to it.
const DATA: usize = 64 << 20;

fn tool(name: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(name).args(arguments).status().with_context(|| name.to_owned())?;
    ensure!(status.success(), "{name} {arguments:?}: {status}");
    Ok(())
}

/// An xfs on a loop device, which goes with the sandbox.
fn reflinks(sandbox: &Sandbox) -> Result<PathBuf> {
    let (image, pool) = (sandbox.path().join("pool.xfs"), sandbox.dir("pool-xfs"));
    File::create(&image)?.set_len(4 * GIB)?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
    let (image, mount_point) = (path(&image)?, path(&pool)?);
    tool("mkfs.xfs", &["-q", "-m", "reflink=1", &image])?;
    tool("mount", &["-o", "loop", &image, &mount_point])?;
    Ok(pool)
}

struct Case {
    name: &'static str,
    client: Client,
    volume: v1::Volume,
    /// Milliseconds of each round: while the volume is in use, and while it isn't.
    rounds: [Vec<f64>; 2],
}

impl Case {
    async fn new(name: &'static str, client: Client) -> Result<Self> {
        let volume = client.create(create_request("data", SIZE, Use::Mount("ext4"), &[])).await?;
        Ok(Self { name, client, volume, rounds: Default::default() })
    }

    async fn up(&self) -> Result<String> {
        self.client.stage(&self.volume, capability(Use::Mount("ext4"))).await?;
        Ok(self.client.publish(&self.volume, capability(Use::Mount("ext4")), "pod", false).await?)
    }

    async fn down(&self) -> Result<()> {
        self.client.unpublish(&self.volume.volume_id, "pod").await?;
        Ok(self.client.unstage(&self.volume.volume_id).await?)
    }

    async fn write(&self) -> Result<()> {
        let mut file = File::create(Path::new(&self.up().await?).join("data"))?;
        // Not zeros, which might be left out.
        let block: Vec<u8> = (0..1 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        for _ in 0..DATA / block.len() {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        drop(file);
        self.down().await
    }

    async fn cut(&self, name: &str) -> Result<f64> {
        let start = Instant::now();
        let snapshot = self.client.create_snapshot(name, &self.volume.volume_id).await?;
        let took = start.elapsed();
        self.client.delete_snapshot(&snapshot.snapshot_id).await?;
        Ok(took.as_secs_f64() * 1e3)
    }
}

/// Prints the table. Without root nothing can be mounted, and it says so.
pub async fn table(sandbox: &Sandbox, rounds: usize) -> Result<()> {
    if !bulkhead_tests::sandbox::can_mount() {
        return Ok(());
    }
    let drivers =
        [("shared.csi.bulkhead.dev", reflinks(sandbox)?), ("copied.csi.bulkhead.dev", sandbox.dir("pool-copy"))];
    let driver = |(name, pool): &(&str, PathBuf)| Driver {
        name: (*name).into(),
        pools: vec![("fast".into(), pool.clone())],
        ..Driver::local(sandbox)
    };
    pin(SERVER_CORE)?;
    let builder = HostBuilder::new(sandbox, drivers.iter().map(driver)).env("BULKHEAD_LOG", "warn").apart("cuts");
    let host = builder.start();
    pin(CLIENT_CORE)?;
    let mut cases = Vec::new();
    for (name, (driver, _)) in ["extents shared (xfs)", "bytes copied"].into_iter().zip(&drivers) {
        let case = Case::new(name, host.client_of(driver).await).await?;
        case.write().await?;
        cases.push(case);
    }
    for round in 0..=rounds {
        for case in &mut cases {
            case.up().await?;
            let in_use = case.cut(&format!("in-use-{round}")).await?;
            case.down().await?;
            let idle = case.cut(&format!("idle-{round}")).await?;
            // One round to warm up, which does not count.
            if round > 0 {
                case.rounds[0].push(in_use);
                case.rounds[1].push(idle);
            }
        }
    }
    print(&cases, rounds);
    drop(host);
    Ok(())
}

fn print(cases: &[Case], rounds: usize) {
    println!(
        "\nCreateSnapshot of an image of 1 GiB that holds {} MiB; medians of {rounds} interleaved rounds",
        DATA >> 20
    );
    println!("{:<24} {:>12} {:>12}   {:>12} {:>12}", "", "in use, ms", "/ shared", "idle, ms", "/ shared");
    for case in cases {
        print!("{:<24}", case.name);
        for n in 0..2 {
            let ratios = case.rounds[n].iter().zip(&cases[0].rounds[n]).map(|(this, shared)| this / shared);
            print!(" {:>12.1} {:>12.2}  ", median(case.rounds[n].clone()), median(ratios.collect()));
        }
        println!();
    }
}
