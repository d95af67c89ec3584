//! The road of a build: read, plan, look bases up, run stages side by side, finish, hand out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use kiln_context::Context;
use kiln_dockerfile::{Command, Dockerfile, Expander, Instruction, Span};
use kiln_layer::ImagePath;
use kiln_oci::Reference;
use kiln_registry::Client;
use kiln_sandbox::{Cancel, Mode};
use kiln_tarball_cache::ImageCache;
use tokio::runtime::Handle;

use crate::base::{BaseError, Bases};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::error::{BuildError, Location};
use crate::event::{Event, EventSink};
use crate::image::{BuiltImage, Finishing};
use crate::layers::{Described, Layer};
use crate::pack::{PackOptions, Packer};
use crate::plan::{Plan, Source};
use crate::promise::Promise;
use crate::report::BuildReport;
use crate::roots::Roots;
use crate::scope::{BuildArgs, unused_build_args};
use crate::settings::{BuildSettings, DockerfileSource};
use crate::shop::{Images, Shop};
use crate::spool::Spool;
use crate::stage::{Finished, State};
use crate::step::{StepError, Stepper};
use crate::work::WorkFolder;
use crate::{fetch, output, squash};

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
    let outcome = Build {
        settings: &settings,
        events: &events,
        cancel: &cancel,
        work: &work,
    }
    .run(mode)
    .await;
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

/// A Dockerfile as it was read.
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
}

/// What a stage starts with, as far as it is known before anything runs.
#[derive(Debug, Clone)]
struct Start {
    base: Source,
    /// ONBUILD instructions of the base, run first (C16).
    triggers: Vec<Instruction>,
}

struct Build<'a> {
    settings: &'a BuildSettings,
    events: &'a Arc<dyn EventSink>,
    cancel: &'a Cancel,
    work: &'a WorkFolder,
}

