//! Running a builder, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use crate::case::Case;
use crate::image::Image;
use crate::leaks::Leaks;
use crate::privilege::{Throwaway, all_in_place};
use crate::tool;

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// The executor under test.
    Kiln,
    /// Debian's `buildah`, to test the tests.
    Buildah,
}

impl Builder {
    /// `KILN_E2E_BUILDER`: `kiln` (the default) or `buildah`.
    pub fn from_env() -> Self {
        match std::env::var("KILN_E2E_BUILDER").as_deref() {
            Ok("buildah") => Self::Buildah,
            Ok("kiln" | "") | Err(_) => Self::Kiln,
            Ok(other) => panic!("KILN_E2E_BUILDER is `kiln` or `buildah`, not `{other}`"),
        }
    }
}

/// A build, or a push of something built before, that is being described.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    case: &'a Case,
    builder: Builder,
    /// What `executor push` pushes, when this is none of a build at all.
    pushed: Option<PathBuf>,
    context: String,
    dockerfile: Option<OsString>,
    destinations: Option<Vec<String>>,
    isolation: Option<&'static str>,
    target: Option<String>,
    variables: Vec<String>,
    arguments: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    wrapper: Vec<OsString>,
    program: Option<PathBuf>,
}

impl<'a> Build<'a> {
    pub(crate) fn new(case: &'a Case, context: &Path) -> Self {
        Self {
            case,
            builder: Builder::from_env(),
            pushed: None,
            context: context.display().to_string(),
            dockerfile: None,
            destinations: None,
            // Never `auto` by default: where namespaces failed, in-place would be next, on this machine's own `/`.
            isolation: Some("namespace"),
            target: None,
            variables: Vec::new(),
            arguments: Vec::new(),
            env: Vec::new(),
            wrapper: Vec::new(),
            program: None,
        }
    }

    pub(crate) fn push(case: &'a Case, path: &Path) -> Self {
        Self {
            builder: Builder::Kiln,
            pushed: Some(path.to_path_buf()),
            isolation: None,
            ..Self::new(case, Path::new(""))
        }
    }

    /// Another builder than the one the environment names.
    #[must_use]
    pub fn with(mut self, builder: Builder) -> Self {
        self.builder = builder;
        self
    }

    /// `--context` as text, instead of the folder.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// `--dockerfile`.
    #[must_use]
    pub fn dockerfile(mut self, path: impl AsRef<OsStr>) -> Self {
        self.dockerfile = Some(path.as_ref().to_owned());
        self
    }

    /// Where to push, instead of the case's `image`; more calls, more destinations.
    #[must_use]
    pub fn destination(mut self, reference: impl Into<String>) -> Self {
        self.destinations
            .get_or_insert_default()
            .push(reference.into());
        self
    }

    /// No `--destination` and `--no-push`.
    #[must_use]
    pub fn no_push(mut self) -> Self {
        self.destinations = Some(Vec::new());
        self.arg("--no-push")
    }

    /// No destination at all, not even `--no-push`.
    #[must_use]
    pub fn nowhere(mut self) -> Self {
        self.destinations = Some(Vec::new());
        self
    }

    /// `--isolation`; `None` leaves the flag out, which only a private root may do.
    #[must_use]
    pub fn isolation(mut self, isolation: Option<&'static str>) -> Self {
        self.isolation = isolation;
        self
    }

    /// `--target`.
    #[must_use]
    pub fn target(mut self, stage: &str) -> Self {
        self.target = Some(stage.to_owned());
        self
    }

    /// `--build-arg`.
    #[must_use]
    pub fn build_arg(mut self, pair: impl Into<String>) -> Self {
        self.variables.push(pair.into());
        self
    }

    /// Flags of Kiln's, separated by blanks.
    #[must_use]
    pub fn args(self, arguments: impl AsRef<str>) -> Self {
        let words = arguments.as_ref().split_whitespace();
        words.fold(self, Self::arg)
    }

    /// `--cache` with this place for steps.
    #[must_use]
    pub fn cached_in(self, place: impl AsRef<str>) -> Self {
        self.arg("--cache")
            .arg(format!("--cache-repo={}", place.as_ref()))
    }

    /// `executor cache explain` of the same build: its exit code and both streams.
    pub fn explain(&self, format: &str) -> tool::Ran {
        let command = self.command();
        let arguments: Vec<OsString> = command.get_args().map(OsStr::to_owned).collect();
        let mut explain = Command::new(command.get_program());
        explain
            .args(["cache", "explain", "--format", format])
            .args(arguments);
        self.finish(&mut explain);
        tool::run(&mut explain)
    }

