//! A private `dockerd`: its own socket and data folder, no bridge, no firewall rules.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::build::Outcome;
use crate::case::Case;
use crate::guarded::Guarded;
use crate::tool::{self, Ran, executor, output, tool, warmer};

/// The daemon; it stops, and its data goes, when the test process ends. Containers run with the host's network.
#[derive(Debug)]
pub struct Docker {
    socket: PathBuf,
    _server: Guarded,
}

impl Docker {
    /// The daemon that all tests of this process share; needs root.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Docker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kiln-docker-")
            .tempdir()
            .expect("a folder")
            .keep();
        let under = |name: &str| dir.join(name).into_os_string();
        let socket = dir.join("docker.sock");
        let host = format!("unix://{}", socket.display());
        let words: [&OsStr; 11] = [
            "--data-root".as_ref(),
            &under("data"),
            "--exec-root".as_ref(),
            &under("exec"),
            "--pidfile".as_ref(),
            &under("pid"),
            "--host".as_ref(),
            host.as_ref(),
            // No interface and no rules: the tests share a machine with others.
            "--bridge=none".as_ref(),
            "--iptables=false".as_ref(),
            "--ip6tables=false".as_ref(),
        ];
        let log = dir.join("log");
        let mut server = Guarded::start(&dir, &log, &tool("dockerd"), &words);
        let begin = Instant::now();
        let text = || fs::read_to_string(&log).unwrap_or_default();
        while !(socket.exists() && text().contains("API listen")) {
            assert!(
                server.is_running() && begin.elapsed() < Duration::from_mins(1),
                "dockerd did not start:\n{}",
                text()
            );
            sleep(Duration::from_millis(20));
        }
        Self {
            socket,
            _server: server,
        }
    }

    /// A `docker` command for this daemon.
    pub fn command(&self) -> Command {
        let mut command = Command::new(tool("docker"));
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("DOCKER_CONFIG", "/nonexistent");
        command
    }

    /// `docker load`.
    pub fn load(&self, tar: &Path) -> String {
        output(self.command().arg("load").arg("--input").arg(tar)).stdout
    }

    /// `docker image inspect --format`.
    pub fn inspect(&self, name: &str, format: &str) -> String {
        output(
            self.command()
                .args(["image", "inspect", "--format", format, name]),
        )
        .stdout
    }

    /// `docker run --rm` with these words; anything may come back.
    pub fn run<A: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = A>) -> Ran {
        let mut command = self.command();
        command
            .args(["run", "--rm", "--network", "host"])
            .args(words);
        tool::run(&mut command)
    }
}

/// The executor's own image, assembled by the executor from `deploy/Dockerfile.local`, and loaded into the daemon.
#[derive(Debug)]
pub struct ExecutorImage;

impl ExecutorImage {
    /// The name in the daemon.
    pub const NAME: &'static str = "kiln/executor:test";
    /// The debug variant's name in the daemon.
    pub const DEBUG: &'static str = "kiln/executor:debug";

    /// A context for `deploy/Dockerfile.local` with the binaries under test.
    pub fn context(dir: &Path) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/stage-context");
        output(Command::new(script).arg(dir).arg(executor()).arg(warmer()));
    }

    /// Loads the image of a target (`executor` or `debug`) into the shared daemon.
    pub fn load(target: &str, name: &str) {
        let case = Case::new();
        Self::context(&case.path("context"));
        let tar = case.path("out/image.tar");
        let build = case
            .build(&case.context())
            .destination(name)
            .arg("--no-push")
            .target(target);
        build.arg("--tar-path").arg(&tar).run().ok();
        Docker::shared().load(&tar);
    }

    /// Whether the executor under test can run in an image from scratch.
    pub fn is_static() -> bool {
        let ran = tool::run(Command::new(tool("ldd")).arg(executor()));
        let text = format!("{}{}", ran.stdout, ran.stderr);
        text.contains("statically linked") || text.contains("not a dynamic")
    }

    /// Runs the executor's image with `flags` for Docker and `words` for the executor.
    pub fn run(name: &str, flags: &[&str], words: &[&str]) -> Outcome {
        let ran = Docker::shared().run(flags.iter().chain([&name]).chain(words));
        Outcome::of(
            ran,
            format!("docker run {flags:?} {name} {words:?}"),
            destination(words),
        )
    }
}

fn destination(words: &[&str]) -> Option<String> {
    let at = words.iter().position(|word| *word == "--destination")?;
    words.get(at + 1).map(|word| (*word).to_owned())
}
