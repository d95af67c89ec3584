//! The road of a build: read, plan, look bases up, run stages side by side, finish, hand out.

mod attempt;
mod chain;
mod finish;
mod foresee;
mod lookup;
mod outputs;
mod room;
mod sources;
mod stages;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::try_join;
use kiln_context::Context;
use kiln_dockerfile::Dockerfile;
use kiln_registry::Client;
use kiln_sandbox::{Cancel, IdMap, Mode, Processes, Runner};
use rustix::process::DumpableBehavior;

use self::attempt::Attempt;
use crate::build_plan::{BuildPlan, Planned, PlannedImage, planned_stage};
use crate::error::BuildError;
use crate::explain::Explanation;
use crate::format;
use crate::held::Held;
use crate::plan_run::PlanRun;
use crate::report::BuildReport;
use crate::settings::BuildSettings;
use crate::starts::{Images, Start, configs_for_lint};
use crate::step::StepError;
use kiln_delivery::output::Output;
use kiln_download as fetch;
use kiln_events::{Careful, Event, EventSink, ImageMade, NoteKind, WarningKind};
use kiln_plan::lint::{Known, check_of};
use kiln_plan::plan::Plan;
use kiln_plan::scope::{BuildArgs, unused_build_args};
use kiln_plan::text::Text;
use kiln_rootfs::{Aside, Restored, restore};
use kiln_step_cache::Distrusted;
use kiln_store::noticed::{of_contexts, telling};
use kiln_work::folder::{WorkError, WorkFolder};
use kiln_work::interrupt::Interrupt;
use kiln_work::workers::Workers;

/// Where a build will run its commands, and where it keeps its files. Made by [`enter`].
#[derive(Debug)]
pub struct Entered {
    mode: Mode,
    reason: String,
    work: WorkFolder,
    runner: Arc<dyn Runner>,
    /// What happened before there was anybody to tell.
    notes: Vec<Event>,
}

impl Entered {
    /// Enters nothing: `runner` runs the commands of the build, in directories that have the files of the stage. What
    /// they change is found by a scan.
    pub fn with_runner(
        settings: &BuildSettings,
        runner: Arc<dyn Runner>,
    ) -> Result<Entered, BuildError> {
        let ids = if rustix::process::geteuid().is_root() {
            IdMap::Full
        } else {
            IdMap::Single
        };
        Ok(Entered {
            mode: Mode::Namespace {
                userns: false,
                ids,
                overlay_ok: false,
            },
            reason: "commands are run by the program that builds".to_owned(),
            work: WorkFolder::create(&settings.work_dir)?,
            runner,
            notes: Vec::new(),
        })
    }

    fn tell_notes(&self, events: &dyn EventSink) {
        for note in &self.notes {
            events.event(note.clone());
        }
    }

    /// One line for the log: which isolation was chosen, and why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Makes the work folder, chooses the isolation by trying it, and enters it.
///
/// To be called before the program starts threads, since a process with threads cannot enter a user
/// namespace. Afterwards other processes of the same user cannot look into this one.
pub fn enter(settings: &BuildSettings) -> Result<Entered, BuildError> {
    let notes = put_context_back(&settings.context_dir)?;
    let work = WorkFolder::create(&settings.work_dir)?;
    let asked = match settings.isolation {
        crate::settings::Isolation::Auto => kiln_sandbox::Isolation::Auto,
        crate::settings::Isolation::Namespace => kiln_sandbox::Isolation::Namespace,
        crate::settings::Isolation::InPlace => kiln_sandbox::Isolation::InPlace,
    };
    let entered = kiln_sandbox::enter(asked, work.path(), settings.force)?;
    // Credentials are in our environment and memory. From here on no command of the image reads them in /proc, which
    // in place is the same for both, and none are in a core dump.
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "this process can be looked into");
    }
    Ok(Entered {
        mode: entered.mode,
        reason: entered.reason,
        work,
        runner: Arc::new(Processes),
        notes: notes.into_iter().collect(),
    })
}

