//! A directory of the container where the image has a link: one name too many for one place.
//!
//! Every pod has a service account mounted below `/var/run`, and most images have a link from there to `/run`. The mounted
//! directory cannot be replaced by the link, so while a command runs it is the other way round: `/var/run` holds the files
//! and `/run` is a link to it. Both names lead to the same files, as in the image. Afterwards all is in `/run`, and what
//! is at the link's path is the container's and not looked at.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use kiln_layer::{Entry, EntryKind, ImagePath};

use super::placed::{Time, give, move_entry, remove};
use super::{RootError, io_error};

/// Where layers have links among the directories that lead to something mounted.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Every such directory, and the text of the link that the layers so far have there.
    watched: BTreeMap<ImagePath, Option<Vec<u8>>>,
}

impl Links {
    /// Watches the directories above `mounts`, but none that has to do with the `owned` paths: what the container, the
    /// builder or the user has there is not the image's, and is moved nowhere.
    pub(super) fn above(mounts: &[ImagePath], owned: &[ImagePath]) -> Links {
        let is_owned = |dir: &ImagePath| {
            owned
                .iter()
                .any(|path| path.starts_with(dir) || dir.starts_with(path))
        };
        let mut watched = BTreeMap::new();
        for path in mounts {
            let mut above = path.parent();
            while let Some(dir) = above.filter(|dir| !dir.is_root()) {
                above = dir.parent();
                if !is_owned(&dir) {
                    watched.insert(dir, None);
                }
            }
        }
        Links { watched }
    }

    /// Takes note of an entry of the next layer.
    pub(super) fn see(&mut self, entry: &Entry) {
        match &entry.kind {
            EntryKind::OpaqueMarker => self.forget(&entry.path, false),
            EntryKind::Whiteout => self.forget(&entry.path, true),
            EntryKind::Symlink { target } => {
                if let Some(known) = self.watched.get_mut(&entry.path) {
                    *known = Some(target.clone());
                }
            }
            _ => {
                if let Some(known) = self.watched.get_mut(&entry.path) {
                    *known = None;
                }
            }
        }
    }

    fn forget(&mut self, dir: &ImagePath, itself: bool) {
        for (path, known) in &mut self.watched {
            if path.starts_with(dir) && (itself || path != dir) {
                *known = None;
            }
        }
    }

    /// The links that are directories in the root.
    pub(super) fn twins(&self, root: &Path, kept: &[ImagePath]) -> Vec<Twin> {
        let known = self.watched.iter();
        known
            .filter_map(|(path, text)| Twin::at(root, path, text.as_ref()?, kept))
            .collect()
    }
}

/// One link that cannot be there, and the directory that it leads to.
#[derive(Debug)]
pub(super) struct Twin {
    root: PathBuf,
    /// Where the image has the link, and the root a directory.
    pub(super) link: ImagePath,
    target: ImagePath,
    kept: Vec<ImagePath>,
    joined: Option<Joined>,
}

/// How both names lead to the same files.
#[derive(Debug)]
enum Joined {
    /// The target is a link to the directory.
    Turned,
    /// The target has to stay a directory too; each of its entries has a link beside it.
    Linked,
}

impl Twin {
    fn at(root: &Path, link: &ImagePath, text: &[u8], kept: &[ImagePath]) -> Option<Twin> {
        let is_dir = |path: &ImagePath| {
            fs::symlink_metadata(root.join(path.as_path()))
                .ok()?
                .is_dir()
                .then_some(())
        };
        is_dir(link)?;
        let target = if text.starts_with(b"/") {
            ImagePath::from_bytes_cleaned(text)
        } else {
            link.parent()?.join(text)
        };
        is_dir(&target)?;
        // One in the other cannot be one and the same.
        if target.starts_with(link) || link.starts_with(&target) {
            return None;
        }
        Some(Twin {
            root: root.to_owned(),
            link: link.clone(),
            target,
            kept: kept.to_vec(),
            joined: None,
        })
    }

    fn link(&self) -> PathBuf {
        self.root.join(self.link.as_path())
    }

    fn target(&self) -> PathBuf {
        self.root.join(self.target.as_path())
    }

    /// Whether something kept is at the path or below it.
    fn leads_to_kept(&self, path: &Path) -> bool {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        let path = ImagePath::from(path);
        self.kept.iter().any(|kept| kept.starts_with(&path))
    }

