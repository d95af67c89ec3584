//! A root finds what a process that is chrooted there would find.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use kiln_layer::{Entry, FileType, ImagePath, LayerError, Root, TreeError, TreeIndex};
use proptest::prelude::*;
use rustix::fs::{CWD, Mode};

use crate::trees::config;

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    File,
    Directory,
    Symlink(String),
    Fifo,
}

/// A file tree in memory, by clean path; the root is the empty path.
type Model = BTreeMap<String, What>;

#[derive(Debug, PartialEq, Eq)]
enum Nothing {
    Missing,
    NotADirectory,
    Loop,
}

fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

fn joined(dir: &str, name: &str) -> String {
    if dir.is_empty() {
        name.to_owned()
    } else {
        format!("{dir}/{name}")
    }
}

/// What the kernel does, after `path_resolution(7)`: every component is looked up in a directory that exists.
fn look(model: &Model, path: &str, follow_last: bool) -> Result<String, Nothing> {
    let mut at = String::new();
    let mut pending: VecDeque<String> = path.split('/').map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        match model.get(&at) {
            None => return Err(Nothing::Missing),
            Some(What::Directory) => {}
            Some(_) => return Err(Nothing::NotADirectory),
        }
        let next = match part.as_str() {
            "" | "." => continue,
            ".." => {
                at.truncate(above(&at).len());
                continue;
            }
            name => joined(&at, name),
        };
        match model.get(&next) {
            Some(What::Symlink(target)) if follow_last || !pending.is_empty() => {
                links += 1;
                if links > 40 {
                    return Err(Nothing::Loop);
                }
                if target.starts_with('/') {
                    at.clear();
                }
                for part in target.rsplit('/') {
                    pending.push_front(part.to_owned());
                }
            }
            _ => at = next,
        }
    }
    if model.contains_key(&at) {
        Ok(at)
    } else {
        Err(Nothing::Missing)
    }
}

/// Where something could be made: what is missing stays as it is, and `..` takes back the component before it,
/// whatever that is.
fn place(model: &Model, path: &str, follow_last: bool) -> Result<(String, usize), Nothing> {
    let useful = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let mut at: Vec<String> = Vec::new();
    let mut pending: VecDeque<String> = useful(path).into();
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let here = model.get(&at.join("/"));
        if here.is_some_and(|what| *what != What::Directory) {
            return Err(Nothing::NotADirectory);
        }
        at.push(part);
        if let Some(What::Symlink(target)) = model.get(&at.join("/"))
            && (follow_last || !pending.is_empty())
        {
            links += 1;
            if links > 40 {
                return Err(Nothing::Loop);
            }
            at.pop();
            if target.starts_with('/') {
                at.clear();
            }
            for part in useful(target).into_iter().rev() {
                pending.push_front(part);
            }
        }
    }
    let exists = |count: &usize| model.contains_key(&at[..*count].join("/"));
    let there = (0..=at.len()).rev().find(exists).unwrap();
    Ok((at.join("/"), at.len() - there))
}

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![8 => "[abc]".boxed(), 3 => Just("..".to_owned()).boxed(), 1 => Just(".".to_owned()).boxed(), 1 => Just(String::new()).boxed()];
    (prop::collection::vec(part, 1..5), any::<bool>())
        .prop_map(|(parts, absolute)| {
            let text = parts.join("/");
            if absolute { format!("/{text}") } else { text }
        })
        .prop_filter("an empty link", |text| !text.is_empty())
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        2 => Just(What::File),
        5 => Just(What::Directory),
        6 => text().prop_map(What::Symlink),
        1 => Just(What::Fifo),
    ]
}

/// Trees in which every path has its parents.
fn model() -> impl Strategy<Value = Model> {
    let path = "[abc](/[abc]){0,2}";
    prop::collection::vec((path, what()), 1..16).prop_map(|items| {
        let mut model = Model::from([(String::new(), What::Directory)]);
        for (path, what) in items {
            if model.get(above(&path)) == Some(&What::Directory) {
                model.entry(path).or_insert(what);
            }
        }
        model
    })
}

