//! Whether `/` belongs to a throw-away container, and whether this process could rebuild it.

use std::fs;
use std::path::Path;

use rustix::thread::CapabilitySet;

/// Names of container runtimes that show in the control groups of a container's first process.
const RUNTIMES: &[&str] = &[
    "docker",
    "kubepods",
    "containerd",
    "libpod",
    "crio",
    "lxc",
    "garden",
    "buildkit",
];

/// Why this process is thought to be in a container; `None` if nothing says so.
pub(crate) fn evidence() -> Option<String> {
    let own_container = std::env::var_os("container").filter(|value| !value.is_empty());
    let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let from_environment = match (own_container, kubernetes) {
        (Some(name), _) => Some(format!("container={}", name.to_string_lossy())),
        (None, true) => Some("KUBERNETES_SERVICE_HOST is set".to_owned()),
        (None, false) => None,
    };
    from_environment.or_else(|| evidence_below(Path::new("/"), std::process::id()))
}

fn evidence_below(root: &Path, own_pid: u32) -> Option<String> {
    for marker in [".dockerenv", "run/.containerenv", "run/systemd/container"] {
        if root.join(marker).exists() {
            return Some(format!("/{marker} exists"));
        }
    }
    let read = |path: &str| {
        fs::read(root.join(path))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .ok()
    };
    if let Some(environment) = read("proc/1/environ")
        && let Some(set) = environment
            .split('\0')
            .find(|set| set.starts_with("container="))
    {
        return Some(format!("{set} for process 1"));
    }
    if let Some(groups) = read("proc/1/cgroup")
        && let Some(name) = RUNTIMES.iter().find(|name| groups.contains(**name))
    {
        return Some(format!("process 1 is in a control group of {name}"));
    }
    // An overlay as root alone is a live system as well; nobody starts one with the executor as its init.
    let overlay_root = read("proc/self/mountinfo")?.lines().any(|line| {
        line.split(' ').nth(4) == Some("/")
            && line
                .split(" - ")
                .nth(1)
                .is_some_and(|rest| rest.starts_with("overlay "))
    });
    (overlay_root && own_pid == 1).then(|| "process 1 on an overlay root".to_owned())
}

/// What this process lacks to unpack an image into `/` and run commands there.
pub(crate) fn missing_rights() -> Option<String> {
    let needed = [
        (CapabilitySet::CHOWN, "CHOWN"),
        (CapabilitySet::DAC_OVERRIDE, "DAC_OVERRIDE"),
        (CapabilitySet::FOWNER, "FOWNER"),
        (CapabilitySet::SETGID, "SETGID"),
        (CapabilitySet::SETUID, "SETUID"),
    ];
    if !rustix::process::geteuid().is_root() {
        return Some("not running as root".to_owned());
    }
    let own =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |own| own.effective);
    let lacking: Vec<&str> = needed
        .iter()
        .filter(|(capability, _)| !own.contains(*capability))
        .map(|(_, name)| *name)
        .collect();
    (!lacking.is_empty()).then(|| format!("lacking the capabilities {}", lacking.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files and their text, our pid, and whether that is a container.
    type Case<'a> = (&'a [(&'a str, &'a str)], u32, bool);

    #[test]
    fn signs_of_a_container() {
        let overlay = "1 0 0:1 / / rw - overlay overlay rw\n";
        let cases: &[Case<'_>] = &[
            (&[], 1, false),
            (&[(".dockerenv", "")], 7, true),
            (&[("run/.containerenv", "")], 7, true),
            (&[("proc/1/environ", "A=b\0container=podman\0")], 7, true),
            (&[("proc/1/environ", "A=container=x\0")], 7, false),
            (&[("proc/1/cgroup", "0::/kubepods/pod1/x\n")], 7, true),
            (&[("proc/1/cgroup", "0::/init.scope\n")], 7, false),
            (&[("proc/self/mountinfo", overlay)], 1, true),
            (&[("proc/self/mountinfo", overlay)], 7, false),
            (
                &[("proc/self/mountinfo", "1 0 0:1 / / rw - ext4 /dev/sda rw\n")],
                1,
                false,
            ),
        ];
        assert!(!cases.is_empty());
        for (files, pid, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in *files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(
                evidence_below(root.path(), *pid).is_some(),
                *expected,
                "{files:?} as {pid}"
            );
        }
    }
}
