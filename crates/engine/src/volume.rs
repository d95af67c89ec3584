//! Looking into the local volume, and taking out what is not needed.

use kiln_tarball_cache::{Access, CacheError, ImageCache, PruneLimits, Pruned, Survey};

use crate::settings::{ListSettings, PruneSettings};

/// What is in the volume; nothing when there is no such folder.
pub fn list_volume(settings: &ListSettings) -> Result<Survey, CacheError> {
    ImageCache::open(&settings.dir, Access::ReadOnly)?.survey()
}

/// Takes out of the volume what is beyond the limits, and what nothing refers to, while others go on using it.
pub fn prune_volume(settings: &PruneSettings) -> Result<Pruned, CacheError> {
    let access = if settings.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    ImageCache::open(&settings.dir, access)?.prune(&PruneLimits {
        max_size: settings.max_size,
        max_age: settings.max_age,
        grace: settings.grace,
        dry_run: settings.dry_run,
    })
}
