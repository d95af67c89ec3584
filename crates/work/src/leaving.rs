//! Leaving quickly: an interrupted build ends at once, and what it cannot remove in that time is removed by a process
//! that stays behind for it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::mount::UnmountFlags;

/// How long an interrupted build removes its files itself before it leaves that to another process.
const REMOVAL: Duration = Duration::from_millis(200);

/// What the process that stays behind is called, and how [`init`] knows that it is one.
const SWEEPER: &str = "kiln-sweeper";

/// The work folders of this process that are not removed yet.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// To be called at the start of `main`: in a process started by `sweep_later`, removes the folder and ends.
pub fn init() {
    let mut words = std::env::args_os();
    if words.next().is_none_or(|name| name != SWEEPER) {
        return;
    }
    if let Some(folder) = words.next() {
        sweep(Path::new(&folder));
    }
    #[expect(clippy::exit, reason = "this process is there for nothing else")]
    std::process::exit(0);
}

/// Notes a folder that has to go, whatever happens to this process in an orderly way.
pub(crate) fn register(folder: &Path) {
    folders(|all| all.push(folder.to_owned()));
}

/// The folder is gone, or somebody else sees to it.
pub fn forget(folder: &Path) {
    folders(|all| all.retain(|known| known != folder));
}

fn folders<T>(work: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
    work(&mut FOLDERS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Has everything that builds of this process keep on disk removed by another process. For a program that has been
/// told to end, and ends now although the build has not: nothing else of it may be used afterwards.
pub fn abandon() {
    for folder in folders(std::mem::take) {
        if let Err(error) = sweep_later(&folder) {
            tracing::debug!(%error, path = %folder.display(), "left for the next build");
        }
    }
}

/// Removes a folder within the time that an interrupted build has, or has it removed.
pub(crate) fn remove_quickly(folder: &Path) -> io::Result<()> {
    let (sender, done) = mpsc::channel();
    let path = folder.to_owned();
    // Not waited for: the process ends, and with it the thread.
    std::thread::Builder::new()
        .name("kiln-remove".to_owned())
        .spawn(move || sender.send(fs::remove_dir_all(path)))?;
    match done.recv_timeout(REMOVAL) {
        Ok(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) => Ok(()),
        Err(_) => sweep_later(folder),
    }
}

/// Starts a process that removes the folder. It outlives this one, unless this is the first process of a container,
/// which takes the folder with it or leaves it to the next build.
fn sweep_later(folder: &Path) -> io::Result<()> {
    let arguments: [OsString; 1] = [folder.into()];
    Command::new("/proc/self/exe")
        .arg0(SWEEPER)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // What the terminal sends to the build is not meant for it.
        .process_group(0)
        .spawn()?;
    Ok(())
}

/// Takes mounts of the build away, which this process shares with it, then all files.
fn sweep(folder: &Path) {
    for mount in mounts_below(folder).iter().rev() {
        // Without the right to, the folder stays until the namespace is gone and another build looks.
        let _ = rustix::mount::unmount(mount, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
    // The build's threads may have made a file meanwhile.
    for _ in 0..3 {
        if fs::remove_dir_all(folder).is_ok() {
            return;
        }
    }
}

/// Mount points below a folder, outer ones first, as the kernel lists them.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points = table
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    // Work folders have no blanks of ours below them; a folder with one in its own name is escaped there.
    let escaped = folder
        .as_os_str()
        .as_bytes()
        .iter()
        .flat_map(|byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            _ => vec![*byte],
        })
        .collect::<Vec<u8>>();
    points
        .filter_map(|point| point.strip_prefix(escaped.as_slice()))
        .filter(|rest| rest.first() == Some(&b'/'))
        .map(|rest| folder.join(std::ffi::OsStr::from_bytes(&rest[1..])))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_folder_is_gone_at_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("work");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(folder.join("a/b/c"), "").unwrap();
        remove_quickly(&folder).unwrap();
        assert!(!folder.exists());
        remove_quickly(&folder).unwrap();
    }

    #[test]
    fn only_registered_folders_are_abandoned() {
        let parent = tempfile::tempdir().unwrap();
        register(parent.path());
        forget(parent.path());
        abandon();
        assert!(parent.path().exists());
    }

    #[test]
    fn mount_points_of_others_are_left_alone() {
        assert!(mounts_below(Path::new("/pro")).is_empty());
        assert!(mounts_below(Path::new("/proc/self/nothing")).is_empty());
    }
}
