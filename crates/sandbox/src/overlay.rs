//! Overlay mounts of the executor itself: roots whose changes are kept apart.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use kiln_notice::Listener;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::SandboxError;
use crate::id_map::in_user_namespace;
use crate::run::descriptor_path;

/// mount(2) takes one page of options, with a zero at its end.
const LONGEST_OPTIONS: usize = 4095;

/// Changes must be complete files in the upper directory, because that is what becomes the layer. `userxattr`
/// means the last two by itself, and the kernel takes `redirect_dir=off` beside it for a contradiction.
const PLAIN: &[(&str, &str)] = &[
    ("index", "off"),
    ("metacopy", "off"),
    ("redirect_dir", "off"),
];

/// A mounted overlay; unmounted on drop.
#[derive(Debug)]
pub struct OverlayMount {
    at: PathBuf,
    mounted: bool,
    notices: Listener<SandboxError>,
}

impl OverlayMount {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Tells `notices` if it cannot be unmounted where it is dropped.
    #[must_use]
    pub fn telling(mut self, notices: Listener<SandboxError>) -> Self {
        self.notices = notices;
        self
    }

    /// Unmounts it, lazily if it is busy, and says so if even that fails.
    pub fn unmount(mut self) -> Result<(), SandboxError> {
        self.take_away()
    }

    fn take_away(&mut self) -> Result<(), SandboxError> {
        if !std::mem::take(&mut self.mounted) {
            return Ok(());
        }
        rustix::mount::unmount(&self.at, UnmountFlags::NOFOLLOW)
            .or_else(|_| {
                rustix::mount::unmount(&self.at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            })
            .map_err(|errno| SandboxError::io("unmount", &self.at, errno))
    }
}

impl Drop for OverlayMount {
    fn drop(&mut self) {
        if let Err(error) = self.take_away() {
            self.notices.tell(error);
        }
    }
}

/// Whether an overlay with its upper directory in `dir` can be mounted and works as snapshots need; really tries.
pub fn probe_overlay(dir: &Path) -> bool {
    let outcome = tempfile::tempdir_in(dir).and_then(|scratch| try_overlay(scratch.path()));
    if let Err(error) = &outcome {
        tracing::debug!("no overlay in `{}`: {error}", dir.display());
    }
    outcome.is_ok()
}

/// Mounts an overlay at `at`; `lowers` are topmost first, `work` must be empty or left by an earlier overlay.
///
/// Needs a mount namespace of one's own, as after [`crate::enter`]. Nothing is synced to disk: after a crash of
/// the machine, `upper` is worth nothing.
pub fn mount_overlay(
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    at: &Path,
) -> Result<OverlayMount, SandboxError> {
    let failed = |error| SandboxError::io("mount overlay at", at, error);
    let at_path = std::path::absolute(at).map_err(failed)?;
    // Left by an overlay that was mounted as volatile; it stands for data that may be lost in a crash of the
    // machine, which no build survives.
    let _ = fs::remove_dir_all(work.join("work/incompat"));
    let userxattr = in_user_namespace();
    let volatile = mount_layers(
        lowers,
        upper,
        work,
        at,
        Flags {
            userxattr,
            volatile: true,
        },
    );
    // Kernels before 5.10 do not know `volatile`.
    volatile
        .or_else(|_| {
            mount_layers(
                lowers,
                upper,
                work,
                at,
                Flags {
                    userxattr,
                    volatile: false,
                },
            )
        })
        .map_err(failed)?;
    Ok(OverlayMount {
        at: at_path,
        mounted: true,
        notices: Listener::default(),
    })
}

#[derive(Clone, Copy)]
struct Flags {
    userxattr: bool,
    volatile: bool,
}

impl Flags {
    fn settings(self) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        PLAIN
            .iter()
            .take(if self.userxattr { 1 } else { PLAIN.len() })
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.userxattr, "userxattr"), (self.volatile, "volatile")]
            .into_iter()
            .filter_map(|(set, name)| set.then_some(name))
    }
}

