//! In-place isolation in a root that may be overwritten: a folder with mount and pid namespaces of its own.
//!
//! Docker runs the same code in `docker.rs`; this is the part that needs no daemon. Nothing here ever runs in-place on
//! the machine's own `/`.

use std::fs;
use std::path::Path;

use kiln_e2e::{
    Access, Base, Build, Case, Context, Image, Outcome, SshAgent, Throwaway, Tree, compare_trees,
    kiln_only, needs_root,
};
use nix::sys::signal::Signal;

/// A context, and a root to build it in.
struct Site {
    case: Case,
    context: Context,
    root: Throwaway,
}

impl Site {
    /// A context with the files of a small project, in a root made of both.
    fn project(dockerfile: &str, root: impl Fn(&Case, &Path) -> Throwaway) -> Site {
        let case = Case::new();
        let context = case
            .context()
            .dockerfile(dockerfile.replace("BASE", &case.base(Base::Busybox)))
            .file("go.mod", "module m\n")
            .file("src.c", "v1\n")
            .file_with_mode("tool", 0o700, "mine\n")
            .file("sub/deep", "deep\n")
            .symlink("link", "src.c")
            .hardlink("twin", "sub/deep")
            .file(".hidden", "hidden\n");
        let root = root(&case, context.path());
        Site {
            case,
            context,
            root,
        }
    }

    /// What the same build gives in a namespace.
    fn in_namespace(&self) -> Tree {
        let destination = self.case.destination("namespace");
        let build = self.case.build(&self.context).destination(destination);
        build.run().image().tree()
    }

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

// conformance: G38 G39 G24 C23 D41
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

/// What caches are filled with beside the build lies in `/` too, and is nothing that a command made.
// conformance: G24
#[test]
fn caches_are_not_in_the_image() {
    kiln_only!();
    needs_root!();
    let lines =
        "FROM BASE\nCOPY file /\nRUN echo 1 > /one\nRUN sleep 1; echo 2 > /two\nRUN rm /one\n";
    let built = build_in(
        lines,
        &[
            "--force",
            "--cache",
            "--cache-dir=/volume",
            "--cache-repo=oci:/steps",
        ],
        |root| fs::create_dir(root.join("volume")).unwrap(),
    );
    let tree = built.outcome.image().tree();
    for path in tree.paths() {
        let cache = path.starts_with("volume") || path.starts_with("steps");
        assert!(!cache, "`{path}` is in the image");
    }
    assert!(tree.has("two"));
    assert!(built.root.path().join("steps/oci-layout").exists());
    let stored = fs::read_dir(built.root.path().join("volume")).unwrap();
    assert!(stored.count() > 0, "the volume was used");
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
    let differences = compare_trees(&image.tree(), &overlay.tree(), |_| false);
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
            let kept = ["dev", "proc", "sys", "kaniko", "workspace", "var/run"];
            let files = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];
            let mut all = kept.iter().chain(&files);
            all.any(|kept| path == *kept || path.starts_with(&format!("{kept}/")))
        };
        let differences = compare_trees(&image.tree(), &left, apart);
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

