//! One test's private folder and registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::base::Base;
use crate::build::Build;
use crate::context::Context;
use crate::registry::Registry;
use crate::tool::warmer;

/// A folder with a name that no other test has, holding the context, outputs, and the builder's HOME and TMPDIR.
#[derive(Debug)]
pub struct Case {
    dir: TempDir,
    registry: Option<Registry>,
}

impl Case {
    /// A case on the registry that this test process shares.
    pub fn new() -> Self {
        Self::make(&std::env::temp_dir(), None)
    }

    /// A case with a registry of its own.
    pub fn with_registry(registry: Registry) -> Self {
        Self::make(&std::env::temp_dir(), Some(registry))
    }

    /// A case whose folder is below `parent`.
    pub fn below(parent: &Path) -> Self {
        Self::make(parent, None)
    }

    /// A case whose folder is below `parent`, with a registry of its own.
    pub fn below_with_registry(parent: &Path, registry: Registry) -> Self {
        Self::make(parent, Some(registry))
    }

    fn make(parent: &Path, registry: Option<Registry>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kiln-e2e-")
            .tempdir_in(parent)
            .expect("a folder for the test");
        // Others must get in: some builds run as another user.
        open_up(dir.path());
        for name in ["tmp", "home", "out"] {
            fs::create_dir(dir.path().join(name)).expect("a folder for the test");
        }
        Self { dir, registry }
    }

    /// A path below the case's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The last part of the folder's name: nobody else's command line has it.
    pub fn id(&self) -> String {
        self.dir
            .path()
            .file_name()
            .expect("a folder has a name")
            .to_string_lossy()
            .into_owned()
    }

    /// The registry of this case.
    pub fn registry(&self) -> &Registry {
        self.registry.as_ref().unwrap_or_else(|| Registry::shared())
    }

    /// The reference of a base image in the case's registry.
    pub fn base(&self, base: Base) -> String {
        self.registry().base(base)
    }

    /// The context folder `context`.
    pub fn context(&self) -> Context {
        Context::new(&self.path("context"))
    }

    /// A second context folder.
    pub fn context_named(&self, name: &str) -> Context {
        Context::new(&self.path(name))
    }

    /// A reference in the case's registry that only this case pushes to.
    pub fn destination(&self, name: &str) -> String {
        self.registry()
            .reference(&format!("{}/{name}", self.id().to_lowercase()))
    }

    /// The warmer on a volume, with this case's HOME and TMPDIR and nothing else in its environment.
    pub fn warmer(&self, volume: &Path) -> Command {
        let mut command = Command::new(warmer());
        command.arg("--cache-dir").arg(volume);
        self.private(&mut command);
        command
    }

    /// `warmer list` or `warmer prune` on a volume.
    pub fn warmer_does(&self, action: &str, volume: &Path) -> Command {
        let mut command = Command::new(warmer());
        command.arg(action).arg("--cache-dir").arg(volume);
        self.private(&mut command);
        command
    }

    fn private(&self, command: &mut Command) {
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"));
    }

    /// `executor push` of an archive or a layout, to [`Case::destination`] `image` unless told otherwise.
    pub fn push(&self, path: &Path) -> Build<'_> {
        Build::push(self, path)
    }

    /// A build of a context, pushed to [`Case::destination`] `image` unless told otherwise.
    pub fn build(&self, context: &Context) -> Build<'_> {
        Build::new(self, context.path())
    }
}

pub(crate) fn open_up(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("a mode can be set");
}
