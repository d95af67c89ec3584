//! Streams as they are found: several members, other dialects, cut off.

use std::fs;
use std::io::{self, Read, Write as _};

use flate2::write::GzEncoder;
use kiln_layer::{
    Compression, Entry, EntryKind, LayerError, LayerReader, LayerWriter, Root, WriterOptions,
    extract_contents, read_listing,
};
use kiln_oci::DiffId;
use sha2::{Digest as _, Sha256};

use crate::disk::seen;
use crate::forge::{Raw, open_ended, pax, tar};
use crate::privilege::owners;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 1).unwrap()
}

fn read(stream: &[u8]) -> Result<(Vec<Entry>, DiffId), LayerError> {
    read_listing(LayerReader::new(stream))
}

fn paths(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.path.to_string()).collect()
}

// conformance: G36
#[test]
fn every_packing_of_a_tar_is_that_tar() {
    let entries = [
        Raw::new(b'5', "d"),
        Raw::file("d/f", "content"),
        Raw::file("g", vec![b'x'; 5000]),
    ];
    let plain = tar(&entries);
    let (half, rest) = plain.split_at(700);
    let skippable = [b"\x50\x2a\x4d\x18\x04\0\0\0".as_slice(), b"skip"].concat();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("plain", plain.clone()),
        ("gzip", gzip(&plain)),
        ("gzip in two members", [gzip(half), gzip(rest)].concat()),
        (
            "gzip with an empty member",
            [gzip(&plain), gzip(b"")].concat(),
        ),
        ("gzip with padding", [gzip(&plain), vec![0; 700]].concat()),
        ("zstd", zstd(&plain)),
        ("zstd in two frames", [zstd(half), zstd(rest)].concat()),
        (
            "zstd with a skippable frame before",
            [skippable.clone(), zstd(&plain)].concat(),
        ),
        (
            "zstd with a skippable frame between",
            [zstd(half), skippable.clone(), zstd(rest)].concat(),
        ),
        (
            "zstd with a skippable frame behind",
            [zstd(&plain), skippable].concat(),
        ),
    ];
    assert!(!rows.is_empty());
    let diff_id = DiffId::from_bytes(Sha256::digest(&plain).into());
    for (name, stream) in rows {
        let (listing, found) = read(&stream).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(paths(&listing), ["d", "d/f", "g"], "{name}");
        assert_eq!(found, diff_id, "{name}");
    }
}

// conformance: G36
#[test]
fn the_end_may_have_any_number_of_zeros() {
    let entries = [Raw::file("f", "content")];
    let open = open_ended(&entries);
    for zeros in [0, 512, 1024, 10_240, 100_000] {
        let mut stream = open.clone();
        stream.resize(open.len() + zeros, 0);
        let (listing, diff_id) = read(&stream).unwrap();
        assert_eq!(paths(&listing), ["f"], "{zeros}");
        // What follows the end counts for the digest.
        assert_eq!(
            diff_id,
            DiffId::from_bytes(Sha256::digest(&stream).into()),
            "{zeros}"
        );
    }
    assert_eq!(read(b"").unwrap().0, []);
}

// conformance: G36
#[test]
fn a_stream_that_ends_early_is_an_error() {
    let entries = [
        pax(b'x', &[("path", "a/long/name")]),
        Raw::file("short", vec![b'x'; 600]),
        Raw::new(b'5', "d"),
    ];
    let plain = tar(&entries);
    // Nobody can tell between two entries, nor once there is a record of zeros.
    let whole = |length: usize| [0, 512 * 5, 512 * 6].contains(&length) || length >= 512 * 7;
    // Every seventh place, and all that are next to the border of a record.
    let places =
        |length: &usize| length.is_multiple_of(7) || length % 512 < 2 || length % 512 == 511;
    for length in (0..plain.len()).filter(places) {
        let result = read(&plain[..length]);
        assert_eq!(result.is_ok(), whole(length), "{length} {result:?}");
        if let Err(error) = result {
            assert!(error.is_bad_layer(), "{length} {error}");
        }
    }
    let two = |pack: fn(&[u8]) -> Vec<u8>| {
        let (half, rest) = plain.split_at(1000);
        (pack(half).len(), [pack(half), pack(rest)].concat())
    };
    for (first, packed) in [(0, gzip(&plain)), (0, zstd(&plain)), two(gzip), two(zstd)] {
        for length in 1..packed.len() {
            let error = read(&packed[..length]).map(drop).unwrap_err();
            assert!(
                error.is_bad_layer(),
                "{length} of {} ({first}): {error}",
                packed.len()
            );
        }
    }
}