    /// `--dryrun` with the options of this build: its exit code and both streams.
    pub fn dry_run(&self, format: &str) -> tool::Ran {
        let mut command = self.command();
        command.args(["--dryrun", "--dryrun-format", format]);
        self.finish(&mut command);
        tool::run(&mut command)
    }

    /// `--check` with the options of this build: its exit code and both streams.
    pub fn check(&self, format: &str) -> tool::Ran {
        let mut command = self.command();
        command.args(["--check", "--check-format", format]);
        self.finish(&mut command);
        tool::run(&mut command)
    }

    /// Any flag of Kiln's.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// A variable of the builder's environment, which otherwise has PATH, HOME and TMPDIR only.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A program that runs the builder, such as `setpriv ...` or `chroot DIR`.
    #[must_use]
    pub fn under<A: AsRef<OsStr>>(mut self, wrapper: impl IntoIterator<Item = A>) -> Self {
        self.wrapper = wrapper
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// The executor's path as the wrapper sees it.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// The first destination.
    pub fn first_destination(&self) -> Option<String> {
        match &self.destinations {
            None => Some(self.case.destination("image")),
            Some(list) => list.first().cloned(),
        }
    }

    /// The same build in place, in a throw-away root, if this run of the suite does all builds so; not those for which
    /// the test itself chose where they are done.
    fn moved_in_place(&self) -> Option<Build<'a>> {
        let chosen = self.isolation != Some("namespace")
            || !self.wrapper.is_empty()
            || self.program.is_some();
        if chosen || !all_in_place() {
            return None;
        }
        let context = Path::new(&self.context);
        let is_context = context.is_absolute()
            && (self.dockerfile.is_some() || context.join("Dockerfile").exists());
        // As in a pod: the default context, on a volume.
        let mounted = (self.pushed.is_none() && is_context).then_some(context);
        let root = Throwaway::anew(self.case, mounted);
        let mut moved = self
            .clone()
            .under(root.wrapper())
            .program("/kaniko/executor");
        if mounted.is_some() {
            moved = moved.context("/workspace");
            // A file of the context is named where the context is.
            let inside = self.dockerfile.as_deref().map(Path::new);
            if let Some(inside) = inside.and_then(|path| path.strip_prefix(context).ok()) {
                moved = moved.dockerfile(Path::new("/workspace").join(inside));
            }
        }
        // Not last: some tests end with half a flag.
        moved.arguments.insert(0, "--force".into());
        // Tests that make the disk for temporary files small mean the work folder.
        let small = is_mount_point(&self.case.path("tmp"));
        let work = if small {
            self.case.path("tmp")
        } else {
            "/kaniko".into()
        };
        let given = self.env.iter().any(|(name, _)| name == "KANIKO_DIR");
        let moved = moved.isolation(Some("in-place"));
        Some(if given {
            moved
        } else {
            moved.env("KANIKO_DIR", work)
        })
    }

    /// The command line.
    pub fn command(&self) -> Command {
        match self.builder {
            Builder::Kiln => self.executor(),
            Builder::Buildah => self.buildah(),
        }
    }

    fn executor(&self) -> Command {
        let program = self.program.clone().unwrap_or_else(tool::executor);
        let mut words = self.wrapper.clone();
        words.push(program.into());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        match &self.pushed {
            Some(path) => command.arg("push").arg(path),
            None => command.arg("--context").arg(&self.context),
        };
        if let Some(path) = &self.dockerfile {
            command.arg("--dockerfile").arg(path);
        }
        for destination in self
            .destinations
            .clone()
            .unwrap_or_else(|| vec![self.case.destination("image")])
        {
            command.arg("--destination").arg(destination);
        }
        if let Some(isolation) = self.isolation {
            command.arg("--isolation").arg(isolation);
        }
        if let Some(stage) = &self.target {
            command.arg("--target").arg(stage);
        }
        for pair in &self.variables {
            command.arg("--build-arg").arg(pair);
        }
        command.args(&self.arguments);
        self.finish(&mut command);
        command
    }

