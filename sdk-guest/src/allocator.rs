//! The allocator of backends: it goes forward and hardly ever back.
//!
//! The host makes a fresh instance for each call and drops it, with its memory, after the call. Whatever a call allocates lives
//! for milliseconds; giving it back earns nothing, and the bookkeeping of a general allocator costs time and code (dlmalloc:
//! about 6 KB, and the first allocation asks for memory). So `Bump` moves a pointer. Only the youngest block can be given
//! back or resized in place, which is what growing a `String` or `Vec` does.
//!
//! The first [`ARENA`] bytes are part of the module's own memory: a call that needs no more never asks the host to
//! grow it. Beyond that, memory grows by at least [`STEP`]; what is asked for in vain becomes a null pointer, and
//! Rust's `alloc` turns that into a trap, which costs this call only.

use std::cell::Cell;

/// Bytes that are there from the start. They cost address space, not file size, and no page is touched before it is used.
pub const ARENA: usize = 64 << 10;

/// Least number of bytes by which memory grows.
pub const STEP: usize = 256 << 10;

/// The free range `[next, end)` and where the youngest block starts. Plain numbers, so that this is tested natively.
#[derive(Debug)]
struct Range {
    next: Cell<usize>,
    end: Cell<usize>,
    youngest: Cell<usize>,
}

#[cfg_attr(not(any(test, target_family = "wasm")), expect(dead_code, reason = "used on Wasm and in tests"))]
impl Range {
    const fn new() -> Self {
        Self { next: Cell::new(0), end: Cell::new(0), youngest: Cell::new(0) }
    }

    /// Address of a new block; `None` if it doesn't fit. `align` is a power of two.
    fn take(&self, size: usize, align: usize) -> Option<usize> {
        let start = self.next.get().checked_next_multiple_of(align)?;
        let next = start.checked_add(size).filter(|next| *next <= self.end.get())?;
        self.next.set(next);
        self.youngest.set(start);
        Some(start)
    }

    /// Changes the size of the block at `start`, if that is the youngest and the new size fits.
    fn resize(&self, start: usize, size: usize) -> bool {
        let next = start.checked_add(size).filter(|next| *next <= self.end.get());
        match next {
            Some(next) if start == self.youngest.get() && start != 0 => {
                self.next.set(next);
                true
            }
            _ => false,
        }
    }

    /// Makes `[start, start + size)` usable: joined to what is left if it comes right after it, otherwise in its place.
    fn extend(&self, start: usize, size: usize) {
        if start != self.end.get() {
            self.next.set(start);
            // The youngest block lies before the gap: it must not grow into what isn't ours.
            self.youngest.set(0);
        }
        self.end.set(start.saturating_add(size));
    }
}

#[cfg(target_family = "wasm")]
pub use wasm::Bump;

#[cfg(target_family = "wasm")]
mod wasm {
    use super::{ARENA, Range, STEP};
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::UnsafeCell;

    const PAGE: usize = 64 << 10;

    #[repr(align(16))]
    struct Arena(UnsafeCell<[u8; ARENA]>);

    // SAFETY: a component without threads has one; nothing else is built (see the check below).
    unsafe impl Sync for Arena {}

    static MEMORY: Arena = Arena(UnsafeCell::new([0; ARENA]));

    /// A global allocator for single-use instances: see the module's documentation.
    pub struct Bump(Range);

    #[cfg(target_feature = "atomics")]
    compile_error!("the bump allocator is for components with one thread: use `; own allocator` in backend!");

    // SAFETY: as for `Arena`: there is one thread.
    unsafe impl Sync for Bump {}

    impl Bump {
        /// Takes nothing yet.
        pub const fn new() -> Self {
            Self(Range::new())
        }

        /// Gets more memory, enough for a block of that layout; false if there is none.
        fn refill(&self, layout: Layout) -> bool {
            if self.0.end.get() == 0 {
                self.0.extend(MEMORY.0.get() as usize, ARENA);
                if layout.size() <= ARENA / 2 {
                    return true;
                }
            }
            let Some(wanted) = layout.size().checked_add(layout.align()) else {
                return false;
            };
            let pages = wanted.max(STEP).div_ceil(PAGE);
            let before = core::arch::wasm32::memory_grow::<0>(pages);
            if before == usize::MAX {
                return false;
            }
            self.0.extend(before * PAGE, pages * PAGE);
            true
        }
    }

    // SAFETY: `Range::take` hands out parts of the arena and of grown memory that do not overlap, aligned as asked; `resize`
    // moves the border of the youngest part only, within the same free range.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            loop {
                if let Some(start) = self.0.take(layout.size(), layout.align()) {
                    return start as *mut u8;
                }
                if !self.refill(layout) {
                    return std::ptr::null_mut();
                }
            }
        }

        unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
            self.0.resize(block as usize, 0);
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            if self.0.resize(block as usize, size) || size <= layout.size() {
                return block;
            }
            // SAFETY: `size` and `layout.align()` make a valid layout by this function's contract; both blocks are valid
            // for the bytes copied and do not overlap.
            unsafe {
                let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                if !new.is_null() {
                    std::ptr::copy_nonoverlapping(block, new, layout.size());
                }
                new
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: usize, size: usize) -> Range {
        let range = Range::new();
        range.extend(start, size);
        range
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let free = range(4096, 100);
        assert_eq!(free.take(3, 1), Some(4096));
        assert_eq!(free.take(8, 8), Some(4104));
        assert_eq!(free.take(84, 4), Some(4112));
        assert_eq!(free.take(1, 1), None, "full");
        assert_eq!(free.take(0, 1), Some(4196), "nothing always fits");
    }

    #[test]
    fn only_the_youngest_block_changes_size() {
        let free = range(4096, 100);
        let (old, young) = (free.take(10, 1).unwrap(), free.take(10, 1).unwrap());
        assert!(!free.resize(old, 20));
        assert!(free.resize(young, 90));
        assert!(!free.resize(young, 91));
        assert!(free.resize(young, 0), "given back");
        assert_eq!(free.take(90, 1), Some(young));
    }

    #[test]
    fn more_memory_is_joined_if_it_follows() {
        let free = range(4096, 100);
        let young = free.take(60, 1).unwrap();
        assert_eq!(free.take(50, 1), None);
        free.extend(4196, 100);
        assert!(free.resize(young, 120), "grows across the seam");
        assert_eq!(free.take(80, 1), Some(4216));
        free.extend(9000, 10);
        assert!(!free.resize(4216, 1), "the block before the gap is closed");
        assert_eq!(free.take(10, 1), Some(9000), "a gap is left out");
    }

    #[test]
    fn numbers_that_do_not_fit_are_no_blocks() {
        let free = range(4096, 100);
        assert_eq!(free.take(usize::MAX, 1), None);
        assert_eq!(free.take(1, 1 << (usize::BITS - 1)), None);
        assert!(!Range::new().resize(0, 0), "null is no block");
    }
}
