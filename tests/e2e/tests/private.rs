//! What other users of the machine cannot reach: files of images in the work folder, on the volume, in a layout or an
//! archive that is being written (finding 1).
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_e2e::{Base, Case, Throwaway, User, kiln_only, needs_root};
use nix::sys::signal::Signal;
use walkdir::WalkDir;

/// Every regular file below a folder, as root finds them.
fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    // A build may be at work there.
    let all = WalkDir::new(dir).into_iter().flatten();
    let files = all.filter(|entry| entry.file_type().is_file());
    found.extend(files.map(walkdir::DirEntry::into_path));
}

/// Those files that uid 1000 can read or execute although it owns none, when it is told their names.
fn reached(dirs: &[PathBuf]) -> Vec<String> {
    let mut all = Vec::new();
    for dir in dirs {
        files(dir, &mut all);
    }
    assert!(!all.is_empty(), "there is something to look at in {dirs:?}");
    let mut found = Vec::new();
    // In pieces that fit on a command line.
    for some in all.chunks(500) {
        let words = User::Ordinary.words();
        let script =
            r#"for file; do if [ -r "$file" ] || [ -x "$file" ]; then echo "$file"; fi; done"#;
        let ran = Command::new(&words[0])
            .args(&words[1..])
            .args(["sh", "-c", script, "look"])
            .args(some)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        found.extend(
            String::from_utf8_lossy(&ran.stdout)
                .lines()
                .map(str::to_owned),
        );
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

const NONE: [String; 0] = [];

/// A setuid file of the image is no way to root for others, neither while the build runs nor after its death.
// finding 1
#[test]
fn nobody_else_reaches_files_of_an_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    // What a build downloads, unpacks and copies is in different places.
    let dockerfile = format!(
        "FROM {base} AS other\nRUN echo of-other >/from-other\n\
         FROM {base}\nCOPY --chmod=4755 su /su\nRUN echo 1 >/one && chmod 4755 /one\n\
         RUN --mount=type=cache,target=/c --mount=type=bind,from=other,target=/o --mount=type=bind,target=/ctx \
         --mount=type=secret,id=s,mode=444 --mount=type=tmpfs,target=/t \
         cp /su /c/su && chmod 4755 /c/su && echo now-running && sleep 3000\n"
    );
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("su", "#!/bin/sh\nid\n");
    fs::write(case.path("home/secret"), "s3cret").unwrap();
    fs::set_permissions(case.path("home"), PermissionsExt::from_mode(0o700)).unwrap();
    let volume = case.path("volume");
    fs::create_dir(&volume).unwrap();
    let build = case
        .build(&context)
        .arg("--cache-dir")
        .arg(&volume)
        .cached_in(format!("oci:{}", case.path("out/steps").display()))
        .arg("--secret")
        .arg(format!("id=s,src={}", case.path("home/secret").display()));
    let mut running = build.start();
    running.wait_for("now-running");
    let places = ["tmp", "volume", "out"].map(|name| case.path(name));
    assert_eq!(reached(&places), NONE, "while a RUN goes on");
    running.signal(Signal::SIGKILL);
    running.wait();
    assert_eq!(reached(&places), NONE, "after SIGKILL");
    // The next build cleans up.
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN true\n"));
    case.build(&context).run().ok();
}

/// Others must reach what the image's own users do: a command as another user, with everything that is shown to it.
// finding 1
// conformance: D22
#[test]
fn users_of_the_image_reach_what_is_theirs() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS other\nRUN echo of-other >/from-other\n\
         FROM {base}\nUSER 1234:1234\n\
         RUN --mount=type=bind,target=/ctx --mount=type=secret,id=s,mode=444 \
         cat /ctx/file /run/secrets/s /etc/resolv.conf /etc/hosts && pwd && ls / >/tmp/list\n\
         RUN <<EOF\n#!/bin/sh\nid -u >/tmp/id\nEOF\n"
    );
    let context = case.context().dockerfile(dockerfile).file("file", "x\n");
    fs::write(case.path("home/secret"), "s3cret").unwrap();
    let secret = format!("id=s,src={}", case.path("home/secret").display());
    let build = case.build(&context).arg("--secret").arg(&secret);
    let tree = build.run().image().tree();
    assert_eq!(tree.text("tmp/id"), "1234\n");
    assert_eq!(tree.owner("tmp/id"), "0644 1234:1234");

    // In place the script is run from the work folder itself, and what lies beside it is still nobody's.
    let dockerfile = format!(
        "FROM {base}\nCOPY --chmod=4755 file /su\nUSER 1234:1234\n\
         RUN --mount=type=bind,target=/tmp/ctx <<EOF\n#!/bin/sh\ncat /tmp/ctx/file && echo now-running && sleep 3000\nEOF\n"
    );
    let context = case.context().dockerfile(dockerfile);
    let root = Throwaway::new(&case, context.path());
    let mut running = case
        .build(&context)
        .context("/workspace")
        .under(root.wrapper())
        .program("/kaniko/executor")
        .isolation(Some("in-place"))
        .arg("--force")
        .env("KANIKO_DIR", "/kaniko")
        .env("TMPDIR", "/tmp")
        .start();
    running.wait_for("now-running");
    let work: Vec<PathBuf> = fs::read_dir(root.path().join("kaniko"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.is_dir()
                && path
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("kiln-")
        })
        .collect();
    assert_eq!(work.len(), 1, "{work:?}");
    let open = reached(&work);
    running.signal_child(Signal::SIGKILL);
    running.wait();
    assert!(
        open.len() == 1
            && fs::read_to_string(&open[0])
                .unwrap()
                .contains("now-running"),
        "only the script: {open:?}"
    );
}

