//! The rights a test process gets.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Held while a test's files are made and its process is started.
static STARTING: Mutex<()> = Mutex::new(());

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
    /// As uid 1000, with a part of /proc covered as container runtimes do, so that no new /proc can be mounted.
    MaskedProc,
    /// As root without any capability.
    NoCapabilities,
    /// As root of a throw-away root directory, without namespaces for commands.
    InPlace,
}

/// All that can run commands in a directory.
pub(crate) const NAMESPACES: &[Way] = &[
    Way::Plain,
    Way::Container,
    Way::User,
    Way::SubIds,
    Way::MaskedProc,
];

/// Those in which a command can be someone else than root.
pub(crate) const MANY_IDS: &[Way] = &[Way::Plain, Way::Container, Way::SubIds];

/// What came of a test.
pub(crate) struct Finished {
    pub(crate) outcome: Outcome,
    /// What it printed, or why it was skipped.
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Skipped,
    Failed,
}

impl Way {
    pub(crate) const ALL: &[Self] = &[
        Self::Plain,
        Self::Container,
        Self::User,
        Self::SubIds,
        Self::MaskedProc,
        Self::NoCapabilities,
        Self::InPlace,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Container => "container",
            Self::User => "user",
            Self::SubIds => "subids",
            Self::MaskedProc => "masked_proc",
            Self::NoCapabilities => "no_capabilities",
            Self::InPlace => "in_place",
        }
    }

    /// Runs a test this way.
    pub(crate) fn run(self, test: &str) -> Finished {
        let is_root = rustix::process::geteuid().is_root();
        if !is_root && !matches!(self, Self::Plain | Self::User) {
            return Finished {
                outcome: Outcome::Skipped,
                text: "needs root".to_owned(),
            };
        }
        match self.try_run(test, is_root) {
            Ok(finished) => finished,
            Err(error) => Finished {
                outcome: Outcome::Failed,
                text: error.to_string(),
            },
        }
    }

    fn try_run(self, test: &str, is_root: bool) -> io::Result<Finished> {
        // A process forked by another thread while a program is being copied here would hold it open for writing
        // for a moment, and it could not be executed.
        let starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        let home = tempfile::Builder::new()
            .prefix("kiln-sandbox-test-")
            .tempdir()?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        // A copy, because the build directory may be closed to other users.
        let executable = home.path().join("test");
        fs::copy(std::env::current_exe()?, &executable)?;
        let work = home.path().join("work");
        fs::create_dir(&work)?;
        if is_root && matches!(self, Self::User | Self::SubIds | Self::MaskedProc) {
            chown(&work, Some(1000), Some(1000))?;
        }
        let mut command = self.command(&executable, &work, is_root);
        command
            .args([INSIDE, test, self.name()])
            .env("KILN_TEST_WORK", &work)
            .current_dir("/");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(starting);
        let output = child.wait_with_output()?;
        // Files of ids that a user namespace gave away can be removed by root only, which is who made such a test.
        fs::remove_dir_all(&work)?;
        let outcome = match output.status.code() {
            Some(0) => Outcome::Passed,
            Some(code) if code == i32::from(SKIPPED) => Outcome::Skipped,
            _ => Outcome::Failed,
        };
        let said = [output.stdout, output.stderr].concat();
        Ok(Finished {
            outcome,
            text: String::from_utf8_lossy(&said).into_owned(),
        })
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
            Self::MaskedProc => {
                let script = "mount --bind /dev/null /proc/version && exec \"$@\"";
                let mut words = vec!["unshare", "-m", "sh", "-c", script, "sh"];
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
