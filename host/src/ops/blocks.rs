//! The SnapshotMetadata service: a walk over blocks, page by page, from one call of the backend each.

use super::{Driver, call::Call, ports::BlocksRequest};
use bulkhead_domain::{
    Error, Result,
    blocks::{BlockMetadataType, BlockPage},
    request::{Blocks, Secrets, WalkBlocks},
};
use std::time::{Duration, Instant};

/// A walk that has begun. Pages are checked against each other: a client must be able to trust the whole of them.
pub struct BlockWalk {
    driver: Driver,
    blocks: Blocks,
    max_results: u32,
    secrets: Secrets,
    /// When the client's patience ends; each page has the configured time for itself besides.
    deadline: Option<Instant>,
    /// Offset to ask for next; none: the end was seen.
    next: Option<u64>,
    /// First byte that the next page may speak of.
    seen: u64,
    constant: Option<(BlockMetadataType, u64)>,
}

impl Driver {
    /// GetMetadataAllocated and GetMetadataDelta: begins a walk. Takes no lock: it changes nothing.
    pub fn walk_blocks(&self, request: WalkBlocks, timeout: Option<Duration>) -> BlockWalk {
        BlockWalk {
            driver: self.clone(),
            blocks: request.blocks,
            max_results: request.max_results,
            secrets: request.secrets,
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            next: Some(request.starting_offset),
            seen: 0,
            constant: None,
        }
    }
}

impl BlockWalk {
    /// The next page; none after the last. The first one may be empty, later ones are left out if they are.
    ///
    /// # Errors
    /// Those of the backend; UNAVAILABLE where it contradicts itself; DEADLINE_EXCEEDED.
    pub async fn next(&mut self) -> Result<Option<BlockPage>> {
        while let Some(offset) = self.next {
            let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(Error::deadline_exceeded("the walk ran out of time: go on from the last offset seen"));
            }
            let request =
                BlocksRequest { blocks: self.blocks.clone(), starting_offset: offset, max_results: self.max_results };
            let like = Call::reading(left, self.secrets.clone());
            let page = self
                .driver
                .ask(like, (), request, |backend, cx, request| async move { backend.get_blocks(cx, request).await });
            let page = page.await?;
            let first = self.constant.is_none();
            self.check(offset, &page).map_err(|what| {
                tracing::error!(driver = self.driver.name(), what, "the backend's walk over blocks contradicts itself");
                Error::unavailable(format_args!("the backend's walk over blocks contradicts itself: {what}"))
            })?;
            if first || !page.ranges.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn check(&mut self, offset: u64, page: &BlockPage) -> std::result::Result<(), &'static str> {
        let constant = (page.metadata_type, page.volume_capacity_bytes);
        if *self.constant.get_or_insert(constant) != constant {
            return Err("type or capacity has changed");
        }
        if page.ranges.first().is_some_and(|range| range.byte_offset < self.seen) {
            return Err("a page overlaps the one before it");
        }
        if page.next_offset.is_some_and(|next| next <= offset) {
            return Err("it does not advance");
        }
        self.seen = page.ranges.last().map_or(self.seen, |range| range.end());
        self.next = page.next_offset;
        Ok(())
    }
}
