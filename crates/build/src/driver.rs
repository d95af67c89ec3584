//! The road of a build: read, plan, look bases up, run stages side by side, finish, hand out.

mod chain;
mod foresee;
mod lookup;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use futures_util::future::try_join;
use kiln_context::Context;
use kiln_dockerfile::{Command, Dockerfile, Expander, Instruction, Span};
use kiln_layer::ImagePath;
use kiln_oci::Reference;
use kiln_registry::Client;
use kiln_sandbox::{Cancel, Mode};
use tokio::runtime::Handle;

use crate::blobs::Blobs;
use crate::cache::{Distrusted, LayerCache};
use crate::clock::Clock;
use crate::early::EarlyUploads;
use crate::error::{BuildError, Location};
use crate::event::{Event, EventSink};
use crate::explain::Explanation;
use crate::image::{BuiltImage, Finishing};
use crate::interrupt::Interrupt;
use crate::layers::{Described, Layer};
use crate::pack::{PackOptions, Packer};
use crate::plan::{Plan, Source};
use crate::promise::Promise;
use crate::report::BuildReport;
use crate::roots::{RootRules, Roots};
use crate::scope::{BuildArgs, unused_build_args};
use crate::settings::{BuildSettings, DockerfileSource};
use crate::shop::{Images, Shop};
use crate::spool::Spool;
use crate::stage::Finished;
use crate::step::StepError;
use crate::work::WorkFolder;
use crate::workers::Workers;
use crate::{fetch, format, output, squash};

/// Where a build will run its commands, and where it keeps its files. Made by [`enter`].
#[derive(Debug)]
pub struct Entered {
    mode: Mode,
    reason: String,
    work: WorkFolder,
}

impl Entered {
    /// One line for the log: which isolation was chosen, and why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Makes the work folder, chooses the isolation by trying it, and enters it.
///
/// To be called before the program starts threads, since a process with threads cannot enter a user
/// namespace.
pub fn enter(settings: &BuildSettings) -> Result<Entered, BuildError> {
    let work = WorkFolder::create(&settings.work_dir)?;
    let asked = match settings.isolation {
        crate::settings::Isolation::Auto => kiln_sandbox::Isolation::Auto,
        crate::settings::Isolation::Namespace => kiln_sandbox::Isolation::Namespace,
        crate::settings::Isolation::InPlace => kiln_sandbox::Isolation::InPlace,
    };
    let entered = kiln_sandbox::enter(asked, work.path(), settings.force)?;
    Ok(Entered {
        mode: entered.mode,
        reason: entered.reason,
        work,
    })
}

/// Builds an image and hands it out as the settings say.
///
/// Whatever happens, nothing of the build is left on the machine afterwards but what was asked for.
pub async fn build(
    settings: BuildSettings,
    entered: Entered,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
) -> Result<BuildReport, BuildError> {
    let Entered { mode, reason, work } = entered;
    events.event(Event::Info(reason));
    if let Some(note) = work.note() {
        events.event(Event::Info(note.to_owned()));
    }
    let path = work.path().to_owned();
    let build = Build {
        settings: &settings,
        events: &events,
        interrupt: Interrupt::of(&cancel),
        cancel: &cancel,
        work: &work,
        workers: Workers::default(),
    };
    // Boxed: the future of a build is deep, and its callers should not carry it on their stacks.
    let outcome = Box::pin(build.run(mode)).await;
    build.join_workers().await;
    let closed = work.close();
    match (outcome, closed) {
        (Ok(report), Err(source)) => {
            let text = format!("the work folder `{}` is not gone: {source}", path.display());
            events.event(Event::Warning(text));
            Ok(report)
        }
        (outcome, _) => outcome,
    }
}

/// Says for every step whether it is cached, and what changed if not. Executes nothing and writes nothing; the
/// settings name a cache.
pub async fn explain(
    settings: BuildSettings,
    entered: Entered,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
) -> Result<Explanation, BuildError> {
    let Entered { mode, work, .. } = entered;
    let build = Build {
        settings: &settings,
        events: &events,
        interrupt: Interrupt::of(&cancel),
        cancel: &cancel,
        work: &work,
        workers: Workers::default(),
    };
    let outcome = Box::pin(build.explain(mode)).await;
    build.join_workers().await;
    if let Err(error) = work.close() {
        events.event(Event::Warning(format!(
            "the work folder is not gone: {error}"
        )));
    }
    outcome
}

/// A Dockerfile as it was read.
#[derive(Clone)]
struct Text {
    /// As messages name it.
    name: String,
    /// Its path on this machine, for its own ignore file.
    path: Option<PathBuf>,
    dockerfile: Dockerfile,
}

impl Text {
    fn locate(&self, span: Span, instruction: &str) -> Location {
        Location::new(&self.name, &self.dockerfile, span, instruction)
    }

