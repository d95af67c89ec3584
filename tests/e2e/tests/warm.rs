//! The warmer fills a volume, and the executor uses it.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::expect_used)]

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln_e2e::{
    Base, Case, Fault, HttpServer, Image, ImageSpec, LayerSpec, Packing, Proxy, Registry, Response,
    SmallDisk, TarTree, Volume, incompressible, kiln_only, needs_root, output, run, tool,
};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

// conformance: H31
#[test]
fn a_warmed_image_is_not_downloaded_again() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let volume = Volume::new(&case, case.path("cache"));
    for base in [Base::Busybox, Base::Index, Base::Docker] {
        let name = proxy.through(&case.base(base));
        volume.warm(&[&name]);
        assert!(!proxy.blobs().is_empty());
        proxy.forget();
        volume.warm(&[&name]);
        assert!(proxy.blobs().is_empty(), "what is there is skipped");

        let context = case
            .context()
            .dockerfile(format!("FROM {name}\nRUN cat /etc/motd > /seen\n"));
        let build = case
            .build(&context)
            .arg("--cache")
            .arg("--no-push-cache")
            .arg(format!("--cache-dir={}", volume.dir().display()));
        assert_eq!(build.run().image().tree().text("seen"), "second layer\n");
        assert!(
            proxy.blobs().is_empty(),
            "the executor takes the layers from the volume: {:#?}",
            proxy.seen("GET")
        );
        proxy.forget();
        output(
            case.warmer(volume.dir())
                .args(["--force", "--image", &name]),
        );
        assert!(
            !proxy.blobs().is_empty(),
            "--force fetches everything again"
        );
        volume.verified_blobs();
        proxy.forget();
    }
}

/// A name may have a tag or a digest, that of an index too; what was warmed is found by the digest of the index and by
/// that of the image in it, and gives the image that the registry gave.
// conformance: H34 H35 H40
#[test]
fn a_warmed_digest_may_be_that_of_an_index() {
    kiln_only!();
    let case = Case::new();
    let registry = Registry::start();
    let name = registry.base(Base::Index);
    let repository = name.rsplit_once(':').unwrap().0;
    let raw = registry.raw_manifest(&name).unwrap();
    let index = format!("{repository}@{}", kiln_e2e::digest(raw.as_bytes()));
    let image = Image::read(&format!("docker://{name}")).digest;
    let image = format!("{repository}@{image}");
    assert_ne!(index, image);
    let context = case.context().file("f", "f");
    let build = |from: &str, volume: Option<&Volume<'_>>| {
        let dockerfile = context.path().join("Dockerfile");
        std::fs::write(dockerfile, format!("FROM {from}\nCOPY f /\n")).unwrap();
        let mut build = case.build(&context).arg("--reproducible");
        if let Some(volume) = volume {
            let dir = format!("--cache-dir={}", volume.dir().display());
            build = build.arg("--cache").arg("--no-push-cache").arg(dir);
        }
        build.run().image().digest
    };
    let expected = build(&name, None);
    let warmed = [("tag", &name), ("index", &index), ("image", &image)].map(|(dir, from)| {
        let volume = Volume::new(&case, case.path(dir));
        volume.warm(&[from]);
        assert_eq!(volume.images().len(), 1, "{from}");
        volume
    });
    drop(registry);
    for (volume, from) in [
        (0, &index),
        (0, &image),
        (1, &index),
        (1, &image),
        (2, &image),
    ] {
        let digest = build(from, Some(&warmed[volume]));
        assert_eq!(digest, expected, "volume {volume}, {from}");
    }
}

// conformance: H40
#[test]
fn a_warmed_digest_needs_no_registry() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let registry = Registry::start();
    let name = registry.base(Base::Busybox);
    let digest = Image::read(&format!("docker://{name}")).digest;
    let pinned = format!(
        "{}@{digest}",
        name.rsplit_once(':')
            .map_or("", |(repository, _)| repository)
    );
    let volume = Volume::new(&case, case.path("cache"));
    volume.warm(&[&name]);
    drop(registry);

    let build = |from: &str| {
        let lines = format!("FROM {from}\nCOPY Dockerfile /\nRUN cat /etc/motd > /seen\n");
        let context = case.context().dockerfile(lines);
        let build = case.build(&context).arg("--cache").arg("--no-push-cache");
        build
            .arg(format!("--cache-dir={}", volume.dir().display()))
            .run()
    };
    let outcome = build(&pinned);
    assert_eq!(outcome.image().tree().text("seen"), "second layer\n");
    let line = format!(
        "{pinned} ({digest}) is taken from the cache at {}",
        volume.dir().display()
    );
    assert!(
        outcome.log.contains(&line),
        "`{line}` is not in\n{}",
        outcome.log
    );
    assert!(!outcome.log.contains("no effect"), "{}", outcome.log);
    // What a tag means only its registry knows.
    build(&name).failed(1, &["Dockerfile:1", &format!("cannot pull `{name}`")]);
}

