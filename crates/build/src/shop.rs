//! What all stages of a build share: settings, stores, the results of other stages.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use kiln_cache_key::{CacheKey, Parts, Value, part};
use kiln_context::{Context, FileView};
use kiln_dockerfile::PatternSet;
use kiln_layer::{
    Compression, ExtractOptions, LayerReader, LayerWriter, Root, TreeIndex, WriterOptions, extract,
};
use kiln_oci::{Digest, Platform};
use kiln_sandbox::{Cancel, OverlayMount};
use kiln_shown::SecretUrl;

use crate::base::BaseImage;
use crate::blobs::Blobs;
use crate::budget::TextBudget;
use crate::cache::LayerCache;
use crate::clock::Clock;
use crate::copy::{CopyRequest, CopySource, Items, plan};
use crate::event::EventSink;
use crate::fetch::{FetchedFile, fetch};
use crate::git::Repositories;
use crate::held::Held;
use crate::interrupt::Interrupt;
use crate::named::NamedFiles;
use crate::pack::{Packer, write_items};
use crate::plan::{ImageSource, Plan, Source};
use crate::promise::Promise;
use crate::roots::{Aside, Roots};
use crate::scope::BuildArgs;
use crate::spool::Spool;
use crate::stage::{Finished, State};
use crate::step::StepError;
use crate::work::private_dir;

/// What `--from` may name besides stages.
pub(crate) type Images = BTreeMap<(Box<ImageSource>, Platform), BaseImage>;

/// The outcome of a stage; `None` when it failed.
pub(crate) type StageOutcome = Option<Arc<Finished>>;

/// Shared by all stages of one build.
pub(crate) struct Shop {
    pub(crate) plan: Arc<Plan>,
    pub(crate) build_args: BuildArgs,
    pub(crate) clock: Clock,
    /// What words, variables and history may take.
    pub(crate) text: TextBudget,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) cancel: Cancel,
    /// The same for async code.
    pub(crate) interrupt: Interrupt,
    pub(crate) blobs: Arc<Blobs>,
    /// None without `--cache`.
    pub(crate) cache: Option<Arc<LayerCache>>,
    /// What ADD fetched already, to know what it is.
    pub(crate) fetched: Mutex<BTreeMap<String, FetchedFile>>,
    /// Files that the caller gave names.
    pub(crate) named: NamedFiles,
    /// Repositories that ADD names.
    pub(crate) repositories: Repositories,
    pub(crate) packer: Packer,
    pub(crate) roots: Arc<Roots>,
    pub(crate) spool: Spool,
    /// Folder for pieces of the build that have no other place.
    pub(crate) work: PathBuf,
    /// Where scripts and sockets are that users of the image reach, in place.
    pub(crate) shown: PathBuf,
    /// Files that the caller named, as they were at the start.
    pub(crate) held: Arc<Held>,
    /// The context's directory, which in place may have to make room for the image.
    pub(crate) aside: Arc<Aside>,
    /// Shown to commands as `/etc/hosts` (D17).
    pub(crate) hosts_file: PathBuf,
    /// Shown to commands as `/etc/resolv.conf` (D17).
    pub(crate) resolv_conf: Option<PathBuf>,
    pub(crate) context: Arc<Context>,
    pub(crate) context_view: OnceLock<Arc<dyn FileView>>,
    pub(crate) download: reqwest::Client,
    pub(crate) runtime: tokio::runtime::Handle,
    /// Where cache mounts live between builds.
    pub(crate) cache_mounts: PathBuf,
    pub(crate) images: Arc<Images>,
    /// By number in the file; `None` for stages that nobody needs.
    pub(crate) stages: Vec<Option<Promise<StageOutcome>>>,
    /// Directories of stages and images that mounts show, by what they show.
    pub(crate) exposed: Mutex<BTreeMap<Source, Exposed>>,
}

/// A directory with the files of a stage or image; the mount goes when this does.
#[derive(Debug)]
pub(crate) struct Exposed {
    path: PathBuf,
    _mount: Option<OverlayMount>,
    _root: Option<crate::roots::StageRoot>,
}

impl Exposed {
    pub(crate) fn new(
        path: PathBuf,
        mount: Option<OverlayMount>,
        root: Option<crate::roots::StageRoot>,
    ) -> Exposed {
        Exposed {
            path,
            _mount: mount,
            _root: root,
        }
    }
}

