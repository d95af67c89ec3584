//! Layers that try to get out of the root, or at what they may not touch inside.

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use kiln_layer::{
    Entry, EntryKind, ExtractOptions, FileType, ImagePath, LayerReader, NewDirectory, ReadAs, Root,
    extract,
};
use proptest::prelude::*;

use crate::disk::{seen, untouchable};
use crate::forge::{Raw, tar};
use crate::privilege::owners;
use crate::trees::config;

/// A root beside files that nothing may touch, and with links that lead to them.
pub(crate) struct Fort {
    /// Holds nothing but the two folders below.
    pub(crate) dir: tempfile::TempDir,
    pub(crate) outside: PathBuf,
    pub(crate) inside: PathBuf,
}

impl Fort {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (outside, inside) = (dir.path().join("outside"), dir.path().join("root"));
        fs::create_dir_all(outside.join("dir")).unwrap();
        fs::write(outside.join("secret"), "outside").unwrap();
        fs::set_permissions(outside.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(outside.join("dir/inner"), "outside").unwrap();
        symlink("secret", outside.join("link")).unwrap();

        fs::create_dir_all(inside.join("d/kept")).unwrap();
        fs::create_dir_all(inside.join("keep/dir")).unwrap();
        fs::write(inside.join("keep/dir/secret"), "kept").unwrap();
        fs::write(inside.join("d/kept/secret"), "kept").unwrap();
        fs::write(inside.join("d/x"), "inside").unwrap();
        fs::write(inside.join("f"), "inside").unwrap();
        for (link, target) in [
            ("out", "../outside"),
            ("up", ".."),
            ("slash", "/"),
            ("dangle", "../outside/new"),
            ("loop", "loop"),
            ("k", "keep"),
            ("d/k", "/keep/dir"),
        ] {
            symlink(target, inside.join(link)).unwrap();
        }
        symlink(&outside, inside.join("abs")).unwrap();
        symlink(outside.join("secret"), inside.join("file")).unwrap();
        Self {
            dir,
            outside,
            inside,
        }
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(&self.inside).unwrap()
    }

    /// Everything but what is in the root.
    pub(crate) fn surroundings(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let names = |dir: &Path| -> Vec<_> {
            let entries = fs::read_dir(dir).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let own = fs::metadata(&self.outside).unwrap().permissions().mode();
        (names(self.dir.path()), own, untouchable(&self.outside))
    }
}

/// A name of up to four components; `@` stands for the place of the files outside.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "..", "..", ".", "", "a", "a", "d", "f", "x", "out", "abs", "up", "slash", "dangle",
        "loop", "file", "k", "keep", "kept", "hidden", "secret", "dir", "inner", "outside", "new",
        "root", "@",
    ]);
    (prop::collection::vec(part, 1..5), any::<bool>()).prop_map(|(parts, absolute)| {
        let name = parts.join("/");
        if absolute { format!("/{name}") } else { name }
    })
}

fn raw() -> impl Strategy<Value = Raw> {
    let typeflag = prop::sample::select(b"00015556222113".to_vec());
    let marker = prop_oneof![5 => Just(""), 2 => Just(".wh."), 1 => Just(".wh..wh..opq")];
    let mode = prop::sample::select(vec![0o777, 0o4755, 0]);
    (typeflag, name(), name(), marker, mode).prop_map(|(typeflag, name, link, marker, mode)| {
        let name = match (marker, name.rsplit_once('/')) {
            ("", _) => name,
            (".wh.", Some((dir, last))) => format!("{dir}/.wh.{last}"),
            (".wh.", None) => format!(".wh.{name}"),
            (marker, _) => format!("{name}/{marker}"),
        };
        let content = if typeflag == b'0' { "hostile" } else { "" };
        Raw {
            link: link.into(),
            content: content.into(),
            mode,
            ..Raw::new(typeflag, name)
        }
    })
}

/// Puts the real place of the files outside where `@` stands.
fn aimed(mut raw: Raw, outside: &Path) -> Raw {
    for text in [&mut raw.name, &mut raw.link] {
        let mut aimed = Vec::new();
        for &byte in text.iter() {
            match byte {
                b'@' => aimed.extend_from_slice(outside.as_os_str().as_bytes()),
                byte => aimed.push(byte),
            }
        }
        *text = aimed;
    }
    raw
}

