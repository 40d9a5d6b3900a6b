//! Brings the journal to the disk itself, so that an answer that a member got outlives a power cut.
//!
//! Waiting for the disk takes longer than handling a hundred calls, so a thread of its own does it, for all
//! records of some milliseconds at once. Only messages that say "answered" wait for it, in [`Awaiting`];
//! everything else leaves as soon as the record is written.
//!
//! What a disk refused to flush may be lost, and asking again for the same file would not tell (the kernel calls its
//! pages clean). So the answers go on waiting, and the worker writes the calls that are up to a new segment.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use prometheus::Histogram;
use tokio::sync::Notify;

use crate::outbox::{Flow, Octets};
use crate::scheduling::{Priority, prefer_this_thread};

/// How long after a failed flush the next one is tried: it begins with every call that is up.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What is to be flushed.
#[derive(Default)]
struct Wanted {
    files: Vec<Arc<File>>,
    /// Up to where the journal is whole once they are.
    mark: u64,
    /// How many flushes had failed when this was asked for: after one more, these are not the right files.
    failures: u64,
}

/// What the worker's thread and the flusher's share.
#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    work: Condvar,
    flushed: AtomicU64,
    failures: AtomicU64,
    failing: AtomicBool,
    closed: AtomicBool,
    /// Wakes the worker's loop.
    done: Notify,
}

/// The worker's handle to the flushing thread; the thread ends with it.
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    /// Failures that the worker knows of.
    failures: u64,
}

impl Flusher {
    /// Starts the thread. It begins a flush at most once in `interval`, and tells how long each `took`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start(interval: Duration, took: Histogram) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("tandem-flush".into());
        thread.spawn({
            let shared = Arc::clone(&shared);
            move || {
                prefer_this_thread(Priority::Flusher);
                run(&shared, interval, &took);
            }
        })?;
        Ok(Self { shared, failures: 0 })
    }

    /// Asks for `files` to be flushed; then the journal is on the disk up to `mark`.
    pub(crate) fn ask(&self, files: impl IntoIterator<Item = Arc<File>>, mark: u64) {
        let mut wanted = self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.failures != self.failures {
            wanted.files.clear();
        }
        for file in files {
            if !wanted.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
                wanted.files.push(file);
            }
        }
        (wanted.mark, wanted.failures) = (mark, self.failures);
        self.shared.work.notify_one();
    }

    /// Up to where the journal is on the disk.
    pub(crate) fn flushed(&self) -> u64 {
        self.shared.flushed.load(Ordering::Acquire)
    }

    /// Whether a flush has failed since the last time that this was asked. What is asked for from here on must not
    /// rely on the files that it was of.
    pub(crate) fn has_failed(&mut self) -> bool {
        let failures = self.shared.failures.load(Ordering::Acquire);
        std::mem::replace(&mut self.failures, failures) != failures
    }

    /// Whether the disk refused the last flush.
    pub(crate) fn is_failing(&self) -> bool {
        self.shared.failing.load(Ordering::Relaxed)
    }

    /// Waits until a flush is done.
    pub(crate) async fn done(&self) {
        self.shared.done.notified().await;
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.work.notify_one();
    }
}

fn run(shared: &Shared, interval: Duration, took: &Histogram) {
    loop {
        let (files, mark) = {
            let mut wanted = shared.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                // Asked for by who did not know yet that a flush had failed.
                if wanted.failures != shared.failures.load(Ordering::Relaxed) {
                    wanted.files.clear();
                }
                if !wanted.files.is_empty() {
                    break;
                }
                if shared.closed.load(Ordering::Acquire) {
                    return;
                }
                wanted = shared.work.wait(wanted).unwrap_or_else(PoisonError::into_inner);
            }
            (std::mem::take(&mut wanted.files), wanted.mark)
        };
        let timer = took.start_timer();
        let outcome = files.iter().try_for_each(|file| file.sync_data());
        timer.observe_duration();
        let pause = match outcome {
            Ok(()) => {
                shared.failing.store(false, Ordering::Relaxed);
                shared.flushed.store(mark, Ordering::Release);
                interval
            }
            Err(error) => {
                tracing::error!(%error, "cannot flush the journal to the disk; new calls are refused until it works");
                shared.failing.store(true, Ordering::Relaxed);
                shared.failures.fetch_add(1, Ordering::Release);
                AFTER_FAILURE
            }
        };
        shared.done.notify_one();
        std::thread::sleep(pause);
    }
}

