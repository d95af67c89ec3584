//! Running a builder with less than this test has: another user, no capabilities, another root.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::case::{Case, open_up};
use crate::tool::{self, tool};

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Somebody with less than root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// uid 1000 on an ordinary machine: may use setuid programs such as `newuidmap`.
    Ordinary,
    /// The same with a range in `/etc/subuid` and `/etc/subgid`.
    WithSubIds,
    /// uid 1000 in a locked-down pod: every capability dropped for good, no new privileges.
    Powerless,
    /// Root without `SYS_ADMIN`, as in a pod without a seccomp profile.
    RootInPod,
}

impl User {
    /// Words before a command that make it run as this user; when the tests do not run as root, they are that user.
    pub fn words(self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if self == Self::WithSubIds {
            // Seen by this user's processes only.
            let script = r#"set -e; ranges=$(mktemp); echo 1000:2000000:65536 >"$ranges"; chmod 644 "$ranges"
                mount --bind "$ranges" /etc/subuid; mount --bind "$ranges" /etc/subgid; rm "$ranges"; exec "$@""#;
            words.push(tool("unshare").into());
            words.extend(["--mount", "/bin/sh", "-c", script, "subids"].map(OsString::from));
        }
        words.push(tool("setpriv").into());
        if self == Self::RootInPod {
            words.push("--bounding-set=-sys_admin".into());
            return words;
        }
        if is_root() {
            words.extend(
                [
                    "--reuid=1000",
                    "--regid=1000",
                    "--clear-groups",
                    "--inh-caps=-all",
                ]
                .map(OsString::from),
            );
            if self == Self::Powerless {
                words.push("--bounding-set=-all".into());
            }
        }
        if self == Self::Powerless {
            words.push("--no-new-privs".into());
        } else if !is_root() {
            return vec!["env".into()];
        }
        words
    }

    /// Makes a case usable by this user; gives the words that run a command as the user, and a copy of the executor
    /// that the user can reach.
    pub fn enter(self, case: &Case) -> (Vec<OsString>, PathBuf) {
        let program = place(&tool::executor(), &case.path("bin"));
        if is_root() && self != Self::RootInPod {
            for name in ["", "tmp", "home", "out"] {
                chown(case.path(name), Some(1000), Some(1000)).expect("root can give folders away");
            }
        }
        (self.words(), program)
    }
}

/// Whether an ordinary user can make a user namespace and mount in it here.
pub fn userns_works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        let mut words = User::Ordinary.words();
        words.extend(
            ["unshare", "--user", "--map-root-user", "--mount", "true"].map(OsString::from),
        );
        tool::run(Command::new(&words[0]).args(&words[1..])).code == Some(0)
    })
}

/// Links (or copies) a program into a folder that everyone may enter.
fn place(program: &Path, dir: &Path) -> PathBuf {
    fs::create_dir_all(dir).expect("a folder");
    open_up(dir);
    let to = dir.join(program.file_name().expect("a program has a name"));
    if !to.exists() && fs::hard_link(program, &to).is_err() {
        fs::copy(program, &to).expect("a program can be copied");
    }
    to
}

/// A root of its own that may be overwritten: for `--isolation in-place` without Docker.
///
/// The builder runs in it under `unshare --mount --pid --root`; what it does to `/` it does to this folder. It looks like
/// the container of a pod: besides /proc and the devices there is a service account below `/var/run/secrets`, and the
/// files that a kubelet mounts in `/etc` and `/dev`.
#[derive(Debug)]
pub struct Throwaway {
    root: PathBuf,
    /// Files that are mounted into the root.
    pod: PathBuf,
    /// A folder that is in the root too, under the same name.
    shared: Option<PathBuf>,
    /// What is mounted at `/workspace`, and how.
    context: Option<(PathBuf, Access)>,
    /// Where the builder starts.
    start: Option<&'static str>,
    /// Nothing can be written but at `/work`.
    sealed: bool,
}

/// How a context is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// As a volume is.
    ReadWrite,
    /// As with `:ro`.
    ReadOnly,
}

impl Throwaway {
    /// A root with kaniko's layout in the case's folder; `context` becomes `/workspace`.
    pub fn new(case: &Case, context: &Path) -> Self {
        Self::new_with(case, context, &tool::executor())
    }

    /// As [`Throwaway::new`], with another program in `/kaniko`.
    pub fn new_with(case: &Case, context: &Path, program: &Path) -> Self {
        let root = case.path("throwaway");
        fs::create_dir_all(root.join("workspace")).expect("a folder");
        let made = Self::furnish(case, root, program);
        let copied = Command::new("cp")
            .arg("-a")
            .arg(context.join("."))
            .arg(made.root.join("workspace"))
            .status();
        assert!(
            copied.is_ok_and(|status| status.success()),
            "the context can be copied"
        );
        made
    }

