//! A build that is told to end does so at once, whatever it is doing, and leaves nothing (finding 10).

// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use kiln_e2e::{
    Case, ImageSpec, LayerSpec, Leaks, Packing, Registry, TarTree, incompressible, kiln_only,
    needs_root, output, roomy_tempdir, skipped, tool,
};
use nix::sys::signal::Signal;

const MB: u64 = 1_000_000;

/// Moments at which a signal is sent, spread over the whole build.
const MOMENTS: u32 = 50;

/// No time is asserted on a shared machine but this: what waits for a phase to end takes longer, and what is stopped
/// in time takes a second.
const HANGS: Duration = Duration::from_secs(8);

/// A base with a large file and thousands of small ones, in two layers.
fn big_base(case: &Case) -> String {
    let large = TarTree::new().file("noise", 0o644, incompressible(30 * MB as usize, 7));
    let mut small = TarTree::new();
    for directory in 0..40 {
        small = small.dir(&format!("d{directory}"), 0o755);
        for file in 0..100 {
            small = small.file(&format!("d{directory}/f{file}"), 0o644, "a small file\n");
        }
    }
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let small = small
        .dir("bin", 0o755)
        .file("bin/busybox", 0o755, busybox)
        .symlink("bin/sh", "busybox");
    let layers = [large, small].map(|tree| LayerSpec {
        tar: tree.finish(),
        packing: Packing::Gzip,
    });
    let layout = case.path("out/base");
    let config = serde_json::json!({"Env": ["PATH=/bin"]});
    ImageSpec::new(layers.into(), config).write_layout(&layout, "x");
    let name = case.destination("big-base");
    let mut copy = std::process::Command::new(tool("skopeo"));
    copy.args([
        "--insecure-policy",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
    ])
    .arg(format!("oci:{}:x", layout.display()))
    .arg(format!("docker://{name}"));
    output(&mut copy);
    std::fs::remove_dir_all(layout).unwrap();
    name
}

// conformance: D8
#[test]
fn a_build_ends_at_any_moment() {
    kiln_only!();
    needs_root!();
    let Some(place) = roomy_tempdir(1_000 * MB) else {
        skipped("needs 1 GB in /dev/shm or TMPDIR");
        return;
    };
    let case = Case::below_with_registry(place.path(), Registry::start_in(place.path()));
    let base = big_base(&case);
    let id = case.id();
    let mut context = case.context().dockerfile(format!(
        "FROM {base} AS made\n\
         COPY files /copied\n\
         RUN busybox cp -r /d1 /made && busybox cat /noise /noise >/twice; busybox sleep 0.3; echo {id}\n\
         FROM {base}\n\
         COPY --from=made /twice /made /all/\n\
         RUN busybox rm -r /d2\n"
    ));
    for file in 0..500 {
        context = context.file(&format!("files/{file}"), "from the context\n");
    }
    let (tar, layout) = (case.path("out/image.tar"), case.path("out/layout"));
    let build = case
        .build(&context)
        .arg("--tar-path")
        .arg(&tar)
        .arg("--oci-layout-path")
        .arg(&layout)
        .arg("--image-format=docker");
    let begun = Instant::now();
    build.run().ok();
    let whole = begun.elapsed();

    let mut deaths = Vec::new();
    for moment in 0..MOMENTS {
        let (delay, signal) = (
            whole * moment / MOMENTS,
            [Signal::SIGTERM, Signal::SIGINT][moment as usize % 2],
        );
        for output in [&tar, &layout] {
            let _ = std::fs::remove_file(output);
            let _ = std::fs::remove_dir_all(output);
        }
        let leaks = Leaks::before(&case);
        let mut running = build.start();
        running.wait_for_builder();
        std::thread::sleep(delay);
        running.signal(signal);
        let sent = Instant::now();
        let outcome = running.wait();
        let took = sent.elapsed();
        let phase = outcome.log.lines().rev().nth(1).unwrap_or_default();
        deaths.push((
            took,
            format!("{signal} after {delay:?}: {took:?}; before: {phase}"),
        ));
        // It may have been done, or not have begun: then the signal ends it as it ends any program.
        assert!(
            matches!(outcome.code, None | Some(0 | 1)),
            "{signal} after {delay:?}: {}\n{}",
            outcome.status,
            outcome.log
        );
        leaks.check_soon_after(&outcome.log);
        let left: Vec<_> = std::fs::read_dir(case.path("out"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !["image.tar", "layout"].contains(&name.as_str()))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{signal} after {delay:?}");
        if outcome.code == Some(1) && tar.exists() {
            // Its name appears once it is whole.
            let listed = std::process::Command::new(tool("tar"))
                .arg("-tf")
                .arg(&tar)
                .output();
            assert!(listed.unwrap().status.success(), "half an archive");
        }
    }
    deaths.sort();
    let late = deaths
        .iter()
        .filter(|(took, _)| *took > Duration::from_secs(1))
        .count();
    let (slowest, line) = deaths.last().unwrap();
    println!(
        "{MOMENTS} signals over {whole:?}, {late} took more than a second; the slowest: {line}"
    );
    assert!(*slowest < HANGS, "{line}");
}