impl Shop {
    /// What an image, or nothing, is known by in keys: the digest of its manifest, never its name (H2).
    pub(crate) fn base_key(&self, source: &Source) -> Option<Value> {
        match source {
            Source::Image(image, platform) => {
                let known = self.images.get(&(image.clone(), platform.clone()))?;
                Some(known.digest.into())
            }
            Source::Scratch => Some("scratch".into()),
            Source::Stage(_) | Source::Files(_) => None,
        }
    }

    /// Where the chain of keys of a stage on an image, or on nothing, starts.
    pub(crate) fn first_key(&self, source: &Source) -> Option<CacheKey> {
        let platform = match source {
            Source::Image(_, platform) => platform,
            _ => &self.plan.platform,
        };
        let parts = Parts::new()
            .with(part::BASE, self.base_key(source)?)
            .with(part::PLATFORM, platform.normalized().to_string());
        Some(parts.key(None))
    }

    /// The build context as COPY and ADD see it.
    pub(crate) fn context_view(&self) -> Result<Arc<dyn FileView>, StepError> {
        if let Some(view) = self.context_view.get() {
            return Ok(Arc::clone(view));
        }
        let in_place = self.roots.one_at_a_time();
        let view = self.aside.view(|dir| {
            let view = self.context.view_in(dir)?;
            // A command in place could reach the context while it is packed.
            Ok::<_, StepError>(if in_place { view.unstable() } else { view })
        })?;
        Ok(Arc::clone(self.context_view.get_or_init(|| view)))
    }

    /// Waits for a stage, or looks an image up. Blocks; not for async code.
    pub(crate) fn wait_for(&self, source: &Source) -> Result<Arc<Finished>, StepError> {
        match source {
            Source::Scratch => Ok(Arc::new(State::on_scratch(&self.plan.platform).finish())),
            Source::Files(_) => Err(StepError::Dependency),
            Source::Stage(index) => {
                let promise = self.stages.get(*index).and_then(Option::as_ref);
                let outcome = promise.and_then(Promise::wait);
                outcome.ok_or(StepError::Dependency)
            }
            Source::Image(image, platform) => {
                let key = (image.clone(), platform.clone());
                let base = self.images.get(&key).ok_or(StepError::Dependency)?;
                Ok(Arc::new(base.state().finish()))
            }
        }
    }

    /// Fetches a file for ADD. Blocks; not for async code.
    pub(crate) fn fetch(
        &self,
        url: &SecretUrl,
        checksum: Option<Digest>,
    ) -> Result<FetchedFile, StepError> {
        let known = self
            .fetched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(url.expose())
            .cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let fetch = fetch(&self.download, url, checksum, &self.spool);
        let fetched = self.runtime.block_on(self.interrupt.unless_raised(fetch));
        let fetched = fetched.ok_or(StepError::Cancelled)??;
        let mut known = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(url.expose().to_owned(), fetched.clone());
        Ok(fetched)
    }

    /// The folder of cache mounts, made if it is missing.
    pub(crate) fn cache_mounts(&self) -> Result<PathBuf, StepError> {
        private_to_us(&self.cache_mounts).map_err(|source| StepError::Io {
            operation: "create",
            path: self.cache_mounts.clone(),
            source,
        })?;
        Ok(self.cache_mounts.clone())
    }

    /// A file or directory of the context on this machine, for a bind mount (D28, D29).
    pub(crate) fn context_path(&self, source: &str) -> Result<PathBuf, StepError> {
        let view = self.context_view()?;
        let found = kiln_context::resolve(view.as_ref(), source.as_bytes(), true)
            .map_err(StepError::Image)?;
        if !self.context.has_ignore_rules()
            && let Some(found) = found
        {
            return Ok(self.context.dir().join(found.entry.path.as_path()));
        }
        // What the ignore file hides must not show through the mount, so the rest is copied aside.
        self.copy_aside(&view, source, false)
    }

    /// A copy of a file or directory of the context, owned by root as COPY has it.
    pub(crate) fn context_copy(&self, source: &str) -> Result<PathBuf, StepError> {
        self.copy_aside(&self.context_view()?, source, false)
    }

