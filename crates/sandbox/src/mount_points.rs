//! Where something is mounted.

use std::path::PathBuf;

use crate::SandboxError;

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Every mount point this process sees, in the order they were mounted; `/` is usually the first (G24).
pub fn mount_points() -> Result<Vec<PathBuf>, SandboxError> {
    let text =
        std::fs::read(MOUNTINFO).map_err(|source| SandboxError::io("read", MOUNTINFO, source))?;
    Ok(parse(&text))
}

fn parse(mountinfo: &[u8]) -> Vec<PathBuf> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        .collect()
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'\\'
            && let Some(digits) = tail.get(..3)
            && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        {
            let value = digits
                .iter()
                .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            out.push(value as u8);
            rest = &tail[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: G24
    #[test]
    fn mount_points_are_unescaped() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            23 27 0:22 / /with\\040space\\134x rw - tmpfs none rw\n\
            24 27 0:22 / /odd\\09 rw - tmpfs none rw\n";
        let found = parse(text);
        assert_eq!(
            found,
            ["/proc", "/with space\\x", "/odd\\09"].map(PathBuf::from)
        );
    }
}
