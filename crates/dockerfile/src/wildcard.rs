//! The patterns of `${x#p}` and `${x/p/r}`: `*`, `?` and escapes, brackets are ordinary (B5, B6).

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Char(char),
    /// `?`
    One,
    /// `*`
    Any,
}

/// A compiled pattern. Matching takes time in proportion to pattern times text.
#[derive(Debug)]
pub(crate) struct Wildcard {
    parts: Vec<Part>,
}

impl Wildcard {
    pub(crate) fn new(pattern: &str, escape: char) -> Self {
        let mut parts = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                // An escape at the end stands for itself.
                _ if c == escape => Part::Char(chars.next().unwrap_or(c)),
                _ => Part::Char(c),
            });
        }
        Self { parts }
    }

    /// `value` without the shortest or longest prefix that matches.
    pub(crate) fn without_prefix<'a>(&self, value: &'a str, longest: bool) -> &'a str {
        let (offsets, ends) = self.ends(value, longest);
        ends[0].map_or(value, |end| &value[offsets[end]..])
    }

    /// `value` without the shortest or longest suffix that matches.
    pub(crate) fn without_suffix<'a>(&self, value: &'a str, longest: bool) -> &'a str {
        let reversed = Self {
            parts: self.parts.iter().rev().copied().collect(),
        };
        let backwards: String = value.chars().rev().collect();
        let kept = reversed.without_prefix(&backwards, longest);
        // The same characters in the other order have the same length in bytes.
        &value[..kept.len()]
    }

    /// `value` with the first match, or all of them, replaced; each as long as possible. `None` when that has more
    /// than `most` bytes.
    pub(crate) fn replace(
        &self,
        value: &str,
        replacement: &str,
        all: bool,
        most: usize,
    ) -> Option<String> {
        let (offsets, ends) = self.ends(value, true);
        let mut out = String::with_capacity(value.len());
        let mut copied = 0;
        let mut at = 0;
        // An empty match directly behind a match is none.
        let mut last_end = None;
        while at < ends.len() {
            let Some(end) = ends[at].filter(|end| *end > at || last_end != Some(at)) else {
                at += 1;
                continue;
            };
            out.push_str(&value[offsets[copied]..offsets[at]]);
            out.push_str(replacement);
            if out.len() > most {
                return None;
            }
            copied = end;
            last_end = Some(end);
            if !all {
                break;
            }
            at = end.max(at + 1);
        }
        out.push_str(&value[offsets[copied]..]);
        Some(out)
    }

    /// Byte offsets of the characters (and the end), and per character the end of the match that
    /// starts there, as an index of a character.
    fn ends(&self, value: &str, longest: bool) -> (Vec<usize>, Vec<Option<usize>>) {
        let mut offsets: Vec<usize> = value.char_indices().map(|(at, _)| at).collect();
        offsets.push(value.len());
        let chars: Vec<char> = value.chars().collect();
        // From the back of the pattern: where does the rest of it end, for each start?
        let mut ends: Vec<Option<usize>> = (0..=chars.len()).map(Some).collect();
        for part in self.parts.iter().rev() {
            let mut row = vec![None; ends.len()];
            for start in (0..ends.len()).rev() {
                let behind = |ends: &[Option<usize>]| ends.get(start + 1).copied().flatten();
                row[start] = match part {
                    Part::Char(c) if chars.get(start) == Some(c) => behind(&ends),
                    Part::Char(_) => None,
                    Part::One => behind(&ends),
                    Part::Any => {
                        let (here, later) = (ends[start], behind(&row));
                        if longest {
                            here.max(later)
                        } else {
                            here.or(later).min(later.or(here))
                        }
                    }
                };
            }
            ends = row;
        }
        (offsets, ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: B5
    #[test]
    fn trimming() {
        let rows = [
            // pattern, value, shortest prefix, longest prefix, shortest suffix, longest suffix
            ("*/", "a/b/c", "b/c", "c", "a/b/c", "a/b/c"),
            (".*", "a.b.c", "a.b.c", "a.b.c", "a.b", "a"),
            (
                "?",
                "\u{e9}a\u{e8}",
                "a\u{e8}",
                "a\u{e8}",
                "\u{e9}a",
                "\u{e9}a",
            ),
            ("*", "xy", "xy", "", "xy", ""),
            ("", "xy", "xy", "xy", "xy", "xy"),
            ("[x]", "[x]y", "y", "y", "[x]y", "[x]y"),
            ("\\*", "*a*", "a*", "a*", "*a", "*a"),
            ("*x*y", "xxyy", "y", "", "x", ""),
        ];
        for (pattern, value, p, pp, s, ss) in rows {
            let wildcard = Wildcard::new(pattern, '\\');
            assert_eq!(
                wildcard.without_prefix(value, false),
                p,
                "# {pattern} {value}"
            );
            assert_eq!(
                wildcard.without_prefix(value, true),
                pp,
                "## {pattern} {value}"
            );
            assert_eq!(
                wildcard.without_suffix(value, false),
                s,
                "% {pattern} {value}"
            );
            assert_eq!(
                wildcard.without_suffix(value, true),
                ss,
                "%% {pattern} {value}"
            );
        }
    }

    // conformance: B6
    #[test]
    fn replacing() {
        let rows = [
            ("b", "abcb", "x", "axcb", "axcx"),
            ("b*", "abcb", "x", "ax", "ax"),
            ("/", "/a/b", "-", "-a/b", "-a-b"),
            ("?", "ab", "x", "xb", "xx"),
            ("z", "ab", "x", "ab", "ab"),
            ("*", "", "x", "x", "x"),
            ("*", "ab", "x", "x", "x"),
            ("", "ab", "x", "xab", "xaxbx"),
            ("\\/", "a/b", "-", "a-b", "a-b"),
        ];
        for (pattern, value, with, first, all) in rows {
            let wildcard = Wildcard::new(pattern, '\\');
            assert_eq!(
                wildcard.replace(value, with, false, 100).as_deref(),
                Some(first),
                "/{pattern}/ {value}"
            );
            assert_eq!(
                wildcard.replace(value, with, true, 100).as_deref(),
                Some(all),
                "//{pattern}/ {value}"
            );
        }
        let ten = Wildcard::new("a", '\\').replace("aa", "12345", true, 9);
        assert_eq!(ten, None);
    }
}
