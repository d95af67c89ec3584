//! One `key=value` of a mount.

use super::{MountError, MountType, Sharing};
use crate::suggest::closest;
use crate::truth::parse_bool;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Type,
    Target,
    Source,
    From,
    Id,
    ReadOnly,
    ReadWrite,
    Sharing,
    Mode,
    Uid,
    Gid,
    Size,
    Required,
    Env,
}

impl Key {
    pub(super) const ALL: [Self; 14] = [
        Self::Type,
        Self::Target,
        Self::Source,
        Self::From,
        Self::Id,
        Self::ReadOnly,
        Self::ReadWrite,
        Self::Sharing,
        Self::Mode,
        Self::Uid,
        Self::Gid,
        Self::Size,
        Self::Required,
        Self::Env,
    ];

    /// All spellings, the usual one first.
    fn spellings(self) -> &'static [&'static str] {
        match self {
            Self::Type => &["type"],
            Self::Target => &["target", "dst", "destination"],
            Self::Source => &["source", "src"],
            Self::From => &["from"],
            Self::Id => &["id"],
            Self::ReadOnly => &["readonly", "ro"],
            Self::ReadWrite => &["readwrite", "rw"],
            Self::Sharing => &["sharing"],
            Self::Mode => &["mode"],
            Self::Uid => &["uid"],
            Self::Gid => &["gid"],
            Self::Size => &["size"],
            Self::Required => &["required"],
            Self::Env => &["env"],
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.spellings()[0]
    }

    /// Whether the key alone means `true`.
    fn is_switch(self) -> bool {
        matches!(self, Self::ReadOnly | Self::ReadWrite | Self::Required)
    }

    pub(super) fn is_allowed_for(self, kind: MountType) -> bool {
        use MountType::{Bind, Cache, Secret, Ssh, Tmpfs};
        match self {
            // BuildKit takes the two switches everywhere, also where they change nothing.
            Self::Type | Self::Target | Self::ReadOnly | Self::ReadWrite => true,
            Self::From => matches!(kind, Bind | Cache),
            Self::Source => matches!(kind, Bind | Cache | Secret),
            Self::Id | Self::Mode | Self::Uid | Self::Gid => matches!(kind, Cache | Secret | Ssh),
            Self::Sharing => kind == Cache,
            Self::Size => kind == Tmpfs,
            Self::Required => matches!(kind, Secret | Ssh),
            Self::Env => kind == Secret,
        }
    }
}

/// A field; `value` is `None` for a switch alone.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: Key,
    pub(super) value: Option<String>,
}

impl Field {
    fn new(text: &str) -> Result<Self, MountError> {
        let (written, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        let lower = written.to_lowercase();
        let found = Key::ALL
            .into_iter()
            .find(|key| key.spellings().contains(&lower.as_str()));
        match found {
            Some(key) if value.is_none() && !key.is_switch() => Err(MountError::NoValue {
                field: text.to_owned(),
            }),
            Some(key) => Ok(Self { key, value }),
            None => {
                let names = Key::ALL
                    .iter()
                    .flat_map(|key| key.spellings().iter().copied());
                let suggestion = closest(&lower, names).map(str::to_owned);
                Err(MountError::Key {
                    key: lower,
                    field: text.to_owned(),
                    suggestion,
                })
            }
        }
    }

    pub(super) fn text(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }

    fn wrong(&self, expected: &'static str) -> MountError {
        let (key, value) = (self.key.name(), self.text().to_owned());
        MountError::Value {
            key,
            value,
            expected,
            suggestion: None,
        }
    }

    pub(super) fn switch(&self) -> Result<bool, MountError> {
        match &self.value {
            None => Ok(true),
            Some(text) => parse_bool(text).ok_or_else(|| self.wrong("true or false")),
        }
    }

    pub(super) fn sharing(&self) -> Result<Sharing, MountError> {
        match self.text().to_ascii_lowercase().as_str() {
            "shared" => Ok(Sharing::Shared),
            "private" => Ok(Sharing::Private),
            "locked" => Ok(Sharing::Locked),
            other => {
                let suggestion = closest(other, ["shared", "private", "locked"]).map(str::to_owned);
                let (key, value) = (self.key.name(), self.text().to_owned());
                let expected = "shared, private or locked";
                Err(MountError::Value {
                    key,
                    value,
                    expected,
                    suggestion,
                })
            }
        }
    }

    pub(super) fn mode(&self) -> Result<u32, MountError> {
        let octal = Some(self.text()).filter(|text| !text.starts_with('+'));
        let mode = octal.and_then(|text| u32::from_str_radix(text, 8).ok());
        mode.filter(|mode| *mode <= 0o7777)
            .ok_or_else(|| self.wrong("an octal number up to 7777"))
    }

    pub(super) fn number(&self) -> Result<u32, MountError> {
        let decimal = Some(self.text()).filter(|text| !text.starts_with('+'));
        decimal
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.wrong("a decimal number"))
    }

    pub(super) fn size(&self) -> Result<u64, MountError> {
        kiln_shown::parse_size(self.text(), kiln_shown::Units::Binary)
            .ok_or_else(|| self.wrong("bytes, or a number with k, m or g"))
    }
}

/// The fields of one CSV line.
pub(super) fn fields(raw: &str) -> Result<Vec<Field>, MountError> {
    let records = csv_fields(raw).map_err(|problem| MountError::Csv {
        raw: raw.to_owned(),
        problem,
    })?;
    records.iter().map(|text| Field::new(text)).collect()
}

/// RFC 4180 with one record.
fn csv_fields(raw: &str) -> Result<Vec<String>, &'static str> {
    if raw.is_empty() {
        return Err("it is empty");
    }
    let mut fields = Vec::new();
    let mut rest = raw;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let field = &rest[..end];
                if field.contains('"') {
                    return Err("bare \" in a field without quotes around it");
                }
                (field.to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// What is behind the opening quote: the field, and the text from the comma on.
fn quoted_field(mut rest: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(part);
        match after.strip_prefix('"') {
            // Two quotes are one.
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if after.is_empty() || after.starts_with(',') => return Ok((field, after)),
            None => return Err("text behind a closing quote"),
        }
    }
}
