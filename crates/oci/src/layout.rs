//! OCI image layouts on disk: `oci-layout`, `index.json` and `blobs/sha256/<hex>`.
//!
//! Several processes may read and write one layout. Every file appears under its name only when it is whole: written
//! to a temporary name in the same directory tree, synced, renamed. `index.json` is read, changed and replaced under
//! an exclusive lock on the `oci-layout` file, which is always there and never replaced; the lock of a process that
//! died is gone with it. What others put into `index.json` is kept, unknown fields included (I38).

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::SmallFile;
use crate::atomic::{self, Staged};
use crate::document::{self, MAX_DOCUMENT};
use crate::index::{FOREIGN, KNOWN};
use crate::manifest::refuse_others;
use crate::{
    Descriptor, Digest, DocumentError, ImageConfig, Index, Manifest, Mismatch, NoMatch, Platform,
    VerifyingReader,
};

/// The annotation that names an entry of a layout's index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's annotation with the full name; read, not written.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const MARKER: &str = "oci-layout";
const INDEX: &str = "index.json";
const DOCUMENT: &str = "image index";
/// `oci-layout` and `index.json`.
const FILE: SmallFile = SmallFile::new("a file of an OCI layout (MAX_DOCUMENT)", MAX_DOCUMENT);
/// Manifests that are read to find out what an index means that does not say so itself.
pub const MAX_CANDIDATES: usize = 32;
/// Indexes inside indexes beyond this depth are not followed (I24).
const MAX_DEPTH: u32 = 4;

/// An OCI image layout directory.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

/// What can go wrong with a layout.
#[derive(Debug, Error)]
pub enum LayoutError {
    /// The system refused an operation.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// What was tried: `read`, `create`, ...
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no `oci-layout` file.
    #[error("`{}` is not an OCI image layout: it has no `oci-layout` file", dir.display())]
    NotALayout {
        /// The directory.
        dir: PathBuf,
    },
    /// The `oci-layout` file is not what it should be.
    #[error("`{}` has layout version `{version}`, only `1.x` is supported", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says, empty when it says nothing.
        version: String,
    },
    /// A document in the layout cannot be read.
    #[error("`{}` cannot be used", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// A manifest or config is larger than any real one.
    #[error("`{}` has {size} bytes or more, and no manifest or config has more than {MAX_DOCUMENT} (MAX_DOCUMENT)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// A blob is not what its name says, or not what was announced (I25).
    #[error("blob `{}` is not what it should be", path.display())]
    Mismatch {
        /// The file or the place it was meant for.
        path: PathBuf,
        /// Expected and actual.
        #[source]
        source: Mismatch,
    },
    /// An index that sends whoever reads it through very many manifests.
    #[error("layout `{}` has more than {MAX_CANDIDATES} manifests that do not say what platform they are for (MAX_CANDIDATES)", dir.display())]
    Candidates {
        /// The layout.
        dir: PathBuf,
    },
    /// Nothing in the layout is for the wanted platform.
    #[error("layout `{}` does not fit", dir.display())]
    Platform {
        /// The layout.
        dir: PathBuf,
        /// Wanted and available.
        #[source]
        source: Box<NoMatch>,
    },
}

impl Layout {
    /// Opens a layout for writing; what is missing of it is made, what is there is kept (I38).
    ///
    /// What is made is for its owner and group, until [`Layout::give_out`].
    pub fn create(dir: &Path) -> Result<Self, LayoutError> {
        let blobs = dir.join("blobs");
        for part in [&blobs, &blobs.join("sha256")] {
            atomic::create_dir(part).map_err(failed("create", part))?;
        }
        let layout = Self {
            dir: dir.to_owned(),
        };
        let marker = dir.join(MARKER);
        if !marker.exists() {
            let content = json!({"imageLayoutVersion": "1.0.0"}).to_string();
            atomic::create_new(dir, &marker, content.as_bytes())
                .map_err(failed("create", &marker))?;
        }
        layout.check_version()?;
        let index = dir.join(INDEX);
        if !index.exists() {
            let content = Index::new(crate::Family::Oci, Vec::new()).to_bytes();
            atomic::create_new(dir, &index, &content).map_err(failed("create", &index))?;
        }
        Ok(layout)
    }

