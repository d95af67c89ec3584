//! Programs that the tests call: ours and other people's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a finished program left behind.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The path of a program of Debian's, or a panic that names its package.
pub fn tool(name: &str) -> PathBuf {
    // `docker` first from Debian's package: some machines carry a newer client elsewhere on PATH.
    let usual = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];
    if let Some(found) = usual
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
    {
        return found;
    }
    let package = match name {
        "dockerd" | "docker" => "docker.io",
        "busybox" => "busybox-static",
        "newuidmap" => "uidmap",
        "setpriv" | "unshare" => "util-linux",
        "getcap" => "libcap2-bin",
        other => other,
    };
    panic!("`{name}` is missing: install Debian's package `{package}`, or run `make deps` as root");
}

/// Runs a command to its end and panics with all it printed unless it succeeds.
pub fn output(command: &mut Command) -> Ran {
    let ran = run(command);
    assert_eq!(
        ran.code,
        Some(0),
        "{command:?} failed\n{}{}",
        ran.stdout,
        ran.stderr
    );
    ran
}

/// Runs a command to its end, without standard input.
pub fn run(command: &mut Command) -> Ran {
    let done = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    Ran {
        code: done.status.code(),
        stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// `skopeo` with the settings every call needs: no signature policy file, no TLS on loopback.
pub(crate) fn skopeo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(tool("skopeo"));
    command.arg("--insecure-policy").args(arguments);
    // Credentials and registry settings of whoever runs the tests stay out of them.
    command
        .env("REGISTRY_AUTH_FILE", "/nonexistent/auth.json")
        .env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    command
}

/// The executor under test: `$KILN_EXECUTOR`, or the one beside this test binary.
pub fn executor() -> PathBuf {
    binary("KILN_EXECUTOR", "executor")
}

/// The warmer under test: `$KILN_WARMER`, or the one beside this test binary.
pub fn warmer() -> PathBuf {
    binary("KILN_WARMER", "warmer")
}

/// The example that embeds the library: `$KILN_EMBED`, or the one beside this test binary.
pub fn embed() -> PathBuf {
    binary("KILN_EMBED", "kiln-embed")
}

/// The program that tries what a command can reach (`tests/probe`): `$KILN_PROBE`, or the one beside this test binary.
pub fn probe() -> PathBuf {
    binary("KILN_PROBE", "probe")
}

fn binary(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    // target/<profile>/deps/<test> -> target/<profile>/<name>
    let here = std::env::current_exe().expect("the test binary has a path");
    let profile = here
        .parent()
        .and_then(Path::parent)
        .expect("test binaries live in target/<profile>/deps");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --bin {name}` first (`make test` does), or set {variable}",
        path.display()
    );
    path
}

/// `target/e2e`, where things that are dear to make are kept between runs.
pub(crate) fn cache_dir() -> PathBuf {
    let here = std::env::current_exe().expect("the test binary has a path");
    let target = here
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .map(Path::to_path_buf);
    let dir = target.unwrap_or_else(std::env::temp_dir).join("e2e");
    std::fs::create_dir_all(&dir).expect("target/e2e can be made");
    dir
}
