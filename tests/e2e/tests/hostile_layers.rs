//! Layers of a base that want much, read for their headers and unpacked. Each ends in an image or in one clear message,
//! takes little memory, and leaves nothing behind.
// finding 5
// finding 6
#![expect(clippy::too_many_lines, reason = "tables of attacks")]

use std::io::Write as _;

use kiln_e2e::Ends::{self, Builds, Fails, Somehow};
use kiln_e2e::{
    Base, Case, Forge, Forged, Says, attack, attack_all, gzip_of, kiln_only, namespace_only,
    needs_root, record,
};

const GIB: u64 = 1 << 30;

/// How the layer of a base is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Its headers, for a COPY.
    Look,
    /// Onto the disk, for a mount.
    Unpack,
}
use Way::{Look, Unpack};

fn as_base(what: &str, layer: &Forged, way: Way, ends: Ends) {
    let case = Case::new();
    let layout = case.path("out/base");
    layer.write_layout(&layout);
    let flag = format!("--build-context=hostile=oci-layout://{}", layout.display());
    let text = match way {
        Look => "FROM hostile\nCOPY own /new-directory/own\n".to_owned(),
        Unpack => format!(
            "FROM {}\nRUN --mount=from=hostile,target=/m ls /m >/dev/null\n",
            case.base(Base::Busybox)
        ),
    };
    let context = case.context().dockerfile(text).file("own", "own");
    let build = case.build(&context).no_push().arg(flag);
    ends.check(&attack(what, &case, &build));
}

fn all(rows: &[(&str, Forged, &[Way], Ends)]) {
    let each = rows.iter().flat_map(|(what, layer, ways, ends)| {
        ways.iter()
            .map(move |way| (format!("{what} ({way:?})"), (layer, *way, *ends)))
    });
    attack_all(each, |what, (layer, way, ends)| {
        as_base(what, layer, way, ends);
    });
}

const BOTH: &[Way] = &[Look, Unpack];

