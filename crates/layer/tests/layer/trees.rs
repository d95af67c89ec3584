//! Random trees that a layer can hold.

use std::collections::BTreeMap;

use kiln_layer::{Entry, EntryKind, ImagePath};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use crate::disk::{Kind, Seen};

/// So many cases, the same ones in every run; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` look for others.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let given = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig {
        cases: if given { default.cases } else { cases },
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            given @ RngSeed::Fixed(_) => given,
        },
        failure_persistence: None,
        ..default
    }
}

/// An entry and the content of a file.
pub(crate) type Item = (Entry, Vec<u8>);

/// What is to be added to a tree; indices pick from what is there by then.
#[derive(Debug, Clone)]
struct Sketch {
    parent: Index,
    name: Vec<u8>,
    what: What,
    mode: u32,
    owner: (u32, u32),
    mtime: i64,
    notes: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Debug, Clone)]
enum What {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Link(Index),
    Fifo,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let text = |pattern| proptest::string::string_regex(pattern).unwrap();
    prop_oneof![
        4 => text("[a-e]").prop_map(String::into_bytes),
        1 => text("[a-z \\n\\t\\\\=-]{1,12}").prop_map(String::into_bytes),
        1 => text("é{1,3}|日本|\\.wh|\\.\\.\\.").prop_map(String::into_bytes),
        1 => prop::collection::vec((1..=255_u8).prop_filter("a slash", |byte| *byte != b'/'), 3..9),
        1 => text("[ab]{95,120}|[ab]{250,255}").prop_map(String::into_bytes),
    ]
    .prop_filter("no name", |name| !matches!(name.as_slice(), b"." | b".."))
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Inside and outside, dangling, loops.
        3 => proptest::string::string_regex("/?(\\.\\./){0,3}[a-e](/[a-e]){0,2}/?").unwrap().prop_map(String::into_bytes),
        1 => prop::collection::vec(1..=255_u8, 1..20),
        1 => prop::collection::vec(b'a'..b'c', 98..300),
    ]
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            (any::<u8>(), 500..2000_usize).prop_map(|(byte, length)| vec![byte; length]),
        ].prop_map(What::File),
        4 => Just(What::Directory),
        3 => target().prop_map(What::Symlink),
        3 => any::<Index>().prop_map(What::Link),
        1 => Just(What::Fifo),
    ]
}

fn notes() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let name = proptest::string::string_regex("user\\.[a-zé.]{1,6}").unwrap();
    let value = prop::collection::vec(any::<u8>(), 0..30);
    let some = prop::collection::btree_map(name.prop_map(String::into_bytes), value, 1..4);
    prop_oneof![3 => Just(BTreeMap::new()), 1 => some]
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let mode = prop::sample::select(vec![
        0o755, 0o644, 0, 0o7777, 0o4755, 0o2755, 0o1777, 0o6511, 0o200, 0o007,
    ]);
    let owner =
        (0..3_u32, 0..3_u32).prop_map(|(user, group)| (user * 1_500_000, group * 1_100_000));
    let mtime = prop_oneof![
        0..2_000_000_000_i64,
        -1000..0_i64,
        Just(0o777_7777_7777 + 5)
    ];
    (any::<Index>(), name(), what(), mode, owner, mtime, notes()).prop_map(
        |(parent, name, what, mode, owner, mtime, notes)| Sketch {
            parent,
            name,
            what,
            mode,
            owner,
            mtime,
            notes,
        },
    )
}

/// Entries of one layer: parents before what is in them, files before their further names.
pub(crate) fn tree() -> impl Strategy<Value = Vec<Item>> {
    prop::collection::vec(sketch(), 1..24).prop_map(|sketches| build(&sketches))
}

fn build(sketches: &[Sketch]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut directories = vec![ImagePath::root()];
    for sketch in sketches {
        let path = sketch.parent.get(&directories).join(&sketch.name);
        if items.iter().any(|(entry, _)| entry.path == path) {
            continue;
        }
        let named = |(entry, _): &&Item| {
            !matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink { .. })
        };
        let files: Vec<&Item> = items.iter().filter(named).collect();
        let mut content = Vec::new();
        let kind = match &sketch.what {
            What::File(bytes) => {
                content.clone_from(bytes);
                let size = bytes.len() as u64;
                EntryKind::File { size }
            }
            What::Symlink(target) => EntryKind::Symlink {
                target: target.clone(),
            },
            What::Link(file) if !files.is_empty() => EntryKind::Hardlink {
                target: file.get(&files).0.path.clone(),
            },
            What::Fifo => EntryKind::Fifo,
            What::Directory | What::Link(_) => EntryKind::Directory,
        };
        let mut entry = Entry::new(path, kind);
        (entry.uid, entry.gid) = sketch.owner;
        entry.mtime = sketch.mtime;
        match entry.kind {
            EntryKind::Symlink { .. } => {}
            EntryKind::File { .. } | EntryKind::Directory => {
                entry.mode = sketch.mode;
                entry.xattrs = sketch.notes.clone().into();
            }
            _ => entry.mode = sketch.mode,
        }
        if entry.kind == EntryKind::Directory {
            directories.push(entry.path.clone());
        }
        items.push((entry, content));
    }
    items
}

/// What the entries of one layer have to look like on disk.
pub(crate) fn expected(items: &[Item]) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen: BTreeMap<Vec<u8>, Seen> = BTreeMap::new();
    let mut names: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
    // The name that the file came with, for every name.
    let mut first: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (entry, content) in items {
        let path = entry.path.as_bytes().to_vec();
        let kind = match &entry.kind {
            EntryKind::File { .. } => Kind::File(content.clone(), Vec::new()),
            EntryKind::Directory => Kind::Directory,
            EntryKind::Symlink { target } => Kind::Symlink(target.clone()),
            EntryKind::Fifo => Kind::Fifo,
            EntryKind::Hardlink { target } => {
                let file = first[target.as_bytes()].clone();
                names.entry(file.clone()).or_default().push(path.clone());
                seen.insert(path.clone(), seen[&file].clone());
                first.insert(path, file);
                continue;
            }
            other => panic!("{other:?} is not of these trees"),
        };
        names.insert(path.clone(), vec![path.clone()]);
        first.insert(path.clone(), path.clone());
        seen.insert(
            path,
            Seen {
                kind,
                mode: entry.mode,
                owner: (entry.uid, entry.gid),
                mtime: entry.mtime,
                notes: (*entry.xattrs).clone(),
            },
        );
    }
    for (path, seen) in &mut seen {
        if let Kind::File(_, all) = &mut seen.kind {
            all.clone_from(&names[&first[path]]);
            all.sort();
        }
    }
    seen
}
