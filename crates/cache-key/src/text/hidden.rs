//! Texts that are in a key and not in what is stored beside it.

use std::fmt;

use kiln_oci::Digest;
use serde::{Deserialize, Serialize};

use super::Text;

/// Told apart from other digests of the same text.
const DOMAIN: &[u8] = b"kiln.cache.mark.v1\0";

/// A text that is nobody else's business. The key has all of it; stored is a mark of 16 bits, which is enough to see
/// that the text is another one: of 65,536 changes one is missed. Whoever reads the mark can rule texts out, and still
/// has a 65,536th part of all of them to choose from; a whole digest would say which one it is.
///
/// The key is a whole digest, though of everything else too. What can be guessed in a few million tries belongs into a
/// secret of RUN, which is in no key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Hidden {
    /// Not there in what was stored; such parts are compared, and have no key to speak of.
    #[serde(skip)]
    text: Option<Box<Text>>,
    mark: u16,
    /// What explanations may show, such as the same text with the names of variables in place of their values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
}

impl Hidden {
    pub(crate) fn of(text: Text, shown: Option<String>) -> Self {
        let mark = match &text {
            Text::Plain(text) => Self::mark(text.as_bytes()),
            Text::Hashed(digest) => Self::mark(digest.as_bytes()),
            Text::Hidden(hidden) => hidden.mark,
        };
        Self {
            text: Some(Box::new(text)),
            mark,
            shown,
        }
    }

    fn mark(text: &[u8]) -> u16 {
        let digest = Digest::of([DOMAIN, text].concat());
        let [first, second, ..] = *digest.as_bytes();
        u16::from_be_bytes([first, second])
    }

    /// The text for the key.
    pub(crate) fn text(&self) -> Option<&Text> {
        self.text.as_deref()
    }

    /// What stands for it where there is no text.
    pub(crate) fn number(&self) -> u16 {
        self.mark
    }

    /// What may be shown.
    pub(crate) fn shown(&self) -> Option<&str> {
        self.shown.as_deref()
    }
}

impl PartialEq for Hidden {
    /// As far as what was stored can tell.
    fn eq(&self, other: &Self) -> bool {
        self.mark == other.mark && self.shown == other.shown
    }
}

impl Eq for Hidden {}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hidden")
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}