impl Build<'_> {
    async fn run(&self, mode: Mode) -> Result<BuildReport, BuildError> {
        let settings = self.settings;
        let download =
            fetch::client(&settings.registry.user_agent).map_err(BuildError::Downloads)?;
        let text = self.read_dockerfile(&download).await?;
        let (plan, build_args) = self.plan(&text)?;
        let context = Context::open(&settings.context_dir, None, text.path.as_deref())?;
        let client = Client::new(settings.registry.clone()).map_err(BuildError::Client)?;
        if !settings.no_push && !settings.skip_push_permission_check {
            output::check_permission(&client, &settings.destinations).await?;
        }
        let (starts, images) = self.look_up(&text, &plan, &client).await?;
        let shop = self.shop(
            plan,
            build_args,
            context,
            &client,
            download.clone(),
            images,
            &starts,
            mode,
        )?;
        let finished = self.execute(&text, &shop, starts).await?;
        let image = self.finish(&shop, finished).await?;
        self.hand_out(&client, &shop, &image, &download).await?;
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

    /// Finds out which stages are needed and looks up every image they name, each once (C8, C24). ONBUILD
    /// triggers of images may need further stages, so this goes on until nothing new turns up.
    async fn look_up(
        &self,
        text: &Text,
        plan: &Plan,
        client: &Client,
    ) -> Result<(BTreeMap<usize, Start>, Images), BuildError> {
        let cache = self.open_cache();
        let bases = Bases {
            client,
            cache: cache.as_ref(),
            events: self.events.as_ref(),
        };
        let mut images = Images::new();
        let mut starts: BTreeMap<usize, Start> = BTreeMap::new();
        let mut wanted: BTreeSet<usize> = plan.targets.iter().copied().collect();
        loop {
            let new: Vec<usize> = wanted
                .iter()
                .copied()
                .filter(|s| !starts.contains_key(s))
                .collect();
            if new.is_empty() {
                return Ok((starts, images));
            }
            let mut named: Vec<(Source, Span, String)> = Vec::new();
            let mut froms = Vec::new();
            for stage in new {
                let from = &plan.dockerfile.stages[stage].from;
                let base = plan
                    .base(stage)
                    .map_err(|e| plan_error(text, &from.source, e))?;
                named.push((base.clone(), from.span, from.source.clone()));
                named.extend(own_sources(text, plan, stage)?);
                froms.push((stage, base));
            }
            self.fetch_images(text, &bases, &named, &mut images).await?;
            for (stage, base) in froms {
                let span = plan.dockerfile.stages[stage].from.span;
                let triggers = triggers(text, plan, span, &base, &images)?;
                let sources = plan
                    .sources(stage, &triggers)
                    .map_err(|e| plan_error(text, "ONBUILD", e))?;
                let extra: Vec<_> = sources
                    .into_iter()
                    .map(|source| (source, span, "ONBUILD".to_owned()))
                    .collect();
                self.fetch_images(text, &bases, &extra, &mut images).await?;
                named.extend(extra);
                starts.insert(stage, Start { base, triggers });
            }
            wanted.extend(named.iter().filter_map(|(source, ..)| match source {
                Source::Stage(stage) => Some(*stage),
                _ => None,
            }));
        }
    }

    fn open_cache(&self) -> Option<ImageCache> {
        let settings = &self.settings.cache;
        let dir = settings.dir.as_ref().filter(|dir| dir.is_dir())?;
        match ImageCache::open(dir, kiln_tarball_cache::Access::ReadOnly) {
            Ok(cache) => Some(cache),
            Err(error) => {
                let text = format!("no images are taken from `{}`: {error}", dir.display());
                self.events.event(Event::Info(text));
                None
            }
        }
    }

    /// Looks up at once whatever of `named` is an image that is not known yet.
    async fn fetch_images(
        &self,
        text: &Text,
        bases: &Bases<'_>,
        named: &[(Source, Span, String)],
        images: &mut Images,
    ) -> Result<(), BuildError> {
        let mut missing = BTreeMap::new();
        for (source, span, line) in named {
            if let Source::Image(image, platform) = source {
                let key = (image.clone(), platform.clone());
                if !images.contains_key(&key) {
                    missing.entry(key).or_insert((*span, line.clone()));
                }
            }
        }
        let finds = missing.into_iter().map(|(key, place)| async move {
            let found = bases.find(&key.0, &key.1).await;
            (key, place, found)
        });
        for (key, (span, line), found) in join_all(finds).await {
            let base = found.map_err(|source| BuildError::Base {
                location: Box::new(text.locate(span, &line)),
                source: Arc::new(source),
            })?;
            images.insert(key, base);
        }
        Ok(())
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where all parts of a build meet"
    )]
    fn shop(
        &self,
        plan: Plan,
        build_args: BuildArgs,
        context: Context,
        client: &Client,
        download: reqwest::Client,
        images: Images,
        starts: &BTreeMap<usize, Start>,
        mode: Mode,
    ) -> Result<Arc<Shop>, BuildError> {
        let settings = self.settings;
        let runtime = Handle::current();
        let events = Arc::clone(self.events);
        let blobs_dir = self.work.subdir("blobs")?;
        let blobs = Arc::new(Blobs::new(
            blobs_dir.clone(),
            client.clone(),
            runtime.clone(),
            Arc::clone(&events),
        ));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let packer = Packer::new(
            blobs_dir,
            PackOptions::of(settings, threads),
            threads.div_ceil(2),
            Arc::clone(&events),
        );
        let roots = Arc::new(Roots::new(
            self.work.subdir("r")?,
            mode,
            Arc::clone(&blobs),
            Arc::clone(&events),
            settings
                .ignore_paths
                .iter()
                .map(|path| ImagePath::from(path.as_path()))
                .collect(),
            self.kept(&context),
            threads,
        ));
        let hosts_file = self.work.path().join("hosts");
        std::fs::write(
            &hosts_file,
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        )
        .map_err(|source| self.no_work(source))?;
        let resolv_conf = Path::new("/etc/resolv.conf");
        let count = plan.dockerfile.stages.len();
        Ok(Arc::new(Shop {
            build_args,
            clock: Clock::choose(settings.reproducible, settings.source_date_epoch),
            events,
            cancel: self.cancel.clone(),
            blobs,
            packer,
            roots,
            spool: Spool::create(self.work.path()).map_err(|source| self.no_work(source))?,
            work: self.work.subdir("tmp")?,
            secrets: settings.secrets.clone(),
            hosts_file,
            resolv_conf: resolv_conf.exists().then(|| resolv_conf.to_owned()),
            context,
            context_view: OnceLock::new(),
            download,
            runtime,
            cache_mounts: self.cache_mounts(),
            images,
            stages: (0..count)
                .map(|stage| starts.contains_key(&stage).then(Promise::new))
                .collect(),
            exposed: Mutex::default(),
            plan,
        }))
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

    /// Runs every needed stage, side by side where each has a root of its own.
    async fn execute(
        &self,
        text: &Text,
        shop: &Arc<Shop>,
        starts: BTreeMap<usize, Start>,
    ) -> Result<Arc<Finished>, BuildError> {
        let failures: Mutex<Vec<BuildError>> = Mutex::default();
        let text = Arc::new((text.name.clone(), text.dockerfile.clone()));
        let run = |stages: Vec<(usize, Start)>| {
            let (shop, text) = (Arc::clone(shop), Arc::clone(&text));
            let failures = &failures;
            async move {
                let worker = tokio::task::spawn_blocking(move || {
                    let mut errors = Vec::new();
                    for (stage, start) in stages {
                        errors.extend(run_stage(&shop, &text, stage, &start).err());
                    }
                    errors
                });
                let errors = worker.await.unwrap_or_else(|_| vec![BuildError::Lost]);
                failures
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(errors);
            }
        };
        if shop.roots.one_at_a_time() {
            run(starts.into_iter().collect()).await;
        } else {
            join_all(starts.into_iter().map(|start| run(vec![start]))).await;
        }
        let failures = failures
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = first_cause(failures) {
            return Err(error);
        }
        let target = shop.plan.targets.first().copied().unwrap_or_default();
        let finished = shop
            .stages
            .get(target)
            .and_then(Option::as_ref)
            .and_then(Promise::wait);
        finished.ok_or(BuildError::Lost)
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
        client: &Client,
        shop: &Shop,
        image: &BuiltImage,
        download: &reqwest::Client,
    ) -> Result<(), BuildError> {
        let settings = self.settings;
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        if !settings.no_push {
            output::push(
                client,
                &shop.blobs,
                image,
                &settings.destinations,
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
        output::write_digest_files(settings, image.digest, download).await?;
        Ok(())
    }
}

/// The ONBUILD instructions that the FROM at `span` fires (C16-C18).
fn triggers(
    text: &Text,
    plan: &Plan,
    span: Span,
    base: &Source,
    images: &Images,
) -> Result<Vec<Instruction>, BuildError> {
    let (name, triggers): (String, Vec<String>) = match base {
        Source::Scratch => return Ok(Vec::new()),
        Source::Image(image, platform) => {
            let known = images.get(&(image.clone(), platform.clone()));
            let triggers = known.map(|base| base.config.config.on_build.clone());
            (image.to_string(), triggers.unwrap_or_default())
        }
        Source::Stage(stage) => {
            let own = plan.dockerfile.stages[*stage].instructions.iter();
            let triggers = own.filter_map(|instruction| match &instruction.command {
                Command::Onbuild(onbuild) => Some(onbuild.trigger.clone()),
                _ => None,
            });
            (plan.stage_name(*stage), triggers.collect())
        }
    };
    let escape = plan.dockerfile.directives.escape;
    let parse = |trigger: &String| {
        kiln_dockerfile::parse_trigger(trigger, escape).map_err(|source| BuildError::Base {
            location: Box::new(text.locate(span, &format!("ONBUILD {trigger}"))),
            source: Arc::new(BaseError::Trigger {
                reference: name.clone(),
                trigger: trigger.clone(),
                source,
            }),
        })
    };
    triggers.iter().map(parse).collect()
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

fn plan_error(
    text: &Text,
    line: &str,
    (span, source): (Span, Box<crate::plan::PlanError>),
) -> BuildError {
    BuildError::Plan {
        location: Box::new(text.locate(span, line)),
        source,
    }
}

/// What the instructions of a stage read from elsewhere, each with the line that says so.
fn own_sources(
    text: &Text,
    plan: &Plan,
    stage: usize,
) -> Result<Vec<(Source, Span, String)>, BuildError> {
    let mut named = Vec::new();
    for instruction in &plan.dockerfile.stages[stage].instructions {
        let sources = plan
            .sources(stage, [instruction])
            .map_err(|error| plan_error(text, &instruction.source, error))?;
        named.extend(
            sources
                .into_iter()
                .map(|source| (source, instruction.span, instruction.source.clone())),
        );
    }
    Ok(named)
}

/// Runs one stage from its base to its end and keeps its promise, whatever happens.
fn run_stage(
    shop: &Arc<Shop>,
    text: &(String, Dockerfile),
    stage: usize,
    start: &Start,
) -> Result<(), BuildError> {
    let promise = shop
        .stages
        .get(stage)
        .cloned()
        .flatten()
        .unwrap_or_else(Promise::new);
    let _lost = KeepOnDrop(promise.clone());
    let outcome = steps(shop, text, stage, start);
    match outcome {
        Ok((state, made)) => {
            promise.keep(Some(Arc::new(state.finish())));
            // Others may go on already; a layer that cannot be packed still names its line.
            made.iter().try_for_each(Layered::check)
        }
        Err(error) => {
            promise.keep(None);
            // The build has failed; what other stages do now is for nothing.
            shop.cancel.cancel();
            Err(error)
        }
    }
}

/// A layer and the instruction that made it.
struct Layered {
    layer: Layer,
    location: Location,
}

impl Layered {
    /// Waits until the layer is packed.
    fn check(&self) -> Result<(), BuildError> {
        match self.layer.describe() {
            Ok(_) => Ok(()),
            Err(error) => Err(BuildError::Step {
                location: Box::new(self.location.clone()),
                source: Box::new(StepError::Pack(error)),
            }),
        }
    }
}

struct KeepOnDrop(Promise<crate::shop::StageOutcome>);

impl Drop for KeepOnDrop {
    fn drop(&mut self) {
        // Has no effect when the promise was kept.
        self.0.keep(None);
    }
}

fn steps(
    shop: &Arc<Shop>,
    text: &(String, Dockerfile),
    stage: usize,
    start: &Start,
) -> Result<(State, Vec<Layered>), BuildError> {
    let located = |span: Span, line: &str, source: StepError| BuildError::Step {
        location: Box::new(Location::new(&text.0, &text.1, span, line)),
        source: Box::new(source),
    };
    let from = &shop.plan.dockerfile.stages[stage].from;
    let state =
        begin(shop, stage, start).map_err(|error| located(from.span, &from.source, error))?;
    let name = shop.plan.stage_name(stage);
    let mut stepper = Stepper::new(shop, stage, state);
    let mut made = Vec::new();
    let own = &shop.plan.dockerfile.stages[stage].instructions;
    let total = start.triggers.len() + own.len();
    for (number, instruction) in start.triggers.iter().chain(own).enumerate() {
        // A trigger has no line of its own in this file; the FROM that fired it has.
        let span = if number < start.triggers.len() {
            from.span
        } else {
            instruction.span
        };
        if shop.cancel.is_cancelled() {
            return Err(located(span, &instruction.source, StepError::Cancelled));
        }
        shop.events.event(Event::StepStarted {
            stage: name.clone(),
            number: number + 1,
            total,
            text: instruction.source.clone(),
        });
        let begun = Instant::now();
        let layers = stepper.state.layers.len();
        stepper
            .apply(instruction)
            .map_err(|error| located(span, &instruction.source, error))?;
        made.extend(stepper.state.layers[layers..].iter().map(|layer| Layered {
            layer: layer.clone(),
            location: Location::new(&text.0, &text.1, span, &instruction.source),
        }));
        shop.events.event(Event::StepFinished {
            stage: name.clone(),
            number: number + 1,
            took: begun.elapsed(),
        });
    }
    Ok((stepper.state, made))
}

/// The state that FROM gives.
fn begin(shop: &Arc<Shop>, stage: usize, start: &Start) -> Result<State, StepError> {
    match &start.base {
        Source::Scratch => {
            let platform = shop.plan.platform_of(stage).map_err(|(_, error)| error)?;
            Ok(State::on_scratch(&platform))
        }
        Source::Stage(_) => Ok(shop.wait_for(&start.base)?.continued()),
        Source::Image(image, platform) => {
            let known = shop.images.get(&(image.clone(), platform.clone()));
            Ok(known.ok_or(StepError::Dependency)?.state())
        }
    }
}

/// Of all failures the one that the others follow from.
fn first_cause(failures: Vec<BuildError>) -> Option<BuildError> {
    let mut aftermath = None;
    for failure in failures {
        if !failure.is_aftermath() {
            return Some(failure);
        }
        aftermath.get_or_insert(failure);
    }
    aftermath.map(|_| BuildError::Cancelled)
}
