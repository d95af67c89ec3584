//! The local volume when its files are not what they were: the build goes on, says one thing, and heals the volume.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use kiln_e2e::{Base, Build, Case, Image, Registry, kiln_only, needs_root};
use serde_json::Value;

const LINES: &str = "FROM BASE\nCOPY a /\nRUN head -c 100000 /bin/busybox > /one && rm /etc/motd\nRUN cat /a > /LAST\n";

fn build<'a>(case: &'a Case, last: &str) -> Build<'a> {
    let lines = LINES
        .replace("BASE", &case.base(Base::Busybox))
        .replace("LAST", last);
    let context = case.context().dockerfile(lines).file("a", "one\n");
    case.build(&context).arg("--reproducible")
}

fn on_volume<'a>(case: &'a Case, last: &str) -> Build<'a> {
    let volume = case.path("volume");
    fs::create_dir_all(&volume).unwrap();
    let dir = format!("--cache-dir={}", volume.display());
    build(case, last)
        .no_push()
        .arg("--cache")
        .arg(dir)
        .arg("--tar-path=out/image.tar")
}

/// Opening a pipe waits for its other end; nobody does for what stands in the place of a file.
// conformance: H23
#[test]
fn pipes_in_the_place_of_files_are_no_files() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    on_volume(&case, "first")
        .run()
        .went("COPY miss, RUN miss, RUN miss");
    let volume = case.path("volume");
    for folder in ["kiln-v1/steps", "kiln-v1/used", "blobs/sha256"] {
        let entries = fs::read_dir(volume.join(folder)).unwrap().flatten();
        for path in entries
            .map(|entry| entry.path())
            .filter(|path| path.is_file())
        {
            fs::remove_file(&path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.unwrap().success());
        }
        on_volume(&case, "first").run().ok();
        on_volume(&case, "first").explain("json");
        fs::remove_dir_all(&volume).unwrap();
        on_volume(&case, "first").run().ok();
    }
}

/// The files of the step that is number 2: its entry, manifest and layer.
struct Files {
    entry: PathBuf,
    manifest: PathBuf,
    layer: PathBuf,
}

impl Files {
    fn of(case: &Case) -> Self {
        let ran = on_volume(case, "first").explain("json");
        let steps: Value = serde_json::from_str(&ran.stdout).unwrap();
        let key = steps["steps"][1]["key"].as_str().unwrap().to_owned();
        let volume = case.path("volume");
        let json =
            |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let blob = |digest: &Value| {
            volume
                .join("blobs")
                .join(digest.as_str().unwrap().replace(':', "/"))
        };
        let entry = volume.join(format!("kiln-v1/steps/{key}.json"));
        let manifest = blob(&json(&entry)["manifest"]["digest"]);
        let layer = blob(&json(&manifest)["layers"][0]["digest"]);
        Self {
            entry,
            manifest,
            layer,
        }
    }
}

