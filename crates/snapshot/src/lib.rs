//! What changed in a root filesystem, from an overlay upper directory or a scan
