//! Servers that end with the test that started them, however it ends.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// Waits for its standard input to close, which the kernel does even when the test is killed; then ends the server by
/// its process id, unmounts what it left mounted below the folder, and removes the folder.
const GUARD: &str = r#"
dir=$1; shift
"$@" </dev/null &
server=$!
echo "$server" >"$dir/guarded.pid"
read -r _
kill "$server" 2>/dev/null
wait "$server"
awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r at; do
    umount -l "$at"
done
rm -rf --one-file-system "$dir"
"#;

/// A server process with a folder of its own.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    hold: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `program`; its output goes to `log`, and `dir` is removed at the end.
    pub(crate) fn start<A: AsRef<OsStr>>(
        dir: &Path,
        log: &Path,
        program: &Path,
        arguments: &[A],
    ) -> Self {
        let out = File::create(log).expect("the log of a server can be made");
        let mut guard = Command::new("/bin/sh")
            .arg("-c")
            .arg(GUARD)
            .arg("guard")
            .arg(dir)
            .arg(program)
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("a file handle can be cloned"))
            .stderr(out)
            .spawn()
            .expect("/bin/sh starts");
        let hold = guard.stdin.take();
        Self { guard, hold }
    }

    /// Whether the server and its guard still run.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(None))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.hold.take());
        // Nothing can be done about a guard that cannot be waited for.
        let _ = self.guard.wait();
    }
}
