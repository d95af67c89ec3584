//! Extended attributes that entries share.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Extended attributes by full name (`security.capability`), in byte order.
///
/// A clone shares what it was cloned from until one of the two is changed: a global header gives the same attributes
/// to every file of an archive, and a thousand files must not hold them a thousand times. Used as the map it is.
#[derive(Clone, Default)]
pub struct Xattrs(Option<Arc<Map>>);

static NONE: Map = BTreeMap::new();

impl Xattrs {
    /// None at all.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Takes all away; what is shared stays with the others.
    pub fn clear(&mut self) {
        self.0 = None;
    }

    /// Do both hold the very same memory, or nothing?
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// Bytes of all names and values, and what a map needs to hold them.
    pub(crate) fn cost(&self) -> u64 {
        let sizes = self.iter().map(|(name, value)| name.len() + value.len());
        sizes.map(|size| size as u64 + OVERHEAD).sum()
    }
}

/// About what two small allocations and their place in a map take.
const OVERHEAD: u64 = 128;

impl Deref for Xattrs {
    type Target = Map;

    fn deref(&self) -> &Map {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Xattrs {
    fn deref_mut(&mut self) -> &mut Map {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl PartialEq for Xattrs {
    fn eq(&self, other: &Self) -> bool {
        self.shares_with(other) || **self == **other
    }
}

impl Eq for Xattrs {}

impl fmt::Debug for Xattrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl From<Map> for Xattrs {
    fn from(map: Map) -> Self {
        Self((!map.is_empty()).then(|| Arc::new(map)))
    }
}

impl FromIterator<(Vec<u8>, Vec<u8>)> for Xattrs {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(pairs: I) -> Self {
        Map::from_iter(pairs).into()
    }
}

impl<'a> IntoIterator for &'a Xattrs {
    type Item = (&'a Vec<u8>, &'a Vec<u8>);
    type IntoIter = std::collections::btree_map::Iter<'a, Vec<u8>, Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Xattrs;

    #[test]
    fn a_clone_shares_until_it_is_changed() {
        let mut one = Xattrs::new();
        one.insert(b"user.a".to_vec(), b"1".to_vec());
        let mut two = one.clone();
        assert!(two.shares_with(&one));
        two.insert(b"user.b".to_vec(), b"2".to_vec());
        assert!(!two.shares_with(&one));
        assert_eq!((one.len(), two.len()), (1, 2));
        two.remove(&b"user.b".to_vec());
        assert_eq!(one, two);
        two.clear();
        assert_eq!((one.len(), two), (1, Xattrs::new()));
        one.remove(&b"user.a".to_vec());
        assert_eq!(one, Xattrs::new());
    }
}
