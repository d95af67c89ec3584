//! A view that shows other views at names of their own.

use std::io::Read;
use std::sync::Arc;

use kiln_layer::ImagePath;

use crate::error::ViewError;
use crate::view::{FileView, Stamp, ViewEntry};

/// A view with the roots of others grafted on, each below a name that lists of directories do not show: ADD takes
/// files from repositories beside those of the context.
#[derive(Debug)]
pub struct Grafted {
    main: Arc<dyn FileView>,
    grafts: Vec<(ImagePath, Arc<dyn FileView>)>,
}

impl Grafted {
    /// The view alone.
    pub fn new(main: Arc<dyn FileView>) -> Self {
        Self {
            main,
            grafts: Vec::new(),
        }
    }

    /// Grafts a view on; gives the path of its root.
    pub fn graft(&mut self, view: Arc<dyn FileView>) -> ImagePath {
        // No file can have this name.
        let name = format!("\0{}", self.grafts.len());
        let path = ImagePath::from(name.as_str());
        self.grafts.push((path.clone(), view));
        path
    }

    /// Whose `path` is, and what it is called there.
    fn owner(&self, path: &ImagePath) -> (&dyn FileView, Option<&ImagePath>, ImagePath) {
        let own = self
            .grafts
            .iter()
            .find(|(place, _)| path.starts_with(place));
        match own {
            Some((place, view)) => {
                let rest = &path.as_bytes()[place.as_bytes().len()..];
                let inner = ImagePath::from_bytes_cleaned(rest);
                (view.as_ref(), Some(place), inner)
            }
            None => (self.main.as_ref(), None, path.clone()),
        }
    }
}

/// An entry of a graft under its name here.
fn placed(mut found: ViewEntry, place: Option<&ImagePath>) -> ViewEntry {
    if let Some(place) = place {
        found.entry.path = place.join(found.entry.path.as_bytes());
    }
    found
}

impl FileView for Grafted {
    fn lstat(&self, path: &ImagePath) -> Result<Option<ViewEntry>, ViewError> {
        let (view, place, inner) = self.owner(path);
        Ok(view.lstat(&inner)?.map(|found| placed(found, place)))
    }

    fn read_dir(&self, path: &ImagePath) -> Result<Vec<ViewEntry>, ViewError> {
        let (view, place, inner) = self.owner(path);
        let found = view.read_dir(&inner)?.into_iter();
        Ok(found.map(|found| placed(found, place)).collect())
    }

    fn open(&self, path: &ImagePath) -> Result<Box<dyn Read + Send + '_>, ViewError> {
        let (view, _, inner) = self.owner(path);
        view.open(&inner)
    }

    fn wants_prefetch(&self) -> bool {
        let mut grafts = self.grafts.iter();
        self.main.wants_prefetch() || grafts.any(|(_, view)| view.wants_prefetch())
    }

    fn prefetch(&self, paths: &[ImagePath]) -> Result<(), ViewError> {
        let part = |place: Option<&ImagePath>| -> Vec<ImagePath> {
            let owned = paths.iter().map(|path| self.owner(path));
            owned
                .filter(|(_, owner, _)| *owner == place)
                .map(|(_, _, inner)| inner)
                .collect()
        };
        self.main.prefetch(&part(None))?;
        for (place, view) in &self.grafts {
            view.prefetch(&part(Some(place)))?;
        }
        Ok(())
    }

    fn stamp(&self, path: &ImagePath) -> Option<Stamp> {
        let (view, _, inner) = self.owner(path);
        view.stamp(&inner)
    }

    fn is_stable(&self) -> bool {
        self.main.is_stable() && self.grafts.iter().all(|(_, view)| view.is_stable())
    }
}

#[cfg(test)]
mod tests {
    use kiln_dockerfile::PatternSet;
    use kiln_layer::Root;

    use super::*;
    use crate::{DirectoryView, resolve};

    #[test]
    fn a_graft_has_its_own_root() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(one.path().join("f"), "one").unwrap();
        std::fs::create_dir(two.path().join("d")).unwrap();
        std::fs::write(two.path().join("d/f"), "two").unwrap();
        std::os::unix::fs::symlink("/d", two.path().join("link")).unwrap();
        let view = |dir: &tempfile::TempDir| -> Arc<dyn FileView> {
            let root = Root::open(dir.path()).unwrap();
            Arc::new(DirectoryView::new(root, PatternSet::default()))
        };
        let mut all = Grafted::new(view(&one));
        let at = all.graft(view(&two));
        let text = |path: &ImagePath| {
            let mut text = String::new();
            all.open(path).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(text(&"f".into()), "one");
        assert_eq!(text(&at.join(b"d/f")), "two");
        let names = |path: &ImagePath| -> Vec<String> {
            let found = all.read_dir(path).unwrap();
            found
                .iter()
                .map(|found| found.entry.path.to_string())
                .collect()
        };
        assert_eq!(
            names(&ImagePath::root()),
            [ImagePath::from("f").to_string()]
        );
        assert_eq!(names(&at.join(b"d")), [at.join(b"d/f").to_string()]);
        assert!(
            resolve(&all, at.as_bytes(), true)
                .unwrap()
                .unwrap()
                .is_dir()
        );
    }
}
