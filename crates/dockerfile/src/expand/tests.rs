use std::collections::BTreeMap;

use super::*;

const VARS: [(&str, &str); 8] = [
    ("x", "X"),
    ("empty", ""),
    ("PWD", "/home"),
    ("file", "/a/b.tar.gz"),
    ("stars", "a*b*c"),
    ("blank", "one two"),
    ("_u1", "u"),
    ("NEEDLE", "\\*"),
];

fn expanded(word: &str, escape: char) -> Result<String, String> {
    Expander::new(escape)
        .word(word, &VARS)
        .map(|e| e.text)
        .map_err(|e| e.fault.to_string())
}

fn check(rows: &[(&str, &str)]) {
    assert!(!rows.is_empty());
    for (word, expected) in rows {
        assert_eq!(expanded(word, '\\').as_deref(), Ok(*expected), "{word}");
    }
}

// conformance: B1, B2
#[test]
fn plain_names() {
    check(&[
        ("/$UNSET/x", "//x"),
        ("$x", "X"),
        ("${x}y", "Xy"),
        ("$x.y", "X.y"),
        ("$xy", ""),
        ("$_u1-", "u-"),
        ("$12x", "x"),
        ("${12}", ""),
        ("a$@$*$#$?$-$$$!b", "ab"),
        ("a$", "a$"),
        ("a$ b$/", "a$ b$/"),
        ("$\u{e9}", "$\u{e9}"),
        ("\u{e9}$x\u{e9}", "\u{e9}X\u{e9}"),
        ("", ""),
    ]);
}

// conformance: B3, B7
#[test]
fn defaults() {
    check(&[
        ("${none:-w}", "w"),
        ("${empty:-w}", "w"),
        ("${x:-w}", "X"),
        ("${none-w}", "w"),
        ("${empty-w}", ""),
        ("${none:+w}", ""),
        ("${empty:+w}", ""),
        ("${x:+w}", "w"),
        ("${empty+w}", "w"),
        ("${none+w}", ""),
        ("${a:-${b:-c}}", "c"),
        ("${a:-$x}", "X"),
        ("${a:-\"q}\"}", "q}"),
        ("${a:-'$x'}", "$x"),
        ("${a:-\\}}", "}"),
        ("${a:-}", ""),
        ("${@:-w}", "w"),
    ]);
}

// conformance: B4
#[test]
fn required() {
    let rows = [
        ("${x:?m}", Ok("X")),
        ("${empty?m}", Ok("")),
        ("${none:?m $x}", Err("none: m X")),
        ("${none?m}", Err("none: m")),
        ("${empty:?m}", Err("empty: m")),
        ("${none:?}", Err("none: is not allowed to be unset")),
        ("${none?}", Err("none: is not allowed to be unset")),
        ("${empty:?}", Err("empty: is not allowed to be empty")),
    ];
    for (word, expected) in rows {
        assert_eq!(
            expanded(word, '\\').as_deref().map_err(String::as_str),
            expected,
            "{word}"
        );
    }
    let error = Expander::default()
        .word("a${none:?m}", &VARS)
        .map_err(|e| e.to_string());
    assert_eq!(
        error,
        Err("failed to process \"a${none:?m}\": none: m".to_owned())
    );
}

// conformance: B5, B6
#[test]
fn patterns() {
    check(&[
        ("${file#*/}", "a/b.tar.gz"),
        ("${file##*/}", "b.tar.gz"),
        ("${file%.*}", "/a/b.tar"),
        ("${file%%.*}", "/a/b"),
        ("${file#nope}", "/a/b.tar.gz"),
        ("${stars#a\\*}", "b*c"),
        ("${none#x}", ""),
        ("${x#$x}", ""),
        ("${file//\\//-}", "-a-b.tar.gz"),
        ("${file/\\//-}", "-a/b.tar.gz"),
        ("${file/?/}", "a/b.tar.gz"),
        ("${stars//$NEEDLE/.}", "a.b.c"),
        ("${stars//\\*/}", "abc"),
        ("${x/X/$PWD}", "/home"),
        ("${x///}", "X"),
        ("${none///}", ""),
        // What is escaped in the replacement stays so, as BuildKit's own tests have it.
        ("${file//\\//\\/}", "\\/a\\/b.tar.gz"),
    ]);
}

