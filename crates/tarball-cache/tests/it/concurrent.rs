//! Several threads and processes on one volume.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use kiln_oci::Reference;
use kiln_tarball_cache::{Begun, BlobClaim, ImageCache};
use tempfile::tempdir;

use crate::images::{Image, image, locked, platform, tree, writable};

const CHILD: &str = "KILN_TEST_CACHE_CHILD";

fn pictures() -> Vec<Image> {
    // Large enough for writers to overlap; all share one layer.
    let big = "shared".repeat(100_000);
    (0..4)
        .map(|number| image("linux/amd64", &[&big, &format!("own {number}")]))
        .collect()
}

fn store_all(cache: &ImageCache) -> usize {
    let mut stored = 0;
    for image in pictures() {
        match cache.begin(&image.digest).unwrap() {
            Begun::Present(found) => image.assert_is(&found),
            Begun::Busy => panic!("begin waits"),
            Begun::Locked(writer) => {
                image.put_layers(&writer);
                writer.commit(&image.new_image()).unwrap();
                stored += 1;
            }
        }
    }
    stored
}

fn assert_all_there(dir: &Path) {
    let cache = writable(dir);
    for image in pictures() {
        image.assert_is(
            &cache
                .lookup(&image.digest, &platform("linux/amd64"))
                .unwrap(),
        );
    }
    let files = tree(dir);
    assert!(
        !files
            .iter()
            .any(|file| file.contains("tmp") || file.contains("staging")),
        "{files:?}"
    );
}

// conformance: H32
#[test]
fn threads_store_each_image_once() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let stored = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..6 {
            // Some share the value, some open the volume on their own.
            let cache = if number % 2 == 0 {
                cache.clone()
            } else {
                writable(dir.path())
            };
            let stored = &stored;
            scope.spawn(move || stored.fetch_add(store_all(&cache), Ordering::Relaxed));
        }
    });
    assert_eq!(stored.into_inner(), pictures().len());
    assert_all_there(dir.path());
}

// conformance: H28, H31
#[test]
fn storing_again_does_not_disturb_readers() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = image("linux/amd64", &["one", "two"]);
    image.store(&cache);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..10 {
                        let writer = locked(cache.begin_again(&image.digest).unwrap());
                        image.put_layers(&writer);
                        // Entries of another length replace one another without a gap.
                        let mut new = image.new_image();
                        new.reference = Reference::parse(&format!("x:{}", "1".repeat(round))).ok();
                        writer.commit(&new).unwrap();
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            image.assert_is(
                &cache
                    .lookup(&image.digest, &platform("linux/amd64"))
                    .unwrap(),
            );
        }
    });
}

// conformance: H32
#[test]
fn a_held_lock_is_busy_and_freed_on_drop() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let (image, other) = (
        image("linux/amd64", &["one"]),
        image("linux/arm64", &["one"]),
    );
    let writer = locked(cache.begin(&image.digest).unwrap());
    // In this process by another handle, or by the same one: someone else is at it.
    for cache in [cache.clone(), writable(dir.path())] {
        assert!(matches!(
            cache.try_begin(&image.digest).unwrap(),
            Begun::Busy
        ));
        drop(locked(cache.try_begin(&other.digest).unwrap()));
        assert_eq!(cache.remove_leftovers().unwrap(), 0);
    }
    assert!(writer.staging_dir().is_dir());
    drop(writer);
    drop(locked(cache.try_begin(&image.digest).unwrap()));
}

#[test]
fn what_a_digest_stands_for_is_for_one_to_find_out() {
    let dir = tempdir().unwrap();
    let (cache, other) = (writable(dir.path()), writable(dir.path()));
    let image = image("linux/amd64", &["one"]);
    let claim = cache.claim(&image.digest).unwrap();
    assert!(claim.is_some());
    for cache in [&cache, &other] {
        assert!(cache.claim(&image.digest).unwrap().is_none());
    }
    // It is not the right to store the image.
    image.store(&other);
    drop(claim);
    assert!(other.claim(&image.digest).unwrap().is_some());
}

