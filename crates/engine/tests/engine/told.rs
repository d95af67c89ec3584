//! The order of what a build tells.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use kiln_engine::{
    BuildError, BuildReport, BuildSettings, CacheSettings, Cancel, DockerfileSource, Entered,
    Event, EventSink, ImageOutput, LayerCacheSettings, Step, StepLayer, StepOutcome, Subject,
    WaitingFor, WorkDir, build,
};
use kiln_sandbox::Exit;
use kiln_testkit::{FakeListener, FakeRunner};

struct Case {
    temp: tempfile::TempDir,
    listener: FakeListener,
}

impl Case {
    fn new(dockerfile: &str) -> Case {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["context", "volume", "work"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let case = Case {
            temp,
            listener: FakeListener::new(),
        };
        case.write("Dockerfile", dockerfile);
        case.write("a", "content");
        case
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join("context").join(name), text).unwrap();
    }

    /// Builds with commands that do nothing; `hear` is called before an event is kept.
    async fn build(
        &self,
        cached: bool,
        hear: impl Fn(&Event, &FakeListener) + Send + Sync + 'static,
    ) -> Result<BuildReport, BuildError> {
        let layers = LayerCacheSettings {
            places: Vec::new(),
            from: Vec::new(),
            store: true,
            copy: true,
            run: true,
        };
        let settings = BuildSettings {
            context_dir: self.path().join("context"),
            dockerfile: DockerfileSource::Path(self.path().join("context/Dockerfile")),
            no_push: true,
            work_dir: WorkDir::Private(self.path().join("work")),
            outputs: vec![ImageOutput::Archive(self.path().join("image.tar"))],
            cache: CacheSettings {
                dir: cached.then(|| self.path().join("volume")),
                layers: cached.then_some(layers),
                ..CacheSettings::default()
            },
            ..BuildSettings::default()
        };
        let runner = Arc::new(FakeRunner::new(|_, _| Exit::Code(0)));
        let entered = Entered::with_runner(&settings, runner).unwrap();
        let listener = self.listener.clone();
        let sink = move |event: Event| {
            hear(&event, &listener);
            listener.event(event);
        };
        build(settings, entered, Arc::new(sink), Cancel::new()).await
    }

    /// What was told of stages and steps, from the event with this number on.
    fn told(&self, from: usize) -> Vec<String> {
        let events = self.listener.events();
        events[from..].iter().filter_map(line).collect()
    }
}

fn no_more(_: &Event, _: &FakeListener) {}

fn layer_word(layer: StepLayer) -> &'static str {
    match layer {
        StepLayer::None => "no layer",
        // Which of the two it is depends on how fast the layer is packed.
        StepLayer::Packing
        | StepLayer::There {
            uncompressed_size: Some(_),
            ..
        } => "a layer",
        StepLayer::There {
            uncompressed_size: None,
            ..
        } => "a layer that was there",
    }
}

fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::BuildBegun => "build begun".to_owned(),
        Event::BuildEnded { image, .. } => format!("build ended: {}", image.is_some()),
        Event::StageBegun { stage, steps } => format!("{stage} begun: {steps}"),
        Event::StageWaiting { stage, on } => format!("{stage} waits for {on}"),
        Event::StageEnded { stage, outcome, .. } => format!("{stage} ended: {outcome:?}"),
        Event::StepWaiting { step, on } => format!("{step} waits for {on}"),
        Event::StepBegun { step, text } => format!("{step} begun: {text}"),
        Event::StepCached { step, .. } => format!("{step} cached"),
        Event::StepEnded {
            step,
            outcome,
            layer,
            ..
        } => format!("{step} ended: {outcome:?}, {}", layer_word(*layer)),
        _ => return None,
    })
}

/// The part of what was told that is about one stage.
fn of_stage(told: &[String], stage: &str) -> Vec<String> {
    let prefix = format!("{stage} ");
    let own = told.iter().filter(|line| line.starts_with(&prefix));
    own.cloned().collect()
}

const TWO_STAGES: &str = "FROM scratch AS files\nCOPY a /\nFROM scratch AS app\n\
                          COPY --from=files /a /b\nLABEL x=y\n";