/// While they are written, a layout and an archive are private; then they are what the umask says, as other files that
/// somebody asked for.
// finding 1
#[test]
fn outputs_are_private_until_they_are_whole() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nCOPY Dockerfile /\nRUN echo 1 >/one\n"
    ));
    for (umask, file, dir) in [("022", 0o644, 0o755), ("077", 0o600, 0o700)] {
        let (tar, layout) = (
            case.path(&format!("out/{umask}.tar")),
            case.path(&format!("out/{umask}")),
        );
        let build = case
            .build(&context)
            .arg("--image-format=docker")
            .arg("--no-push")
            .nowhere()
            .under(["sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
        build.clone().arg("--tar-path").arg(&tar).run().ok();
        build.arg("--oci-layout-path").arg(&layout).run().ok();
        assert_eq!(mode(&tar), file, "{umask}");
        let mut all = Vec::new();
        files(&layout, &mut all);
        assert!(all.len() > 4, "{all:?}");
        for path in all {
            assert_eq!(mode(&path), file, "{}", path.display());
        }
        for name in ["", "blobs", "blobs/sha256"] {
            assert_eq!(mode(&layout.join(name)), dir, "{umask} {name}");
        }
    }
}

/// A volume that pods share by their group (`fsGroup`) stays one: what is new is for owner and group.
// finding 1
#[test]
fn a_volume_is_for_owner_and_group() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN date +%N >/one\n"));
    let volume = case.path("volume");
    fs::create_dir(&volume).unwrap();
    std::os::unix::fs::chown(&volume, None, Some(2000)).unwrap();
    fs::set_permissions(&volume, PermissionsExt::from_mode(0o2775)).unwrap();
    let warmed = case
        .warmer(&volume)
        .arg("--image")
        .arg(&base)
        .output()
        .unwrap();
    assert!(warmed.status.success(), "{warmed:?}");
    let build = case
        .build(&context)
        .arg("--cache-dir")
        .arg(&volume)
        .arg("--cache");
    build.run().ok();
    let blobs = volume.join("blobs/sha256");
    let mut all = Vec::new();
    files(&blobs, &mut all);
    assert!(all.len() > 4, "{all:?}");
    for path in all {
        assert_eq!(mode(&path), 0o640, "{}", path.display());
    }
    assert_eq!(reached(&[volume.join("blobs")]), NONE);
    // A build of another user in the group gets the layer from there.
    let words: Vec<String> = ["setpriv", "--reuid=1000", "--regid=1000", "--groups=2000"]
        .map(str::to_owned)
        .into();
    let (_, program) = User::Ordinary.enter(&case);
    let again = build
        .arg("--no-push-cache")
        .under(words)
        .program(program)
        .run();
    again.went("RUN hit");
}

/// In place a command sees the builder among the processes, and not its variables, where a login may be.
// finding 13
#[test]
fn in_place_no_command_reads_the_builders_variables() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN cat /proc/[0-9]*/environ >/seen 2>/dev/null; ls /proc/[0-9]*/exe >/list; echo >>/seen\n"
    ));
    let root = Throwaway::new(&case, context.path());
    // What a container has by default is without this capability.
    let mut words: Vec<std::ffi::OsString> = [
        "setpriv",
        "--bounding-set=-sys_ptrace",
        "--inh-caps=-sys_ptrace",
    ]
    .map(std::ffi::OsString::from)
    .into();
    words.extend(root.wrapper());
    let built = case
        .build(&context)
        .context("/workspace")
        .under(words)
        .program("/kaniko/executor")
        .isolation(Some("in-place"))
        .arg("--force")
        .env("KANIKO_DIR", "/kaniko")
        .env("TMPDIR", "/tmp")
        .env("GIT_TOKEN", "t0k3n-of-the-builder")
        .start()
        .wait();
    let tree = built.image().tree();
    assert!(!tree.text("list").is_empty());
    assert!(
        !tree.text("seen").contains("t0k3n"),
        "{}",
        tree.text("seen")
    );
}
