//! Small archives that want much, wherever an archive is read: as the layer of a base that is looked at or unpacked, as
//! an archive of ADD, as a named context, as an image to be pushed. Each ends in an image or in one clear message,
//! takes little memory, and leaves nothing behind.
// finding 5
// finding 6
#![expect(
    clippy::too_many_lines,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tables of attacks; a fixture that cannot be made is a failed test"
)]

use std::io::Write as _;
use std::path::Path;

use kiln_e2e::{
    Base, Build, Case, Forge, Forged, HttpServer, Leaks, PeakMemory, Response, Says, gzip_of,
    kiln_only, namespace_only, needs_root, record, write_documents,
};
use serde_json::json;

/// No attack may take more.
const MOST: u64 = 256_000_000;

const GIB: u64 = 1 << 30;

/// How it has to end.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Builds,
    /// With this in the message.
    Fails(&'static str),
    /// Either way; what counts is that it ends, and how much it takes.
    Somehow,
}
use Ends::{Builds, Fails, Somehow};

/// Runs one attack: its end, its peak, what it leaves.
fn attack(what: &str, case: &Case, build: &Build<'_>, ends: Ends) {
    let leaks = Leaks::before(case);
    let build = build.clone().arg("--log-format=text");
    let mut running = build.start();
    let memory = PeakMemory::watch(running.pid());
    let outcome = running.wait();
    let (peak, line) = memory.finish();
    let last = outcome
        .log
        .lines()
        .rfind(|line| line.contains("rror"))
        .unwrap_or_default();
    println!(
        "{:>4} MB  {what}: {}",
        peak / 1_000_000,
        &last.chars().take(160).collect::<String>()
    );
    match ends {
        Builds => {
            outcome.ok();
        }
        Fails(text) => {
            outcome.failed(1, &[text]);
        }
        Somehow => assert!(
            matches!(outcome.code, Some(0 | 1)),
            "{what}: {}\n{}",
            outcome.status,
            outcome.log
        ),
    }
    assert!(
        outcome.log.len() < 20_000,
        "{what}: {} bytes of log",
        outcome.log.len()
    );
    assert!(
        !outcome.log.contains('\u{1b}'),
        "{what}: escapes in the log"
    );
    assert!(peak < MOST, "{what}: {line}");
    leaks.check_after(&outcome.log);
}

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
    attack(&format!("{what} ({way:?})"), &case, &build, ends);
}