    fn step_error(&self, span: Span, instruction: &str, source: StepError) -> BuildError {
        BuildError::Step {
            location: Box::new(self.locate(span, instruction)),
            source: Box::new(source),
        }
    }
}

/// What a stage starts with, as far as it is known before anything runs.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) base: Source,
    /// ONBUILD instructions of the base, run first (C16).
    pub(crate) triggers: Vec<Instruction>,
}

struct Build<'a> {
    settings: &'a BuildSettings,
    events: &'a Arc<dyn EventSink>,
    cancel: &'a Cancel,
    interrupt: Interrupt,
    work: &'a WorkFolder,
    workers: Workers,
}

/// What is known before anything is executed.
struct Prepared {
    text: Text,
    plan: Arc<Plan>,
    build_args: BuildArgs,
    context: Arc<Context>,
    client: Client,
    download: reqwest::Client,
    starts: BTreeMap<usize, Start>,
    images: Arc<Images>,
    mode: Mode,
}

/// One go at the steps. There is a second one when a cached layer turned out to be broken.
struct Attempt {
    number: usize,
    /// Stops this go only: with the build, or because a stage failed.
    stop: Cancel,
    dir: PathBuf,
    cache: Option<Arc<LayerCache>>,
}

impl Build<'_> {
    async fn run(&self, mode: Mode) -> Result<BuildReport, BuildError> {
        let prepared = self.prepare(mode).await?;
        let mut distrusted = Distrusted::default();
        for number in 0.. {
            let attempt = self.attempt(&prepared, number, &distrusted)?;
            let outcome = Box::pin(self.make(&prepared, &attempt)).await;
            let error = match outcome {
                Ok(report) => return Ok(report),
                Err(error) => error,
            };
            // Whatever still fetches does so for nothing, in a folder that is about to go.
            attempt.stop.cancel();
            let cache = attempt.cache.as_ref();
            let places = cache.map(|cache| cache.learn(&mut distrusted));
            let places = Vec::from_iter(places.unwrap_or_default()).join(", ");
            if places.is_empty() || self.cancel.is_cancelled() {
                return Err(error);
            }
            let why = crate::report::with_causes(&error);
            self.events.event(Event::Warning(format!(
                "an entry of the cache at {places} is broken and will be made again: {why}"
            )));
            self.join_workers().await;
        }
        Err(BuildError::Lost)
    }

    async fn explain(&self, mode: Mode) -> Result<Explanation, BuildError> {
        let prepared = self.prepare(mode).await?;
        let attempt = self.attempt(&prepared, 0, &Distrusted::default())?;
        let shop = self.shop(&prepared, &attempt)?;
        let explaining = Box::pin(self.explain_steps(&prepared, &shop));
        self.heed("looking at the cache", explaining).await
    }

    async fn join_workers(&self) {
        let workers = self.workers.clone();
        drop(tokio::task::spawn_blocking(move || workers.join()).await);
    }

    async fn prepare(&self, mode: Mode) -> Result<Prepared, BuildError> {
        let settings = self.settings;
        let download =
            fetch::client(&settings.registry.user_agent).map_err(BuildError::Downloads)?;
        let reading = self.read_dockerfile(&download);
        let text = self.heed("reading the Dockerfile", reading).await?;
        let (plan, build_args) = self.plan(&text)?;
        let context = Context::open(&settings.context_dir, None, text.path.as_deref())?;
        let client = Client::new(settings.registry.clone()).map_err(BuildError::Client)?;
        let asking = async {
            let permission = self.check_permission(&client);
            try_join(self.look_up(&text, &plan, &client), permission).await
        };
        let ((starts, images), ()) = self.heed("asking the registries", asking).await?;
        format::check(settings, &plan, &starts, &images)?;
        Ok(Prepared {
            text,
            plan: Arc::new(plan),
            build_args,
            context: Arc::new(context),
            client,
            download,
            starts,
            images: Arc::new(images),
            mode,
        })
    }

    fn attempt(
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

    /// Executes what has to be, puts the image together and hands it out.
    async fn make(
        &self,
        prepared: &Prepared,
        attempt: &Attempt,
    ) -> Result<BuildReport, BuildError> {
        let settings = self.settings;
        let shop = self.shop(prepared, attempt)?;
        let looking = self.foresee(prepared, &shop);
        let (foreseen, starts) = self.heed("looking at the cache", looking).await?;
        let foreseen = Arc::new(foreseen);
        let finished = self
            .execute(&prepared.text, &shop, &foreseen, starts)
            .await?;
        let image = self.finish(&shop, finished).await?;
        self.keep_bases(&shop);
        shop.roots.clear(&self.workers);
        if let Some(cache) = &shop.cache {
            // What went into a repository of the same registry can be mounted from there.
            self.heed_all("storing steps in the cache", cache.stored())
                .await?;
        }
        let handing_out = Box::pin(self.hand_out(prepared, &shop, &image));
        self.heed("handing out the image", handing_out).await?;
        if let Some(cache) = &shop.cache {
            let trail = foreseen.trail(&shop);
            let keeping = Box::pin(cache.finish(&trail));
            self.heed_all("storing steps in the cache", keeping).await?;
        }
        Ok(BuildReport {
            digest: image.digest,
            size: image.layers.iter().map(|layer| layer.descriptor.size).sum(),
            config: image.config,
            pushed: if settings.no_push {
                Vec::new()
            } else {
                settings.destinations.clone()
            },
        })
    }

    /// Keeps on the volume what was pulled, beside what is left to do.
    fn keep_bases(&self, shop: &Arc<Shop>) {
        let volume = shop
            .cache
            .as_ref()
            .and_then(|cache| cache.volume())
            .cloned();
        let Some(volume) = volume else { return };
        let shop = Arc::clone(shop);
        let keeping = self.workers.start("kiln-keep", move || {
            for pulled in shop.images.values().filter_map(|base| base.pulled.as_ref()) {
                let name = pulled.reference().familiar();
                let dir = volume.dir().display();
                match pulled.keep(&volume, &shop.blobs) {
                    Ok(false) => {}
                    Ok(true) => {
                        let text = format!("{name} is kept in the cache at {dir}");
                        shop.events.event(Event::Info(text));
                    }
                    Err(error) => {
                        let why = crate::report::with_causes(&error);
                        let text = format!("{name} cannot be kept in the cache at {dir}: {why}");
                        shop.events.event(Event::Warning(text));
                    }
                }
            }
        });
        if let Err(error) = keeping {
            tracing::debug!(%error, "no thread to keep base images");
        }
    }

    /// Gives up `work` when the build is cancelled.
    async fn heed<T>(
        &self,
        during: &'static str,
        work: impl Future<Output = Result<T, BuildError>>,
    ) -> Result<T, BuildError> {
        let done = self.interrupt.unless_raised(work).await;
        done.unwrap_or(Err(BuildError::Cancelled { during }))
    }

    /// The same for work that cannot fail.
    async fn heed_all(
        &self,
        during: &'static str,
        work: impl Future<Output = ()>,
    ) -> Result<(), BuildError> {
        let done = self.interrupt.unless_raised(work).await;
        done.ok_or(BuildError::Cancelled { during })
    }

    async fn check_permission(&self, client: &Client) -> Result<(), BuildError> {
        let settings = self.settings;
        if settings.no_push || settings.skip_push_permission_check {
            return Ok(());
        }
        output::check_permission(client, &settings.destinations).await
    }

    async fn read_dockerfile(&self, download: &reqwest::Client) -> Result<Text, BuildError> {
        let (name, path, bytes) = match &self.settings.dockerfile {
            DockerfileSource::Path(path) => {
                let bytes = std::fs::read(path).map_err(|source| BuildError::ReadDockerfile {
                    path: path.clone(),
                    source,
                })?;
                (path.display().to_string(), Some(path.clone()), bytes)
            }
            DockerfileSource::Url(url) => {
                let spool =
                    Spool::create(self.work.path()).map_err(|source| self.no_work(source))?;
                let fetched = fetch::fetch(download, url, None, &spool)
                    .await
                    .map_err(BuildError::FetchDockerfile)?;
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut fetched.content.open(), &mut bytes)
                    .map_err(|source| self.no_work(source))?;
                (url.clone(), None, bytes)
            }
        };
        let dockerfile = kiln_dockerfile::parse(&bytes).map_err(|errors| BuildError::Parse {
            file: name.clone(),
            errors,
        })?;
        for warning in &dockerfile.warnings {
            let line = warning.span.line();
            let text = format!("{name}:{line}: {}: {}", warning.rule, warning.message);
            self.events.event(Event::Warning(text));
        }
        let fatal = dockerfile
            .directives
            .check
            .as_ref()
            .is_some_and(|c| c.error);
        if fatal && !dockerfile.warnings.is_empty() {
            return Err(BuildError::Check {
                file: name,
                count: dockerfile.warnings.len(),
            });
        }
        Ok(Text {
            name,
            path,
            dockerfile,
        })
    }

    fn no_work(&self, source: std::io::Error) -> BuildError {
        BuildError::WorkDir {
            path: self.work.path().to_owned(),
            source,
        }
    }

    fn plan(&self, text: &Text) -> Result<(Plan, BuildArgs), BuildError> {
        let settings = self.settings;
        let build_args: BuildArgs = settings.build_args.iter().cloned().collect();
        let dockerfile = &text.dockerfile;
        let targets = Plan::targets_of(dockerfile, &settings.targets).map_err(|source| {
            BuildError::Target {
                file: text.name.clone(),
                source,
            }
        })?;
        let target_name = settings.targets.first().map_or("default", String::as_str);
        let global = Plan::global_scope(dockerfile, &settings.platform, target_name, &build_args)
            .map_err(|(span, source)| BuildError::Plan {
            location: Box::new(text.locate(span, "ARG")),
            source,
        })?;
        for name in unused_build_args(&build_args, &declared(dockerfile)) {
            let text = format!("build-arg `{name}` is not used: no ARG of that name");
            self.events.event(Event::Warning(text));
        }
        let plan = Plan {
            expander: Expander::new(dockerfile.directives.escape),
            dockerfile: dockerfile.clone(),
            platform: settings.platform.clone(),
            global,
            targets,
        };
        Ok((plan, build_args))
    }

    fn shop(&self, prepared: &Prepared, attempt: &Attempt) -> Result<Arc<Shop>, BuildError> {
        let settings = self.settings;
        let events = Arc::clone(self.events);
        let dir = |name: &str| self.make_dir(attempt.dir.join(name));
        let blobs_dir = dir("b")?;
        let interrupt = Interrupt::of(&attempt.stop);
        let blobs = Arc::new(Blobs::new(
            blobs_dir.clone(),
            prepared.client.clone(),
            Handle::current(),
            interrupt.clone(),
            self.workers.clone(),
            attempt.cache.clone(),
            Arc::clone(&events),
        ));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let packer = Packer::new(
            blobs_dir,
            PackOptions::of(settings, threads),
            threads.div_ceil(2),
            Arc::clone(&events),
            // A stage that fails does not take from the cache what others have made (H28).
            match &attempt.cache {
                Some(_) => self.cancel.clone(),
                None => attempt.stop.clone(),
            },
            self.workers.clone(),
            self.early_uploads(&prepared.client, attempt.cache.as_deref()),
        );
        let roots = Arc::new(Roots::new(
            dir("r")?,
            prepared.mode.clone(),
            Arc::clone(&blobs),
            Arc::clone(&events),
            RootRules {
                ignore: settings
                    .ignore_paths
                    .iter()
                    .map(|path| ImagePath::from(path.as_path()))
                    .collect(),
                keep: self.kept(&prepared.context),
                threads,
                used: attempt.number > 0,
            },
        ));
        let hosts_file = attempt.dir.join("hosts");
        std::fs::write(
            &hosts_file,
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        )
        .map_err(|source| self.no_work(source))?;
        let resolv_conf = Path::new("/etc/resolv.conf");
        Ok(Arc::new(Shop {
            build_args: prepared.build_args.clone(),
            clock: Clock::choose(settings.reproducible, settings.source_date_epoch),
            events,
            cancel: attempt.stop.clone(),
            interrupt,
            blobs,
            cache: attempt.cache.clone(),
            fetched: Mutex::default(),
            packer,
            roots,
            spool: Spool::create(&attempt.dir).map_err(|source| self.no_work(source))?,
            work: dir("tmp")?,
            secrets: settings.secrets.clone(),
            hosts_file,
            resolv_conf: resolv_conf.exists().then(|| resolv_conf.to_owned()),
            context: Arc::clone(&prepared.context),
            context_view: OnceLock::new(),
            download: prepared.download.clone(),
            runtime: Handle::current(),
            cache_mounts: self.cache_mounts(),
            images: Arc::clone(&prepared.images),
            stages: (0..prepared.plan.dockerfile.stages.len())
                .map(|stage| prepared.starts.contains_key(&stage).then(Promise::new))
                .collect(),
            exposed: Mutex::default(),
            plan: Arc::clone(&prepared.plan),
        }))
    }

    fn make_dir(&self, path: PathBuf) -> Result<PathBuf, BuildError> {
        std::fs::create_dir(&path).map_err(|source| self.no_work(source))?;
        Ok(path)
    }

    /// Layers go where they are wanted first: into the cache, from where they are mounted, or to a destination.
    fn early_uploads(&self, client: &Client, cache: Option<&LayerCache>) -> Option<EarlyUploads> {
        if let Some((client, repository)) = cache.and_then(LayerCache::first_repository) {
            return Some(EarlyUploads {
                client,
                repository,
                runtime: Handle::current(),
            });
        }
        let destination = self.settings.destinations.first();
        let destination = destination.filter(|_| !self.settings.no_push)?;
        Some(EarlyUploads {
            client: client.clone(),
            repository: destination.repo(),
            runtime: Handle::current(),
        })
    }

    /// Paths of this machine that a build in place must leave alone (G39, J12).
    fn kept(&self, context: &Context) -> Vec<PathBuf> {
        let settings = self.settings;
        let mut kept = vec![self.work.path().to_owned(), context.dir().to_owned()];
        kept.extend(settings.work_dir.lasting().map(Path::to_owned));
        kept.extend(std::env::current_exe());
        kept.extend(settings.cache.dir.clone());
        kept.extend(settings.oci_layout_path.clone());
        kept.extend(settings.tar_path.clone());
        if let DockerfileSource::Path(path) = &settings.dockerfile {
            kept.push(path.clone());
        }
        for secret in &settings.secrets {
            if let crate::settings::SecretSource::File(path) = &secret.source {
                kept.push(path.clone());
            }
        }
        kept
    }

    /// On the cache volume if it is there, so that the next build finds them; else for this build.
    fn cache_mounts(&self) -> PathBuf {
        let volume = self.settings.cache.dir.as_ref().filter(|dir| {
            dir.is_dir() && rustix::fs::access(dir.as_path(), rustix::fs::Access::WRITE_OK).is_ok()
        });
        match volume {
            Some(dir) => dir.join("mounts"),
            None => self.work.path().join("mounts"),
        }
    }

    /// Waits for the last layer to be packed and puts the image together.
    async fn finish(
        &self,
        shop: &Arc<Shop>,
        finished: Arc<Finished>,
    ) -> Result<BuiltImage, BuildError> {
        let single = self.settings.single_snapshot;
        let shop_too = Arc::clone(shop);
        let described = tokio::task::spawn_blocking(move || {
            let finished = if single {
                squash::into_one(&shop_too, &finished)?
            } else {
                finished
            };
            let layers = finished
                .layers()
                .iter()
                .map(Layer::describe)
                .collect::<Result<Vec<Described>, _>>()?;
            Ok::<_, StepError>((finished, layers))
        });
        let (finished, layers) = described
            .await
            .map_err(|_| BuildError::Lost)?
            .map_err(|error| BuildError::Finish(Box::new(error)))?;
        Ok(BuiltImage::assemble(
            &finished,
            layers,
            &Finishing {
                format: self.settings.image_format,
                labels: &self.settings.labels,
                annotations: &self.settings.annotations,
                clock: shop.clock,
            },
        ))
    }

    async fn hand_out(
        &self,
        prepared: &Prepared,
        shop: &Shop,
        image: &BuiltImage,
    ) -> Result<(), BuildError> {
        let settings = self.settings;
        if !settings.no_push {
            let cached = shop.cache.as_ref().map(|cache| cache.repositories());
            output::push(
                &prepared.client,
                &shop.blobs,
                image,
                &settings.destinations,
                &cached.unwrap_or_default(),
                self.events,
            )
            .await?;
        }
        if let Some(path) = &settings.tar_path {
            output::write_archive(&shop.blobs, image, &archive_names(settings), path).await?;
        }
        if let Some(path) = &settings.oci_layout_path {
            output::write_layout(&shop.blobs, image, &settings.destinations, path).await?;
        }
        output::write_digest_files(
            &settings.digest_files,
            &settings.destinations,
            image.digest,
            &prepared.download,
        )
        .await?;
        Ok(())
    }
}

/// The names in an archive: all destinations, or kaniko's place-holder when there is none (section K).
fn archive_names(settings: &BuildSettings) -> Vec<Reference> {
    const UNNAMED: &str = "docker.io/unset-repo/unset-image-name";
    if settings.destinations.is_empty() {
        Reference::parse(UNNAMED).into_iter().collect()
    } else {
        settings.destinations.clone()
    }
}

/// Every name that an ARG of the file declares.
fn declared(dockerfile: &Dockerfile) -> BTreeSet<String> {
    let in_stages = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    in_stages
        .chain(&dockerfile.global_args)
        .filter_map(|instruction| match &instruction.command {
            Command::Arg(args) => Some(args),
            _ => None,
        })
        .flatten()
        .map(|arg| arg.name.clone())
        .collect()
}