// conformance: H31, H35, H36
#[test]
fn a_warm_set_costs_one_request_per_image() {
    kiln_only!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let volume = Volume::new(&case, case.path("cache"));
    let [busybox, docker, zstd, plain, index] = [
        Base::Busybox,
        Base::Docker,
        Base::Zstd,
        Base::Plain,
        Base::Index,
    ]
    .map(|base| proxy.through(&case.base(base)));
    let one = case.context_named("one").dockerfile(format!(
        "ARG BASE=unset\nFROM $BASE AS build\nFROM scratch\nCOPY --from=build /etc/motd /a\n\
         COPY --from={docker} /etc/motd /b\n"
    ));
    let two = case.context_named("two").dockerfile(format!(
        "FROM {busybox} AS tools\nFROM tools\nRUN --mount=from={zstd},target=/mnt true\nFROM {index}\n"
    ));
    // A Dockerfile may be anywhere.
    let text = std::fs::read_to_string(two.path().join("Dockerfile")).unwrap();
    let server = HttpServer::start(move |_| Response::new(200, "text/plain", text.clone()));
    let files = [
        one.path().join("Dockerfile").display().to_string(),
        server.url("Dockerfile"),
    ];
    let warm = || {
        let mut command = case.warmer(volume.dir());
        command.args([
            "--image",
            &plain,
            "--image",
            &busybox,
            "--parallel=2",
            "--build-arg",
        ]);
        command.arg(format!("BASE={busybox}"));
        for file in &files {
            command.arg("--dockerfile").arg(file);
        }
        output(&mut command)
    };
    let first = warm();
    assert!(first.stderr.contains("fetching"), "{}", first.stderr);
    assert!(
        first.stderr.contains("all 5 images are in the cache"),
        "{}",
        first.stderr
    );
    // The index has the image that is known by name already.
    assert_eq!(volume.images().len(), 4);
    proxy.forget();
    let second = warm();
    assert!(!second.stderr.contains("fetching"), "{}", second.stderr);
    assert_eq!(proxy.seen("HEAD").len(), 5, "{:#?}", proxy.seen("HEAD"));
    let gets = proxy.seen("GET");
    assert!(gets.len() <= 1, "{gets:#?}");
    assert!(gets.iter().all(|path| path == "/v2/"), "{gets:#?}");
}

// conformance: H37
#[test]
fn platforms_of_an_image_lie_side_by_side() {
    kiln_only!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let volume = Volume::new(&case, case.path("cache"));
    let name = proxy.through(&case.base(Base::Index));
    let platforms = ["linux/arm/v7", "linux/riscv64"];
    for (flag, platform) in ["--customPlatform", "--custom-platform"]
        .into_iter()
        .zip(platforms)
    {
        let arguments = ["--image", &name, flag, platform];
        output(case.warmer(volume.dir()).args(arguments));
    }
    volume.warm(&[&name]);
    let images = volume.images();
    let listed: Vec<&str> = images
        .iter()
        .filter_map(|image| image["platform"].as_str())
        .collect();
    assert_eq!(listed.len(), 3, "{listed:?}");
    let context = case
        .context()
        .dockerfile(format!("FROM {name}\nLABEL a=b\n"));
    for platform in platforms {
        assert!(listed.contains(&platform), "{listed:?}");
        proxy.forget();
        let image = case
            .build(&context)
            .arg("--cache")
            .arg("--no-push-cache")
            .arg(format!("--cache-dir={}", volume.dir().display()))
            .arg(format!("--custom-platform={platform}"))
            .run()
            .image();
        assert_eq!(
            image.config["architecture"],
            platform.split('/').nth(1).unwrap()
        );
        assert!(proxy.blobs().is_empty(), "{:#?}", proxy.blobs());
    }
}

