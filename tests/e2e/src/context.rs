//! Build contexts made in code.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::tree::Tree;

/// A folder with a Dockerfile and files; each method adds one thing and gives the context back.
#[derive(Debug)]
pub struct Context {
    dir: PathBuf,
}

impl Context {
    /// An empty context in `dir`, which is made.
    pub fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir).expect("a context folder");
        Self {
            dir: dir.to_path_buf(),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Writes `Dockerfile`.
    #[must_use]
    pub fn dockerfile(self, text: impl AsRef<str>) -> Self {
        self.file("Dockerfile", text.as_ref())
    }

    /// Writes a file of mode 0644, with its folders.
    #[must_use]
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.file_with_mode(path, 0o644, content)
    }

    /// Writes a file with its folders.
    #[must_use]
    pub fn file_with_mode(self, path: &str, mode: u32, content: impl AsRef<[u8]>) -> Self {
        let full = self.at(path);
        fs::write(&full, content).expect("a context file");
        set_mode(&full, mode);
        set_old(&full);
        self
    }

    /// Makes a directory.
    #[must_use]
    pub fn dir(self, path: &str, mode: u32) -> Self {
        let full = self.at(path);
        fs::create_dir_all(&full).expect("a context folder");
        set_mode(&full, mode);
        self
    }

    /// Makes a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, text: &str) -> Self {
        symlink(text, self.at(path)).expect("a context symlink");
        self
    }

    /// Makes a hard link to an earlier file.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        fs::hard_link(self.dir.join(target), self.at(path)).expect("a context hard link");
        self
    }

    /// What is in the context, to see that a build leaves it alone (J12).
    pub fn tree(&self) -> Tree {
        Tree::of_dir(&self.dir).expect("the context can be read")
    }

    fn at(&self, path: &str) -> PathBuf {
        let full = self.dir.join(path);
        fs::create_dir_all(full.parent().expect("a path below the context"))
            .expect("a context folder");
        full
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

// A fixed time in the past: builds of the same context a second later see the same files.
fn set_old(path: &Path) {
    let Ok(file) = fs::File::open(path) else {
        return;
    };
    // Whoever cannot set the time has written the file just now; then it only looks newer.
    let _ = file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
}
