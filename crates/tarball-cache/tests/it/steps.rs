//! Results of build steps, notes, and marks of use.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use kiln_oci::{Descriptor, Digest};
use kiln_tarball_cache::{Access, CacheError, CachedStep, ImageCache, Miss, NewStep};
use tempfile::{TempDir, tempdir};

use crate::images::{Image, image, tree, writable};

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A step with its layer in a file, as a build has it.
struct Step {
    image: Image,
    work: TempDir,
}

fn step(layers: &[&str]) -> Step {
    let step = Step {
        image: image("linux/amd64", layers),
        work: tempdir().unwrap(),
    };
    if let Some(bytes) = step.image.layers.first() {
        fs::write(step.layer_file(), bytes).unwrap();
    }
    step
}

impl Step {
    fn layer_file(&self) -> PathBuf {
        self.work.path().join("layer")
    }

    fn layer(&self) -> &Descriptor {
        &self.image.descriptors[0]
    }

    fn put(&self, cache: &ImageCache, key: &str) -> Result<(), CacheError> {
        let file = self.layer_file();
        let layer = self.image.descriptors.first();
        cache.put_step(key, &self.new_step(layer.map(|layer| (&*file, layer))))
    }

    fn new_step<'a>(&'a self, layer: Option<(&'a Path, &'a Descriptor)>) -> NewStep<'a> {
        NewStep {
            manifest_bytes: &self.image.manifest,
            config_bytes: &self.image.config,
            layer,
        }
    }

    fn assert_is(&self, cached: &CachedStep) {
        assert_eq!(cached.manifest_digest, self.image.digest);
        assert_eq!(cached.manifest_bytes, self.image.manifest);
        assert_eq!(cached.read_config().unwrap(), self.image.config);
        let layer = cached.layer_path().map(|path| fs::read(path).unwrap());
        assert_eq!(layer.as_ref(), self.image.layers.first());
    }
}

fn blob(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs/sha256").join(digest.hex())
}

fn entry(dir: &Path) -> PathBuf {
    dir.join(format!("kiln-v1/steps/{KEY}.json"))
}

// conformance: H18, H19
#[test]
fn a_step_comes_back_unchanged() {
    for layers in [&["one"][..], &[]] {
        let dir = tempdir().unwrap();
        let cache = writable(dir.path());
        let step = step(layers);
        assert!(cache.step(KEY).unwrap_err().is_absent());
        step.put(&cache, KEY).unwrap();
        step.assert_is(&cache.step(KEY).unwrap());
        let read_only = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
        step.assert_is(&read_only.step(KEY).unwrap());
        // It is no image, and nothing unfinished stays behind.
        assert!(cache.list().unwrap().is_empty());
        assert!(
            !tree(dir.path())
                .iter()
                .any(|file| file.contains("kiln-tmp"))
        );
        insta::allow_duplicates! {
            let text = fs::read_to_string(entry(dir.path())).unwrap();
            let text = text.replace(&step.image.digest.to_string(), "<digest>");
            let size = step.image.manifest.len().to_string();
            insta::assert_snapshot!(
                text.replace(&size, "<size>"),
                @r#"{"version":1,"manifest":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"<digest>","size":<size>}}"#
            );
        }
    }
}

#[test]
fn the_layer_of_an_image_or_another_step_is_stored_once() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let step = step(&["one"]);
    image("linux/amd64", &["one", "two"]).store(&cache);
    let before = fs::read_dir(dir.path().join("blobs/sha256"))
        .unwrap()
        .count();
    // The blob is there, so no file is needed.
    cache.put_step(KEY, &step.new_step(None)).unwrap();
    step.assert_is(&cache.step(KEY).unwrap());
    let after = fs::read_dir(dir.path().join("blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(after, before + 2, "manifest and config");
}

// conformance: H22, H25
#[test]
fn a_newer_result_replaces_an_older_one() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    for layers in [&["one"][..], &["two"], &[]] {
        let step = step(layers);
        step.put(&cache, KEY).unwrap();
        step.assert_is(&cache.step(KEY).unwrap());
    }
}

// conformance: H22, H28
#[test]
fn broken_steps_are_a_miss_and_replaced() {
    type Place = fn(&Path, &Step) -> PathBuf;
    type Break = fn(&Path);
    let places: [Place; 4] = [
        |dir, _| entry(dir),
        |dir, step| blob(dir, &step.image.digest),
        |dir, step| blob(dir, &Digest::of(&step.image.config)),
        |dir, step| blob(dir, &step.layer().digest()),
    ];
    let damages: [Break; 4] = [
        |path| fs::write(path, b"").unwrap(),
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        |path| fs::remove_file(path).unwrap(),
    ];
    for place in places {
        for damage in damages {
            let dir = tempdir().unwrap();
            let cache = writable(dir.path());
            let step = step(&["one and more"]);
            step.put(&cache, KEY).unwrap();
            let path = place(dir.path(), &step);
            damage(&path);
            let miss = cache.step(KEY).unwrap_err();
            let is_absent = path == entry(dir.path()) && !path.exists();
            assert_eq!(miss.is_absent(), is_absent, "{}: {miss}", path.display());
            // The first file may be the damaged one, under its second name.
            fs::remove_file(step.layer_file()).unwrap();
            fs::write(step.layer_file(), &step.image.layers[0]).unwrap();
            step.put(&cache, KEY).unwrap();
            step.assert_is(&cache.step(KEY).unwrap());
        }
    }
}