#[test]
fn headers_that_stand_for_much() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let files = |forge: &mut Forge<_>, count: usize| {
        for number in 0..count {
            forge.file(&format!("f{number}"));
        }
    };
    let long = vec![b'v'; 1 << 20];
    all(&[
        (
            "a global attribute of 60 KB for 2,000 files",
            Forged::gzip(|f| {
                f.record(b'g', "SCHILY.xattr.user.a", &long[..60_000]);
                files(f, 2_000);
            }),
            &[Look],
            Builds,
        ),
        (
            "a global attribute of 1 MB for 1,000 files",
            Forged::gzip(|f| {
                f.record(b'g', "SCHILY.xattr.user.a", &long[..(1 << 20) - 100]);
                files(f, 1_000);
            }),
            BOTH,
            Fails("MAX_XATTR"),
        ),
        (
            "sixteen global attributes of 60 KB",
            Forged::gzip(|f| {
                for number in 0..16 {
                    f.record(
                        b'g',
                        &format!("SCHILY.xattr.user.{number}"),
                        &long[..60_000],
                    );
                }
                files(f, 1_000);
            }),
            BOTH,
            Fails("MAX_GLOBALS"),
        ),
        (
            "1,500 headers of 900 KB before one file",
            Forged::gzip(|f| {
                for number in 0..1_500 {
                    f.record(b'x', &format!("comment{number}"), &long[..900_000]);
                }
                files(f, 1);
            }),
            BOTH,
            Fails("MAX_EXTENSIONS"),
        ),
        (
            "300 global headers of 900 KB",
            Forged::gzip(|f| {
                for number in 0..300 {
                    f.record(b'g', &format!("comment{number}"), &long[..900_000]);
                }
                files(f, 1);
            }),
            BOTH,
            Builds,
        ),
        (
            "three long names of 500 KB for one file",
            Forged::gzip(|f| {
                for _ in 0..3 {
                    f.with(b'L', b"././@LongLink", &long[..500_000]);
                }
                files(f, 1);
            }),
            BOTH,
            Fails("MAX_EXTENSIONS"),
        ),
        (
            "a name of 1 MB",
            Forged::gzip(|f| {
                f.with(b'L', b"././@LongLink", &long[..(1 << 20) - 1]);
                files(f, 1);
            }),
            BOTH,
            Fails("longer than any path"),
        ),
        (
            "a PAX name of 900 KB with escapes",
            Forged::gzip(|f| {
                f.record(b'x', "path", "\u{1b}[31m../".repeat(100_000).as_bytes());
                files(f, 1);
            }),
            BOTH,
            Fails("longer than any path"),
        ),
        (
            "a header of 4 GB",
            Forged::gzip(|f| {
                let says = Says {
                    size: 4 * GIB,
                    ..Says::default()
                };
                f.header(b'x', b"x", says);
            }),
            BOTH,
            Fails("MAX_EXTENSIONS"),
        ),
        (
            "an attribute of 64 KB for each of 2,000 files",
            Forged::gzip(|f| {
                for number in 0..2_000 {
                    f.record(b'x', "SCHILY.xattr.user.a", &long[..65_000]);
                    f.file(&format!("f{number}"));
                }
            }),
            &[Look],
            Fails("MAX_TEXT"),
        ),
        (
            "40,000 attributes for each of 300 files",
            Forged::gzip(|f| {
                let mut records = Vec::new();
                for number in 0..40_000 {
                    records.extend(record(&format!("SCHILY.xattr.{number}"), b""));
                }
                records.truncate(1 << 20);
                for number in 0..300 {
                    f.with(b'x', b"PaxHeaders/x", &records);
                    f.file(&format!("f{number}"));
                }
            }),
            &[Look],
            Fails("MAX_TEXT"),
        ),
        (
            "an attribute with a name of 60 KB",
            Forged::gzip(|f| {
                f.record(
                    b'x',
                    &format!("SCHILY.xattr.user.{}", "n".repeat(60_000)),
                    b"v",
                );
                files(f, 1);
            }),
            BOTH,
            Fails("255 bytes"),
        ),
    ]);
}