// conformance: H32
#[test]
fn a_layer_of_two_images_is_for_one_of_them_to_fetch() {
    let dir = tempdir().unwrap();
    let (cache, other) = (writable(dir.path()), writable(dir.path()));
    let [one, two] = ["one", "two"].map(|own| image("linux/amd64", &["shared", own]));
    let first = locked(cache.begin(&one.digest).unwrap());
    let second = locked(other.begin(&two.digest).unwrap());
    let shared = &one.descriptors[0];
    let claim = first.claim_blob(shared).unwrap();
    assert!(matches!(claim, BlobClaim::Claimed(_)));
    assert!(matches!(
        second.claim_blob(shared).unwrap(),
        BlobClaim::Busy
    ));
    assert!(matches!(
        second.claim_blob(&two.descriptors[1]).unwrap(),
        BlobClaim::Claimed(_)
    ));
    // Whoever has the right and fails gives it back.
    drop(claim);
    assert!(matches!(
        second.claim_blob(shared).unwrap(),
        BlobClaim::Claimed(_)
    ));
    second.put_blob_from(&b"shared"[..], shared).unwrap();
    assert!(matches!(
        first.claim_blob(shared).unwrap(),
        BlobClaim::Present
    ));
}

// conformance: H32
#[test]
fn a_layer_whose_image_is_not_stored_yet_is_for_one_to_fetch() {
    let dir = tempdir().unwrap();
    let (cache, other) = (writable(dir.path()), writable(dir.path()));
    let image = image("linux/amd64", &["layer"]);
    let layer = &image.descriptors[0];
    let claim = cache.claim_blob(layer).unwrap();
    assert!(matches!(claim, BlobClaim::Claimed(_)));
    assert!(matches!(other.claim_blob(layer).unwrap(), BlobClaim::Busy));
    // A warmer that needs it for an image waits for the same right.
    let writer = locked(other.begin(&image.digest).unwrap());
    assert!(matches!(writer.claim_blob(layer).unwrap(), BlobClaim::Busy));
    let fetched = dir.path().join("fetched");
    fs::write(&fetched, b"layer").unwrap();
    cache.adopt_blob(&fetched, layer).unwrap();
    drop(claim);
    for claim in [cache.claim_blob(layer), writer.claim_blob(layer)] {
        assert!(matches!(claim.unwrap(), BlobClaim::Present));
    }
    writer.commit(&image.new_image()).unwrap();
}

/// Runs this test binary again as another process.
fn spawn(role: &str, dir: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "concurrent::child", "--nocapture"])
        .env(CHILD, format!("{role}={}", dir.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test: what the other processes do.
#[test]
fn child() {
    let Ok(order) = env::var(CHILD) else { return };
    let (role, dir) = order.split_once('=').unwrap();
    let cache = writable(&PathBuf::from(dir));
    match role {
        "store" => println!("\nstored {}", store_all(&cache)),
        "hold" => {
            let image = &pictures()[0];
            let writer = locked(cache.begin(&image.digest).unwrap());
            fs::write(writer.staging_dir().join("half a download"), b"x").unwrap();
            println!("\nheld");
            std::io::stdout().flush().unwrap();
            // Until killed; or until the parent is gone, whose end of the pipe then closes.
            let _ = std::io::stdin().read(&mut [0]);
        }
        other => panic!("no such role: {other}"),
    }
}

// conformance: H32
#[test]
fn processes_store_each_image_once() {
    let dir = tempdir().unwrap();
    let children: Vec<Child> = (0..3).map(|_| spawn("store", dir.path())).collect();
    let mut stored = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix("stored "))
            .unwrap();
        stored += number.parse::<usize>().unwrap();
    }
    assert_eq!(stored, pictures().len());
    assert_all_there(dir.path());
}

// conformance: H32, H33
#[test]
fn a_killed_writer_leaves_nothing_that_matters() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let image = &pictures()[0];
    for sweep in [false, true] {
        let mut child = spawn("hold", dir.path());
        let held = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .any(|line| line.unwrap() == "held");
        assert!(held);
        assert!(matches!(
            cache.try_begin(&image.digest).unwrap(),
            Begun::Busy
        ));
        assert_eq!(cache.remove_leftovers().unwrap(), 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            tree(dir.path())
                .iter()
                .any(|file| file.ends_with("half a download"))
        );
        if sweep {
            assert_eq!(cache.remove_leftovers().unwrap(), 1);
        } else {
            drop(locked(cache.try_begin(&image.digest).unwrap()));
        }
        assert!(!tree(dir.path()).iter().any(|file| file.contains("staging")));
        assert!(
            cache
                .lookup(&image.digest, &platform("linux/amd64"))
                .unwrap_err()
                .is_absent()
        );
    }
}
