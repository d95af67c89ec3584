//! One layer over another, rule by rule.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use kiln_layer::{
    Entry, EntryKind, ExtractOptions, ExtractReport, ImagePath, LayerError, LayerReader,
    OpaqueXattr, ReadAs, Root, SkipReason, TreeIndex, Whiteouts, extract, read_listing,
};

use crate::disk::{notes, seen};
use crate::forge::{Raw, tar};
use crate::hostile::Fort;
use crate::lines::{TIME, entry, layer, lines, pack};
use crate::merged::{comparable, indexed};
use crate::privilege::{can_mknod, can_set, owners, set, skipped_without_chown};

#[derive(Clone, Copy)]
struct Row {
    /// The rule, and what of it.
    name: &'static str,
    /// The same layer once more changes nothing.
    repeats: bool,
    lower: &'static [&'static str],
    upper: &'static [&'static str],
    expected: &'static [&'static str],
}

const fn row(
    name: &'static str,
    lower: &'static [&'static str],
    upper: &'static [&'static str],
    expected: &'static [&'static str],
) -> Row {
    Row {
        name,
        repeats: true,
        lower,
        upper,
        expected,
    }
}

/// A layer that replaces or deletes what its own names lead through, so that they lead elsewhere the second time.
const fn once(row: Row) -> Row {
    Row {
        repeats: false,
        ..row
    }
}

