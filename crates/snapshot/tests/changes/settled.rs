//! Files in doubt, and the layers that know.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kiln_layer::{Entry, ImagePath, LayerReader};
use kiln_snapshot::{ChangeSet, Filter, Scan};

use crate::tree::{LONG_AGO, apply, base, chmod, layer, listed, touch, write};

/// A root with the base tree and the layer it could have come from.
fn unpacked() -> (tempfile::TempDir, Scan, Vec<u8>) {
    let scratch = tempfile::tempdir().unwrap();
    let mut scan = Scan::take(scratch.path(), &Filter::default(), 1).unwrap();
    base(scratch.path());
    let base = layer(&scan.diff(scratch.path()).unwrap());
    // Once the clock has ticked nothing is remembered but metadata.
    std::thread::sleep(std::time::Duration::from_millis(60));
    let scan = Scan::take(scratch.path(), &Filter::default(), 1).unwrap();
    (scratch, scan, base)
}

/// Asks the layer about each file that is in doubt under its own name.
fn settle(changes: &mut ChangeSet, layer: &[u8]) -> usize {
    let names: BTreeMap<_, _> = changes
        .doubtful()
        .map(|path| (path.clone(), vec![path.clone()]))
        .collect();
    changes.settle(LayerReader::new(layer), &names).unwrap()
}

// conformance: G13
#[test]
fn files_as_the_layer_has_them_are_no_change() {
    let (root, mut scan, layer) = unpacked();
    let root = root.path();
    chmod(&root.join("etc/passwd"), 0o644);
    fs::rename(root.join("dir/one"), root.join("away")).unwrap();
    fs::rename(root.join("away"), root.join("dir/one")).unwrap();
    write(root, "etc/hosts", "LOCALHOST");
    touch(&root.join("etc/hosts"), LONG_AGO);
    let mut changes = scan.diff(root).unwrap();
    let in_doubt: Vec<_> = changes.doubtful().map(ToString::to_string).collect();
    assert_eq!(in_doubt, ["dir/one", "etc/hosts", "etc/passwd"]);
    assert_eq!(settle(&mut changes, &layer), 2);
    assert_eq!(listed(&changes), ["d etc", "f etc/hosts"]);
}

// conformance: G11
#[test]
fn the_remaining_name_of_a_file_is_no_change() {
    let (root, mut scan, layer) = unpacked();
    fs::remove_file(root.path().join("bin/b")).unwrap();
    let mut changes = scan.diff(root.path()).unwrap();
    assert_eq!(listed(&changes), ["d bin", "f bin/a", "x bin/b"]);
    assert_eq!(settle(&mut changes, &layer), 1);
    assert_eq!(listed(&changes), ["d bin", "x bin/b"]);
}

// conformance: G7
#[test]
fn a_new_name_brings_the_old_ones_along() {
    let (root, mut scan, layer) = unpacked();
    fs::hard_link(root.path().join("etc/hosts"), root.path().join("hosts")).unwrap();
    let mut changes = scan.diff(root.path()).unwrap();
    assert_eq!(
        listed(&changes),
        ["d etc", "f etc/hosts", "h hosts = etc/hosts"]
    );
    assert_eq!(settle(&mut changes, &layer), 0, "nothing is in doubt");
    assert_eq!(
        listed(&changes),
        ["d etc", "f etc/hosts", "h hosts = etc/hosts"]
    );
    let joined: Vec<String> = changes.joined().map(ToString::to_string).collect();
    assert_eq!(joined, ["etc/hosts"]);
}

/// The names that an overlay forgets come from whoever knows the layers.
// finding 26
// conformance: G7
#[test]
fn names_can_be_added() {
    let (root, mut scan, _) = unpacked();
    write(root.path(), "m/new", "data");
    fs::hard_link(root.path().join("m/new"), root.path().join("n")).unwrap();
    fs::remove_file(root.path().join("dir/one")).unwrap();
    let mut changes = scan.diff(root.path()).unwrap();
    let names = ["a/first", "dir/one/x", "dir/one", "m/new", "z"].map(ImagePath::from);
    changes.add_names(&"m/new".into(), &names, |dir| {
        Some(Entry::directory(dir.clone()))
    });
    assert_eq!(
        listed(&changes),
        [
            "d a",
            "f a/first",
            "d dir",
            "x dir/one",
            "d m",
            "h m/new = a/first",
            "h n = a/first",
            "h z = a/first"
        ]
    );
    assert_eq!(
        described_after(&changes, root.path()),
        ["data"; 4],
        "the first name has the data, which the tree has under another one"
    );
}

/// What the names of the added file read after the layer was applied to nothing.
fn described_after(changes: &ChangeSet, root: &Path) -> Vec<String> {
    let scratch = tempfile::tempdir_in(root.parent().unwrap()).unwrap();
    apply(&layer(changes), scratch.path());
    ["a/first", "m/new", "n", "z"]
        .iter()
        .map(|path| fs::read_to_string(scratch.path().join(path)).unwrap())
        .collect()
}

#[test]
fn two_names_of_one_entry_are_settled_together() {
    let (root, mut scan, layer) = unpacked();
    chmod(&root.path().join("bin/a"), 0o644);
    let mut changes = scan.diff(root.path()).unwrap();
    assert_eq!(listed(&changes), ["d bin", "f bin/a", "h bin/b = bin/a"]);
    let names = BTreeMap::from([("bin/a".into(), vec!["bin/a".into(), "bin/b".into()])]);
    assert_eq!(
        changes
            .settle(LayerReader::new(&layer[..]), &names)
            .unwrap(),
        2
    );
    assert!(changes.is_empty());
}
