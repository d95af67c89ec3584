//! Upper and lower directories written by hand, in the forms other kernels and mounts use.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_snapshot::{Filter, SnapshotError, overlay_changes};
use rustix::fs::{XattrFlags, setxattr};

use crate::tree::{age, base, listed, write};

fn mark(path: &Path, name: &str, value: &str) -> bool {
    let marked = setxattr(path, name, value.as_bytes(), XattrFlags::empty());
    if let Err(error) = marked {
        kiln_skip::skipped(format!("cannot set `{name}`: {error}"));
    }
    marked.is_ok()
}

/// Directories of these names; the last is the bottom, with the base tree.
fn stack(at: &Path, names: &[&str]) -> Vec<PathBuf> {
    let dirs: Vec<_> = names.iter().map(|name| at.join(name)).collect();
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    base(dirs.last().unwrap());
    dirs
}

fn changes(dirs: &[PathBuf]) -> Vec<String> {
    let (upper, lowers) = dirs.split_first().unwrap();
    listed(&overlay_changes(upper, lowers, &Filter::default()).unwrap())
}

// conformance: G9
#[test]
fn marks_in_user_attributes_count() {
    let scratch = tempfile::tempdir().unwrap();
    let dirs = stack(scratch.path(), &["upper", "bottom"]);
    write(&dirs[0], "dir/new", "");
    write(&dirs[0], "etc/hosts", "");
    if mark(&dirs[0].join("dir"), "user.overlay.opaque", "y")
        && mark(&dirs[0].join("etc"), "user.overlay.opaque", "x")
        && mark(&dirs[0].join("etc/hosts"), "user.overlay.whiteout", "")
    {
        let expected = [
            "d dir",
            "f dir/new",
            "x dir/one",
            "x dir/sub",
            "x dir/two",
            "d etc",
            "x etc/hosts",
        ];
        assert_eq!(changes(&dirs), expected);
    }
}

#[test]
fn earlier_steps_hide_what_lies_below() {
    let scratch = tempfile::tempdir().unwrap();
    let dirs = stack(scratch.path(), &["upper", "middle", "bottom"]);
    // An earlier step removed two files, and made a directory anew.
    write(&dirs[1], "dir/kept", "");
    write(&dirs[1], "etc/hosts", "");
    if !mark(&dirs[1].join("dir"), "user.overlay.opaque", "y")
        || !mark(&dirs[1].join("etc/hosts"), "user.overlay.whiteout", "")
    {
        return;
    }
    // This one empties them: nothing that was gone already may be deleted again.
    write(&dirs[0], "dir/new", "");
    write(&dirs[0], "etc/new", "");
    for dir in ["dir", "etc"] {
        assert!(mark(&dirs[0].join(dir), "user.overlay.opaque", "y"));
    }
    // The directory of the bottom is older, so the metadata to compare with is that of the middle.
    age(&dirs[1]);
    assert_eq!(
        changes(&dirs),
        [
            "d dir",
            "x dir/kept",
            "f dir/new",
            "d etc",
            "f etc/new",
            "x etc/passwd"
        ]
    );
}

#[test]
fn redirects_and_metadata_copies_are_refused() {
    for (path, name) in [
        ("dir", "user.overlay.redirect"),
        ("etc/hosts", "user.overlay.metacopy"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let dirs = stack(scratch.path(), &["upper", "bottom"]);
        base(&dirs[0]);
        if mark(&dirs[0].join(path), name, "elsewhere") {
            let error = overlay_changes(&dirs[0], &dirs[1..], &Filter::default()).unwrap_err();
            let SnapshotError::Redirected {
                path: named,
                attribute,
            } = &error
            else {
                panic!("{error:?}");
            };
            assert_eq!((named, attribute.as_str()), (&dirs[0].join(path), name));
        }
    }
}

#[test]
fn an_equal_copy_is_no_change() {
    let scratch = tempfile::tempdir().unwrap();
    let dirs = stack(scratch.path(), &["upper", "bottom"]);
    base(&dirs[0]);
    assert_eq!(changes(&dirs), [""; 0]);
}

#[test]
fn a_missing_directory_is_named() {
    let error =
        overlay_changes(Path::new("/nonexistent/upper"), &[], &Filter::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open the directory `/nonexistent/upper`"
    );
}
