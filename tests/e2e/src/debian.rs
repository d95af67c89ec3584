//! A base of real size: a Debian root from `debootstrap`, made once and kept below `target/e2e`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::layout::{ImageSpec, LayerSpec, Packing};
use crate::tool::{cache_dir, output, run, tool};

/// A `debootstrap --variant=minbase` root as a tar.
#[derive(Debug)]
pub struct DebianRoot {
    tar: PathBuf,
}

impl DebianRoot {
    /// The kept tar, or a new one. Needs root and this machine's own Debian mirror.
    pub fn get() -> Self {
        let dir = cache_dir();
        let tar = dir.join(format!("debian-{}.tar", suite()));
        let lock = fs::File::create(dir.join("debian.lock")).expect("a lock file");
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .expect("a lock");
        if !tar.exists() {
            let work = tempfile::Builder::new()
                .prefix("kiln-debian-")
                .tempdir()
                .expect("a folder");
            let root = work.path().join("root");
            let mut debootstrap = Command::new(tool("debootstrap"));
            debootstrap.args(["--variant=minbase", &suite()]).arg(&root);
            output(debootstrap.args(mirror()));
            let _ = fs::remove_dir_all(root.join("var/cache/apt/archives"));
            let part = dir.join("debian.tar.part");
            let mut pack = Command::new(tool("tar"));
            pack.args([
                "--create",
                "--numeric-owner",
                "--sort=name",
                "--xattrs",
                "--xattrs-include=security.capability",
            ]);
            output(
                pack.args(["--exclude=./dev/*", "--file"])
                    .arg(&part)
                    .arg("--directory")
                    .arg(&root)
                    .arg("."),
            );
            fs::rename(&part, &tar).expect("the tar gets its name");
        }
        Self { tar }
    }

    /// The root as a base image.
    pub fn image(&self) -> ImageSpec {
        let tar = fs::read(&self.tar).expect("the tar can be read");
        let config =
            serde_json::json!({ "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"] });
        ImageSpec::new(
            vec![LayerSpec {
                tar,
                packing: Packing::Gzip,
            }],
            config,
        )
    }
}

/// This machine's own release.
fn suite() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("bookworm").trim_matches('"').to_owned()
}

/// The mirror that this machine's apt uses, so that no other is ever asked.
fn mirror() -> Option<String> {
    let mut apt = Command::new(tool("apt-get"));
    let targets = run(apt
        .args(["indextargets", "--format", "$(SITE)"])
        .arg(format!("RELEASE: {}", suite())));
    targets.stdout.lines().next().map(str::to_owned)
}

/// This machine's apt settings about how to fetch (proxies, checks), as one file for `/etc/apt/apt.conf.d`.
pub fn apt_settings() -> String {
    let dump = run(Command::new(tool("apt-config")).arg("dump")).stdout;
    dump.lines()
        .filter(|line| line.starts_with("Acquire::"))
        .map(|line| format!("{line}\n"))
        .collect()
}