    /// A root with kaniko's layout in the case's folder, with `context` mounted at `/workspace`.
    pub fn mounted(case: &Case, context: &Path, access: Access) -> Self {
        let made = Self::furnish(case, case.path("throwaway"), &tool::executor());
        Self {
            context: Some((context.to_owned(), access)),
            ..made
        }
    }

    /// A root for one build that sees the case's folder under its own name, so that any build of the case can be done
    /// in place. A `context` is at `/workspace` as well, as a volume is.
    pub(crate) fn anew(case: &Case, context: Option<&Path>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = case.path(&format!("in-place-{number}"));
        let made = Self::furnish(case, root, &tool::executor());
        Self {
            shared: Some(case.path("")),
            context: context.map(|context| (context.to_owned(), Access::ReadWrite)),
            ..made
        }
    }

    fn furnish(case: &Case, root: PathBuf, program: &Path) -> Self {
        for dir in ["kaniko/.docker", "proc", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(dir)).expect("a folder");
        }
        open_up(&root);
        place(program, &root.join("kaniko"));
        let pod = case.path("pod");
        fs::create_dir_all(&pod).expect("a folder");
        for name in ["hosts", "hostname", "resolv.conf", "termination-log"] {
            let machine = fs::read(Path::new("/etc").join(name)).unwrap_or_default();
            fs::write(pod.join(name), machine).expect("a file of the pod");
        }
        Self {
            root,
            pod,
            shared: None,
            context: None,
            start: None,
            sealed: false,
        }
    }

    /// As with a container whose image has this WORKDIR.
    #[must_use]
    pub fn starting_in(self, dir: &'static str) -> Self {
        fs::create_dir_all(self.root.join(&dir[1..])).expect("a folder");
        Self {
            start: Some(dir),
            ..self
        }
    }

    /// As with `readOnlyRootFilesystem`, and a volume at `/work`.
    #[must_use]
    pub fn sealed(self) -> Self {
        fs::create_dir_all(self.root.join("work")).expect("a folder");
        Self {
            sealed: true,
            ..self
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Words that run a command in the root, in mount and pid namespaces of its own.
    pub fn wrapper(&self) -> Vec<OsString> {
        // Private first: nothing mounted in there may come back here. Then /proc and the few devices that RUN needs, and
        // what a pod has.
        let script = r#"set -e
            root=$1 pod=$2 shared=$3 context=$4 access=$5 start=$6 sealed=$7; shift 7
            mount --bind "$root" "$root"
            mount -t proc proc "$root/proc"
            for node in null zero full random urandom; do
                : >"$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"
            done
            account=$root/var/run/secrets/kubernetes.io/serviceaccount
            mkdir -p "$account"; mount -t tmpfs -o mode=1777 account "$account"
            for name in token namespace ca.crt; do echo "$name" >"$account/$name"; done
            mount -o remount,ro "$account"
            for name in etc/hosts etc/hostname etc/resolv.conf dev/termination-log; do
                : >"$root/$name"; mount --bind "$pod/${name##*/}" "$root/$name"
            done
            if [ -n "$shared" ]; then mkdir -p "$root$shared"; mount --rbind "$shared" "$root$shared"; fi
            if [ -n "$context" ]; then
                mkdir -p "$root/workspace"; mount --bind "$context" "$root/workspace"
                if [ "$access" = ReadOnly ]; then mount -o remount,bind,ro "$root/workspace"; fi
            fi
            if [ "$sealed" = true ]; then
                mount -t tmpfs work "$root/work"; mount -o remount,bind,ro "$root"
            fi
            exec unshare --root="$root" --wd="${start:-${shared:-/}}" "$@""#;
        let mut words: Vec<OsString> = vec![tool("unshare").into()];
        words.extend(
            [
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--propagation=private",
            ]
            .map(OsString::from),
        );
        words.extend(["/bin/sh", "-c", script, "throwaway"].map(OsString::from));
        words.push(self.root.clone().into());
        words.push(self.pod.clone().into());
        words.push(self.shared.clone().unwrap_or_default().into());
        let (context, access) = match &self.context {
            Some((context, access)) => (context.clone(), format!("{access:?}")),
            None => (PathBuf::new(), String::new()),
        };
        words.push(context.into());
        words.push(access.into());
        words.push(self.start.unwrap_or_default().into());
        words.push(self.sealed.to_string().into());
        words
    }
}

/// Whether all builds of this run of the suite are done in place, each in a throw-away root: `KILN_E2E_ISOLATION`.
pub fn all_in_place() -> bool {
    match std::env::var("KILN_E2E_ISOLATION").as_deref() {
        Ok("in-place") => true,
        Ok("namespace" | "") | Err(_) => false,
        Ok(other) => panic!("KILN_E2E_ISOLATION is `namespace` or `in-place`, not `{other}`"),
    }
}