    /// Makes both names lead to the same files.
    pub(super) fn join(&mut self) -> Result<(), RootError> {
        let (link, target) = (self.link(), self.target());
        let both = names(&target)?;
        let both = both.iter().any(|name| link.join(name).exists());
        if both || self.leads_to_kept(&target) {
            self.joined = Some(Joined::Linked);
            return self.link_entries(&link, &target);
        }
        self.joined = Some(Joined::Turned);
        let around = Around::of(&target)?;
        let looks = fs::symlink_metadata(&target).map_err(io_error("read", &target))?;
        let time = Time::of(&target)?;
        for name in names(&target)? {
            move_entry(&target.join(&name), &link.join(&name))?;
        }
        give(&link, looks.mode() & 0o7777, (looks.uid(), looks.gid()))?;
        fs::remove_dir(&target).map_err(io_error("remove", &target))?;
        let text = Path::new("/").join(self.link.as_path());
        symlink(&text, &target).map_err(io_error("link to", &text))?;
        time.set(&link)?;
        around.restore()
    }

    fn link_entries(&self, link: &Path, target: &Path) -> Result<(), RootError> {
        let text = Path::new("/").join(self.target.as_path());
        for name in names(target)? {
            let at = link.join(&name);
            if fs::symlink_metadata(&at).is_err() {
                symlink(text.join(&name), &at).map_err(io_error("create", &at))?;
            }
        }
        Ok(())
    }

    /// Moves all files to where the image has them.
    pub(super) fn part(&mut self) -> Result<(), RootError> {
        let (link, target) = (self.link(), self.target());
        match self.joined.take() {
            None => Ok(()),
            Some(Joined::Linked) => self.unlink_entries(&link, &target),
            Some(Joined::Turned) => self.turn_back(&link, &target),
        }
    }

