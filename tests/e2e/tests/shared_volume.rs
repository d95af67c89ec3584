//! Many warmers and executors on one volume at once, some of them killed.
#![expect(
    clippy::unwrap_used,
    reason = "clippy sees the helpers of an integration test as ordinary code"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};

use kiln_e2e::{
    Case, Fault, Image, ImageSpec, LayerSpec, Leaks, Packing, Proxy, Registry, Running, TarTree,
    Volume, incompressible, kiln_only, output,
};
use nix::sys::signal::Signal;
use serde_json::json;

const MANY: usize = 10;
const IMAGES: usize = 4;

/// Images of which each shares one layer with all others and has one of its own.
fn push_images(registry: &Registry) {
    let layer = |name: &str, size, seed| LayerSpec {
        tar: TarTree::new()
            .file(name, 0o644, incompressible(size, seed))
            .finish(),
        packing: Packing::Plain,
    };
    for number in 0..IMAGES {
        let layers = vec![
            layer("shared", 1 << 20, 100),
            layer("own", 200_000, number as u64),
        ];
        let config = json!({ "Env": [format!("NUMBER={number}")] });
        registry.push(
            &ImageSpec::new(layers, config),
            &registry.reference(&name(number)),
        );
    }
}

/// The digests of all their layers.
fn layers(registry: &Registry) -> BTreeSet<String> {
    let read = |number| Image::read(&format!("docker://{}", registry.reference(&name(number))));
    let images = (0..IMAGES).map(read);
    images
        .flat_map(|image| image.layers.into_iter().map(|layer| layer.digest))
        .collect()
}

fn name(number: usize) -> String {
    format!("shared/{}:1", number % IMAGES)
}