fn cut(path: &Path, length: usize) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes[..length]).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A file that nobody can read, not even root.
fn block(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

/// What happens to one of the files.
type Damage = fn(&Files);

/// Each damage costs its step and one warning; the build after it finds everything well again.
fn heals(rows: &[(&str, Damage)], warnings: usize) {
    assert!(!rows.is_empty());
    let mut wrong = Vec::new();
    for (name, damage) in rows {
        let case = Case::new();
        on_volume(&case, "first")
            .run()
            .went("COPY miss, RUN miss, RUN miss");
        damage(&Files::of(&case));
        let outcome = on_volume(&case, "second").run();
        let said = outcome.warnings();
        let place = case.path("volume").display().to_string();
        if outcome.code != Some(0)
            || outcome.steps("stage-0") != "COPY hit, RUN miss, RUN miss"
            || said.len() != warnings
            || !said.iter().all(|warning| warning.contains(&place))
        {
            wrong.push(format!("{name}: {said:#?}\n{}", outcome.log));
            continue;
        }
        let plain = build(&case, "second").run().image();
        let tar = format!("docker-archive:{}", case.path("out/image.tar").display());
        let image = Image::read(&tar);
        let ids = |image: &Image| image.config["rootfs"]["diff_ids"].clone();
        assert_eq!(ids(&image), ids(&plain), "{name}");
        assert_eq!(image.config, plain.config, "{name}");
        let third = on_volume(&case, "third").run();
        if third.steps("stage-0") != "COPY hit, RUN hit, RUN miss" || !third.warnings().is_empty() {
            wrong.push(format!("{name}: not healed\n{}", third.log));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// conformance: H22 H33
#[test]
fn a_layer_that_is_not_what_it_was() {
    kiln_only!();
    needs_root!();
    heals(
        &[
            ("empty", |files| cut(&files.layer, 0)),
            ("one byte", |files| cut(&files.layer, 1)),
            ("half", |files| {
                cut(&files.layer, fs::read(&files.layer).unwrap().len() / 2);
            }),
            ("all but one byte", |files| {
                cut(&files.layer, fs::read(&files.layer).unwrap().len() - 1);
            }),
            ("flipped", |files| flip(&files.layer)),
            ("gone", |files| fs::remove_file(&files.layer).unwrap()),
            ("unreadable", |files| block(&files.layer)),
        ],
        1,
    );
}

// conformance: H22 H33
#[test]
fn a_manifest_that_is_not_what_it_was() {
    kiln_only!();
    needs_root!();
    heals(
        &[
            ("half", |files| cut(&files.manifest, 300)),
            ("flipped", |files| flip(&files.manifest)),
            ("gone", |files| fs::remove_file(&files.manifest).unwrap()),
            ("unreadable", |files| block(&files.manifest)),
        ],
        1,
    );
}

// conformance: H22 H33
#[test]
fn an_entry_that_is_not_what_it_was() {
    kiln_only!();
    needs_root!();
    heals(
        &[
            ("empty", |files| cut(&files.entry, 0)),
            ("half", |files| cut(&files.entry, 20)),
            ("garbage", |files| fs::write(&files.entry, "{]").unwrap()),
            ("binary", |files| {
                fs::write(&files.entry, [0xff; 100]).unwrap();
            }),
            ("another version", |files| {
                let text = fs::read_to_string(&files.entry).unwrap();
                fs::write(&files.entry, text.replace("\"version\":1", "\"version\":9")).unwrap();
            }),
            ("unreadable", |files| block(&files.entry)),
        ],
        1,
    );
    heals(
        &[("gone", |files| fs::remove_file(&files.entry).unwrap())],
        0,
    );
}

// conformance: H23
#[test]
fn a_volume_that_is_full() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let volume = case.path("volume");
    fs::create_dir_all(&volume).unwrap();
    let script = "mount -t tmpfs -o size=60k tmpfs \"$0\" && exec \"$@\"";
    let words = [
        "unshare",
        "--mount",
        "--propagation=private",
        "/bin/sh",
        "-c",
        script,
    ];
    let words = words
        .map(str::to_owned)
        .into_iter()
        .chain([volume.display().to_string()]);
    let outcome = build(&case, "only")
        .arg("--cache")
        .arg(format!("--cache-repo={}", case.destination("cache")))
        .arg(format!("--cache-dir={}", volume.display()))
        .under(words)
        .run();
    outcome.went("COPY miss, RUN miss, RUN miss");
    let warnings = outcome.warnings();
    assert_eq!(warnings.len(), 1, "{}", outcome.log);
    for word in [
        &volume.display().to_string(),
        "No space left",
        "--no-push-cache",
    ] {
        assert!(warnings[0].contains(word), "{}", warnings[0]);
    }
    let plain = build(&case, "only")
        .destination(case.destination("plain"))
        .run()
        .image();
    assert_eq!(outcome.image().digest, plain.digest);
    // The other place has everything.
    let again = build(&case, "only").cached_in(case.destination("cache"));
    again.run().went("COPY hit, RUN hit, RUN hit");
}

/// However many layers of a place are broken, it is said once, and the image is right.
// conformance: H22
#[test]
fn a_repository_of_broken_layers() {
    kiln_only!();
    let case = Case::with_registry(Registry::start());
    let cache = case.destination("cache");
    let first = build(&case, "first").cached_in(&cache).run().image();
    let base = Image::read(&format!("docker://{}", case.base(Base::Busybox)));
    for layer in first.above(&base) {
        flip(&case.registry().blob_file(&layer.digest));
    }
    let outcome = build(&case, "second")
        .destination(case.registry().reference("second"))
        .cached_in(&cache)
        .run();
    outcome.went("COPY miss, RUN miss, RUN miss");
    let warnings = outcome.warnings();
    assert_eq!(warnings.len(), 1, "{}", outcome.log);
    assert!(warnings[0].contains(&cache), "{}", warnings[0]);
    // A registry does not take a blob again that it believes to have, so that the manifest has to do.
    let plain = build(&case, "second")
        .destination(Registry::shared().reference("plain/broken:1"))
        .run()
        .image();
    let pushed = case.registry().raw_manifest("second").unwrap();
    let pushed: Value = serde_json::from_str(&pushed).unwrap();
    assert_eq!(pushed, plain.manifest);
}
