//! Which blocks of a snapshot hold data, and which differ between two: CSI's SnapshotMetadata service.

/// CSI `BlockMetadataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockMetadataType {
    /// All ranges have the same size.
    FixedLength,
    /// Ranges may differ in size.
    VariableLength,
}

/// A range in bytes from the start of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRange {
    /// Where it begins.
    pub byte_offset: u64,
    /// Never 0.
    pub size_bytes: u64,
}

impl BlockRange {
    /// The first byte after it.
    pub fn end(&self) -> u64 {
        self.byte_offset.saturating_add(self.size_bytes)
    }
}

/// One page of a walk over ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPage {
    /// The same in every page of one walk.
    pub metadata_type: BlockMetadataType,
    /// Bytes; the same in every page of one walk.
    pub volume_capacity_bytes: u64,
    /// Rising, not overlapping; the first one ends after the offset asked for.
    pub ranges: Vec<BlockRange>,
    /// Offset to ask for next; none: complete.
    pub next_offset: Option<u64>,
}
