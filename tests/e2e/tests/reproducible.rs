//! Same input, same digest.

use kiln_e2e::{Base, Case, Image, Throwaway, kiln_only, needs_root};

const LINES: &str = "COPY --chown=app tree /tree\nADD archive /archive\nWORKDIR /made/here\n\
    RUN echo run > /ran && mkdir -p /d/e && ln /ran /d/twin && rm /etc/motd && touch /d/$(date +%s) && rm /d/1*\n\
    ENV A=1\nRUN dd if=/dev/zero of=/big bs=1M count=5 2>/dev/null\n";

fn context(case: &Case) -> kiln_e2e::Context {
    let archive = kiln_e2e::TarTree::new()
        .dir("a/", 0o755)
        .file("a/f", 0o644, "f")
        .finish();
    let mut context = case
        .context()
        .dockerfile(format!("FROM {}\n{LINES}", case.base(Base::Busybox)))
        .file("archive", archive);
    for at in 0..50 {
        context = context.file(&format!("tree/{at}/file"), format!("{at}").repeat(1000));
    }
    context
}

// conformance: G42 G44
#[test]
fn the_same_digest_twice_in_both_isolations() {
    kiln_only!();
    needs_root!();
    let mut digests = Vec::new();
    for round in 0..2 {
        let case = Case::new();
        let context = context(&case);
        // Two builds far enough apart that every clock in them differs.
        std::thread::sleep(std::time::Duration::from_millis(1100 * round));
        let image = case.build(&context).arg("--reproducible").run().image();
        digests.push(image.digest.clone());
        let root = Throwaway::new(&case, context.path());
        let build = case
            .build(&context)
            .context("/workspace")
            .isolation(Some("in-place"))
            .arg("--reproducible");
        let build = build
            .under(root.wrapper())
            .program("/kaniko/executor")
            .arg("--force");
        let build = build
            .env("KANIKO_DIR", "/kaniko")
            .env("TMPDIR", "/kaniko")
            .destination(case.destination("in-place"));
        let other = build.run().image();
        let differences = kiln_e2e::compare_trees(&image.tree(), &other.tree(), |_| false);
        assert!(differences.is_empty(), "{}", differences.join("\n"));
        for (a, b) in image.layers.iter().zip(&other.layers) {
            assert_eq!(a.entries, b.entries, "layer entries, times included");
        }
        digests.push(other.digest);
    }
    assert!(
        digests.iter().all(|digest| *digest == digests[0]),
        "{digests:#?}"
    );
}

// conformance: G42
#[test]
fn no_times_in_own_layers_and_base_layers_pass_through() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = Image::read(&format!("docker://{}", case.base(Base::Busybox)));
    let image = case
        .build(&context(&case))
        .arg("--reproducible")
        .run()
        .image();
    for layer in image.above(&base) {
        for (name, node) in &layer.entries {
            assert_eq!(node.mtime, 0, "{name}");
        }
    }
    let history = image.config["history"].as_array().unwrap();
    let own = history.iter().skip(base.layers.len());
    for entry in own.chain([&image.config]) {
        let created = entry["created"].as_str().unwrap_or("1970-01-01T00:00:00Z");
        assert_eq!(created, "1970-01-01T00:00:00Z", "{entry}");
    }
}

// conformance: G43
#[test]
fn source_date_epoch_sets_the_time_of_the_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nCOPY Dockerfile /\nWORKDIR /made/here\nRUN env > /before\nARG SOURCE_DATE_EPOCH\n\
         RUN env > /after\nENV A=1\n"
    ));
    // Times of files stay, unless times are to be left out: then the latest is this one.
    for (flags, of_file) in [("", 1_600_000_000), ("--reproducible", 1_500_000_000)] {
        let image = case
            .build(&context)
            .args(flags)
            .env("SOURCE_DATE_EPOCH", "1500000000")
            .run()
            .image();
        assert_eq!(image.config["created"], "2017-07-14T02:40:00Z");
        let history = image.config["history"].as_array().unwrap();
        for entry in &history[..2] {
            assert_eq!(
                entry["created"], "2020-01-01T00:00:00Z",
                "the base's history stays"
            );
        }
        for entry in &history[2..] {
            assert_eq!(entry["created"], "2017-07-14T02:40:00Z", "{entry}");
        }
        let tree = image.tree();
        assert_eq!(tree.node("Dockerfile").mtime, of_file, "{flags}");
        for path in ["made", "made/here"] {
            assert_eq!(tree.node(path).mtime, 1_500_000_000, "{flags}: {path}");
        }
        let seen = |path: &str| tree.text(path).contains("SOURCE_DATE_EPOCH=1500000000\n");
        assert_eq!([seen("before"), seen("after")], [false, true], "{flags}");
    }
    case.build(&context)
        .env("SOURCE_DATE_EPOCH", "soon")
        .run()
        .failed(1, &["SOURCE_DATE_EPOCH", "soon"]);
}

