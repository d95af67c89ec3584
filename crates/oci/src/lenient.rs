//! Reading fields that other tools leave null, empty or half filled (C19).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// `null` is the default value.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `null` and the empty string are no text.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// `null` is no element, and neither is a `null` inside.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let list: Option<Vec<Option<T>>> = Option::deserialize(deserializer)?;
    Ok(list.into_iter().flatten().flatten().collect())
}

/// `null` stays a place in the list, filled with the default: positions matter in `history`.
pub(crate) fn places<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let list: Option<Vec<Option<T>>> = Option::deserialize(deserializer)?;
    let list = list.into_iter().flatten();
    Ok(list.map(Option::unwrap_or_default).collect())
}

/// A command is a list or, from old docker versions, one string; `null` is no command.
pub(crate) fn command<'de, D>(deserializer: D) -> Result<Option<Vec<String>>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Command {
        One(String),
        Many(Vec<Option<String>>),
    }
    let command: Option<Command> = Option::deserialize(deserializer)?;
    Ok(command.map(|command| match command {
        Command::One(word) => vec![word],
        Command::Many(words) => words.into_iter().map(Option::unwrap_or_default).collect(),
    }))
}

/// `null` is no entry; a `null` value is an empty text.
pub(crate) fn map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let map: Option<BTreeMap<String, Option<String>>> = Option::deserialize(deserializer)?;
    let map = map.into_iter().flatten();
    Ok(map.map(|(k, v)| (k, v.unwrap_or_default())).collect())
}

/// Go's way to write a set, `{"80/tcp": {}}`; what stands behind a name does not matter. A list is taken as well.
pub(crate) fn set<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeSet<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Set {
        Map(Map<String, Value>),
        List(BTreeSet<String>),
    }
    let set: Option<Set> = Option::deserialize(deserializer)?;
    Ok(match set {
        None => BTreeSet::new(),
        Some(Set::Map(map)) => map.into_iter().map(|(name, _)| name).collect(),
        Some(Set::List(list)) => list,
    })
}

/// What cannot be read is not there: for fields that nothing here depends on.
pub(crate) fn if_readable<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}
