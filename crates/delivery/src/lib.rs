//! An image on its way out: to registries, archives, layouts and the small files with its digest.

pub mod output;
pub mod push_archive;