/// Mounts of a command that fails, that is ended from outside, or that ends or stops the process it was started by, are
/// taken back like all others.
// conformance: D9 D26 D27 D36 (in-place)
#[test]
fn mounts_are_taken_back_however_the_command_ends() {
    kiln_only!();
    needs_root!();
    let mounts = "--mount=type=secret,id=s,target=/etc/secret --mount=type=bind,target=/etc/deep/context \
                  --mount=type=tmpfs,target=/var/old";
    let says = "cat /etc/secret /etc/deep/context/file && ls -A /var/old && touch /var/old/x";
    let flags = ["--force", "--secret=id=s,env=SECRET"];
    for (end, signal, code) in [
        ("exit 3", None, 3),
        ("sleep 600", Some(Signal::SIGTERM), 1),
        ("kill -9 $PPID; sleep 600", None, 1),
        ("kill -STOP $PPID; sleep 600", Some(Signal::SIGTERM), 1),
    ] {
        let lines = format!("FROM BASE\nRUN {mounts} {says} && echo $((40+2))ready && {end}\n");
        let site = Site::new(&lines, |_| {});
        let build = site.build().env("SECRET", "not to be left");
        let mut running = flags.iter().fold(build, Build::arg).start();
        running.wait_for("42ready");
        if let Some(signal) = signal {
            running.signal_child(signal);
        }
        let outcome = running.wait();
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
    // The wrapper makes empty files for mounts; those are not the executor's.
    let made = |path: &str| {
        let kept = ["dev/", "var", "etc/host", "etc/resolv.conf"];
        kept.iter().any(|kept| path.starts_with(kept))
    };
    let differences = compare_trees(&before, &after, made);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// How a context comes to `/workspace`.
const WAYS: &[fn(&Case, &Path) -> Throwaway] = &[
    |case, context| Throwaway::mounted(case, context, Access::ReadWrite),
    Throwaway::new,
];

/// The default context is a usual WORKDIR: the image is that of a namespace, and the user's files are untouched.
// conformance: J12 G39
// finding 16
#[test]
fn an_image_may_work_where_the_context_is() {
    kiln_only!();
    needs_root!();
    let cases = [
        // The layout of kubebuilder.
        "FROM BASE AS b\nWORKDIR /workspace\nCOPY go.mod .\nRUN echo x > manager && ls > /seen\n\
         FROM BASE\nRUN test ! -e /workspace/go.mod\n\
         COPY --from=b /workspace/manager .\nCOPY --from=b /seen /\nRUN cat /manager > /again\n",
        // The same names with other content.
        "FROM BASE AS b\nWORKDIR /workspace\nCOPY . .\nRUN echo v2 > src.c && rm tool && chown -R app . && stat -c '%n %a %u' * > /seen\n\
         RUN chmod 711 . && touch sub/new\nFROM BASE\nCOPY --from=b /workspace/ /w\nCOPY src.c /v1\nCOPY --from=b /seen /\n",
        // Everything goes, or is copied.
        "FROM BASE\nCOPY . /workspace/a\nRUN cp -r /workspace /out && rm -rf /workspace/* && ls /workspace > /seen\nCOPY src.c /\n",
        // Hard links and attributes of directories.
        "FROM BASE\nRUN mkdir -p /workspace/x && chmod 700 /workspace && echo 1 > /workspace/x/y && ln /workspace/x/y /workspace/z\n\
         RUN echo 2 > /workspace/w && ln /workspace/w /workspace/v\nCOPY . /workspace/x\nRUN ls -lA /workspace/x | wc -l > /count\n",
    ];
    for lines in cases {
        for root in WAYS {
            let site = Site::project(lines, root);
            let at = site.root.path().join("workspace");
            let (before, mounted) = (Tree::of_dir(&at).ok(), site.context.tree());
            let outcome = site.build().arg("--force").run();
            // An overlay parts the names of a file that a command gives away; nothing else does.
            let parted = |path: &str| matches!(path, "w/twin" | "w/sub/deep");
            let (tree, namespace) = (outcome.image().tree(), site.in_namespace());
            let differences = compare_trees(&tree, &namespace, parted);
            assert!(
                differences.is_empty(),
                "{lines}\n{}",
                differences.join("\n")
            );
            assert_eq!(
                Tree::of_dir(&at).ok().filter(|_| before.is_some()),
                before,
                "{lines}"
            );
            assert_eq!(site.context.tree(), mounted, "{lines}");
            let warnings = outcome.warnings();
            assert!(warnings.is_empty(), "{warnings:?}");
        }
    }
}

/// Nothing in the Dockerfile names the place, but a base has files there.
// finding 16
#[test]
fn a_base_may_have_files_where_the_context_is() {
    kiln_only!();
    needs_root!();
    for root in WAYS {
        let lines =
            "FROM REPLACED\nCOPY src.c /copied\nRUN cd /work*e && ls > /seen && echo more > new\n";
        let site = Site::project(lines, root);
        let base = site.case.destination("base");
        let with_files = site.case.context_named("base").dockerfile(format!(
            "FROM {}\nCOPY Dockerfile /workspace/of-base\n",
            site.case.base(Base::Busybox)
        ));
        site.case.build(&with_files).destination(&base).run().ok();
        let lines = lines.replace("REPLACED", &base);
        for dir in [site.context.path(), &site.root.path().join("workspace")] {
            fs::create_dir_all(dir).unwrap();
            fs::write(dir.join("Dockerfile"), &lines).unwrap();
        }
        let before = site.context.tree();
        let tree = site.build().arg("--force").run().image().tree();
        assert_eq!(tree.text("seen"), "of-base\n");
        let differences = compare_trees(&tree, &site.in_namespace(), |_| false);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert_eq!(site.context.tree(), before);
    }
}

/// What cannot step aside is an error before anything runs.
// finding 16
#[test]
fn a_read_only_context_cannot_make_room() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE AS b\nRUN touch /first\nWORKDIR /workspace\nRUN touch x\nFROM b\n";
    let read_only: fn(&Case, &Path) -> Throwaway =
        |case, context| Throwaway::mounted(case, context, Access::ReadOnly);
    let site = Site::project(lines, read_only);
    let outcome = site.build().arg("--force").run();
    let says = [
        "Dockerfile:3",
        "`/workspace`",
        "mounted read-only",
        "--context",
    ];
    outcome.failed(1, &says);
    assert!(!outcome.log.contains("[b 1/"), "{}", outcome.log);
    assert!(!site.root.path().join("first").exists());
    // An image that works elsewhere does not mind.
    let site = Site::project(
        "FROM BASE\nCOPY src.c /w/\nRUN cat /w/src.c > /seen\n",
        read_only,
    );
    let tree = site.build().arg("--force").run().image().tree();
    assert_eq!(tree.text("seen"), "v1\n");
}

/// However the build ends, the user's files are there again; after SIGKILL with the next build.
// finding 16
#[test]
fn the_context_comes_back_however_the_build_ends() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nWORKDIR /workspace\nCOPY go.mod .\n\
                 RUN echo other > src.c && chown -R app . && echo $((40+2))ready && END\n";
    for end in ["exit 3", "TERM", "KILL"] {
        let sleeps = end.len() == 4;
        let lines = lines.replace("END", if sleeps { "sleep 600" } else { end });
        for root in WAYS {
            let site = Site::project(&lines, root);
            let at = site.root.path().join("workspace");
            let (before, mounted) = (Tree::of_dir(&at).ok(), site.context.tree());
            let mut running = site.build().arg("--force").start();
            running.wait_for("42ready");
            match end {
                "TERM" => running.signal_child(Signal::SIGTERM),
                "KILL" => running.signal_child(Signal::SIGKILL),
                _ => {}
            }
            let outcome = running.wait();
            if end == "KILL" {
                let again = site.build().arg("--force").start().wait();
                let left = ["an earlier build was killed", "are back now", ".kiln-left-"];
                again.failed(1, &left);
                let place = if mounted == site.context.tree() {
                    &at
                } else {
                    site.context.path()
                };
                let left = fs::read_dir(place).unwrap().flatten();
                let left =
                    left.filter(|file| file.file_name().to_string_lossy().starts_with(".kiln-"));
                left.for_each(|file| fs::remove_dir_all(file.path()).unwrap());
            } else {
                assert_ne!(outcome.code, Some(0), "{}", outcome.log);
            }
            // A command may have given hidden files away before it was killed.
            let owners = |_: &str| end == "KILL";
            let mounted = Some(mounted);
            for (dir, before) in [(at.as_path(), &before), (site.context.path(), &mounted)] {
                let Some(before) = before else { continue };
                let now = Tree::of_dir(dir).unwrap();
                let differences = compare_trees(&now, before, owners);
                assert!(differences.is_empty(), "{end}\n{}", differences.join("\n"));
                assert_eq!(now.paths(), before.paths(), "{end}");
            }
        }
    }
}

