use super::*;

/// Each row: rules, path, excluded.
fn check(rows: &[(&[&str], &str, bool)]) {
    assert!(!rows.is_empty());
    for (rules, path, expected) in rows {
        let set = PatternSet::new(*rules).unwrap();
        assert_eq!(
            set.is_excluded(path.as_bytes()),
            *expected,
            "{rules:?} {path}"
        );
    }
}

// conformance: A38
#[test]
fn pattern_language() {
    check(&[
        (&["x"], "x", true),
        (&["x"], "d/x", false),
        (&["x"], "xy", false),
        (&["*.go"], "a.go", true),
        (&["*.go"], "d/a.go", false),
        (&["*/a"], "d/a", true),
        (&["a?c"], "abc", true),
        (&["a?c"], "a/c", false),
        (&["a?c"], "a\u{e9}c", true),
        (&["[a-z]x"], "bx", true),
        (&["[^a]x"], "ax", false),
        (&["[^a]x"], "bx", true),
        (&["a\\*"], "a*", true),
        (&["a\\*"], "ab", false),
        (&["**/x"], "x", true),
        (&["**/x"], "a/x", true),
        (&["**/x"], "a/b/x", true),
        (&["**/x"], "ax", false),
        (&["a/**/b"], "a/b", true),
        (&["a/**/b"], "a/x/b", true),
        (&["a/**/b"], "a/x/y/b", true),
        (&["a/**/b"], "ab", false),
        (&["a/**"], "a/b/c", true),
        (&["a/**"], "a", false),
        (&["a**"], "abc/d", true),
        (&["**"], "a/b", true),
        (&["**/*.go"], "a/b.go", true),
        (&["**/*.go"], "b.go", true),
        (&["**.go"], "a/b.go", true),
        (&["**/x/**"], "a/x/b", true),
        (&["a**b"], "ab", true),
        (&["a**b"], "ax/b", true),
        (&["a**b"], "axb", false),
        (&["**/**/x"], "x", true),
        (&["a.b"], "axb", false),
        (&["a^b"], "a^b", true),
        (&["a+(b)|{c}$"], "a+(b)|{c}$", true),
        (&["a]"], "a]", true),
        (&["."], "a", false),
        (&["../a"], "a", false),
        (&["/"], "a", false),
        (&["a/"], "a/b", true),
        (&["./a//b/../c"], "a/c", true),
        // finding 35: given one by one, a slash in front matches nothing.
        (&["/a"], "a", false),
        (&["*", "!/a"], "a", true),
        (&["  a  "], "a", true),
        (&["#a"], "#a", true),
    ]);
}

// conformance: A39, A40, E34
#[test]
fn last_match_wins_and_parents_count() {
    check(&[
        (&["d"], "d/a/b", true),
        (&["d*"], "d1/a/b", true),
        (&["**/d"], "x/d/a", true),
        (&["*", "!a/b/keep"], "a", true),
        (&["*", "!a/b/keep"], "a/b/keep", false),
        (&["*", "!a/b/keep"], "a/b/keep/below", false),
        (&["*", "!a/b/keep"], "a/b/other", true),
        (
            &["*.md", "!README*.md", "README-secret.md"],
            "README.md",
            false,
        ),
        (
            &["*.md", "!README*.md", "README-secret.md"],
            "README-secret.md",
            true,
        ),
        (
            &["*.md", "README-secret.md", "!README*.md"],
            "README-secret.md",
            false,
        ),
        (&["!a", "a"], "a", true),
        (&["a", "! a"], "a", false),
        (&["a", "!a/b", "a/b/c"], "a/b/c/d", true),
        (&["!a"], "b", false),
        (&[], "a", false),
        (&["*"], "", false),
    ]);
}

// conformance: A40, A44
#[test]
fn what_a_walk_can_skip() {
    let rows: &[(&[&str], &str, bool)] = &[
        (&["d"], "d", false),
        (&["d"], "e", true),
        (&["*"], "d", false),
        (&["*", "!a/b/keep"], "a", true),
        (&["*", "!a/b/keep"], "a/b", true),
        (&["*", "!a/b/keep"], "a/b/keep", true),
        (&["*", "!a/b/keep"], "a/c", false),
        (&["*", "!a/b/keep"], "ab", false),
        (&["*", "!**/keep"], "any/where", true),
        (&["*", "!a/*.txt"], "a", true),
        (&["*", "!a/*.txt"], "b", false),
        (&["!a/b", "a"], "a", false),
        (&["*", "!a", "a"], "a", false),
        (&["*", "!a/**"], "a", true),
        (&["*", "!*"], "a", true),
        (&["*", "!?"], "abc", false),
        (&["*"], "", true),
    ];
    assert!(!rows.is_empty());
    for (rules, dir, expected) in rows {
        let set = PatternSet::new(*rules).unwrap();
        assert_eq!(
            set.may_include_below(dir.as_bytes()),
            *expected,
            "{rules:?} {dir}"
        );
    }
}

// conformance: A7, A36
#[test]
fn ignore_files() {
    let text =
        b"\xef\xbb\xbf# comment\r\n  # not\r\n\r\n/top\r\nkep*\r\n ! kept \r\n  trimmed\t\r\n\xff*\r\n ./a//b/../c/ \r\n";
    let set = PatternSet::parse_ignore_file(text).unwrap();
    let rows: [(&[u8], bool); 9] = [
        (b"top", true),
        (b"comment", false),
        (b"# not", true),
        (b"trimmed/x", true),
        (b"kept", false),
        (b"kepler", true),
        (b"a/c", true),
        (b"\xffa", true),
        (b"\xfea", false),
    ];
    for (path, expected) in rows {
        assert_eq!(
            set.is_excluded(path),
            expected,
            "{}",
            String::from_utf8_lossy(path)
        );
    }
    assert!(
        PatternSet::parse_ignore_file(b"\n# x\n")
            .unwrap()
            .is_empty()
    );
}

// conformance: A37
#[test]
fn malformed() {
    let rows = [
        ("ok\n!\n", "illegal exclusion pattern: \"!\"", 2),
        ("! \n", "illegal exclusion pattern: \"!\"", 1),
        ("\na[\n", "syntax error in pattern: `a[`", 2),
        ("!a[]\n", "syntax error in pattern: `!a[]`", 1),
        ("a\\\n", "syntax error in pattern: `a\\`", 1),
        ("**/[a-]\n", "syntax error in pattern: `**/[a-]`", 1),
    ];
    for (text, expected, line) in rows {
        let error = PatternSet::parse_ignore_file(text.as_bytes())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.line()),
            (expected, Some(line))
        );
    }
}

#[test]
fn many_stars_stay_quick() {
    let rules = [format!("{}x", "**/*a".repeat(60)), "*a".repeat(100) + "b"];
    let set = PatternSet::new(&rules).unwrap();
    assert!(!set.is_excluded("a".repeat(20_000).as_bytes()));
}