/// Puts the files of a context back, if a build in place that was killed had moved them aside. [`enter`] does it as well;
/// a program that looks into the context before, for the Dockerfile, does this first.
///
/// Gives what is to be told of it, if there was anything to do. An error if that left more than can be taken for the context's, or if that build is alive.
pub fn put_context_back(context: &Path) -> Result<Option<Event>, BuildError> {
    let context = context.to_owned();
    let restored = restore(&context);
    match restored.map_err(|error| BuildError::Finish(Box::new(StepError::Root(error))))? {
        Restored::Nothing => Ok(None),
        Restored::Files => {
            let dir = context.display();
            let text = format!(
                "the files of the context `{dir}`, which a killed build had moved aside, are back"
            );
            Ok(Some(Event::warning(WarningKind::ContextRestored, text)))
        }
        Restored::FilesAndMore(left) => Err(BuildError::ContextRestored { context, left }),
        Restored::InUse => Err(BuildError::ContextInUse { context }),
    }
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
    let begun = Instant::now();
    let events = Careful::before(events);
    events.event(Event::BuildBegun);
    entered.tell_notes(&*events);
    let reason = entered.reason.clone();
    events.event(Event::note(NoteKind::Isolation, reason));
    if let Some(note) = entered.work.note() {
        events.event(Event::note(NoteKind::WorkFolder, note));
    }
    let build = Build::new(&settings, &events, &cancel, entered);
    // Boxed: the future of a build is deep, and its callers should not carry it on their stacks.
    let outcome = Box::pin(build.run()).await;
    build.close().await;
    events.event(Event::BuildEnded {
        took: begun.elapsed(),
        image: outcome.as_ref().ok().map(|report| ImageMade {
            digest: report.digest,
            size: report.size,
        }),
    });
    outcome
}

/// Says for every step whether it is cached, and what changed if not. Executes nothing and writes nothing; the
/// settings name a cache.
pub async fn explain(
    settings: BuildSettings,
    entered: Entered,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
) -> Result<Explanation, BuildError> {
    let events = Careful::before(events);
    entered.tell_notes(&*events);
    let build = Build::new(&settings, &events, &cancel, entered);
    let outcome = Box::pin(build.explain()).await;
    build.close().await;
    outcome
}

/// Says what a build would do. Looks images and, if there is one, the cache up; executes nothing and writes nothing.
pub async fn dry_run(
    settings: BuildSettings,
    entered: Entered,
    events: Arc<dyn EventSink>,
    cancel: Cancel,
) -> Result<BuildPlan, BuildError> {
    let events = Careful::before(events);
    entered.tell_notes(&*events);
    let build = Build::new(&settings, &events, &cancel, entered);
    let outcome = Box::pin(build.dry_run()).await;
    build.close().await;
    outcome
}

/// What the images are that a plan names, for a look at a Dockerfile. The outer error is one of this machine, the inner one
/// of the Dockerfile and its images.
pub(crate) async fn look_up_bases(
    settings: &BuildSettings,
    text: &Text,
    plan: &Plan,
    events: &Arc<dyn EventSink>,
) -> Result<Result<(BTreeMap<usize, Start>, Images), BuildError>, BuildError> {
    // What the client notices may be why a base is not found; what else is told of bases is not asked for.
    let client = Client::new(telling(&settings.registry, events)).map_err(BuildError::Client)?;
    let entered = Entered {
        mode: Mode::None {
            reason: "nothing is built".to_owned(),
        },
        reason: String::new(),
        work: WorkFolder::create(&settings.work_dir)?,
        runner: Arc::new(Processes),
        notes: Vec::new(),
    };
    let events: Arc<dyn EventSink> = Arc::new(kiln_events::Silent);
    let cancel = Cancel::new();
    let build = Build::new(settings, &events, &cancel, entered);
    let found = build.look_up(text, plan, &client).await;
    build.close().await;
    Ok(found)
}

struct Build<'a> {
    settings: &'a BuildSettings,
    events: &'a Arc<dyn EventSink>,
    cancel: &'a Cancel,
    interrupt: Interrupt,
    work: WorkFolder,
    workers: Workers,
    mode: Mode,
    runner: Arc<dyn Runner>,
}

/// What is known before anything is executed.
struct Prepared {
    text: Text,
    plan: Arc<Plan>,
    build_args: BuildArgs,
    context: Arc<Context>,
    client: Client,
    download: reqwest::Client,
    outputs: Vec<Box<dyn Output>>,
    starts: BTreeMap<usize, Start>,
    images: Arc<Images>,
    aside: Arc<Aside>,
    held: Arc<Held>,
    /// The time that stands for now, in seconds.
    epoch: Option<i64>,
}