const ROWS: &[Row] = &[
    row(
        "G28 link on the way",
        &["d usr", "d usr/lib", "l lib -> usr/lib"],
        &["f lib/x 1"],
        &["l lib -> usr/lib", "d usr", "d usr/lib", "f usr/lib/x 1"],
    ),
    row(
        "G28 absolute link",
        &["d a", "l l -> /a"],
        &["f l/x 1"],
        &["d a", "f a/x 1", "l l -> /a"],
    ),
    row(
        "G28 link out",
        &["d a", "l a/l -> ../../../.."],
        &["f a/l/x 1"],
        &["d a", "l a/l -> ../../../..", "f x 1"],
    ),
    row(
        "G28 link to nothing",
        &["l l -> a/b"],
        &["f l/x 1"],
        &["d a", "d a/b", "f a/b/x 1", "l l -> a/b"],
    ),
    row(
        "G28 link back over nothing",
        &["l l -> none/../a"],
        &["f l/x 1"],
        &["d a", "f a/x 1", "l l -> none/../a"],
    ),
    row(
        "G28 link through links",
        &["d d", "l a -> b", "l b -> c", "l c -> d"],
        &["d a/x", "f a/x/y 1"],
        &[
            "l a -> b",
            "l b -> c",
            "l c -> d",
            "d d",
            "d d/x",
            "f d/x/y 1",
        ],
    ),
    row(
        "G28 last link stays",
        &["f f 1", "l l -> f"],
        &["p l"],
        &["f f 1", "p l"],
    ),
    row(
        "G28 a link of the same layer",
        &["d d"],
        &["l l -> d", "f l/x 1"],
        &["d d", "f d/x 1", "l l -> d"],
    ),
    once(row(
        "G28 a link that was on the way",
        &["d d", "l l -> d"],
        &["f l/x 1", "d l", "f l/y 2"],
        &["d d", "f d/x 1", "d l", "f l/y 2"],
    )),
    once(row(
        "G28 a link that is on the way now",
        &["d d", "d l"],
        &["f l/x 1", "l l -> d", "f l/y 2"],
        &["d d", "f d/y 2", "l l -> d"],
    )),
    row(
        "G29 file over file",
        &["f a 1 %600"],
        &["f a 2"],
        &["f a 2"],
    ),
    row(
        "G29 file over one name of a file",
        &["f a 1", "h b = a"],
        &["f a 2"],
        &["f a 2", "f b 1"],
    ),
    row(
        "G29 file over link",
        &["f a 1", "l l -> a"],
        &["f l 2"],
        &["f a 1", "f l 2"],
    ),
    row(
        "G29 file over link to nothing",
        &["l l -> a"],
        &["f l 2"],
        &["f l 2"],
    ),
    row(
        "G29 file over tree",
        &["d d", "d d/e", "f d/e/f 1"],
        &["f d 2"],
        &["f d 2"],
    ),
    row(
        "G29 link over tree",
        &["d d", "f d/f 1", "d e"],
        &["l d -> e"],
        &["l d -> e", "d e"],
    ),
    row(
        "G29 directory over directory",
        &["d d %700", "f d/f 1"],
        &["d d %2755"],
        &["d d %2755", "f d/f 1"],
    ),
    row(
        "G29 directory over link",
        &["d d", "f d/f 1", "l l -> d"],
        &["d l %700"],
        &["d d", "f d/f 1", "d l %700"],
    ),
    row(
        "G29 directory over file",
        &["f d 1"],
        &["d d", "f d/x 2"],
        &["d d", "f d/x 2"],
    ),
    row("G29 fifo over file", &["f a 1"], &["p a"], &["p a"]),
    row(
        "G30 parents",
        &[],
        &["f a/b/c 1"],
        &["d a", "d a/b", "f a/b/c 1"],
    ),
    row(
        "G30 parents that come later",
        &[],
        &["f a/b/c 1", "d a %700", "d a/b %711"],
        &["d a %700", "d a/b %711", "f a/b/c 1"],
    ),
    row(
        "G30 the last entry of a name",
        &[],
        &["f a 1", "f a 2 %600"],
        &["f a 2 %600"],
    ),
    row(
        "G30 the last entry of a directory",
        &[],
        &["d d %700", "f d/f 1", "d d %711"],
        &["d d %711", "f d/f 1"],
    ),
    row(
        "G30 directory, then file",
        &[],
        &["d d", "d d/e %700", "f d 1"],
        &["f d 1"],
    ),
    row(
        "G30 directory, then link",
        &["d e %711", "d e/x %711"],
        &["d d %700", "d d/x %700", "l d -> e"],
        &["l d -> e", "d e %711", "d e/x %711"],
    ),
    row(
        "G30 file, then directory",
        &[],
        &["f d 1", "d d %700", "f d/x 2"],
        &["d d %700", "f d/x 2"],
    ),
    row(
        "G31 link in one layer",
        &[],
        &["f a 1 %600", "h b = a"],
        &["f a 1 %600", "h b = a"],
    ),
    row(
        "G31 link to a lower layer",
        &["f a 1"],
        &["h b = a", "h c = b"],
        &["f a 1", "h b = a", "h c = a"],
    ),
    row(
        "G31 link to a link",
        &["f a 1", "l l -> a"],
        &["h b = l"],
        &["f a 1", "l b -> a", "l l -> a"],
    ),
    row(
        "G31 link through a link",
        &["d d", "f d/a 1", "l l -> /d"],
        &["h b = l/a"],
        &["f b 1", "d d", "h d/a = b", "l l -> /d"],
    ),
    row(
        "G31 link over a tree",
        &["f a 1", "d d", "f d/x 2"],
        &["h d = a"],
        &["f a 1", "h d = a"],
    ),
    row("G31 link to itself", &["f a 1"], &["h a = a"], &["f a 1"]),
    row("G32 file", &["f a 1", "f b 1"], &["x a"], &["f b 1"]),
    row("G32 tree", &["d d", "d d/e", "f d/e/f 1"], &["x d"], &[]),
    row(
        "G32 a link, not where it leads",
        &["d d", "f d/f 1", "l l -> d"],
        &["x l"],
        &["d d", "f d/f 1"],
    ),
    row(
        "G32 through a link",
        &["d d", "f d/f 1", "l l -> d"],
        &["x l/f"],
        &["d d", "l l -> d"],
    ),
    row(
        "G32 nothing",
        &["f f 1"],
        &[
            "x none",
            "x none/at/all",
            "x f/x",
            "o none",
            "o none/at/all",
            "o f/x",
        ],
        &["f f 1"],
    ),
    row("G32 opaque file", &["f f 1"], &["o f"], &["f f 1"]),
    row(
        "G32 opaque",
        &["d d", "f d/f 1", "d d/e", "f d/e/f 1"],
        &["o d"],
        &["d d"],
    ),
    row(
        "G32 opaque root",
        &["d d", "f d/f 1", "f f 1"],
        &["f g 2", "o /"],
        &["f g 2"],
    ),
    row(
        "G32 opaque through a link",
        &["d d", "f d/f 1", "l l -> d"],
        &["o l"],
        &["d d", "l l -> d"],
    ),
    row(
        "G32 opaque through a link, with a file of the layer",
        &["d d", "f d/f 1", "l l -> d"],
        &["f l/g 2", "o l"],
        &["d d", "f d/g 2", "l l -> d"],
    ),
    row(
        "G32 opaque with parts of the layer",
        &["d d", "f d/f 1", "d d/e", "f d/e/f 1"],
        &["f d/e/g 2", "o d"],
        &["d d", "d d/e", "f d/e/g 2"],
    ),
    row(
        "G32 same name, before",
        &["f a 1"],
        &["x a", "f a 2"],
        &["f a 2"],
    ),
    row(
        "G32 same name, after",
        &["f a 1"],
        &["f a 2", "x a"],
        &["f a 2"],
    ),
    row(
        "G32 same directory, before",
        &["d d %711", "f d/f 1"],
        &["x d", "d d %700", "f d/g 2"],
        &["d d %700", "f d/g 2"],
    ),
    row(
        "G32 same directory, after",
        &["d d %711", "f d/f 1"],
        &["d d %700", "f d/g 2", "x d"],
        &["d d %700", "f d/g 2"],
    ),
    row(
        "G32 same directory, between",
        &["d d %711", "f d/f 1"],
        &["d d %700", "x d", "f d/g 2"],
        &["d d %700", "f d/g 2"],
    ),
    row(
        "G32 a file in it, before",
        &["d d %711", "f d/f 1"],
        &["x d", "f d/g 2"],
        &["d d", "f d/g 2"],
    ),
    row(
        "G32 a file in it, after",
        &["d d %711", "f d/f 1"],
        &["f d/g 2", "x d"],
        &["d d", "f d/g 2"],
    ),
    row(
        "G32 a directory in it",
        &["d d %711", "d d/e %711", "f d/e/f 1"],
        &["d d/e %700", "x d"],
        &["d d", "d d/e %700"],
    ),
    row(
        "G32 a name twice, then gone below",
        &["f d 1"],
        &["d d", "f d 2", "x d"],
        &["f d 2"],
    ),
    row(
        "G32 a link in the place of a directory",
        &["d e", "f e/f 1"],
        &["d d", "l d -> e", "x d"],
        &["l d -> e", "d e", "f e/f 1"],
    ),
    once(row(
        "G32 one more name of a file",
        &["f a 1"],
        &["h b = a", "x a"],
        &["f b 1"],
    )),
    row(
        "G32 a name that was one already",
        &["f a 1", "h b = a"],
        &["h b = a", "x b"],
        &["f a 1", "h b = a"],
    ),
    row(
        "G32 a link on the way that the layer replaces",
        &["d d", "f d/f 1", "l l -> d"],
        &["d l", "x l/f"],
        &["d d", "f d/f 1", "d l"],
    ),
    row(
        "G33 texts",
        &[],
        &[
            "l a -> ../../../etc/passwd",
            "l b -> /",
            "l c -> c",
            "l d -> ./x//y/",
        ],
        &[
            "l a -> ../../../etc/passwd",
            "l b -> /",
            "l c -> c",
            "l d -> ./x//y/",
        ],
    ),
];

