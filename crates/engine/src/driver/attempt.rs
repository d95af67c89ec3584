//! One go at the steps of a build, and everything that its stages share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kiln_context::Context;
use kiln_layer::{Compression, ImagePath};
use kiln_registry::Client;
use kiln_sandbox::Cancel;
use rustix::fs::Access;
use tokio::runtime::Handle;

use super::{Build, Prepared};
use crate::error::BuildError;
use crate::format;
use crate::plan_run::PlanRun;
use crate::run::Run;
use crate::settings::{
    BuildContextSource, BuildSettings, CachePlace, CompressionKind, DockerfileSource,
};
use crate::sources::{Downloads, NamedFiles, Repositories, Sources};
use crate::starts::Images;
use kiln_image::clock::Clock;
use kiln_oci::ImageSource;
use kiln_plan::budget::TextBudget;
use kiln_rootfs::{Aside, RootRules, Roots};
use kiln_step_cache::{Distrusted, LayerCache};
use kiln_store::blobs::Blobs;
use kiln_store::early::EarlyUploads;
use kiln_store::pack::{PackOptions, Packer};
use kiln_work::folder::private_dir;
use kiln_work::interrupt::Interrupt;
use kiln_work::spool::Spool;

/// One go at the steps. There is a second one when a cached layer turned out to be broken.
pub(super) struct Attempt {
    pub(super) number: usize,
    /// Stops this go only: with the build, or because a stage failed.
    pub(super) stop: Cancel,
    pub(super) dir: PathBuf,
    pub(super) cache: Option<Arc<LayerCache>>,
}

