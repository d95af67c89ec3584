//! Content digests.
//!
//! [`Digest`] names bytes as they are stored or sent; [`DiffId`] names an uncompressed layer. Both are SHA-256, and
//! they are two types because taking one for the other is the mistake that breaks images.

use std::fmt;
use std::str::FromStr;

use oci_spec::image as spec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The SHA-256 of some bytes, written `sha256:<64 lower-case hex digits>`.
///
/// `oci-spec`'s digest is a text of any algorithm; this one can be computed, compared and copied. One becomes the other
/// with `into` and `try_from`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest this crate can use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DigestError {
    /// There is no `algorithm:` in front.
    #[error("`{value}` is not a digest: expected `sha256:<64 hex digits>`")]
    NoAlgorithm {
        /// The text as given.
        value: String,
    },
    /// A registered or unknown algorithm other than `sha256`.
    #[error("digest algorithm `{algorithm}` is not supported, only `sha256` is")]
    Algorithm {
        /// The part before the colon.
        algorithm: String,
    },
    /// The part after the colon is not 64 lower-case hex digits.
    #[error("digest `{value}` must have 64 lower-case hex digits after `sha256:`")]
    Encoding {
        /// The text as given.
        value: String,
    },
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// Takes the 32 bytes of a finished SHA-256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Reads 64 lower-case hex digits without the algorithm, as file names in a layout have them.
    pub fn from_hex(digits: &str) -> Result<Self, DigestError> {
        let wrong = || DigestError::Encoding {
            value: format!("sha256:{digits}"),
        };
        if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| wrong())?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("sha256:{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text
            .split_once(':')
            .ok_or_else(|| DigestError::NoAlgorithm {
                value: text.to_owned(),
            })?;
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm {
                algorithm: algorithm.to_owned(),
            });
        }
        Self::from_hex(digits)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl From<Digest> for spec::Digest {
    fn from(digest: Digest) -> Self {
        // A digest of theirs is made from text only.
        match Self::try_from(digest.to_string()) {
            Ok(digest) => digest,
            Err(error) => unreachable!("`{digest}` is a digest: {error}"),
        }
    }
}

impl TryFrom<&spec::Digest> for Digest {
    type Error = DigestError;

    fn try_from(digest: &spec::Digest) -> Result<Self, DigestError> {
        match digest.algorithm() {
            spec::DigestAlgorithm::Sha256 => Self::from_hex(digest.digest()),
            other => Err(DigestError::Algorithm {
                algorithm: other.to_string(),
            }),
        }
    }
}

impl TryFrom<spec::Digest> for Digest {
    type Error = DigestError;

    fn try_from(digest: spec::Digest) -> Result<Self, DigestError> {
        Self::try_from(&digest)
    }
}

/// The digest of a layer's uncompressed tar, as `rootfs.diff_ids` lists it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl DiffId {
    /// The diff-id of an uncompressed tar held in memory.
    pub fn of(tar: impl AsRef<[u8]>) -> Self {
        Self(Digest::of(tar))
    }

    /// Takes the 32 bytes of a finished SHA-256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Digest::from_bytes(bytes))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The 64 lower-case hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for DiffId {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn prints_and_parses() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<Digest>().unwrap(), digest);
        assert_eq!(
            EMPTY.parse::<DiffId>().unwrap(),
            DiffId::from_bytes(*digest.as_bytes())
        );
        assert_eq!(
            serde_json::to_string(&DiffId(digest)).unwrap(),
            format!("\"{EMPTY}\"")
        );
    }

    #[test]
    fn refuses_other_texts() {
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        let rows = [
            (
                "e3b0c442",
                "`e3b0c442` is not a digest: expected `sha256:<64 hex digits>`",
            ),
            (
                "sha512:00",
                "digest algorithm `sha512` is not supported, only `sha256` is",
            ),
            (
                "sha256:00",
                "digest `sha256:00` must have 64 lower-case hex digits after `sha256:`",
            ),
            (&upper, "must have 64 lower-case"),
            ("", "`` is not a digest"),
        ];
        assert!(!rows.is_empty());
        for (text, message) in rows {
            let error = text.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn goes_to_oci_spec_and_back() {
        let digest = Digest::of(b"kiln");
        let theirs = spec::Digest::from(digest);
        assert_eq!(theirs.to_string(), digest.to_string());
        assert_eq!(Digest::try_from(&theirs).unwrap(), digest);
        assert_eq!(Digest::try_from(theirs).unwrap(), digest);
        for (algorithm, digits) in [("sha512", 128), ("sha384", 96), ("b3", 4)] {
            let theirs: spec::Digest = format!("{algorithm}:{}", "0".repeat(digits))
                .parse()
                .unwrap();
            let error = Digest::try_from(theirs).unwrap_err().to_string();
            assert!(error.contains("only `sha256` is"), "{error}");
        }
    }
}
