//! A build whose commands another program runs: the seam for a runner, with one that starts no process.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use kiln_engine::{
    BuildError, BuildReport, BuildSettings, Cancel, DockerfileSource, Entered, Event, ImageOutput,
    WorkDir, build,
};
use kiln_oci::{Layout, Manifest};
use kiln_sandbox::{Exit, Stream};
use kiln_testkit::FakeRunner;

fn settings(dir: &Path, dockerfile: &str) -> BuildSettings {
    let context = dir.join("context");
    fs::create_dir_all(&context).unwrap();
    fs::create_dir_all(dir.join("work")).unwrap();
    fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    fs::write(context.join("input"), "from the context\n").unwrap();
    BuildSettings {
        dockerfile: DockerfileSource::Path(context.join("Dockerfile")),
        context_dir: context,
        work_dir: WorkDir::Fixed(dir.join("work")),
        outputs: vec![ImageOutput::Layout(dir.join("layout"))],
        no_push: true,
        ..BuildSettings::default()
    }
}

async fn run(
    settings: BuildSettings,
    runner: &Arc<FakeRunner>,
) -> (Result<BuildReport, BuildError>, Vec<Event>) {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let told = Arc::clone(&events);
    let listener = Arc::new(move |event: Event| told.lock().unwrap().push(event));
    let entered = Entered::with_runner(&settings, Arc::clone(runner) as _).unwrap();
    let outcome = build(settings, entered, listener, Cancel::new()).await;
    let events = events.lock().unwrap().clone();
    (outcome, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_runner_changes_is_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    let dockerfile = "FROM scratch\nCOPY input /in/\nENV WORD=hello\nWORKDIR /in\nRUN make it\n";
    let settings = settings(dir.path(), dockerfile);
    let runner = Arc::new(FakeRunner::new(|spec, output| {
        let root = FakeRunner::root_of(spec);
        let content = fs::read_to_string(root.join("in/input")).unwrap();
        fs::write(root.join("in/output"), content + "and more\n").unwrap();
        output(Stream::Stdout, b"made\n");
        Exit::Code(0)
    }));
    let (outcome, events) = run(settings, &runner).await;
    let report = outcome.unwrap();

    let [spec] = runner.asked().try_into().unwrap();
    let argv: Vec<_> = spec
        .argv
        .iter()
        .map(|word| word.to_str().unwrap())
        .collect();
    assert_eq!(argv, ["/bin/sh", "-c", "make it"]);
    assert!(spec.env.contains(&("WORD".into(), "hello".into())));
    assert_eq!(spec.cwd, Path::new("/in"));

    let layout = Layout::open(&dir.path().join("layout")).unwrap();
    let manifest = Manifest::parse(&layout.read_blob(&report.digest).unwrap()).unwrap();
    // COPY made the first, RUN the last; WORKDIR was there already.
    let last = layout.blob_path(&manifest.layers().last().unwrap().digest());
    let tar = flate2::read::GzDecoder::new(fs::File::open(last).unwrap());
    let mut files = Vec::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        files.push(entry.unwrap().path().unwrap().display().to_string());
    }
    assert_eq!(files, ["in/", "in/output"]);
    let line = events.iter().find_map(|event| match event {
        Event::Output { line, .. } => Some(line.clone()),
        _ => None,
    });
    assert_eq!(line.as_deref(), Some(&b"made"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_ends_the_build_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(
        dir.path(),
        "FROM scratch\nCOPY input /\nRUN get https://me:hunter2@host/one\nRUN two\n",
    );
    let work = dir.path().join("work");
    let runner = Arc::new(FakeRunner::new(|_, _| Exit::Code(7)));
    let (outcome, _) = run(settings, &runner).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.exit_code(), 7);
    let debug = format!("{error:?}");
    assert!(
        debug.contains("host/one") && !debug.contains("hunter2"),
        "{debug}"
    );
    assert_eq!(runner.asked().len(), 1);
    assert!(fs::read_dir(work).unwrap().next().is_none());
}