fn unpack(packed: &[u8], root: &Root) -> Result<ExtractReport, LayerError> {
    let options = ExtractOptions {
        owners: owners(),
        ..ExtractOptions::default()
    };
    extract(LayerReader::new(packed), root, &options)
}

fn shown(dir: &Path) -> Vec<String> {
    let own = fs::metadata(dir).unwrap();
    lines(&seen(dir), (own.uid(), own.gid()))
}

// conformance: G28 G29 G30 G31 G32 G33
#[test]
fn layers_do_what_the_rules_say() {
    assert!(!ROWS.is_empty());
    for Row {
        name,
        lower,
        upper,
        expected,
        ..
    } in ROWS
    {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut tree = TreeIndex::new();
        for (number, lines) in [lower, upper].into_iter().enumerate() {
            let packed = layer(lines);
            let report = unpack(&packed, &root).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(report.skipped, [], "{name}");
            tree.apply_layer(number as u32, report.listing.unwrap())
                .unwrap();
        }
        assert_eq!(shown(dir.path()), *expected, "{name}");
        assert_eq!(
            comparable(indexed(&tree)),
            comparable(seen(dir.path())),
            "{name}: the index"
        );
    }
}

// conformance: G37
#[test]
fn the_same_layer_twice_is_the_same_tree() {
    let repeats = ROWS.iter().filter(|row| row.repeats);
    for Row {
        name, lower, upper, ..
    } in repeats
    {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        unpack(&layer(lower), &root).unwrap();
        unpack(&layer(upper), &root).unwrap();
        let once = comparable(seen(dir.path()));
        unpack(&layer(upper), &root).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(comparable(seen(dir.path())), once, "{name}");
    }
}

