//! Overlays of the executor.

use std::fs;
use std::path::PathBuf;

use kiln_sandbox::{Mode, RunRoot, mount_overlay, mount_points, probe_overlay};

use crate::fixture::{Fixture, output, tree};
use crate::way::NAMESPACES;
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("overlay_as_root", NAMESPACES, overlay_as_root),
    test("overlay_of_many", NAMESPACES, overlay_of_many),
];

fn is_possible(fixture: &Fixture) -> bool {
    let Mode::Namespace { overlay_ok, .. } = fixture.entered.mode else {
        return false;
    };
    assert_eq!(probe_overlay(&fixture.work), overlay_ok);
    if !overlay_ok {
        println!("no overlay in {}", fixture.work.display());
    }
    overlay_ok
}

fn directories(fixture: &Fixture, names: &[&str]) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = names.iter().map(|name| fixture.work.join(name)).collect();
    for path in &paths {
        fs::create_dir(path).unwrap();
    }
    paths
}

/// Nothing but what the command did is in the upper directory once the parents that were only copied up are left out.
fn overlay_as_root(fixture: &Fixture) {
    if !is_possible(fixture) {
        return;
    }
    let paths = directories(fixture, &["upper", "work,with:odd\\name", "at"]);
    let [upper, work, at] = paths.as_slice() else {
        unreachable!()
    };
    let lower_before = tree(&fixture.root);
    // Twice, because the next step of a build may go on with the same directories.
    for round in ["one", "two"] {
        let mount = mount_overlay(std::slice::from_ref(&fixture.root), upper, work, at).unwrap();
        assert!(mount_points().unwrap().contains(at));
        let mut spec = fixture.sh(&format!("echo x >/tmp/{round}; rm -f /etc/passwd"));
        spec.root = RunRoot::Directory(at.clone());
        spec.mounts.push(kiln_sandbox::SandboxMount::Tmpfs {
            target: "/opt/t".into(),
            size: None,
            mode: 0o755,
        });
        output(&spec);
        assert!(at.join("tmp").join(round).exists());
        drop(mount);
        assert!(!mount_points().unwrap().contains(at));
    }
    let mut changed: Vec<String> = tree(upper)
        .keys()
        .filter_map(|path| Some(path.strip_prefix(upper).ok()?.to_str()?.to_owned()))
        .collect();
    changed.sort();
    assert_eq!(
        changed,
        ["", "etc", "etc/passwd", "tmp", "tmp/one", "tmp/two"]
    );
    assert_eq!(tree(&fixture.root), lower_before);
}

/// More layers than fit into the options of mount(2), by path and by descriptor.
fn overlay_of_many(fixture: &Fixture) {
    if !is_possible(fixture) {
        return;
    }
    for count in [3, 150, 400] {
        let base = fixture.work.join(format!("layers-{count}"));
        fs::create_dir(&base).unwrap();
        let lowers: Vec<PathBuf> = (0..count)
            .map(|number| base.join(format!("a-rather-long-name-for-a-layer-{number}")))
            .collect();
        for (number, lower) in lowers.iter().enumerate() {
            fs::create_dir(lower).unwrap();
            fs::write(lower.join("who"), number.to_string()).unwrap();
            fs::write(lower.join(format!("file-{number}")), "").unwrap();
        }
        let [upper, work, at] = ["upper", "work", "at"].map(|name| base.join(name));
        for directory in [&upper, &work, &at] {
            fs::create_dir(directory).unwrap();
        }
        let mount = match mount_overlay(&lowers, &upper, &work, &at) {
            Ok(mount) => mount,
            Err(error) if count > 300 => {
                println!("{count} layers: {error}");
                continue;
            }
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        };
        assert_eq!(fs::read_to_string(at.join("who")).unwrap(), "0");
        assert_eq!(fs::read_dir(&at).unwrap().count(), count + 1);
        // Busy, so it goes lazily.
        let open = fs::File::open(at.join("who")).unwrap();
        mount.unmount().unwrap();
        assert!(!mount_points().unwrap().contains(&at));
        drop(open);
    }
}
