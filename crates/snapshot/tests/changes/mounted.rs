//! Overlay mounts that only the test's own thread can see.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

/// The attributes overlayfs works with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Xattrs {
    Trusted,
    User,
}

/// Whether overlays can be mounted here; says why not.
pub(crate) fn can_mount(xattrs: Xattrs) -> bool {
    let scratch = tempfile::tempdir().unwrap();
    let Err(reason) = Overlay::try_mount(scratch.path(), &[], xattrs) else {
        return true;
    };
    kiln_skip::skipped(format!("cannot mount an overlay: {reason}"));
    false
}

/// An overlay over directories below `at`; unmounted when dropped.
pub(crate) struct Overlay {
    pub(crate) upper: PathBuf,
    pub(crate) merged: PathBuf,
}

impl Overlay {
    /// Mounts over `lowers`, topmost first, with everything else in the empty directory `at`.
    pub(crate) fn mount(at: &Path, lowers: &[PathBuf], xattrs: Xattrs) -> Self {
        Self::try_mount(at, lowers, xattrs).unwrap()
    }

    fn try_mount(at: &Path, lowers: &[PathBuf], xattrs: Xattrs) -> nix::Result<Self> {
        // Threads have mount namespaces of their own if they ask for it, so nothing is seen or left outside.
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
        let dir = |name: &str| {
            let path = at.join(name);
            std::fs::create_dir(&path).map(|()| path)
        };
        let make =
            |name| dir(name).map_err(|error| nix::Error::from_raw(error.raw_os_error().unwrap()));
        let (upper, work, merged, empty) = (
            make("upper")?,
            make("work")?,
            make("merged")?,
            make("empty")?,
        );
        let mut below: Vec<_> = lowers
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        if below.is_empty() {
            below.push(empty.display().to_string());
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={},index=off{}",
            below.join(":"),
            upper.display(),
            work.display(),
            match xattrs {
                Xattrs::Trusted => ",redirect_dir=off,metacopy=off",
                // Allows neither, and refuses to be told so.
                Xattrs::User => ",userxattr",
            }
        );
        mount(
            Some("overlay"),
            &merged,
            Some("overlay"),
            MsFlags::empty(),
            Some(&*options),
        )?;
        Ok(Self { upper, merged })
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = umount2(&self.merged, MntFlags::MNT_DETACH);
    }
}