/// The warmers, each with all images, beginning with another one.
fn warmers(volume: &Volume<'_>, case: &Case, proxy: &Proxy) -> Vec<Child> {
    let start = |first: usize| {
        let mut command = case.warmer(volume.dir());
        command.arg("--parallel=2");
        for number in first..first + IMAGES {
            command.arg("--image").arg(proxy.reference(&name(number)));
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    (0..MANY).map(start).collect()
}

/// The executors, each with one image.
fn executors(volume: &Volume<'_>, case: &Case, proxy: &Proxy, round: usize) -> Vec<Running> {
    let start = |number: usize| {
        let from = proxy.reference(&name(number));
        let context = case
            .context_named(&format!("context{number}"))
            .dockerfile(format!("FROM {from}\nCOPY Dockerfile /seen\n"));
        case.build(&context)
            .destination(case.destination(&format!("built{round}-{number}")))
            .arg("--cache")
            .arg(format!("--cache-repo={}", case.destination("cache")))
            .arg(format!("--cache-dir={}", volume.dir().display()))
            .start()
    };
    (0..MANY).map(start).collect()
}

fn succeeds(warmer: Child) {
    let done = warmer.wait_with_output().unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Every image is there and every file what its name says; the images that were built are good.
fn check(volume: &Volume<'_>, case: &Case, built: &[String]) {
    assert_eq!(volume.images().len(), IMAGES);
    assert!(volume.verified_blobs().len() > 3 * IMAGES);
    for reference in built {
        let image = Image::read(&format!("docker://{reference}"));
        assert_eq!(image.layers.len(), 3, "{reference}");
    }
    // Unfinished files of the dead go with the next prune, and nothing else does.
    let pruned = output(&mut case.warmer_does("prune", volume.dir())).stdout;
    assert!(pruned.starts_with("removed 0 entries, 0 blobs"), "{pruned}");
    assert!(
        volume.own("staging").is_empty(),
        "{:?}",
        volume.own("staging")
    );
    assert!(
        volume.own("damaged").is_empty(),
        "{:?}",
        volume.own("damaged")
    );
}

fn most_often(blobs: &[String]) -> usize {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for blob in blobs {
        *counts.entry(blob).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

// conformance: H28, H32, H33
#[test]
fn ten_warmers_and_ten_executors_fetch_each_blob_once() {
    kiln_only!();
    let case = Case::with_registry(Registry::start());
    push_images(case.registry());
    let leaks = Leaks::before(&case);
    // Late, so that all of them want the blobs while one is fetching them.
    let rules = [("GET", "/blobs/", Fault::Late)];
    let to_warm = Proxy::with_faults(case.registry().host(), &rules);
    let to_build = Proxy::before(case.registry().host());
    let volume = Volume::new(&case, case.path("cache"));
    let warmers = warmers(&volume, &case, &to_warm);
    let executors = executors(&volume, &case, &to_build, 1);
    warmers.into_iter().for_each(succeeds);
    let mut log = String::new();
    for mut executor in executors {
        log += &executor.wait().ok().log;
    }
    let blobs = to_warm.blobs();
    assert_eq!(most_often(&blobs), 1, "{blobs:#?}");
    // The executors read the layers too, to know what is in them.
    let layers = layers(case.registry());
    let mut fetched = [blobs, to_build.blobs()].concat();
    fetched.retain(|blob| layers.contains(blob));
    assert_eq!(fetched.len(), IMAGES + 1, "{fetched:#?}");
    assert_eq!(most_often(&fetched), 1, "{fetched:#?}");
    let built = [0, 5, 9].map(|number| case.destination(&format!("built1-{number}")));
    check(&volume, &case, &built);
    leaks.check_after(&log);
}

// conformance: H32
#[test]
fn executors_that_need_the_same_layers_fetch_them_once() {
    kiln_only!();
    let case = Case::with_registry(Registry::start());
    push_images(case.registry());
    let rules = [("GET", "/blobs/", Fault::Late)];
    let proxy = Proxy::with_faults(case.registry().host(), &rules);
    let volume = Volume::new(&case, case.path("cache"));
    std::fs::create_dir(volume.dir()).unwrap();
    // An archive needs the bytes of all layers.
    let start = |number: usize| {
        let from = proxy.reference(&name(0));
        let context = case
            .context_named(&format!("context{number}"))
            .dockerfile(format!("FROM {from}\nCOPY Dockerfile /seen\n"));
        case.build(&context)
            .arg("--no-push")
            .arg(format!(
                "--tar-path={}",
                case.path(&format!("{number}.tar")).display()
            ))
            .arg("--cache")
            .arg(format!("--cache-repo={}", case.destination("cache")))
            .arg(format!("--cache-dir={}", volume.dir().display()))
            .start()
    };
    let executors: Vec<Running> = (0..4).map(start).collect();
    for mut executor in executors {
        executor.wait().ok();
    }
    let layers = layers(case.registry());
    let mut fetched = proxy.blobs();
    fetched.retain(|blob| layers.contains(blob));
    assert_eq!(fetched.len(), 2, "{fetched:#?}");
    assert_eq!(volume.images().len(), 1);
}

// conformance: H32, H33
#[test]
fn what_is_killed_leaves_the_volume_whole() {
    const KILLED: usize = 3;
    kiln_only!();
    let case = Case::with_registry(Registry::start());
    push_images(case.registry());
    let rules = [("GET", "/blobs/", Fault::Late)];
    let to_warm = Proxy::with_faults(case.registry().host(), &rules);
    let to_build = Proxy::with_faults(case.registry().host(), &rules);
    let volume = Volume::new(&case, case.path("cache"));
    let mut warmers = warmers(&volume, &case, &to_warm);
    let executors = executors(&volume, &case, &to_build, 2);
    to_warm.wait_for("GET", "/blobs/");
    for executor in executors.iter().take(KILLED) {
        let mut warmer = warmers.remove(0);
        warmer.kill().unwrap();
        warmer.wait().unwrap();
        executor.signal(Signal::SIGKILL);
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    // Whoever waited for the dead goes on.
    warmers.into_iter().for_each(succeeds);
    for (number, mut executor) in executors.into_iter().enumerate() {
        let outcome = executor.wait();
        if number >= KILLED {
            outcome.ok();
        }
    }
    let blobs = to_warm.blobs();
    assert!(most_often(&blobs) <= 1 + KILLED, "{blobs:#?}");
    let built = [4, 9].map(|number| case.destination(&format!("built2-{number}")));
    check(&volume, &case, &built);
    to_warm.forget();
    let all: Vec<String> = (0..IMAGES)
        .map(|number| to_warm.reference(&name(number)))
        .collect();
    volume.warm(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(to_warm.blobs().is_empty(), "{:#?}", to_warm.blobs());
}
