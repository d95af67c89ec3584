//! The state of one stage: what each step turns into the next.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use kiln_cache_key::CacheKey;
use kiln_context::FileView;
use kiln_layer::{ImagePath, TreeIndex};
use kiln_oci::{ConfigDraft, Family, History, Platform};

use kiln_copy::Items;
use kiln_image::history;
use kiln_plan::scope::StageScope;
use kiln_rootfs::StageRoot;
use kiln_store::base::BaseImage;
use kiln_store::blobs::{BlobError, Blobs};
use kiln_store::image_view::{ImageView, LayerDir};
use kiln_store::layers::Layer;
use kiln_work::spool::Spool;

/// The PATH of images that do not set one (conformance C11, C12).
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Configuration, layers and variables between two steps.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: ConfigDraft,
    pub(crate) layers: Vec<Layer>,
    /// How many of the layers came with the base.
    pub(crate) base_layers: usize,
    /// How many of the history's entries came with the base.
    pub(crate) base_history: usize,
    pub(crate) scope: StageScope,
    /// The media types of the base's manifest; `None` for scratch.
    pub(crate) family: Option<Family>,
    pub(crate) root: Option<Box<dyn StageRoot>>,
    /// The key of what the layers are, if the build has a cache and it is known.
    pub(crate) content_key: Option<CacheKey>,
    tree: Tree,
}

/// The file tree index, merged from as many layers as somebody needed so far.
#[derive(Debug, Clone, Default)]
struct Tree {
    index: Arc<TreeIndex>,
    depth: usize,
}

impl Tree {
    fn grow(&mut self, layers: &[Layer], blobs: &Blobs) -> Result<(), BlobError> {
        while self.depth < layers.len() {
            let number = u32::try_from(self.depth).unwrap_or(u32::MAX);
            let tree = Arc::make_mut(&mut self.index);
            let applied = blobs.apply(&layers[self.depth], tree, number);
            if let Err(error) = applied {
                // A layer that was applied in part is in no tree.
                *self = Self::default();
                return Err(error);
            }
            self.depth += 1;
        }
        Ok(())
    }
}

impl State {
    /// A stage on a base image.
    pub(crate) fn on_base(base: &BaseImage) -> State {
        State::on_image(base.config.draft(), base.layers.clone(), Some(base.family))
    }

    fn on_image(mut config: ConfigDraft, layers: Vec<Layer>, family: Option<Family>) -> State {
        // Triggers fire once and are not inherited (C3, C17).
        config.config.on_build.clear();
        if config.config.env_get("PATH").is_none() {
            config.config.env_set("PATH", DEFAULT_PATH);
        }
        let dir = &mut config.config.working_dir;
        if !dir.is_empty() && !dir.starts_with('/') {
            // What a base says is below its root.
            *dir = format!("/{}", ImagePath::from_bytes_cleaned(dir.as_bytes()));
        }
        pad_history(&mut config, layers.len());
        let scope = StageScope::over_env(&config.config.env);
        State {
            base_layers: layers.len(),
            base_history: config.history.len(),
            config,
            layers,
            scope,
            family,
            root: None,
            content_key: None,
            tree: Tree::default(),
        }
    }

    /// The configuration and variables alone, for a look ahead.
    pub(crate) fn outline(&self) -> State {
        let mut config = self.config.clone();
        config.config.on_build.clear();
        State {
            scope: self.scope.inherited(&config.config.env),
            ..State::on_image(config, Vec::new(), self.family)
        }
    }

    /// A stage on nothing (C11).
    pub(crate) fn on_scratch(platform: &Platform) -> State {
        let mut config = ConfigDraft::default();
        config.set_platform(platform);
        "/".clone_into(&mut config.config.working_dir);
        State::on_image(config, Vec::new(), None)
    }

    /// The index of the files as they are now. Reads the layers of the base if nobody did yet.
    pub(crate) fn tree(&mut self, blobs: &Blobs) -> Result<Arc<TreeIndex>, BlobError> {
        self.tree.grow(&self.layers, blobs)?;
        Ok(Arc::clone(&self.tree.index))
    }

    /// The files as they are now, with their content.
    pub(crate) fn view(
        &mut self,
        blobs: &Arc<Blobs>,
        spool: &Spool,
    ) -> Result<ImageView, BlobError> {
        Ok(ImageView::new(
            self.tree(blobs)?,
            self.layers.clone(),
            self.dirs(),
            Arc::clone(blobs),
            spool.clone(),
        ))
    }

    fn dirs(&self) -> Vec<LayerDir> {
        self.root
            .as_ref()
            .map(|root| root.layer_dirs())
            .unwrap_or_default()
    }

    /// Bytes of variables, labels and history, as a copy of the state takes them.
    pub(crate) fn text_size(&self) -> usize {
        let config = &self.config.config;
        let labels = config.labels.iter();
        let history = self.config.history.iter();
        self.scope.size()
            + config.env.iter().map(String::len).sum::<usize>()
            + labels
                .map(|(name, value)| name.len() + value.len())
                .sum::<usize>()
            + history
                .map(|entry| entry.created_by.as_ref().map_or(0, String::len))
                .sum::<usize>()
    }

    /// Adds a history entry, and the layer it stands for.
    pub(crate) fn record(&mut self, created: String, created_by: String, layer: Option<Layer>) {
        self.config.history.push(History {
            created: Some(created),
            created_by: Some(created_by),
            comment: Some(history::COMMENT.to_owned()),
            empty_layer: layer.is_none(),
            ..History::default()
        });
        self.layers.extend(layer);
    }

