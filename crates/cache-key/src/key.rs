//! The key of a step: its name, not how it comes about.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The name under which the result of a step is cached, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey([u8; 32]);

/// A text that is not a cache key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{value}` is not a cache key: expected 64 lower-case hex digits")]
pub struct CacheKeyError {
    /// The text as given.
    pub value: String,
}

impl CacheKey {
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CacheKey {
    type Err = CacheKeyError;

    /// Capital digits are refused: a key names a tag and a file, and has one spelling there.
    fn from_str(text: &str) -> Result<Self, CacheKeyError> {
        let mut bytes = [0; 32];
        let capital = text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !capital => Ok(Self(bytes)),
            _ => Err(CacheKeyError {
                value: text.to_owned(),
            }),
        }
    }
}

impl Serialize for CacheKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CacheKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parts;

    #[test]
    fn prints_and_parses() {
        let key = Parts::new().key(None);
        assert_eq!(key.to_string().len(), 64);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(
            format!("{key:?} {key:.12}"),
            format!("{key} {:.12}", key.to_string())
        );
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"{key}\""));
        assert_eq!(serde_json::from_str::<CacheKey>(&json).unwrap(), key);
    }

    #[test]
    fn refuses_other_texts() {
        let rows = [
            String::new(),
            "ab".repeat(31),
            "ab".repeat(33),
            "AB".repeat(32),
            "xy".repeat(32),
            format!("sha256:{}", "ab".repeat(32)),
        ];
        assert!(!rows.is_empty());
        for text in rows {
            let message = text.parse::<CacheKey>().unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("`{text}` is not")),
                "{message}"
            );
            assert!(serde_json::from_value::<CacheKey>(text.into()).is_err());
        }
    }
}
