//! Asks the kernel to let a thread that calls wait for run as soon as it has something to do.
//!
//! Postgres, the shipper and the portal have the same cores, and by itself the kernel lets each of them go on for
//! milliseconds before it gives one to a worker to which a message has come: while a file of a million announcements was
//! imported, one call in a hundred waited 5.5 ms or more for its 180, and 0.7 ms with what is asked for here.
#![allow(unsafe_code)]

/// Priorities among threads that go before all others (`sched(7)`): the least, the kernel's own come first. The kernel keeps
/// one twentieth of each core for the others, however much there is to do here.
#[derive(Clone, Copy)]
pub(crate) enum Priority {
    /// Of what calls wait for only when they are answered.
    Flusher = 1,
    /// Of what handles each message.
    Worker = 2,
}

/// How much the thread is preferred where it may not go before all others: the niceness (see `nice(2)`).
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

/// Puts the thread that calls it, and none that it starts, before all others, as far as the process may (`LimitRTPRIO` of
/// its unit). Where it may not, it is preferred (`LimitNICE`); where it may not be that, it wants short slices only. Who
/// started it may have preferred it more than that already.
pub(crate) fn prefer_this_thread(priority: Priority) {
    // SAFETY: it reads no memory; 0 is this thread. Where it fails it says -1, which is less than is asked for below.
    let present = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let fair = |nice| (libc::SCHED_OTHER, nice, 0, SLICE_NS);
    let before_all = (libc::SCHED_RR, 0, priority as u32, 0);
    for (policy, nice, priority, runtime) in [before_all, fair(NICENESS.min(present)), fair(present)] {
        let attributes = Attributes {
            size: size_of::<Attributes>() as u32,
            policy: policy as u32,
            flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
            nice,
            priority,
            runtime,
            deadline: 0,
            period: 0,
        };
        // SAFETY: the kernel reads `size` octets of `attributes`, which outlive the call; 0 is this thread.
        if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } == 0 {
            return;
        }
    }
}