impl Build<'_> {
    pub(super) fn attempt(
        &self,
        prepared: &Prepared,
        number: usize,
        distrusted: &Distrusted,
    ) -> Result<Attempt, BuildError> {
        let stop = Cancel::with_grace(self.cancel.grace());
        let stopped = stop.clone();
        self.cancel.on_cancel(move || stopped.cancel());
        // A short name: overlay options are short.
        let dir = self.work.subdir(&number.to_string())?;
        let cache = LayerCache::open(
            self.settings,
            &prepared.client,
            self.events,
            &self.workers,
            &self.interrupt,
            distrusted.clone(),
            format::takes_zstd(
                self.settings,
                &prepared.plan,
                &prepared.starts,
                &prepared.images,
            ),
        );
        Ok(Attempt {
            number,
            stop,
            dir,
            cache: cache.map(Arc::new),
        })
    }

    /// What this go at the steps works with.
    pub(super) fn begin(
        &self,
        prepared: &Prepared,
        attempt: &Attempt,
    ) -> Result<Arc<PlanRun>, BuildError> {
        let run = self.start_run(prepared, attempt)?;
        Ok(Arc::new(PlanRun {
            run: Arc::new(run),
            plan: Arc::clone(&prepared.plan),
            build_args: prepared.build_args.clone(),
            images: Arc::clone(&prepared.images),
            outcomes: (0..prepared.plan.dockerfile.stages.len())
                .map(|stage| prepared.starts.contains_key(&stage).then(Arc::default))
                .collect(),
            exposed: Mutex::default(),
        }))
    }

    /// Makes what all plans share.
    fn start_run(&self, prepared: &Prepared, attempt: &Attempt) -> Result<Run, BuildError> {
        let dir = |name: &str| self.make_dir(attempt.dir.join(name));
        let blobs_dir = dir("b")?;
        let blobs = Arc::new(self.blobs(prepared, attempt, blobs_dir.clone()));
        let work = dir("tmp")?;
        let rules = self.root_rules(prepared, attempt, work.clone());
        let roots = Arc::new(Roots::new(
            dir("r")?,
            self.mode.clone(),
            Arc::clone(&blobs),
            Arc::clone(self.events),
            rules,
        ));
        let spool = Spool::create(&attempt.dir).map_err(|source| self.no_work(source))?;
        let interrupt = Interrupt::of(&attempt.stop);
        let resolv_conf = Path::new("/etc/resolv.conf");
        Ok(Run {
            clock: Clock::choose(self.settings.reproducible, prepared.epoch),
            text: TextBudget::default(),
            events: Arc::clone(self.events),
            cancel: attempt.stop.clone(),
            blobs,
            cache: attempt.cache.clone(),
            sources: sources(prepared, &work, &spool, &interrupt, &roots),
            packer: self.packer(prepared, attempt, blobs_dir),
            shown: self.shown_dir(attempt.dir.join("s"), &roots)?,
            roots,
            spool,
            hosts_file: self.hosts_file(&work)?,
            work,
            held: Arc::clone(&prepared.held),
            aside: Arc::clone(&prepared.aside),
            resolv_conf: resolv_conf.exists().then(|| resolv_conf.to_owned()),
            cache_mounts: self.cache_mounts(),
        })
    }

    fn blobs(&self, prepared: &Prepared, attempt: &Attempt, dir: PathBuf) -> Blobs {
        let cache = attempt.cache.as_ref();
        Blobs::new(
            dir,
            prepared.client.clone(),
            Handle::current(),
            Interrupt::of(&attempt.stop),
            self.workers.clone(),
            cache.and_then(|cache| cache.volume()).cloned(),
            Arc::clone(self.events),
        )
    }

    fn packer(&self, prepared: &Prepared, attempt: &Attempt, dir: PathBuf) -> Packer {
        let threads = threads();
        Packer::new(
            dir,
            pack_options(self.settings, prepared.epoch, threads),
            threads.div_ceil(2),
            Arc::clone(self.events),
            // A stage that fails does not take from the cache what others have made (H28).
            match &attempt.cache {
                Some(_) => self.cancel.clone(),
                None => attempt.stop.clone(),
            },
            self.workers.clone(),
            self.early_uploads(&prepared.client, attempt.cache.as_deref()),
        )
    }

    fn root_rules(&self, prepared: &Prepared, attempt: &Attempt, work: PathBuf) -> RootRules {
        let ignored = self.settings.ignore_paths.iter();
        RootRules {
            ignore: ignored
                .map(|path| ImagePath::from(path.as_path()))
                .collect(),
            keep: self.kept(&prepared.context),
            threads: threads(),
            used: attempt.number > 0 || self.settings.pre_cleanup,
            stop: attempt.stop.clone(),
            aside: Arc::clone(&prepared.aside),
            runner: Arc::clone(&self.runner),
            work,
        }
    }

    fn hosts_file(&self, work: &Path) -> Result<PathBuf, BuildError> {
        let path = work.join("hosts");
        let text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
        std::fs::write(&path, text).map_err(|source| self.no_work(source))?;
        Ok(path)
    }

    /// The context, which may have to make room for the image.
    pub(super) fn aside(&self, context: &Context, images: &Images) -> Aside {
        let mut stay = self.needed();
        // Their layers are read from there.
        stay.extend(images.keys().filter_map(|(image, _)| match &**image {
            ImageSource::Layout { dir, .. } => Some(dir.clone()),
            ImageSource::Registry(_) => None,
        }));
        let real = |path: PathBuf| std::fs::canonicalize(&path).unwrap_or(path);
        let (dir, work) = (context.dir().to_owned(), self.work.path().to_owned());
        let stay = stay.into_iter().map(real).collect();
        let events = Arc::clone(self.events);
        Aside::new(dir, work, stay, self.cancel.clone(), events)
    }

    /// Paths that the build needs where they are, to the end.
    fn needed(&self) -> Vec<PathBuf> {
        let settings = self.settings;
        let mut needed = vec![self.work.path().to_owned()];
        needed.extend(settings.work_dir.lasting().map(Path::to_owned));
        needed.extend(std::env::current_exe());
        needed.extend(settings.cache.dir.clone());
        let layers = settings.cache.layers.iter();
        let places = layers.flat_map(|layers| layers.places.iter().chain(&layers.from));
        needed.extend(places.filter_map(|place| match place {
            CachePlace::Folder(dir) => Some(dir.clone()),
            CachePlace::Repository(_) => None,
        }));
        needed
    }

    fn make_dir(&self, path: PathBuf) -> Result<PathBuf, BuildError> {
        private_dir(&path).map_err(|source| self.no_work(source))?;
        Ok(path)
    }

    /// Where scripts and sockets for commands are made. In place there is no other root, so the image's users come here.
    fn shown_dir(&self, path: PathBuf, roots: &Roots) -> Result<PathBuf, BuildError> {
        let path = self.make_dir(path)?;
        if roots.one_at_a_time() {
            let opened = self.work.open_way_to(&path);
            opened.map_err(|source| self.no_work(source))?;
        }
        Ok(path)
    }

    /// Layers go where they are wanted first: into the cache, from where they are mounted, or to a destination.
    fn early_uploads(&self, client: &Client, cache: Option<&LayerCache>) -> Option<EarlyUploads> {
        // Where RUN is not cached its layers have no business there.
        let cache = cache.filter(|cache| cache.run);
        if let Some((client, repository)) = cache.and_then(LayerCache::first_repository) {
            return Some(EarlyUploads {
                client,
                repository,
                runtime: Handle::current(),
                events: Arc::clone(self.events),
            });
        }
        let destination = self.settings.destinations.first();
        let destination = destination.filter(|_| !self.settings.no_push)?;
        Some(EarlyUploads {
            client: client.clone(),
            repository: destination.repo(),
            runtime: Handle::current(),
            events: Arc::clone(self.events),
        })
    }

    /// Paths of this machine that a build in place must leave alone (G39, J12).
    fn kept(&self, context: &Context) -> Vec<PathBuf> {
        let settings = self.settings;
        let mut kept = self.needed();
        kept.push(context.dir().to_owned());
        kept.extend(
            settings
                .build_contexts
                .iter()
                .filter_map(|named| match &named.source {
                    BuildContextSource::Directory(dir) | BuildContextSource::Layout { dir, .. } => {
                        Some(dir.clone())
                    }
                    BuildContextSource::Remote(_) | BuildContextSource::Image(_) => None,
                }),
        );
        let outputs = settings.outputs.iter();
        kept.extend(outputs.map(|output| output.path().to_owned()));
        if let DockerfileSource::Path(path) = &settings.dockerfile {
            kept.push(path.clone());
        }
        for secret in &settings.secrets {
            if let crate::settings::SecretSource::File(path) = &secret.source {
                kept.push(path.clone());
            }
        }
        kept.extend(settings.ssh.iter().map(|agent| agent.socket.clone()));
        // Credentials are nobody's but ours.
        kept.extend(std::env::var_os("DOCKER_CONFIG").map(PathBuf::from));
        kept
    }

    /// On the cache volume if it is there, so that the next build finds them; else for this build.
    fn cache_mounts(&self) -> PathBuf {
        let volume = self.settings.cache.dir.as_ref();
        let mounts = volume.map(|dir| (dir, dir.join("mounts")));
        let usable = mounts.filter(|(dir, mounts)| {
            // Another user's are for that user alone.
            let place = if mounts.is_dir() { mounts } else { *dir };
            let needed = Access::WRITE_OK | Access::EXEC_OK;
            place.is_dir() && rustix::fs::access(place.as_path(), needed).is_ok()
        });
        match usable {
            Some((_, mounts)) => mounts,
            None => self.work.path().join("mounts"),
        }
    }
}

