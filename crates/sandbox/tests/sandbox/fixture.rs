//! A root directory with a shell, and running commands in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kiln_sandbox::{
    Cancel, Entered, Exit, IdMap, Isolation, Mode, RunRoot, RunSpec, SandboxError, Stream, enter,
    run,
};

use rustix::process::WaitOptions;
use walkdir::WalkDir;

use crate::way::Way;

const BUSYBOX: &str = "/bin/busybox";

/// Type, mode, owner, modification time and content of everything in a tree.
pub(crate) type Tree = BTreeMap<PathBuf, String>;

/// What a test has in hand.
pub(crate) struct Fixture {
    pub(crate) way: Way,
    pub(crate) entered: Entered,
    /// A directory of the test's own.
    pub(crate) work: PathBuf,
    /// The root of its commands, with busybox.
    pub(crate) root: PathBuf,
    mounts_before: Vec<PathBuf>,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Exit, SandboxError>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fixture {
    /// Enters the isolation that belongs to a way; `None`, with the reason printed, if this machine does not have it.
    pub(crate) fn enter(way: Way) -> Option<Self> {
        if !Path::new(BUSYBOX).exists() {
            println!("no {BUSYBOX}");
            return None;
        }
        let work: PathBuf = match way {
            Way::InPlace => "/tmp".into(),
            _ => std::env::var_os("KILN_TEST_WORK")
                .expect("work directory")
                .into(),
        };
        let asked = if way == Way::InPlace {
            Isolation::InPlace
        } else {
            Isolation::Auto
        };
        let entered = enter(asked, &work, way == Way::InPlace).expect("enter");
        let expects_run = way != Way::NoCapabilities;
        if expects_run
            && matches!(entered.mode, Mode::None { .. } | Mode::InPlace) != (way == Way::InPlace)
        {
            println!("{}", entered.reason);
            return None;
        }
        let left: Vec<PathBuf> = fs::read_dir(&work)
            .expect("work")
            .map(|entry| entry.expect("entry").path())
            .collect();
        assert!(
            left.iter().all(|path| path.ends_with("subids")),
            "left by enter: {left:?}"
        );
        let root = work.join("root");
        if way != Way::InPlace {
            make_root(&root);
        }
        let mounts_before = kiln_sandbox::mount_points().expect("mount points");
        Some(Self {
            way,
            entered,
            work,
            root,
            mounts_before,
        })
    }

    /// A script for the root's shell.
    pub(crate) fn sh(&self, script: &str) -> RunSpec {
        self.command(&["/bin/sh", "-c", script])
    }

    pub(crate) fn command(&self, words: &[&str]) -> RunSpec {
        let root = if self.way == Way::InPlace {
            RunRoot::Host
        } else {
            RunRoot::Directory(self.root.clone())
        };
        let mut spec = RunSpec::new(root, words.iter().map(OsString::from).collect());
        spec.env.push(("PATH".into(), "/usr/bin:/bin".into()));
        spec
    }

    /// Runs a script that must succeed, and returns its output.
    pub(crate) fn output_of(&self, script: &str) -> String {
        output(&self.sh(script))
    }

    pub(crate) fn is_root_of_machine(&self) -> bool {
        matches!(
            self.entered.mode,
            Mode::Namespace { userns: false, .. } | Mode::InPlace
        )
    }

    /// Removes the files here, where they can be: outside a user namespace some belong to nobody.
    pub(crate) fn remove(self) {
        if self.way != Way::InPlace {
            for entry in fs::read_dir(&self.work).expect("work").flatten() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Whether commands can only be root.
    pub(crate) fn has_single_id(&self) -> bool {
        matches!(
            self.entered.mode,
            Mode::Namespace {
                ids: IdMap::Single,
                ..
            }
        )
    }

    /// No mount, no process of ours, no temporary file.
    pub(crate) fn check_nothing_left(&self) {
        let mut mounts = kiln_sandbox::mount_points().expect("mount points");
        // A mount of someone else can vanish here meanwhile, when its directory is removed.
        mounts.retain(|mount| !self.mounts_before.contains(mount));
        assert!(mounts.is_empty(), "mounts are left: {mounts:?}");
        // In place, this is the init of its pid namespace, so orphans of killed processes end up here.
        let options = if self.way == Way::InPlace {
            WaitOptions::empty()
        } else {
            WaitOptions::NOHANG
        };
        while self.way == Way::InPlace && rustix::process::wait(options).is_ok() {}
        let child = rustix::process::wait(options);
        assert!(
            matches!(child, Err(rustix::io::Errno::CHILD)),
            "a child is left: {child:?}"
        );
        let descriptors = fs::read_dir("/proc/self/fd").expect("descriptors").count();
        assert!(descriptors <= 8, "{descriptors} descriptors are open");
    }
}

/// Runs a command to its end.
pub(crate) fn execute(spec: &RunSpec) -> Outcome {
    execute_with(spec, &Cancel::new(), &mut |_, _| {})
}

/// The same, with a switch, and a look at each line as it comes.
pub(crate) fn execute_with(
    spec: &RunSpec,
    cancel: &Cancel,
    seen: &mut dyn FnMut(Stream, &str),
) -> Outcome {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let result = run(
        spec,
        &mut |stream, line| {
            let line = String::from_utf8_lossy(line);
            seen(stream, &line);
            match stream {
                Stream::Stdout => stdout += &line,
                Stream::Stderr => stderr += &line,
            }
        },
        cancel,
    );
    Outcome {
        result,
        stdout,
        stderr,
    }
}

/// Runs a command that must succeed, and returns its output.
pub(crate) fn output(spec: &RunSpec) -> String {
    let outcome = execute(spec);
    assert!(matches!(outcome.result, Ok(Exit::Code(0))), "{outcome:?}");
    outcome.stdout
}

/// A root directory with busybox and its commands, and the directories that every image has.
pub(crate) fn make_root(root: &Path) {
    for directory in ["bin", "etc", "proc", "sys", "dev", "tmp", "usr/bin", "run"] {
        fs::create_dir_all(root.join(directory)).expect("directory");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("permissions");
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox");
    let listed = std::process::Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .expect("list of commands");
    for name in String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(name)).expect("symlink");
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\n").expect("passwd");
}

/// Everything below a directory, as a snapshot would compare it.
pub(crate) fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    // A command that is being ended may still remove something.
    for entry in WalkDir::new(root).into_iter().flatten() {
        let path = entry.into_path();
        let Ok(stat) = fs::symlink_metadata(&path) else {
            continue;
        };
        let mut line = format!(
            "{:o} {}:{} {}.{}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            stat.mtime(),
            stat.mtime_nsec()
        );
        if stat.is_symlink() {
            let _ = write!(
                line,
                " -> {}",
                fs::read_link(&path).expect("link").display()
            );
        } else if !stat.is_dir() {
            let _ = write!(line, " {} bytes, inode {}", stat.len(), stat.ino());
        }
        found.insert(path, line);
    }
    found
}

/// Whether any process of this machine was started with this word; such words are unique to a test.
pub(crate) fn is_running(word: &str) -> bool {
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .any(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| {
                name != own && name.starts_with(|first: char| first.is_ascii_digit())
            }) && fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
                line.split(|byte| *byte == 0)
                    .any(|argument| argument == word.as_bytes())
            })
        })
}

/// A time to sleep that no other process of this machine sleeps.
pub(crate) fn unique_seconds() -> String {
    (10_000_000 + std::process::id()).to_string()
}