/// Every pod has a mount below `/var/run`, which most images have as a link.
// finding 17
#[test]
fn a_link_on_the_way_to_a_mount_stays_a_link() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE AS one\nRUN mkdir -p /var/run/sshd && test -d /run/sshd && echo 1 > /run/one && cat /var/run/one\n\
                 RUN rm /var/run/one && ls /run | grep -v secrets > /seen && chmod 700 /run\nCOPY src.c /var/run/copied\n\
                 RUN cat /var/run/copied >> /seen\nFROM BASE\nRUN ls /var/run/ | grep -v secrets > /seen; echo 2 > /var/run/two\n\
                 COPY --from=one /seen /other\nCOPY --from=one /run /run\n";
    for root in WAYS {
        let site = Site::project(lines, root);
        let outcome = site.build().arg("--force").run();
        let tree = outcome.image().tree();
        let differences = compare_trees(&tree, &site.in_namespace(), |_| false);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        assert!(tree.has("run/sshd") && tree.node("var/run").to_string().contains("symlink"));
        assert_eq!(tree.text("other"), "sshd\nv1\n");
    }
}

/// A link of the image in the place of the builder's folder, or of the context, takes nothing of theirs along: neither
/// credentials into a layer nor the user's files off their volume.
// conformance: G39
#[test]
fn a_link_in_the_place_of_the_builder_moves_nothing() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nRUN mkdir /d && ln -s /usr /d/kaniko && ln -s /usr /d/workspace && mkdir -p /usr/own\n\
                 FROM BASE\nCOPY --from=0 /d /\nRUN echo seen > /seen\n";
    for root in WAYS {
        let site = Site::project(lines, root);
        let login = site.root.path().join("kaniko/.docker/config.json");
        fs::write(&login, "{\"auths\":{}}").unwrap();
        let context = Tree::of_dir(site.context.path()).unwrap();
        let tree = site.build().arg("--force").run().image().tree();
        assert_eq!(tree.text("seen"), "seen\n");
        assert!(!tree.has("usr/.docker") && !tree.has("usr/executor") && !tree.has("usr/go.mod"));
        assert!(login.exists(), "the builder's login is where it was");
        assert!(Tree::of_dir(site.context.path()).unwrap() == context);
    }
}

