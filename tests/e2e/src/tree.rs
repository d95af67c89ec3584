//! A file tree as plain data, from layer tars or from a folder that someone unpacked.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

/// Contents up to this size are kept, so that a test can read them.
const KEPT: u64 = 64 * 1024;

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Hex digest of the content.
        sha256: String,
        /// The first path, in byte order, of the files that are hard links of one another; `None` for a single file.
        linked: Option<String>,
    },
    /// A directory.
    Directory,
    /// A symbolic link and its text.
    Symlink(String),
    /// A hard link entry of a single layer; a merged [`Tree`] has files instead.
    Hardlink(String),
    /// A character device, block device or fifo, as `c 1 3`, `b 8 0` or `p`.
    Special(String),
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since the epoch.
    pub mtime: i64,
    /// Extended attributes, values in hex.
    pub xattrs: BTreeMap<String, String>,
    /// The content of small files.
    pub content: Option<Vec<u8>>,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::File {
                size,
                sha256,
                linked,
            } => {
                write!(f, "file {size} B {}", &sha256[..12])?;
                if let Some(first) = linked {
                    write!(f, " linked with {first}")?;
                }
            }
            NodeKind::Directory => write!(f, "directory")?,
            NodeKind::Symlink(text) => write!(f, "symlink -> {text}")?,
            NodeKind::Hardlink(target) => write!(f, "hard link = {target}")?,
            NodeKind::Special(what) => write!(f, "special {what}")?,
        }
        write!(f, " {:04o} {}:{}", self.mode, self.uid, self.gid)?;
        for (name, value) in &self.xattrs {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

/// Paths (relative, without a trailing slash) and what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, Node>);

impl Tree {
    /// The node at a path, or a panic that lists the tree.
    pub fn node(&self, path: &str) -> &Node {
        self.get(path)
            .unwrap_or_else(|| panic!("`{path}` is not in the tree:\n{self}"))
    }

    /// The node at a path, if any.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(path.trim_matches('/'))
    }

    /// Whether there is anything at a path.
    pub fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }

    /// The text of a small file, or a panic.
    pub fn text(&self, path: &str) -> String {
        let node = self.node(path);
        let content = node
            .content
            .as_ref()
            .unwrap_or_else(|| panic!("`{path}` is no small file: {node}"));
        String::from_utf8_lossy(content).into_owned()
    }

    /// `0644 0:0` of a path, or a panic.
    pub fn owner(&self, path: &str) -> String {
        let node = self.node(path);
        format!("{:04o} {}:{}", node.mode, node.uid, node.gid)
    }

    /// All paths below (and not including) a directory.
    pub fn below(&self, directory: &str) -> Vec<String> {
        let prefix = format!("{}/", directory.trim_matches('/'));
        self.0
            .keys()
            .filter(|path| path.starts_with(&prefix))
            .cloned()
            .collect()
    }

    /// All paths.
    pub fn paths(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Reads the entries of one (uncompressed) layer tar as they stand: whiteouts and hard links included.
    pub fn of_layer(reader: impl Read) -> io::Result<Vec<(String, Node)>> {
        let mut archive = tar::Archive::new(reader);
        let mut nodes = Vec::new();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let mut xattrs = BTreeMap::new();
            if let Some(records) = entry.pax_extensions()? {
                for record in records {
                    let record = record?;
                    if let Some(name) = record
                        .key()
                        .ok()
                        .and_then(|key| key.strip_prefix("SCHILY.xattr."))
                    {
                        xattrs.insert(name.to_owned(), hex::encode(record.value_bytes()));
                    }
                }
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let header = entry.header().clone();
            let link = entry
                .link_name_bytes()
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            let kind = header.entry_type();
            let device = || {
                let number = |part: io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0);
                format!(
                    "{} {}",
                    number(header.device_major()),
                    number(header.device_minor())
                )
            };
            let (kind, content) = match kind {
                tar::EntryType::Directory => (NodeKind::Directory, None),
                tar::EntryType::Symlink => (NodeKind::Symlink(link.unwrap_or_default()), None),
                tar::EntryType::Link => (NodeKind::Hardlink(link.unwrap_or_default()), None),
                tar::EntryType::Char => (NodeKind::Special(format!("c {}", device())), None),
                tar::EntryType::Block => (NodeKind::Special(format!("b {}", device())), None),
                tar::EntryType::Fifo => (NodeKind::Special("p".into()), None),
                _ => read_file(&mut entry)?,
            };
            let node = Node {
                kind,
                mode: header.mode()? & 0o7777,
                uid: header.uid()?,
                gid: header.gid()?,
                mtime: header.mtime()? as i64,
                xattrs,
                content,
            };
            nodes.push((path, node));
        }
        Ok(nodes)
    }

    /// Puts the entries of a layer on top, with whiteouts.
    pub fn apply(&mut self, layer: &[(String, Node)]) {
        // Whiteouts hide what lower layers have, never what their own layer brings, whatever the order (G32).
        for (path, _) in layer {
            let path = clean(path);
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name == ".wh..wh..opq" {
                self.remove_below(parent);
            } else if let Some(name) = name.strip_prefix(".wh.") {
                let gone = if parent.is_empty() {
                    name.to_owned()
                } else {
                    format!("{parent}/{name}")
                };
                self.remove_below(&gone);
                self.0.remove(&gone);
            }
        }
        for (path, node) in layer {
            let path = clean(path);
            if path.is_empty()
                || path
                    .rsplit('/')
                    .next()
                    .is_some_and(|name| name.starts_with(".wh."))
            {
                continue;
            }
            let mut node = node.clone();
            if let NodeKind::Hardlink(target) = &node.kind {
                let target = clean(target);
                let Some(first) = self.0.get_mut(&target) else {
                    panic!("hard link `{path}` to `{target}`, which is not there");
                };
                if let NodeKind::File { linked, .. } = &mut first.kind {
                    linked.get_or_insert(target);
                }
                node = first.clone();
            }
            if node.kind != NodeKind::Directory {
                self.remove_below(&path);
            }
            self.0.insert(path, node);
        }
        self.name_links();
    }

    fn remove_below(&mut self, directory: &str) {
        let prefix = format!("{directory}/");
        self.0
            .retain(|path, _| !(directory.is_empty() || path.starts_with(&prefix)));
    }

    // The name of a link group is its first path, whichever name the archive used for the data.
    fn name_links(&mut self) {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, node) in &self.0 {
            if let NodeKind::File {
                linked: Some(group),
                ..
            } = &node.kind
            {
                groups.entry(group.clone()).or_default().push(path.clone());
            }
        }
        for paths in groups.values() {
            let name = (paths.len() > 1).then(|| paths[0].clone());
            for path in paths {
                if let Some(Node {
                    kind: NodeKind::File { linked, .. },
                    ..
                }) = self.0.get_mut(path)
                {
                    linked.clone_from(&name);
                }
            }
        }
    }

    /// Reads a folder on disk, as root or as whoever may read it.
    pub fn of_dir(root: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.walk(root)?;
        tree.name_links();
        Ok(tree)
    }

    fn walk(&mut self, root: &Path) -> io::Result<()> {
        let mut inodes: BTreeMap<u64, String> = BTreeMap::new();
        for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
            let full = entry?.into_path();
            let path = full.strip_prefix(root).unwrap_or(&full);
            let path = path.to_string_lossy().into_owned();
            let meta = fs::symlink_metadata(&full)?;
            let kind = meta.file_type();
            let mut content = None;
            let node = if kind.is_dir() {
                NodeKind::Directory
            } else if kind.is_symlink() {
                NodeKind::Symlink(fs::read_link(&full)?.to_string_lossy().into_owned())
            } else if kind.is_file() {
                let (file, bytes) = read_file(&mut fs::File::open(&full)?)?;
                content = bytes;
                let NodeKind::File { size, sha256, .. } = file else {
                    unreachable!("read_file gives files")
                };
                let linked = (meta.nlink() > 1).then(|| {
                    inodes
                        .entry(meta.ino())
                        .or_insert_with(|| path.clone())
                        .clone()
                });
                NodeKind::File {
                    size,
                    sha256,
                    linked,
                }
            } else if kind.is_fifo() {
                NodeKind::Special("p".into())
            } else {
                let letter = if kind.is_block_device() { 'b' } else { 'c' };
                let device = meta.rdev();
                NodeKind::Special(format!(
                    "{letter} {} {}",
                    rustix::fs::major(device),
                    rustix::fs::minor(device)
                ))
            };
            let node = Node {
                kind: node,
                mode: meta.mode() & 0o7777,
                uid: meta.uid().into(),
                gid: meta.gid().into(),
                mtime: meta.mtime(),
                xattrs: xattrs(&full),
                content,
            };
            self.0.insert(path, node);
        }
        Ok(())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, node) in &self.0 {
            writeln!(f, "  {path}  {node}")?;
        }
        Ok(())
    }
}

fn clean(path: &str) -> String {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}

fn read_file(reader: &mut impl Read) -> io::Result<(NodeKind, Option<Vec<u8>>)> {
    let mut hash = Sha256::new();
    let mut kept = Vec::new();
    let mut size = 0_u64;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let got = reader.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        size += got as u64;
        hash.update(&buffer[..got]);
        if size <= KEPT {
            kept.extend(&buffer[..got]);
        }
    }
    let kind = NodeKind::File {
        size,
        sha256: hex::encode(hash.finalize()),
        linked: None,
    };
    Ok((kind, (size <= KEPT).then_some(kept)))
}

fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let mut names = vec![0_u8; 4096];
    // A filesystem without extended attributes has none.
    let Ok(length) = rustix::fs::llistxattr(path, &mut names) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0_u8; 65536];
        if let Ok(length) = rustix::fs::lgetxattr(path, name, &mut value) {
            found.insert(
                String::from_utf8_lossy(name).into_owned(),
                hex::encode(&value[..length]),
            );
        }
    }
    found
}