// conformance: B5, B6, B8
#[test]
fn malformed() {
    let rows = [
        ("${}", "syntax error: bad substitution"),
        ("${:}", "syntax error: bad substitution"),
        ("${:x}", "syntax error: bad substitution"),
        ("${{x}", "syntax error: bad substitution"),
        ("${=x}", "syntax error: bad substitution"),
        ("${a", "syntax error: missing '}'"),
        ("${", "syntax error: missing '}'"),
        ("${a:", "syntax error: missing '}'"),
        ("${a:-b", "syntax error: missing '}'"),
        ("${x:=y}", "unsupported modifier (:=) in substitution"),
        ("${x=y}", "unsupported modifier (=) in substitution"),
        ("${x:YYY}", "unsupported modifier (:Y) in substitution"),
        ("${x:#y}", "unsupported modifier (:#) in substitution"),
        ("${x:%y}", "unsupported modifier (:%) in substitution"),
        ("${x:}", "unsupported modifier (:}) in substitution"),
        ("${x y}", "unsupported modifier ( ) in substitution"),
        ("${x/a}", "syntax error: missing '/' in ${}"),
        ("${x//a}", "syntax error: missing '/' in ${}"),
        ("${x/a/b", "syntax error: missing '}'"),
        (
            "'a",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            "a'b'c'",
            "unexpected end of statement while looking for matching single-quote",
        ),
        (
            "\"a",
            "unexpected end of statement while looking for matching double-quote",
        ),
        (
            "\"a\\\"",
            "unexpected end of statement while looking for matching double-quote",
        ),
    ];
    for (word, expected) in rows {
        assert_eq!(expanded(word, '\\'), Err(expected.to_owned()), "{word}");
    }
    let error = Expander::default()
        .word("${x:=y}", &())
        .map_err(|e| e.to_string());
    let expected = "failed to process \"${x:=y}\": unsupported modifier (:=) in substitution";
    assert_eq!(error, Err(expected.to_owned()));
}

// conformance: B9
#[test]
fn quotes_and_escapes() {
    check(&[
        ("'$x \\ \"'", "$x \\ \""),
        ("\"$x ' \\\" \\$ \\\\ \\n\"", "X ' \" $ \\ \\n"),
        ("\\$x", "$x"),
        ("\\\\$x", "\\X"),
        ("\\a\\'\\\"", "a'\""),
        ("a\\", "a"),
        ("a\"b\"'c'd", "abcd"),
        ("he\\'llo", "he'llo"),
        ("\"\"", ""),
    ]);
}

// conformance: B10
#[test]
fn other_escape_character() {
    let rows = [
        ("C:\\dir\\$x", "C:\\dir\\X"),
        ("`$x", "$x"),
        ("\"`\"\\\"", "\"\\"),
        ("${stars#a`*}", "b*c"),
    ];
    for (word, expected) in rows {
        assert_eq!(expanded(word, '`').as_deref(), Ok(expected), "{word}");
    }
}

// conformance: B11
#[test]
fn splitting() {
    let rows: &[(&str, &[&str])] = &[
        ("$blank", &["one", "two"]),
        ("\"$blank\"", &["one two"]),
        ("80 $blank/udp", &["80", "one", "two/udp"]),
        ("a\\ b c", &["a b", "c"]),
        ("'a b'c d", &["a bc", "d"]),
        ("$none", &[]),
        ("", &[]),
    ];
    assert!(!rows.is_empty());
    for (word, expected) in rows {
        let words = Expander::default().words(word, &VARS).unwrap();
        assert_eq!(words, *expected, "{word}");
    }
    assert_eq!(expanded("$blank x", '\\').as_deref(), Ok("one two x"));
}

// conformance: B15
#[test]
fn heredoc_bodies() {
    let body = "it's \"$x\" \\$x \\\\ ${none:-d}\n'${x}'\n";
    let text = Expander::default().heredoc(body, &VARS).unwrap();
    assert_eq!(text, "it's \"X\" $x \\ d\n'X'\n");
}

#[test]
fn names_are_reported() {
    let found = Expander::default()
        .word("$x ${none:-$empty} ${none}", &VARS)
        .unwrap();
    assert_eq!(found.used.into_iter().collect::<Vec<_>>(), ["empty", "x"]);
    assert_eq!(found.unset.into_iter().collect::<Vec<_>>(), ["none"]);
}

#[test]
fn lookups() {
    let pairs = vec![("a", "1"), ("a", "2")];
    assert_eq!(Expander::default().word("$a", &pairs).unwrap().text, "2");
    let map = BTreeMap::from([("a".to_owned(), "3".to_owned())]);
    assert_eq!(Expander::default().word("$a$b", &map).unwrap().text, "3");
    assert_eq!(Expander::default().word("$a", &()).unwrap().text, "");
}

#[test]
fn deep_nesting_is_refused() {
    let fine = format!("{}x{}", "${a:-".repeat(100), "}".repeat(100));
    assert_eq!(Expander::default().word(&fine, &()).unwrap().text, "x");
    let deep = "${a:-".repeat(100_000);
    let error = Expander::default().word(&deep, &()).map_err(|e| e.fault);
    assert_eq!(error.map(|_| ()), Err(ExpandFault::TooDeep));
}

// Found by fuzzing: a short word that asked for gigabytes.
#[test]
fn patterns_have_an_end() {
    let long = "a".repeat(100_000);
    let vars = [("x", long.as_str())];
    let rows = ["${x//a/$x}", "${x#$x$x$x$x$x$x$x$x}", "${x//${x//a/bb}/}"];
    for word in rows {
        let error = Expander::default().word(word, &vars).map(|e| e.text.len());
        let fault = error.map_err(|error| error.fault);
        assert_eq!(fault, Err(ExpandFault::TooLarge), "{word}");
    }
    let fine = Expander::default().word("${x//a/bcd}${x%%aaa*}", &vars);
    assert_eq!(fine.map(|e| e.text.len()), Ok(300_000));
}
