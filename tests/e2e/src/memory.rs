//! Peak memory of a process and all it starts.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use tempfile::TempDir;

/// Samples the resident memory of a process tree from `/proc` until it is asked for the result.
#[derive(Debug)]
pub struct PeakMemory {
    stop: Arc<AtomicBool>,
    sampler: JoinHandle<Peak>,
}

/// The highest sum that was seen, and who had how much at that moment.
#[derive(Debug, Default, Clone)]
struct Peak {
    total: u64,
    parts: Vec<(String, u64)>,
}

impl PeakMemory {
    /// Begins with the process `pid` and its descendants.
    pub fn watch(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let sampler = thread::spawn(move || {
            let mut peak = Peak::default();
            while !stopped.load(Ordering::Relaxed) {
                let parts = resident(pid);
                let total = parts.iter().map(|(_, bytes)| bytes).sum();
                if total > peak.total {
                    peak = Peak { total, parts };
                }
                sleep(Duration::from_millis(5));
            }
            peak
        });
        Self { stop, sampler }
    }

    /// The peak in bytes, and a line that says what it was made of.
    pub fn finish(self) -> (u64, String) {
        self.stop.store(true, Ordering::Relaxed);
        let peak = self.sampler.join().expect("the sampler does not panic");
        let parts: Vec<String> = peak
            .parts
            .iter()
            .map(|(name, bytes)| format!("{name} {} MB", bytes / 1_000_000))
            .collect();
        (
            peak.total,
            format!("peak {} MB: {}", peak.total / 1_000_000, parts.join(", ")),
        )
    }
}

/// Name and resident bytes of a process and its descendants. Shared pages count once per process, so this is an upper
/// bound of what they really use.
fn resident(root: u32) -> Vec<(String, u64)> {
    let (mut found, mut waiting) = (Vec::new(), vec![root]);
    while let Some(pid) = waiting.pop() {
        // A process may end while it is looked at; then it uses nothing.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        let field = |name: &str| {
            let mut lines = status.lines();
            let value = lines.find_map(|line| line.strip_prefix(name))?;
            value.split_whitespace().next()
        };
        let kilobytes = field("VmRSS:").and_then(|text| text.parse().ok());
        let name = field("Name:").unwrap_or_default();
        found.push((name.to_owned(), kilobytes.unwrap_or(0_u64) * 1024));
        // Each thread has children of its own.
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children"));
            let children = children.unwrap_or_default();
            waiting.extend(children.split_whitespace().flat_map(str::parse::<u32>));
        }
    }
    found
}

/// A folder with at least `bytes` free: on `/dev/shm` when that has room, else in the usual place; `None` when neither.
pub fn roomy_tempdir(bytes: u64) -> Option<TempDir> {
    let usual = std::env::temp_dir();
    let place = [Path::new("/dev/shm"), &usual].into_iter().find(|dir| {
        rustix::fs::statvfs(*dir).is_ok_and(|stat| stat.f_bavail * stat.f_frsize >= bytes)
    })?;
    tempfile::Builder::new()
        .prefix("kiln-e2e-big-")
        .tempdir_in(place)
        .ok()
}
