//! Small archives that ask for much: every limit, counted over all entries and headers together.
#![expect(clippy::too_many_lines, reason = "a table of archives")]

use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use kiln_layer::{
    ArchiveLimits, Entry, EntryKind, ExtractOptions, ImagePath, LayerError, LayerReader,
    LayerWriter, MAX_EXTENSIONS, MAX_FILE, MAX_GLOBALS, MAX_HOLES, MAX_TEXT, MAX_XATTR, ReadAs,
    Root, TreeIndex, WriterOptions, extract, read_listing,
};

use crate::forge::{Raw, tar};
use crate::privilege::owners;

/// A PAX header with these records, of any length.
fn pax(typeflag: u8, records: &[(&str, Vec<u8>)]) -> Raw {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        content.extend_from_slice(format!("{length} {key}=").as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    Raw {
        content,
        ..Raw::new(typeflag, "PaxHeaders/x")
    }
}

fn xattr(typeflag: u8, length: u64) -> Raw {
    pax(
        typeflag,
        &[("SCHILY.xattr.user.a", vec![b'v'; length as usize])],
    )
}

fn files(count: usize) -> impl Iterator<Item = Raw> {
    (0..count).map(|number| Raw::file(format!("f{number}"), ""))
}

fn read(raws: &[Raw], limits: ArchiveLimits, rules: ReadAs) -> Result<Vec<Entry>, LayerError> {
    let packed = tar(raws);
    let reader = LayerReader::new(&packed[..])
        .read_as(rules)
        .limited_to(limits);
    Ok(read_listing(reader)?.0)
}

/// An old GNU sparse file without data that claims this size.
fn sparse(name: &str, size: u64) -> Raw {
    let mut field = vec![0x80, 0, 0, 0];
    field.extend_from_slice(&size.to_be_bytes());
    Raw {
        fields: vec![(257, b"ustar  \0".to_vec()), (483, field)],
        ..Raw::new(b'S', name)
    }
}

/// A sparse file of PAX 0.1 without data.
fn pax_sparse(name: &str, size: u64) -> Vec<Raw> {
    let size = size.to_string().into_bytes();
    let records = [
        ("GNU.sparse.numblocks", b"0".to_vec()),
        ("GNU.sparse.map", Vec::new()),
        ("GNU.sparse.size", size),
    ];
    vec![pax(b'x', &records), Raw::file(name, "")]
}

/// One of PAX 1.0, whose map stands before the data.
fn pax_one_sparse(name: &str, size: u64) -> Vec<Raw> {
    let mut map = b"0\n".to_vec();
    map.resize(512, 0);
    let records = [
        ("GNU.sparse.major", b"1".to_vec()),
        ("GNU.sparse.minor", b"0".to_vec()),
        ("GNU.sparse.realsize", size.to_string().into_bytes()),
    ];
    vec![pax(b'x', &records), Raw::file(name, map)]
}

// finding 5: what counts is the sum.
#[test]
fn archives_that_ask_for_too_much_are_refused_by_the_name_of_the_limit() {
    let few = ArchiveLimits {
        entries: 5,
        text: 1000,
        ..ArchiveLimits::default()
    };
    let normal = ArchiveLimits::default();
    let many = |one: Raw, count: usize| std::iter::repeat_n(one, count).collect::<Vec<_>>();
    let with_file = |mut raws: Vec<Raw>| {
        raws.push(Raw::file("f", ""));
        raws
    };
    let half = MAX_EXTENSIONS / 2 + 1;
    let comment = |length: u64| pax(b'x', &[("comment", vec![b'c'; length as usize])]);
    let rows: Vec<(&str, Vec<Raw>, ArchiveLimits, &str)> = vec![
        (
            "one long header",
            with_file(vec![comment(MAX_EXTENSIONS)]),
            normal,
            "MAX_EXTENSIONS",
        ),
        (
            "two headers",
            with_file(many(comment(half), 2)),
            normal,
            "MAX_EXTENSIONS",
        ),
        (
            "1500 headers",
            with_file(many(comment(1000), 1500)),
            normal,
            "MAX_EXTENSIONS",
        ),
        (
            "a header and a long name",
            with_file(vec![
                comment(half),
                Raw {
                    content: vec![b'n'; half as usize],
                    ..Raw::new(b'L', "x")
                },
            ]),
            normal,
            "MAX_EXTENSIONS",
        ),
        (
            "long links",
            with_file(many(
                Raw {
                    content: vec![b'n'; half as usize],
                    ..Raw::new(b'K', "x")
                },
                2,
            )),
            normal,
            "MAX_EXTENSIONS",
        ),
        (
            "a global attribute",
            with_file(vec![xattr(b'g', MAX_GLOBALS)]),
            normal,
            "MAX_GLOBALS",
        ),
        (
            "many global attributes",
            with_file(
                (0..600)
                    .map(|n| pax(b'g', &[(&format!("SCHILY.xattr.user.{n}"), b"v".to_vec())]))
                    .collect(),
            ),
            normal,
            "MAX_GLOBALS",
        ),
        (
            "a long attribute",
            with_file(vec![xattr(b'x', MAX_XATTR + 1)]),
            normal,
            "MAX_XATTR",
        ),
        (
            "an attribute with a long name",
            with_file(vec![pax(
                b'x',
                &[(
                    &format!("SCHILY.xattr.user.{}", "n".repeat(300)),
                    b"v".to_vec(),
                )],
            )]),
            normal,
            "255 bytes",
        ),
        ("many entries", files(6).collect(), few, "MAX_ENTRIES"),
        (
            "long names",
            (0..5)
                .map(|n| Raw::file(format!("{n}{}", "n".repeat(300)), ""))
                .collect(),
            few,
            "MAX_TEXT",
        ),
        (
            "long links",
            (0..4)
                .map(|n| Raw::link(b'2', format!("{n}"), "t".repeat(300)))
                .collect(),
            few,
            "MAX_TEXT",
        ),
        (
            "attributes of each file",
            (0..4)
                .flat_map(|n| [xattr(b'x', 300), Raw::file(format!("{n}"), "")])
                .collect(),
            few,
            "MAX_TEXT",
        ),
        (
            "a global name",
            vec![
                pax(b'g', &[("path", vec![b'n'; 501])]),
                Raw::file("a", ""),
                Raw::file("b", ""),
            ],
            few,
            "MAX_TEXT",
        ),
        (
            "a sparse file",
            vec![sparse("s", MAX_HOLES + 1)],
            normal,
            "MAX_HOLES",
        ),
        (
            "two sparse files",
            vec![sparse("s", MAX_HOLES / 2), sparse("t", MAX_HOLES / 2 + 1)],
            normal,
            "MAX_HOLES",
        ),
        (
            "PAX 0.1",
            pax_sparse("s", MAX_HOLES + 1),
            normal,
            "MAX_HOLES",
        ),
        (
            "PAX 1.0",
            pax_one_sparse("s", MAX_HOLES + 1),
            normal,
            "MAX_HOLES",
        ),
        (
            "the largest number",
            vec![sparse("s", i64::MAX as u64)],
            normal,
            "MAX_HOLES",
        ),
        (
            "a file of exabytes",
            vec![Raw {
                fields: vec![(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xf0\0".to_vec())],
                ..Raw::file("f", "")
            }],
            normal,
            "MAX_FILE",
        ),
    ];
    for (what, raws, limits, name) in rows {
        for rules in [ReadAs::Layer, ReadAs::Archive] {
            let result = read(&raws, limits, rules);
            let error = result.expect_err(what);
            assert!(error.to_string().contains(name), "{what}: {error}");
            assert!(error.is_bad_layer(), "{what}");
        }
    }
    // What only just fits.
    let fits = [
        with_file(vec![comment(MAX_EXTENSIONS - 20)]),
        with_file(vec![xattr(b'g', MAX_GLOBALS - 200)]),
        with_file(vec![xattr(b'x', MAX_XATTR)]),
        vec![sparse("s", MAX_HOLES)],
    ];
    for raws in fits {
        read(&raws, normal, ReadAs::Layer).unwrap();
    }
}

// finding 5: a thousand files share what a global header gives them.
#[test]
fn attributes_of_a_global_header_are_held_once() {
    let limits = ArchiveLimits {
        text: 100_000,
        ..ArchiveLimits::default()
    };
    let raws: Vec<Raw> = std::iter::once(xattr(b'g', 60_000))
        .chain(files(1000))
        .collect();
    let entries = read(&raws, limits, ReadAs::Layer).unwrap();
    assert_eq!(entries.len(), 1000);
    assert!(entries.iter().all(|entry| entry.xattrs.len() == 1));
    let mut tree = TreeIndex::new().limited_to(limits);
    tree.apply_layer(0, &entries).unwrap();
}

// finding 5: what a tree holds is limited over all layers, and what is deleted does not count.
#[test]
fn trees_are_limited_over_all_layers() {
    let limits = ArchiveLimits {
        entries: 100,
        text: 2000,
        ..ArchiveLimits::default()
    };
    let names = |count: usize, length: usize| {
        (0..count).map(move |n| Entry::file(format!("{n}{}", "n".repeat(length)).as_str(), 0))
    };
    let mut tree = TreeIndex::new().limited_to(limits);
    // The same layer again and again, or deleted again and again, costs no more than once.
    for layer in 0..50 {
        tree.apply_layer(layer, names(40, 30)).unwrap();
    }
    for layer in 50..100 {
        let paths: Vec<_> = tree
            .walk(&ImagePath::root())
            .skip(1)
            .map(|(path, _)| path)
            .collect();
        tree.apply_layer(layer, paths.into_iter().map(Entry::whiteout))
            .unwrap();
        tree.apply_layer(layer, names(40, 31)).unwrap();
    }
    let rows: [(&str, Vec<Entry>, &str); 5] = [
        ("entries", names(61, 1).collect(), "MAX_ENTRIES"),
        (
            "names",
            names(30, 31)
                .map(|e| Entry::file(ImagePath::from("d").join(e.path.as_bytes()), 0))
                .collect(),
            "MAX_TEXT",
        ),
        (
            "links",
            (0..3)
                .map(|n| Entry::symlink(format!("{n}").as_str(), vec![b't'; 400]))
                .collect(),
            "MAX_TEXT",
        ),
        (
            "implied directories",
            vec![Entry::file("a/".repeat(100).as_str(), 0)],
            "MAX_TEXT",
        ),
        (
            "implied names",
            vec![Entry::file(
                format!("{}/x", "abcdefghijklmnopqrstuvwxyzabcdef/".repeat(30)).as_str(),
                0,
            )],
            "MAX_TEXT",
        ),
    ];
    for (what, entries, name) in rows {
        let error = tree.clone().apply_layer(200, entries).expect_err(what);
        assert!(error.to_string().contains(name), "{what}: {error}");
    }
}

// finding 5: a short name that leads through a link to a long one is as long as that.
#[test]
fn real_names_count_when_a_layer_is_unpacked() {
    let deep = vec!["d".repeat(200); 15].join("/");
    let mut raws = vec![
        Raw::new(b'5', format!("{deep}/")),
        Raw::link(b'2', "s", deep.clone()),
    ];
    let count = usize::try_from(MAX_TEXT).unwrap() / deep.len() + 2;
    // Hard links cost the disk nothing.
    raws.push(Raw::file("f", ""));
    raws.extend((0..count).map(|n| Raw::link(b'1', format!("s/{n}"), "f")));
    let packed = tar(&raws);
    // Tens of thousands of names take a disk minutes.
    let place = Some(Path::new("/dev/shm")).filter(|place| place.is_dir());
    let dir = match place {
        Some(place) => tempfile::tempdir_in(place),
        None => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    let options = ExtractOptions {
        owners: owners(),
        ..ExtractOptions::default()
    };
    let error = extract(
        LayerReader::new(&packed[..]),
        &Root::open(dir.path()).unwrap(),
        &options,
    );
    let error = error.unwrap_err();
    assert!(error.to_string().contains("MAX_TEXT"), "{error}");
}

// finding 6
// conformance: G18
#[test]
fn sparse_files_are_unpacked_with_their_holes() {
    const SIZE: u64 = 8 << 30;
    let mut tail = b"1\n8589934588\n4\n".to_vec();
    tail.resize(512, 0);
    tail.extend_from_slice(b"tail");
    let records = [
        ("GNU.sparse.major", b"1".to_vec()),
        ("GNU.sparse.minor", b"0".to_vec()),
        ("GNU.sparse.realsize", SIZE.to_string().into_bytes()),
    ];
    let mut raws = vec![sparse("gnu", SIZE)];
    raws.extend(pax_sparse("pax-0", SIZE));
    raws.extend([pax(b'x', &records), Raw::file("pax-1", tail)]);
    let packed = tar(&raws);
    assert!(packed.len() < 10_000);
    let dir = tempfile::tempdir().unwrap();
    let options = ExtractOptions {
        owners: owners(),
        ..ExtractOptions::default()
    };
    extract(
        LayerReader::new(&packed[..]),
        &Root::open(dir.path()).unwrap(),
        &options,
    )
    .unwrap();
    for name in ["gnu", "pax-0", "pax-1"] {
        let meta = std::fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!(meta.len(), SIZE, "{name}");
        assert!(
            meta.blocks() * 512 <= 1 << 20,
            "{name}: {} blocks",
            meta.blocks()
        );
    }
    let mut end = [0; 8];
    let file = std::fs::File::open(dir.path().join("pax-1")).unwrap();
    file.read_exact_at(&mut end, SIZE - 8).unwrap();
    assert_eq!(&end, b"\0\0\0\0tail");
}

// finding 6: no layer is written with a file that no registry takes.
#[test]
fn files_without_end_are_not_packed() {
    let mut writer = LayerWriter::new(
        Vec::new(),
        kiln_layer::Compression::None,
        WriterOptions::default(),
    );
    let entry = Entry::new("f", EntryKind::File { size: MAX_FILE + 1 });
    let error = writer
        .append(&entry, Some(&mut std::io::repeat(0)))
        .unwrap_err();
    assert!(error.to_string().contains("MAX_FILE"), "{error}");
}

// finding 5: names in messages are cut.
#[test]
fn messages_do_not_repeat_names_of_a_megabyte() {
    let long = vec![b'n'; 500_000];
    for raws in [
        vec![Raw::file(long.clone(), "")],
        vec![pax(b'x', &[("path", long)]), Raw::file("f", "")],
    ] {
        let error = read(&raws, ArchiveLimits::default(), ReadAs::Layer).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }
}
