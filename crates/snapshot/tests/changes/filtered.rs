//! What must not be looked at.

use std::fs;
use std::os::unix::fs::symlink;

use kiln_layer::ImagePath;
use kiln_snapshot::{Filter, Scan, overlay_changes};
use nix::mount::{MsFlags, mount, umount};

use crate::mounted::{Overlay, Xattrs, can_mount};
use crate::tree::{base, listed, write};

fn ignoring(paths: &[&str]) -> Filter {
    Filter::new(paths.iter().map(|path| ImagePath::from(*path)))
}

// conformance: G24
// conformance: G25
#[test]
fn ignored_paths_are_not_recorded() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    base(root);
    let mut scan = Scan::take(root, &ignoring(&["dir/sub", "et", "link", "new"]), 2).unwrap();
    write(root, "dir/sub/x", "");
    write(root, "dir/subway", "");
    write(root, "etc/x", "");
    write(root, "new/x", "");
    fs::remove_file(root.join("link")).unwrap();
    assert_eq!(
        listed(&scan.diff(root).unwrap()),
        ["d dir", "f dir/subway", "d etc", "f etc/x"]
    );
}

// conformance: G25
#[test]
fn an_ignored_path_below_a_link_is_where_the_link_leads() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    fs::create_dir_all(root.join("run")).unwrap();
    fs::create_dir_all(root.join("var")).unwrap();
    symlink("/run", root.join("var/run")).unwrap();
    let mut scan = Scan::take(root, &ignoring(&["var/run/lock"]), 2).unwrap();
    write(root, "run/lock/held", "");
    write(root, "run/locked", "");
    assert_eq!(listed(&scan.diff(root).unwrap()), ["d run", "f run/locked"]);
}

// conformance: G26
#[test]
fn what_is_ignored_is_never_whited_out() {
    let scratch = tempfile::tempdir().unwrap();
    let lower = scratch.path().join("lower");
    fs::create_dir(&lower).unwrap();
    base(&lower);
    write(&lower, "dir/sub/deep/four", "4");
    let filter = ignoring(&["dir/sub/deep"]);
    let expected = ["x dir/one", "x dir/sub/three", "x dir/two"];
    if can_mount(Xattrs::Trusted) {
        let mounted = Overlay::mount(
            scratch.path(),
            std::slice::from_ref(&lower),
            Xattrs::Trusted,
        );
        fs::remove_dir_all(mounted.merged.join("dir")).unwrap();
        let changes =
            overlay_changes(&mounted.upper, std::slice::from_ref(&lower), &filter).unwrap();
        assert_eq!(listed(&changes), expected);
    }
    let mut scan = Scan::take(&lower, &filter, 2).unwrap();
    fs::remove_dir_all(lower.join("dir")).unwrap();
    assert_eq!(listed(&scan.diff(&lower).unwrap()), expected);
}

// conformance: G24
#[test]
fn mount_points_are_left_out_whenever_they_appear() {
    let scratch = tempfile::tempdir().unwrap();
    if !can_mount(Xattrs::Trusted) {
        return;
    }
    let root = scratch.path();
    base(root);
    let none: Option<&str> = None;
    let tmpfs = |path| {
        mount(
            Some("tmpfs"),
            &root.join(path),
            Some("tmpfs"),
            MsFlags::empty(),
            none,
        )
        .unwrap();
    };
    tmpfs("empty");
    // Threads of a pool do not see the mounts of this one: walk on this thread.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread()
        .build()
        .unwrap();
    pool.install(|| {
        let mut scan = Scan::take(root, &Filter::default(), 0).unwrap();
        tmpfs("dir");
        write(root, "empty/x", "");
        write(root, "dir/x", "");
        write(root, "etc/x", "");
        let found = listed(&scan.diff(root).unwrap());
        assert_eq!(found, ["d etc", "f etc/x"]);
        let below: Vec<_> = kiln_snapshot::mount_points_below(root).unwrap();
        assert_eq!(below, [ImagePath::from("dir"), ImagePath::from("empty")]);
        assert_eq!(listed(&scan.diff(root).unwrap()), [""; 0]);
    });
    for path in ["empty", "dir"] {
        umount(&root.join(path)).unwrap();
    }
}

#[test]
fn ignoring_the_root_ignores_all() {
    let scratch = tempfile::tempdir().unwrap();
    let mut scan = Scan::take(scratch.path(), &ignoring(&[""]), 1).unwrap();
    base(scratch.path());
    assert!(scan.diff(scratch.path()).unwrap().is_empty());
    let changes = overlay_changes(scratch.path(), &[], &ignoring(&[""])).unwrap();
    assert!(changes.is_empty());
}
