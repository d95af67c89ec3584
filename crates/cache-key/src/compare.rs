//! What is different between the parts of then and those of now.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::change::{Attribute, Change, ChangedAttribute, ChangedFile, ChangedFiles, Difference};
use crate::escape::escape;
use crate::part::known;
use crate::{FileId, FileKind, FileSet, Parts, Text, Value, Xattrs};

/// The differences in the order in which they are best told; there are none if and only if the keys are equal.
///
/// Each variable that differs is a change of its own, all files of a part are one.
pub fn compare(before: &Parts, now: &Parts) -> Vec<Change> {
    let names = before.iter().chain(now.iter()).map(|(name, _)| name);
    let mut names: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
    names.sort_by_key(|name| known(name));
    let mut changes = Vec::new();
    for name in names {
        compare_part(name, before.get(name), now.get(name), &mut changes);
    }
    changes
}

fn compare_part(
    name: &str,
    before: Option<&Value>,
    now: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if before == now {
        return;
    }
    let mut add = |entry: Option<&str>, what| {
        changes.push(Change {
            part: name.to_owned(),
            entry: entry.map(str::to_owned),
            what,
        });
    };
    let (no_entries, no_files) = (BTreeMap::new(), FileSet::new(Vec::new()));
    match (before, now) {
        (Some(Value::Text(before)), Some(Value::Text(now))) if before.is_same(now) => {}
        // A part that was not there before is like an empty one, unless it still is.
        (Some(Value::Map(before)), Some(Value::Map(now))) => entries(before, now, &mut add),
        (Some(Value::Map(before)), None) if !before.is_empty() => {
            entries(before, &no_entries, &mut add);
        }
        (None, Some(Value::Map(now))) if !now.is_empty() => entries(&no_entries, now, &mut add),
        (Some(Value::Files(before)), Some(Value::Files(now))) => add(None, files(before, now)),
        (Some(Value::Files(before)), None) if before.count() > 0 => {
            add(None, files(before, &no_files));
        }
        (None, Some(Value::Files(now))) if now.count() > 0 => add(None, files(&no_files, now)),
        _ => add(
            None,
            Difference::of(before.map(shown_value), now.map(shown_value)),
        ),
    }
}

fn entries(
    before: &BTreeMap<String, Text>,
    now: &BTreeMap<String, Text>,
    add: &mut impl FnMut(Option<&str>, Difference),
) {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names {
        let (before, now) = (before.get(name), now.get(name));
        let same = before
            .zip(now)
            .is_some_and(|(before, now)| before.is_same(now));
        if !same {
            let what = Difference::of(before.map(shown_text), now.map(shown_text));
            add(Some(name), what);
        }
    }
}

fn shown_value(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => shown_text(text),
        Value::Digest(digest) => Some(digest.to_string()),
        Value::List(texts) => Some(format!("{texts:?}")),
        Value::Map(_) | Value::Files(_) => None,
    }
}

fn shown_text(text: &Text) -> Option<String> {
    match text {
        Text::Plain(text) => Some(text.clone()),
        Text::Hashed(_) => None,
        Text::Hidden(hidden) => hidden.shown().map(str::to_owned),
    }
}

fn files(before: &FileSet, now: &FileSet) -> Difference {
    let lists = before.files().zip(now.files());
    let count = |set: &FileSet| {
        let is_file = |file: &&FileId| file.kind != FileKind::Directory;
        match (lists, set.files()) {
            (Some(_), Some(files)) => files.iter().filter(is_file).count() as u64,
            _ => set.count(),
        }
    };
    Difference::Files {
        before: count(before),
        now: count(now),
        files: lists.map(|(before, now)| merge(before, now)),
    }
}

/// Both lists are sorted.
fn merge(mut before: &[FileId], mut now: &[FileId]) -> ChangedFiles {
    let mut changed = ChangedFiles::default();
    loop {
        let order = match (before.first(), now.first()) {
            (None, None) => return changed,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        if order == Ordering::Equal {
            if before[0] != now[0] {
                changed.changed.push(ChangedFile {
                    path: shown_path(&now[0]),
                    attributes: attributes(&before[0], &now[0]),
                });
            }
        } else if order == Ordering::Less {
            changed.removed.push(shown_path(&before[0]));
        } else {
            changed.added.push(shown_path(&now[0]));
        }
        if order != Ordering::Greater {
            before = &before[1..];
        }
        if order != Ordering::Less {
            now = &now[1..];
        }
    }
}

fn shown_path(file: &FileId) -> String {
    let mut path = escape(&file.path).into_owned();
    if path.is_empty() {
        path.push('.');
    }
    if file.kind == FileKind::Directory {
        path.push('/');
    }
    path
}

fn attributes(before: &FileId, now: &FileId) -> Vec<ChangedAttribute> {
    let mut changed = Vec::new();
    let mut add = |differs: bool, attribute, before: String, now: String| {
        if differs {
            changed.push(ChangedAttribute {
                attribute,
                before,
                now,
            });
        }
    };
    match (&before.kind, &now.kind) {
        (
            FileKind::File { size, content },
            FileKind::File {
                size: new_size,
                content: new_content,
            },
        ) => {
            let texts = (content.to_string(), new_content.to_string());
            add(content != new_content, Attribute::Content, texts.0, texts.1);
            let texts = (size.to_string(), new_size.to_string());
            add(size != new_size, Attribute::Size, texts.0, texts.1);
        }
        (FileKind::Symlink { target }, FileKind::Symlink { target: new })
        | (FileKind::Hardlink { target }, FileKind::Hardlink { target: new }) => {
            let texts = (escape(target).into_owned(), escape(new).into_owned());
            add(target != new, Attribute::Target, texts.0, texts.1);
        }
        (old, new) if old.name() == new.name() => {
            add(old != new, Attribute::Device, device(old), device(new));
        }
        (old, new) => {
            let texts = (old.name().to_owned(), new.name().to_owned());
            add(true, Attribute::Kind, texts.0, texts.1);
        }
    }
    let mode = |file: &FileId| format!("{:04o}", file.mode);
    add(
        before.mode != now.mode,
        Attribute::Mode,
        mode(before),
        mode(now),
    );
    let owner = |file: &FileId| format!("{}:{}", file.uid, file.gid);
    let differs = (before.uid, before.gid) != (now.uid, now.gid);
    add(differs, Attribute::Owner, owner(before), owner(now));
    let (old, new) = (&before.xattrs, &now.xattrs);
    add(
        old != new,
        Attribute::Xattrs,
        shown_xattrs(old),
        shown_xattrs(new),
    );
    changed
}

/// The numbers of a device; of anything else, nothing.
fn device(kind: &FileKind) -> String {
    match kind {
        FileKind::CharDevice { major, minor } | FileKind::BlockDevice { major, minor } => {
            format!("{major},{minor}")
        }
        _ => String::new(),
    }
}

fn shown_xattrs(xattrs: &Xattrs) -> String {
    let one = |(name, value): (&Vec<u8>, &Vec<u8>)| format!("{}={}", escape(name), escape(value));
    xattrs.iter().map(one).collect::<Vec<_>>().join(" ")
}
