//! What one call has besides its own memory: circumstances, limits, and WASI as far as language runtimes ask for it.

use super::{engine::Budget, http::Http};
use crate::{
    imports::Granted,
    ops::{lane::Lane, ports::CallContext},
};
use bulkhead_domain::error::clean_text;
use std::{collections::BTreeMap, sync::Arc};
use tokio_util::task::TaskTracker;
use wasmtime::{
    ResourceLimiter,
    component::{HasData, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p2::pipe::MemoryOutputPipe};

/// Bytes of what a guest prints to stdout and stderr that are kept for the log.
const PRINTED_BYTES: usize = 4096;
/// Longest line that a guest may log, in bytes.
const LOG_LINE_BYTES: usize = 1024;
/// Largest piece of randomness a guest may ask for at once, in bytes.
const MAX_RANDOM_BYTES: u64 = 64 << 10;
/// Tables, core instances and memories of one call.
const MAX_TABLE_ELEMENTS: usize = 100_000;
const MAX_PARTS: usize = 64;
/// Handles that a guest may hold at once: requests, answers, headers, streams, secrets. More is a trap.
const MAX_RESOURCES: usize = 256;

/// What is the same for all calls of one backend.
#[derive(Debug)]
pub struct Shared {
    /// CSI driver name.
    pub driver: String,
    /// The `config` of the backend.
    pub config: BTreeMap<String, String>,
    /// What it may use.
    pub granted: Granted,
    /// Where steps on its pools run, by pool.
    pub lanes: BTreeMap<String, Lane>,
    /// Bytes of memory of one call.
    pub memory_bytes: usize,
    /// Lines that one call may log.
    pub log_lines: u32,
}

/// The data of one store. Dropped with it at the end of the call.
pub struct CallState {
    /// The circumstances.
    pub cx: CallContext,
    /// What all calls share.
    pub shared: Arc<Shared>,
    /// Resources of the guest.
    pub table: ResourceTable,
    /// Steps of imports that run on blocking threads: they can't be stopped, only waited for.
    pub steps: TaskTracker,
    /// Requests, once one is made.
    pub(super) http: Option<Http>,
    /// What the host knows of requests that were refused.
    pub(super) notes: super::http::Notes,
    wasi: Option<Wasi>,
    meter: Meter,
    logged: u32,
}

struct Wasi {
    ctx: WasiCtx,
    printed: MemoryOutputPipe,
}

/// Lets `add_to_linker` borrow the whole state.
pub struct HasState;

impl HasData for HasState {
    type Data<'a> = &'a mut CallState;
}

impl CallState {
    /// State of one call.
    pub fn new(cx: CallContext, shared: Arc<Shared>, budget: Budget) -> Self {
        let meter = Meter { budget, limit: shared.memory_bytes, used: 0, refused: false };
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let (steps, notes) = (TaskTracker::new(), super::http::Notes::default());
        Self { cx, shared, table, steps, http: None, notes, wasi: None, meter, logged: 0 }
    }

    /// The limits, for the store.
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.meter
    }

    /// Memory was refused during this call: what follows from it is not the code's fault.
    pub fn memory_was_refused(&self) -> bool {
        self.meter.refused
    }

    /// A line of the guest: escaped, masked, cut, and counted.
    pub fn log(&mut self, level: tracing::Level, message: &str) {
        self.logged = self.logged.saturating_add(1);
        if self.logged > self.shared.log_lines {
            return;
        }
        let message = clean_text(&self.shared.granted.mask(&self.cx.secrets, message), LOG_LINE_BYTES);
        let (driver, request_id) = (self.shared.driver.as_str(), self.cx.request_id.as_str());
        match level {
            tracing::Level::ERROR => tracing::error!(target: "backend", driver, request_id, "{message}"),
            tracing::Level::WARN => tracing::warn!(target: "backend", driver, request_id, "{message}"),
            tracing::Level::INFO => tracing::info!(target: "backend", driver, request_id, "{message}"),
            tracing::Level::DEBUG => tracing::debug!(target: "backend", driver, request_id, "{message}"),
            tracing::Level::TRACE => tracing::trace!(target: "backend", driver, request_id, "{message}"),
        }
    }

    /// Logs what the guest printed (a language runtime reports a crash that way) and how many lines were dropped.
    fn finish(&mut self) {
        let printed = self.wasi.as_ref().map(|wasi| wasi.printed.contents()).unwrap_or_default();
        if !printed.is_empty() {
            let printed = String::from_utf8_lossy(&printed).into_owned();
            self.log(tracing::Level::WARN, &format!("printed: {printed}"));
        }
        let dropped = self.logged.saturating_sub(self.shared.log_lines);
        if dropped > 0 {
            let driver = self.shared.driver.as_str();
            tracing::warn!(driver, request_id = self.cx.request_id, dropped, "the backend logged more than a call may");
        }
    }
}

impl Drop for CallState {
    /// However the call ended: an answer, a trap, or the deadline.
    fn drop(&mut self) {
        self.finish();
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        // Made when first asked for: most backends never do.
        let wasi = self.wasi.get_or_insert_with(Wasi::closed);
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut self.table }
    }
}

impl Wasi {
    /// Clocks, randomness and an empty environment; no directory, no address, no name look-up.
    fn closed() -> Self {
        let printed = MemoryOutputPipe::new(PRINTED_BYTES);
        let ctx = WasiCtx::builder()
            .stdout(printed.clone())
            .stderr(printed.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM_BYTES)
            .build();
        Self { ctx, printed }
    }
}

/// Counts the memory of one call, against its own limit and the budget of all.
struct Meter {
    budget: Budget,
    limit: usize,
    used: usize,
    refused: bool,
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let fits = self.used.checked_add(more).is_some_and(|sum| sum <= self.limit);
        if !fits || !self.budget.take(more) {
            self.refused = true;
            return Ok(false);
        }
        self.used += more;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        MAX_PARTS
    }

    fn tables(&self) -> usize {
        MAX_PARTS
    }

    fn memories(&self) -> usize {
        MAX_PARTS
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.budget.give(self.used);
    }
}