impl<'a> Build<'a> {
    fn new(
        settings: &'a BuildSettings,
        events: &'a Arc<dyn EventSink>,
        cancel: &'a Cancel,
        entered: Entered,
    ) -> Build<'a> {
        Build {
            settings,
            events,
            interrupt: Interrupt::of(cancel),
            cancel,
            work: entered.work,
            workers: Workers::default(),
            mode: entered.mode,
            runner: entered.runner,
        }
    }

    /// Waits for every thread of the build and removes its folder.
    async fn close(self) {
        self.join_workers().await;
        let path = self.work.path().to_owned();
        let closed = if self.cancel.is_cancelled() {
            self.work.leave()
        } else {
            self.work.close()
        };
        if let Err(source) = closed {
            let text = format!("the work folder `{}` is not gone: {source}", path.display());
            self.events
                .event(Event::warning(WarningKind::LeftBehind, text));
        }
    }

    async fn run(&self) -> Result<BuildReport, BuildError> {
        let prepared = self.prepare().await?;
        if self.settings.print_plan {
            for line in self.build_plan(&prepared, None).text().lines() {
                self.events.event(Event::note(NoteKind::Plan, line));
            }
        }
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
            let why = kiln_shown::with_causes(&error);
            let text = format!(
                "an entry of the cache at {places} is broken and will be made again: {why}"
            );
            // One warning is enough, however many of them there are.
            self.events.event(if number == 0 {
                Event::warning(WarningKind::CacheEntry, text)
            } else {
                Event::note(NoteKind::Cache, text)
            });
            self.join_workers().await;
        }
        Err(BuildError::Lost)
    }

    async fn explain(&self) -> Result<Explanation, BuildError> {
        let prepared = self.prepare().await?;
        let attempt = self.attempt(&prepared, 0, &Distrusted::default())?;
        let plan_run = self.begin(&prepared, &attempt)?;
        let explaining = Box::pin(self.explain_steps(&prepared, &plan_run));
        self.heed("looking at the cache", explaining).await
    }

    async fn dry_run(&self) -> Result<BuildPlan, BuildError> {
        let prepared = self.prepare().await?;
        let attempt = self.attempt(&prepared, 0, &Distrusted::default())?;
        let plan_run = self.begin(&prepared, &attempt)?;
        if attempt.cache.is_none() {
            self.check_sources(&prepared, &plan_run).await?;
            return Ok(self.build_plan(&prepared, None));
        }
        let explaining = Box::pin(self.explain_steps(&prepared, &plan_run));
        let found = self.heed("looking at the cache", explaining).await?;
        Ok(self.build_plan(&prepared, Some(&found)))
    }

    fn build_plan(&self, prepared: &Prepared, found: Option<&Explanation>) -> BuildPlan {
        let plan = &prepared.plan;
        let stages = plan.dockerfile.stages.iter().enumerate();
        let stages = stages.map(|(number, stage)| {
            let planned = prepared.starts.get(&number).map(|start| Planned {
                base: &start.base,
                instructions: start.triggers.iter().chain(&stage.instructions).collect(),
            });
            planned_stage(plan, number, planned.as_ref(), found)
        });
        let images: BTreeSet<PlannedImage> = prepared
            .images
            .iter()
            .map(|((image, _), base)| PlannedImage {
                name: image.to_string(),
                digest: base.digest.to_string(),
            })
            .collect();
        let settings = self.settings;
        BuildPlan {
            dockerfile: prepared.text.name.clone(),
            platform: plan.platform.to_string(),
            images: images.into_iter().collect(),
            stages: stages.collect(),
            destinations: if settings.no_push {
                Vec::new()
            } else {
                settings
                    .destinations
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            },
        }
    }

    async fn join_workers(&self) {
        let workers = self.workers.clone();
        drop(tokio::task::spawn_blocking(move || workers.join()).await);
    }

    async fn prepare(&self) -> Result<Prepared, BuildError> {
        let settings = self.settings;
        let held = Arc::new(Held::now(settings));
        let download =
            fetch::client(&settings.registry.user_agent).map_err(BuildError::Downloads)?;
        let reading = self.read_dockerfile(&download);
        let text = self.heed("reading the Dockerfile", reading).await?;
        let (mut plan, mut build_args) = self.plan(&text)?;
        let context = Context::open(&settings.context_dir, None, text.path.as_deref())?;
        let context = context.telling(of_contexts(self.events));
        let epoch = text.epoch(settings, &mut plan, &mut build_args, &context)?;
        let registry = telling(&settings.registry, self.events);
        let client = Client::new(registry).map_err(BuildError::Client)?;
        let outputs = self.outputs(&client, &download);
        let asking = async {
            let allowed = self.check_outputs(&outputs);
            try_join(self.look_up(&text, &plan, &client), allowed).await
        };
        let asked = self.heed("asking the registries", asking).await;
        self.lint(&Known {
            text: &text,
            plan: &plan,
            build_args: &build_args,
            context: Some(&context),
            bases: asked
                .as_ref()
                .ok()
                .map(|(bases, ())| configs_for_lint(bases)),
            all_stages: false,
        })?;
        let ((starts, images), ()) = asked?;
        format::check(settings, &plan, &starts, &images)?;
        Ok(Prepared {
            text,
            plan: Arc::new(plan),
            build_args,
            aside: Arc::new(self.aside(&context, &images)),
            held,
            context: Arc::new(context),
            client,
            download,
            outputs,
            starts,
            images: Arc::new(images),
            epoch,
        })
    }

    /// Executes what has to be, puts the image together and hands it out.
    async fn make(
        &self,
        prepared: &Prepared,
        attempt: &Attempt,
    ) -> Result<BuildReport, BuildError> {
        let plan_run = self.begin(prepared, attempt)?;
        let outcome = Box::pin(self.make_in(prepared, &plan_run)).await;
        if let Err(error) = &outcome {
            self.clean_up_after(&plan_run, error).await;
        }
        outcome
    }

    async fn make_in(
        &self,
        prepared: &Prepared,
        plan_run: &Arc<PlanRun>,
    ) -> Result<BuildReport, BuildError> {
        let settings = self.settings;
        let looking = self.foresee(prepared, plan_run);
        let (foreseen, starts) = self.heed("looking at the cache", looking).await?;
        self.check_sources(prepared, plan_run).await?;
        let foreseen = Arc::new(foreseen);
        // What the look ahead held is gone.
        plan_run.run.text.reset();
        self.make_room(&prepared.text, plan_run, &foreseen, &starts)
            .await?;
        let executed = self
            .execute(&prepared.text, plan_run, &foreseen, starts)
            .await;
        let finished = executed?;
        plan_run.run.roots.tell_what_gave_way();
        let image = self.finish(plan_run, Arc::clone(&finished)).await?;
        // Outputs may be written into the context.
        self.put_back(plan_run).await?;
        self.keep_bases(plan_run);
        plan_run.run.roots.clear(&self.workers);
        if let Some(cache) = &plan_run.run.cache {
            // What went into a repository of the same registry can be mounted from there.
            self.heed_all("storing steps in the cache", cache.stored())
                .await?;
        }
        let handing_out = Box::pin(self.hand_out(prepared, plan_run, &image));
        self.heed("handing out the image", handing_out).await?;
        if let Some(cache) = &plan_run.run.cache {
            let trail = foreseen.trail(plan_run);
            let keeping = Box::pin(cache.finish(&trail));
            self.heed_all("storing steps in the cache", keeping).await?;
        }
        self.leave_place(plan_run, finished).await?;
        Ok(BuildReport {
            digest: image.digest,
            size: image
                .layers
                .iter()
                .map(|layer| layer.descriptor.size())
                .sum(),
            config: image.config,
            pushed: if settings.no_push {
                Vec::new()
            } else {
                settings.destinations.clone()
            },
        })
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

    /// Reads and parses the Dockerfile; one from a URL goes through the work folder.
    async fn read_dockerfile(&self, download: &reqwest::Client) -> Result<Text, BuildError> {
        let context = &self.settings.context_dir;
        let text = Text::read(
            &self.settings.dockerfile,
            context,
            download,
            self.work.path(),
        )
        .await?;
        Ok(text)
    }

    fn no_work(&self, source: std::io::Error) -> BuildError {
        let path = self.work.path().to_owned();
        WorkError::Unusable { path, source }.into()
    }

    fn plan(&self, text: &Text) -> Result<(Plan, BuildArgs), BuildError> {
        let (plan, build_args) = text.plan(self.settings)?;
        text.check_values(&plan)?;
        for name in unused_build_args(&build_args, &declared(&plan.dockerfile)) {
            let text = format!("build-arg `{name}` is not used: no ARG of that name");
            let kind = WarningKind::UnusedBuildArg;
            self.events.event(Event::warning(kind, text));
        }
        Ok((plan, build_args))
    }

    /// Tells what the lint finds, each finding once; an error if the file says that findings are errors (A6).
    fn lint(&self, known: &Known<'_>) -> Result<(), BuildError> {
        let check = check_of(known)?;
        let name = &known.text.name;
        let warnings = known.lint(check.clone());
        for warning in &warnings {
            let line = warning.span.line();
            let text = format!("{name}:{line}: {}: {}", warning.rule, warning.message);
            self.events.event(Event::warning(WarningKind::Lint, text));
        }
        if check.is_some_and(|check| check.error) && !warnings.is_empty() {
            return Err(BuildError::Check {
                file: name.clone(),
                count: warnings.len(),
            });
        }
        Ok(())
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
        .filter_map(|instruction| instruction.command.args())
        .flatten()
        .map(|arg| arg.name.clone())
        .collect()
}
