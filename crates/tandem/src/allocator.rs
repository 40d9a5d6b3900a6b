//! The allocator of the program, and for how long it keeps what was freed.
#![allow(unsafe_code)]

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the crate does not name.
const PURGE_DELAY: mi_option_t = 15;

/// For how long freed memory is kept before the system gets it back, in milliseconds. What the calls of one second free
/// those of the next ones need, and each page that the system gave again is a fault, and filled with zeros: of mimalloc's
/// own 1,000 ms they were a twentieth of what the hub takes for a call.
const KEPT_MS: c_long = 10_000;

/// Sets what is not mimalloc's default, unless the environment does (`MIMALLOC_PURGE_DELAY`).
pub(crate) fn set_up() {
    // SAFETY: it sets a number that every thread reads when it next asks for it.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_that_the_crate_does_not_name_is_the_one_that_is_meant() {
        // SAFETY: it reads a number.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(default, 1_000, "the default in options.c of mimalloc 3");
        set_up();
        // SAFETY: as above.
        assert_eq!(unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }, KEPT_MS);
    }
}