    fn buildah(&self) -> Command {
        let of_kiln: Vec<_> = self
            .arguments
            .iter()
            .filter(|word| *word != "--no-push")
            .collect();
        assert!(
            of_kiln.is_empty(),
            "flags of Kiln's in a test that also runs against buildah: {of_kiln:?}"
        );
        let destination = self.first_destination().unwrap_or_else(|| "unnamed".into());
        let script = r#"store="$1"; to="$2"; shift 2
            run() { buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs "$@"; }
            run bud --isolation chroot --format docker --tls-verify=false --signature-policy "$store/policy.json" --tag "$to" "$@" &&
            run push --quiet --tls-verify=false --signature-policy "$store/policy.json" "$to" "docker://$to""#;
        let store = self.case.path("buildah");
        fs::create_dir_all(&store).expect("a folder for buildah");
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(store.join("policy.json"), policy).expect("a policy for buildah");
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(script)
            .arg("buildah")
            .arg(&store)
            .arg(destination);
        if let Some(path) = &self.dockerfile {
            let path = Path::new(&self.context).join(path);
            command.arg("--file").arg(path);
        }
        if let Some(stage) = &self.target {
            command.arg("--target").arg(stage);
        }
        for pair in &self.variables {
            command.arg("--build-arg").arg(pair);
        }
        command.arg(&self.context);
        self.finish(&mut command);
        command
    }

    fn finish(&self, command: &mut Command) {
        command.env_clear();
        command.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        command
            .env("HOME", self.case.path("home"))
            .env("TMPDIR", self.case.path("tmp"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.case.path(""));
    }

    /// Builds without standard input, waits, and checks that nothing is left behind.
    pub fn run(&self) -> Outcome {
        self.run_with_input(None)
    }

    /// Builds with this standard input, waits, and checks that nothing is left behind.
    pub fn run_with_input(&self, input: Option<&[u8]>) -> Outcome {
        let leaks = Leaks::before(self.case);
        let mut running = self.start_with_input(input);
        let outcome = running.wait();
        leaks.check_after(&outcome.log);
        outcome
    }

    /// Starts the build; the caller waits.
    pub fn start(&self) -> Running {
        self.start_with_input(None)
    }

    fn start_with_input(&self, input: Option<&[u8]>) -> Running {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let moved = self.moved_in_place();
        let mut command = moved.as_ref().unwrap_or(self).command();
        command.stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        command
            .stdout(writer.try_clone().expect("a pipe end can be cloned"))
            .stderr(writer);
        let line = format!("{command:?}");
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
        // The pipe's last writer must be the builder, or its end is never seen.
        drop(command);
        if let Some((input, mut pipe)) = input.map(<[u8]>::to_vec).zip(child.stdin.take()) {
            // A builder that fails early does not read all its input; that is its business.
            thread::spawn(move || drop(pipe.write_all(&input)));
        }
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|got| got > 0) {
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
                line.clear();
            }
        });
        let destination = self.first_destination();
        Running {
            wrapped: moved.is_some(),
            child,
            lines,
            log: String::new(),
            line,
            destination,
        }
    }
}

fn is_mount_point(dir: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    dir.parent().map(device) != Some(device(dir))
}

/// A build under way.
#[derive(Debug)]
pub struct Running {
    /// Another program runs the builder as its child.
    wrapped: bool,
    child: Child,
    lines: mpsc::Receiver<String>,
    log: String,
    line: String,
    destination: Option<String>,
}

