use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_events::{EventSink, Silent};
use kiln_sandbox::SandboxMount;
use proptest::prelude::*;
use tempfile::TempDir;

use super::Placed;

/// A root with a few files, a work folder, and what the root looked like.
struct Scene {
    dir: TempDir,
    work: TempDir,
    before: BTreeMap<PathBuf, String>,
}

impl Scene {
    fn new() -> Scene {
        Scene::with_work(tempfile::tempdir().unwrap())
    }

    fn with_work(work: TempDir) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("etc/deep/er")).unwrap();
        fs::create_dir_all(root.join("srv")).unwrap();
        fs::write(root.join("etc/passwd"), "root").unwrap();
        fs::write(root.join("etc/deep/file"), "deep").unwrap();
        fs::hard_link(root.join("etc/deep/file"), root.join("etc/deep/er/twin")).unwrap();
        symlink("/etc/deep", root.join("link")).unwrap();
        symlink("/srv/not/there", root.join("dangling")).unwrap();
        fs::set_permissions(root.join("etc/deep"), fs::Permissions::from_mode(0o2751)).unwrap();
        for path in ["etc/deep/er", "etc/deep", "etc", "srv", ""] {
            age(&root.join(path));
        }
        let before = seen(root);
        Scene { dir, work, before }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn put(&self, mounts: &[SandboxMount]) -> Placed {
        Placed::put(self.root(), self.work.path(), mounts, &[], &silent()).unwrap()
    }

    /// A directory as the source of a mount.
    fn directory(&self, name: &str) -> PathBuf {
        let dir = self.work.path().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("own"), name).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    fn file(&self, name: &str) -> PathBuf {
        let file = self.work.path().join(name);
        fs::write(&file, name).unwrap();
        file
    }
}

fn age(path: &Path) {
    let long_ago = filetime(1_000_000_000);
    rustix::fs::utimensat(
        rustix::fs::CWD,
        path,
        &long_ago,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

fn filetime(sec: i64) -> rustix::fs::Timestamps {
    let time = rustix::fs::Timespec {
        tv_sec: sec,
        tv_nsec: 5,
    };
    rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Everything that a layer could tell of a tree.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| {
            let path = entry.unwrap().into_path();
            let found = fs::symlink_metadata(&path).unwrap();
            let content = if found.is_file() {
                fs::read_to_string(&path).unwrap()
            } else if found.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else {
                String::new()
            };
            let line = format!(
                "{:o} {}:{} {}.{} {} {content}",
                found.mode(),
                found.uid(),
                found.gid(),
                found.mtime(),
                found.mtime_nsec(),
                if found.is_dir() { 0 } else { found.nlink() },
            );
            (path.strip_prefix(root).unwrap().to_owned(), line)
        })
        .collect()
}

fn bind(source: PathBuf, target: &str) -> SandboxMount {
    SandboxMount::Bind {
        source,
        target: target.into(),
        read_only: true,
        discard_writes: false,
    }
}

fn cache(source: PathBuf, target: &str) -> SandboxMount {
    SandboxMount::Bind {
        source,
        target: target.into(),
        read_only: false,
        discard_writes: false,
    }
}

fn tmpfs(target: &str) -> SandboxMount {
    SandboxMount::Tmpfs {
        target: target.into(),
        size: None,
        mode: 0o1777,
    }
}

// conformance: D26 D27 (in-place)
#[test]
fn what_stood_there_is_hidden_and_comes_back() {
    let scene = Scene::new();
    let root = scene.root();
    let placed = scene.put(&[
        bind(scene.directory("dir"), "/etc"),
        tmpfs("/etc/new/tmp"),
        bind(scene.file("secret"), "/link/file"),
        bind(scene.file("other"), "/dangling"),
        cache(scene.directory("cache"), "/srv/c/d"),
    ]);
    assert_eq!(fs::read_to_string(root.join("etc/own")).unwrap(), "dir");
    assert!(!root.join("etc/passwd").exists());
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("etc"), mode("etc/new/tmp")), (0o700, 0o1777));
    // The link leads into what covers its target.
    assert_eq!(
        fs::read_to_string(root.join("etc/deep/file")).unwrap(),
        "secret"
    );
    assert_eq!(
        fs::read_to_string(root.join("srv/not/there")).unwrap(),
        "other"
    );
    assert_eq!(
        fs::read_to_string(root.join("srv/c/d/own")).unwrap(),
        "cache"
    );
    placed.take_back().unwrap();
    assert_eq!(seen(root), scene.before);
}

// conformance: D28 D31 (in-place)
#[test]
fn only_a_cache_keeps_what_was_written() {
    let scene = Scene::new();
    let root = scene.root();
    let kept = scene.directory("cache");
    let placed = scene.put(&[
        bind(scene.directory("dir"), "/srv"),
        cache(kept.clone(), "/cache"),
    ]);
    fs::write(root.join("srv/written"), "lost").unwrap();
    fs::write(root.join("cache/written"), "kept").unwrap();
    fs::rename(root.join("cache/own"), root.join("cache/renamed")).unwrap();
    fs::set_permissions(root.join("cache"), fs::Permissions::from_mode(0o711)).unwrap();
    placed.take_back().unwrap();
    assert_eq!(seen(root), scene.before);
    assert_eq!(fs::read_to_string(kept.join("written")).unwrap(), "kept");
    assert_eq!(fs::read_to_string(kept.join("renamed")).unwrap(), "cache");
    assert!(!kept.join("own").exists());
    assert_eq!(fs::metadata(&kept).unwrap().mode() & 0o7777, 0o711);
}

