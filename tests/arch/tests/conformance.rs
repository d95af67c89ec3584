//! `docs/conformance.md` says which tests show which behaviour; it must say what the tests say.
//!
//! `make conformance` (`KILN_WRITE_DOCS=1`) writes the lines that this checks.

// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Where tests are looked for.
const FOLDERS: &[&str] = &["bins", "crates", "examples", "tests"];

const MARK: &str = "conformance:";
const SUMMARY: (&str, &str) = ("<!-- summary -->\n", "<!-- end of summary -->\n");

/// A test that names behaviours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    /// Crate or suite, and the function.
    name: String,
    isolations: &'static str,
}

/// Behaviour to tests.
type Index = BTreeMap<String, BTreeSet<Shown>>;

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap().to_owned()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let walk = WalkDir::new(dir).into_iter();
    for entry in walk.filter_entry(|entry| entry.file_name() != "target") {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// `A12`, and nothing else that a comment may hold. A section alone is no behaviour, and a number without a sentence in
/// the document is an error below.
fn is_number(word: &str) -> bool {
    let (letter, digits) = word.split_at(word.len().min(1));
    letter.starts_with(|c: char| c.is_ascii_uppercase())
        && !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Where a test's builds are done: said in the comment, or by the suite it is in.
fn isolations(comment: &str, path: &Path, body: &[&str], both: &[String]) -> &'static str {
    let suite = path.file_stem().unwrap().to_string_lossy().into_owned();
    match comment
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
    {
        Some(("in-place", _)) => "in-place",
        Some(("namespace", _)) => "namespace",
        Some(("namespace, in-place" | "in-place, namespace", _)) => "namespace, in-place",
        _ if !path.starts_with("tests/e2e/tests") => "",
        _ if suite == "in_place" => "in-place",
        _ if both.contains(&suite)
            && !body.iter().any(|line| line.contains("namespace_only!()")) =>
        {
            "namespace, in-place"
        }
        _ => "namespace",
    }
}

/// `kiln-layer: rules::a_test`; module files are named by what they are of.
fn test_name(path: &Path, function: &str) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let of = match parts.as_slice() {
        [folder, of, ..] if folder != "tests" => of.clone(),
        [_, of, ..] => of.clone(),
        _ => "?".into(),
    };
    let stem = path.file_stem().unwrap().to_string_lossy();
    let module = match (&*stem, path.parent().and_then(Path::file_name)) {
        ("tests" | "mod", Some(parent)) => parent.to_string_lossy(),
        _ => stem,
    };
    format!("{of}: {module}::{function}")
}

fn index(root: &Path) -> Index {
    let both = fs::read_to_string(root.join("tests/e2e/both-isolations")).unwrap();
    let both: Vec<String> = both.lines().map(str::to_owned).collect();
    let mut files = Vec::new();
    for folder in FOLDERS {
        sources(&root.join(folder), &mut files);
    }
    let mut index = Index::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        // Files of nothing but tests may have a harness of their own, with tests that are plain functions or tables.
        let only_tests = path.iter().any(|part| part == "tests") || path.ends_with("tests.rs");
        let mut inside = None;
        for (number, line) in lines.iter().enumerate() {
            let line = line.trim();
            if is_test(line) || only_tests {
                inside = test_at(&lines, number, only_tests).or(inside);
            }
            let Some(comment) = marked(line) else {
                continue;
            };
            let above = lines[number..]
                .iter()
                .take_while(|line| line.trim().starts_with("//"))
                .count();
            // Above a test, or in one.
            let test = test_at(&lines, number + above, only_tests).or(inside);
            let first = || (0..lines.len()).find_map(|at| test_at(&lines, at, only_tests));
            let Some(test) = test.or_else(|| first().filter(|_| only_tests)) else {
                continue;
            };
            let shown = Shown {
                name: test_name(path, test.name),
                isolations: isolations(comment, path, test.body, &both),
            };
            let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
            let numbers: Vec<&str> = words.filter(|word| is_number(word)).collect();
            let at = path.display();
            assert!(!numbers.is_empty(), "{at}: no number in `{line}`");
            for word in numbers {
                let tests: &mut BTreeSet<Shown> = index.entry(word.to_owned()).or_default();
                tests.insert(shown.clone());
            }
        }
    }
    index
}

/// What `// conformance: E12` or `// finding 3; conformance: E12` says behind the mark.
fn marked(line: &str) -> Option<&str> {
    let comment = line.strip_prefix("// ")?;
    let behind = comment.strip_prefix("finding ");
    let behind = behind.and_then(|rest| rest.split_once("; "));
    behind.map_or(comment, |(_, rest)| rest).strip_prefix(MARK)
}

fn is_test(line: &str) -> bool {
    line == "#[test]" || line.starts_with("#[tokio::test")
}

