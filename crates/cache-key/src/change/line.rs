//! The words for a change.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Attribute, Change, ChangedAttribute, ChangedFile, ChangedFiles, Difference};
use crate::part::{self, Known, known};

/// So many files are named in a line.
const NAMED: usize = 5;
/// So many characters of a value stand in a line.
const SHORT: usize = 60;
/// So many characters stand before the first difference of long instructions.
const LEAD: usize = 20;
/// `sha256:` and 12 digits.
const SHORT_DIGEST: usize = 19;

pub(super) fn line(change: &Change) -> String {
    let subject = subject(change);
    let name = change.part.as_str();
    match &change.what {
        Difference::New { .. } => format!("{subject} is new"),
        Difference::Gone { .. } => format!("{subject} is gone"),
        Difference::Changed {
            before: Some(before),
            now: Some(now),
        } => match known(name) {
            _ if name == part::INSTRUCTION && before == now => {
                format!("a variable in `{}` changed", excerpts(before, now).0)
            }
            _ if name == part::INSTRUCTION => {
                let (before, now) = excerpts(before, now);
                format!("{subject} changed from `{before}` to `{now}`")
            }
            Known::Other(_) if change.entry.is_none() => format!("{subject} changed"),
            _ => match (short(before), short(now)) {
                (Some(before), Some(now)) => {
                    let moved = name == part::BASE
                        && [&before, &now].iter().all(|s| s.starts_with("sha256:"));
                    let verb = if moved { "moved" } else { "changed" };
                    format!("{subject} {verb} from {before} to {now}")
                }
                _ => format!("{subject} changed"),
            },
        },
        Difference::Changed { .. } => format!("{subject} changed"),
        Difference::Files { now, files, .. } => {
            let text = match files {
                None => format!("files changed (too many to list: {now} files and directories)"),
                Some(files) => files_line(files, *now),
            };
            format!("{}{text}", files_prefix(name))
        }
    }
}

pub(super) fn details(change: &Change) -> String {
    let mut text = line(change);
    match &change.what {
        Difference::New { now } => add_value(&mut text, '+', now.as_deref()),
        Difference::Gone { before } => add_value(&mut text, '-', before.as_deref()),
        Difference::Changed { before, now } if before == now => {}
        Difference::Changed { before, now } => {
            add_value(&mut text, '-', before.as_deref());
            add_value(&mut text, '+', now.as_deref());
        }
        Difference::Files { files, .. } => {
            let files = files.iter();
            for file in files.clone().flat_map(|files| &files.changed) {
                let attributes: Vec<String> = file.attributes.iter().map(from_to).collect();
                let _ = write!(text, "\n  changed {}: {}", file.path, attributes.join(", "));
            }
            for path in files.clone().flat_map(|files| &files.added) {
                let _ = write!(text, "\n  added   {path}");
            }
            for path in files.flat_map(|files| &files.removed) {
                let _ = write!(text, "\n  removed {path}");
            }
        }
    }
    text
}

fn add_value(text: &mut String, sign: char, value: Option<&str>) {
    for line in value.iter().flat_map(|value| value.split('\n')) {
        let _ = write!(text, "\n  {sign} {}", printable(line));
    }
}

/// What the sentence is about.
fn subject(change: &Change) -> String {
    let name = change.part.as_str();
    match (name, change.entry.as_deref().map(printable)) {
        (part::ARGS, Some(entry)) => format!("build arg {entry}"),
        (part::ENV, Some(entry)) => format!("environment variable {entry}"),
        (_, Some(entry)) => format!("{} {entry}", printable(name)),
        (part::ARGS, None) => "list of build args".to_owned(),
        (part::ENV, None) => "environment".to_owned(),
        (part::BASE, None) => "base image".to_owned(),
        (part::FILES, None) => "list of files".to_owned(),
        (_, None) => printable(name),
    }
}

/// Whose files.
fn files_prefix(name: &str) -> String {
    match known(name) {
        _ if name == part::FILES => String::new(),
        Known::Mount(number, _) => format!("{}: ", part::mount(number)),
        _ => format!("{}: ", printable(name)),
    }
}

fn files_line(files: &ChangedFiles, of: u64) -> String {
    let ChangedFiles {
        changed,
        added,
        removed,
    } = files;
    if let ([file], [], []) = (&changed[..], &added[..], &removed[..])
        && let Some(text) = one_file(file)
    {
        return text;
    }
    let mut segments = Vec::new();
    if !changed.is_empty() {
        let paths: Vec<&str> = changed.iter().map(|file| file.path.as_str()).collect();
        let only = only_attributes(changed);
        let counted = match counted(&paths) {
            (0, directories) => directories_in_words(directories),
            (files, 0) => format!("{files} of {of} files"),
            (files, directories) => {
                format!(
                    "{files} of {of} files and {}",
                    directories_in_words(directories)
                )
            }
        };
        segments.push(format!("{counted} changed{only}: {}", named(&paths)));
    }
    for (paths, verb) in [(added, "added"), (removed, "removed")] {
        if paths.is_empty() {
            continue;
        }
        let what = match (segments.is_empty(), counted(paths)) {
            (false, _) => paths.len().to_string(),
            (true, (0, directories)) => directories_in_words(directories),
            (true, (files, 0)) => files_in_words(files),
            (true, (files, directories)) => format!(
                "{} and {}",
                files_in_words(files),
                directories_in_words(directories)
            ),
        };
        segments.push(format!("{what} {verb}: {}", named(paths)));
    }
    segments.join("; ")
}