impl Running {
    /// Reads on until a line contains `text`.
    pub fn wait_for(&mut self, text: &str) {
        loop {
            let Ok(line) = self.lines.recv() else {
                panic!(
                    "the build ended before it printed `{text}`:\n{}\n{}",
                    self.line, self.log
                )
            };
            self.log.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    /// The process id of what was started.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the only child of what was started: the builder under a wrapper such as `unshare --fork`.
    pub fn signal_child(&self, signal: nix::sys::signal::Signal) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("a running child has children");
        let child: i32 = children.trim().parse().expect("exactly one child");
        let child = nix::unistd::Pid::from_raw(child);
        nix::sys::signal::kill(child, signal).expect("a running child can be signalled");
    }

    /// Waits until the builder itself runs and holds signals: the first process of a pid namespace, which it is under the
    /// test's own wrapper, never gets those that come before, as that of a container does not.
    pub fn wait_for_builder(&self) {
        const SIGTERM: u64 = 1 << (nix::sys::signal::SIGTERM as u64 - 1);
        let own = self.child.id();
        let is_builder = || {
            let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
            let child = children.unwrap_or_default();
            let status = fs::read_to_string(format!("/proc/{}/status", child.trim()));
            let status = status.unwrap_or_default();
            let held = status
                .lines()
                .find_map(|line| line.strip_prefix("SigBlk:\t"));
            let held = held.and_then(|mask| u64::from_str_radix(mask, 16).ok());
            status.starts_with("Name:\texecutor") && held.is_some_and(|mask| mask & SIGTERM != 0)
        };
        for _ in 0..1_000 {
            if !self.wrapped || is_builder() {
                return;
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Sends a signal to the builder; under a wrapper of the test's own, to that.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        if self.wrapped && children.is_ok_and(|children| !children.trim().is_empty()) {
            return self.signal_child(signal);
        }
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("a running child can be signalled");
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> Outcome {
        while let Ok(line) = self.lines.recv() {
            self.log.push_str(&line);
        }
        let status = self.child.wait().expect("a child can be waited for");
        Outcome {
            code: status.code(),
            status: status.to_string(),
            log: self.log.clone(),
            line: self.line.clone(),
            destination: self.destination.clone(),
        }
    }
}

/// Whether a line with a step's number is about the step, and not the step's own.
fn is_about_a_step(text: &str) -> bool {
    let beginnings = [
        "waiting for ",
        "done in ",
        "failed after ",
        "stopped after ",
    ];
    beginnings.iter().any(|one| text.starts_with(one))
}

fn number_of(text: &str) -> usize {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is no step number"))
}

/// A finished build.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The exit in words.
    pub status: String,
    /// Everything it printed, both streams, in order.
    pub log: String,
    line: String,
    destination: Option<String>,
}

impl Outcome {
    pub(crate) fn of(ran: tool::Ran, line: String, destination: Option<String>) -> Self {
        let status = ran
            .code
            .map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        Self {
            code: ran.code,
            status,
            log: ran.stdout + &ran.stderr,
            line,
            destination,
        }
    }

    /// Panics with the log unless the build succeeded.
    pub fn ok(&self) -> &Self {
        assert_eq!(
            self.code,
            Some(0),
            "{} ended with {}\n{}",
            self.line,
            self.status,
            self.log
        );
        self
    }

    /// The image that was pushed.
    pub fn image(&self) -> Image {
        self.ok();
        let reference = self.destination.as_deref().expect("the build pushes");
        Image::read(&format!("docker://{reference}"))
    }

    /// Panics unless the build failed with `code` and said each of `fragments` in words fit for people.
    pub fn failed(&self, code: i32, fragments: &[&str]) -> &Self {
        let context = format!("{} ended with {}\n{}", self.line, self.status, self.log);
        assert_eq!(self.code, Some(code), "{context}");
        for fragment in fragments {
            assert!(
                self.log.contains(fragment),
                "`{fragment}` is not in the message\n{context}"
            );
        }
        for word in [
            "panicked at",
            "stack backtrace",
            "RUST_BACKTRACE",
            "Os { code",
        ] {
            assert!(
                !self.log.contains(word),
                "`{word}` is no message for people\n{context}"
            );
        }
        self
    }

    /// What became of a stage's steps that may make a layer, such as `COPY hit, RUN miss`; empty when the stage was
    /// left out.
    pub fn steps(&self, stage: &str) -> String {
        let (mut begun, mut hits) = (BTreeMap::new(), BTreeSet::new());
        for line in self.log.lines() {
            let Some((_, rest)) = line.split_once(&format!("] [{stage} ")) else {
                continue;
            };
            let Some((number, text)) = rest.split_once("] ") else {
                continue;
            };
            match number.split_once('/') {
                // Before it begins, and after it has ended.
                Some(_) if is_about_a_step(text) => {}
                Some((number, _)) => {
                    let again = begun.insert(number_of(number), text).is_some();
                    // A broken entry makes the build begin again.
                    if again {
                        begun = BTreeMap::from([(number_of(number), text)]);
                        hits.clear();
                    }
                }
                None if text.starts_with("cached in ") => drop(hits.insert(number_of(number))),
                None => {}
            }
        }
        let steps = begun.iter().filter_map(|(number, text)| {
            let name = text.split(' ').next()?;
            let verdict = if hits.contains(number) { "hit" } else { "miss" };
            ["RUN", "COPY", "ADD", "WORKDIR"]
                .contains(&name)
                .then(|| format!("{name} {verdict}"))
        });
        steps.collect::<Vec<_>>().join(", ")
    }

    /// Panics with the log unless the only stage's steps went like this.
    pub fn went(&self, steps: &str) -> &Self {
        self.ok();
        assert_eq!(self.steps("stage-0"), steps, "{}\n{}", self.line, self.log);
        self
    }

    /// The lines that warn, without level and time.
    pub fn warnings(&self) -> Vec<&str> {
        let warnings = self.log.lines().filter(|line| line.contains("WARN"));
        warnings
            .map(|line| line.split_once("] ").map_or(line, |(_, text)| text))
            .collect()
    }

    /// As [`Outcome::failed`] with code 1, and the cause must be said in one line only.
    pub fn failed_once(&self, cause: &str, fragments: &[&str]) -> &Self {
        self.failed(1, &[cause]).failed(1, fragments);
        let lines = self.log.lines().filter(|line| line.contains(cause)).count();
        assert_eq!(lines, 1, "`{cause}` is said {lines} times\n{}", self.log);
        self
    }
}
