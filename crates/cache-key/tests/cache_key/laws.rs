//! Laws, with parts that are almost the same.

use std::collections::BTreeMap;

use kiln_cache_key::{
    CacheKey, Difference, FileId, FileKind, FileSet, Parts, Text, Trail, TrailStep, Value, compare,
    part,
};
use kiln_oci::Digest;
use proptest::prelude::*;

/// Few short texts, so that two of them are often equal, or equal once joined.
fn text() -> impl Strategy<Value = String> {
    r"[ab%:\[\n-]{0,3}|hashed|sha256|é"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(b"ab/%\n\xff\0".as_slice());
    prop::collection::vec(byte, 0..4)
}

fn digest() -> impl Strategy<Value = Digest> {
    (0..2_u8).prop_map(|byte| Digest::of([byte]))
}

fn kept() -> impl Strategy<Value = Text> {
    prop_oneof![
        4 => text().prop_map(Text::Plain),
        1 => text().prop_map(Text::hashed),
        1 => digest().prop_map(|digest| Text::Plain(digest.to_string())),
    ]
}

fn kind() -> impl Strategy<Value = FileKind> {
    prop_oneof![
        4 => (0..2_u64, digest()).prop_map(|(size, content)| FileKind::File { size, content }),
        1 => Just(FileKind::Directory),
        1 => bytes().prop_map(|target| FileKind::Symlink { target }),
        2 => bytes().prop_map(|target| FileKind::Hardlink { target }),
        1 => (0..2_u32, 0..2_u32).prop_map(|(major, minor)| FileKind::CharDevice { major, minor }),
        1 => (0..2_u32, 0..2_u32).prop_map(|(major, minor)| FileKind::BlockDevice { major, minor }),
        1 => Just(FileKind::Fifo),
    ]
}

fn id() -> impl Strategy<Value = FileId> {
    let xattrs = prop::collection::btree_map(bytes(), bytes(), 0..2);
    let mode = prop::sample::select(vec![0o644, 0o755, 0o4755, u32::MAX]);
    (bytes(), kind(), mode, 0..2_u32, 0..2_u32, xattrs).prop_map(
        |(path, kind, mode, uid, gid, xattrs)| FileId {
            path,
            kind,
            mode,
            uid,
            gid,
            xattrs,
        },
    )
}

fn files() -> impl Strategy<Value = Vec<FileId>> {
    prop::collection::vec(id(), 0..4)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        kept().prop_map(Value::Text),
        digest().prop_map(Value::Digest),
        prop::collection::vec(text(), 0..3).prop_map(Value::List),
        prop::collection::btree_map(text(), kept(), 0..3).prop_map(Value::Map),
        files().prop_map(|files| Value::Files(FileSet::new(files))),
    ]
}

fn name() -> impl Strategy<Value = String> {
    let known = [
        part::BASE,
        part::INSTRUCTION,
        part::ARGS,
        part::FILES,
        "mount 0 files",
    ];
    prop_oneof![
        text(),
        prop::sample::select(known.to_vec()).prop_map(str::to_owned)
    ]
}

type Named = BTreeMap<String, Value>;

fn named() -> impl Strategy<Value = Named> {
    prop::collection::btree_map(name(), value(), 0..4)
}

fn parts_of(named: Named) -> Parts {
    named
        .into_iter()
        .fold(Parts::new(), |parts, (name, value)| parts.with(name, value))
}

/// Parts that differ in at most one place from the first.
fn near() -> impl Strategy<Value = (Parts, Parts)> {
    (
        named(),
        any::<prop::sample::Index>(),
        name(),
        value(),
        0..6_u8,
    )
        .prop_map(|(named, index, name, value, how)| {
            let mut other = named.clone();
            let names: Vec<String> = named.keys().cloned().collect();
            let picked = (!names.is_empty()).then(|| index.get(&names).clone());
            match (how, picked) {
                (0, _) => {}
                (1, _) | (_, None) => drop(other.insert(name, value)),
                (2, Some(picked)) => drop(other.remove(&picked)),
                (3, Some(picked)) => drop(other.insert(picked, value)),
                // Under another name, or the value nudged.
                (4, Some(picked)) => {
                    let moved = other.remove(&picked).unwrap();
                    other.insert(name, moved);
                }
                (_, Some(picked)) => {
                    let nudged = nudge(other.remove(&picked).unwrap());
                    other.insert(picked, nudged);
                }
            }
            (parts_of(named), parts_of(other))
        })
}

/// The same bytes, divided differently or said to be something else.
fn nudge(value: Value) -> Value {
    match value {
        Value::Text(Text::Plain(text)) => Value::List(vec![text]),
        Value::Text(Text::Hashed(digest)) => Value::Digest(digest),
        // None are generated: their keys are those of other texts.
        hidden @ Value::Text(Text::Hidden(_)) => hidden,
        Value::Digest(digest) => Value::Text(Text::Hashed(digest)),
        Value::List(texts) => Value::List(vec![texts.concat()]),
        Value::Map(entries) => {
            let turned = entries.into_iter().map(|(name, text)| match text {
                Text::Plain(text) => (text, Text::Plain(name)),
                other @ (Text::Hashed(_) | Text::Hidden(_)) => (name, other),
            });
            Value::Map(turned.collect())
        }
        Value::Files(files) => {
            let mut files = files.files().unwrap().to_vec();
            if let [first, second, ..] = &mut files[..] {
                second.path.splice(..0, first.path.pop());
            } else {
                files.push(FileId::directory(""));
            }
            Value::Files(FileSet::new(files))
        }
    }
}