/// Messages that wait for the disk, in the order in which their records were written.
#[derive(Default)]
pub(crate) struct Awaiting {
    messages: VecDeque<(u64, Flow, Octets)>,
    /// Up to where a flush was asked for.
    asked: u64,
}

impl Awaiting {
    /// Keeps messages until the journal is on the disk up to `mark`.
    pub(crate) fn keep(&mut self, messages: impl IntoIterator<Item = (Flow, Octets)>, mark: u64) {
        self.messages.extend(messages.into_iter().map(|(flow, octets)| (mark, flow, octets)));
    }

    /// Whether a flush is to be asked for now that the journal is written up to `written`. It counts as asked for.
    pub(crate) fn needs_flush(&mut self, written: u64) -> bool {
        let needs = written > self.asked && self.messages.back().is_some_and(|&(mark, ..)| mark > self.asked);
        if needs {
            self.asked = written;
        }
        needs
    }

    /// Lets a flush be asked for again after one that failed: the journal is on the disk up to `flushed` only.
    pub(crate) fn ask_again(&mut self, flushed: u64) {
        self.asked = flushed;
    }

    /// Takes out what no longer waits.
    pub(crate) fn release(&mut self, flushed: u64) -> impl Iterator<Item = (Flow, Octets)> {
        let count = self.messages.iter().take_while(|(mark, ..)| *mark <= flushed).count();
        self.messages.drain(..count).map(|(_, flow, octets)| (flow, octets))
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tandem_model::Transport;

    use super::*;

    fn message(n: u8) -> (Flow, Octets) {
        let remote = "192.0.2.1:5060".parse().unwrap();
        (Flow::new(0, Transport::Udp, remote), Octets::from([n].as_slice()))
    }

    fn numbers(released: impl Iterator<Item = (Flow, Octets)>) -> Vec<u8> {
        released.map(|(_, octets)| octets[0]).collect()
    }

    fn histogram() -> Histogram {
        Histogram::with_opts(prometheus::HistogramOpts::new("took", "-")).unwrap()
    }

    #[test]
    fn a_message_leaves_when_its_record_is_on_the_disk_and_not_before() {
        let mut awaiting = Awaiting::default();
        awaiting.keep([message(1), message(2)], 100);
        awaiting.keep([message(3)], 250);
        assert!(numbers(awaiting.release(99)).is_empty());
        assert_eq!(numbers(awaiting.release(100)), [1, 2]);
        assert!(numbers(awaiting.release(249)).is_empty());
        assert_eq!(numbers(awaiting.release(1_000)), [3]);
        assert!(awaiting.is_empty());
    }

    #[test]
    fn a_flush_is_asked_for_again_as_long_as_a_record_that_is_waited_for_is_not_written() {
        let mut awaiting = Awaiting::default();
        assert!(!awaiting.needs_flush(50), "nothing waits");
        awaiting.keep([message(1)], 100);
        assert!(awaiting.needs_flush(50), "a part is written");
        assert!(!awaiting.needs_flush(50));
        assert!(awaiting.needs_flush(120));
        assert!(!awaiting.needs_flush(200), "what was written since is waited for by nothing");
    }

    #[tokio::test]
    async fn a_flush_is_done_for_the_last_mark_that_was_asked_for() {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let flusher = Flusher::start(Duration::from_millis(1), histogram()).unwrap();
        for mark in 1..=50 {
            flusher.ask([Arc::clone(&file)], mark);
        }
        while flusher.flushed() < 50 {
            flusher.done().await;
        }
        assert!(!flusher.is_failing());
    }

    #[tokio::test]
    async fn after_a_failed_flush_only_files_that_were_asked_for_since_count() {
        // A device cannot be flushed.
        let (refusing, good) = (File::open("/dev/null").unwrap(), tempfile::tempfile().unwrap());
        let mut flusher = Flusher::start(Duration::from_millis(1), histogram()).unwrap();
        flusher.ask([Arc::new(refusing)], 10);
        while !flusher.is_failing() {
            flusher.done().await;
        }
        let good = Arc::new(good);
        // Asked for before the failure is known.
        flusher.ask([Arc::clone(&good)], 20);
        assert!(flusher.has_failed());
        assert!(!flusher.has_failed());
        flusher.ask([good], 30);
        while flusher.is_failing() {
            flusher.done().await;
            assert!(matches!(flusher.flushed(), 0 | 30));
        }
        assert_eq!(flusher.flushed(), 30);
    }
}
