//! Platforms: what an image is for, how people write that, and which image fits which machine (C14).

use std::fmt;
use std::str::FromStr;

use oci_spec::image as spec;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::lenient;

/// Operating system, processor and variant of an image or a machine.
///
/// Equality is literal; [`Platform::normalized`] makes spellings of the same thing equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// GOARCH: `amd64`, `arm64`, `arm`, ...
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub architecture: String,
    /// GOOS: `linux`, `windows`, ...
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub os: String,
    /// Version of the system, which only Windows images have.
    #[serde(
        rename = "os.version",
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features the system must have, such as `win32k`.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "lenient::list",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// Variant of the processor: `v7` of `arm`.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlatformError {
    /// Nothing is there (C13).
    #[error("platform is empty")]
    Empty,
    /// One word that is neither a system nor a processor.
    #[error("platform `{platform}`: `{word}` is neither an operating system nor an architecture")]
    Unknown {
        /// The whole text.
        platform: String,
        /// The word.
        word: String,
    },
    /// Not `os[/architecture[/variant]]`.
    #[error("platform `{platform}` must be written `os/architecture[/variant]`")]
    Form {
        /// The whole text.
        platform: String,
    },
}

const SYSTEMS: [&str; 15] = [
    "linux",
    "windows",
    "darwin",
    "freebsd",
    "netbsd",
    "openbsd",
    "dragonfly",
    "solaris",
    "illumos",
    "aix",
    "android",
    "ios",
    "plan9",
    "wasip1",
    "js",
];

const ARCHITECTURES: [&str; 17] = [
    "amd64", "386", "arm", "arm64", "ppc64", "ppc64le", "s390x", "riscv64", "mips", "mipsle",
    "mips64", "mips64le", "loong64", "wasm", "sparc64", "riscv", "armbe",
];

