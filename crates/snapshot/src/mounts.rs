//! Where something is mounted below a root.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use kiln_layer::ImagePath;

use crate::error::SnapshotError;

const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// The mount points strictly below `root`, relative to it, sorted and each once (conformance: G24).
///
/// Files can be mount points too: Kubernetes mounts `/etc/hosts`. Read from `/proc/self/mountinfo`, so they are those
/// of this process's mount namespace.
pub fn mount_points_below(root: &Path) -> Result<Vec<ImagePath>, SnapshotError> {
    let io = |operation, path: &Path, source| SnapshotError::Io {
        operation,
        path: path.to_path_buf(),
        source,
    };
    let root = fs::canonicalize(root).map_err(|source| io("resolve", root, source))?;
    let table = fs::read(MOUNTINFO).map_err(|source| io("read", Path::new(MOUNTINFO), source))?;
    points_below(&table, root.as_os_str().as_bytes())
}

fn points_below(table: &[u8], root: &[u8]) -> Result<Vec<ImagePath>, SnapshotError> {
    let root = ImagePath::from_bytes_cleaned(root);
    let mut found = Vec::new();
    for line in table
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime ...: the fifth field is the mount point (proc_pid_mountinfo(5)).
        let point = line.split(|byte| *byte == b' ').nth(4).and_then(unescape);
        let point = point.ok_or_else(|| SnapshotError::MountInfo {
            line: String::from_utf8_lossy(line).into_owned(),
        })?;
        let point = ImagePath::from_bytes_cleaned(point);
        if point != root && point.starts_with(&root) {
            found.push(ImagePath::from_bytes_cleaned(
                &point.as_bytes()[root.as_bytes().len()..],
            ));
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'\\' {
            let (digits, after) = rest.split_at_checked(3)?;
            plain.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?);
            rest = after;
        } else {
            plain.push(*byte);
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
        23 22 0:21 / /proc rw - proc proc rw\n\
        24 22 0:22 / /proc/sys ro - proc proc rw\n\
        25 22 0:23 / /r/with\\040space rw shared:1 - tmpfs tmpfs rw\n\
        26 22 0:23 / /rest rw - tmpfs tmpfs rw\n\
        27 22 0:23 / /r rw - tmpfs tmpfs rw\n\
        28 22 0:23 / /r/etc/hosts rw - tmpfs tmpfs rw\n\
        29 22 0:23 / /r/etc/hosts rw - tmpfs tmpfs rw\n";

    // conformance: G24
    #[test]
    fn mount_points_are_relative_to_the_root() {
        let rows: &[(&str, &[&str])] = &[
            ("/r", &["etc/hosts", "with space"]),
            (
                "/",
                &[
                    "proc",
                    "proc/sys",
                    "r",
                    "r/etc/hosts",
                    "r/with space",
                    "rest",
                ],
            ),
            ("/none", &[]),
        ];
        assert!(!rows.is_empty());
        for (root, expected) in rows {
            let found: Vec<_> = points_below(TABLE, root.as_bytes())
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(found, *expected, "{root}");
        }
    }

    #[test]
    fn a_broken_line_is_an_error() {
        for line in [&b"1 2 3"[..], b"22 1 254:0 / /bad\\0 rw"] {
            assert!(matches!(
                points_below(line, b"/"),
                Err(SnapshotError::MountInfo { .. })
            ));
        }
    }

    #[test]
    fn this_machine_has_proc() {
        let found = mount_points_below(Path::new("/")).unwrap();
        assert!(found.iter().any(|path| path.as_bytes() == b"proc"));
    }
}
