//! Single values as they are spelled on a command line, read the way kaniko reads them.

use crate::nearest::nearest;

/// A value that is none of those allowed; the flag it was given for is known to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct ValueError {
    /// What would have been right, ready to follow the word `expected`.
    pub expected: String,
    /// The allowed spelling that looks most like what was given.
    pub nearest: Option<String>,
}

impl ValueError {
    pub(crate) fn new(expected: impl Into<String>) -> Self {
        Self {
            expected: expected.into(),
            nearest: None,
        }
    }

    pub(crate) fn one_of(value: &str, allowed: &[&str]) -> Self {
        Self {
            expected: alternatives(allowed),
            nearest: nearest(value, allowed.iter().copied()).map(str::to_owned),
        }
    }
}

/// `` `a`, `b` or `c` ``
pub(crate) fn alternatives(allowed: &[&str]) -> String {
    let mut text = String::new();
    for (at, name) in allowed.iter().enumerate() {
        if at > 0 {
            text.push_str(if at + 1 == allowed.len() {
                " or "
            } else {
                ", "
            });
        }
        text.push('`');
        text.push_str(name);
        text.push('`');
    }
    text
}

/// Declares an enum whose values have one spelling each on the command line.
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every value, in the order in which help and errors name them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The spelling on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::value::ValueError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($crate::value::ValueError::one_of(text, &[$($text,)+])),
                }
            }
        }
    };
}
pub(crate) use choice;

/// Reads a boolean with Go's spellings, which kaniko's users know.
pub(crate) fn boolean(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::one_of(text, &["true", "false"])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: K2
    #[test]
    fn booleans() {
        for text in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "yes", "no", "tRUE", "2"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn lists_of_alternatives() {
        assert_eq!(alternatives(&["a"]), "`a`");
        assert_eq!(alternatives(&["a", "b"]), "`a` or `b`");
        assert_eq!(alternatives(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
