//! Making, changing and describing trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use kiln_layer::{
    Compression, EntryKind, ExtractOptions, LayerReader, LayerWriter, Owners, Root, WriterOptions,
    extract,
};
use kiln_snapshot::ChangeSet;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use walkdir::WalkDir;

/// A time long ago, so that nothing made by a test has it by chance.
pub(crate) const LONG_AGO: i64 = 1_000_000_000;

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Sets the modification time, of a link itself too.
pub(crate) fn touch(path: &Path, sec: i64) {
    let time = TimeSpec::new(sec, 0);
    utimensat(
        nix::fcntl::AT_FDCWD,
        path,
        &time,
        &time,
        UtimensatFlags::NoFollowSymlink,
    )
    .unwrap();
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything below `root` gets the same time, children first.
pub(crate) fn age(root: &Path) {
    for child in WalkDir::new(root).min_depth(1).contents_first(true) {
        touch(child.unwrap().path(), LONG_AGO);
    }
}

/// A small tree with one of each.
pub(crate) fn base(root: &Path) {
    write(root, "etc/passwd", "root");
    write(root, "etc/hosts", "localhost");
    write(root, "bin/a", "program");
    fs::hard_link(root.join("bin/a"), root.join("bin/b")).unwrap();
    write(root, "dir/one", "1");
    write(root, "dir/two", "2");
    write(root, "dir/sub/three", "3");
    fs::create_dir(root.join("empty")).unwrap();
    symlink("etc/passwd", root.join("link")).unwrap();
    age(root);
}

/// One short line for each entry: letter, path, and what it leads to.
pub(crate) fn listed(changes: &ChangeSet) -> Vec<String> {
    let line = |entry: &kiln_layer::Entry| {
        let path = entry.path.to_string();
        match &entry.kind {
            EntryKind::File { .. } => format!("f {path}"),
            EntryKind::Directory => format!("d {path}"),
            EntryKind::Symlink { target } => {
                format!("l {path} -> {}", String::from_utf8_lossy(target))
            }
            EntryKind::Hardlink { target } => format!("h {path} = {target}"),
            EntryKind::CharDevice { major, minor } => format!("c {path} {major}:{minor}"),
            EntryKind::BlockDevice { major, minor } => format!("b {path} {major}:{minor}"),
            EntryKind::Fifo => format!("p {path}"),
            EntryKind::Whiteout => format!("x {path}"),
            EntryKind::OpaqueMarker => format!("o {path}"),
        }
    };
    changes.entries().iter().map(line).collect()
}

/// The bytes of the layer, uncompressed.
pub(crate) fn layer(changes: &ChangeSet) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new(), Compression::None, WriterOptions::default());
    changes.write(&mut writer).unwrap();
    writer.finish().unwrap().1
}

/// Unpacks a layer over what is in `root`.
pub(crate) fn apply(layer: &[u8], root: &Path) {
    let options = ExtractOptions {
        owners: if is_root() {
            Owners::Keep
        } else {
            Owners::Ignore
        },
        ..ExtractOptions::default()
    };
    extract(
        LayerReader::new(layer),
        &Root::open(root).unwrap(),
        &options,
    )
    .unwrap();
}

/// All that a layer is to bring back, one line for each path. Times of directories are left out: where nothing else
/// changed they are not recorded.
pub(crate) fn described(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    for child in WalkDir::new(root).min_depth(1) {
        let path = child.unwrap().into_path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            format!("{} -> \"{}\"", meta.mtime(), target.display())
        } else if kind.is_file() {
            let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            format!("{} {content:?}", meta.mtime())
        } else if kind.is_socket() {
            continue;
        } else {
            format!("{} {:x}", meta.mtime(), meta.rdev())
        };
        let mut note = [0; 64];
        let note = match rustix::fs::lgetxattr(&path, "user.note", &mut note) {
            Ok(length) => String::from_utf8_lossy(&note[..length]).into_owned(),
            Err(_) => String::new(),
        };
        let line = format!(
            "{:o} {}:{} {what} {note}",
            meta.mode(),
            meta.uid(),
            meta.gid()
        );
        let name = path.strip_prefix(root).unwrap().as_os_str();
        found.insert(name.as_bytes().to_vec(), line);
    }
    found
}

pub(crate) fn set_note(path: &Path, value: &str) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(
        path,
        "user.note",
        value.as_bytes(),
        rustix::fs::XattrFlags::empty(),
    )
}