#[test]
fn names_that_stand_for_much() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let deep = |name: usize| format!("{name}/{}", vec!["d"; 2_000].join("/"));
    let long = |name: usize| format!("{name}/{}", vec!["n".repeat(250); 15].join("/"));
    all(&[
        (
            "a million and one empty files",
            Forged::gzip(|f| {
                for number in 0..1_000_001 {
                    f.file(&format!("f{number}"));
                }
            }),
            &[Look],
            Fails("MAX_ENTRIES"),
        ),
        (
            "a million directories",
            Forged::gzip(|f| {
                for number in 0..999_990 {
                    f.entry(b'5', &format!("{}/{number}/", number / 1000), b"");
                }
            }),
            &[Look],
            Somehow,
        ),
        (
            "20,000 names of 4 KB",
            Forged::gzip(|f| {
                for number in 0..20_000 {
                    f.file(&long(number));
                }
            }),
            &[Look],
            Fails("MAX_TEXT"),
        ),
        (
            "20,000 links of 4 KB",
            Forged::gzip(|f| {
                for number in 0..20_000 {
                    f.entry(b'2', &format!("f{number}"), &[b't'; 4_000]);
                }
            }),
            BOTH,
            Fails("MAX_TEXT"),
        ),
        (
            "600 names 2,000 directories deep",
            Forged::gzip(|f| {
                for number in 0..600 {
                    f.file(&deep(number));
                }
            }),
            &[Look],
            Fails("MAX_TEXT"),
        ),
        (
            "a name 2,000 directories deep",
            Forged::gzip(|f| {
                f.file(&deep(1));
            }),
            BOTH,
            Builds,
        ),
        (
            "short names below a link to a long one",
            Forged::gzip(|f| {
                let name = long(1);
                f.entry(b'5', &format!("{name}/"), b"");
                f.entry(b'2', "s", name.as_bytes());
                for number in 0..20_000 {
                    f.entry(b'2', &format!("s/{number}"), b"x");
                }
            }),
            BOTH,
            Somehow,
        ),
        (
            "one name 150,000 times",
            Forged::gzip(|f| {
                for _ in 0..150_000 {
                    f.file("same");
                }
            }),
            BOTH,
            Builds,
        ),
        (
            "files and directories in turn under one name",
            Forged::gzip(|f| {
                for _ in 0..5_000 {
                    f.file("d/same")
                        .entry(b'5', "d/same/", b"")
                        .file("d/same/x");
                }
            }),
            BOTH,
            Builds,
        ),
        (
            "100,000 whiteouts of nothing",
            Forged::gzip(|f| {
                for number in 0..100_000 {
                    f.file(&format!(".wh.{number}"));
                }
            }),
            BOTH,
            Builds,
        ),
        (
            "opaque markers in each of 2,000 directories",
            Forged::gzip(|f| {
                for number in 0..2_000 {
                    f.file(&format!("d{number}/x"))
                        .file(&format!("d{number}/.wh..wh..opq"));
                }
            }),
            BOTH,
            Builds,
        ),
        (
            "a name that is too long for a file system",
            Forged::gzip(|f| {
                f.file(&"n".repeat(300));
            }),
            &[Unpack],
            Fails("name too long"),
        ),
        (
            "links in circles",
            Forged::gzip(|f| {
                f.entry(b'2', "a", b"b").entry(b'2', "b", b"a").file("a/x");
            }),
            BOTH,
            Fails("too many symbolic links"),
        ),
        (
            "30,000 lost attributes of different names",
            Forged::gzip(|f| {
                for number in 0..30_000 {
                    f.record(b'x', &format!("SCHILY.xattr.odd.{number}"), b"v");
                    f.file(&format!("f{number}"));
                }
            }),
            &[Unpack],
            Builds,
        ),
        (
            "escapes in a name that is refused",
            Forged::gzip(|f| {
                f.file("a/\u{1b}]0;owned\u{7}\u{1b}[2J/../x");
            }),
            BOTH,
            Fails("`..` component"),
        ),
    ]);
}