impl Platform {
    /// A platform without variant and version.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            ..Self::default()
        }
    }

    /// Reads `os/architecture[/variant]`, or one of the first two alone; the result is normalized.
    ///
    /// A system may carry its version in parentheses, as containerd writes it: `windows(10.0.17763)/amd64`.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let form = || PlatformError::Form {
            platform: text.to_owned(),
        };
        if text.is_empty() {
            return Err(PlatformError::Empty);
        }
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() > 3 || parts.iter().any(|part| !is_word(part)) {
            return Err(form());
        }
        let (os, os_version) = match parts[0].split_once('(') {
            Some((os, rest)) => (
                os,
                Some(rest.strip_suffix(')').ok_or_else(form)?.to_owned()),
            ),
            None => (parts[0], None),
        };
        if let Some(architecture) = parts.get(1) {
            let platform = Self {
                os_version,
                variant: parts.get(2).map(|&variant| variant.to_owned()),
                ..Self::new(os, *architecture)
            };
            return Ok(platform.normalized());
        }
        let alone = Self::new(os, os).normalized();
        if SYSTEMS.contains(&alone.os.as_str()) {
            let host = Self::host();
            Ok(Self {
                os: alone.os,
                os_version,
                ..host
            })
        } else if ARCHITECTURES.contains(&alone.architecture.as_str()) {
            Ok(Self {
                os: Self::host().os,
                ..alone
            })
        } else {
            Err(PlatformError::Unknown {
                platform: text.to_owned(),
                word: os.to_owned(),
            })
        }
    }

    /// The platform this program was built for, which is the one it runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new(std::env::consts::OS, architecture).normalized()
    }

    /// The usual spelling: lower case, aliases resolved, and the variant left out or put in so that equal platforms
    /// are equal values: none for amd64 and arm64/v8, `v7` for a bare arm (C14).
    #[must_use]
    pub fn normalized(&self) -> Self {
        let mut result = self.clone();
        result.os = match result.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = result.variant.take().unwrap_or_default();
        let variant = variant.to_ascii_lowercase();
        let with_v = |v: &str| match v.bytes().next() {
            Some(first) if first.is_ascii_digit() => format!("v{v}"),
            _ => v.to_owned(),
        };
        let spelling = result.architecture.to_ascii_lowercase();
        let (architecture, variant) = match (spelling.as_str(), variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "" | "v1" | "1") => ("amd64", String::new()),
            ("x86_64" | "x86-64" | "amd64", v) => ("amd64", with_v(v)),
            ("i386" | "i486" | "i586" | "i686" | "x86", v) => ("386", v.to_owned()),
            ("aarch64" | "arm64", "" | "8" | "v8" | "8.0" | "v8.0") => ("arm64", String::new()),
            ("aarch64" | "arm64", v) => ("arm64", with_v(v)),
            ("armhf" | "armv7" | "armv7l" | "arm", "") => ("arm", "v7".to_owned()),
            ("armel" | "armv6" | "armv6l", "") => ("arm", "v6".to_owned()),
            ("armhf" | "armel" | "arm", v) => ("arm", with_v(v)),
            ("powerpc64le" | "ppc64el", v) => ("ppc64le", v.to_owned()),
            (other, v) => (other, v.to_owned()),
        };
        architecture.clone_into(&mut result.architecture);
        result.variant = Some(variant).filter(|v| !v.is_empty());
        result.os_version = result.os_version.filter(|v| !v.is_empty());
        result
    }

    /// Whether neither system nor processor is given, as in indexes that do not say (I24).
    pub fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// Whether this is the `unknown/unknown` that marks attestations (I24).
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// How well an image for `candidate` serves a machine of this platform: 0 is best, `None` does not run (C14).
    ///
    /// Older variants of the same processor run: arm v7 falls back to v6 and v5. Another processor never does, even
    /// where the kernel could run it, because an unwanted 32-bit image is a surprise (C15).
    pub fn rank(&self, candidate: &Self) -> Option<u32> {
        let (wanted, offered) = (self.normalized(), candidate.normalized());
        if wanted.os != offered.os || wanted.architecture != offered.architecture {
            return None;
        }
        if wanted.os_version.is_some() && wanted.os_version != offered.os_version {
            return None;
        }
        if !wanted
            .os_features
            .iter()
            .all(|feature| offered.os_features.contains(feature))
        {
            return None;
        }
        if wanted.variant == offered.variant {
            return Some(0);
        }
        let steps = match wanted.architecture.as_str() {
            "amd64" => step_down(variant_number(&wanted, 1)?, variant_number(&offered, 1)?),
            "arm" => step_down(variant_number(&wanted, 7)?, variant_number(&offered, 7)?)
                .filter(|_| variant_number(&offered, 7).is_some_and(|v| v >= 5.0)),
            "arm64" => step_down(variant_number(&wanted, 8)?, variant_number(&offered, 8)?),
            _ => None,
        };
        // An exact variant beats any fallback, and a fallback to no variant is the last resort elsewhere.
        steps.or(match (&wanted.variant, &offered.variant) {
            (None, Some(_)) | (Some(_), None) if !has_ordered_variants(&wanted.architecture) => {
                Some(1)
            }
            _ => None,
        })
    }
}

fn has_ordered_variants(architecture: &str) -> bool {
    matches!(architecture, "amd64" | "arm" | "arm64")
}

/// `v7` -> 7, `v8.2` -> 8.2; no variant is the architecture's base.
fn variant_number(platform: &Platform, base: u32) -> Option<f64> {
    match &platform.variant {
        None => Some(f64::from(base)),
        Some(text) => text.strip_prefix('v')?.parse().ok(),
    }
}

/// Distance from a newer variant down to an older one, in tenths; `None` upwards.
fn step_down(wanted: f64, offered: f64) -> Option<u32> {
    (offered <= wanted).then(|| ((wanted - offered) * 10.0).round() as u32)
}

fn is_word(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-()".contains(&b))
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        Self::parse(text)
    }
}

/// `oci-spec`'s value for a GOARCH.
pub(crate) fn spec_arch(text: &str) -> spec::Arch {
    match text {
        // Which `oci-spec` 0.10 takes for `arm64be`.
        "armbe" => spec::Arch::ARMbe,
        other => other.into(),
    }
}

/// A list that may be left out, as `oci-spec` has it.
pub(crate) fn unless_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

