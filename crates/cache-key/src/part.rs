//! The names of the parts that [`compare`](crate::compare) has words for.
//!
//! Other names are allowed. A name is part of the key and of what is stored, so it is not changed lightly.

/// What FROM names: the digest of the manifest, or `scratch` (conformance: H2).
pub const BASE: &str = "base";
/// What the image is for.
pub const PLATFORM: &str = "platform";
/// The instruction as it acts, with variables expanded and the bodies of heredocs (conformance: H5, H8).
pub const INSTRUCTION: &str = "instruction";
/// The words that SHELL names.
pub const SHELL: &str = "shell";
/// The user that a command runs as.
pub const USER: &str = "user";
/// The directory that relative paths start from.
pub const WORKDIR: &str = "workdir";
/// The environment in effect (conformance: H3).
pub const ENV: &str = "env";
/// The build args in effect (conformance: H4).
pub const ARGS: &str = "args";
/// The stage or image that is copied from, by its key or by the digest of its content (conformance: H9).
pub const SOURCE: &str = "source";
/// The files that are copied (conformance: H6).
pub const FILES: &str = "files";

const MOUNT: &str = "mount ";

/// The options of the mount with this number, such as its target (conformance: H10).
pub fn mount(number: usize) -> String {
    format!("{MOUNT}{number}")
}

/// The stage or image that the mount with this number shows.
pub fn mount_source(number: usize) -> String {
    format!("{MOUNT}{number} {SOURCE}")
}

/// The files that the mount with this number shows.
pub fn mount_files(number: usize) -> String {
    format!("{MOUNT}{number} {FILES}")
}

/// The order in which changes are told: what explains the others comes first.
const ORDER: [&str; 10] = [
    BASE,
    PLATFORM,
    INSTRUCTION,
    SHELL,
    USER,
    WORKDIR,
    ARGS,
    ENV,
    SOURCE,
    FILES,
];

/// A name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known<'a> {
    /// One of the constants, by its place in the order.
    Plain(usize),
    /// A part of a mount: its number, and what follows the number.
    Mount(usize, &'a str),
    /// Any other name.
    Other(&'a str),
}

pub(crate) fn known(name: &str) -> Known<'_> {
    if let Some(place) = ORDER.iter().position(|one| *one == name) {
        return Known::Plain(place);
    }
    let Some(rest) = name.strip_prefix(MOUNT) else {
        return Known::Other(name);
    };
    let (number, what) = rest.split_once(' ').unwrap_or((rest, ""));
    match number.parse() {
        Ok(number) if matches!(what, "" | SOURCE | FILES) => Known::Mount(number, what),
        _ => Known::Other(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_an_order_for_people() {
        let in_order = [
            BASE.to_owned(),
            INSTRUCTION.to_owned(),
            FILES.to_owned(),
            mount(2),
            mount_files(2),
            mount_source(2),
            mount(10),
            "mount x".to_owned(),
            "network".to_owned(),
        ];
        assert!(!in_order.is_empty());
        assert!(in_order.is_sorted_by_key(|name| known(name)));
    }
}
