//! WORKDIR: the directory is made if it is missing (conformance F6-F8).

use kiln_layer::{Entry, EntryKind, ImagePath, NodeKind, Xattrs};

use super::{StepError, Stepper};
use kiln_copy::node::entry_of;
use kiln_copy::{Content, Item, Items, SETGID};
use kiln_store::layers::Made;

impl Stepper<'_> {
    pub(super) fn set_workdir(&mut self, path: &str) -> Result<(), StepError> {
        let Some(path) = self.joined_workdir(path)? else {
            return Ok(());
        };
        let layer = self.workdir_layer(&path)?;
        self.enter_workdir(path, layer)
    }

    /// The directory that WORKDIR names; `None` when it is empty after expansion (F6).
    pub(super) fn joined_workdir(&self, path: &str) -> Result<Option<String>, StepError> {
        let path = self.expand(path)?;
        Self::check_path("path of WORKDIR", &path)?;
        if path.is_empty() || path.starts_with('/') {
            return Ok(Some(path).filter(|path| !path.is_empty()));
        }
        // Only what is joined gets cleaned; an absolute path stays as it is written (F6).
        let joined = format!("{}/{path}", self.state.workdir());
        let cleaned = ImagePath::from_bytes_cleaned(joined.as_bytes());
        let path = format!("/{cleaned}");
        Self::check_path("path of WORKDIR", &path)?;
        Ok(Some(path))
    }

    pub(super) fn enter_workdir(
        &mut self,
        path: String,
        layer: Option<kiln_store::layers::Layer>,
    ) -> Result<(), StepError> {
        let text = format!("WORKDIR {path}");
        self.state.config.config.working_dir = path;
        self.record(text, layer)
    }

    /// The layer that makes the directory, every missing parent too, owned by the current user (F7).
    fn workdir_layer(
        &mut self,
        path: &str,
    ) -> Result<Option<kiln_store::layers::Layer>, StepError> {
        if ImagePath::from_bytes_cleaned(path.as_bytes()).is_root() {
            return Ok(None);
        }
        let tree = self.state.tree(&self.plan_run.run.blobs)?;
        let resolved = tree
            .resolve(path.as_bytes(), true)
            .map_err(|source| StepError::Path {
                path: path.to_owned(),
                source,
            })?;
        match resolved.node.map(|node| &node.kind) {
            Some(NodeKind::Directory) => return Ok(None),
            Some(_) => {
                return Err(StepError::NotADirectory {
                    path: resolved.path.to_string(),
                });
            }
            None => {}
        }
        let user = self.state.config.config.user.clone();
        // As `--chown` reads it: a number without a group stands for both ids, whatever the passwd file says.
        let (uid, gid) = self.accounts_for(&user)?.owner(&user)?;
        let now = self.plan_run.run.clock.seconds();
        let mut items = Items::default();
        let mut chain = vec![resolved.path.clone()];
        chain.extend(std::iter::successors(
            resolved.path.parent(),
            ImagePath::parent,
        ));
        // One with the set-group-id bit gives those below it the bit, and its group if nobody is their owner.
        let mut above = (0, 0);
        for dir in chain.into_iter().rev() {
            let entry = match tree.get(&dir) {
                Some(node) => entry_of(dir, node),
                None => Entry {
                    path: dir,
                    kind: EntryKind::Directory,
                    mode: 0o755 | above.0,
                    uid,
                    gid: if user.is_empty() { above.1 } else { gid },
                    mtime: now,
                    xattrs: Xattrs::default(),
                },
            };
            let bit = entry.mode & SETGID;
            above = (bit, if bit == 0 { 0 } else { entry.gid });
            if entry.path.is_root() {
                continue;
            }
            items.put(Item {
                entry,
                content: Content::None,
                link: None,
            });
        }
        Ok(Some(
            self.plan_run
                .run
                .packer
                .start(Made::Items(items), self.subject()),
        ))
    }
}
