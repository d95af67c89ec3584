//! The local volume as people use it: filled with base images ahead of builds, looked into, and tidied up. What lies where
//! in it is `kiln_tarball_cache`'s.

mod kept;
mod warm;

pub use kept::{list_volume, prune_volume};
pub use warm::{WarmError, WarmImageError, WarmReport, Warmed, WarmedImage, warm};
