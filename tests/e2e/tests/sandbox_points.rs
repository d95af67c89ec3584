//! What a RUN has in a namespace, point by point, beside what a container of Docker's has: `docs/security.md`.
//!
//! `tests/probe` tries the points from inside; `tests/e2e/sandbox-points` says what it finds, in each way of entering a
//! namespace, and in Docker.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use kiln_e2e::{
    Case, Context, Docker, User, kiln_only, namespace_only, needs_root, probe, skipped,
    userns_works,
};

/// Name of a point, and what was found.
type Points = BTreeMap<String, String>;

/// What a container of Docker's has depends on the machine in these: version 1 or 2 of control groups, and parts that a
/// kernel may lack and Docker 20.10 lets through.
const OF_THE_MACHINE: &[&str] = &[
    "io_uring_setup",
    "names in /dev",
    "namespace cgroup",
    "read-only /sys/fs/cgroup",
    "socket alg",
];

/// Lines of the file of expectations: `point: result`, or `point [way, way]: result` where these ways differ.
fn expected(way: &str) -> Points {
    let mut points = Points::new();
    let mut chosen = Points::new();
    for line in include_str!("../sandbox-points").lines() {
        let Some((point, result)) = line.split_once(": ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        match point
            .strip_suffix(']')
            .and_then(|point| point.rsplit_once(" ["))
        {
            Some((point, ways)) => {
                if ways.split(", ").any(|one| one == way) {
                    chosen.insert(point.to_owned(), result.to_owned());
                }
            }
            None => {
                points.insert(point.to_owned(), result.to_owned());
            }
        }
    }
    assert!(points.len() > 100, "{points:?}");
    points.extend(chosen);
    points
}

/// What the probe wrote. Namespaces have numbers; what counts is whether they are the builder's.
fn found(text: &str) -> Points {
    let points = text.lines().filter_map(|line| line.split_once(": "));
    let points = points.map(|(point, result)| {
        let result = match point.strip_prefix("namespace ") {
            Some(name) => match fs::read_link(format!("/proc/self/ns/{name}")) {
                Ok(link) if link == Path::new(result) => "the builder's",
                _ => "own",
            },
            None => result,
        };
        (point.to_owned(), result.to_owned())
    });
    points.collect()
}

fn compare(way: &str, found: &Points) {
    let (mut expected, mut found) = (expected(way), found.clone());
    if way == "docker" {
        for point in OF_THE_MACHINE {
            expected.remove(*point);
            found.remove(*point);
        }
    }
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let nothing = String::from("(no such point)");
    let differences: Vec<String> = names
        .into_iter()
        .filter_map(|point| {
            let (expected, found) = (
                expected.get(point).unwrap_or(&nothing),
                found.get(point).unwrap_or(&nothing),
            );
            (expected != found).then(|| format!("{point} [{way}]: {found} (expected: {expected})"))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// A context whose image runs the probe on nothing else.
fn context(case: &Case, last: &str) -> Context {
    let context = case
        .context()
        .dockerfile(format!("FROM scratch\nCOPY probe /probe\n{last}\n"));
    fs::copy(probe(), context.path().join("probe")).unwrap();
    context
}

fn run_points(way: &str, user: Option<User>) {
    let case = Case::new();
    let context = context(&case, "RUN [\"/probe\", \"/found\"]");
    let mut build = case.build(&context).isolation(Some("namespace"));
    if let Some(user) = user {
        let (words, program) = user.enter(&case);
        build = build.under(words).program(program);
    }
    let tree = build.run().image().tree();
    compare(way, &found(&tree.text("found")));
}

/// Mode and owner of the machine's devices.
fn devices_of_the_machine() -> Vec<(String, u32, u32, u32)> {
    let of = |name: &str| {
        let path = format!("/dev/{name}");
        let metadata = fs::metadata(&path).ok()?;
        assert!(metadata.file_type().is_char_device());
        Some((
            path,
            metadata.permissions().mode(),
            metadata.uid(),
            metadata.gid(),
        ))
    };
    let names = ["null", "zero", "full", "random", "urandom", "tty"];
    names.into_iter().filter_map(of).collect()
}

// conformance: D16 D42 D43 D45 (finding 3)
#[test]
fn as_root() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    run_points("root", None);
}

// conformance: D16 D42 D43 D45 (finding 3)
#[test]
fn as_root_without_sys_admin() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    run_points("all ids", Some(User::RootInPod));
}

// conformance: D16 D42 D43 D45 (finding 3)
#[test]
fn as_a_user_with_subordinate_ids() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    if !userns_works() {
        skipped("no user namespaces for ordinary users here");
        return;
    }
    run_points("subids", Some(User::WithSubIds));
}

// conformance: D16 D42 D43 D45 (finding 3)
#[test]
fn as_a_user_with_a_single_id() {
    kiln_only!();
    namespace_only!();
    if !userns_works() {
        skipped("no user namespaces for ordinary users here");
        return;
    }
    run_points("single id", Some(User::Ordinary));
}

/// The same points in a container, so that the file says which lines are Docker's own.
// conformance: D43 D45
#[test]
fn in_docker() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let case = Case::new();
    let context = context(&case, "ENTRYPOINT [\"/probe\"]");
    let tar = case.path("out/image.tar");
    let build = case
        .build(&context)
        .destination("kiln/probe:1")
        .arg("--no-push")
        .arg("--image-format=docker");
    build.arg("--tar-path").arg(&tar).run().ok();
    let docker = Docker::shared();
    docker.load(&tar);
    let ran = docker.run(["--init", "--hostname=kiln", "kiln/probe:1"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    compare("docker", &found(&ran.stdout));
}

/// Finding 4: whatever a command does to devices, and to what covers files of /proc, the machine's own stay as they are.
// conformance: D44
#[test]
fn devices_of_the_machine_are_not_the_commands() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let before = devices_of_the_machine();
    assert!(before.len() >= 5, "{before:?}");
    for user in [None, Some(User::RootInPod)] {
        let case = Case::new();
        let base = case.base(kiln_e2e::Base::Busybox);
        // The masked files are there under the name of a device, too. Each word may fail; none may work on the machine.
        let dockerfile = format!(
            "FROM {base}\nRUN for f in /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /proc/keys \
             /proc/kcore /proc/timer_list /proc/interrupts; do chmod 601 $f; chown 5:5 $f; touch -d @1 $f; done; \
             echo x > /dev/null && head -c 4 /dev/zero | wc -c > /zeros && head -c 4 /dev/urandom > /random\n"
        );
        let context = case.context().dockerfile(dockerfile);
        let mut build = case.build(&context).isolation(Some("namespace"));
        if let Some(user) = user {
            let (words, program) = user.enter(&case);
            build = build.under(words).program(program);
        }
        let outcome = build.run();
        let after = devices_of_the_machine();
        restore(&before);
        assert_eq!(after, before, "{user:?}");
        assert_eq!(outcome.image().tree().text("zeros"), "4\n");
    }
}

/// A failure must not leave a machine on which nothing works.
fn restore(devices: &[(String, u32, u32, u32)]) {
    for (path, mode, uid, gid) in devices {
        std::os::unix::fs::chown(path, Some(*uid), Some(*gid)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
    }
}
