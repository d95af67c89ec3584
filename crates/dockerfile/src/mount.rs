//! `RUN --mount` values: comma separated fields with types, aliases and defaults (D24-D38).

mod field;

use crate::expand::ExpandError;
use crate::suggest::did_you_mean;
use field::{Field, Key, fields};

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MountType {
    /// Files of the context, a stage or an image.
    Bind,
    /// A directory that outlives the build.
    Cache,
    /// An empty directory in memory.
    Tmpfs,
    /// A file or variable from outside.
    Secret,
    /// An agent's socket.
    Ssh,
}

impl MountType {
    const ALL: [Self; 5] = [
        Self::Bind,
        Self::Cache,
        Self::Tmpfs,
        Self::Secret,
        Self::Ssh,
    ];

    /// The name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        }
    }

    /// Whether it shows files of a stage or image that `from` names.
    pub fn reads_from(self) -> bool {
        match self {
            Self::Bind | Self::Cache => true,
            Self::Tmpfs | Self::Secret | Self::Ssh => false,
        }
    }

    /// Whether it has a place of its own where it is shown without a target.
    pub fn has_own_target(self) -> bool {
        match self {
            Self::Secret | Self::Ssh => true,
            Self::Bind | Self::Cache | Self::Tmpfs => false,
        }
    }

    /// Whether it shows files of the build context where nothing else is named.
    pub fn reads_context(self) -> bool {
        match self {
            Self::Bind => true,
            Self::Cache | Self::Tmpfs | Self::Secret | Self::Ssh => false,
        }
    }
}

/// How a cache is shared by concurrent builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Sharing {
    /// All write at once.
    #[default]
    Shared,
    /// Each gets its own.
    Private,
    /// One waits for the other.
    Locked,
}

/// One `--mount`, checked; what was not given is `None`, defaults are the runner's (D28, D30, D34).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `type`, `bind` unless given.
    pub kind: MountType,
    /// `target` as written; a relative one is joined to the WORKDIR, and without one bind, cache and tmpfs
    /// are the WORKDIR itself, unless that is `/` (D25).
    pub target: Option<String>,
    /// `source` of bind and cache.
    pub source: Option<String>,
    /// `from` of bind and cache, never expanded (B14).
    pub from: Option<String>,
    /// `id` of cache, secret and ssh; for a secret `source` means the same.
    pub id: Option<String>,
    /// `ro` or `rw`; absent means read-only for all but cache and tmpfs.
    pub read_only: Option<bool>,
    /// `sharing` of a cache.
    pub sharing: Option<Sharing>,
    /// `mode`, 07777 bits.
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
    /// `size` of a tmpfs in bytes.
    pub size: Option<u64>,
    /// `required` of secret and ssh.
    pub required: bool,
    /// `env` of a secret: the variable to set.
    pub env: Option<String>,
}

