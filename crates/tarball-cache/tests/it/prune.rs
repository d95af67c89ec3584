//! What a prune takes and what it leaves, and what a survey says.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

use kiln_oci::{Descriptor, Digest, Layout, MediaType, REF_NAME};
use kiln_tarball_cache::{
    Access, ImageCache, NewStep, Origin, PruneLimits, PruneReason, Pruned, Survey,
};
use tempfile::{TempDir, tempdir};

use crate::images::{Image, image, locked, platform, tree, writable};

const HOUR: Duration = Duration::from_hours(1);
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Makes every file of a volume this old.
fn age(dir: &Path, by: Duration) {
    for file in tree(dir) {
        set_age(&dir.join(file), by);
    }
}

fn set_age(path: &Path, by: Duration) {
    // For its owner that is enough, and directories cannot be opened for writing.
    let file = File::open(path).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

fn entry(dir: &Path, image: &Image) -> std::path::PathBuf {
    dir.join(format!("kiln-v1/images/{}.json", image.digest.hex()))
}

fn mark(dir: &Path, cache: &ImageCache, image: &Image, by: Duration) {
    cache.mark_used(&image.digest);
    set_age(&dir.join("kiln-v1/used").join(image.digest.hex()), by);
}

fn put_step(cache: &ImageCache, image: &Image) {
    let work = tempdir().unwrap();
    let file = work.path().join("layer");
    fs::write(&file, &image.layers[0]).unwrap();
    let step = NewStep {
        manifest_bytes: &image.manifest,
        config_bytes: &image.config,
        layer: Some((&file, &image.descriptors[0])),
    };
    cache.put_step(KEY, &step).unwrap();
}

fn has(cache: &ImageCache, image: &Image) -> bool {
    match cache.lookup(&image.digest, &platform("linux/amd64")) {
        Ok(found) => {
            image.assert_is(&found);
            true
        }
        Err(miss) => {
            assert!(miss.is_absent(), "{miss}");
            false
        }
    }
}

fn older_than(hours: u64) -> PruneLimits {
    PruneLimits {
        max_age: Some(HOUR * hours as u32),
        ..PruneLimits::default()
    }
}

fn larger_than(bytes: u64) -> PruneLimits {
    PruneLimits {
        max_size: Some(bytes),
        ..PruneLimits::default()
    }
}

fn names(pruned: &Pruned) -> Vec<(String, PruneReason)> {
    let entries = pruned.entries.iter();
    entries
        .map(|entry| (entry.name.clone(), entry.reason))
        .collect()
}

fn image_name(image: &Image) -> String {
    format!("image {}", image.digest)
}

/// Three images that share a layer of 1000 bytes, stored and last used 10, 20 and 30 hours ago.
fn three() -> (TempDir, ImageCache, [Image; 3]) {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let shared = "s".repeat(1000);
    let images = ["one", "two", "three"].map(|own| {
        let image = image("linux/amd64", &[&shared, &own.repeat(100)]);
        image.store(&cache);
        image
    });
    age(dir.path(), 40 * HOUR);
    for (image, hours) in images.iter().zip([10, 20, 30]) {
        set_age(&entry(dir.path(), image), HOUR * hours);
    }
    (dir, cache, images)
}

#[test]
fn the_age_is_that_of_the_last_use_or_else_of_the_entry() {
    let (dir, cache, [one, two, three]) = three();
    mark(dir.path(), &cache, &three, 5 * HOUR);
    let pruned = cache.prune(&older_than(15)).unwrap();
    assert_eq!(names(&pruned), [(image_name(&two), PruneReason::Age)]);
    assert!(has(&cache, &one) && !has(&cache, &two) && has(&cache, &three));
    // Its own layer, config and manifest; the shared layer stays.
    assert_eq!(pruned.blobs, 3);
    // Others see it no longer either.
    let listed = Layout::open(dir.path()).unwrap().index().unwrap();
    assert_eq!(listed.manifests().len(), 2);
    // There is nothing left to do.
    let again = cache.prune(&older_than(15)).unwrap();
    assert_eq!((names(&again), again.blobs), (Vec::new(), 0));
}

#[test]
fn what_was_used_longest_ago_goes_until_the_rest_fits() {
    let (dir, cache, [one, two, three]) = three();
    let size = cache.prune(&PruneLimits::default()).unwrap().kept;
    let disk: u64 = fs::read_dir(dir.path().join("blobs/sha256"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(size, disk);
    let rows = [
        (size, vec![], true),
        (size - 1, vec![&three], true),
        (2500, vec![&two], true),
        // Not even the last one fits; the shared layer goes with it.
        (10, vec![&one], false),
    ];
    for (limit, gone, fits) in rows {
        // What is said and what is done agree.
        let limits = larger_than(limit);
        let dry = PruneLimits {
            dry_run: true,
            ..limits.clone()
        };
        let planned = cache.prune(&dry).unwrap();
        let pruned = cache.prune(&limits).unwrap();
        let expected: Vec<_> = gone
            .iter()
            .map(|image| (image_name(image), PruneReason::Size))
            .collect();
        assert_eq!(names(&pruned), expected, "{limit}");
        assert_eq!(names(&planned), expected, "{limit}");
        assert_eq!((planned.blobs, planned.freed), (pruned.blobs, pruned.freed));
        assert_eq!(planned.kept, pruned.kept);
        assert!(pruned.kept <= limit);
        assert_eq!(pruned.kept > 0, fits);
    }
    assert_eq!(
        fs::read_dir(dir.path().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_dry_run_changes_nothing_and_needs_no_writing() {
    let (dir, cache, _) = three();
    fs::write(dir.path().join("kiln-v1/damaged/x"), b"").unwrap();
    age(dir.path(), 40 * HOUR);
    let before = tree(dir.path());
    let limits = PruneLimits {
        dry_run: true,
        ..larger_than(0)
    };
    let read_only = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
    for cache in [&cache, &read_only] {
        let pruned = cache.prune(&limits).unwrap();
        assert_eq!((pruned.entries.len(), pruned.blobs), (3, 10));
        assert_eq!(pruned.leftovers, 1);
    }
    assert_eq!(tree(dir.path()), before);
    assert!(read_only.prune(&PruneLimits::default()).is_err());
}

#[test]
fn what_is_young_stays_whatever_the_limits_say() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let (old, used, young) = (
        image("linux/amd64", &["old"]),
        image("linux/amd64", &["used"]),
        image("linux/amd64", &["young"]),
    );
    old.store(&cache);
    used.store(&cache);
    fs::write(
        dir.path()
            .join("blobs/sha256")
            .join(Digest::of(b"stray").hex()),
        b"stray",
    )
    .unwrap();
    age(dir.path(), 2 * HOUR);
    cache.mark_used(&used.digest);
    young.store(&cache);
    let stray = dir
        .path()
        .join("blobs/sha256")
        .join(Digest::of(b"new").hex());
    fs::write(&stray, b"new").unwrap();

    let limits = PruneLimits {
        max_age: Some(Duration::ZERO),
        ..larger_than(0)
    };
    let pruned = cache.prune(&limits).unwrap();
    assert_eq!(names(&pruned).len(), 1);
    assert!(!has(&cache, &old) && has(&cache, &used) && has(&cache, &young));
    assert!(stray.exists());
    assert_eq!(pruned.blobs, 4, "those of `old` and the old stray");

    let limits = PruneLimits {
        grace: Duration::ZERO,
        ..limits
    };
    let pruned = cache.prune(&limits).unwrap();
    assert_eq!(names(&pruned).len(), 2);
    assert!(!stray.exists());
}

// conformance: H32
#[test]
fn an_entry_whose_lock_is_held_stays_and_so_do_blobs_of_an_unfinished_one() {
    let (dir, cache, [one, two, three]) = three();
    let other = writable(dir.path());
    let _held = locked(other.begin_again(&one.digest).unwrap());
    // A download that takes hours: its first layer is old by now.
    let new = image("linux/amd64", &["first", "second"]);
    let slow = locked(other.begin(&new.digest).unwrap());
    slow.put_blob_from(&new.layers[0][..], &new.descriptors[0])
        .unwrap();
    let first = dir
        .path()
        .join("blobs/sha256")
        .join(new.descriptors[0].digest().hex());
    set_age(&first, 2 * HOUR);
    set_age(&slow.staging_dir().join("began"), 3 * HOUR);

    cache.prune(&larger_than(0)).unwrap();
    assert!(has(&cache, &one) && !has(&cache, &two) && !has(&cache, &three));
    assert!(first.exists());
    new.put_layers(&slow);
    new.assert_is(&slow.commit(&new.new_image()).unwrap());
}

#[test]
fn a_blob_that_a_writer_counts_on_stays() {
    let (dir, cache, images) = three();
    let new = image("linux/amd64", &[&"s".repeat(1000), "new"]);
    let writer = locked(cache.begin(&new.digest).unwrap());
    assert!(!writer.needs_blob(&new.descriptors[0]));
    set_age(&writer.staging_dir().join("began"), Duration::ZERO);
    cache.prune(&larger_than(0)).unwrap();
    assert!(images.iter().all(|image| !has(&cache, image)));
    new.put_layers(&writer);
    new.assert_is(&writer.commit(&new.new_image()).unwrap());
    drop(dir);
}

#[test]
fn steps_and_notes_go_by_use_too_and_hold_their_blobs() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let (step, base) = (
        image("linux/amd64", &["layer"]),
        image("linux/amd64", &["layer", "more"]),
    );
    put_step(&cache, &step);
    base.store(&cache);
    cache.write_note("files", &[0; 500]).unwrap();
    age(dir.path(), 20 * HOUR);
    cache.mark_step_used(KEY);
    set_age(
        &dir.path().join("kiln-v1/used").join(format!("step-{KEY}")),
        5 * HOUR,
    );
    let pruned = cache.prune(&older_than(10)).unwrap();
    let gone = [
        (image_name(&base), PruneReason::Age),
        ("note files".to_owned(), PruneReason::Age),
    ];
    assert_eq!(names(&pruned), gone);
    assert_eq!(pruned.blobs, 3, "`more`, manifest and config");
    assert!(cache.step(KEY).is_ok());
    assert_eq!(cache.read_note("files"), None);
    let pruned = cache.prune(&larger_than(0)).unwrap();
    assert_eq!(names(&pruned), [(format!("step {KEY}"), PruneReason::Size)]);
    assert_eq!((pruned.blobs, pruned.kept), (3, 0));
}

#[test]
fn what_others_list_in_the_layout_stays_with_all_it_needs() {
    let (dir, cache, [one, ..]) = three();
    let layout = Layout::open(dir.path()).unwrap();
    // A tag in the volume, as a layer cache in a folder makes it, for an image of ours and for one of theirs.
    let theirs = image("linux/arm64", &["theirs"]);
    for (bytes, blob) in theirs.layers.iter().zip(&theirs.descriptors) {
        layout.write_blob(&bytes[..], blob).unwrap();
    }
    layout
        .write_bytes(MediaType::OciConfig, &theirs.config)
        .unwrap();
    for (name, image) in [("ours", &one), ("theirs", &theirs)] {
        let listed = layout
            .write_bytes(MediaType::OciManifest, &image.manifest)
            .unwrap()
            .with_annotation(REF_NAME, name);
        layout.add_manifest(&listed).unwrap();
    }
    age(dir.path(), 40 * HOUR);
    let pruned = cache.prune(&larger_than(0)).unwrap();
    assert_eq!(pruned.entries.len(), 3);
    let left = layout.index().unwrap();
    let left = left.manifests();
    assert_eq!(left.len(), 2);
    for image in [&one, &theirs] {
        for blob in &image.descriptors {
            assert!(layout.has_blob(&blob.digest()));
        }
        assert!(layout.has_blob(&image.digest));
        assert!(layout.has_blob(&Digest::of(&image.config)));
    }
}

#[test]
fn useless_files_go_when_they_are_old() {
    let (dir, cache, [one, two, ..]) = three();
    let (wanted, index) = (platform("linux/amd64"), Digest::of(b"index"));
    cache.add_alias(&index, &wanted, &two.digest).unwrap();
    cache
        .add_alias(&Digest::of(b"other"), &wanted, &one.digest)
        .unwrap();
    for file in [
        "kiln-v1/damaged/x",
        "kiln-v1/staging/.kiln-tmp-x",
        ".kiln-tmp-y",
        &format!("kiln-v1/used/{}", Digest::of(b"gone").hex()),
        &format!("kiln-v1/used/step-{KEY}"),
        // Not ours.
        "README",
        ".hidden",
    ] {
        fs::write(dir.path().join(file), b"").unwrap();
    }
    let young = PruneLimits::default();
    assert_eq!(cache.prune(&young).unwrap().leftovers, 0);
    age(dir.path(), 2 * HOUR);
    set_age(&entry(dir.path(), &one), HOUR / 2);
    let pruned = cache.prune(&larger_than(0)).unwrap();
    assert_eq!(pruned.leftovers, 6);
    let left: Vec<String> = tree(dir.path())
        .into_iter()
        .filter(|file| !file.starts_with("blobs/"))
        .collect();
    let expected = [
        ".hidden".to_owned(),
        "README".to_owned(),
        "index.json".to_owned(),
        format!("kiln-v1/images/{}.json", one.digest.hex()),
        format!(
            "kiln-v1/indexes/{}/linux-amd64.json",
            Digest::of(b"other").hex()
        ),
        "oci-layout".to_owned(),
    ];
    assert_eq!(left, expected);
    assert!(has(&cache, &one));
    assert!(
        !dir.path()
            .join("kiln-v1/indexes")
            .join(index.hex())
            .exists()
    );
}

#[test]
fn broken_entries_go_when_they_are_old() {
    let (dir, cache, [one, two, three]) = three();
    fs::remove_file(
        dir.path()
            .join("blobs/sha256")
            .join(two.descriptors[1].digest().hex()),
    )
    .unwrap();
    fs::remove_file(entry(dir.path(), &three)).unwrap();
    fs::create_dir(entry(dir.path(), &three)).unwrap();
    let survey = cache.survey().unwrap();
    assert_eq!(survey.images.len(), 3);
    let broken = survey.images.iter().filter(|image| image.problem.is_some());
    assert_eq!(broken.count(), 2);
    let pruned = cache.prune(&PruneLimits::default()).unwrap();
    // The directory was made just now.
    assert_eq!(names(&pruned), [(image_name(&two), PruneReason::Broken)]);
    let all = PruneLimits {
        grace: Duration::ZERO,
        ..PruneLimits::default()
    };
    let pruned = cache.prune(&all).unwrap();
    assert_eq!(names(&pruned), [(image_name(&three), PruneReason::Broken)]);
    assert!(has(&cache, &one));
}

#[test]
fn kanikos_entries_are_listed_and_left_alone() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let theirs = image("linux/amd64", &["theirs"]);
    let layout = Layout::create(&dir.path().join(theirs.digest.to_string())).unwrap();
    layout
        .write_bytes(MediaType::OciConfig, &theirs.config)
        .unwrap();
    layout
        .write_bytes(MediaType::OciLayer, &theirs.layers[0])
        .unwrap();
    let listed = layout
        .write_bytes(MediaType::OciManifest, &theirs.manifest)
        .unwrap();
    layout.add_manifest(&listed).unwrap();
    age(dir.path(), 40 * HOUR);
    set_age(layout.dir(), 40 * HOUR);
    cache.mark_used(&theirs.digest);
    let mark = dir.path().join("kiln-v1/used").join(theirs.digest.hex());
    set_age(&mark, 30 * HOUR);
    let survey = cache.survey().unwrap();
    assert_eq!(survey.images.len(), 1);
    assert_eq!(survey.images[0].origin, Some(Origin::KanikoLayout));
    assert!(survey.images[0].last_used > survey.images[0].stored_at);
    assert_eq!(survey.size, 0);
    let pruned = cache.prune(&larger_than(0)).unwrap();
    assert_eq!((pruned.entries.len(), pruned.leftovers), (0, 0));
    assert!(has(&cache, &theirs));
}

#[test]
fn a_survey_tells_what_is_shared() {
    let (dir, cache, [one, two, three]) = three();
    mark(dir.path(), &cache, &three, HOUR);
    put_step(&cache, &image("linux/amd64", &["alone"]));
    let Survey {
        images,
        steps,
        size,
    } = cache.survey().unwrap();
    let order: Vec<Digest> = images.iter().map(|image| image.digest).collect();
    assert_eq!(order, [three.digest, one.digest, two.digest]);
    for (found, image) in images.iter().zip([&three, &one, &two]) {
        let own: usize = image.layers.iter().map(Vec::len).sum();
        let all = own + image.config.len() + image.manifest.len();
        assert_eq!((found.size, found.shared), (all as u64, 1000));
        assert_eq!(found.platform, Some(platform("linux/amd64")));
        assert_eq!(found.origin, Some(Origin::Volume));
    }
    assert_eq!(steps, 1);
    let files: u64 = fs::read_dir(dir.path().join("blobs/sha256"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(size, files);
    let empty = ImageCache::open(&dir.path().join("none"), Access::ReadOnly).unwrap();
    assert!(empty.survey().unwrap().images.is_empty());
}

#[test]
fn pruning_does_not_disturb_those_who_store_and_read() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let images: Vec<Image> = (0..4)
        .map(|number| image("linux/amd64", &["shared", &format!("own {number}")]))
        .collect();
    let pruner = writable(dir.path());
    // Times go back only between two prunes: in the middle of one, that is something that no writer does.
    let between = Mutex::new(());
    thread::scope(|scope| {
        let writers: Vec<_> = images
            .iter()
            .map(|image| {
                let (cache, between) = (cache.clone(), &between);
                scope.spawn(move || {
                    for _ in 0..20 {
                        // Old, so that it goes the next moment, and its blobs with it.
                        let no_prune = between.lock().unwrap();
                        age_entry(&cache, image);
                        drop(no_prune);
                        if let kiln_tarball_cache::Begun::Locked(writer) =
                            cache.begin(&image.digest).unwrap()
                        {
                            image.put_layers(&writer);
                            writer.commit(&image.new_image()).unwrap();
                        }
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            let prune = between.lock().unwrap();
            pruner.prune(&larger_than(0)).unwrap();
            drop(prune);
            thread::yield_now();
        }
    });
    for image in &images {
        match cache.lookup(&image.digest, &platform("linux/amd64")) {
            Ok(found) => image.assert_is(&found),
            Err(miss) => assert!(miss.is_absent(), "{miss}"),
        }
    }
}

/// As if the image was stored long ago, with the blobs that are its own. What it shares with others keeps its age: those
/// others may just be storing it, and what was stored a moment ago is never two hours old but for a test's hand.
fn age_entry(cache: &ImageCache, image: &Image) {
    let blobs = image
        .descriptors
        .iter()
        .skip(1)
        .map(|blob: &Descriptor| blob.digest());
    let paths = blobs
        .map(|digest| cache.dir().join("blobs/sha256").join(digest.hex()))
        .chain([entry(cache.dir(), image)]);
    for path in paths {
        if let Ok(file) = File::options().write(true).open(path) {
            let _ = file.set_modified(SystemTime::now() - 2 * HOUR);
        }
    }
}