/// How many of the paths are files, and how many directories.
fn counted(paths: &[impl AsRef<str>]) -> (usize, usize) {
    let is_directory = |path: &&_| AsRef::<str>::as_ref(*path).ends_with('/');
    let directories = paths.iter().filter(is_directory).count();
    (paths.len() - directories, directories)
}

fn files_in_words(count: usize) -> String {
    match count {
        1 => "1 file".to_owned(),
        several => format!("{several} files"),
    }
}

fn directories_in_words(count: usize) -> String {
    match count {
        1 => "1 directory".to_owned(),
        several => format!("{several} directories"),
    }
}

/// A file that has the same content, or is not even a file any more, deserves the exact words.
fn one_file(file: &ChangedFile) -> Option<String> {
    let path = &file.path;
    match &file.attributes[..] {
        [] => None,
        all if all.iter().any(is_content) => None,
        [kind, ..] if kind.attribute == Attribute::Kind => {
            let ChangedAttribute { before, now, .. } = kind;
            Some(format!("{path} changed from {before} to {now}"))
        }
        [one] if one.attribute == Attribute::Xattrs => {
            Some(format!("{} of {path} changed", one.attribute))
        }
        [one] => Some(format!(
            "{} of {path} changed from {} to {}",
            one.attribute, one.before, one.now
        )),
        several => {
            let several: Vec<String> = several
                .iter()
                .map(|one| match one.attribute {
                    Attribute::Xattrs => one.attribute.to_string(),
                    _ => from_to(one),
                })
                .collect();
            Some(format!("{path} changed: {}", several.join(", ")))
        }
    }
}

fn is_content(one: &ChangedAttribute) -> bool {
    matches!(one.attribute, Attribute::Content | Attribute::Size)
}

fn from_to(one: &ChangedAttribute) -> String {
    if one.attribute == Attribute::Content {
        return one.attribute.to_string();
    }
    let shown = |text: &str| match text {
        "" => "none".to_owned(),
        text => text.to_owned(),
    };
    let (before, now) = (shown(&one.before), shown(&one.now));
    format!("{} from {before} to {now}", one.attribute)
}

/// ` in mode`, if that is all: a clone with another umask changes every file and no content.
fn only_attributes(changed: &[ChangedFile]) -> String {
    let attributes: BTreeSet<Attribute> = changed
        .iter()
        .flat_map(|file| &file.attributes)
        .map(|one| one.attribute)
        .collect();
    let plain = [Attribute::Mode, Attribute::Owner, Attribute::Xattrs];
    if attributes.iter().any(|one| !plain.contains(one)) {
        return String::new();
    }
    let words: Vec<String> = attributes.iter().map(ToString::to_string).collect();
    format!(" in {}", words.join(" and "))
}

fn named(paths: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = paths.iter().take(NAMED).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    match paths.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A value as it can stand in a sentence, if it is short enough.
fn short(value: &str) -> Option<String> {
    if is_digest(value) {
        return Some(value[..SHORT_DIGEST].to_owned());
    }
    if value.chars().count() > SHORT {
        return None;
    }
    let is_word = |c: char| !c.is_whitespace() && c != '"';
    // A list has spaces and quotes of its own.
    let plain = !value.chars().any(char::is_control)
        && (value.starts_with('[') || !value.is_empty() && value.chars().all(is_word));
    Some(if plain {
        value.to_owned()
    } else {
        format!("{value:?}")
    })
}

fn is_digest(value: &str) -> bool {
    value.parse::<kiln_oci::Digest>().is_ok()
}

/// Two instructions in one line each, from a little before the point where they part if they are long.
fn excerpts(before: &str, now: &str) -> (String, String) {
    let before: Vec<char> = printable(before).chars().collect();
    let now: Vec<char> = printable(now).chars().collect();
    if before.len().max(now.len()) <= SHORT {
        return (before.iter().collect(), now.iter().collect());
    }
    let common = before.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let start = match common.saturating_sub(LEAD) {
        few if few <= LEAD => 0,
        start => start,
    };
    let excerpt = |text: &[char]| {
        let mut shown = String::new();
        if start > 0 {
            shown.push('…');
        }
        shown.extend(text.iter().skip(start).take(SHORT));
        if text.len() > start + SHORT {
            shown.push('…');
        }
        shown
    };
    (excerpt(&before), excerpt(&now))
}

/// Without characters that would break the line or drive the terminal.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
