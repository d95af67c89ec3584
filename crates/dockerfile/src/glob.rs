//! Source wildcards of `COPY` and `ADD`: one pattern per path component (E6, E33).

use crate::automaton::Automaton;
use crate::pattern::PatternError;
use crate::pattern_syntax;

/// A source path with wildcards, from the root of the source: `.`, empty and leading components are
/// gone, `..` stops at the root (E1).
#[derive(Debug, Clone)]
pub struct Glob {
    components: Vec<GlobComponent>,
    pivot: usize,
}

/// One component of a [`Glob`].
#[derive(Debug, Clone)]
pub struct GlobComponent {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Literal(Vec<u8>),
    Wild(Automaton),
    AnyDepth,
}

impl Glob {
    /// Compiles `pattern`; `**` is no more than `*`.
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        Self::compile(pattern, false)
    }

    /// Compiles a source of `COPY --parents`, where a component `**` stands for any number of
    /// directories (E33).
    pub fn with_any_depth(pattern: &str) -> Result<Self, PatternError> {
        Self::compile(pattern, true)
    }

    fn compile(pattern: &str, any_depth: bool) -> Result<Self, PatternError> {
        let syntax = || PatternError::Syntax {
            pattern: pattern.to_owned(),
            line: None,
        };
        let mut components: Vec<GlobComponent> = Vec::new();
        let mut pivot = None;
        for part in pattern.split('/') {
            match part {
                "" => {}
                "." => {
                    pivot.get_or_insert(components.len());
                }
                ".." => {
                    components.pop();
                }
                "**" if any_depth => components.push(GlobComponent {
                    kind: Kind::AnyDepth,
                }),
                _ => {
                    let steps = pattern_syntax::component(part.as_bytes()).map_err(|_| syntax())?;
                    let automaton = Automaton::new(steps);
                    let kind = match automaton.literal() {
                        Some(name) => Kind::Literal(name),
                        None => Kind::Wild(automaton),
                    };
                    components.push(GlobComponent { kind });
                }
            }
        }
        let pivot = pivot.unwrap_or(0).min(components.len());
        Ok(Self { components, pivot })
    }

    /// Whether the whole of `path` matches; `path` is relative and cleaned.
    pub fn matches(&self, path: &[u8]) -> bool {
        let names: Vec<&[u8]> = if path.is_empty() {
            Vec::new()
        } else {
            path.split(|b| *b == b'/').collect()
        };
        // reachable[n]: the components so far match the first n names.
        let mut reachable = vec![false; names.len() + 1];
        reachable[0] = true;
        for component in &self.components {
            let mut next = vec![false; names.len() + 1];
            for at in 0..=names.len() {
                match component.kind {
                    Kind::AnyDepth => next[at] = reachable[at] || (at > 0 && next[at - 1]),
                    _ => {
                        next[at] = at > 0 && reachable[at - 1] && component.matches(names[at - 1]);
                    }
                }
            }
            reachable = next;
        }
        reachable[names.len()]
    }

    /// The patterns, one per path component; none for the root itself.
    pub fn components(&self) -> &[GlobComponent] {
        &self.components
    }

    /// Whether no component has a wildcard: then a missing file is an error (E7, E8).
    pub fn is_literal(&self) -> bool {
        self.components
            .iter()
            .all(|component| component.literal().is_some())
    }

    /// How many components stand before the first `/./`, which `--parents` leaves out (E33).
    pub fn pivot(&self) -> usize {
        self.pivot
    }
}

impl GlobComponent {
    /// The name this component stands for when it has no wildcard, escapes removed.
    pub fn literal(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Literal(name) => Some(name),
            _ => None,
        }
    }

    /// Whether this is the `**` of [`Glob::with_any_depth`].
    pub fn is_any_depth(&self) -> bool {
        matches!(self.kind, Kind::AnyDepth)
    }

    /// Whether a file name matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        match &self.kind {
            Kind::Literal(literal) => literal == name,
            Kind::Wild(automaton) => automaton.run(name).whole,
            Kind::AnyDepth => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: E1, E6
    #[test]
    fn matching() {
        let rows = [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("d/*.txt", "d/a.txt", true),
            ("*/a?", "d/ab", true),
            ("*/a?", "d/a", false),
            ("arr[[]0].txt", "arr[0].txt", true),
            ("arr[[]0].txt", "arr0.txt", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("[^a]b", "cb", true),
            ("[^a]b", "ab", false),
            ("[a-c]", "b", true),
            ("[z-a]", "b", false),
            ("?", "\u{e9}", true),
            ("**", "a/b", false),
            ("**", "a", true),
            ("/a/", "a", true),
            ("../../a", "a", true),
            ("./a/.//b", "a/b", true),
            ("", "", true),
            ("a b", "a b", true),
        ];
        for (pattern, path, expected) in rows {
            let glob = Glob::new(pattern).unwrap();
            assert_eq!(glob.matches(path.as_bytes()), expected, "{pattern} {path}");
        }
        assert!(Glob::new("?").unwrap().matches(b"\xff"));
        assert!(Glob::new("a\\[b").unwrap().is_literal());
        assert_eq!(
            Glob::new("a\\[b").unwrap().components()[0].literal(),
            Some(&b"a[b"[..])
        );
    }

    #[test]
    fn malformed() {
        for pattern in ["a[", "[]a]", "[-a]", "[a-]", "a\\", "d/[", "[^]"] {
            let error = Glob::new(pattern).map(|_| ()).map_err(|e| e.to_string());
            assert_eq!(error, Err(format!("syntax error in pattern: `{pattern}`")));
        }
    }

    // conformance: E33
    #[test]
    fn any_depth() {
        let rows = [
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("a/**/x", "a/x", true),
            ("a/**/x", "b/x", false),
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("**/*.go", "a/b.go", true),
            ("**/*.go", "a/b.rs", false),
        ];
        for (pattern, path, expected) in rows {
            let glob = Glob::with_any_depth(pattern).unwrap();
            assert_eq!(glob.matches(path.as_bytes()), expected, "{pattern} {path}");
        }
        let pivots = [("a/./b/c", 1), ("./a", 0), ("a/b", 0), ("a/b/.", 2)];
        for (pattern, expected) in pivots {
            assert_eq!(
                Glob::with_any_depth(pattern).unwrap().pivot(),
                expected,
                "{pattern}"
            );
        }
    }
}
