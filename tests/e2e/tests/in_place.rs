//! In-place isolation in a root that may be overwritten: a folder with mount and pid namespaces of its own.
//!
//! Docker runs the same code in `docker.rs`; this is the part that needs no daemon. Nothing here ever runs in-place on
//! the machine's own `/`.

use std::fs;
use std::path::Path;

use kiln_e2e::{
    Base, Build, Case, Context, Image, Outcome, Throwaway, Tree, kiln_only, needs_root,
};
use nix::sys::signal::Signal;

/// A context, and a root to build it in.
struct Site {
    case: Case,
    context: Context,
    root: Throwaway,
}

impl Site {
    /// `BASE` in the Dockerfile is the base image; the root is prepared further.
    fn new(dockerfile: &str, prepare: impl Fn(&Path)) -> Site {
        let case = Case::new();
        let context = case
            .context()
            .dockerfile(dockerfile.replace("BASE", &case.base(Base::Busybox)))
            .file("file", "context\n");
        let root = Throwaway::new(&case, context.path());
        prepare(root.path());
        Site {
            case,
            context,
            root,
        }
    }

    fn build(&self) -> Build<'_> {
        let build = self.case.build(&self.context).context("/workspace");
        let build = build.isolation(Some("in-place")).under(self.root.wrapper());
        build
            .program("/kaniko/executor")
            .env("KANIKO_DIR", "/kaniko")
            .env("TMPDIR", "/kaniko")
            .env("HOME", "/root")
    }
}

struct Built {
    case: Case,
    root: Throwaway,
    outcome: Outcome,
}

fn build(dockerfile: &str, flags: &[&str]) -> Built {
    build_in(dockerfile, flags, |_| {})
}

/// The same in a root that is prepared further.
fn build_in(dockerfile: &str, flags: &[&str], prepare: impl Fn(&Path)) -> Built {
    let site = Site::new(dockerfile, prepare);
    let build = flags.iter().fold(site.build(), Build::arg);
    let outcome = build.run();
    Built {
        outcome,
        case: site.case,
        root: site.root,
    }
}

// conformance: G38 G39 G24
#[test]
fn run_works_and_the_tools_own_files_survive() {
    kiln_only!();
    needs_root!();
    let built = build(
        "FROM BASE AS one\nRUN echo one > /one && chown 5:6 /one\n\
         FROM BASE\nCOPY --from=one /one /copied\nCOPY file /\nUSER app\nRUN id -un > /tmp/seen\nUSER root\n\
         RUN rm /etc/motd && ls /kaniko > /dev/null; ls / > /list; cat /file >> /tmp/seen\n",
        &["--force"],
    );
    let image = built.outcome.image();
    let tree = image.tree();
    assert_eq!(tree.text("tmp/seen"), "app\ncontext\n");
    assert_eq!(tree.owner("copied"), "0644 5:6");
    assert!(
        !tree.has("etc/motd") && !tree.has("one"),
        "stages do not see each other (C23)"
    );
    assert!(!tree.text("list").contains("one\n"));
    for path in tree.paths() {
        assert!(
            !path.starts_with("kaniko") && !path.starts_with("workspace"),
            "`{path}` is in the image"
        );
    }
    assert!(
        built.root.path().join("kaniko/executor").exists(),
        "the executor is still there"
    );
    assert!(
        built.root.path().join("workspace/file").exists(),
        "so is the context"
    );
}

/// The layers are what an overlay would have given.
// conformance: G9 G10 G12 G13 G15
#[test]
fn scan_layers_equal_overlay_layers() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nRUN rm -r /var/old && mkdir /var/old && touch /var/old/again\nRUN chmod 600 /etc/motd; ln /etc/motd /etc/motd2\n\
                 RUN rm /usr/bin/suid-twin; mv /home/app /home/moved; chmod 644 /etc/passwd\nRUN true\n\
                 RUN mkfifo /p; mknod /n c 1 3; ln -s x /l; echo same-size > /etc/a\nRUN echo SAME-size > /etc/a\n";
    let in_place = build(lines, &["--force"]);
    let image = in_place.outcome.image();
    let other = Case::new();
    let context = other
        .context()
        .dockerfile(lines.replace("BASE", &other.base(Base::Busybox)))
        .file("file", "context\n");
    let overlay = other.build(&context).run().image();
    let names = |image: &Image| -> Vec<Vec<String>> {
        let own = |layer: &kiln_e2e::Layer| layer.names().into_iter().map(str::to_owned).collect();
        image.layers.iter().map(own).collect()
    };
    assert_eq!(names(&image), names(&overlay));
    let differences = kiln_e2e::compare_trees(&image.tree(), &overlay.tree(), |_| false);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

// conformance: --ignore-path G25 G26
#[test]
fn ignored_paths_are_left_alone() {
    kiln_only!();
    needs_root!();
    let built = build(
        "FROM BASE\nRUN mkdir -p /skip/me /skipped && touch /skip/me/f /skipped/f && rm -rf /var/old\n",
        &["--force", "--ignore-path=/skip", "--ignore-path=/var/old"],
    );
    let tree = built.outcome.image().tree();
    assert!(!tree.has("skip/me/f"), "{:?}", tree.below("skip"));
    assert!(tree.has("skipped/f"), "/skip does not cover /skipped");
    assert!(tree.has("var/old/new"), "nothing ignored is whited out");
}