// conformance: G28
// conformance: G29
// conformance: G31
#[test]
fn what_cannot_be_unpacked_is_an_error_that_names_it() {
    let rows: &[(&[&str], &[&str], &str)] = &[
        (
            &[],
            &["h b = none/x"],
            "layer entry `b` is a hard link to `none/x`, which does not exist",
        ),
        (
            &[],
            &["f a 1", "h b = a/x"],
            "layer entry `b` is a hard link to `a/x`, which does not exist",
        ),
        (
            &[],
            &["h a = a"],
            "layer entry `a` is a hard link to `a`, which does not exist",
        ),
        (
            &["f a 1"],
            &["x a", "h b = a"],
            "layer entry `b` is a hard link to `a`, which does not exist",
        ),
        (
            &["d d", "f d/f 1"],
            &["h d = d/f"],
            "layer entry `d` is a hard link to `d/f`, which does not exist",
        ),
        (
            &["d d"],
            &["h b = d"],
            "refusing layer entry `b`: a hard link to a directory",
        ),
        (
            &["f a 1"],
            &["f a/b/c 1"],
            "`/a` is not a directory, wanted on the way to `/a/b/c`",
        ),
        (
            &["d d", "f d/a 1", "l l -> d"],
            &["f l/a/b 1"],
            "`/d/a` is not a directory, wanted on the way to `/l/a/b`",
        ),
        (
            &["l l -> l"],
            &["f l/b 1"],
            "too many symbolic links on the way to `/l/b`",
        ),
        (
            &["l l -> l"],
            &["x l/b"],
            "too many symbolic links on the way to `/l/b`",
        ),
    ];
    assert!(!rows.is_empty());
    for (lower, upper, message) in rows {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut tree = TreeIndex::new();
        tree.apply_layer(0, unpack(&layer(lower), &root).unwrap().listing.unwrap())
            .unwrap();
        let entries = upper.iter().map(|line| entry(line).0);
        let errors = [
            unpack(&layer(upper), &root).map(drop).unwrap_err(),
            tree.apply_layer(1, entries).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.to_string(), *message, "{upper:?}");
            assert!(error.is_bad_layer(), "{upper:?}");
        }
    }
}

