//! `make bench`, the last two tables: what a backend costs inside the host, without gRPC. `load DIRECTORY` takes the directory of the
//! built backends.
//!
//! Steps build on one another: an instance, a call of the backend, the same call through the use-case (lock, digest,
//! deadline). Medians of many single calls on one core.

use anyhow::{Context, Result};
use bulkhead::{
    directory::Nodes,
    imports::{Granted, Pace},
    loader::{self, Verified},
    ops::{
        Driver, Parts,
        ports::{Backend, CallContext, CreateOrder, Effect, Role},
        work::Work,
    },
    wasm::{CompileCache, Compiled, Engine, EngineSettings, Permissions},
};
use bulkhead_domain::{
    capability::{AccessMode, AccessType, MountAccess, VolumeCapability},
    capacity::CapacityRange,
    request::{CreateVolume, Secrets},
    volume::{Name, NodeId},
};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const CALLS: usize = 5000;
const LOADS: usize = 51;

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).context("usage: load DIRECTORY")?;
    let dir = Path::new(&dir);
    let settings = EngineSettings { max_instance_memory: 64 << 20, max_calls: 64, total_memory: 1 << 30 };
    let engine = Engine::new(settings)?;
    println!();
    println!("{:<12} {:>11} {:>13} {:>15} {:>8}", "component", "bytes", "compile ms", "from cache ms", "ratio");
    for name in ["example", "local", "bad"] {
        loading(&engine, name, &read(dir, name)?)?;
    }
    println!();
    println!("{:<44} {:>9} {:>9}", "in process, CreateVolume, no disk", "p50 us", "p99 us");
    engine.runtime().block_on(calling(&engine, &read(dir, "example")?))
}

fn read(dir: &Path, name: &str) -> Result<Verified> {
    Ok(loader::fetch(&dir.join(format!("{name}.wasm")))?.verify(None)?)
}

fn percentile(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    times[((times.len() - 1) as f64 * part) as usize].as_secs_f64()
}

fn loading(engine: &Engine, name: &str, verified: &Verified) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (mut compiled, mut cached) = (vec![], vec![]);
    for n in 0..LOADS {
        // A cache of its own each time: the first load compiles and writes, the second maps.
        let cache = CompileCache::open(&dir.path().join(n.to_string()))?;
        if n < 5 {
            let start = Instant::now();
            Compiled::new(engine, None, verified)?;
            compiled.push(start.elapsed());
        }
        Compiled::new(engine, Some(&cache), verified)?;
        let start = Instant::now();
        anyhow::ensure!(Compiled::new(engine, Some(&cache), verified)?.from_cache(), "the cache was not used");
        cached.push(start.elapsed());
    }
    let (compile, load) = (percentile(&mut compiled, 0.5) * 1e3, percentile(&mut cached, 0.5) * 1e3);
    let bytes = verified.bytes().len();
    println!("{name:<12} {bytes:>11} {compile:>13.2} {load:>15.3} {:>7.0}x", compile / load);
    Ok(())
}

fn request(n: usize) -> Result<CreateVolume> {
    let name = Name::parse(format!("pvc-{n}")).map_err(anyhow::Error::msg)?;
    let mount = MountAccess { fs_type: "ext4".into(), ..Default::default() };
    let access_mode = AccessMode::SingleNodeWriter;
    let keys = ["pvc/name", "pvc/namespace", "pv/name"];
    Ok(CreateVolume {
        name,
        capacity: CapacityRange::parse(1 << 30, 0)?,
        capabilities: vec![VolumeCapability { access_type: AccessType::Mount(mount), access_mode }],
        parameters: keys.iter().map(|key| (format!("csi.storage.k8s.io/{key}"), "value".to_owned())).collect(),
        mutable_parameters: BTreeMap::new(),
        topology: None,
        source: None,
        secrets: Secrets::default(),
    })
}

fn context() -> CallContext {
    CallContext {
        request_id: "bench".into(),
        deadline: Instant::now() + Duration::from_secs(10),
        role: Role::Controller,
        effect: Effect::Possible,
        idempotency_key: Some("0123456789abcdef0123456789abcdef".into()),
        secrets: Secrets::default(),
        resume: None,
    }
}

async fn calling(engine: &Engine, verified: &Verified) -> Result<()> {
    let permissions = Permissions {
        driver: "example".into(),
        config: [("server", "nfs.example.com"), ("export", "/export")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        granted: Granted::default(),
        access: ["nfs".to_owned()].into(),
        memory_bytes: 64 << 20,
        concurrency: 64,
        log_lines: 200,
        node_only: false,
    };
    let backend = Arc::new(Compiled::new(engine, None, verified)?.ready(engine, permissions).await?);
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let start = Instant::now();
        backend.instantiate_only(context()).await?;
        times.push(start.elapsed());
    }
    print("store and instance, made and dropped", &mut times);
    times.clear();
    for n in 0..CALLS {
        let order = CreateOrder { request: request(n)?, digest: "0".repeat(64) };
        let start = Instant::now();
        backend.create_volume(context(), order).await?;
        times.push(start.elapsed());
    }
    print("the call of the backend", &mut times);
    times.clear();
    let driver = Driver::new(Parts {
        name: "example".into(),
        backend,
        node: None,
        node_id: NodeId::parse("node").map_err(|e| anyhow::anyhow!("{e}"))?,
        directory: Arc::new(Nodes::new(None)),
        controller: true,
        call_timeout: Duration::from_secs(30),
        work: Work::new(engine.runtime()),
        pace: Arc::new(Pace::default()),
    });
    for n in 0..CALLS {
        let request = request(n)?;
        let start = Instant::now();
        driver.create_volume(request, None).await?;
        times.push(start.elapsed());
    }
    print("the whole use-case: lock, digest, deadline", &mut times);
    Ok(())
}

fn print(what: &str, times: &mut [Duration]) {
    println!("{what:<44} {:>9.1} {:>9.1}", percentile(times, 0.5) * 1e6, percentile(times, 0.99) * 1e6);
}