/// What the image says is what lies in `/` at the end, also if nothing had to be executed.
// conformance: H21
#[test]
fn files_are_left_in_place_when_asked_for() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE AS other\nRUN echo > /other\nFROM BASE\nRUN rm /etc/motd; echo 1 > /one\nCOPY file /\n";
    let case = Case::new();
    for cached in [0, 2] {
        let cache = format!("--cache-repo={}", case.destination("cache"));
        let built = build(lines, &["--force", "--materialize", "--cache", &cache]);
        let image = built.outcome.image();
        let hits = built.outcome.log.matches("cached in").count();
        assert_eq!(hits, cached, "{}", built.outcome.log);
        let left = Tree::of_dir(built.root.path()).unwrap();
        let apart = |path: &str| {
            ["dev", "proc", "sys", "kaniko", "workspace"]
                .iter()
                .any(|kept| path == *kept || path.starts_with(&format!("{kept}/")))
        };
        let differences = kiln_e2e::compare_trees(&image.tree(), &left, apart);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}

/// `/` is empty for the first stage, and again at the end.
#[test]
fn the_place_is_emptied_before_and_after_when_asked_for() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nRUN ls -A / > /seen\n";
    let stray = |flags: &[&str]| {
        let built = build_in(lines, flags, |root| {
            fs::write(root.join("stray"), "x").unwrap();
        });
        let seen = built.outcome.image().tree().text("seen");
        (
            seen.contains("stray\n"),
            built.root.path().join("seen").exists(),
            built,
        )
    };
    let (before, after, _) = stray(&["--force"]);
    assert!(before && after, "unless asked for");
    let (before, after, built) = stray(&["--force", "--pre-cleanup", "--cleanup"]);
    assert!(!before && !after);
    assert!(built.root.path().join("kaniko/executor").exists());
    assert!(built.root.path().join("workspace/file").exists());
}

/// Mounts of a command that fails, or that is ended from outside, are taken back like all others.
// conformance: D26 D27 D36 (in-place)
#[test]
fn mounts_are_taken_back_however_the_command_ends() {
    kiln_only!();
    needs_root!();
    let mounts = "--mount=type=secret,id=s,target=/etc/secret --mount=type=bind,target=/etc/deep/context \
                  --mount=type=tmpfs,target=/var/old";
    let says = "cat /etc/secret /etc/deep/context/file && ls -A /var/old && touch /var/old/x";
    let flags = ["--force", "--secret=id=s,env=SECRET"];
    for (end, signal) in [("exit 3", None), ("sleep 600", Some(Signal::SIGTERM))] {
        let lines = format!("FROM BASE\nRUN {mounts} {says} && echo $((40+2))ready && {end}\n");
        let site = Site::new(&lines, |_| {});
        let build = site.build().env("SECRET", "not to be left");
        let mut running = flags.iter().fold(build, Build::arg).start();
        running.wait_for("42ready");
        if let Some(signal) = signal {
            running.signal_child(signal);
        }
        let outcome = running.wait();
        let code = if signal.is_some() { 1 } else { 3 };
        assert_eq!(outcome.code, Some(code), "{}", outcome.log);
        let at = |path: &str| site.root.path().join(path);
        assert!(!at("etc/secret").exists() && !at("etc/deep").exists());
        let old: Vec<_> = fs::read_dir(at("var/old")).unwrap().flatten().collect();
        assert!(at("var/old/new").exists() && old.len() == 1, "{old:?}");
        let left: Vec<_> = fs::read_dir(at("kaniko")).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

// conformance: J12
#[test]
fn the_context_and_the_builder_are_not_mounted_over() {
    kiln_only!();
    needs_root!();
    for target in ["/workspace", "/kaniko/x", "/proc"] {
        let lines = format!("FROM BASE\nRUN --mount=type=tmpfs,target={target} true\n");
        let built = build(&lines, &["--force"]);
        built
            .outcome
            .failed(1, &["Dockerfile:2", target, "choose another target"]);
        assert!(built.root.path().join("workspace/file").exists());
        assert!(built.root.path().join("kaniko/executor").exists());
    }
}

// conformance: D6
#[test]
fn a_failing_run_gives_its_exit_code() {
    kiln_only!();
    needs_root!();
    let built = build("FROM BASE\nRUN exit 9\n", &["--force"]);
    built.outcome.failed(9, &["exit 9", "Dockerfile:2"]);
    assert!(
        built
            .case
            .registry()
            .raw_manifest(&built.case.destination("image"))
            .is_none()
    );
}

/// Outside a container it refuses, and touches nothing.
#[test]
fn it_refuses_to_overwrite_a_root_that_is_no_container() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN touch /overwritten\n"));
    let root = Throwaway::new(&case, context.path());
    fs::write(root.path().join("etc/precious"), "keep").unwrap();
    let before = Tree::of_dir(root.path()).unwrap();
    let build = case
        .build(&context)
        .context("/workspace")
        .isolation(Some("in-place"));
    let outcome = build
        .under(root.wrapper())
        .program("/kaniko/executor")
        .env("TMPDIR", "/tmp")
        .run();
    outcome.failed(1, &["--force", "container"]);
    let after = Tree::of_dir(root.path()).unwrap();
    // The wrapper makes empty device files; those are not the executor's.
    let differences = kiln_e2e::compare_trees(&before, &after, |path| path.starts_with("dev/"));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