// finding 57
#[tokio::test(flavor = "multi_thread")]
async fn a_step_waits_before_it_begins() {
    let case = Case::new(TWO_STAGES);
    let is_waiting = |event: &Event| matches!(event, Event::StepWaiting { .. });
    // The stage that is waited for does not go on before it is.
    let hold = move |event: &Event, listener: &FakeListener| {
        if matches!(event, Event::StepBegun { step, .. } if step.stage.name == "files") {
            listener.wait_for(is_waiting);
        }
    };
    case.build(false, hold).await.unwrap();
    let told = case.told(0);
    assert_eq!(told.first().map(String::as_str), Some("build begun"));
    assert_eq!(told.last().map(String::as_str), Some("build ended: true"));
    let app = [
        "app begun: 2",
        "app 1/2 waits for stage files",
        "app 1/2 begun: COPY --from=files /a /b",
        "app 1/2 ended: Made, a layer",
        "app 2/2 begun: LABEL x=y",
        "app 2/2 ended: Made, no layer",
        "app ended: Done",
    ];
    assert_eq!(of_stage(&told, "app"), app);
    let at = |line: &str| told.iter().position(|one| one == line);
    assert!(at("files 1/1 ended: Made, a layer") < at("app 1/2 begun: COPY --from=files /a /b"));
    let waited = case.listener.wait_for(is_waiting);
    let Event::StepWaiting { step, on } = waited else {
        panic!("{waited:?}");
    };
    assert_eq!((step.stage.number, step.number, step.total), (1, 1, 2));
    assert!(matches!(on, WaitingFor::Stage(stage) if stage.number == 0));
}

/// A layer is told where its bytes move and where it is there, with the step that made it.
#[tokio::test(flavor = "multi_thread")]
async fn packing_is_told_with_the_step_that_it_is_for() {
    let case = Case::new("FROM scratch AS only\nCOPY a /\n");
    case.build(false, no_more).await.unwrap();
    let of_step = |subject: &Option<Subject>| {
        let Some(Subject::Step(Step { stage, number, .. })) = subject else {
            panic!("{subject:?}");
        };
        format!("{stage} {number}")
    };
    let events = case.listener.events();
    let packing: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::TransferBegun { transfer } => {
                Some(format!("begun for {}", of_step(&transfer.subject)))
            }
            Event::TransferEnded {
                transfer,
                moved,
                done,
                ..
            } => {
                assert_eq!(transfer.wanted, Some(*moved), "a tar of one file");
                Some(format!("ended: {done}"))
            }
            Event::LayerPacked { subject, .. } => Some(format!("packed: {}", of_step(subject))),
            _ => None,
        })
        .collect();
    assert_eq!(
        packing,
        ["begun for only 1", "ended: true", "packed: only 1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_ends_and_so_do_its_stage_and_the_build() {
    let case = Case::new("FROM scratch AS only\nCOPY --chown=nobody-here a /\nLABEL x=y\n");
    case.build(false, no_more).await.unwrap_err();
    let expected = [
        "build begun",
        "only begun: 2",
        "only 1/2 begun: COPY --chown=nobody-here a /",
        "only 1/2 ended: Failed, no layer",
        "only ended: Failed",
        "build ended: false",
    ];
    assert_eq!(case.told(0), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_is_told_between_beginning_and_end_and_waits_for_nobody() {
    let case = Case::new(TWO_STAGES);
    case.build(true, no_more).await.unwrap();
    let before = case.listener.events().len();
    case.build(true, no_more).await.unwrap();
    let told = case.told(before);
    // The stage that it reads is left out.
    assert!(of_stage(&told, "files").is_empty(), "{told:?}");
    let app = [
        "app begun: 2",
        "app 1/2 begun: COPY --from=files /a /b",
        "app 1/2 cached",
        "app 1/2 ended: Cached, a layer that was there",
        "app 2/2 begun: LABEL x=y",
        "app 2/2 ended: Made, no layer",
        "app ended: Done",
    ];
    assert_eq!(of_stage(&told, "app"), app);
    case.write("a", "other content");
    case.build(true, no_more).await.unwrap();
    let missed = case.listener.wait_for(
        |event| matches!(event, Event::StepMissed { step, .. } if step.stage.name == "files"),
    );
    let Event::StepMissed { step, reason, .. } = missed else {
        panic!("{missed:?}");
    };
    assert_eq!(step.to_string(), "files 1/1");
    assert!(
        reason.contains("files changed") || reason.contains("`a`"),
        "{reason}"
    );
    let executed = |event: &Event| match event {
        Event::StepEnded { outcome, .. } => *outcome == StepOutcome::Made,
        _ => false,
    };
    case.listener.wait_for(executed);
}