#[test]
fn a_config_of_the_right_length_is_verified_when_it_is_read() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let step = step(&["one"]);
    step.put(&cache, KEY).unwrap();
    let path = blob(dir.path(), &Digest::of(&step.image.config));
    fs::write(&path, vec![b' '; step.image.config.len()]).unwrap();
    let found = cache.step(KEY).unwrap();
    assert!(matches!(found.read_config(), Err(Miss::Content { .. })));
    step.put(&cache, KEY).unwrap();
    step.assert_is(&cache.step(KEY).unwrap());
}

#[test]
fn only_what_belongs_together_is_stored() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let (one, other) = (step(&["one"]), step(&["other"]));
    let file = one.layer_file();
    let wrong_config = NewStep {
        config_bytes: b"{}",
        ..one.new_step(Some((&file, one.layer())))
    };
    let image = image("linux/amd64", &["one", "two"]);
    let whole_image = NewStep {
        manifest_bytes: &image.manifest,
        config_bytes: &image.config,
        layer: None,
    };
    let longer = Descriptor::new(one.layer().media_type(), one.layer().digest(), 4);
    let rows: [(&NewStep<'_>, &str); 6] = [
        (&wrong_config, "config `sha256:44136fa"),
        (
            &one.new_step(Some((&file, other.layer()))),
            "which does not name it",
        ),
        (
            &one.new_step(Some((&file, &longer))),
            "which does not name it",
        ),
        (&one.new_step(None), "is not complete"),
        (&whole_image, "has 2 layers"),
        (
            &other.new_step(Some((&file, other.layer()))),
            "was not put into the image cache",
        ),
    ];
    for (step, message) in rows {
        let error = cache.put_step(KEY, step).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert!(cache.step(KEY).unwrap_err().is_absent());
    }
}

#[test]
fn keys_and_names_cannot_leave_their_directory() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let step = step(&[]);
    let upper = KEY.to_uppercase();
    let long = "a".repeat(101);
    for key in ["", "..", "../../index", &KEY[1..], &upper] {
        assert!(cache.step(key).unwrap_err().is_absent());
        let error = step.put(&cache, key).unwrap_err();
        assert!(matches!(error, CacheError::Name { .. }), "{error}");
        cache.mark_step_used(key);
    }
    for name in ["", "..", "a/b", "A", "a.b", "a\0", &long] {
        assert_eq!(cache.read_note(name), None);
        let error = cache.write_note(name, b"").unwrap_err();
        assert!(matches!(error, CacheError::Name { .. }), "{error}");
    }
    let files = tree(dir.path());
    assert_eq!(files, ["index.json", "oci-layout"]);
}

// conformance: H28
#[test]
fn writers_of_one_key_all_succeed() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let steps: Vec<Step> = ["one", "two", "three"].map(|layer| step(&[layer])).into();
    thread::scope(|scope| {
        let writers: Vec<_> = steps
            .iter()
            .map(|step| {
                // Each as a process would, with the volume opened on its own.
                let cache = writable(dir.path());
                scope.spawn(move || {
                    for _ in 0..20 {
                        step.put(&cache, KEY).unwrap();
                    }
                })
            })
            .collect();
        while writers.iter().any(|writer| !writer.is_finished()) {
            match cache.step(KEY) {
                Ok(found) => {
                    let step = steps
                        .iter()
                        .find(|step| step.image.digest == found.manifest_digest);
                    step.unwrap().assert_is(&found);
                }
                Err(miss) => assert!(miss.is_absent(), "{miss}"),
            }
        }
    });
}

#[test]
fn notes_are_replaced_and_may_be_lost() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    assert_eq!(cache.read_note("digests-1"), None);
    for text in ["long and old", "new", ""] {
        cache.write_note("digests-1", text.as_bytes()).unwrap();
        assert_eq!(cache.read_note("digests-1").unwrap(), text.as_bytes());
    }
    let path = dir.path().join("kiln-v1/notes/digests-1");
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len((64 << 20) + 1)
        .unwrap();
    assert_eq!(cache.read_note("digests-1"), None);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(cache.read_note("digests-1"), None);
    cache.write_note("digests-1", b"again").unwrap();
    assert_eq!(cache.read_note("digests-1").unwrap(), b"again");
}

// conformance: H39
#[test]
fn a_volume_for_reading_is_left_alone() {
    let dir = tempdir().unwrap();
    let cache = ImageCache::open(dir.path(), Access::ReadOnly).unwrap();
    let step = step(&["one"]);
    let error = step.put(&cache, KEY).unwrap_err();
    assert!(matches!(error, CacheError::ReadOnly { .. }), "{error}");
    let error = cache.write_note("a", b"").unwrap_err();
    assert!(matches!(error, CacheError::ReadOnly { .. }), "{error}");
    cache.mark_used(&step.image.digest);
    cache.mark_step_used(KEY);
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn a_use_gives_the_mark_the_time_of_now() {
    let dir = tempdir().unwrap();
    let cache = writable(dir.path());
    let digest = Digest::of(b"image");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let marks = [digest.hex(), format!("step-{KEY}")].map(|name| {
        let path = dir.path().join("kiln-v1/used").join(name);
        fs::write(&path, b"").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(long_ago).unwrap();
        path
    });
    cache.mark_used(&digest);
    cache.mark_step_used(KEY);
    for mark in marks {
        assert!(fs::metadata(mark).unwrap().modified().unwrap() > long_ago);
    }
    cache.mark_used(&Digest::of(b"another"));
    assert_eq!(
        fs::read_dir(dir.path().join("kiln-v1/used"))
            .unwrap()
            .count(),
        3
    );
}