fn all(rows: Vec<(&str, Forged, &[Way], Ends)>) {
    assert!(!rows.is_empty());
    let mut failed = Vec::new();
    for (what, layer, ways, ends) in rows {
        for way in ways {
            let one = || as_base(what, &layer, *way, ends);
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(one)).is_err() {
                failed.push(format!("{what} ({way:?})"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
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
    all(vec![
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
    all(vec![
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
    all(vec![
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
    all(vec![
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

/// An archive of ADD: `name` in the context, unpacked into scratch.
fn as_added(what: &str, archive: &[u8], ends: Ends) {
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nADD x.tar /\n")
        .file("x.tar", archive);
    let build = case.build(&context).no_push();
    attack(&format!("{what} (ADD)"), &case, &build, ends);
}

/// The same bytes behind `--build-context`.
fn as_context(what: &str, archive: &[u8], ends: Ends) {
    let case = Case::new();
    let bytes = archive.to_vec();
    let server = HttpServer::start(move |_| Response::new(200, "application/x-tar", bytes.clone()));
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY --from=pack /f0 /\n");
    let flag = format!("--build-context=pack={}", server.url("pack.tar"));
    let build = case.build(&context).no_push().arg(flag);
    attack(&format!("{what} (context)"), &case, &build, ends);
}

#[test]
fn archives_of_users() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let long = vec![b'v'; 1 << 20];
    let small = Forged::plain(|f| {
        f.file("f0");
    })
    .blob;
    let xz_dictionary = {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(1 << 30);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let check = liblzma::stream::Check::None;
        let encoder = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
        let mut out = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
        out.write_all(&small).unwrap();
        out.finish().unwrap()
    };
    let zstd_window = {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(30).unwrap();
        out.write_all(&small).unwrap();
        out.finish().unwrap()
    };
    let bzip2_bomb = {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        let mut forge = Forge::new(&mut out);
        forge.file("f0").zero_file("z", 64 << 20);
        forge.finish();
        out.finish().unwrap()
    };
    let rows: Vec<(&str, Vec<u8>, Ends)> = vec![
        (
            "stacked headers",
            Forged::gzip(|f| {
                (0..1_500).for_each(|n| {
                    f.record(b'x', &format!("c{n}"), &long[..900_000]);
                });
                f.file("f0");
            })
            .blob,
            Fails("MAX_EXTENSIONS"),
        ),
        (
            "a global attribute for 1,000 files",
            Forged::gzip(|f| {
                f.record(b'g', "SCHILY.xattr.user.a", &long[..1_000_000]);
                (0..1_000).for_each(|n| {
                    f.file(&format!("f{n}"));
                });
            })
            .blob,
            Fails("MAX_XATTR"),
        ),
        (
            "an attribute of 64 KB for each of 2,000 files",
            Forged::gzip(|f| {
                (0..2_000).for_each(|n| {
                    f.record(b'x', "SCHILY.xattr.user.a", &long[..65_000])
                        .file(&format!("f{n}"));
                });
            })
            .blob,
            Fails("MAX_TEXT"),
        ),
        (
            "a sparse file of 1 TB",
            Forged::gzip(|f| {
                f.sparse("f0", 1024 * GIB);
            })
            .blob,
            Fails("MAX_HOLES"),
        ),
        (
            "a sparse file of 128 MB",
            Forged::gzip(|f| {
                f.sparse("f0", 128 << 20);
            })
            .blob,
            Builds,
        ),
        (
            "128 MB of zeros",
            Forged::gzip(|f| {
                f.zero_file("f0", 128 << 20);
            })
            .blob,
            Builds,
        ),
        (
            "an xz dictionary of 1 GB",
            xz_dictionary,
            Fails("MAX_DECODER_MEMORY"),
        ),
        (
            "a zstd window of 1 GB",
            zstd_window,
            Fails("MAX_DECODER_MEMORY"),
        ),
        ("zeros in bzip2", bzip2_bomb, Builds),
    ];
    assert!(!rows.is_empty());
    for (what, archive, ends) in rows {
        as_added(what, &archive, ends);
        as_context(what, &archive, ends);
    }
    let many = Forged::gzip(|f| {
        (0..400_001).for_each(|n| {
            f.file(&format!("f{n}"));
        });
    });
    as_added("half a million files", &many.blob, Fails("MAX_ENTRIES"));
}

fn push(what: &str, case: &Case, path: &Path, ends: Ends) {
    let build = case
        .push(path)
        .destination("127.0.0.1:1/x:1")
        .arg("--skip-push-permission-check");
    attack(&format!("{what} (push)"), case, &build, ends);
}

/// A docker archive with these documents.
fn archive(
    case: &Case,
    manifest: &[u8],
    config: &[u8],
    layer: Option<&Forged>,
) -> std::path::PathBuf {
    let mut forge = Forge::new(Vec::new());
    forge
        .with(b'0', b"manifest.json", manifest)
        .with(b'0', b"c.json", config);
    if let Some(layer) = layer {
        forge.with(b'0', b"l.tar", &layer.blob);
    }
    let path = case.path("out/saved.tar");
    std::fs::write(&path, forge.finish().0).unwrap();
    path
}

#[test]
fn docker_archives_and_layouts() {
    kiln_only!();
    namespace_only!();
    let case = Case::new();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = config.to_string().into_bytes();
    let one = br#"{"Config":"c.json","Layers":[]}"#;
    let list = |count: usize| {
        [
            b"[".to_vec(),
            vec![&one[..]; count].join(&b','),
            b"]".to_vec(),
        ]
        .concat()
    };
    let padded = |size: usize| [list(1), vec![b' '; size]].concat();
    let large = {
        let mut value: serde_json::Value = serde_json::from_slice(&config).unwrap();
        value["author"] = json!("a".repeat(4 << 20));
        value.to_string().into_bytes()
    };
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let empties = vec!["{}"; 200_000].join(",");
    let rows: Vec<(&str, Vec<u8>, Vec<u8>, &str)> = vec![
        (
            "a manifest of 20 MB",
            padded(20 << 20),
            config.clone(),
            "MAX_DOCUMENT",
        ),
        (
            "a config of 20 MB",
            list(1),
            [config.clone(), vec![b' '; 20 << 20]].concat(),
            "MAX_DOCUMENT",
        ),
        (
            "30,000 images with one config of 4 MB",
            list(30_000),
            large,
            "MAX_CONFIGS",
        ),
        (
            "200,000 images",
            list(200_000),
            config.clone(),
            "MAX_JSON_VALUES",
        ),
        (
            "a manifest of brackets",
            nested(100_000),
            config.clone(),
            "is not valid",
        ),
        (
            "a config of brackets",
            list(1),
            [br#"{"a":"#.to_vec(), nested(10_000), b"}".to_vec()].concat(),
            "is not valid",
        ),
        (
            "a history of nothing",
            list(1),
            format!(r#"{{"history":[{empties}]}}"#).into_bytes(),
            "MAX_JSON_VALUES",
        ),
        (
            "fields of nothing",
            list(1),
            format!(r#"{{"x":[{empties}]}}"#).into_bytes(),
            "MAX_JSON_VALUES",
        ),
        (
            "a config that is a manifest",
            list(1),
            br#"{"os":"linux","layers":[],"rootfs":{"diff_ids":[]}}"#.to_vec(),
            "two different images",
        ),
        (
            "no manifest at all",
            b"".to_vec(),
            config.clone(),
            "is not valid",
        ),
    ];
    for (what, manifest, config, text) in rows {
        let path = archive(&case, &manifest, &config, None);
        push(what, &case, &path, Fails(text));
    }
    let layer = Forged::gzip(|f| {
        let long = vec![b'v'; 900_000];
        (0..1_500).for_each(|n| {
            f.record(b'x', &format!("c{n}"), &long);
        });
    });
    let config = json!({ "os": "linux", "rootfs": { "diff_ids": [layer.diff_id] } }).to_string();
    let manifest = br#"[{"Config":"c.json","Layers":["l.tar"]}]"#;
    let path = archive(&case, manifest, config.as_bytes(), Some(&layer));
    push("a layer of headers", &case, &path, Fails("MAX_EXTENSIONS"));

    let layout = |name: &str| case.path(&format!("out/{name}"));
    let plain = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] } });
    let dir = layout("long");
    write_documents(&dir, &plain, &[], &json!({}));
    let index = std::fs::read(dir.join("index.json")).unwrap();
    std::fs::write(
        dir.join("index.json"),
        [index.clone(), vec![b' '; 20 << 20]].concat(),
    )
    .unwrap();
    push("an index of 20 MB", &case, &dir, Fails("MAX_DOCUMENT"));
    let text = String::from_utf8(index).unwrap();
    std::fs::write(
        dir.join("index.json"),
        text.replacen('{', r#"{"layers":[],"#, 1),
    )
    .unwrap();
    push(
        "an index with layers",
        &case,
        &dir,
        Fails("two different images"),
    );
    std::fs::write(
        dir.join("index.json"),
        format!(r#"{{"manifests":[{empties}]}}"#),
    )
    .unwrap();
    push("an index of nothing", &case, &dir, Fails("MAX_JSON_VALUES"));
    std::fs::write(dir.join("oci-layout"), nested(1 << 20)).unwrap();
    push("a marker of brackets", &case, &dir, Fails("layout version"));
    let dir = layout("both");
    write_documents(&dir, &plain, &[], &json!({ "manifests": [] }));
    push(
        "a manifest with manifests",
        &case,
        &dir,
        Fails("two different images"),
    );
    let dir = layout("layers");
    let tiny = Forged::raw(b"x".to_vec(), "");
    write_documents(&dir, &plain, &vec![tiny; 1_001], &json!({}));
    push(
        "a manifest with 1,001 layers",
        &case,
        &dir,
        Fails("MAX_LAYERS"),
    );
    let dir = layout("name");
    write_documents(
        &dir,
        &plain,
        &[],
        &json!({ "mediaType": "\u{1b}[31m".repeat(100_000) }),
    );
    push("a media type of a megabyte", &case, &dir, Somehow);
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
