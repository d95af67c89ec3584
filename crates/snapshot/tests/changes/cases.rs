//! One step each, and the entries both methods give for it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use kiln_layer::{Compression, LayerWriter, WriterOptions};
use kiln_snapshot::{Contents, Filter, Scan, overlay_changes};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use crate::mounted::{Overlay, Xattrs, can_mount};
use crate::tree::{
    LONG_AGO, apply, base, chmod, described, is_root, layer, listed, set_note, touch, write,
};

struct Case {
    name: &'static str,
    step: fn(&Path),
    expected: &'static [&'static str],
    /// Where a scan sees more (conformance: G7).
    scanned: Option<&'static [&'static str]>,
}

const fn case(name: &'static str, step: fn(&Path), expected: &'static [&'static str]) -> Case {
    Case {
        name,
        step,
        expected,
        scanned: None,
    }
}

const CASES: &[Case] = &[
    case("nothing", |_| {}, &[]),
    case(
        "G3 parents",
        |r| write(r, "dir/sub/new", ""),
        &["d dir", "d dir/sub", "f dir/sub/new"],
    ),
    case(
        "G3 the root itself",
        |r| {
            chmod(r, 0o711);
            touch(r, 7);
        },
        &[],
    ),
    case(
        "G2 order",
        |r| {
            for name in ["n/a.b", "n/a/x", "n/a-", "n/B"] {
                write(r, name, "");
            }
        },
        &["d n", "f n/B", "d n/a", "f n/a/x", "f n/a-", "f n/a.b"],
    ),
    case(
        "G6 new names of one file",
        |r| {
            write(r, "x/1", "data");
            fs::hard_link(r.join("x/1"), r.join("a")).unwrap();
            fs::hard_link(r.join("x/1"), r.join("x/2")).unwrap();
        },
        &["f a", "d x", "h x/1 = a", "h x/2 = a"],
    ),
    Case {
        name: "G7 linked file changed in place",
        step: |r| write(r, "bin/b", "another"),
        expected: &["d bin", "f bin/b"],
        scanned: Some(&["d bin", "f bin/a", "h bin/b = bin/a"]),
    },
    // finding 26
    case(
        "G7 new name of an old file",
        |r| fs::hard_link(r.join("etc/hosts"), r.join("hosts")).unwrap(),
        &["d etc", "f etc/hosts", "h hosts = etc/hosts"],
    ),
    Case {
        name: "G7 new name of a file with two",
        step: |r| fs::hard_link(r.join("bin/b"), r.join("c")).unwrap(),
        // The overlay has forgotten the other one.
        expected: &["d bin", "f bin/b", "h c = bin/b"],
        scanned: Some(&["d bin", "f bin/a", "h bin/b = bin/a", "h c = bin/a"]),
    },
    case(
        "G8 file removed",
        |r| fs::remove_file(r.join("dir/one")).unwrap(),
        &["d dir", "x dir/one"],
    ),
    case(
        "G9 made again with other content",
        |r| {
            fs::remove_dir_all(r.join("dir")).unwrap();
            write(r, "dir/fresh", "");
        },
        &[
            "d dir",
            "f dir/fresh",
            "x dir/one",
            "x dir/sub",
            "x dir/two",
        ],
    ),
    case(
        "G9 made again, deeper",
        |r| {
            fs::remove_dir_all(r.join("dir")).unwrap();
            write(r, "dir/sub/four", "");
        },
        &[
            "d dir",
            "x dir/one",
            "d dir/sub",
            "f dir/sub/four",
            "x dir/sub/three",
            "x dir/two",
        ],
    ),
    case(
        "G9 made again and empty as before",
        |r| {
            fs::remove_dir(r.join("empty")).unwrap();
            fs::create_dir(r.join("empty")).unwrap();
        },
        &[],
    ),
    case(
        "G10 directory becomes file",
        |r| {
            fs::remove_dir_all(r.join("dir")).unwrap();
            write(r, "dir", "");
        },
        &["f dir"],
    ),
    case(
        "G10 file becomes directory",
        |r| {
            fs::remove_file(r.join("dir/one")).unwrap();
            write(r, "dir/one/x", "");
        },
        &["d dir", "d dir/one", "f dir/one/x"],
    ),
    case(
        "G10 link becomes directory, directory becomes link",
        |r| {
            fs::remove_file(r.join("link")).unwrap();
            fs::create_dir(r.join("link")).unwrap();
            fs::remove_dir(r.join("empty")).unwrap();
            symlink("dir", r.join("empty")).unwrap();
        },
        &["l empty -> dir", "d link"],
    ),
    case(
        "G11 one of two names",
        |r| fs::remove_file(r.join("bin/b")).unwrap(),
        &["d bin", "x bin/b"],
    ),
    case(
        "G12 time of a file",
        |r| touch(&r.join("etc/passwd"), 7),
        &["d etc", "f etc/passwd"],
    ),
    case(
        "G12 time of a link",
        |r| touch(&r.join("link"), 7),
        &["l link -> etc/passwd"],
    ),
    case("G12 time of a directory", |r| touch(&r.join("etc"), 7), &[]),
    case(
        "G13 mode and owner as before",
        |r| {
            let meta = fs::metadata(r.join("etc/passwd")).unwrap();
            chmod(&r.join("etc/passwd"), meta.mode() & 0o7777);
            chown(r.join("etc/hosts"), Some(meta.uid()), Some(meta.gid())).unwrap();
        },
        &[],
    ),
    case(
        "G13 made and removed",
        |r| {
            write(r, "etc/tmp", "");
            fs::remove_file(r.join("etc/tmp")).unwrap();
            write(r, "t/t/t", "");
            fs::remove_dir_all(r.join("t")).unwrap();
        },
        &[],
    ),
    case(
        "G13 renamed and back",
        |r| {
            fs::rename(r.join("dir/one"), r.join("away")).unwrap();
            fs::rename(r.join("away"), r.join("dir/one")).unwrap();
        },
        &[],
    ),
    case(
        "G13 opened for writing, read",
        |r| {
            fs::OpenOptions::new()
                .write(true)
                .open(r.join("etc/hosts"))
                .unwrap();
            fs::read(r.join("etc/passwd")).unwrap();
        },
        &[],
    ),
    case(
        "G13 time of access",
        |r| {
            let long_before = fs::FileTimes::new().set_accessed(std::time::UNIX_EPOCH);
            let hosts = fs::File::open(r.join("etc/hosts")).unwrap();
            hosts.set_times(long_before).unwrap();
        },
        &[],
    ),
    case(
        "G14 mode",
        |r| chmod(&r.join("etc/passwd"), 0o4711),
        &["d etc", "f etc/passwd"],
    ),
    case(
        "G14 mode of a directory",
        |r| chmod(&r.join("empty"), 0o700),
        &["d empty"],
    ),
    case(
        "G14 link target of the same length and time",
        |r| {
            fs::remove_file(r.join("link")).unwrap();
            symlink("etc/passwD", r.join("link")).unwrap();
            touch(&r.join("link"), LONG_AGO);
        },
        &["l link -> etc/passwD"],
    ),
    case(
        "G16 sockets and fifos",
        |r| {
            drop(UnixListener::bind(r.join("socket")).unwrap());
            mkfifo(&r.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        },
        &["p fifo"],
    ),
    case(
        "G16 socket in place of a file",
        |r| {
            fs::remove_file(r.join("dir/one")).unwrap();
            drop(UnixListener::bind(r.join("dir/one")).unwrap());
        },
        &["d dir", "x dir/one"],
    ),
    case(
        "G17 odd names",
        |r| {
            write(r, "n/.wh", "");
            write(r, "n/new\nline", "");
        },
        &["d n", "f n/.wh", "f n/new\nline"],
    ),
    case(
        "G20 size and time as before",
        |r| {
            write(r, "etc/passwd", "toor");
            touch(&r.join("etc/passwd"), LONG_AGO);
        },
        &["d etc", "f etc/passwd"],
    ),
];

/// Steps that only root can take.
const BY_ROOT: &[Case] = &[
    case(
        "G14 user",
        |r| chown(r.join("etc/passwd"), Some(5), None).unwrap(),
        &["d etc", "f etc/passwd"],
    ),
    case(
        "G14 group",
        |r| chown(r.join("etc/passwd"), None, Some(6)).unwrap(),
        &["d etc", "f etc/passwd"],
    ),
    case(
        "G14 owner",
        |r| chown(r.join("etc/passwd"), Some(5), Some(6)).unwrap(),
        &["d etc", "f etc/passwd"],
    ),
    case(
        "G16 devices",
        |r| {
            let mode = Mode::from_bits_truncate(0o600);
            mknod(&r.join("null"), SFlag::S_IFCHR, mode, makedev(1, 3)).unwrap();
            mknod(&r.join("loop"), SFlag::S_IFBLK, mode, makedev(7, 0)).unwrap();
        },
        &["b loop 7:0", "c null 1:3"],
    ),
    case(
        "G17 unreadable",
        |r| {
            write(r, "secret", "x");
            chmod(&r.join("secret"), 0);
        },
        &["f secret"],
    ),
];

fn rows() -> impl Iterator<Item = &'static Case> {
    let by_root = if is_root() { BY_ROOT } else { &[] };
    assert!(!CASES.is_empty() && !BY_ROOT.is_empty());
    CASES.iter().chain(by_root)
}

fn scan(case: &Case, contents: Contents) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    base(root);
    let mut scan = Scan::take_with(root, &Filter::default(), 2, contents).unwrap();
    (case.step)(root);
    let found = listed(&scan.diff(root).unwrap());
    let again = listed(&scan.diff(root).unwrap());
    assert_eq!(
        again, [""; 0],
        "{}: the second look finds nothing",
        case.name
    );
    found
}

