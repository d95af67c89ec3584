//! Names that mean this machine.

/// RFC 6761: these names never leave the machine.
pub(super) fn is_localhost(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}
