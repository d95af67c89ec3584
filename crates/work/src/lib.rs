//! What every build stands on: its work folder, its threads, and the switch that ends both.

pub mod folder;
pub mod interrupt;
pub mod leaving;
pub mod patience;
pub mod spool;
pub mod unless_cancelled;
pub mod workers;