#[test]
fn content_that_is_not_there() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let pax = |size: &str, more: &[(&str, &str)]| {
        let mut records = record("GNU.sparse.realsize", size.as_bytes());
        records.extend(record("GNU.sparse.size", size.as_bytes()));
        for (key, value) in more {
            records.extend(record(key, value.as_bytes()));
        }
        records
    };
    let numbers = |text: &str| {
        let mut map = text.as_bytes().to_vec();
        map.resize(text.len().next_multiple_of(512), 0);
        map
    };
    let eight = (8 * GIB).to_string();
    all(&[
        (
            "a GNU sparse file of 8 GB",
            Forged::gzip(|f| {
                f.sparse("s", 8 * GIB);
            }),
            BOTH,
            Builds,
        ),
        (
            "a PAX 0.0 sparse file of 8 GB",
            Forged::gzip(|f| {
                f.with(b'x', b"x", &pax(&eight, &[("GNU.sparse.numblocks", "0")]));
                f.file("s");
            }),
            BOTH,
            Builds,
        ),
        (
            "a PAX 0.1 sparse file of 8 GB",
            Forged::gzip(|f| {
                f.with(
                    b'x',
                    b"x",
                    &pax(&eight, &[("GNU.sparse.map", "0,0,8589934592,0")]),
                );
                f.file("s");
            }),
            BOTH,
            Builds,
        ),
        (
            "a PAX 1.0 sparse file of 8 GB",
            Forged::gzip(|f| {
                f.with(
                    b'x',
                    b"x",
                    &pax(
                        &eight,
                        &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")],
                    ),
                );
                f.with(b'0', b"s", &numbers("1\n8589934592\n0\n"));
            }),
            BOTH,
            Builds,
        ),
        (
            "a sparse file of 1 TB",
            Forged::gzip(|f| {
                f.sparse("s", 1024 * GIB);
            }),
            BOTH,
            Fails("MAX_HOLES"),
        ),
        (
            "a sparse file of all there is",
            Forged::gzip(|f| {
                f.sparse("s", i64::MAX as u64);
            }),
            BOTH,
            Fails("MAX_HOLES"),
        ),
        (
            "a hundred sparse files of 1 GB",
            Forged::gzip(|f| {
                (0..100).for_each(|n| {
                    f.sparse(&format!("s{n}"), GIB);
                });
            }),
            BOTH,
            Fails("MAX_HOLES"),
        ),
        (
            "a sparse map with more pieces than a file has",
            Forged::gzip(|f| {
                f.with(b'x', b"x", &pax(&eight, &[("GNU.sparse.major", "1")]));
                f.with(b'0', b"s", &numbers("99999999\n"));
            }),
            BOTH,
            Fails("too many extents"),
        ),
        (
            "a sparse map of a million pieces",
            Forged::gzip(|f| {
                let mut map = "1000000\n".to_owned();
                (0..1_000_000).for_each(|n| map.extend([n.to_string().as_str(), "\n0\n"]));
                f.with(b'x', b"x", &pax(&eight, &[("GNU.sparse.major", "1")]));
                f.with(b'0', b"s", &numbers(&map));
            }),
            BOTH,
            Builds,
        ),
        (
            "sparse pieces that overlap",
            Forged::gzip(|f| {
                f.with(b'x', b"x", &pax(&eight, &[("GNU.sparse.map", "4,4,0,4")]));
                f.with(b'0', b"s", b"12345678");
            }),
            BOTH,
            Fails("overlap"),
        ),
        (
            "a file of exabytes",
            Forged::gzip(|f| {
                let says = Says {
                    size: 1 << 62,
                    ..Says::default()
                };
                f.header(b'0', b"f", says);
            }),
            BOTH,
            Fails("MAX_FILE"),
        ),
        (
            "2 GB of zeros",
            Forged::gzip(|f| {
                f.zero_file("z", 2 * GIB);
            }),
            BOTH,
            Builds,
        ),
        (
            "a file that ends too early",
            Forged::gzip(|f| {
                let says = Says {
                    size: 100_000,
                    ..Says::default()
                };
                f.header(b'0', b"f", says);
            }),
            BOTH,
            Fails("the content of `f`"),
        ),
    ]);
}