// conformance: G2 G3 G6 G7 G9 G10 G11 G12 G13 G14 G15 G16 G17 G20
#[test]
fn a_scan_that_remembers_contents_is_exact() {
    for case in rows() {
        let expected = case.scanned.unwrap_or(case.expected);
        assert_eq!(scan(case, Contents::All), expected, "{}", case.name);
    }
}

#[test]
fn a_scan_never_misses_anything() {
    for case in rows() {
        let found = scan(case, Contents::Recent);
        for line in case.expected {
            // A file with further names may be recorded under another one first.
            let linked = line.replacen("f ", "h ", 1);
            let linked = linked.split(" = ").next().unwrap_or_default();
            let is_there = found
                .iter()
                .any(|found| found == line || found.starts_with(linked));
            assert!(is_there, "{}: {line} not in {found:?}", case.name);
        }
    }
}

// conformance: G2 G3 G6 G7 G9 G10 G11 G12 G13 G14 G15 G16 G17 G20
#[test]
fn an_overlay_is_exact() {
    if !can_mount(Xattrs::Trusted) {
        return;
    }
    for case in rows() {
        assert_eq!(
            overlay(case, Xattrs::Trusted),
            case.expected,
            "{}",
            case.name
        );
    }
}

#[test]
fn an_overlay_with_user_attributes_is_exact() {
    if !can_mount(Xattrs::User) {
        return;
    }
    for case in rows() {
        assert_eq!(overlay(case, Xattrs::User), case.expected, "{}", case.name);
    }
}

