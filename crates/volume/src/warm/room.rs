//! Who may fill a volume: an image that does not fit takes no room from one that does.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln_oci::{Descriptor, Digest};

/// The bytes of a volume that nobody has been promised yet.
#[derive(Debug)]
pub(super) struct Room(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None` where the filesystem does not say: then there is room until there is none.
    free: Option<u64>,
    /// Layers that have their room; several images may want one.
    promised: BTreeSet<Digest>,
}

/// Room for the layers of an image; what is not used goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Promised<'a> {
    room: &'a Room,
    layers: Vec<(Digest, u64)>,
}

/// How much an image needs, and how much there is for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) needed: u64,
    pub(super) free: u64,
}

impl Room {
    /// What is free in the filesystem of `dir` now. Others may write to it meanwhile: then writing fails, as without
    /// promises.
    pub(super) fn of(dir: &Path) -> Room {
        Room::with(free_bytes(dir).ok())
    }

    fn with(free: Option<u64>) -> Room {
        Room(Mutex::new(State {
            free,
            ..State::default()
        }))
    }

    /// Promises room for those layers that have none yet.
    pub(super) fn promise(&self, layers: &[&Descriptor]) -> Result<Promised<'_>, Full> {
        let mut state = self.state();
        let missing = layers
            .iter()
            .filter(|layer| !state.promised.contains(&layer.digest()));
        let layers: Vec<(Digest, u64)> = missing
            .map(|layer| (layer.digest(), layer.size()))
            .collect();
        let needed = layers
            .iter()
            .fold(0, |sum: u64, (_, size)| sum.saturating_add(*size));
        if let Some(free) = state.free {
            let left = free.checked_sub(needed).ok_or(Full { needed, free })?;
            state.free = Some(left);
        }
        state
            .promised
            .extend(layers.iter().map(|(digest, _)| *digest));
        Ok(Promised { room: self, layers })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promised<'_> {
    /// The layers are there, and stay.
    pub(super) fn use_up(mut self) {
        self.layers.clear();
    }
}

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        let mut state = self.room.state();
        for (digest, size) in &self.layers {
            state.promised.remove(digest);
            state.free = state.free.map(|free| free.saturating_add(*size));
        }
    }
}

fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use kiln_oci::MediaType;

    use super::*;

    fn layer(text: &str, size: u64) -> Descriptor {
        Descriptor::new(MediaType::OciLayerGzip, Digest::of(text.as_bytes()), size)
    }

    #[test]
    fn what_does_not_fit_takes_nothing() {
        let room = Room::with(Some(100));
        let (large, first, second, third) = (
            layer("large", 101),
            layer("first", 60),
            layer("second", 50),
            layer("third", 40),
        );
        let refused = |layers: &[&Descriptor]| room.promise(layers).err();
        assert_eq!(
            refused(&[&large]),
            Some(Full {
                needed: 101,
                free: 100
            })
        );
        let kept = room.promise(&[&first]).unwrap();
        assert_eq!(
            refused(&[&second]),
            Some(Full {
                needed: 50,
                free: 40
            })
        );
        // One that failed gives its room back, one that is there does not.
        drop(room.promise(&[&third]).unwrap());
        // A layer that another image brings is not counted twice.
        room.promise(&[&first, &third]).unwrap().use_up();
        assert_eq!(
            refused(&[&second]),
            Some(Full {
                needed: 50,
                free: 0
            })
        );
        drop(kept);
        assert!(refused(&[&second]).is_none());
    }

    #[test]
    fn a_filesystem_says_what_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
        let unknown = Room::of(Path::new("/does/not/exist"));
        assert!(unknown.promise(&[&layer("any", u64::MAX)]).is_ok());
    }
}