    /// Opens an existing layout; it may be read-only.
    pub fn open(dir: &Path) -> Result<Self, LayoutError> {
        let layout = Self {
            dir: dir.to_owned(),
        };
        layout.check_version()?;
        Ok(layout)
    }

    fn check_version(&self) -> Result<(), LayoutError> {
        let path = self.dir.join(MARKER);
        let text = match FILE.read(&path) {
            Ok(text) => text,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(LayoutError::NotALayout {
                    dir: self.dir.clone(),
                });
            }
            Err(error) => return Err(failed("read", &path)(error)),
        };
        let version = serde_json::from_slice::<Value>(&text)
            .ok()
            .and_then(|value| value.get("imageLayoutVersion")?.as_str().map(str::to_owned))
            .unwrap_or_default();
        if version.starts_with("1.") {
            Ok(())
        } else {
            Err(LayoutError::Version { path, version })
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join("sha256").join(digest.hex())
    }

    /// Whether the blob is there; its content was checked when it was written.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Whether the blob is there in the announced length.
    fn has_whole_blob(&self, expected: &Descriptor) -> bool {
        fs::metadata(self.blob_path(&expected.digest()))
            .is_ok_and(|found| found.is_file() && found.len() == expected.size())
    }

    /// Stores what `reader` gives, which must be exactly what `expected` says; a blob that is there already is kept
    /// and the reader left alone.
    pub fn write_blob(&self, reader: impl Read, expected: &Descriptor) -> Result<(), LayoutError> {
        if self.has_whole_blob(expected) {
            return Ok(());
        }
        let path = self.blob_path(&expected.digest());
        let mut reader = VerifyingReader::new(reader, expected.digest(), Some(expected.size()));
        let mut staged =
            Staged::new(&self.dir).map_err(failed("create a temporary file in", &self.dir))?;
        staged
            .fill(&mut reader)
            .map_err(|error| unsuitable(&path, "write", error))?;
        staged.publish(&path).map_err(failed("create", &path))
    }

    /// Stores bytes held in memory and returns their descriptor.
    pub fn write_bytes(
        &self,
        media_type: impl Into<crate::MediaType>,
        bytes: &[u8],
    ) -> Result<Descriptor, LayoutError> {
        let descriptor = Descriptor::of(media_type, bytes);
        self.write_blob(bytes, &descriptor)?;
        Ok(descriptor)
    }

    /// Takes in a finished file whose digest the caller has computed: by hard link where the filesystem allows, else
    /// by a copy that is verified. The caller must not change the file afterwards.
    pub fn adopt_blob(&self, path: &Path, digest: &Digest) -> Result<(), LayoutError> {
        let source = crate::open_file(path).map_err(failed("open", path))?;
        let size = source.metadata().map_err(failed("read", path))?.len();
        let expected = Descriptor::new(crate::MediaType::Other(String::new()), *digest, size);
        if self.has_whole_blob(&expected) {
            return Ok(());
        }
        source.sync_data().map_err(failed("sync", path))?;
        let at = self.blob_path(digest);
        match Staged::link(&self.dir, path) {
            Ok(staged) => staged.publish(&at).map_err(failed("create", &at)),
            // Another filesystem, or one without hard links, or too many of them.
            Err(_) => self.write_blob(source, &expected),
        }
    }