fn overlay(case: &Case, xattrs: Xattrs) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let lower = scratch.path().join("lower");
    fs::create_dir(&lower).unwrap();
    base(&lower);
    let before = described(&lower);
    let mounted = Overlay::mount(scratch.path(), std::slice::from_ref(&lower), xattrs);
    (case.step)(&mounted.merged);
    assert_eq!(described(&lower), before);
    listed(&overlay_changes(&mounted.upper, &[lower], &Filter::default()).unwrap())
}

// conformance: G3
// conformance: G14
// conformance: G19
#[test]
fn entries_carry_metadata_and_attributes() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    base(root);
    if let Err(error) = set_note(&root.join("empty"), "") {
        kiln_skip::skipped(format!("no user attributes here: {error}"));
        return;
    }
    let mut scan = Scan::take_with(root, &Filter::default(), 1, Contents::All).unwrap();
    set_note(&root.join("dir/sub"), "of a directory").unwrap();
    set_note(&root.join("etc/passwd"), "of a file").unwrap();
    if is_root() {
        let value = b"x";
        let none = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(root.join("etc/passwd"), "trusted.kiln", value, none).unwrap();
    }
    chmod(&root.join("etc/passwd"), 0o604);
    touch(&root.join("etc"), 77);
    let changes = scan.diff(root).unwrap();
    let lines: Vec<_> = changes
        .entries()
        .iter()
        .map(|entry| {
            let line = entry.to_string();
            let owner = format!(" {}:{} ", entry.uid, entry.gid);
            line.replace(&owner, " ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "d 0755 1000000000 /dir",
            "d 0755 1000000000 /dir/sub user.note=of a directory",
            "d 0755 77 /etc",
            "- 0604 1000000000 /etc/passwd 4 user.note=of a file",
        ]
    );
}