// conformance: G44 G45
#[test]
fn the_digest_does_not_depend_on_the_number_of_cores() {
    kiln_only!();
    let case = Case::new();
    let context =
        context(&case).dockerfile(format!("FROM {}\nCOPY . /all\n", case.base(Base::Busybox)));
    let one = case
        .build(&context)
        .arg("--reproducible")
        .under(["taskset", "-c", "0"])
        .run()
        .image();
    let all = case
        .build(&context)
        .arg("--reproducible")
        .destination(case.destination("all"))
        .run()
        .image();
    assert_eq!(one.digest, all.digest);
    // Nor on whether the steps come from a cache.
    let cached = case
        .build(&context)
        .arg("--reproducible")
        .cached_in(case.destination("cache"));
    for steps in ["COPY miss", "COPY hit"] {
        let outcome = cached.run();
        outcome.went(steps);
        assert_eq!(outcome.image().digest, one.digest, "{steps}");
    }
}

// finding 39
// conformance: G43
#[test]
fn source_date_epoch_in_the_file_counts() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let then = "2017-07-14T02:40:00Z";
    let file = |first: &str, rest: &str| {
        let context = case
            .context()
            .file("f", "f")
            .file(".dockerignore", "Dockerfile\n");
        context.dockerfile(format!(
            "{first}\nFROM {base}\n{rest}\nLABEL epoch=$SOURCE_DATE_EPOCH\n"
        ))
    };
    let created = |image: &Image| image.config["created"].as_str().unwrap().to_owned();
    let declared = "ARG SOURCE_DATE_EPOCH";

    let context = file("ARG SOURCE_DATE_EPOCH=1500000000", declared);
    let image = case.build(&context).run().image();
    assert_eq!(
        (created(&image).as_str(), image.label("epoch")),
        (then, Some("1500000000"))
    );
    // The caller wins, with nothing too.
    let image = case
        .build(&context)
        .build_arg("SOURCE_DATE_EPOCH=1600000000")
        .run()
        .image();
    assert_eq!(created(&image), "2020-09-13T12:26:40Z");
    let image = case
        .build(&context)
        .build_arg("SOURCE_DATE_EPOCH=")
        .run()
        .image();
    assert_ne!(created(&image), then);
    // It may be made of others, and need not be declared in a stage.
    let context = file("ARG T=15\nARG SOURCE_DATE_EPOCH=${T}00000000", "");
    let image = case.build(&context).run().image();
    assert_eq!(
        (created(&image).as_str(), image.label("epoch")),
        (then, Some(""))
    );
    let context = file("ARG SOURCE_DATE_EPOCH=soon", "");
    case.build(&context)
        .run()
        .failed(1, &["Dockerfile:1", "invalid SOURCE_DATE_EPOCH: `soon`"]);
    // Only what stands before the first FROM.
    let image = case
        .build(&file("", "ARG SOURCE_DATE_EPOCH=1500000000"))
        .run()
        .image();
    assert_ne!(created(&image), then);

    // The context's files are from 1600000000; the Dockerfile, which is ignored, is newer, and so is the folder.
    let context = file("ARG SOURCE_DATE_EPOCH=context", declared);
    let newer = std::fs::File::options()
        .write(true)
        .open(case.path("context/Dockerfile"))
        .unwrap();
    newer.set_modified(std::time::SystemTime::now()).unwrap();
    let image = case.build(&context).run().image();
    let epoch = image.label("epoch");
    assert_eq!(
        (created(&image).as_str(), epoch),
        ("2020-09-13T12:26:40Z", Some("1600000000"))
    );
    let image = case
        .build(&file("", declared))
        .env("SOURCE_DATE_EPOCH", "context")
        .run()
        .image();
    assert_eq!(image.label("epoch"), Some("1600000000"));
}