    /// The working directory, never empty.
    pub(crate) fn workdir(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            dir => dir,
        }
    }

    /// The shell of shell forms (D1).
    pub(crate) fn shell(&self) -> Vec<String> {
        match &self.config.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }

    /// Ends the stage, and gives back a root that the next stage has to wait for.
    pub(crate) fn finish(mut self) -> Finished {
        self.root = self.root.filter(|root| root.outlives_its_stage());
        Finished {
            state: self,
            view: OnceLock::new(),
        }
    }
}

/// A base with fewer history entries than layers, or none, must not make ours disagree (C19, F17).
fn pad_history(config: &mut ConfigDraft, layers: usize) {
    let known = config.history.iter().filter(|h| !h.empty_layer).count();
    for _ in known..layers {
        config.history.push(History::default());
    }
    // More entries than layers: the surplus says nothing about a layer.
    let mut surplus = known.saturating_sub(layers);
    for entry in config.history.iter_mut().rev().filter(|h| !h.empty_layer) {
        if surplus == 0 {
            break;
        }
        entry.empty_layer = true;
        surplus -= 1;
    }
}

/// A stage, or an image, that others read from or continue.
#[derive(Debug)]
pub(crate) struct Finished {
    state: State,
    view: OnceLock<Arc<ImageView>>,
}

impl Finished {
    pub(crate) fn config(&self) -> &ConfigDraft {
        &self.state.config
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.state.layers
    }

    pub(crate) fn family(&self) -> Option<Family> {
        self.state.family
    }

    /// How many of the layers came with the base image.
    pub(crate) fn base_layers(&self) -> usize {
        self.state.base_layers
    }

    /// How many of the history's entries came with the base image.
    pub(crate) fn base_history(&self) -> usize {
        self.state.base_history
    }

    /// The state a stage starts with that says `FROM` this one: ARGs too (B20), triggers not (C3).
    pub(crate) fn continued(&self) -> State {
        let mut config = self.state.config.clone();
        config.config.on_build.clear();
        State {
            scope: self.state.scope.inherited(&config.config.env),
            config,
            layers: self.state.layers.clone(),
            base_layers: self.state.base_layers,
            base_history: self.state.base_history,
            family: self.state.family,
            root: self.state.root.as_ref().and_then(|root| root.fork()),
            content_key: self.state.content_key,
            tree: self.state.tree.clone(),
        }
    }

    /// The files, read-only. Reads the layers of the base if nobody did yet.
    pub(crate) fn view(
        &self,
        blobs: &Arc<Blobs>,
        spool_dir: &Path,
    ) -> Result<Arc<dyn FileView>, ViewUnavailable> {
        if let Some(view) = self.view.get() {
            return Ok(Arc::clone(view) as Arc<dyn FileView>);
        }
        let mut tree = self.state.tree.clone();
        tree.grow(&self.state.layers, blobs)?;
        let spool = Spool::create(spool_dir)?;
        let view = Arc::new(ImageView::new(
            tree.index,
            self.state.layers.clone(),
            self.state.dirs(),
            Arc::clone(blobs),
            spool,
        ));
        // Of two that were made at once, either will do.
        Ok(Arc::clone(self.view.get_or_init(|| view)) as Arc<dyn FileView>)
    }

    /// A layer of the stage that has exactly these entries of its view.
    pub(crate) fn layer_with(&self, items: &Items) -> Option<Layer> {
        self.view.get()?.layer_with(items)
    }

    pub(crate) fn content_key(&self) -> Option<CacheKey> {
        self.state.content_key
    }

    /// The root filesystem that the stage's commands ran in, if there was one.
    pub(crate) fn root(&self) -> Option<&dyn StageRoot> {
        self.state.root.as_deref()
    }
}

/// Why the files of a stage cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewUnavailable {
    /// A layer of the base cannot be had.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The work folder refuses.
    #[error("cannot write to the work folder")]
    Spool(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(empty: &[bool]) -> Vec<History> {
        empty
            .iter()
            .map(|empty_layer| History {
                empty_layer: *empty_layer,
                ..History::default()
            })
            .collect()
    }

    // conformance: C11 C12
    #[test]
    fn scratch_has_a_path_and_a_working_directory() {
        let state = State::on_scratch(&Platform::parse("linux/arm64").unwrap());
        assert_eq!(state.config.config.env, [format!("PATH={DEFAULT_PATH}")]);
        assert_eq!(state.workdir(), "/");
        assert_eq!(state.config.architecture, "arm64");
        assert!(state.layers.is_empty() && state.config.history.is_empty());
        let on_base = |env: &[&str]| {
            let mut config = ConfigDraft::default();
            config.config.env = env.iter().map(ToString::to_string).collect();
            State::on_image(config, Vec::new(), None).config.config.env
        };
        let path = format!("PATH={DEFAULT_PATH}");
        assert_eq!(on_base(&["A=1", "path=/x"]), ["A=1", "path=/x", &path]);
        assert_eq!(on_base(&["A=1", "PATH=/x"]), ["A=1", "PATH=/x"]);
    }

    // conformance: C19 F17
    #[test]
    fn history_and_layers_agree_whatever_the_base_says() {
        let cases: [(&[bool], usize); 4] = [
            (&[], 2),
            (&[false, true], 2),
            (&[false, false, false], 1),
            (&[true], 0),
        ];
        for (empty, layers) in cases {
            let mut config = ConfigDraft {
                history: history(empty),
                ..ConfigDraft::default()
            };
            pad_history(&mut config, layers);
            let counted = config.history.iter().filter(|h| !h.empty_layer).count();
            assert_eq!(counted, layers, "{empty:?}");
        }
    }
}