/// One hostile entry, and what it makes in the root; `None` when the layer is refused.
type Attack = (Raw, Option<&'static str>);

// conformance: G28
// conformance: G29
// conformance: G31
// conformance: G32
#[test]
fn names_that_lead_out_do_not() {
    let fort = Fort::new();
    let outside = fort.outside.display().to_string();
    let file = |name: &str| Raw::file(name, "hostile");
    let link = |name: &str, target: &str| Raw::link(b'1', name, target);
    // Everything that a name can lead to is made in the root, or refused.
    let attacks: Vec<Attack> = vec![
        (file("../outside/secret"), None),
        (file("a/../../outside/secret"), None),
        (file("/secret"), Some("secret")),
        (file("//./secret"), Some("secret")),
        (file(&format!("{outside}/secret")), Some("tmp")),
        (file("out/secret"), Some("outside/secret")),
        (file("up/outside/secret"), Some("outside/secret")),
        (file("slash/secret"), Some("secret")),
        (file("dangle"), Some("dangle")),
        (file("file"), Some("file")),
        (Raw::new(b'5', "out"), Some("out")),
        (Raw::new(b'5', "abs"), Some("abs")),
        (Raw::new(b'5', "up/outside/dir"), Some("outside/dir")),
        (Raw::new(b'6', "file"), Some("file")),
        (Raw::link(b'2', "out", "/etc"), Some("out")),
        (link("stolen", "../outside/secret"), None),
        (link("stolen", "out/secret"), None),
        (link("stolen", &format!("{outside}/secret")), None),
        (link("stolen", "/up/outside/secret"), None),
        (link("stolen", "file"), Some("stolen")),
        (file("out/.wh.secret"), Some("f")),
        (file("abs/.wh.secret"), Some("f")),
        (file("abs/.wh..wh..opq"), Some("f")),
        (file("up/.wh.outside"), Some("f")),
        (file("up/.wh..wh..opq"), Some("up")),
        (file("../.wh.outside"), None),
        (file("../.wh..wh..opq"), None),
        (file(".wh..."), None),
        (file(".wh.."), None),
        (file(".wh."), None),
    ];
    for (attack, made) in &attacks {
        let fort = Fort::new();
        let around = fort.surroundings();
        let packed = tar(&[
            attack.clone(),
            file("out/after"),
            Raw::new(b'5', "abs/after"),
        ]);
        let result = unpack(&packed, &fort.root());
        assert_eq!(fort.surroundings(), around, "{attack:?}");
        let Some(made) = made.filter(|made| *made != "up") else {
            continue;
        };
        assert!(result.is_ok(), "{attack:?} {result:?}");
        // Absolute names are made again below the root; where the scratch space is does not matter.
        let made = if made == "tmp" {
            outside.split('/').nth(1).unwrap()
        } else {
            made
        };
        let found = fs::symlink_metadata(fort.inside.join(made));
        assert!(found.is_ok(), "{attack:?} should have made {made}");
    }
    for (attack, made) in &attacks {
        let fort = Fort::new();
        if made.is_none() {
            let packed = tar(std::slice::from_ref(attack));
            let error = unpack(&packed, &fort.root()).unwrap_err();
            assert!(error.is_bad_layer(), "{attack:?} {error}");
        }
    }
}

// conformance: G30
#[test]
fn times_of_directories_are_set_when_they_are_full() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let options = ExtractOptions {
        owners: owners(),
        root_entry: true,
        ..ExtractOptions::default()
    };
    // The writer leaves the root out, so this one is made by hand.
    let mut packed = crate::forge::open_ended(&[Raw {
        mode: 0o711,
        ..Raw::new(b'5', "./")
    }]);
    packed.extend(layer(&[
        "d d",
        "d d/e",
        "f d/e/f 1",
        "f d/f 1",
        "l l -> d",
        "f l/g 1",
    ]));
    extract(LayerReader::new(packed.as_slice()), &root, &options).unwrap();
    for path in ["d", "d/e", "d/e/f", "d/g", "l"] {
        let time = fs::symlink_metadata(dir.path().join(path)).unwrap().mtime();
        assert_eq!(time, TIME, "{path}");
    }
    let meta = fs::metadata(dir.path()).unwrap();
    assert_eq!(
        (meta.mtime(), meta.permissions().mode() & 0o7777),
        (1, 0o711)
    );
}