/// A `--mount` value that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The commas and quotes are not those of one CSV line.
    #[error("failed to parse csv mount `{raw}`: {problem}")]
    Csv {
        /// The whole value.
        raw: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// D24
    #[error("unsupported mount type `{value}`{}", did_you_mean(suggestion.as_deref()))]
    Type {
        /// The value given.
        value: String,
        /// A type that looks like it.
        suggestion: Option<String>,
    },
    /// D24
    #[error("unexpected key '{key}' in '{field}'{}", did_you_mean(suggestion.as_deref()))]
    Key {
        /// As written, in lower case.
        key: String,
        /// The whole field.
        field: String,
        /// A key that looks like it.
        suggestion: Option<String>,
    },
    /// D24
    #[error("unexpected key '{key}' for mount type '{kind}': it takes {allowed}")]
    KeyForType {
        /// The key.
        key: &'static str,
        /// The mount's type.
        kind: &'static str,
        /// The keys it takes.
        allowed: String,
    },
    /// A key that is no switch, without `=`.
    #[error("invalid field '{field}' must be a key=value pair")]
    NoValue {
        /// The field.
        field: String,
    },
    /// D30, D33, D35, D38
    #[error("invalid value for {key}: `{value}`, expected {expected}{}", did_you_mean(suggestion.as_deref()))]
    Value {
        /// The key.
        key: &'static str,
        /// The value, expanded.
        value: String,
        /// What would be right.
        expected: &'static str,
        /// A value that looks like it.
        suggestion: Option<String>,
    },
    /// B14
    #[error(
        "'from' doesn't support variable expansion, define alias stage instead: `FROM {value} AS name`, then `from=name`"
    )]
    FromVariable {
        /// The value given.
        value: String,
    },
    /// D25
    #[error("invalid mount target \"{target}\": {kind} needs a path below the root")]
    Target {
        /// The mount's type.
        kind: &'static str,
        /// The value, expanded.
        target: String,
    },
    /// D34
    #[error("invalid secret mount: one of id, target or env is required")]
    NamelessSecret,
    /// D34
    #[error("invalid secret mount: both source and id are set, they mean the same")]
    SourceAndId,
    /// The variables in a field.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl Mount {
    /// Reads one value, passing every field's value but that of `from` through `expand`.
    pub fn parse(
        raw: &str,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<Self, MountError> {
        let mut fields = fields(raw)?;
        for field in &mut fields {
            match &mut field.value {
                Some(value) if field.key == Key::From => check_from(value)?,
                Some(value) => *value = expand(value)?,
                None => {}
            }
        }
        let kind = match fields.iter().rev().find(|field| field.key == Key::Type) {
            Some(field) => mount_type(field.text())?,
            None => MountType::Bind,
        };
        let mut mount = Self::empty(kind);
        for field in fields {
            mount.set(&field)?;
        }
        mount.finish()
    }

    /// Finds what is wrong before variables have values: everything when there are none in `raw`,
    /// else the fields' names and `from`. Gives `from`.
    pub(crate) fn check(raw: &str) -> Result<Option<String>, MountError> {
        if !raw.contains(['$', '\'', '"', '\\', '`']) {
            let mount = Self::parse(raw, &mut |value| Ok(value.to_owned()))?;
            return Ok(mount.from);
        }
        let mut from = None;
        for field in fields(raw)? {
            match field.value {
                Some(value) if field.key == Key::From => {
                    check_from(&value)?;
                    from = Some(value).filter(|value| !value.is_empty());
                }
                _ => {}
            }
        }
        Ok(from)
    }

    fn empty(kind: MountType) -> Self {
        Self {
            kind,
            target: None,
            source: None,
            from: None,
            id: None,
            read_only: None,
            sharing: None,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            required: false,
            env: None,
        }
    }

    fn set(&mut self, field: &Field) -> Result<(), MountError> {
        let key = field.key;
        if !key.is_allowed_for(self.kind) {
            let allowed: Vec<_> = Key::ALL
                .iter()
                .filter(|k| k.is_allowed_for(self.kind))
                .map(|k| k.name())
                .collect();
            return Err(MountError::KeyForType {
                key: key.name(),
                kind: self.kind.as_str(),
                allowed: allowed.join(", "),
            });
        }
        let given = || Some(field.text().to_owned()).filter(|text| !text.is_empty());
        match key {
            Key::Type => {}
            Key::Target => self.target = given(),
            Key::Source => self.source = given(),
            Key::From => self.from = given(),
            Key::Id => self.id = given(),
            Key::Env => self.env = given(),
            Key::ReadOnly => self.read_only = Some(field.switch()?),
            Key::ReadWrite => self.read_only = Some(!field.switch()?),
            Key::Required => self.required = field.switch()?,
            Key::Sharing => self.sharing = Some(field.sharing()?),
            Key::Mode => self.mode = Some(field.mode()?),
            Key::Uid => self.uid = Some(field.number()?),
            Key::Gid => self.gid = Some(field.number()?),
            Key::Size => self.size = Some(field.size()?),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Self, MountError> {
        match self.kind {
            MountType::Bind | MountType::Cache | MountType::Tmpfs => {
                // What is joined to the WORKDIR is for the caller to check, who knows it.
                if let Some(target) = self.target.as_deref().filter(|target| is_root(target)) {
                    let (kind, target) = (self.kind.as_str(), target.to_owned());
                    return Err(MountError::Target { kind, target });
                }
            }
            MountType::Secret => {
                if let Some(source) = self.source.take()
                    && self.id.replace(source).is_some()
                {
                    return Err(MountError::SourceAndId);
                }
                if self.id.is_none() && self.target.is_none() && self.env.is_none() {
                    return Err(MountError::NamelessSecret);
                }
            }
            MountType::Ssh => {}
        }
        Ok(self)
    }
}

fn mount_type(value: &str) -> Result<MountType, MountError> {
    let found = MountType::ALL
        .into_iter()
        .find(|kind| value.eq_ignore_ascii_case(kind.as_str()));
    found.ok_or_else(|| {
        let names = MountType::ALL.iter().map(|kind| kind.as_str());
        let suggestion = crate::suggest::closest(value, names).map(str::to_owned);
        MountError::Type {
            value: value.to_owned(),
            suggestion,
        }
    })
}

fn check_from(value: &str) -> Result<(), MountError> {
    if value.contains('$') {
        return Err(MountError::FromVariable {
            value: value.to_owned(),
        });
    }
    Ok(())
}

/// Whether an absolute path comes down to `/`.
fn is_root(target: &str) -> bool {
    let mut depth = 0_usize;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    target.starts_with('/') && depth == 0
}

#[cfg(test)]
mod tests;