fn make(model: &Model, dir: &Path) {
    for (path, what) in model.iter().skip(1) {
        let at = dir.join(path);
        match what {
            What::File => fs::write(at, path).unwrap(),
            What::Directory => fs::create_dir(at).unwrap(),
            What::Symlink(target) => symlink(target, at).unwrap(),
            What::Fifo => {
                rustix::fs::mknodat(CWD, at, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
            }
        }
    }
}

fn index(model: &Model) -> TreeIndex {
    let entry = |(path, what): (&String, &What)| {
        let path = path.as_str();
        match what {
            What::File => Entry::file(path, 0),
            What::Directory => Entry::directory(path),
            What::Symlink(target) => Entry::symlink(path, target.as_bytes()),
            What::Fifo => Entry::new(path, kiln_layer::EntryKind::Fifo),
        }
    };
    let mut tree = TreeIndex::new();
    tree.apply_layer(0, model.iter().skip(1).map(entry))
        .unwrap();
    tree
}

fn file_type(what: &What) -> FileType {
    match what {
        What::File => FileType::File,
        What::Directory => FileType::Directory,
        What::Symlink(_) => FileType::Symlink,
        What::Fifo => FileType::Fifo,
    }
}

fn inode(dir: &Path, path: &str) -> u64 {
    fs::symlink_metadata(dir.join(path)).unwrap().ino()
}

// conformance: G28
#[test]
fn paths_of_a_root_lead_where_those_of_a_process_lead() {
    let paths = prop::collection::vec(text(), 1..12);
    proptest!(config(150), |(model in model(), paths in paths)| {
        let dir = tempfile::tempdir().unwrap();
        make(&model, dir.path());
        let root = Root::open(dir.path()).unwrap();
        let tree = index(&model);
        for given in &paths {
            // As a process would be given it, and as a layer has it.
            let clean = ImagePath::from(given.as_str());
            let path = clean.to_string();
            prop_assert_eq!(&clean, &ImagePath::from(lexical(given).as_str()));
            let at = format!("{path} in {model:?}");
            stat_and_parent(&root, dir.path(), &model, &clean)?;
            for follow in [false, true] {
                let found = look(&model, &path, follow);
                let opened = root.open_file(&clean, follow);
                match &found {
                    Ok(found) if matches!(model[found], What::Symlink(_)) => prop_assert!(opened.is_err(), "{}", at),
                    Ok(found) => {
                        let meta = opened.unwrap().metadata().unwrap();
                        prop_assert_eq!(meta.ino(), inode(dir.path(), found), "{}", at);
                    }
                    Err(Nothing::Loop) => prop_assert!(matches!(opened, Err(LayerError::SymlinkLoop { .. })) || !follow, "{}", at),
                    Err(_) => prop_assert!(opened.is_err(), "{}", at),
                }
            }
            let listed = root.read_dir(&clean).ok().map(|list| {
                list.into_iter().map(|entry| (entry.name, entry.file_type)).collect::<Vec<_>>()
            });
            let found = look(&model, &path, true).ok().filter(|found| model[found] == What::Directory);
            prop_assert_eq!(listed, found.map(|found| children(&model, &found)), "{}", at);

            for path in [given, &path] {
                for follow in [false, true] {
                    let expected = place(&model, path, follow);
                    let on_disk = root.resolve(path.as_bytes(), follow);
                    let in_index = tree.resolve(path.as_bytes(), follow);
                    match (expected, on_disk, in_index) {
                        (Ok((real, missing)), Ok(on_disk), Ok(in_index)) => {
                            let real = ImagePath::from(real.as_str());
                            prop_assert_eq!((on_disk.path, on_disk.missing), (real.clone(), missing), "{}", at);
                            prop_assert_eq!((in_index.path, in_index.missing), (real.clone(), missing), "{}", at);
                            prop_assert_eq!(in_index.node, tree.get(&real), "{}", at);
                        }
                        (Err(Nothing::Loop), Err(LayerError::SymlinkLoop { .. }), Err(TreeError::Loop { .. })) => {}
                        (Err(Nothing::NotADirectory), Err(LayerError::NotADirectory { path: one, .. }), Err(TreeError::NotADirectory { file: other, .. })) => {
                            prop_assert_eq!(one, other, "{}", at);
                        }
                        other => prop_assert!(false, "{} {:?}", at, other),
                    }
                }
            }
        }
    });
}

fn lexical(path: &str) -> String {
    let mut clean: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean.join("/")
}

fn children(model: &Model, dir: &str) -> Vec<(Vec<u8>, FileType)> {
    let inside = model
        .iter()
        .filter(|(path, _)| !path.is_empty() && above(path) == dir);
    let name = |path: &str| path.rsplit('/').next().unwrap().as_bytes().to_vec();
    inside
        .map(|(path, what)| (name(path), file_type(what)))
        .collect()
}

fn stat_and_parent(
    root: &Root,
    dir: &Path,
    model: &Model,
    clean: &ImagePath,
) -> Result<(), TestCaseError> {
    let path = clean.to_string();
    let at = format!("{path} in {model:?}");
    let found = look(model, &path, false);
    let stat = root.stat(clean);
    match &found {
        Ok(found) => {
            let stat = stat.unwrap().unwrap();
            prop_assert_eq!(stat.ino, inode(dir, found), "{}", at);
            prop_assert_eq!(stat.file_type, file_type(&model[found]), "{}", at);
            let entry = root.entry(clean).unwrap().unwrap();
            prop_assert_eq!(&entry.path, clean);
            if let What::Symlink(target) = &model[found] {
                prop_assert_eq!(root.read_link(clean).unwrap(), target.as_bytes(), "{}", at);
            } else {
                prop_assert!(root.read_link(clean).is_err());
            }
        }
        Err(Nothing::Loop) => prop_assert!(
            matches!(stat, Err(LayerError::SymlinkLoop { .. })),
            "{}",
            at
        ),
        Err(_) => {
            prop_assert_eq!(stat.unwrap(), None, "{}", at);
            prop_assert_eq!(root.entry(clean).unwrap(), None, "{}", at);
        }
    }
    let Some(name) = clean.file_name() else {
        prop_assert!(root.open_parent(clean).is_err());
        return Ok(());
    };
    let parent = root.open_parent(clean);
    let holder = look(model, above(&path), true).ok();
    match holder.filter(|holder| model[holder] == What::Directory) {
        None => prop_assert!(parent.is_err(), "{}", at),
        Some(holder) => {
            let parent = parent.unwrap();
            prop_assert_eq!(parent.path.as_bytes(), holder.as_bytes(), "{}", at);
            prop_assert_eq!(&parent.name, name, "{}", at);
            let opened = rustix::fs::fstat(&parent.dir).unwrap().st_ino;
            let expected =
                fs::symlink_metadata(dir.join(std::ffi::OsStr::from_bytes(holder.as_bytes())));
            prop_assert_eq!(opened, expected.unwrap().ino(), "{}", at);
        }
    }
    Ok(())
}
