//! The build context as one read-only file view