    /// Reads a small blob whole and verifies it.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
        let path = self.blob_path(digest);
        let file = crate::open_file(&path).map_err(failed("open", &path))?;
        let size = file.metadata().map_err(failed("read", &path))?.len();
        if size > MAX_DOCUMENT {
            return Err(LayoutError::TooLarge { path, size });
        }
        let mut bytes = Vec::new();
        VerifyingReader::new(file, *digest, None)
            .read_to_end(&mut bytes)
            .map_err(|error| unsuitable(&path, "read", error))?;
        Ok(bytes)
    }

    /// Opens a blob; reading to its end fails if it is not what `expected` says.
    pub fn open_blob(&self, expected: &Descriptor) -> Result<VerifyingReader<File>, LayoutError> {
        let path = self.blob_path(&expected.digest());
        let file = crate::open_file(&path).map_err(failed("open", &path))?;
        Ok(VerifyingReader::new(
            file,
            expected.digest(),
            Some(expected.size()),
        ))
    }

    /// Reads a blob to its end without keeping it, and fails if it is not what `expected` says.
    pub fn verify_blob(&self, expected: &Descriptor) -> Result<(), LayoutError> {
        let path = self.blob_path(&expected.digest());
        io::copy(&mut self.open_blob(expected)?, &mut io::sink())
            .map(|_| ())
            .map_err(|error| unsuitable(&path, "read", error))
    }

    /// The layout's `index.json`, without entries that cannot be ours because their digest is not SHA-256.
    pub fn index(&self) -> Result<Index, LayoutError> {
        let (mut fields, entries) = self.read_index_json()?;
        let readable = entries.into_iter().filter(is_readable).collect();
        fields.insert("manifests".to_owned(), Value::Array(readable));
        serde_json::from_value(Value::Object(fields)).map_err(self.bad_index())
    }

    /// Lists `descriptor` in `index.json`, last.
    ///
    /// It takes the place of entries with the same name ([`REF_NAME`]) and platform, and of the very same manifest
    /// listed without a name; everything else in the file stays.
    pub fn add_manifest(&self, descriptor: &Descriptor) -> Result<(), LayoutError> {
        let _lock = self.lock()?;
        let (fields, mut entries) = self.read_index_json()?;
        retain(&mut entries, |old| !replaces(descriptor, old));
        entries.push(serde_json::to_value(descriptor).map_err(self.bad_index())?);
        self.write_index_json(fields, entries)
    }

    /// Takes a manifest that is listed without a name out of `index.json`; its blobs stay.
    pub fn remove_unnamed(&self, manifest: &Digest) -> Result<(), LayoutError> {
        let _lock = self.lock()?;
        let (fields, mut entries) = self.read_index_json()?;
        let before = entries.len();
        retain(&mut entries, |old| {
            old.digest() != *manifest || old.annotation(REF_NAME).is_some()
        });
        if entries.len() == before {
            return Ok(());
        }
        self.write_index_json(fields, entries)
    }

    /// Gives the files of a finished layout, `blobs` among them, the modes that the umask says: it is what somebody
    /// asked for, and no longer the half of it. Files of another owner stay as they are.
    pub fn give_out(&self, blobs: impl IntoIterator<Item = Digest>) -> Result<(), LayoutError> {
        let file_mode =
            atomic::ordinary_mode(&self.dir).map_err(failed("create a file in", &self.dir))?;
        let own = [self.dir.join(MARKER), self.dir.join(INDEX)];
        let blobs = blobs.into_iter().map(|digest| self.blob_path(&digest));
        for path in own.into_iter().chain(blobs) {
            set_mode(&path, file_mode)?;
        }
        let dirs = [self.dir.join("blobs"), self.dir.join("blobs/sha256")];
        for path in dirs {
            set_mode(&path, atomic::directory_mode(file_mode))?;
        }
        Ok(())
    }

    fn write_index_json(
        &self,
        mut fields: Map<String, Value>,
        entries: Vec<Value>,
    ) -> Result<(), LayoutError> {
        fields.insert("manifests".to_owned(), Value::Array(entries));
        let path = self.dir.join(INDEX);
        let bytes = document::to_bytes(&fields);
        atomic::replace(&self.dir, &path, &bytes).map_err(failed("replace", &path))
    }

    /// `index.json` and, apart from it, its entries.
    fn read_index_json(&self) -> Result<(Map<String, Value>, Vec<Value>), LayoutError> {
        let path = self.dir.join(INDEX);
        let bytes = FILE.read(&path).map_err(failed("read", &path))?;
        refuse_others(&bytes, DOCUMENT, |media_type| !media_type.is_manifest())
            .and_then(|()| document::unambiguous(DOCUMENT, &bytes, &KNOWN, &FOREIGN))
            .map_err(|source| LayoutError::Document { path, source })?;
        let mut fields: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(self.bad_index())?;
        let entries = match fields.get_mut("manifests") {
            Some(entries) => serde_json::from_value(entries.take()).map_err(self.bad_index())?,
            None => None,
        };
        Ok((fields, entries.unwrap_or_default()))
    }

    fn bad_index(&self) -> impl Fn(serde_json::Error) -> LayoutError + use<> {
        let path = self.dir.join(INDEX);
        move |source| LayoutError::Document {
            path: path.clone(),
            source: DocumentError::Json {
                document: DOCUMENT,
                source,
            },
        }
    }

    /// The manifest for `wanted` among the entries with this name, or among all when there is no name.
    ///
    /// Nested indexes are followed; an entry that does not say what it is for is asked through its config (I24). A
    /// single manifest for another platform is returned all the same, for the caller to warn about (C15).
    /// `None`: no entry has the name.
    pub fn find(
        &self,
        name: Option<&str>,
        wanted: &Platform,
    ) -> Result<Option<Descriptor>, LayoutError> {
        let index = self.index()?;
        let fits = |entry: &&Descriptor| {
            !entry.is_attestation() && name.is_none_or(|name| is_named(entry, name))
        };
        let found: Vec<Descriptor> = index.manifests().iter().filter(fits).cloned().collect();
        match found.as_slice() {
            [] => Ok(None),
            [only] if !only.media_type().is_index() => Ok(Some(only.clone())),
            _ => {
                let index = Index::new(crate::Family::Oci, found);
                self.choose(&index, wanted, MAX_DEPTH, &mut { MAX_CANDIDATES })
                    .map(Some)
            }
        }
    }

    /// The manifest for `wanted` below one entry: the entry itself, or what the index it names offers (C15, I24).
    pub fn find_in(
        &self,
        entry: &Descriptor,
        wanted: &Platform,
    ) -> Result<Descriptor, LayoutError> {
        if entry.media_type().is_index() {
            let index = self.read_index(entry)?;
            self.choose(&index, wanted, MAX_DEPTH, &mut { MAX_CANDIDATES })
        } else {
            Ok(entry.clone())
        }
    }

    fn choose(
        &self,
        index: &Index,
        wanted: &Platform,
        depth: u32,
        left: &mut usize,
    ) -> Result<Descriptor, LayoutError> {
        let mut miss = match index.select(wanted) {
            Ok(entry) if entry.media_type().is_index() && depth > 0 => {
                return self.choose(&self.read_index(entry)?, wanted, depth - 1, left);
            }
            Ok(entry) => return Ok(entry.clone()),
            Err(miss) => miss,
        };
        let mut best: Option<(u32, Descriptor)> = None;
        for entry in std::mem::take(&mut miss.unlabelled) {
            *left = left.checked_sub(1).ok_or_else(|| LayoutError::Candidates {
                dir: self.dir.clone(),
            })?;
            if entry.media_type().is_index() {
                if depth == 0 {
                    continue;
                }
                match self.choose(&self.read_index(&entry)?, wanted, depth - 1, left) {
                    Ok(found) => return Ok(found),
                    Err(LayoutError::Platform { source, .. }) => {
                        miss.available.extend(source.available);
                    }
                    Err(other) => return Err(other),
                }
                continue;
            }
            let platform = self.read_platform(&entry)?;
            if let Some(rank) = wanted.rank(&platform)
                && best.as_ref().is_none_or(|(least, _)| rank < *least)
            {
                best = Some((rank, entry));
            }
            miss.available.push(platform);
        }
        best.map(|(_, entry)| entry).ok_or(LayoutError::Platform {
            dir: self.dir.clone(),
            source: miss,
        })
    }

    fn read_index(&self, entry: &Descriptor) -> Result<Index, LayoutError> {
        Index::parse(&self.read_blob(&entry.digest())?).map_err(self.bad_blob(entry.digest()))
    }

    fn read_platform(&self, entry: &Descriptor) -> Result<Platform, LayoutError> {
        let manifest = Manifest::parse(&self.read_blob(&entry.digest())?)
            .map_err(self.bad_blob(entry.digest()))?;
        let digest = manifest.config().digest();
        let config =
            ImageConfig::parse(&self.read_blob(&digest)?).map_err(self.bad_blob(digest))?;
        Ok(config.platform())
    }

    fn bad_blob(&self, digest: Digest) -> impl Fn(DocumentError) -> LayoutError {
        let path = self.blob_path(&digest);
        move |source| LayoutError::Document {
            path: path.clone(),
            source,
        }
    }

    /// Waits until no other process changes `index.json`; released on drop.
    fn lock(&self) -> Result<IndexLock, LayoutError> {
        let path = self.dir.join(MARKER);
        // Open for writing, which NFS needs for an exclusive lock.
        let file = crate::open_file_to_write(&path, File::options().read(true))
            .map_err(failed("open", &path))?;
        file.lock().map_err(failed("lock", &path))?;
        Ok(IndexLock(file))
    }
}

