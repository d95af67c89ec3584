//! Peak memory of the whole process tree, with files that are much larger.

use std::process::Command;

use kiln_e2e::{
    Base, Case, ImageSpec, LayerSpec, Packing, PeakMemory, Registry, TarTree, Volume,
    incompressible, kiln_only, needs_root, output, roomy_tempdir, skipped, tool,
};

const MB: u64 = 1_000_000;

// conformance: G23 G42; the first budget.
#[test]
fn a_run_that_writes_two_gigabytes_and_pushes_them() {
    kiln_only!();
    needs_root!();
    // The file in the upper directory, the layer, and the registry's copy.
    let Some(place) = roomy_tempdir(8_000 * MB) else {
        skipped("needs 8 GB in /dev/shm or TMPDIR");
        return;
    };
    let case = Case::below_with_registry(place.path(), Registry::start_in(place.path()));
    let base = case.base(Base::Busybox);
    let dockerfile =
        format!("FROM {base}\nRUN dd if=/dev/urandom of=/big bs=1M count=2048 2>/dev/null\n");
    let context = case.context().dockerfile(dockerfile);
    let mut running = case.build(&context).arg("--reproducible").start();
    let memory = PeakMemory::watch(running.pid());
    let outcome = running.wait();
    let (peak, line) = memory.finish();
    outcome.ok();
    println!("{line}");
    let manifest = case
        .registry()
        .raw_manifest(&case.destination("image"))
        .unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    assert!(manifest["layers"][2]["size"].as_u64().unwrap() > 2_000 * MB);
    assert!(peak < 100 * MB, "{line}");
}

// conformance: G23; the second budget.
#[test]
fn a_copy_of_fifty_thousand_files() {
    kiln_only!();
    let Some(place) = roomy_tempdir(1_000 * MB) else {
        skipped("needs 1 GB in /dev/shm or TMPDIR");
        return;
    };
    let case = Case::below_with_registry(place.path(), Registry::start_in(place.path()));
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY files /files\n"));
    let files = case.path("context/files");
    for directory in 0..500 {
        let at = files.join(format!("directory-number-{directory}"));
        std::fs::create_dir_all(&at).unwrap();
        for file in 0..100 {
            std::fs::write(
                at.join(format!("file-number-{file}")),
                format!("{directory} {file}\n").repeat(20),
            )
            .unwrap();
        }
    }
    let mut running = case.build(&context).start();
    let memory = PeakMemory::watch(running.pid());
    let outcome = running.wait();
    let (peak, line) = memory.finish();
    println!("{line}");
    let image = outcome.image();
    assert_eq!(image.layers[2].entries.len(), 50_000 + 500 + 1);
    assert!(peak < 200 * MB, "{line}");
}

// conformance: G23; a blob is read twice at most and kept never.
#[test]
fn a_push_of_large_layers() {
    kiln_only!();
    let Some(place) = roomy_tempdir(1_500 * MB) else {
        skipped("needs 1.5 GB in /dev/shm or TMPDIR");
        return;
    };
    let case = Case::below_with_registry(place.path(), Registry::start_in(place.path()));
    let layout = case.path("out/layout");
    let layer = LayerSpec {
        tar: TarTree::new()
            .file("noise", 0o644, incompressible(150 * MB as usize, 1))
            .finish(),
        packing: Packing::Plain,
    };
    ImageSpec::new(vec![layer], serde_json::json!({})).write_layout(&layout, "x");
    let saved = case.path("out/saved.tar");
    let mut copy = Command::new(tool("skopeo"));
    copy.args(["--insecure-policy", "copy", "--quiet"])
        .arg(format!("oci:{}:x", layout.display()))
        .arg(format!("docker-archive:{}:x:1", saved.display()));
    output(&mut copy);
    for (path, name) in [(layout, "layout"), (saved, "archive")] {
        let mut running = case.push(&path).destination(case.destination(name)).start();
        let memory = PeakMemory::watch(running.pid());
        let outcome = running.wait();
        let (peak, line) = memory.finish();
        outcome.ok();
        println!("{name}: {line}");
        let manifest = case
            .registry()
            .raw_manifest(&case.destination(name))
            .unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        assert!(manifest["layers"][0]["size"].as_u64().unwrap() > 140 * MB);
        assert!(peak < 100 * MB, "{name}: {line}");
    }
}

// conformance: H41
#[test]
fn a_warmer_that_fetches_large_layers() {
    let Some(place) = roomy_tempdir(2_000 * MB) else {
        skipped("needs 2 GB in /dev/shm or TMPDIR");
        return;
    };
    let case = Case::below_with_registry(place.path(), Registry::start_in(place.path()));
    let layer = |name: &str, seed| LayerSpec {
        tar: TarTree::new()
            .file(name, 0o644, incompressible(150 * MB as usize, seed))
            .finish(),
        packing: Packing::Plain,
    };
    let layout = case.path("out/layout");
    let image = case.destination("image");
    ImageSpec::new(
        vec![layer("one", 1), layer("two", 2)],
        serde_json::json!({}),
    )
    .write_layout(&layout, "x");
    case.push(&layout).destination(image.clone()).run().ok();
    let volume = case.path("out/volume");
    let mut warmer = case.warmer(&volume);
    let mut warmer = warmer.arg("--image").arg(&image).spawn().unwrap();
    let memory = PeakMemory::watch(warmer.id());
    assert!(warmer.wait().unwrap().success());
    let (peak, line) = memory.finish();
    println!("{line}");
    assert_eq!(Volume::new(&case, volume).images().len(), 1);
    assert!(peak < 100 * MB, "{line}");
}
