//! The allocator of the program, counted: what was asked of it, and what it set aside for that.
#![expect(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use mimalloc::MiMalloc;

struct Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

static ASKED: AtomicUsize = AtomicUsize::new(0);
static SET_ASIDE: AtomicUsize = AtomicUsize::new(0);

/// The most that was ever set aside.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes on the heap at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Heap {
    /// As the program asked for them.
    pub(crate) asked: usize,
    /// With what the allocator adds to fill its size classes.
    pub(crate) set_aside: usize,
}

impl Heap {
    pub(crate) fn now() -> Self {
        Self { asked: ASKED.load(Relaxed), set_aside: SET_ASIDE.load(Relaxed) }
    }

    /// The most that was set aside beyond what was then; it is the most since then only where it was never more before.
    pub(crate) fn peak_since(before: Self) -> usize {
        PEAK.load(Relaxed) - before.set_aside
    }

    /// What was added since, per item.
    pub(crate) fn since(before: Self, items: usize) -> [f64; 2] {
        let now = Self::now();
        let per = |now: usize, before: usize| (now as f64 - before as f64) / items as f64;
        [per(now.asked, before.asked), per(now.set_aside, before.set_aside)]
    }
}

// SAFETY: each call is handed to the allocator that made the block; nothing else touches it.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { MiMalloc.alloc(layout) };
        if !block.is_null() {
            ASKED.fetch_add(layout.size(), Relaxed);
            // SAFETY: the block is live and mimalloc's.
            let usable = unsafe { MiMalloc.usable_size(block) };
            PEAK.fetch_max(SET_ASIDE.fetch_add(usable, Relaxed) + usable, Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ASKED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the block is live until the next line, and mimalloc's.
        SET_ASIDE.fetch_sub(unsafe { MiMalloc.usable_size(block) }, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}
