//! The same without privilege: as a user who may not give files away.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use kiln_layer::{ExtractOptions, LayerReader, Owners, Root, extract};
use rustix::fs::{Gid, Uid};

use crate::disk::seen;
use crate::lines::{layer, lines};
use crate::privilege::skipped_without_chown;

/// Does `work` on a thread that belongs to nobody; users, groups and capabilities are each thread's own.
fn as_nobody(dir: &Path, work: impl FnOnce() + Send) {
    let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
    rustix::fs::chown(dir, Some(user), Some(group)).unwrap();
    std::thread::scope(|scope| {
        let done = scope.spawn(move || {
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            work();
        });
        done.join().unwrap();
    });
}

// conformance: G35
#[test]
fn modes_that_lock_out_the_owner_are_set_all_the_same() {
    if skipped_without_chown() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = ExtractOptions {
        owners: Owners::Ignore,
        ..ExtractOptions::default()
    };
    let packed = layer(&[
        "d closed %0",
        "d closed/in %300",
        "f closed/in/f 1 %0 @5:6",
        "l closed/l -> in",
        "p closed/p %0",
        "h closed/h = closed/in/f",
    ]);
    as_nobody(dir.path(), || {
        let root = Root::open(dir.path()).unwrap();
        let report = extract(LayerReader::new(packed.as_slice()), &root, &options).unwrap();
        assert_eq!(report.skipped, []);
    });
    let own = fs::metadata(dir.path()).unwrap();
    let found = lines(&seen(dir.path()), (own.uid(), own.gid()));
    let expected = [
        "d closed %0",
        "f closed/h 1 %0",
        "d closed/in %300",
        "h closed/in/f = closed/h",
        "l closed/l -> in",
        "p closed/p %0",
    ];
    assert_eq!(found, expected);
}

// conformance: G29
#[test]
fn a_closed_directory_of_a_lower_layer_gets_the_new_mode() {
    if skipped_without_chown() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let options = ExtractOptions {
        owners: Owners::Ignore,
        ..ExtractOptions::default()
    };
    as_nobody(dir.path(), || {
        let root = Root::open(dir.path()).unwrap();
        for line in ["d d %0", "d d %711"] {
            let packed = layer(&[line]);
            extract(LayerReader::new(packed.as_slice()), &root, &options).unwrap();
        }
    });
    let mode = fs::metadata(dir.path().join("d"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o711);
}
