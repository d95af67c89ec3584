//! Changes in the same moment as a look, and roots that do not rest.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_layer::{Compression, LayerWriter, WriterOptions};
use kiln_snapshot::{ChangeSet, Filter, Scan, SnapshotError};

use crate::tree::{base, layer, listed, touch, write};

// conformance: G20
#[test]
fn the_same_size_and_time_right_after_a_look() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    write(root, "file", "0000");
    touch(&root.join("file"), 1);
    let mut scan = Scan::take(root, &Filter::default(), 1).unwrap();
    for round in 0..200 {
        write(root, "file", format!("{:04}", round + 1));
        touch(&root.join("file"), 1);
        let changes = scan.diff(root).unwrap();
        assert_eq!(listed(&changes), ["f file"], "round {round}");
    }
}

// conformance: G20
#[test]
fn much_recent_data_is_waited_for_instead_of_read() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    write(root, "big", vec![7; 17 << 20]);
    let mut scan = Scan::take(root, &Filter::default(), 1).unwrap();
    assert!(scan.diff(root).unwrap().is_empty());
    write(root, "big", vec![8; 17 << 20]);
    assert_eq!(listed(&scan.diff(root).unwrap()), ["f big"]);
}

fn changed() -> (tempfile::TempDir, ChangeSet) {
    let scratch = tempfile::tempdir().unwrap();
    let mut scan = Scan::take(scratch.path(), &Filter::default(), 1).unwrap();
    base(scratch.path());
    let changes = scan.diff(scratch.path()).unwrap();
    (scratch, changes)
}

fn write_error(changes: &ChangeSet) -> SnapshotError {
    let mut writer = LayerWriter::new(Vec::new(), Compression::None, WriterOptions::default());
    changes.write(&mut writer).unwrap_err()
}

// conformance: G22
// conformance: E50
#[test]
fn another_size_is_an_error() {
    let (root, changes) = changed();
    write(root.path(), "etc/hosts", "longer than before");
    assert_eq!(
        write_error(&changes).to_string(),
        "`etc/hosts` changed while it was read: expected 9 bytes, found 18"
    );
}

// conformance: G22
#[test]
fn a_file_that_is_gone_or_became_a_link_is_an_error() {
    let (root, changes) = changed();
    let hosts = root.path().join("etc/hosts");
    fs::remove_file(&hosts).unwrap();
    let text = "`etc/hosts` was replaced or removed before it could be read";
    assert_eq!(write_error(&changes).to_string(), text);
    std::os::unix::fs::symlink("passwd", &hosts).unwrap();
    assert_eq!(write_error(&changes).to_string(), text);
    fs::remove_file(&hosts).unwrap();
    nix::unistd::mkfifo(&hosts, nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(write_error(&changes).to_string(), text);
}

#[test]
fn the_same_tree_gives_the_same_bytes_with_any_number_of_threads() {
    let scratch = tempfile::tempdir().unwrap();
    let mut scans: Vec<_> = [1, 2, 5]
        .iter()
        .map(|threads| Scan::take(scratch.path(), &Filter::default(), *threads).unwrap())
        .collect();
    for number in 0..300 {
        write(
            scratch.path(),
            &format!("{}/{number}", number % 7),
            number.to_string(),
        );
    }
    base(scratch.path());
    let layers: Vec<_> = scans
        .iter_mut()
        .map(|scan| layer(&scan.diff(scratch.path()).unwrap()))
        .collect();
    assert!(layers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_very_deep_tree_is_walked() {
    let scratch = tempfile::tempdir().unwrap();
    let mut scan = Scan::take(scratch.path(), &Filter::default(), 2).unwrap();
    // Longer than a path may be in one call.
    let mut at = rustix::fs::open(
        scratch.path(),
        rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..2040 {
        rustix::fs::mkdirat(&at, "d", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(
            &at,
            "d",
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    let changes = scan.diff(scratch.path()).unwrap();
    assert_eq!(changes.entries().len(), 2040);
    assert_eq!(scan.len(), 2040);
}

/// Temporary files come and go while a root is walked; the walk goes on without them.
// conformance: G22
#[test]
fn what_vanishes_during_a_walk_is_no_error() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    base(root);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for at in 0..50 {
                    write(root, &format!("dir/come-{at}/and/go"), "x");
                    std::os::unix::fs::symlink("x", root.join(format!("dir/l-{at}"))).unwrap();
                }
                for at in 0..50 {
                    fs::remove_dir_all(root.join(format!("dir/come-{at}"))).unwrap();
                    fs::remove_file(root.join(format!("dir/l-{at}"))).unwrap();
                }
            }
        });
        let looks: Vec<_> = (0..50)
            .map(|_| {
                let mut scan = Scan::take(root, &Filter::default(), 2)?;
                scan.diff(root).map(drop)
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        for look in looks {
            look.unwrap();
        }
    });
}
