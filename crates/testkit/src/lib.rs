//! For tests only: an in-process registry with faults, images from tree text, temporary roots
