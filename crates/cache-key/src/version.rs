//! The version of a stored document.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Is written as `N`; reading anything else is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Version<const N: u32>;

impl<const N: u32> Serialize for Version<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(N)
    }
}

impl<'de, const N: u32> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let actual = u32::deserialize(deserializer)?;
        if actual == N {
            Ok(Self)
        } else {
            Err(D::Error::custom(format_args!(
                "version {actual} of the format is not known, only version {N} is"
            )))
        }
    }
}
