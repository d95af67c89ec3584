//! Builds that are stopped, and disks that are full.

use kiln_e2e::{
    Base, Case, Fault, HttpServer, Leaks, Proxy, Response, SmallDisk, incompressible, kiln_only,
    needs_root,
};
use nix::sys::signal::Signal;

/// Starts a build with a long RUN, sends the signal while it runs, and looks for what is left.
fn interrupted(signal: Signal, command: &str) {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    let dockerfile = format!(
        "FROM {base}\nRUN touch /before\nRUN echo now-running; {}\n",
        command.replace("ID", &id)
    );
    let context = case.context().dockerfile(dockerfile);
    let (tar, layout) = (case.path("out/image.tar"), case.path("out/layout"));
    let build = case
        .build(&context)
        .arg("--tar-path")
        .arg(&tar)
        .arg("--image-format=docker");
    let leaks = Leaks::before(&case);
    let mut running = build.arg("--oci-layout-path").arg(&layout).start();
    running.wait_for("now-running");
    running.signal(signal);
    let outcome = running.wait();
    leaks.check_after(&outcome.log);
    outcome.failed(1, &["Dockerfile:3", "interrupted"]);
    assert!(
        !tar.exists() && !layout.join("index.json").exists(),
        "there is partial output"
    );
    assert!(
        case.registry()
            .raw_manifest(&case.destination("image"))
            .is_none(),
        "an image was pushed"
    );
}

// The command is still running when its line is read: nothing waits for its end.
// conformance: D8 D10
#[test]
fn sigterm_in_a_run() {
    kiln_only!();
    needs_root!();
    interrupted(Signal::SIGTERM, "sleep 3000; echo ID");
}

// conformance: D8
#[test]
fn sigint_in_a_run_that_has_children() {
    kiln_only!();
    needs_root!();
    interrupted(
        Signal::SIGINT,
        "(setsid sh -c 'sleep 3000; echo ID' &); sh -c 'sleep 3000; echo ID'; echo",
    );
}

/// A command that ignores the signal is killed after a grace time.
// conformance: D8
#[test]
fn sigterm_in_a_run_that_ignores_it() {
    kiln_only!();
    needs_root!();
    interrupted(
        Signal::SIGTERM,
        "trap '' TERM INT; while true; do sleep 1; done; echo ID",
    );
}

/// The network may keep a build waiting for long; a signal does not wait with it.
// conformance: D8
#[test]
fn sigterm_while_a_server_does_not_answer() {
    kiln_only!();
    let table = [
        ("GET", "/manifests/", "base", "asking the registries"),
        ("PUT", "/manifests/", "push", "handing out the image"),
    ];
    for (method, path, at, during) in table {
        let case = Case::new();
        let base = case.base(Base::Busybox);
        let host = case.registry().host().to_owned();
        let proxy = Proxy::with_faults(&host, &[(method, path, Fault::Stall)]);
        let pull = if at == "push" { &host } else { proxy.host() };
        let push = if at == "push" { proxy.host() } else { &host };
        let name = base.strip_prefix(&format!("{host}/")).unwrap();
        let context = case
            .context()
            .dockerfile(format!("FROM {pull}/{name}\nCOPY Dockerfile /\n"));
        let digest = case.path("digest");
        let build = case
            .build(&context)
            .destination(format!("{push}/kiln-e2e/stalled-{at}"))
            .arg("--digest-file")
            .arg(&digest);
        let leaks = Leaks::before(&case);
        let mut running = build.start();
        proxy.wait_for(method, path);
        running.signal(Signal::SIGTERM);
        let outcome = running.wait();
        leaks.check_after(&outcome.log);
        outcome.failed(1, &["interrupted", during]);
        assert!(
            !digest.exists(),
            "{at}: an interrupted build says that it is done"
        );
    }
}

// conformance: D8
#[test]
fn sigterm_while_add_waits_for_a_server() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let (asked, ask) = std::sync::mpsc::channel();
    let server = HttpServer::start(move |_| {
        asked.send(()).expect("the test waits for it");
        std::thread::sleep(std::time::Duration::from_secs(30));
        Response::new(200, "text/plain", "late")
    });
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nADD {} /\n", server.url("/file")));
    let build = case.build(&context);
    let leaks = Leaks::before(&case);
    let mut running = build.start();
    ask.recv().expect("the server is asked");
    running.signal(Signal::SIGTERM);
    let outcome = running.wait();
    leaks.check_after(&outcome.log);
    outcome.failed(1, &["interrupted", "Dockerfile:2"]);
}

/// A signal that comes before anything has begun leaves nothing either.
#[test]
fn sigterm_right_after_the_start() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /\n"));
    for delay in [0, 2, 5, 10, 20] {
        let leaks = Leaks::before(&case);
        let mut running = case.build(&context).start();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        running.signal(Signal::SIGTERM);
        let outcome = running.wait();
        leaks.check_after(&outcome.log);
    }
}

#[test]
fn a_full_disk_under_the_work_folder() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let tmp = case.path("tmp");
    let _disk = SmallDisk::mount(&tmp, "size=8m");
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY big /big\n"))
        .file("big", incompressible(20 << 20, 0));
    case.build(&context)
        .run()
        .failed(1, &["Dockerfile:2", "space"]);
    assert!(
        case.registry()
            .raw_manifest(&case.destination("image"))
            .is_none()
    );
}

#[test]
fn a_full_disk_in_a_run() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let tmp = case.path("tmp");
    let _disk = SmallDisk::mount(&tmp, "size=24m");
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN dd if=/dev/urandom of=/big bs=1M count=40\n"
    ));
    case.build(&context)
        .run()
        .failed(1, &["No space left", "Dockerfile:2"]);
}

#[test]
fn a_full_disk_under_the_outputs() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let out = case.path("out");
    let _disk = SmallDisk::mount(&out, "size=4m");
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY big /big\n"))
        .file("big", incompressible(20 << 20, 0));
    let tar = case.path("out/image.tar");
    let build = case.build(&context).no_push().arg("--image-format=docker");
    build
        .arg("--tar-path")
        .arg(&tar)
        .run()
        .failed(1, &["image.tar", "space"]);
    let left: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "partial output: {left:?}");
}

/// A work folder of its own is gone at the end, also after a failure.
#[test]
fn the_work_folder_is_temporary() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    for (line, code) in [("RUN true", 0), ("RUN exit 3", 3)] {
        let context = case.context().dockerfile(format!("FROM {base}\n{line}\n"));
        // `Build::run` checks that TMPDIR is empty afterwards.
        assert_eq!(case.build(&context).run().code, Some(code));
    }
    let own = case.path("own-work-dir");
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN true\n"));
    case.build(&context)
        .arg("--kaniko-dir")
        .arg(&own)
        .run()
        .ok();
}