impl From<&spec::Platform> for Platform {
    /// All but `features`, which the specification reserves.
    fn from(theirs: &spec::Platform) -> Self {
        Self {
            architecture: theirs.architecture().to_string(),
            os: theirs.os().to_string(),
            os_version: theirs.os_version().clone(),
            os_features: theirs.os_features().clone().unwrap_or_default(),
            variant: theirs.variant().clone(),
        }
    }
}

impl From<Platform> for spec::Platform {
    fn from(ours: Platform) -> Self {
        let mut theirs = Self::default();
        theirs
            .set_architecture(spec_arch(&ours.architecture))
            .set_os(ours.os.as_str().into())
            .set_os_version(ours.os_version)
            .set_os_features(unless_empty(ours.os_features))
            .set_variant(ours.variant);
        theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: C14
    #[test]
    fn parses_and_prints() {
        let host = Platform::host();
        let rows = [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ];
        assert!(!rows.is_empty());
        for (text, printed) in rows {
            let platform = Platform::parse(text).unwrap();
            assert_eq!(platform.to_string(), printed);
            assert_eq!(Platform::parse(printed).unwrap(), platform);
        }
        assert_eq!(
            Platform::parse("linux").unwrap(),
            Platform {
                os: "linux".into(),
                ..host.clone()
            }
        );
        assert_eq!(
            Platform::parse("aarch64").unwrap(),
            Platform::new(host.os, "arm64")
        );
    }

    #[test]
    fn refuses_other_texts() {
        let rows = [
            ("", "platform is empty"),
            ("linux/", "`linux/` must be written"),
            ("/amd64", "must be written"),
            ("linux/arm/v7/x", "must be written"),
            ("li nux/arm", "must be written"),
            ("windows(1/amd64", "must be written"),
            ("toaster", "neither an operating system nor"),
        ];
        assert!(!rows.is_empty());
        for (text, message) in rows {
            let error = Platform::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    // conformance: C14
    #[test]
    fn ranks_candidates() {
        let rows = [
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(10)),
            ("linux/amd64/v3", "linux/amd64", Some(20)),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm64/v8", "linux/arm64", Some(0)),
            ("linux/arm64", "linux/arm/v7", None),
            ("linux/arm64/v9", "linux/arm64", Some(10)),
            ("linux/arm64", "linux/arm64/v8.1", None),
            ("linux/arm", "linux/arm/v7", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(10)),
            ("linux/arm/v7", "linux/arm/v5", Some(20)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v7", "linux/arm/v4", None),
            ("linux/amd64", "linux/386", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/riscv64", "linux/riscv64", Some(0)),
            ("linux/mips64le", "linux/mips64le/hardfloat", Some(1)),
        ];
        assert!(!rows.is_empty());
        for (wanted, offered, rank) in rows {
            let parse = |text: &str| -> Platform {
                let mut parts = text.split('/');
                Platform {
                    os: parts.next().unwrap().to_owned(),
                    architecture: parts.next().unwrap().to_owned(),
                    variant: parts.next().map(str::to_owned),
                    ..Platform::default()
                }
            };
            assert_eq!(
                parse(wanted).rank(&parse(offered)),
                rank,
                "{wanted} <- {offered}"
            );
        }
    }

    #[test]
    fn json_leaves_out_what_is_not_there() {
        let platform: Platform = serde_json::from_str(
            r#"{"os":"linux","architecture":"amd64","variant":"","os.version":null}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&platform).unwrap(),
            r#"{"architecture":"amd64","os":"linux"}"#
        );
    }

    #[test]
    fn goes_to_oci_spec_and_back() {
        let words = SYSTEMS.map(|os| Platform::new(os, "amd64")).into_iter();
        let odd = ["", "toaster", "armbe", "arm64be"];
        let words = words
            .chain(ARCHITECTURES.map(|architecture| Platform::new("linux", architecture)))
            .chain(odd.map(|word| Platform::new(word, word)))
            .chain([Platform {
                os_version: Some("10.0.1".to_owned()),
                os_features: vec!["win32k".to_owned()],
                variant: Some("v7".to_owned()),
                ..Platform::new("windows", "arm")
            }]);
        for ours in words {
            let theirs = spec::Platform::from(ours.clone());
            assert_eq!(Platform::from(&theirs), ours);
        }
    }
}
