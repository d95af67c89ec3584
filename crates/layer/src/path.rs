//! Paths inside an image: bytes, relative to the image's root, always clean.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A clean path below an image's root: no leading or trailing slash, no empty, `.` or `..` component.
///
/// The root itself is the empty path. The order is that of a depth-first walk: a directory stands before its content
/// and names are compared as bytes (conformance: G2), which differs from comparing the whole paths as bytes
/// (`a/b` sorts before `a!`).
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct ImagePath(Box<[u8]>);

impl ImagePath {
    /// The root directory, the empty path.
    pub fn root() -> Self {
        Self::default()
    }

    /// Cleans `path` as if it started at the root: `.` and empty components go, `..` removes the component before it
    /// and stops at the root.
    pub fn from_bytes_cleaned(path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        if is_clean(path) {
            return Self(path.into());
        }
        let mut clean = Vec::with_capacity(path.len());
        push_cleaned(&mut clean, path);
        Self(clean.into())
    }

    /// This path followed by `relative`, which is cleaned; its `..` components climb out of this path.
    #[must_use]
    pub fn join(&self, relative: impl AsRef<[u8]>) -> Self {
        let relative = relative.as_ref();
        let mut path = Vec::with_capacity(self.0.len() + 1 + relative.len());
        path.extend_from_slice(&self.0);
        push_cleaned(&mut path, relative);
        Self(path.into())
    }

    /// The directory this path is in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.parent_bytes().map(|parent| Self(parent.into()))
    }

    /// [`ImagePath::parent`] without a copy.
    pub fn parent_bytes(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        Some(match self.last_slash() {
            Some(at) => &self.0[..at],
            None => &[],
        })
    }

    /// The last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        if self.is_root() {
            return None;
        }
        Some(match self.last_slash() {
            Some(at) => &self.0[at + 1..],
            None => &self.0,
        })
    }

    /// The components from the root down; nothing for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|part| !part.is_empty())
    }

    /// Is this `other` or something below it? Whole components count: `ab` is not below `a` (conformance: G25).
    pub fn starts_with(&self, other: &Self) -> bool {
        other.is_root()
            || (self.0.starts_with(&other.0)
                && matches!(self.0.get(other.0.len()), None | Some(b'/')))
    }

    /// Is this the root directory?
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path as a relative host path; for the root it is empty, not `.`.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The path with a leading slash, as processes inside the image see it.
    pub fn to_absolute(&self) -> Vec<u8> {
        [b"/", &*self.0].concat()
    }

    /// Takes bytes that are known to be clean.
    pub(crate) fn from_clean(path: impl Into<Box<[u8]>>) -> Self {
        let path = path.into();
        debug_assert!(
            is_clean(&path),
            "{:?} is not clean",
            path.escape_ascii().to_string()
        );
        Self(path)
    }

    fn last_slash(&self) -> Option<usize> {
        self.0.iter().rposition(|&b| b == b'/')
    }
}

/// More symlinks on one path than the kernel follows.
pub(crate) const LINK_LIMIT: usize = 40;

/// The components of a path or link text that say something; `..` is one of them.
pub(crate) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|part| !matches!(*part, b"" | b"."))
}

fn is_clean(path: &[u8]) -> bool {
    path.is_empty()
        || path
            .split(|&b| b == b'/')
            .all(|part| !matches!(part, b"" | b"." | b".."))
}

fn push_cleaned(clean: &mut Vec<u8>, path: &[u8]) {
    for part in parts(path) {
        match part {
            b".." => clean.truncate(clean.iter().rposition(|&b| b == b'/').unwrap_or(0)),
            name => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(name);
            }
        }
    }
}

impl Ord for ImagePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash ends a name, so it sorts before every byte a name can hold; NUL cannot occur in one.
        let key = |b: &u8| if *b == b'/' { 0 } else { *b };
        let differs = self.0.iter().zip(&other.0).position(|(a, b)| a != b);
        let at = differs.unwrap_or_else(|| self.0.len().min(other.0.len()));
        self.0.get(at).map(key).cmp(&other.0.get(at).map(key))
    }
}

impl PartialOrd for ImagePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl From<&str> for ImagePath {
    fn from(path: &str) -> Self {
        Self::from_bytes_cleaned(path)
    }
}

impl From<&Path> for ImagePath {
    fn from(path: &Path) -> Self {
        Self::from_bytes_cleaned(path.as_os_str().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ImagePath;

    #[test]
    fn paths_are_cleaned_at_the_root() {
        let rows = [
            ("", ""),
            ("/", ""),
            (".", ""),
            ("./", ""),
            ("..", ""),
            ("a", "a"),
            ("/a/b/", "a/b"),
            ("./a//b/./c", "a/b/c"),
            ("a/../b", "b"),
            ("../../a", "a"),
            ("a/b/../../../c", "c"),
            ("...", "..."),
            ("a/..b/.c", "a/..b/.c"),
        ];
        for (given, clean) in rows {
            assert_eq!(
                ImagePath::from(given).as_bytes(),
                clean.as_bytes(),
                "{given}"
            );
        }
    }

    #[test]
    fn parts_of_a_path() {
        let path = ImagePath::from("a/b/c");
        assert_eq!(path.parent(), Some("a/b".into()));
        assert_eq!(path.file_name(), Some(&b"c"[..]));
        assert_eq!(path.components().collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert_eq!(ImagePath::from("a").parent(), Some(ImagePath::root()));
        assert_eq!(ImagePath::root().parent(), None);
        assert_eq!(ImagePath::root().file_name(), None);
        assert_eq!(ImagePath::root().components().count(), 0);
        assert_eq!(path.join("../d/./e").as_bytes(), b"a/b/d/e");
        assert_eq!(ImagePath::root().join("x").as_bytes(), b"x");
        assert_eq!(path.to_absolute(), b"/a/b/c");
    }

    // conformance: G25
    #[test]
    fn below_means_whole_components() {
        let rows = [
            ("a/x", "a", true),
            ("a", "a", true),
            ("ab", "a", false),
            ("a", "a/x", false),
            ("a", "", true),
        ];
        for (path, base, below) in rows {
            assert_eq!(
                ImagePath::from(path).starts_with(&base.into()),
                below,
                "{path} {base}"
            );
        }
    }

    proptest! {
        // conformance: G2
        #[test]
        fn order_is_that_of_the_components(a in "[a!/.-]{0,8}", b in "[a!/.-]{0,8}") {
            let (a, b) = (ImagePath::from(&*a), ImagePath::from(&*b));
            let by_component = a.components().cmp(b.components());
            prop_assert_eq!(a.cmp(&b), by_component);
        }

        #[test]
        fn cleaning_is_idempotent(a in "[ab/.]{0,12}") {
            let once = ImagePath::from(&*a);
            prop_assert_eq!(ImagePath::from_bytes_cleaned(once.as_bytes()), once);
        }
    }
}