    /// Copies a file or directory of a view into the work folder.
    pub(crate) fn copy_aside(
        &self,
        view: &Arc<dyn FileView>,
        source: &str,
        keep_owner: bool,
    ) -> Result<PathBuf, StepError> {
        let found = kiln_context::resolve(view.as_ref(), source.as_bytes(), true)
            .map_err(StepError::Image)?;
        let Some(found) = found else {
            return Err(StepError::MountSource {
                path: source.trim_start_matches('/').to_owned(),
            });
        };
        let failed = |source| self.io("write to", source);
        let dir = tempfile::tempdir_in(&self.work).map_err(failed)?.keep();
        // Others than its owner may be the user of the command.
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).map_err(failed)?;
        self.unpack_view(view, source, keep_owner, &dir)?;
        if found.is_dir() {
            return Ok(dir);
        }
        // A link that was named gives the file its name.
        let mut files = fs::read_dir(&dir).map_err(failed)?;
        match files.next() {
            Some(file) => Ok(file.map_err(failed)?.path()),
            None => Ok(dir),
        }
    }

    fn io(&self, operation: &'static str, source: std::io::Error) -> StepError {
        StepError::Io {
            operation,
            path: self.work.clone(),
            source,
        }
    }

    /// A part of a view as COPY would place it at the root of an empty image.
    pub(crate) fn items_of(
        &self,
        view: &Arc<dyn FileView>,
        source: &str,
        keep_owner: bool,
    ) -> Result<Items, StepError> {
        let excludes = PatternSet::default();
        let request = CopyRequest {
            view,
            sources: &[CopySource::Path(source.as_bytes().to_vec())],
            destination: b"/",
            workdir: b"/",
            owner: None,
            keep_owner,
            chmod: None,
            excludes: &excludes,
            parents: false,
            unpack_local: false,
            unpack_fetched: false,
            now: self.clock.seconds(),
            spool: &self.spool,
        };
        Ok(plan(&request, &TreeIndex::default())?.items)
    }

    /// The value of a secret; `None` when the caller gave none of this id (D35).
    pub(crate) fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, StepError> {
        match self.held.secret(id) {
            None => Ok(None),
            Some(Ok(value)) => Ok(value),
            Some(Err((path, source))) => Err(StepError::SecretUnreadable {
                id: id.to_owned(),
                path,
                source,
            }),
        }
    }

    /// Copies a part of a view into a directory of this machine, as COPY would.
    pub(crate) fn unpack_view(
        &self,
        view: &Arc<dyn FileView>,
        source: &str,
        keep_owner: bool,
        into: &Path,
    ) -> Result<(), StepError> {
        let items = self.items_of(view, source, keep_owner)?;
        let file =
            tempfile::tempfile_in(&self.work).map_err(|source| self.io("write to", source))?;
        let sink = file
            .try_clone()
            .map_err(|source| self.io("write to", source))?;
        let options = WriterOptions {
            threads: 1,
            ..WriterOptions::default()
        };
        let packed = |error| StepError::Pack(Arc::new(error));
        let mut writer = LayerWriter::new(sink, Compression::None, options);
        write_items(&items, &mut writer).map_err(packed)?;
        writer
            .finish()
            .map_err(|source| packed(crate::pack::PackError::Write(source)))?;
        let mut file = file;
        std::io::Seek::rewind(&mut file).map_err(|source| self.io("read", source))?;
        let layer = |source| {
            StepError::Copy(crate::copy::CopyError::Archive {
                archive: into.display().to_string(),
                source,
            })
        };
        let root = Root::open(into).map_err(layer)?;
        let options = ExtractOptions {
            owners: self.roots.owners(),
            keep_listing: false,
            ..ExtractOptions::default()
        };
        extract(LayerReader::new(file), &root, &options).map_err(layer)?;
        Ok(())
    }

    /// A directory of this machine with all files of a stage or image, for a mount; made once.
    pub(crate) fn expose(
        &self,
        source: &Source,
        finished: &Finished,
    ) -> Result<PathBuf, StepError> {
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = exposed.get(source) {
            return Ok(known.path.clone());
        }
        let made = self.roots.expose(finished)?;
        let path = made.path.clone();
        exposed.insert(source.clone(), made);
        Ok(path)
    }
}

/// Makes the folder of cache mounts, or takes away what others may do with one of ours: commands leave setuid
/// programs in caches as anywhere else.
fn private_to_us(dir: &Path) -> std::io::Result<()> {
    if let Err(error) = private_dir(dir)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let found = fs::metadata(dir)?;
    if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}