// conformance: G30
#[test]
fn missing_parents_are_roots_wherever_they_are_made() {
    if skipped_without_chown() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    // As /var/local of Debian: the kernel gives the group to what is made in it.
    unpack(&layer(&["d local %2775 @0:50"]), &root).unwrap();
    unpack(&layer(&["f local/a/b 1 @5:6"]), &root).unwrap();
    let made = lines(&seen(dir.path()), (0, 0));
    assert_eq!(
        made,
        ["d local %2775 @0:50", "d local/a", "f local/a/b 1 @5:6"]
    );
}

// conformance: G34
#[test]
fn attributes_follow_the_last_layer() {
    if !can_set("user.a", b"b") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let with = |line: &str, names: &[&str]| {
        let (mut entry, content) = entry(line);
        for name in names {
            entry
                .xattrs
                .insert(name.as_bytes().into(), b"value".to_vec());
        }
        (entry, content)
    };
    let lower = [
        with("d d %0", &["user.old", "user.both"]),
        with("f f 1 %0", &["user.old"]),
    ];
    let upper = [
        with("d d", &["user.both", "user.new"]),
        with("f f 1", &["user.new"]),
    ];
    unpack(&pack(&lower), &root).unwrap();
    let names = |path: &str| -> Vec<String> {
        let names = notes(&dir.path().join(path)).into_keys();
        names.map(|name| String::from_utf8(name).unwrap()).collect()
    };
    assert_eq!(
        (names("d"), names("f")),
        (
            vec!["user.both".into(), "user.old".into()],
            vec!["user.old".into()]
        )
    );
    unpack(&pack(&upper), &root).unwrap();
    assert_eq!(
        (names("d"), names("f")),
        (
            vec!["user.both".into(), "user.new".into()],
            vec!["user.new".into()]
        )
    );
}

// conformance: E24 G34
#[test]
fn attributes_that_are_refused_are_reported_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let with = |line: &str| {
        let (mut entry, content) = entry(line);
        // Nobody may set the first; the others are this machine's own and are left alone without a word.
        for name in [
            "nonsense.a",
            "trusted.overlay.opaque",
            "user.overlay.opaque",
            "security.selinux",
        ] {
            entry.xattrs.insert(name.into(), b"y".to_vec());
        }
        (entry, content)
    };
    // No capability has these bytes, so the loss is certain; it is said of each file that loses it.
    let capable = |line: &str| {
        let (mut entry, content) = entry(line);
        entry
            .xattrs
            .insert(b"security.capability".to_vec(), b"y".to_vec());
        (entry, content)
    };
    let entries = [with("d d"), with("f d/f 1"), with("f g 1")];
    let entries = entries
        .into_iter()
        .chain([capable("f p 1"), capable("f q 1")]);
    let report = unpack(&pack(&entries.collect::<Vec<_>>()), &root).unwrap();
    let skipped: Vec<String> = report
        .skipped
        .iter()
        .map(|skipped| match &skipped.reason {
            SkipReason::Xattr { name, .. } => format!("{} {name}", skipped.path),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        skipped,
        [
            "d/f nonsense.a",
            "p security.capability",
            "q security.capability"
        ]
    );
    assert!(notes(&dir.path().join("d")).is_empty());
}

