//! One wasmtime engine for all backends.
//!
//! Fixed on purpose: Cranelift only (the baseline compiler has had sandbox escapes and no epochs), no proposals that
//! backends don't need; neither threads nor core dumps (which would hold secrets) are even compiled in; fresh instances from a pool where the kernel can clear
//! them cheaply (PAGEMAP_SCAN, Linux 6.7) and on demand elsewhere.

use std::{
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest is made to yield: no call overruns its deadline by more than this, and a spinning guest
/// keeps a thread no longer.
const EPOCH: Duration = Duration::from_millis(2);
/// Threads for guests. They are apart from those that serve gRPC, so that spinning guests can't freeze the sockets.
const GUEST_THREADS: usize = 2;

/// How large the engine is made.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// Largest memory of one instance over all backends, in bytes.
    pub max_instance_memory: u64,
    /// Calls that may run at once, over all backends.
    pub max_calls: u32,
    /// Memory of all instances together, in bytes.
    pub total_memory: u64,
}

/// Memory that all instances together may still take.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicUsize>);

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    /// Takes `bytes` if they are there.
    pub fn take(&self, bytes: usize) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok()
    }

    /// Gives `bytes` back.
    pub fn give(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// The engine, its ticker and the runtime on which guests run. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) budget: Budget,
    runtime: Arc<Runtime>,
    serving: Option<tokio::runtime::Handle>,
    epochs: Arc<AtomicU64>,
}

/// A tokio runtime that may be dropped anywhere, also within another one.
struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Engine {
    /// Makes the engine and starts its ticker.
    ///
    /// # Errors
    /// The kernel refuses the address space or the threads.
    pub fn new(settings: EngineSettings) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config
            .concurrency_support(false)
            .epoch_interruption(true)
            .wasm_memory64(false)
            .wasm_relaxed_simd(false)
            .memory_init_cow(true)
            .generate_address_map(true)
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
        if PoolingAllocationConfig::is_pagemap_scan_available() {
            config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
        }
        let wasm = wasmtime::Engine::new(&config)?;
        let epochs = Arc::new(AtomicU64::new(0));
        start_ticker(&wasm, epochs.clone())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(GUEST_THREADS)
            .event_interval(1)
            .thread_name("guest")
            .enable_all()
            .build()?;
        Ok(Self {
            wasm,
            budget: Budget::new(usize::try_from(settings.total_memory).unwrap_or(usize::MAX)),
            runtime: Arc::new(Runtime(Some(runtime))),
            serving: tokio::runtime::Handle::try_current().ok(),
            epochs,
        })
    }

    /// Guests can run and can be stopped: a task on their runtime sees the epoch advance. May wait for long if not.
    pub async fn pulse(&self) {
        let epochs = self.epochs.clone();
        let seen = self.runtime().spawn(async move {
            let before = epochs.load(Ordering::Relaxed);
            while epochs.load(Ordering::Relaxed) == before {
                tokio::time::sleep(EPOCH).await;
            }
        });
        // It ends early only with the runtime, and that with the process.
        let _ = seen.await;
    }

    /// Drops what a call leaves behind once its answer is on the way: taking an instance down costs as much as making one,
    /// and the client needn't wait for it. It runs on the runtime that made the engine, which sends the answer first.
    pub(super) fn clear_up(&self, leftovers: impl Send + 'static) {
        match &self.serving {
            Some(serving) => drop(serving.spawn(async move { drop(leftovers) })),
            None => drop(leftovers),
        }
    }

    /// Where guests run.
    pub fn runtime(&self) -> tokio::runtime::Handle {
        match &self.runtime.0 {
            Some(runtime) => runtime.handle().clone(),
            None => unreachable!("the runtime is taken in drop only"),
        }
    }

    /// 16 hexadecimal digits that differ between engines that can't load each other's code.
    pub fn compatibility(&self) -> String {
        let hasher = BuildHasherDefault::<Fnv>::default();
        format!("{:016x}", hasher.hash_one(self.wasm.precompile_compatibility_hash()))
    }
}

fn pool(settings: EngineSettings) -> PoolingAllocationConfig {
    let calls = settings.max_calls.max(1);
    let mut pool = PoolingAllocationConfig::new();
    // A component is several core instances, and each may have a table: four of them for every call, measured.
    pool.total_component_instances(calls)
        .total_stacks(calls)
        .total_core_instances(calls.saturating_mul(8))
        .total_tables(calls.saturating_mul(8))
        .total_memories(calls.saturating_mul(2))
        .max_memory_size(usize::try_from(settings.max_instance_memory).unwrap_or(usize::MAX))
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(4 << 20)
        .table_elements(100_000)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Raises the epoch from an OS thread, so that no runtime that is stuck can stop it. Ends with the engine.
fn start_ticker(engine: &wasmtime::Engine, epochs: Arc<AtomicU64>) -> std::io::Result<()> {
    let weak = engine.weak();
    std::thread::Builder::new().name("epoch".into()).spawn(move || {
        loop {
            std::thread::sleep(EPOCH);
            match weak.upgrade() {
                Some(engine) => {
                    engine.increment_epoch();
                    epochs.fetch_add(1, Ordering::Relaxed);
                }
                None => return,
            }
        }
    })?;
    Ok(())
}

/// FNV-1a: the standard library's default hasher promises no stable output.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_never_goes_below_zero() {
        let budget = Budget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4));
        budget.give(5);
        assert!(budget.take(5) && !budget.take(1));
    }
}
