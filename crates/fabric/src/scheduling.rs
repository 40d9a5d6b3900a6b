//! Asks the kernel to let a worker run as soon as it has something to do.
//!
//! Postgres, the shipper and the portal have the same cores, and by itself the kernel lets each of them go on for
//! milliseconds before it gives one to a worker to which a message has come.
#![allow(unsafe_code)]

/// How much the thread is preferred: the niceness (see `nice(2)`).
const NICENESS: i32 = -10;

/// For how long at a time the thread wants a core: who wants it for less gets it sooner (Linux 6.12).
const SLICE_NS: u64 = 100_000;

/// `struct sched_attr` of `sched_setattr(2)`.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Prefers the thread that calls it, as far as the process may: where it may not be preferred to others
/// (`LimitNICE` of its unit), it wants short slices only. Who started it may have preferred it more than that already.
pub(crate) fn prefer_this_thread() {
    // SAFETY: it reads no memory; 0 is this thread. Where it fails it says -1, which is less than is asked for below.
    let present = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    for nice in [NICENESS.min(present), present] {
        let attributes = Attributes {
            size: size_of::<Attributes>() as u32,
            policy: libc::SCHED_OTHER as u32,
            flags: 0,
            nice,
            priority: 0,
            runtime: SLICE_NS,
            deadline: 0,
            period: 0,
        };
        // SAFETY: the kernel reads `size` octets of `attributes`, which outlive the call; 0 is this thread.
        if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } == 0 {
            return;
        }
    }
}
