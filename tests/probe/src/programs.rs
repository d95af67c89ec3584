//! Programs that give rights: this one again, setuid or with capabilities of its file. And what root may do to files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::XattrFlags;

use crate::{outcome, point};

/// First word for a copy that only tells what it is.
pub(crate) const AGAIN: &str = "--again";

const COPY: &str = "/probe-copy";

/// `cap_net_raw=ep` as the kernel stores it (revision 2).
const NET_RAW: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

pub(crate) fn points() {
    let copied = fs::copy("/proc/self/exe", COPY);
    if copied.is_err() {
        point("copy of the probe", outcome(copied));
        return;
    }
    point(
        "chown to 1000",
        outcome(chown(COPY, Some(1000), Some(1000)).and_then(|()| chown(COPY, Some(0), Some(0)))),
    );
    mode(0o755);
    point("as another user", as_another_user());
    mode(0o6755);
    point("setuid program", as_another_user());
    mode(0o755);
    let set = rustix::fs::setxattr(COPY, "security.capability", &NET_RAW, XattrFlags::empty());
    point(
        "set a file's capabilities",
        outcome(set.map_err(std::io::Error::from)),
    );
    point("program with capabilities", as_another_user());
    let _ = fs::remove_file(COPY);
    point(
        "chroot",
        outcome(rustix::process::chroot("/").map_err(std::io::Error::from)),
    );
}

fn mode(mode: u32) {
    let _ = fs::set_permissions(COPY, fs::Permissions::from_mode(mode));
}

/// `uid gid effective-uid effective-capabilities` of the copy.
fn as_another_user() -> String {
    match Command::new(COPY).arg(AGAIN).uid(1000).gid(1000).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(error) => outcome::<()>(Err(error)),
    }
}