// conformance: G36
#[test]
fn a_damaged_stream_is_an_error() {
    let plain = tar(&[Raw::file(
        "f",
        "some content that compresses, compresses, compresses",
    )]);
    let packed = gzip(&plain);
    // The flags and the time of a gzip header are not checked by anything.
    for at in (10..packed.len()).chain([2]) {
        let mut damaged = packed.clone();
        damaged[at] ^= 0xff;
        assert!(read(&damaged).is_err(), "{at}");
    }
    let mut noise = packed.clone();
    noise.extend_from_slice(b"noise");
    assert!(read(&noise).is_err());
    for at in 0..512 {
        let mut damaged = plain.clone();
        damaged[at] ^= 1;
        // Spaces and zeros of the checksum field mean the same.
        assert!(read(&damaged).is_err() || (148..156).contains(&at), "{at}");
    }
}

// conformance: G36
#[test]
fn global_headers_hold_until_the_next() {
    let packed = tar(&[
        pax(b'g', &[("comment", "git's commit"), ("mtime", "77")]),
        Raw::file("a", ""),
        pax(b'x', &[("mtime", "88"), ("uid", "5")]),
        Raw::file("b", ""),
        Raw::file("c", ""),
        pax(b'g', &[("mtime", "99.5")]),
        Raw::file("d", ""),
        pax(b'g', &[("mtime", "")]),
        Raw::file("e", ""),
    ]);
    let (listing, _) = read(&packed).unwrap();
    let found: Vec<(String, i64, u32)> = listing
        .iter()
        .map(|entry| (entry.path.to_string(), entry.mtime, entry.uid))
        .collect();
    let expected = [
        ("a", 77, 0),
        ("b", 88, 5),
        ("c", 77, 0),
        ("d", 99, 0),
        ("e", 1, 0),
    ];
    assert_eq!(
        found,
        expected.map(|(path, mtime, uid)| (path.to_owned(), mtime, uid))
    );
}

/// The sparse file of all rows: 10 KiB with data at 2 places.
fn sparse_content() -> Vec<u8> {
    let mut content = vec![0; 10_240];
    content[1024..1536].fill(b'a');
    content[9000..9100].fill(b'b');
    content
}

fn sparse_data() -> Vec<u8> {
    [[b'a'; 512].as_slice(), &[b'b'; 100]].concat()
}

/// Old GNU: map and real size in the header, from byte 386 and 483.
fn gnu_sparse(name: &str, extents: &[(u64, u64)], size: u64, data: Vec<u8>) -> Raw {
    assert!(extents.len() <= 4);
    let field = |number: u64| format!("{number:011o}\0").into_bytes();
    let mut fields = vec![(257, b"ustar  \0".to_vec()), (483, field(size))];
    for (slot, (offset, length)) in extents.iter().enumerate() {
        fields.push((386 + 24 * slot, [field(*offset), field(*length)].concat()));
    }
    Raw {
        fields,
        content: data,
        ..Raw::new(b'S', name)
    }
}

/// Old GNU with a second block: the first four extents in the header, the others in a record of their own.
fn gnu_continued(name: &str) -> (Raw, Vec<u8>) {
    let extents: Vec<(u64, u64)> = (0..7).map(|at| (at * 1000, 10)).collect();
    let mut raw = gnu_sparse(name, &extents[..4], 7000, Vec::new());
    raw.fields.push((482, vec![1]));
    // The size counts the data only, not the record with the rest of the map.
    raw.fields
        .push((124, format!("{:011o}\0", 70).into_bytes()));
    let mut more = Vec::new();
    for (offset, length) in &extents[4..] {
        more.extend(format!("{offset:011o}\0{length:011o}\0").into_bytes());
    }
    more.resize(512, 0);
    more.extend([b'c'; 70]);
    raw.content = more;
    let mut content = vec![0; 7000];
    for (offset, _) in extents {
        content[offset as usize..offset as usize + 10].fill(b'c');
    }
    (raw, content)
}