#[test]
fn a_volume_is_listed_and_pruned() {
    kiln_only!();
    let case = Case::new();
    let volume = Volume::new(&case, case.path("cache"));
    let (busybox, docker) = (case.base(Base::Busybox), case.base(Base::Docker));
    volume.warm(&[&busybox, &docker]);
    let images = volume.images();
    assert_eq!(images.len(), 2);
    for image in &images {
        // The two have the same layers, but each a config and a manifest of its own.
        let (size, shared) = (image["size"].as_u64(), image["sharedSize"].as_u64());
        assert!(shared > Some(0) && shared < size, "{image}");
        assert!(
            image["lastUsed"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{image}"
        );
    }
    let table = output(&mut case.warmer_does("list", volume.dir())).stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.contains(&busybox) && table.contains("just now"),
        "{table}"
    );

    let prune = |arguments: &[&str]| {
        let mut command = case.warmer_does("prune", volume.dir());
        output(command.args(arguments))
    };
    // They were stored just now.
    let kept = prune(&["--max-size=1k"]);
    assert!(
        kept.stdout.starts_with("removed 0 entries"),
        "{}",
        kept.stdout
    );
    assert!(kept.stderr.contains("--grace"), "{}", kept.stderr);
    prune(&["--max-age=0", "--grace=0", "--dry-run"]);
    assert_eq!(volume.images().len(), 2);
    let done = prune(&["--max-age=0", "--grace=0"]);
    assert!(done.stdout.contains(&docker), "{}", done.stdout);
    assert!(volume.images().is_empty());
    assert!(volume.verified_blobs().is_empty());
    // It is a volume still.
    volume.warm(&[&busybox]);
    assert_eq!(volume.images().len(), 1);
}

#[test]
fn a_build_notes_which_image_it_used() {
    kiln_only!();
    let case = Case::new();
    let volume = Volume::new(&case, case.path("cache"));
    let (used, unused) = (case.base(Base::Busybox), case.base(Base::Docker));
    volume.warm(&[&used, &unused]);
    assert!(volume.own("used").is_empty());
    let context = case
        .context()
        .dockerfile(format!("FROM {used}\nCOPY Dockerfile /seen\n"));
    case.build(&context)
        .arg("--cache")
        .arg("--no-push-cache")
        .arg(format!("--cache-dir={}", volume.dir().display()))
        .run()
        .ok();
    let digest = Image::read(&format!("docker://{used}")).digest;
    let marks = volume.own("used");
    assert_eq!(marks, [digest.trim_start_matches("sha256:")]);
}

/// An image of 2 MiB that no compression makes smaller.
/// A Job's warmer is the first process of its container, which the kernel protects from signals without a handler.
// conformance: H33
#[test]
fn a_warmer_that_is_told_to_end_does_so_at_once() {
    kiln_only!();
    needs_root!();
    let case = Case::with_registry(Registry::start());
    let base = case.base(Base::Busybox);
    let dir = case.path("out/volume");
    let volume = Volume::new(&case, dir.clone());
    let stalled = [("GET", "/manifests/"), ("GET", "/blobs/")];
    for (method, part) in stalled {
        for (first, signal) in [
            (false, Signal::SIGTERM),
            (false, Signal::SIGINT),
            (true, Signal::SIGTERM),
            (true, Signal::SIGHUP),
        ] {
            let proxy = Proxy::with_faults(case.registry().host(), &[(method, part, Fault::Stall)]);
            let warmer = case.warmer(&dir);
            let mut command = if first {
                let mut unshare = Command::new(tool("unshare"));
                unshare
                    .args(["--pid", "--fork", "--kill-child"])
                    .arg(warmer.get_program())
                    .args(warmer.get_args());
                unshare
            } else {
                warmer
            };
            let mut running = command
                .args(["--image", &proxy.through(&base)])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            proxy.wait_for(method, part);
            let pid = if first {
                only_child(running.id())
            } else {
                running.id() as i32
            };
            nix::sys::signal::kill(Pid::from_raw(pid), signal).unwrap();
            let sent = Instant::now();
            let status = running.wait().unwrap();
            let took = sent.elapsed();
            let mut log = String::new();
            running.stderr.unwrap().read_to_string(&mut log).unwrap();
            let what = format!("{part}, first {first}, {signal}: {status}, {took:?}\n{log}");
            assert_eq!(status.code(), Some(1), "{what}");
            assert!(log.contains("are not in the cache"), "{what}");
            // A stalled answer is given up after half a minute.
            assert!(took < Duration::from_secs(8), "{what}");
        }
    }
    assert!(volume.images().is_empty());
    // What it left is in nobody's way.
    volume.warm(&[&base]);
    volume.verified_blobs();
    assert_eq!(volume.images().len(), 1);
    assert!(
        volume.own("staging").is_empty(),
        "{:?}",
        volume.own("staging")
    );
}