/// Where files come from that are in no image.
fn sources(
    prepared: &Prepared,
    work: &Path,
    spool: &Spool,
    interrupt: &Interrupt,
    roots: &Arc<Roots>,
) -> Sources {
    let runtime = Handle::current();
    Sources::new(
        Arc::clone(&prepared.context),
        Arc::clone(&prepared.aside),
        Arc::new(Downloads::new(
            prepared.download.clone(),
            spool.clone(),
            runtime.clone(),
            interrupt.clone(),
        )),
        Arc::new(Repositories::new(
            work.to_owned(),
            runtime,
            interrupt.clone(),
            Arc::clone(&prepared.held),
        )),
        NamedFiles::new(&prepared.plan.contexts, work.to_owned()),
        Arc::clone(roots),
    )
}

/// What the settings say of layers (conformance G42-G46).
fn pack_options(settings: &BuildSettings, epoch: Option<i64>, threads: usize) -> PackOptions {
    let level = settings.compression_level;
    let compression = match settings.compression {
        CompressionKind::Gzip => Compression::Gzip {
            level: level.and_then(|level| u32::try_from(level).ok()),
        },
        CompressionKind::Zstd => Compression::Zstd { level },
    };
    let (mtime, mtime_clamp) = match (settings.reproducible, epoch) {
        (false, _) => (None, None),
        (true, None) => (Some(0), None),
        (true, Some(limit)) => (None, Some(limit)),
    };
    PackOptions {
        compression,
        threads,
        mtime,
        mtime_clamp,
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