// finding 18
#[test]
fn the_place_is_emptied_after_a_failure_too() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nRUN echo > /seen\nRUN exit 9\n";
    let built = build(lines, &["--force", "--cleanup"]);
    built.outcome.failed(9, &["Dockerfile:3"]);
    for path in ["seen", "etc/passwd", "bin/sh"] {
        assert!(!built.root.path().join(path).exists(), "{path}");
    }
    assert!(built.root.path().join("workspace/file").exists());
    assert!(built.root.path().join("kaniko/executor").exists());
}

/// What the caller names is held from the start: commands can remove it.
// finding 19
// conformance: D36
#[test]
fn what_the_caller_names_outlives_a_command() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE AS first\nRUN rm -rf /tmp/* && ls -A /tmp > /empty\n\
                 FROM BASE\nCOPY --from=first /empty /\nRUN --mount=type=secret,id=s cat /run/secrets/s > /seen\n\
                 RUN --mount=type=ssh test -S \"$SSH_AUTH_SOCK\"\nRUN --mount=from=named,target=/m cat /m/file >> /seen\n\
                 COPY --from=named /file /named\n";
    let site = Site::project(lines, Throwaway::new);
    let at = |path: &str| site.root.path().join(path);
    fs::create_dir_all(at("tmp/named")).unwrap();
    fs::write(at("tmp/named/file"), "named\n").unwrap();
    fs::write(at("tmp/secret"), "secret\n").unwrap();
    let agent = SshAgent::start(&site.case);
    fs::hard_link(agent.socket(), at("tmp/agent")).unwrap();
    let flags = [
        "--force",
        "--secret=id=s,src=/tmp/secret",
        "--build-context=named=/tmp/named",
        "--ssh=default=/tmp/agent",
    ];
    let tree = flags
        .iter()
        .fold(site.build(), Build::arg)
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("empty"), "");
    assert_eq!(tree.text("seen"), "secret\nnamed\n");
    assert_eq!(tree.text("named"), "named\n");
}

/// The image's own WORKDIR is nothing that the image to be built knows of.
// finding 20
#[test]
fn the_working_directory_of_the_builder_is_not_in_the_way() {
    kiln_only!();
    needs_root!();
    let root = |case: &Case, context: &Path| {
        let made = Throwaway::new(case, context).starting_in("/workspace");
        fs::rename(made.path().join("workspace"), made.path().join("elsewhere")).unwrap();
        fs::create_dir(made.path().join("workspace")).unwrap();
        made
    };
    let lines = "FROM BASE\nRUN mkdir /workspace && cd /workspace && touch x\nFROM BASE\nRUN mkdir /workspace\n";
    let site = Site::project(lines, root);
    let outcome = site.build().context("/elsewhere").arg("--force").run();
    assert!(outcome.image().tree().has("workspace"));
}

/// What the container has in any case is not worth a line; the rest is worth one.
// conformance: G38
// finding 21
#[test]
fn what_gives_way_is_told_in_one_line() {
    kiln_only!();
    needs_root!();
    let mut images = Vec::new();
    let case = Case::new();
    let common = [
        "dev/null",
        "dev/full",
        "proc/x",
        "sys/y",
        "etc/hosts",
        "etc/resolv.conf",
    ];
    for (name, more) in [
        ("plain", &[][..]),
        ("more", &["kaniko/executor", "kaniko/executor.d"]),
    ] {
        let mut context = case.context_named(name);
        for path in common.iter().chain(more) {
            context = context.file(&format!("root/{path}"), "of the image\n");
        }
        let lines = format!("FROM {}\nCOPY root /\n", case.base(Base::Busybox));
        let destination = case.destination(name);
        let build = case.build(&context.dockerfile(lines));
        build.destination(&destination).run().ok();
        images.push(destination);
    }
    for (image, expected) in images.iter().zip([0, 1]) {
        let lines = format!(
            "FROM {image} AS a\nRUN true\nFROM {image}\nRUN echo > /x\nCOPY --from=a /etc/motd /y\n"
        );
        let outcome = build(&lines, &["--force"]).outcome;
        outcome.ok();
        assert_eq!(
            outcome.warnings().len(),
            expected,
            "{:?}",
            outcome.warnings()
        );
        let kept = outcome.warnings().concat();
        assert_eq!(kept.contains("/kaniko"), expected == 1, "{kept}");
    }
}

// finding 22
#[test]
fn a_read_only_root_says_what_to_mount() {
    kiln_only!();
    needs_root!();
    let sealed = |case: &Case, context: &Path| Throwaway::new(case, context).sealed();
    let site = Site::project("FROM BASE\nRUN true\n", sealed);
    let outcome = site.build().arg("--force").env("TMPDIR", "/tmp").run();
    outcome.failed(
        1,
        &["/kaniko", "read-only", "emptyDir", "--kaniko-dir=/work"],
    );
    let outcome = site.build().arg("--force").env("KANIKO_DIR", "/work").run();
    let says = [
        "Dockerfile:2",
        "read-only",
        "readOnlyRootFilesystem",
        "user namespaces",
    ];
    outcome.failed(1, &says);
    let without = Site::project("FROM BASE\nCOPY src.c /\n", sealed);
    let outcome = without
        .build()
        .arg("--force")
        .env("KANIKO_DIR", "/work")
        .run();
    assert_eq!(outcome.image().tree().text("src.c"), "v1\n");
}