/// A command changes things around its mounts; these changes are its own and stay.
// conformance: D27 (in-place)
#[test]
fn changes_beside_a_mount_stay() {
    let scene = Scene::new();
    let root = scene.root();
    let placed = scene.put(&[
        tmpfs("/made/for/it"),
        bind(scene.file("f"), "/etc/passwd"),
        tmpfs("/gone"),
        tmpfs("/srv/sub"),
    ]);
    fs::write(root.join("made/beside"), "").unwrap();
    fs::write(root.join("etc/new"), "").unwrap();
    fs::remove_dir(root.join("gone")).unwrap();
    placed.take_back().unwrap();
    assert!(root.join("made/beside").exists() && !root.join("made/for").exists());
    assert!(!root.join("gone").exists() && !root.join("srv/sub").exists());
    assert_eq!(fs::read_to_string(root.join("etc/passwd")).unwrap(), "root");
    let mtime = |path: &str| fs::metadata(root.join(path)).unwrap().mtime();
    assert_ne!(mtime("etc"), 1_000_000_000, "the command changed it");
    assert_eq!(mtime("srv"), 1_000_000_000, "nobody but we changed it");
}

// conformance: D26 (in-place)
#[test]
fn a_command_that_removes_a_mount_removes_nothing_else() {
    let scene = Scene::new();
    let placed = scene.put(&[tmpfs("/etc/deep"), tmpfs("/etc")]);
    fs::remove_dir_all(scene.root().join("etc")).unwrap();
    placed.take_back().unwrap();
    let mut after = seen(scene.root());
    let mut before = scene.before.clone();
    // The directory was made again, so the times of those around it are new.
    for map in [&mut after, &mut before] {
        map.remove(Path::new(""));
    }
    assert_eq!(after, before);
}

#[test]
fn what_cannot_be_covered_is_an_error_that_leaves_nothing() {
    let scene = Scene::new();
    let directory = bind(scene.directory("dir"), "/etc/passwd");
    let file = bind(scene.file("file"), "/etc");
    for (wrong, text) in [(directory, "not a directory"), (file, "is a directory")] {
        let mounts = [tmpfs("/new/place"), wrong];
        let error =
            Placed::put(scene.root(), scene.work.path(), &mounts, &[], &silent()).unwrap_err();
        let text_of = |error: &dyn std::error::Error| format!("{error}: {:?}", error.source());
        assert!(
            text_of(&error)
                .to_lowercase()
                .replace("notadirectory", "not a directory")
                .replace("isadirectory", "is a directory")
                .contains(text),
            "{}",
            text_of(&error)
        );
        assert_eq!(seen(scene.root()), scene.before);
    }
}

/// The context and the builder's own files lie in the same `/`.
// conformance: J12 (in-place)
#[test]
fn what_is_not_the_images_is_not_moved() {
    let scene = Scene::new();
    let kept = ["etc/deep".into(), "srv".into()];
    for target in [
        "/srv",
        "/srv/new",
        "/etc/deep/er",
        "/etc",
        "/link",
        "/dangling",
    ] {
        let mounts = [tmpfs("/new/place"), tmpfs(target)];
        let error =
            Placed::put(scene.root(), scene.work.path(), &mounts, &kept, &silent()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(target) && text.contains("not the image's"),
            "{text}"
        );
        assert_eq!(seen(scene.root()), scene.before);
    }
    let elsewhere = [tmpfs("/etc/other"), tmpfs("/srv2")];
    let placed = Placed::put(
        scene.root(),
        scene.work.path(),
        &elsewhere,
        &kept,
        &silent(),
    )
    .unwrap();
    placed.take_back().unwrap();
    assert_eq!(seen(scene.root()), scene.before);
}

/// A work folder on another filesystem: sources are copied, and what stood there stays on its own filesystem.
#[test]
fn another_filesystem_makes_no_difference() {
    let Ok(work) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let scene = Scene::with_work(work);
    let dir = scene.directory("cache");
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/run"), "x").unwrap();
    fs::set_permissions(dir.join("sub/run"), fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("own", dir.join("sub/link")).unwrap();
    let inside = seen(&dir);
    let placed = scene.put(&[cache(dir.clone(), "/etc"), bind(scene.file("f"), "/srv/f")]);
    let shown = seen(&scene.root().join("etc"));
    let without_top = |mut map: BTreeMap<PathBuf, String>| {
        map.remove(Path::new(""));
        map
    };
    assert_eq!(without_top(shown), without_top(inside.clone()));
    placed.take_back().unwrap();
    assert_eq!(seen(scene.root()), scene.before);
    assert_eq!(without_top(seen(&dir)), without_top(inside));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is mounted wherever, and dropped without a word: the root is what it was.
    // conformance: D26 D27 (in-place)
    #[test]
    fn everything_is_put_back(
        mounts in proptest::collection::vec(("(/(etc|deep|link|srv|new|file|\\.\\.)){1,3}", 0..3_u8), 1..5),
    ) {
        let scene = Scene::new();
        let list: Vec<SandboxMount> = mounts
            .iter()
            .enumerate()
            .map(|(number, (target, kind))| match kind {
                0 => tmpfs(target),
                1 => bind(scene.directory(&format!("d{number}")), target),
                _ => bind(scene.file(&format!("f{number}")), target),
            })
            .collect();
        // Some cannot be made; then nothing is left of the others.
        drop(Placed::put(scene.root(), scene.work.path(), &list, &[], &silent()));
        prop_assert_eq!(seen(scene.root()), scene.before.clone());
    }
}

fn silent() -> Arc<dyn EventSink> {
    Arc::new(Silent)
}
