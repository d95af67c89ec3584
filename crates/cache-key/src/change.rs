//! A named difference, in one line for people and in full for programs.

mod line;

use std::fmt;

use serde::{Serialize, Serializer};

/// One difference between the parts of then and those of now.
///
/// It is shown as one line; [`Change::details`] is the whole of it. As JSON it has all fields, and the line too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name of the part; see [`part`](crate::part).
    pub part: String,
    /// The name of the variable, if the part is a map.
    pub entry: Option<String>,
    /// What happened to it.
    pub what: Difference,
}

/// What happened to a part or a variable.
///
/// A value is `None` if it was hashed, or is no text, digest or list of texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Difference {
    /// It was not there before.
    New {
        /// Its value.
        now: Option<String>,
    },
    /// It is not there any more.
    Gone {
        /// Its value.
        before: Option<String>,
    },
    /// It has another value.
    Changed {
        /// The value it had.
        before: Option<String>,
        /// The value it has.
        now: Option<String>,
    },
    /// Files differ.
    Files {
        /// How many there were; directories count only where the files are not listed.
        before: u64,
        /// How many there are; directories count only where the files are not listed.
        now: u64,
        /// Which of them differ, if both sets list their files.
        files: Option<ChangedFiles>,
    },
}

/// The files that differ, by their paths in byte order.
///
/// In paths, `%` and two hex digits are a byte that is not UTF-8, a control character or `%`; directories end with `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChangedFiles {
    /// Files that were there and still are.
    pub changed: Vec<ChangedFile>,
    /// Files that were not there.
    pub added: Vec<String>,
    /// Files that are not there any more.
    pub removed: Vec<String>,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Its path.
    pub path: String,
    /// In what it differs.
    pub attributes: Vec<ChangedAttribute>,
}

/// In what a file differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedAttribute {
    /// In what.
    pub attribute: Attribute,
    /// What it was.
    pub before: String,
    /// What it is.
    pub now: String,
}

/// Something in which files can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attribute {
    /// File, directory, symlink, ...
    Kind,
    /// The content of a regular file, by its digest.
    Content,
    /// The size of a regular file.
    Size,
    /// What a link leads to.
    Target,
    /// The numbers of a device.
    Device,
    /// The permission bits.
    Mode,
    /// User and group id.
    Owner,
    /// The extended attributes.
    Xattrs,
}

impl Change {
    /// Everything there is to say, in one line or several: the line, then values in full or every file.
    pub fn details(&self) -> String {
        line::details(self)
    }
}

impl Difference {
    /// The outer `Option` is whether it is there, the inner one whether the value can be shown.
    #[expect(clippy::option_option, reason = "both are what the variants hold")]
    pub(crate) fn of(before: Option<Option<String>>, now: Option<Option<String>>) -> Self {
        match (before, now) {
            (None, now) => Self::New { now: now.flatten() },
            (Some(before), None) => Self::Gone { before },
            (Some(before), Some(now)) => Self::Changed { before, now },
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Size => "size",
            Self::Target => "target",
            Self::Device => "device numbers",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Xattrs => "extended attributes",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&line::line(self))
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            part: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            entry: Option<&'a str>,
            #[serde(flatten)]
            what: &'a Difference,
            line: String,
        }
        let document = Document {
            part: &self.part,
            entry: self.entry.as_deref(),
            what: &self.what,
            line: self.to_string(),
        };
        document.serialize(serializer)
    }
}