/// Plain paths where they fit, so that mountinfo can be read; else names of descriptors, which are short and need
/// no escaping; and with hundreds of layers one call per layer, which needs Linux 6.8.
fn mount_layers(
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    at: &Path,
    flags: Flags,
) -> io::Result<()> {
    let plain = |path: &Path| {
        !path
            .as_os_str()
            .as_bytes()
            .iter()
            .any(|byte| b":,\\".contains(byte))
    };
    let paths = lowers.iter().map(PathBuf::as_path).chain([upper, work]);
    let text = options(lowers, upper, work, flags);
    if paths.clone().all(plain) && text.len() <= LONGEST_OPTIONS {
        return mount_with(&text, at);
    }
    let directories: Vec<OwnedFd> = paths.map(open_directory).collect::<io::Result<_>>()?;
    let names: Vec<PathBuf> = directories.iter().map(descriptor_path).collect();
    let (lowers, [upper, work]) = names.split_at(lowers.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let text = options(lowers, upper, work, flags);
    if text.len() <= LONGEST_OPTIONS {
        return mount_with(&text, at);
    }
    mount_one_by_one(lowers, upper, work, at, flags)
}

fn options(lowers: &[PathBuf], upper: &Path, work: &Path, flags: Flags) -> OsString {
    let mut text = OsString::from("lowerdir=");
    for (index, lower) in lowers.iter().enumerate() {
        if index > 0 {
            text.push(":");
        }
        text.push(lower);
    }
    for (key, value) in [("upperdir", upper), ("workdir", work)] {
        text.push(format!(",{key}="));
        text.push(value);
    }
    for (key, value) in flags.settings() {
        text.push(format!(",{key}={value}"));
    }
    for name in flags.names() {
        text.push(format!(",{name}"));
    }
    text
}

fn mount_with(options: &OsStr, at: &Path) -> io::Result<()> {
    let options = CString::new(options.as_bytes())?;
    Ok(rustix::mount::mount(
        "overlay",
        at,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?)
}

fn mount_one_by_one(
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    at: &Path,
    flags: Flags,
) -> io::Result<()> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in lowers {
        fsconfig_set_string(&overlay, "lowerdir+", lower)?;
    }
    fsconfig_set_string(&overlay, "upperdir", upper)?;
    fsconfig_set_string(&overlay, "workdir", work)?;
    for (key, value) in flags.settings() {
        fsconfig_set_string(&overlay, *key, *value)?;
    }
    for name in flags.names() {
        fsconfig_set_flag(&overlay, name)?;
    }
    fsconfig_create(&overlay)?;
    let mount = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    Ok(move_mount(
        &mount,
        "",
        CWD,
        at,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Mounts an overlay in `scratch` and checks what snapshots rely on: whiteouts, opaque directories, and renaming a
/// directory of a lower layer, which needs none of the features switched off.
pub(crate) fn try_overlay(scratch: &Path) -> io::Result<()> {
    let [lower, upper, work, at] =
        ["lower", "upper", "work", "merged"].map(|name| scratch.join(name));
    for directory in [
        &lower,
        &upper,
        &work,
        &at,
        &lower.join("opaque"),
        &lower.join("opaque/old"),
    ] {
        fs::create_dir(directory)?;
    }
    fs::write(lower.join("file"), "")?;
    let mount = mount_overlay(&[lower], &upper, &work, &at).map_err(io::Error::other)?;
    fs::remove_file(at.join("file"))?;
    fs::remove_dir_all(at.join("opaque"))?;
    fs::create_dir(at.join("opaque"))?;
    mount.unmount().map_err(io::Error::other)?;
    if !fs::symlink_metadata(upper.join("file"))?
        .file_type()
        .is_char_device()
    {
        return Err(io::Error::other("no whiteout was made"));
    }
    let attribute = if in_user_namespace() {
        "user.overlay.opaque"
    } else {
        "trusted.overlay.opaque"
    };
    let mut value = [0; 4];
    if rustix::fs::getxattr(upper.join("opaque"), attribute, &mut value)? == 0 {
        return Err(io::Error::other("no opaque directory was made"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_the_topmost_layer_first() {
        let lowers = ["/b", "/a"].map(PathBuf::from);
        let flags = Flags {
            userxattr: true,
            volatile: false,
        };
        let text = options(&lowers, Path::new("/u"), Path::new("/w"), flags);
        assert_eq!(
            text,
            "lowerdir=/b:/a,upperdir=/u,workdir=/w,index=off,userxattr"
        );
    }
}