// conformance: G14
#[test]
fn another_device_number_is_recorded() {
    if !is_root() {
        kiln_skip::skipped("device nodes need root");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let lower = scratch.path().join("lower");
    fs::create_dir(&lower).unwrap();
    let make = |root: &Path, minor| {
        let node = root.join("node");
        let _ = fs::remove_file(&node);
        let mode = Mode::from_bits_truncate(0o600);
        mknod(&node, SFlag::S_IFCHR, mode, makedev(1, minor)).unwrap();
        touch(&node, LONG_AGO);
    };
    make(&lower, 3);
    let lowers = std::slice::from_ref(&lower);
    if can_mount(Xattrs::Trusted) {
        let mounted = Overlay::mount(scratch.path(), lowers, Xattrs::Trusted);
        make(&mounted.merged, 5);
        let changes = overlay_changes(&mounted.upper, lowers, &Filter::default()).unwrap();
        assert_eq!(listed(&changes), ["c node 1:5"]);
    }
    let mut scan = Scan::take_with(&lower, &Filter::default(), 2, Contents::All).unwrap();
    make(&lower, 5);
    assert_eq!(listed(&scan.diff(&lower).unwrap()), ["c node 1:5"]);
}

/// What a file may and may not be does not keep it out of the layer, nor does it change there.
// conformance: G17 G18
#[test]
fn odd_modes_and_holes_come_back() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let mut scan = Scan::take(root, &Filter::default(), 1).unwrap();
    // Others than root cannot read what they may not read.
    let modes: &[u32] = if is_root() {
        &[0, 0o111, 0o7777]
    } else {
        &[0o511, 0o7777]
    };
    for mode in modes {
        let name = format!("{mode:o}");
        write(root, &name, &name);
        chmod(&root.join(&name), *mode);
    }
    let hole = 1 << 20;
    let file = fs::File::create(root.join("hole")).unwrap();
    file.set_len(hole).unwrap();
    let packed = layer(&scan.diff(root).unwrap());
    assert!(packed.len() as u64 > hole, "holes are written as zeros");
    let copy = tempfile::tempdir().unwrap();
    apply(&packed, copy.path());
    assert_eq!(described(copy.path()), described(root));
}

/// Only root reads everything; for anybody else it is an error, and no file is left out without a word.
// conformance: G17
#[test]
fn what_cannot_be_read_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    chmod(root, 0o755);
    let mut scan = Scan::take(root, &Filter::default(), 1).unwrap();
    write(root, "secret", "x");
    chmod(&root.join("secret"), 0);
    let changes = scan.diff(root).unwrap();
    let write = || {
        let options = WriterOptions::default();
        let mut writer = LayerWriter::new(Vec::new(), Compression::None, options);
        changes.write(&mut writer)
    };
    let written = if is_root() {
        // Of this thread only, and what it loses comes back with the user.
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        let written = write();
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
        write().unwrap();
        written
    } else {
        write()
    };
    let error = written.unwrap_err().to_string();
    assert!(error.contains("secret"), "{error}");
}