fn only_child(pid: u32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("a process that is there");
    children.trim().parse().expect("one child")
}

fn large() -> ImageSpec {
    let tar = TarTree::new()
        .file("large", 0o644, incompressible(2 << 20, 1))
        .finish();
    let packing = Packing::Plain;
    ImageSpec::new(vec![LayerSpec { tar, packing }], json!({}))
}

// conformance: H39
#[test]
fn a_volume_that_is_read_only_serves_what_it_has() {
    kiln_only!();
    needs_root!();
    let case = Case::with_registry(Registry::start());
    let proxy = Proxy::before(case.registry().host());
    // The one folder of the case where a mount is not taken for one that the build left behind.
    let dir = &case.path("out");
    std::fs::create_dir_all(dir).unwrap();
    let disk = SmallDisk::mount(dir, "size=20m");
    let volume = Volume::new(&case, dir.clone());
    let (there, absent) = (
        proxy.through(&case.base(Base::Busybox)),
        proxy.through(&case.base(Base::Plain)),
    );
    volume.warm(&[&there]);
    disk.seal();
    for (name, is_there) in [(&there, true), (&absent, false)] {
        proxy.forget();
        let context = case
            .context()
            .dockerfile(format!("FROM {name}\nCOPY Dockerfile /seen\n"));
        let build = case
            .build(&context)
            .arg("--cache")
            .arg("--no-push-cache")
            .arg(format!("--cache-dir={}", dir.display()));
        build.run().image();
        assert_eq!(proxy.blobs().is_empty(), is_there, "{:#?}", proxy.blobs());
    }
    // It can be looked at, and a warmer says what is wrong.
    assert_eq!(volume.images().len(), 1);
    let prune = output(case.warmer_does("prune", dir).arg("--dry-run"));
    assert!(prune.stdout.starts_with("would remove 0 entries"));
    for mut command in [case.warmer_does("prune", dir), {
        let mut warm = case.warmer(dir);
        warm.args(["--image", &absent]);
        warm
    }] {
        let ran = run(&mut command);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("Read-only file system"),
            "{}",
            ran.stderr
        );
    }
}

// conformance: H33, H38
#[test]
fn a_full_volume_stops_the_warmer_and_not_the_build() {
    kiln_only!();
    needs_root!();
    let case = Case::with_registry(Registry::start());
    // The one folder of the case where a mount is not taken for one that the build left behind.
    let dir = &case.path("out");
    std::fs::create_dir_all(dir).unwrap();
    let _disk = SmallDisk::mount(dir, "size=1500k");
    let volume = Volume::new(&case, dir.clone());
    let (large_name, small) = (
        case.registry().reference("large:1"),
        case.registry().reference("small:1"),
    );
    case.registry().push(&large(), &large_name);
    let tar = TarTree::new().file("small", 0o644, "small");
    case.registry().push(&ImageSpec::of(tar), &small);
    let images = ["--image", &large_name, "--image", &small];
    let ran = run(case.warmer(dir).args(images));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("does not fit"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("1 of 2 images are not in the cache"),
        "{}",
        ran.stderr
    );
    // What fits is there, whichever comes first, and nothing is left of the rest (finding 55).
    assert_eq!(volume.images().len(), 1);
    let again = run(case.warmer(dir).args(["--image", &small]));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stderr.contains("is in the cache"), "{}", again.stderr);
    volume.verified_blobs();
    assert!(
        volume.own("staging").is_empty(),
        "{:?}",
        volume.own("staging")
    );
    let context = case
        .context()
        .dockerfile(format!("FROM {large_name}\nCOPY Dockerfile /seen\n"));
    let build = case
        .build(&context)
        .arg("--cache")
        .arg(format!("--cache-repo={}", case.destination("cache")))
        .arg(format!("--cache-dir={}", dir.display()));
    assert_eq!(build.run().image().layers.len(), 2);
}
