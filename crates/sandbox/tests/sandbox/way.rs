//! The rights a test process gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// First argument of the process made for one test.
pub(crate) const INSIDE: &str = "--inside";

/// Its exit code when this machine lacks what the test is about.
pub(crate) const SKIPPED: u8 = 77;

/// With which rights a test process starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// As root with all capabilities, or as the user who runs the tests.
    Plain,
    /// As root without `SYS_ADMIN`, as in a pod without a seccomp profile.
    Container,
    /// As uid 1000 without groups; if the tests are not run by root, as their user.
    User,
    /// As uid 1000 with a range in /etc/subuid.
    SubIds,
    /// As root without any capability.
    NoCapabilities,
    /// As root of a throw-away root directory, without namespaces for commands.
    InPlace,
}

/// All that can run commands in a directory.
pub(crate) const NAMESPACES: &[Way] = &[Way::Plain, Way::Container, Way::User, Way::SubIds];

/// Those in which a command can be someone else than root.
pub(crate) const MANY_IDS: &[Way] = &[Way::Plain, Way::Container, Way::SubIds];

impl Way {
    pub(crate) const ALL: &[Self] = &[
        Self::Plain,
        Self::Container,
        Self::User,
        Self::SubIds,
        Self::NoCapabilities,
        Self::InPlace,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Container => "container",
            Self::User => "user",
            Self::SubIds => "subids",
            Self::NoCapabilities => "no_capabilities",
            Self::InPlace => "in_place",
        }
    }

    /// Runs a test this way: `Ok` with a reason if it was skipped, else what it printed.
    pub(crate) fn run(self, test: &str) -> Result<Option<String>, String> {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root && !matches!(self, Self::Plain | Self::User) {
            return Ok(Some("needs root".to_owned()));
        }
        let home = tempfile::Builder::new()
            .prefix("kiln-sandbox-test-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        open_to_all(home.path());
        // A copy, because the build directory may be closed to other users.
        let executable = home.path().join("test");
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        fs::copy(own, &executable).map_err(|error| error.to_string())?;
        let work = home.path().join("work");
        fs::create_dir(&work).map_err(|error| error.to_string())?;
        if is_root && matches!(self, Self::User | Self::SubIds) {
            std::os::unix::fs::chown(&work, Some(1000), Some(1000))
                .map_err(|error| error.to_string())?;
        }
        let mut command = self.command(&executable, &work, is_root);
        command
            .args([INSIDE, test, self.name()])
            .env("KILN_TEST_WORK", &work)
            .current_dir("/");
        let output = command
            .output()
            .map_err(|error| format!("start: {error}"))?;
        let text = format!(
            "{}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        // Nothing is left: not even a file that an id of a user namespace owned.
        fs::remove_dir_all(&work).map_err(|error| format!("remove {}: {error}", work.display()))?;
        match output.status.code() {
            Some(0) => Ok(None),
            Some(code) if code == i32::from(SKIPPED) => Ok(Some(text)),
            _ => Err(text),
        }
    }

    fn command(self, executable: &Path, work: &Path, is_root: bool) -> Command {
        let wrapped = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg(executable);
            command
        };
        let user = [
            "setpriv",
            "--reuid",
            "1000",
            "--regid",
            "1000",
            "--clear-groups",
        ];
        match self {
            Self::Container => wrapped(&["setpriv", "--bounding-set=-sys_admin"]),
            Self::User if is_root => wrapped(&user),
            Self::Plain | Self::User => Command::new(executable),
            Self::SubIds => {
                let ranges = work.join("subids");
                fs::write(&ranges, "1000:2000000:65536\n").expect("ranges");
                let script = "mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid && exec \"$@\"";
                let ranges = ranges.to_string_lossy().into_owned();
                let mut words = vec!["unshare", "-m", "sh", "-c", script, &ranges];
                words.extend(user);
                wrapped(&words)
            }
            Self::NoCapabilities => wrapped(&["setpriv", "--bounding-set=-all", "--inh-caps=-all"]),
            Self::InPlace => {
                let root = throw_away_root(executable, work);
                let script = "mount -t proc proc \"$0/proc\" && mount --bind /dev \"$0/dev\" && exec chroot \"$0\" \"$@\"";
                let root = root.to_string_lossy().into_owned();
                let mut command = Command::new("unshare");
                command.args(["-m", "-p", "--fork", "sh", "-c", script, &root, "/test"]);
                command
            }
        }
    }
}

/// A root directory in which this executable works, for it to be `/`.
fn throw_away_root(executable: &Path, work: &Path) -> PathBuf {
    let root = work.join("throw-away");
    crate::fixture::make_root(&root);
    for name in ["proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(name)).expect("directory");
    }
    fs::copy(executable, root.join("test")).expect("copy");
    let listed = Command::new("ldd").arg(executable).output().expect("ldd");
    for word in String::from_utf8_lossy(&listed.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let copy = root.join(&word[1..]);
        fs::create_dir_all(copy.parent().expect("parent")).expect("directory");
        fs::copy(word, copy).expect("library");
    }
    root
}

fn open_to_all(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).expect("permissions");
}