// conformance: G35
#[test]
fn special_bits_and_capabilities_survive_the_change_of_owner() {
    // A capability set as in the kernel's vfs_cap_data, revision 2: CAP_NET_RAW permitted and effective.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if skipped_without_chown() || !can_set("security.capability", &capability) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let (mut ping, content) = entry("f ping 1 %6755 @7:8");
    ping.xattrs
        .insert(b"security.capability".to_vec(), capability.to_vec());
    let directory = entry("d d %3777 @7:8");
    unpack(&pack(&[(ping, content), directory]), &root).unwrap();
    assert_eq!(
        lines(&seen(dir.path()), (0, 0)),
        ["d d %3777 @7:8", "f ping 1 %6755 @7:8"]
    );
    let found = notes(&dir.path().join("ping"));
    assert_eq!(found[b"security.capability".as_slice()], capability);
}

// conformance: G38
// conformance: G39
#[test]
fn what_is_protected_is_neither_made_nor_entered() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    unpack(
        &layer(&[
            "d d",
            "f d/keep 1",
            "f d/other 1",
            "l l -> d",
            "l h -> none",
        ]),
        &root,
    )
    .unwrap();
    let protected = |path: &ImagePath| {
        ["d/keep", "hidden", "none"]
            .iter()
            .any(|kept| path.starts_with(&(*kept).into()))
    };
    let options = ExtractOptions {
        owners: owners(),
        protected: Some(&protected),
        ..ExtractOptions::default()
    };
    let upper = layer(&[
        "f l/keep 2",
        "f hidden/deep/f 2",
        "f h/deep/f 2",
        "d none",
        "o l",
        "x l/keep",
        "f d 2",
    ]);
    let report = extract(LayerReader::new(upper.as_slice()), &root, &options).unwrap();
    assert_eq!(
        shown(dir.path()),
        ["d d", "f d/keep 1", "l h -> none", "l l -> d"]
    );
    let skipped: Vec<String> = report
        .skipped
        .iter()
        .map(|skipped| {
            assert_eq!(skipped.reason, SkipReason::Protected);
            skipped.path.to_string()
        })
        .collect();
    assert_eq!(
        skipped,
        [
            "l/keep",
            "hidden/deep/f",
            "h/deep/f",
            "none",
            "d/keep",
            "l/keep",
            "d"
        ]
    );
}

// conformance: G40
#[test]
fn devices_are_made_or_reported() {
    let nodes = [
        EntryKind::CharDevice { major: 1, minor: 3 },
        EntryKind::CharDevice {
            major: 300,
            minor: 70_000,
        },
    ];
    let items: Vec<_> = nodes
        .into_iter()
        .zip(["a", "b"])
        .map(|(kind, path)| (Entry::new(path, kind), Vec::new()))
        .collect();
    let packed = pack(&items);
    let dir = tempfile::tempdir().unwrap();
    let options = ExtractOptions {
        devices: false,
        ..ExtractOptions::default()
    };
    let root = Root::open(dir.path()).unwrap();
    let report = extract(LayerReader::new(packed.as_slice()), &root, &options).unwrap();
    assert!(
        report
            .skipped
            .iter()
            .all(|skipped| skipped.reason == SkipReason::Device)
    );
    assert_eq!((report.skipped.len(), shown(dir.path()).len()), (2, 0));
    if can_mknod() {
        let report = unpack(&packed, &root).unwrap();
        assert_eq!(report.skipped, []);
        assert_eq!(shown(dir.path()), ["c a 1,3", "c b 300,70000"]);
    }
}

