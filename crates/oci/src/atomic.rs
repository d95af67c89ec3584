//! Files that appear under their name only when they are whole: temporary name, fsync, rename.
//!
//! They are for their owner and its group, because they may hold what is in private images: other users of a machine
//! have no business there, while pods share a volume by its group.
//!
//! Public for the crates that keep layouts of their own, such as the cache volume.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use tempfile::{Builder, NamedTempFile, TempPath};

/// How temporary files begin, so that leftovers of a killed process can be told apart.
pub const TEMPORARY_PREFIX: &str = ".kiln-tmp-";

/// The mode of files in stores of images, before the umask.
pub const FILE_MODE: u32 = 0o640;

/// The mode of their directories.
pub const DIRECTORY_MODE: u32 = 0o750;

/// Bytes moved at once.
const CHUNK: usize = 256 << 10;

/// A file under a temporary name, removed when dropped unpublished.
#[derive(Debug)]
pub struct Staged {
    file: Option<File>,
    path: TempPath,
}

impl Staged {
    /// Makes an empty file in `dir`, which must be on the filesystem where it will be published.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let (file, path) = builder(dir)?.into_parts();
        Ok(Self {
            file: Some(file),
            path,
        })
    }

    /// Gives an existing file a second, temporary name in `dir`. The caller syncs its content.
    pub fn link(dir: &Path, existing: &Path) -> io::Result<Self> {
        // A symlink here would be linked as such and dangle once its target goes.
        if fs::symlink_metadata(existing)?.file_type().is_symlink() {
            return Err(ErrorKind::InvalidInput.into());
        }
        let linked = Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .make_in(dir, |path| fs::hard_link(existing, path))?;
        let ((), path) = linked.into_parts();
        Ok(Self { file: None, path })
    }

    /// Writes everything `reader` gives and returns how much that was.
    pub fn fill(&mut self, reader: &mut impl Read) -> io::Result<u64> {
        let Some(file) = &mut self.file else {
            return Err(ErrorKind::Unsupported.into());
        };
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            file.write_all(&buffer[..count])?;
            total += count as u64;
        }
    }

    /// Syncs the content and moves the file to `to`, in place of what is there.
    pub fn publish(self, to: &Path) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_data()?;
        }
        let temporary = self.path.to_path_buf();
        self.path.persist(to).map_err(|error| error.error)?;
        // rename(2) does nothing when both names already are the same file, and then the temporary one stays.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        sync_parent(to)
    }

    /// Like [`Staged::publish`], but leaves a file that is there already and says whether this one came first.
    pub fn publish_new(self, to: &Path) -> io::Result<bool> {
        if let Some(file) = &self.file {
            file.sync_data()?;
        }
        match self.path.persist_noclobber(to) {
            Ok(()) => sync_parent(to).map(|()| true),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    }
}

/// Makes the file `to` with `content` unless it exists; the temporary name is in `dir`.
pub fn create_new(dir: &Path, to: &Path, content: &[u8]) -> io::Result<bool> {
    let mut staged = Staged::new(dir)?;
    staged.fill(&mut &content[..])?;
    staged.publish_new(to)
}

/// Makes or replaces the file `to` with `content`; the temporary name is in `dir`.
pub fn replace(dir: &Path, to: &Path, content: &[u8]) -> io::Result<()> {
    let mut staged = Staged::new(dir)?;
    staged.fill(&mut &content[..])?;
    staged.publish(to)
}

fn builder(dir: &Path) -> io::Result<NamedTempFile> {
    Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(FILE_MODE))
        .tempfile_in(dir)
}

/// Makes a directory of a store, and those above it as the umask has it.
pub fn create_dir(dir: &Path) -> io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        other => other,
    }
}

/// The mode that the umask gives to an ordinary new file, found by making one in `dir`: asking for the umask means
/// setting it, for all threads.
pub fn ordinary_mode(dir: &Path) -> io::Result<u32> {
    let file = Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir)?;
    Ok(file.as_file().metadata()?.permissions().mode() & 0o666)
}

/// The mode of a directory beside files of this mode: whoever may read may enter.
pub(crate) fn directory_mode(file_mode: u32) -> u32 {
    file_mode | (file_mode & 0o444) >> 2
}

/// A rename is only safe from a power cut when its directory is synced; not every filesystem can do that.
fn sync_parent(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    match File::open(parent).and_then(|dir| dir.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