// conformance: G25
// conformance: G28
// conformance: G31
// conformance: G32
// conformance: G39
#[test]
fn no_layer_gets_out_or_at_what_is_protected() {
    let layers = prop::collection::vec(prop::collection::vec(raw(), 1..9), 1..4);
    proptest!(config(160), |(layers in layers, archive in any::<bool>())| {
        let fort = Fort::new();
        let (root, around) = (fort.root(), fort.surroundings());
        let kept = ["keep", "d/kept", "hidden", "a/hidden"].map(ImagePath::from);
        let protected = |path: &ImagePath| kept.iter().any(|kept| path.starts_with(kept));
        let protected_files = || ["keep", "d/kept"].map(|kept| seen(&fort.inside.join(kept)));
        let before = protected_files();
        for layer in layers {
            let raws: Vec<Raw> = layer.into_iter().map(|raw| aimed(raw, &fort.outside)).collect();
            let packed = tar(&raws);
            let rules = if archive { ReadAs::Archive } else { ReadAs::Layer };
            let options = ExtractOptions {
                owners: owners(),
                protected: Some(&protected),
                ..ExtractOptions::default()
            };
            let result = extract(LayerReader::new(packed.as_slice()).read_as(rules), &root, &options);
            prop_assert_eq!(&fort.surroundings(), &around, "{:?} {:?}", raws, result);
            prop_assert_eq!(&protected_files(), &before, "{:?} {:?}", raws, result);
            for hidden in ["hidden", "a/hidden"] {
                let found = fs::symlink_metadata(fort.inside.join(hidden));
                let through_link = fort.inside.join("a").is_symlink();
                prop_assert!(found.is_err() || through_link, "{:?} {:?}", raws, result);
            }
            if rules == ReadAs::Layer {
                let marked = |path: &Vec<u8>| path.windows(5).any(|part| part == b"/.wh.") || path.starts_with(b".wh.");
                let all = seen(&fort.inside);
                prop_assert!(!all.keys().any(marked), "{:?} {:?}", raws, all.keys());
            }
        }
    });
}

/// What a caller can do with a root; says whether it was done.
type Deed = fn(&Root, &ImagePath) -> bool;

const DEEDS: &[(&str, Deed)] = &[
    ("create_file", |root, path| {
        root.create_file(path, 0o666).is_ok()
    }),
    ("create_dir_all", |root, path| {
        let new = NewDirectory {
            mtime: Some(1),
            ..NewDirectory::default()
        };
        root.create_dir_all(path, &new).is_ok()
    }),
    ("symlink", |root, path| root.symlink(path, b"/f").is_ok()),
    ("hard_link to f", |root, path| {
        root.hard_link(path, &"f".into()).is_ok()
    }),
    ("hard_link from it", |root, path| {
        root.hard_link(&"new".into(), path).is_ok()
    }),
    ("mknod", |root, path| {
        root.mknod(path, FileType::Fifo, 0o666, (0, 0)).is_ok()
    }),
    ("rename to it", |root, path| {
        root.rename(&"f".into(), path).is_ok()
    }),
    ("rename from it", |root, path| {
        root.rename(path, &"new".into()).is_ok()
    }),
    ("remove_tree", |root, path| {
        root.remove_tree(path, &|_| false).is_ok()
    }),
    ("set_metadata of a file", |root, path| {
        let mut entry = Entry::file(path.clone(), 0);
        entry.mode = 0o4777;
        entry.xattrs.insert(b"user.a".to_vec(), b"b".to_vec());
        root.set_metadata(&entry, owners()).is_ok()
    }),
    ("set_metadata of a directory", |root, path| {
        root.set_metadata(&Entry::directory(path.clone()), owners())
            .is_ok()
    }),
    ("set_metadata of a fifo", |root, path| {
        root.set_metadata(&Entry::new(path.clone(), EntryKind::Fifo), owners())
            .is_ok()
    }),
    ("open_file", |root, path| {
        let opened = root.open_file(path, true);
        opened.is_ok_and(|mut file| file.write_all(b"x").is_err())
    }),
];

// conformance: G28
#[test]
fn no_method_of_a_root_gets_out() {
    assert!(!DEEDS.is_empty());
    let paths = [
        "d",
        "d/x",
        "d/new",
        "out",
        "out/secret",
        "out/new",
        "out/dir",
        "out/dir/inner",
        "abs",
        "abs/secret",
        "abs/new",
        "up",
        "up/outside",
        "up/outside/secret",
        "up/new",
        "dangle",
        "dangle/new",
        "slash/../outside/secret",
        "file",
        "loop",
        "loop/x",
    ];
    for (name, deed) in DEEDS {
        let mut done = 0;
        for path in paths {
            let fort = Fort::new();
            let around = fort.surroundings();
            done += usize::from(deed(&fort.root(), &path.into()));
            assert_eq!(fort.surroundings(), around, "{name} {path}");
        }
        assert!(done > 0, "{name} never does anything");
    }
}