#[test]
fn streams_that_lie() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let tar = Forged::plain(|f| {
        f.file("f");
    })
    .blob;
    let zstd_window = {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(30).unwrap();
        out.write_all(&tar).unwrap();
        out.finish().unwrap()
    };
    let zstd_bomb = {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
        let mut forge = Forge::new(&mut out);
        forge.zero_file("z", GIB);
        let (_, diff_id) = forge.finish();
        Forged {
            blob: out.finish().unwrap(),
            diff_id,
            suffix: "+zstd",
        }
    };
    let members = {
        let empty = gzip_of(|_| Ok(()));
        let mut blob = gzip_of(|out| out.write_all(&tar));
        (0..100_000).for_each(|_| blob.extend(&empty));
        Forged {
            blob,
            diff_id: kiln_e2e::digest(&tar),
            suffix: "+gzip",
        }
    };
    let mut named = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    named.resize(50 << 20, b'n');
    let bad_number = |offset: usize, text: &'static [u8]| {
        let fields = [(offset, text)];
        Forged::gzip(|f| {
            let says = Says {
                fields: &fields,
                ..Says::default()
            };
            f.header(b'0', b"f", says);
        })
    };
    let pax = |key: &str, value: &str| {
        Forged::gzip(|f| {
            f.record(b'x', key, value.as_bytes()).file("f");
        })
    };
    let raw_pax = |text: &[u8]| {
        Forged::gzip(|f| {
            f.with(b'x', b"x", text).file("f");
        })
    };
    all(&[
        (
            "a zstd window of 1 GB",
            Forged::raw(zstd_window, "+zstd"),
            BOTH,
            Fails("damaged zstd stream"),
        ),
        ("1 GB of zeros in zstd", zstd_bomb, BOTH, Builds),
        ("100,000 empty gzip members", members, BOTH, Builds),
        (
            "a gzip name of 50 MB",
            Forged::raw(named, "+gzip"),
            BOTH,
            Fails("damaged gzip stream"),
        ),
        (
            "no tar",
            Forged::raw(b"hello".repeat(1000), ""),
            BOTH,
            Fails("not a tar archive"),
        ),
        (
            "half a header",
            Forged::raw(tar[..300].to_vec(), ""),
            BOTH,
            Fails("inside a header"),
        ),
        ("nothing", Forged::raw(Vec::new(), ""), BOTH, Somehow),
        (
            "a negative size",
            bad_number(124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"),
            BOTH,
            Fails("no number"),
        ),
        (
            "a size in words",
            bad_number(124, b"many bytes\0\0"),
            BOTH,
            Fails("no number"),
        ),
        (
            "a type nobody knows",
            bad_number(156, b"Q"),
            BOTH,
            Fails("unknown type"),
        ),
        (
            "a user beyond all",
            pax("uid", "99999999999"),
            BOTH,
            Fails("user id out of range"),
        ),
        (
            "a negative user",
            pax("uid", "-1"),
            BOTH,
            Fails("PAX number"),
        ),
        (
            "a time in words",
            pax("mtime", "yesterday"),
            BOTH,
            Fails("PAX time"),
        ),
        (
            "the last second of all",
            pax("mtime", "9223372036854775807"),
            BOTH,
            Somehow,
        ),
        (
            "the first second of all",
            pax("mtime", "-9223372036854775807"),
            BOTH,
            Somehow,
        ),
        (
            "a PAX size that is not the file's",
            pax("size", "1099511627776"),
            BOTH,
            Fails("the content of `f`"),
        ),
        (
            "a PAX size beyond all",
            pax("size", "18446744073709551615"),
            BOTH,
            Somehow,
        ),
        ("a name with NUL", pax("path", "a\0b"), BOTH, Fails("NUL")),
        (
            "a record without a length",
            raw_pax(b"path=x\n"),
            BOTH,
            Fails("PAX record"),
        ),
        (
            "a record longer than all",
            raw_pax(b"99999999999999999999 path=x\n"),
            BOTH,
            Fails("PAX record"),
        ),
        (
            "a record of no length",
            raw_pax(b"0 a=b\n"),
            BOTH,
            Fails("PAX record"),
        ),
        (
            "a hard link to nothing",
            Forged::gzip(|f| {
                f.entry(b'1', "a", b"none");
            }),
            BOTH,
            Fails("which does not exist"),
        ),
        (
            "a hard link to itself",
            Forged::gzip(|f| {
                f.entry(b'1', "a", b"a");
            }),
            BOTH,
            Fails("which does not exist"),
        ),
        (
            "a hard link to the root",
            Forged::gzip(|f| {
                f.entry(b'1', "a", b"/");
            }),
            BOTH,
            Fails("hard link to the root"),
        ),
        (
            "a header at the end of all",
            Forged::gzip(|f| {
                f.record(b'x', "path", b"x");
            }),
            BOTH,
            Somehow,
        ),
    ]);
}

// finding 6: a sparse file of another image is copied for what it is.
#[test]
fn a_sparse_file_is_copied_from_an_image() {
    kiln_only!();
    namespace_only!();
    let case = Case::new();
    let layout = case.path("out/base");
    Forged::gzip(|f| {
        f.sparse("s", 64 << 20);
    })
    .write_layout(&layout);
    let context = case
        .context()
        .dockerfile("FROM hostile AS h\nFROM scratch\nCOPY --from=h /s /\n");
    let flag = format!("--build-context=hostile=oci-layout://{}", layout.display());
    let image = case.build(&context).arg(flag).run().image();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(image.tree().paths(), ["s"]);
}
