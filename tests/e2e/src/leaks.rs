//! What a build may not leave behind: mounts, processes, temporary files, changes of the context.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::case::Case;
use crate::tree::Tree;

/// The state before a build.
#[derive(Debug)]
pub struct Leaks {
    dir: PathBuf,
    id: String,
    context: Option<Tree>,
    /// Servers of the test itself.
    processes: Vec<String>,
}

impl Leaks {
    /// Looks at the case's folder before the build.
    pub fn before(case: &Case) -> Self {
        let context = Tree::of_dir(&case.path("context")).ok();
        Self {
            dir: case.path(""),
            id: case.id(),
            context,
            processes: processes(&case.id()),
        }
    }

    /// Panics when a mount, a process, or a file in TMPDIR is left, or the context changed (J12).
    pub fn check_after(&self, log: &str) {
        let mut left: Vec<String> = files(&self.dir.join("tmp"));
        left.extend(mounts(&self.dir));
        // The kernel may still be at a killed process when its parent has ended; what stays is a leak.
        let mut processes = self.new_processes();
        for _ in 0..50 {
            if processes.is_empty() {
                break;
            }
            sleep(Duration::from_millis(20));
            processes = self.new_processes();
        }
        left.extend(processes);
        if self.context.is_some() && Tree::of_dir(&self.dir.join("context")).ok() != self.context {
            left.push("the context was changed".into());
        }
        assert!(
            left.is_empty(),
            "the build left behind:\n  {}\nIts log:\n{log}",
            left.join("\n  ")
        );
    }

    /// The same for a build that was told to end: what takes long is removed by a process that it leaves for this, and
    /// which is given time here.
    pub fn check_soon_after(&self, log: &str) {
        for _ in 0..600 {
            if files(&self.dir.join("tmp")).is_empty() && self.new_processes().is_empty() {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        self.check_after(log);
    }

    fn new_processes(&self) -> Vec<String> {
        let mut now = processes(&self.id);
        now.retain(|process| !self.processes.contains(process));
        now
    }
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| format!("file {}", entry.path().display()))
        .collect()
}

fn mounts(dir: &Path) -> Vec<String> {
    let inside = format!("{}/", dir.display().to_string().trim_end_matches('/'));
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    // `tmp` and `out` may be small filesystems that the test mounted.
    let own = [format!("{inside}tmp"), format!("{inside}out")];
    points
        .filter(|point| point.starts_with(&inside) && !own.iter().any(|path| path == point))
        .map(|point| format!("mount {point}"))
        .collect()
}

/// Processes whose command line has the case's name: the builder's own (its destination has it), and commands of RUN
/// into which a test wrote it.
fn processes(id: &str) -> Vec<String> {
    let lower = id.to_lowercase();
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.filter(|pid| *pid != own && pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(id) || line.contains(&lower)).then(|| format!("process {pid}: {line}"))
        })
        .collect()
}