    fn turn_back(&self, link: &Path, target: &Path) -> Result<(), RootError> {
        let around = Around::of(target)?;
        let looks = fs::symlink_metadata(link).map_err(io_error("read", link))?;
        let time = Time::of(link)?;
        match fs::symlink_metadata(target) {
            Ok(found) if found.is_symlink() => {
                fs::remove_file(target).map_err(io_error("remove", target))?;
                fs::create_dir(target).map_err(io_error("create", target))?;
                self.move_over(link, target)?;
                give(target, looks.mode() & 0o7777, (looks.uid(), looks.gid()))?;
                time.set(target)?;
                return around.restore();
            }
            // The command put another thing there.
            Ok(found) if found.is_dir() => self.move_over(link, target)?,
            // Or removed it, and with it what it held.
            _ => {
                for name in names(link)? {
                    let at = link.join(name);
                    if !self.leads_to_kept(&at) {
                        remove(&at)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn unlink_entries(&self, link: &Path, target: &Path) -> Result<(), RootError> {
        let text = Path::new("/").join(self.target.as_path());
        for name in names(link)? {
            let at = link.join(&name);
            if fs::read_link(&at).is_ok_and(|found| found == text.join(&name)) {
                remove(&at)?;
            }
        }
        self.move_over(link, target)
    }

    /// Moves what is in one directory into the other, but for what leads to something kept.
    fn move_over(&self, from: &Path, to: &Path) -> Result<(), RootError> {
        for name in names(from)? {
            let (old, new) = (from.join(&name), to.join(&name));
            let is_dir = |path: &Path| fs::symlink_metadata(path).map(|found| found.is_dir()).ok();
            match (self.leads_to_kept(&old), is_dir(&old), is_dir(&new)) {
                (_, Some(true), Some(true)) => self.move_over(&old, &new)?,
                (true, ..) => {}
                (false, _, None) => move_entry(&old, &new)?,
                (false, ..) => {
                    remove(&new)?;
                    move_entry(&old, &new)?;
                }
            }
        }
        if !self.leads_to_kept(from) {
            fs::remove_dir(from).map_err(io_error("remove", from))?;
        }
        Ok(())
    }
}

fn names(dir: &Path) -> Result<Vec<std::ffi::OsString>, RootError> {
    let entries = fs::read_dir(dir).map_err(io_error("list", dir))?;
    entries
        .map(|entry| Ok(entry.map_err(io_error("list", dir))?.file_name()))
        .collect()
}

/// The directory around something that is replaced: that is no change of it.
struct Around {
    dir: PathBuf,
    time: Time,
}

impl Around {
    fn of(path: &Path) -> Result<Around, RootError> {
        let dir = path.parent().unwrap_or(Path::new("/")).to_owned();
        let time = Time::of(&dir)?;
        Ok(Around { dir, time })
    }

    fn restore(&self) -> Result<(), RootError> {
        self.time.set(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Scene {
        dir: tempfile::TempDir,
        kept: Vec<ImagePath>,
    }

    /// A root with a mount below `/var/run`, and maybe one below `/run`.
    fn scene(more: &[&str]) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = vec![ImagePath::from("var/run/secrets/account")];
        kept.extend(more.iter().map(|path| ImagePath::from(*path)));
        for path in &kept {
            fs::create_dir_all(dir.path().join(path.as_path())).unwrap();
        }
        fs::create_dir_all(dir.path().join("run/lock")).unwrap();
        fs::set_permissions(dir.path().join("run"), fs::Permissions::from_mode(0o751)).unwrap();
        Scene { dir, kept }
    }

    impl Scene {
        fn twin(&self, text: &str) -> Twin {
            let mut links = Links::above(&self.kept, &[]);
            links.see(&Entry::new(
                ImagePath::from("var/run"),
                EntryKind::Symlink {
                    target: text.as_bytes().to_vec(),
                },
            ));
            let mut twins = links.twins(self.dir.path(), &self.kept);
            assert_eq!(twins.len(), 1);
            twins.remove(0)
        }

        fn at(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }
    }

    // finding 17
    #[test]
    fn what_appears_below_the_link_is_in_its_target() {
        for text in ["/run", "../run", "../../run/."] {
            let scene = scene(&[]);
            let mut twin = scene.twin(text);
            for round in ["one", "two"] {
                twin.join().unwrap();
                // Links in a root are followed from there; here they lead out of it.
                assert_eq!(
                    fs::read_link(scene.at("run")).unwrap(),
                    Path::new("/var/run")
                );
                fs::create_dir(scene.at("var/run").join(round)).unwrap();
                assert!(scene.at("var/run/lock").is_dir());
                twin.part().unwrap();
                assert!(scene.at("run").join(round).is_dir());
            }
            let mode = fs::symlink_metadata(scene.at("run")).unwrap().mode() & 0o7777;
            assert_eq!((mode, scene.at("run/one").is_dir()), (0o751, true));
            assert_eq!(names(&scene.at("var/run")).unwrap(), ["secrets"]);
            assert!(scene.at("var/run/secrets/account").is_dir());
        }
    }

    // finding 17
    #[test]
    fn a_target_with_a_mount_of_its_own_stays() {
        let scene = scene(&["run/secrets/other"]);
        let mut twin = scene.twin("/run");
        twin.join().unwrap();
        let shown = fs::read_link(scene.at("var/run/lock")).unwrap();
        assert_eq!(shown, Path::new("/run/lock"));
        fs::create_dir(scene.at("var/run/sshd")).unwrap();
        fs::create_dir(scene.at("var/run/secrets/mine")).unwrap();
        twin.part().unwrap();
        for path in ["run/sshd", "run/lock", "run/secrets/mine"] {
            assert!(scene.at(path).is_dir(), "{path}");
        }
        assert_eq!(names(&scene.at("var/run")).unwrap(), ["secrets"]);
        assert!(scene.at("run/secrets/other").is_dir());
    }

    // finding 17
    #[test]
    fn a_command_may_remove_or_replace_the_target() {
        let scene = scene(&[]);
        let mut twin = scene.twin("/run");
        twin.join().unwrap();
        fs::remove_file(scene.at("run")).unwrap();
        twin.part().unwrap();
        assert!(!scene.at("run").exists());
        assert_eq!(names(&scene.at("var/run")).unwrap(), ["secrets"]);
    }

    // A link in the place of the builder's folder or of the context would take their files into the image.
    #[test]
    fn what_is_not_the_images_has_no_twin() {
        let path = |text: &str| ImagePath::from(text);
        let mounts = ["var/run/secrets/account", "kaniko/.docker", "workspace"].map(path);
        let owned = ["kaniko/executor", "workspace/context"].map(path);
        let links = Links::above(&mounts, &owned);
        let watched: Vec<String> = links.watched.keys().map(ToString::to_string).collect();
        assert_eq!(watched, ["var", "var/run", "var/run/secrets"]);
        let all = Links::above(&mounts, &[path("var/run")]).watched;
        assert!(!all.contains_key(&path("var/run/secrets")));
    }

    #[test]
    fn only_links_that_last_count() {
        let link = |target: &str| EntryKind::Symlink {
            target: target.as_bytes().to_vec(),
        };
        let entry = |path: &str, kind| Entry::new(ImagePath::from(path), kind);
        let rows: &[(&[Entry], bool)] = &[
            (&[], false),
            (&[entry("var/run", link("/run"))], true),
            (&[entry("elsewhere", link("/run"))], false),
            (
                &[
                    entry("var/run", link("/run")),
                    entry("var/run", EntryKind::Directory),
                ],
                false,
            ),
            (
                &[
                    entry("var/run", link("/run")),
                    Entry::whiteout(ImagePath::from("var")),
                ],
                false,
            ),
            (&[entry("var/run", link("/nowhere"))], false),
            (&[entry("var/run", link("run/secrets"))], false),
        ];
        for (entries, expected) in rows {
            let scene = scene(&[]);
            let mut links = Links::above(&scene.kept, &[]);
            entries.iter().for_each(|entry| links.see(entry));
            let found = links.twins(scene.dir.path(), &scene.kept).len();
            assert_eq!(found == 1, *expected, "{entries:?}");
        }
    }
}