/// Unlocks on drop. Closing would not be enough: a child process that was just forked and has yet to exec holds the
/// same lock.
struct IndexLock(File);

impl Drop for IndexLock {
    fn drop(&mut self) {
        // Should this fail, closing does it a little later.
        let _ = self.0.unlock();
    }
}

/// Keeps entries as plain JSON, so that unknown fields stay, and those that are no descriptors of ours.
fn retain(entries: &mut Vec<Value>, keep: impl Fn(&Descriptor) -> bool) {
    entries.retain(|entry| {
        serde_json::from_value::<Descriptor>(entry.clone()).map_or(true, |entry| keep(&entry))
    });
}

fn replaces(new: &Descriptor, old: &Descriptor) -> bool {
    match (new.annotation(REF_NAME), old.annotation(REF_NAME)) {
        (Some(new_name), Some(old_name)) => {
            let same_platform = match (new.platform(), old.platform()) {
                (Some(new), Some(old)) => new.normalized() == old.normalized(),
                _ => true,
            };
            new_name == old_name && same_platform
        }
        (_, None) => new.digest() == old.digest(),
        (None, Some(_)) => false,
    }
}

/// An entry with a digest of another algorithm belongs to a tool that can use it.
fn is_readable(entry: &Value) -> bool {
    entry
        .get("digest")
        .and_then(Value::as_str)
        .is_some_and(|text| text.parse::<Digest>().is_ok())
}

fn is_named(entry: &Descriptor, name: &str) -> bool {
    let keys = [REF_NAME, CONTAINERD_NAME];
    keys.iter().any(|key| entry.annotation(key) == Some(name))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), LayoutError> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done.map_err(failed("set the mode of", path)),
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayoutError + use<> {
    let path = path.to_owned();
    move |source| LayoutError::Io {
        operation,
        path,
        source,
    }
}

/// Tells wrong content from a failing disk.
fn unsuitable(path: &Path, operation: &'static str, error: io::Error) -> LayoutError {
    match Mismatch::from_io(&error) {
        Some(mismatch) => LayoutError::Mismatch {
            path: path.to_owned(),
            source: mismatch.clone(),
        },
        None => failed(operation, path)(error),
    }
}

#[cfg(test)]
mod tests;
