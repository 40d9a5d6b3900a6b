//! What processes use: run time to the nanosecond, and memory of which shared pages count once.

use std::collections::HashMap;
use std::fs;

/// A process and its children.
pub(crate) fn group(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children).collect()
}

/// How long each thread of some processes has run, in nanoseconds.
#[derive(Default)]
pub(crate) struct RunTime(HashMap<u32, u64>);

impl RunTime {
    /// Of all threads of the processes that `pids` and their children are now.
    pub(crate) fn of(pids: &[u32]) -> Self {
        let mut times = HashMap::new();
        for pid in pids.iter().flat_map(|&pid| group(pid)) {
            // What has just ended is not there.
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let time = fs::read_to_string(task.path().join("schedstat")).ok();
                let time = time.and_then(|text| text.split_whitespace().next()?.parse().ok());
                let id = task.file_name().to_str().and_then(|name| name.parse().ok());
                if let (Some(id), Some(time)) = (id, time) {
                    times.insert(id, time);
                }
            }
        }
        Self(times)
    }

    /// Microseconds that were run since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> f64 {
        let more = |(id, time): (&u32, &u64)| time.saturating_sub(earlier.0.get(id).copied().unwrap_or(0));
        self.0.iter().map(more).sum::<u64>() as f64 / 1e3
    }
}

/// Microseconds that all cores together have been busy since the machine started.
pub(crate) fn machine_busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
    // user, nice, system, idle, iowait, irq, softirq: in hundredths of a second.
    [0, 1, 2, 5, 6].iter().filter_map(|&field| fields.get(field)).sum::<f64>() * 1e4
}

/// Octets of memory of a process and its children.
pub(crate) fn memory(pid: u32) -> u64 {
    let of_one = |pid: u32| -> Option<u64> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        pss.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    group(pid).into_iter().filter_map(of_one).sum::<u64>() * 1024
}