/// Dialect, entries, and what is in the file they make.
fn sparse_rows() -> Vec<(&'static str, Vec<Raw>, Vec<u8>)> {
    let (continued, continued_content) = gnu_continued("sparse");
    let map = b"2\n1024\n512\n9000\n100\n".to_vec();
    let pax_1_0 = Raw::file("GNUSparseFile.0/sparse", {
        let mut data = map;
        data.resize(512, 0);
        [data, sparse_data()].concat()
    });
    let listed = |records: &[(&str, &str)]| pax(b'x', records);
    vec![
        (
            "old GNU",
            vec![gnu_sparse(
                "sparse",
                &[(1024, 512), (9000, 100), (10_240, 0)],
                10_240,
                sparse_data(),
            )],
            sparse_content(),
        ),
        (
            "old GNU, map in two records",
            vec![continued],
            continued_content,
        ),
        (
            "old GNU, only a hole",
            vec![gnu_sparse("sparse", &[(3000, 0)], 3000, Vec::new())],
            vec![0; 3000],
        ),
        (
            "PAX 0.0",
            vec![
                listed(&[
                    ("GNU.sparse.size", "10240"),
                    ("GNU.sparse.numblocks", "2"),
                    ("GNU.sparse.offset", "1024"),
                    ("GNU.sparse.numbytes", "512"),
                    ("GNU.sparse.offset", "9000"),
                    ("GNU.sparse.numbytes", "100"),
                ]),
                Raw::file("sparse", sparse_data()),
            ],
            sparse_content(),
        ),
        (
            "PAX 0.1",
            vec![
                listed(&[
                    ("GNU.sparse.size", "10240"),
                    ("GNU.sparse.numblocks", "2"),
                    ("GNU.sparse.name", "sparse"),
                    ("GNU.sparse.map", "1024,512,9000,100"),
                ]),
                Raw::file("GNUSparseFile.0/sparse", sparse_data()),
            ],
            sparse_content(),
        ),
        (
            "PAX 1.0",
            vec![
                listed(&[
                    ("GNU.sparse.major", "1"),
                    ("GNU.sparse.minor", "0"),
                    ("GNU.sparse.name", "sparse"),
                    ("GNU.sparse.realsize", "10240"),
                ]),
                pax_1_0,
            ],
            sparse_content(),
        ),
    ]
}

// conformance: G18
#[test]
fn sparse_files_are_read_with_their_holes() {
    let rows = sparse_rows();
    assert!(!rows.is_empty());
    for (name, mut raws, content) in rows {
        raws.push(Raw::file("after", "after"));
        let packed = tar(&raws);
        let (listing, _) = read(&packed).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(paths(&listing), ["sparse", "after"], "{name}");
        assert_eq!(
            listing[0].kind,
            EntryKind::File {
                size: content.len() as u64
            },
            "{name}"
        );

        let mut found = Vec::new();
        extract_contents(
            LayerReader::new(packed.as_slice()),
            &mut |_| true,
            &mut |_, reader| {
                let mut content = Vec::new();
                reader.read_to_end(&mut content)?;
                found.push(content);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(found, [content.clone(), b"after".to_vec()], "{name}");

        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let options = kiln_layer::ExtractOptions {
            owners: owners(),
            ..kiln_layer::ExtractOptions::default()
        };
        kiln_layer::extract(LayerReader::new(packed.as_slice()), &root, &options).unwrap();
        assert_eq!(
            fs::read(dir.path().join("sparse")).unwrap(),
            content,
            "{name}"
        );
        assert_eq!(seen(dir.path()).len(), 2, "{name}");
    }
}

// conformance: G28
#[test]
fn names_longer_than_any_path_are_refused() {
    let long = "d/".repeat(2048);
    let fits = &long[..4095];
    let rows = [
        (Raw::file(fits, ""), true),
        (Raw::link(b'2', "l", fits), true),
        (Raw::link(b'1', "h", fits), true),
        (Raw::file(long.clone(), ""), false),
        (Raw::link(b'2', "l", long.clone()), false),
        (Raw::link(b'1', "h", long.clone()), false),
    ];
    for (raw, expected) in rows {
        let result = read(&tar(std::slice::from_ref(&raw)));
        assert_eq!(
            result.is_ok(),
            expected,
            "{} {}",
            raw.typeflag,
            raw.name.len()
        );
        if let Err(error) = result {
            assert!(matches!(error, LayerError::UnsafeEntry { .. }), "{error}");
        }
    }
}

// conformance: G36
#[test]
fn a_source_may_give_one_byte_at_a_time() {
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let length = buf.len().min(1);
            self.0.read(&mut buf[..length])
        }
    }
    let mut writer = LayerWriter::new(Vec::new(), Compression::default(), WriterOptions::default());
    for name in ["a", "b"] {
        writer
            .append(&Entry::file(name, 3), Some(&mut &b"abc"[..]))
            .unwrap();
    }
    let (info, packed) = writer.finish().unwrap();
    let (listing, diff_id) = read_listing(LayerReader::new(Drip(&packed))).unwrap();
    assert_eq!(
        (paths(&listing), diff_id),
        (vec!["a".into(), "b".into()], info.diff_id)
    );
}