fn listed(parts: &Parts) -> Vec<Option<&[FileId]>> {
    let values = parts.iter().map(|(_, value)| value);
    values
        .map(|value| match value {
            Value::Files(files) => files.files(),
            _ => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn keys_are_equal_if_and_only_if_parts_are((a, b) in near()) {
        // conformance: H1 H15
        prop_assert_eq!(a == b, a.key(None) == b.key(None));
        if a == b {
            // Sets of files are compared by their digest, which must leave nothing out.
            prop_assert_eq!(listed(&a), listed(&b));
        }
        prop_assert_ne!(a.key(None), a.key(Some(b.key(None))));
    }

    #[test]
    fn one_other_file_is_another_digest(
        mut files in prop::collection::vec(id(), 1..4),
        index in any::<prop::sample::Index>(),
        mut other in id(),
        field in 0..6_u8,
    ) {
        // conformance: H6 H7
        let before = FileSet::new(files.clone());
        let picked = index.get_mut(&mut files);
        match field {
            0 => picked.path = other.path,
            1 => picked.kind = other.kind,
            2 => picked.mode = other.mode,
            3 => (picked.uid, picked.gid) = (other.uid, other.gid),
            4 => picked.xattrs = other.xattrs,
            _ => std::mem::swap(picked, &mut other),
        }
        let now = FileSet::new(files);
        prop_assert_eq!(before.files() == now.files(), before.digest() == now.digest());
        let (before, now) = (before.into(), now.into());
        let [before, now] = [before, now].map(|files: Value| Parts::new().with("f", files));
        for change in compare(&before, &now) {
            let Difference::Files { files: Some(files), .. } = change.what else {
                panic!("{change}");
            };
            prop_assert!(files.changed.iter().all(|file| !file.attributes.is_empty()));
            prop_assert!(files.changed.len() + files.added.len() + files.removed.len() > 0);
        }
    }

    #[test]
    fn there_are_changes_if_and_only_if_keys_differ((a, b) in near(), cap in 0..3_usize) {
        // conformance: H29
        prop_assert_eq!(compare(&a, &a), vec![]);
        let differ = a.key(None) != b.key(None);
        let changes = compare(&a, &b);
        prop_assert_eq!(!changes.is_empty(), differ);
        prop_assert_eq!(!compare(&a.for_storage(cap), &b).is_empty(), differ);
        for change in changes {
            let line = change.to_string();
            prop_assert!(!line.is_empty() && !line.chars().any(char::is_control), "{:?}", line);
            prop_assert!(change.details().starts_with(&line));
            let json = serde_json::to_value(&change).unwrap();
            prop_assert_eq!(&json["line"], &line);
        }
    }

    #[test]
    fn everything_comes_back_from_json(named in named(), cap in 0..3_usize) {
        let parts = parts_of(named);
        let json = serde_json::to_string(&parts).unwrap();
        let back: Parts = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(listed(&back), listed(&parts));
        prop_assert_eq!(&back, &parts);
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), json);

        let stored = parts.for_storage(cap);
        let back: Parts = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
        prop_assert_eq!(listed(&back), listed(&stored));
        prop_assert_eq!(back.key(None), parts.key(None));
    }

    #[test]
    fn files_may_be_found_in_any_order((files, mixed) in files().prop_flat_map(|files| {
        let mixed = Just(files.clone()).prop_shuffle();
        (Just(files), mixed)
    })) {
        // conformance: H17
        let paths: std::collections::BTreeSet<_> = files.iter().map(|file| &file.path).collect();
        prop_assume!(paths.len() == files.len());
        let (set, mixed) = (FileSet::new(files), FileSet::new(mixed));
        prop_assert_eq!(set.files(), mixed.files());
        prop_assert_eq!(set.digest(), mixed.digest());
        // What is settled stays as it is.
        let again = FileSet::new(set.files().unwrap().to_vec());
        prop_assert_eq!(again.files(), set.files());
    }

    #[test]
    fn trails_come_back_from_json(steps in prop::collection::vec(
        (text(), any::<usize>(), text(), any::<bool>()),
        0..4,
    )) {
        let key = |text: &str| -> CacheKey { Parts::new().with("a", text).key(None) };
        let trail: Trail = steps
            .into_iter()
            .map(|(stage, number, instruction, parent)| TrailStep {
                key: key(&instruction),
                parent: parent.then(|| key(&stage)),
                stage,
                number,
                instruction,
            })
            .collect();
        let json = serde_json::to_string(&trail).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Trail>(&json).unwrap(), &trail);
        for step in &trail.steps {
            let found = trail.nearest(&step.stage, step.number, &step.instruction).unwrap();
            prop_assert_eq!(&found.stage, &step.stage);
            prop_assert_eq!(&found.instruction, &step.instruction);
            prop_assert_eq!(found.number, step.number);
        }
    }
}
