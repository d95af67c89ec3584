//! All that the result of a step depends on, by name.
//!
//! # Stored form, version 1
//!
//! ```json
//! {"version":1,"parts":{
//!   "args":{"map":{"TOKEN":{"hidden":{"mark":51966}},"VERSION":{"hidden":{"mark":4711}}}},
//!   "base":{"digest":"sha256:..."},
//!   "files":{"files":[["d0755","src"],["-0644","src/main.rs",12,"<64 hex digits>"]]},
//!   "instruction":{"text":"COPY src src"},
//!   "shell":{"list":["/bin/sh","-c"]}}}
//! ```
//!
//! The form of files is described in `files/stored.rs`. Parts are stored to be compared, not to be built from: a program
//! that does not know the version cannot explain a miss, and that is all. Results are found by the key.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::{DOMAIN, add_value};
use crate::frame::Frames;
use crate::version::Version;
use crate::{CacheKey, Value};

/// Named parts in the byte order of their names; the order in which they are added does not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(BTreeMap<String, Value>);

impl Parts {
    /// No parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more part; see [`Parts::push`].
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a part, whose name must be new.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let name = name.into();
        // Losing a part would make different steps equal.
        debug_assert!(!self.0.contains_key(&name), "two parts are named `{name}`");
        self.0.insert(name, value.into());
    }

    /// The part of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All parts in the byte order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is there no part?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key of a step with these parts after the step with the key `parent`.
    pub fn key(&self, parent: Option<CacheKey>) -> CacheKey {
        let mut frames = Frames::new(DOMAIN);
        match parent {
            None => frames.tag(0),
            Some(parent) => {
                frames.tag(1);
                frames.fixed(parent.as_bytes());
            }
        }
        frames.count(self.len());
        for (name, value) in self.iter() {
            frames.bytes(name.as_bytes());
            add_value(&mut frames, value);
        }
        CacheKey::from_bytes(frames.finish())
    }

    /// The same parts, with the same key, where lists of more than `max_files` files are reduced to their digest.
    #[must_use]
    pub fn for_storage(&self, max_files: usize) -> Self {
        let stored = |value: &Value| match value {
            Value::Files(files) => Value::Files(files.capped(max_files)),
            other => other.clone(),
        };
        let parts = self.0.iter();
        Self(
            parts
                .map(|(name, value)| (name.clone(), stored(value)))
                .collect(),
        )
    }
}

#[derive(Serialize, Deserialize)]
struct Document<P> {
    version: Version<1>,
    parts: P,
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = Document {
            version: Version,
            parts: &self.0,
        };
        document.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Document::<Unique>::deserialize(deserializer)?;
        Ok(Self(document.parts.0))
    }
}

/// A map in which no name is there twice: one of the two would be lost unseen.
struct Unique(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("named parts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut parts = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if parts.contains_key(&name) {
                        let message = format_args!("two parts are named `{name}`");
                        return Err(A::Error::custom(message));
                    }
                    parts.insert(name, map.next_value()?);
                }
                Ok(Unique(parts))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
