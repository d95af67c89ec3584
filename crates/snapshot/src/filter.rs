//! What a snapshot must not look at (conformance: G24 to G26).

use std::collections::{BTreeSet, HashMap};

use kiln_layer::ImagePath;

/// The paths that are no part of the image, whatever is found there.
///
/// An ignored path covers itself and everything below it, and nothing else: ignoring `a` covers `a/x` and not `ab`.
/// It is never read, recorded or whited out, so what a base layer holds there stays in the image.
///
/// Paths are compared as they are walked, without following links. A caller that takes `/var/run/x` from a person
/// resolves `/var/run` first; [`Scan`](crate::Scan) does that by itself since it has the root at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The ignored paths, in any order.
    pub ignore: Vec<ImagePath>,
    /// Look into what is mounted below the root too; otherwise a mount point counts as ignored.
    pub cross_mounts: bool,
    /// Mount points that belong to the root all the same.
    pub entered: Vec<ImagePath>,
    /// Names that are nowhere seen: not as new, not as gone, not as a reason to keep the directory around them.
    pub unseen: Vec<Vec<u8>>,
}

impl Filter {
    /// A filter that ignores these paths and every mount point.
    pub fn new(ignore: impl IntoIterator<Item = ImagePath>) -> Self {
        Self {
            ignore: ignore.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Whether `path` is an ignored path or lies below one.
    pub fn ignores(&self, path: &ImagePath) -> bool {
        self.ignore.iter().any(|ignored| path.starts_with(ignored))
    }
}

/// A [`Filter`] arranged for a walk, which asks once per directory instead of once per file.
#[derive(Debug, Default)]
pub(crate) struct Ignored {
    names: HashMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    ancestors: BTreeSet<Vec<u8>>,
    pub(crate) everything: bool,
    pub(crate) mounts: bool,
    pub(crate) entered: BTreeSet<Vec<u8>>,
    pub(crate) unseen: BTreeSet<Vec<u8>>,
}

impl Ignored {
    pub(crate) fn new<'a>(paths: impl IntoIterator<Item = &'a ImagePath>, mounts: bool) -> Self {
        let mut ignored = Self {
            mounts,
            ..Self::default()
        };
        for path in paths {
            let mut path = path.as_bytes();
            if path.is_empty() {
                ignored.everything = true;
                continue;
            }
            let (dir, name) = split(path);
            ignored
                .names
                .entry(dir.to_vec())
                .or_default()
                .insert(name.to_vec());
            while !path.is_empty() {
                path = split(path).0;
                ignored.ancestors.insert(path.to_vec());
            }
        }
        ignored
    }

    /// The ignored names directly in `dir`, if there are any.
    pub(crate) fn names_in(&self, dir: &[u8]) -> Option<&BTreeSet<Vec<u8>>> {
        self.names.get(dir)
    }

    /// Whether something below `dir` is ignored.
    pub(crate) fn any_below(&self, dir: &[u8]) -> bool {
        self.ancestors.contains(dir)
    }
}

/// Splits a path into the directory and the last name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// `dir/name`, or `name` at the root.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(dir.len() + 1 + name.len());
    if !dir.is_empty() {
        path.extend_from_slice(dir);
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: G25
    #[test]
    fn a_prefix_covers_whole_components_only() {
        let rows: &[(&str, &str, bool)] = &[
            ("a", "a", true),
            ("a", "a/x", true),
            ("a", "a/x/y", true),
            ("a", "ab", false),
            ("a", "b/a", false),
            ("a/b", "a", false),
            ("a/b", "a/b/c", true),
            ("a/b", "a/bc", false),
            ("", "anything/at/all", true),
        ];
        assert!(!rows.is_empty());
        for (ignored, path, expected) in rows {
            let filter = Filter::new([ImagePath::from(*ignored)]);
            let path = ImagePath::from(*path);
            assert_eq!(filter.ignores(&path), *expected, "{ignored} {path}");
        }
    }

    #[test]
    fn the_arranged_form_knows_names_and_ancestors() {
        let paths = [ImagePath::from("proc"), ImagePath::from("a/b/c")];
        let ignored = Ignored::new(&paths, true);
        assert!(
            ignored
                .names_in(b"")
                .is_some_and(|n| n.contains(&b"proc"[..]))
        );
        assert!(
            ignored
                .names_in(b"a/b")
                .is_some_and(|n| n.contains(&b"c"[..]))
        );
        assert!(ignored.names_in(b"a").is_none());
        assert!(ignored.any_below(b"a") && ignored.any_below(b"a/b") && ignored.any_below(b""));
        assert!(!ignored.any_below(b"a/b/c") && !ignored.any_below(b"proc"));
    }
}