/// A test function, and its lines.
#[derive(Clone, Copy)]
struct Test<'a> {
    name: &'a str,
    body: &'a [&'a str],
}

/// The test whose attributes begin at this line; with `any`, any function is one.
fn test_at<'a>(lines: &'a [&'a str], number: usize, any: bool) -> Option<Test<'a>> {
    let rest = &lines[number..];
    let attributes = rest
        .iter()
        .take_while(|line| line.trim().starts_with(['#', '/']))
        .count();
    if !any && !rest[..attributes].iter().any(|line| is_test(line.trim())) {
        return None;
    }
    let declared = rest.get(attributes)?.trim_start();
    let declared = declared.strip_prefix("pub(crate) ").unwrap_or(declared);
    let declared = declared.strip_prefix("async ").unwrap_or(declared);
    let declared = declared.strip_prefix("fn ")?;
    let (name, _) = declared.split_once('(')?;
    let end = rest.iter().position(|line| line.starts_with('}'));
    Some(Test {
        name,
        body: &rest[..end.unwrap_or(rest.len())],
    })
}

fn number_of(line: &str) -> Option<&str> {
    line.strip_prefix("- **")?
        .split_once("**")
        .map(|(number, _)| number)
}

/// The document with the lines of tests that the index has.
fn rewritten(document: &str, index: &Index) -> String {
    let mut written = String::new();
    let mut sections: Vec<(String, usize, Vec<String>)> = Vec::new();
    for line in document.lines().filter(|line| !line.starts_with("  - ")) {
        written.push_str(line);
        written.push('\n');
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title.to_owned(), 0, Vec::new()));
        }
        let Some(number) = number_of(line) else {
            continue;
        };
        let (_, all, open) = sections.last_mut().expect("behaviours are in sections");
        *all += 1;
        let Some(tests) = index.get(number) else {
            open.push(number.to_owned());
            written.push_str("  - open: no test\n");
            continue;
        };
        for isolations in ["namespace, in-place", "namespace", "in-place", ""] {
            let here = tests.iter().filter(|test| test.isolations == isolations);
            let names: Vec<String> = here.map(|test| format!("`{}`", test.name)).collect();
            if !names.is_empty() {
                let note = if isolations.is_empty() {
                    String::new()
                } else {
                    format!(" ({isolations})")
                };
                writeln!(written, "  - {}{note}", names.join(", ")).unwrap();
            }
        }
    }
    let (before, rest) = written
        .split_once(SUMMARY.0)
        .expect("a place for the summary");
    let (_, after) = rest.split_once(SUMMARY.1).expect("an end of the summary");
    format!(
        "{before}{}{}{}{after}",
        SUMMARY.0,
        summary(&sections),
        SUMMARY.1
    )
}

fn summary(sections: &[(String, usize, Vec<String>)]) -> String {
    let mut table =
        String::from("| section | behaviours | with a test | open |\n|---|---|---|---|\n");
    for (title, all, open) in sections {
        let tested = all - open.len();
        writeln!(
            table,
            "| {title} | {all} | {tested} | {} |",
            open.join(", ")
        )
        .unwrap();
    }
    table
}

#[test]
fn the_document_says_what_the_tests_say() {
    let root = root();
    let path = root.join("docs/conformance.md");
    let document = fs::read_to_string(&path).unwrap();
    let index = index(&root);
    let known: BTreeSet<&str> = document.lines().filter_map(number_of).collect();
    let unknown: Vec<_> = index
        .iter()
        .filter(|(number, _)| !known.contains(number.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "tests name behaviours that are not in {}: {unknown:#?}",
        path.display()
    );
    let wanted = rewritten(&document, &index);
    if std::env::var_os("KILN_WRITE_DOCS").is_some() {
        fs::write(&path, wanted).unwrap();
    } else {
        assert!(
            document == wanted,
            "docs/conformance.md is not up to date: run `make conformance`"
        );
    }
}

/// Every suite that builds does so in both isolations, or is on the list of those that cannot, with the reason.
#[test]
fn suites_say_in_which_isolations_they_run() {
    let root = root();
    let read = |name: &str| fs::read_to_string(root.join("tests/e2e").join(name)).unwrap();
    let both = read("both-isolations");
    let mut listed: Vec<String> = both.lines().map(str::to_owned).collect();
    for line in read("one-isolation").lines() {
        let (suite, reason) = line.split_once(": ").unwrap_or((line, ""));
        assert!(!reason.trim().is_empty(), "`{suite}` has no reason");
        listed.push(suite.to_owned());
    }
    listed.sort();
    let files = fs::read_dir(root.join("tests/e2e/tests")).unwrap();
    let mut suites: Vec<String> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "rs"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    suites.sort();
    assert_eq!(
        listed, suites,
        "each suite is once in `tests/e2e/both-isolations` or in `one-isolation`"
    );
}