// conformance: G32
#[test]
fn a_layer_for_an_overlay_says_what_it_deletes() {
    let scratch = tempfile::tempdir().unwrap();
    let node = scratch.path().join("node");
    fs::write(&node, "").unwrap();
    if !can_mknod() || set(&node, "user.overlay.opaque", b"y").is_err() {
        kiln_skip::skipped("marks of overlays: no device nodes or no attributes here");
        return;
    }
    // Line of the layer, and the paths that hide what is below them: nodes and opaque directories.
    let rows: &[(&[&str], &[&str], &[&str])] = &[
        (&["x a"], &["a"], &[]),
        (&["o d", "f d/x 1"], &[], &["d"]),
        (&["f d/x 1", "o d"], &[], &["d"]),
        (&["x a", "f a 1"], &[], &[]),
        (&["f a 1", "x a"], &[], &[]),
        // Deleted and made again: what is below must not show through the new one.
        (&["x d", "d d", "f d/x 1"], &[], &["d"]),
        (&["d d", "f d/x 1", "x d"], &[], &["d"]),
    ];
    for (lines, nodes, opaque) in rows {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let options = ExtractOptions {
            owners: owners(),
            whiteouts: Whiteouts::Overlay(OpaqueXattr::User),
            ..ExtractOptions::default()
        };
        extract(LayerReader::new(layer(lines).as_slice()), &root, &options).unwrap();
        let all = seen(dir.path());
        let paths = |wanted: &dyn Fn(&crate::disk::Seen) -> bool| -> Vec<String> {
            let found = all.iter().filter(|(_, seen)| wanted(seen));
            found
                .map(|(path, _)| String::from_utf8(path.clone()).unwrap())
                .collect()
        };
        assert_eq!(
            paths(&|seen| seen.kind == crate::disk::Kind::Char(0, 0)),
            *nodes,
            "{lines:?}"
        );
        let mark = b"user.overlay.opaque".as_slice();
        assert_eq!(
            paths(&|seen| seen.notes.contains_key(mark)),
            *opaque,
            "{lines:?}"
        );
    }
}

// conformance: G32
#[test]
fn names_of_markers_never_appear() {
    let file = |name: &str| Raw::file(name, "");
    let packed = tar(&[
        Raw::new(b'5', "d"),
        file("d/.wh..wh..opq"),
        file("d/.wh.x"),
        file(".wh..wh.aufs"),
        file(".wh..wh.plnk/1.2"),
        file("d/y"),
    ]);
    let (listing, _) = read_listing(LayerReader::new(packed.as_slice())).unwrap();
    let kinds: Vec<String> = listing
        .iter()
        .map(|entry| format!("{} {}", entry.kind.name(), entry.path))
        .collect();
    assert_eq!(
        kinds,
        ["directory d", "opaque marker d", "whiteout d/x", "file d/y"]
    );
    let dir = tempfile::tempdir().unwrap();
    unpack(&packed, &Root::open(dir.path()).unwrap()).unwrap();
    assert_eq!(shown(dir.path()), ["d d", "f d/y "]);
}

// Archivers write files without a name, and there is nothing to make of them.
#[test]
fn a_file_without_a_name_is_nothing_in_an_archive_and_an_error_in_a_layer() {
    let packed = tar(&[Raw::file("", ""), Raw::file("file", "")]);
    let reader = || LayerReader::new(packed.as_slice());
    let (listing, _) = read_listing(reader().read_as(ReadAs::Archive)).unwrap();
    assert_eq!(listing.len(), 1);
    assert_eq!(listing[0].path, "file".into());
    let error = read_listing(reader()).unwrap_err().to_string();
    assert!(
        error.contains("only a directory can be the root"),
        "{error}"
    );
}

// A hostile layer can nest as deep as a path can be long; nothing that handles it may run out of stack.
#[test]
fn the_deepest_tree_is_made_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let deep = vec!["d"; 1900].join("/");
    let packed = pack(&[(Entry::directory(deep.as_str()), Vec::new())]);
    unpack(&packed, &root).unwrap();
    let mut tree = TreeIndex::new();
    tree.apply_layer(0, [Entry::directory(deep.as_str())])
        .unwrap();
    tree.apply_layer(1, [Entry::whiteout("d")]).unwrap();
    assert!(tree.is_empty());
    assert!(root.stat(&deep.as_str().into()).unwrap().is_some());
    unpack(&layer(&["x d"]), &root).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
