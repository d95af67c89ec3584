//! Looking into the local volume, and taking out what is not needed.

use std::sync::Arc;

use kiln_events::{Careful, EventSink};
use kiln_store::noticed::of_volumes;
use kiln_tarball_cache::{Access, CacheError, ImageCache, PruneLimits, Pruned, Survey};

use kiln_options::{ListSettings, PruneSettings};

/// What is in the volume; nothing when there is no such folder.
pub fn list_volume(settings: &ListSettings) -> Result<Survey, CacheError> {
    ImageCache::open(&settings.dir, Access::ReadOnly)?.survey()
}

/// Takes out of the volume what is beyond the limits, and what nothing refers to, while others go on using it.
pub fn prune_volume(
    settings: &PruneSettings,
    events: Arc<dyn EventSink>,
) -> Result<Pruned, CacheError> {
    let notices = of_volumes(&Careful::before(events));
    let access = if settings.dry_run {
        Access::ReadOnly
    } else {
        Access::ReadWrite
    };
    let cache = ImageCache::open(&settings.dir, access)?.telling(notices);
    cache.prune(&PruneLimits {
        max_size: settings.max_size,
        max_age: settings.max_age,
        grace: settings.grace,
        dry_run: settings.dry_run,
    })
}
