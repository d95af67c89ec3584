//! Using cached steps: a hit gives what a miss would have given, and costs nothing that a miss would have cost.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use kiln_e2e::{
    Base, Build, Case, Context, Image, ImageSpec, Outcome, Proxy, TarTree, Throwaway, all_in_place,
    compare_configs, compare_trees, kiln_only, needs_root,
};

/// A repository for steps that only this case uses.
fn cache(case: &Case) -> String {
    case.destination("cache")
}

fn dockerfile(case: &Case, lines: &str) -> Context {
    let lines = lines.replace("BASE", &case.base(Base::Busybox));
    case.context()
        .dockerfile(lines)
        .file("a", "one\n")
        .file("b", "two\n")
}

/// The key of the step at a position of a stage, as `executor cache explain` has it.
fn key(build: &Build<'_>, stage: &str, number: u64) -> String {
    let ran = build.explain("json");
    let steps: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let steps = steps["steps"].as_array().unwrap();
    let step = steps
        .iter()
        .find(|step| step["stage"] == stage && step["number"] == number);
    step.unwrap()["key"].as_str().unwrap().to_owned()
}

/// What a RUN made up by the clock is there again, and so is every byte of manifest and config.
// conformance: H13 H18
#[test]
fn a_second_build_gives_the_same_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let context = dockerfile(
        &case,
        "FROM BASE\nENV FIRST=1\nCOPY a /\nRUN date > /date; date +%N >> /date\nADD b /added/\nENV A=1\nWORKDIR /w\n\
         COPY <<E /here\ndoc\nE\nLABEL l=1\nCMD [\"sh\"]\n",
    );
    let build = case.build(&context).cached_in(cache(&case));
    let first = build.clone().destination(case.destination("first")).run();
    first.went("COPY miss, RUN miss, ADD miss, WORKDIR miss, COPY miss");
    let second = build.destination(case.destination("second")).run();
    second.went("COPY hit, RUN hit, ADD hit, WORKDIR hit, COPY hit");
    let (first, second) = (first.image(), second.image());
    assert_eq!(first.tree().text("date"), second.tree().text("date"));
    assert_eq!(first.config, second.config);
    assert_eq!(first.digest, second.digest);
}

/// One layer in place of several is made anew from those of the cache, and is what it was.
// conformance: H18 G41
#[test]
fn so_does_one_with_a_single_layer() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = "FROM BASE\nRUN date +%N > /d && rm -r /var/old\nCOPY a /z\nENV A=1\n";
    let build = case
        .build(&dockerfile(&case, lines))
        .cached_in(cache(&case));
    let build = build.arg("--single-snapshot");
    let first = build.run();
    first.went("RUN miss, COPY miss");
    let second = build.run();
    second.went("RUN hit, COPY hit");
    assert_eq!(first.image().digest, second.image().digest);
}

/// Both stages run the same command on the same base, and each keeps its own result; the cache has one of them.
// conformance: H18
#[test]
fn so_does_one_with_equal_steps_in_two_stages() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let run = "RUN cat /proc/sys/kernel/random/uuid > /d";
    let lines = format!("FROM BASE AS one\n{run}\nFROM BASE\n{run}\nCOPY --from=one /d /e\n");
    let build = case
        .build(&dockerfile(&case, &lines))
        .cached_in(cache(&case));
    let first = build.run().image();
    assert_eq!(build.run().image().digest, first.digest);
}

/// Everything a layer can hold that is easy to lose.
const SPECIAL: &str = "FROM BASE\n\
    RUN mkdir -m 1777 /sticky && mkdir -m 2775 /setgid && cp /usr/bin/suid /setuid && chmod 4711 /setuid && chown 5:6 /setgid\n\
    RUN mv /usr/bin/capable /capable && mkfifo /p && mknod /n c 1 3\n\
    RUN echo x > /one && ln /one /two && ln /usr/bin/suid /twin\n\
    RUN rm -r /var/old /etc/motd && rm /usr/bin/suid-twin && mkdir /var/old && touch /var/old/again\n\
    RUN rm -r /home && ln -s /tmp /home && echo t > /home/through\n\
    RUN rm /var/run && mkdir -m 700 /var/run && echo r > /var/run/pid\n\
    COPY --chown=app a /home/app/a\n\
    COPY --chmod=4755 b /var/run/b\n\
    WORKDIR /sticky/w\n\
    RUN ls / /home /var /var/run /var/old /sticky > /seen; stat -c '%n %a %u:%g %h %F' /sticky /setgid /setuid /one /two /p /n /home /var/run /home/app/a /var/run/b >> /seen; stat -c '%n %a %s' /twin >> /seen; cat /home/through /var/run/pid /home/app/a >> /seen; echo LAST\n";

/// The last RUN finds below itself what it would have found without a cache.
fn last_step(in_place: bool, image: impl Fn(&str, bool) -> Outcome) {
    // In a pod `/var/run` leads to a mount, so that it cannot be removed.
    let lines = if in_place {
        let other = SPECIAL.replacen("mkdir", "mkdir /srv && ln -s /run /srv/run && mkdir", 1);
        other.replace("/var/run", "/srv/run")
    } else {
        SPECIAL.to_owned()
    };
    image(&lines.replace("LAST", "first"), true).ok();
    let changed = lines.replace("LAST", "second");
    let cached = image(&changed, true);
    let hits = "RUN hit, ".repeat(6);
    cached.went(&format!("{hits}COPY hit, COPY hit, WORKDIR hit, RUN miss"));
    let (cached, plain) = (cached.image(), image(&changed, false).image());
    assert_eq!(cached.tree().text("seen"), plain.tree().text("seen"));
    let differences = compare_trees(&cached.tree(), &plain.tree(), |_| false);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let differences = compare_configs(&cached.config, &plain.config, &[]);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(cached.history(), plain.history());
    assert_eq!(cached.tree().owner("setuid"), "4711 0:0");
    assert_eq!(cached.tree().node("capable").xattrs.len(), 1);
}

// conformance: H18
#[test]
fn a_command_on_cached_layers_sees_what_it_would_have_seen() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    last_step(all_in_place(), |lines, cached| {
        let build = case.build(&dockerfile(&case, lines));
        if cached {
            build.cached_in(cache(&case)).run()
        } else {
            build.run()
        }
    });
}

// conformance: H18
#[test]
fn so_does_a_command_in_place() {
    kiln_only!();
    needs_root!();
    let place = Case::new();
    last_step(true, |lines, cached| {
        let case = Case::new();
        let context = dockerfile(&case, &lines.replace("BASE", &place.base(Base::Busybox)));
        let root = Throwaway::new(&case, context.path());
        let build = case
            .build(&context)
            .context("/workspace")
            .isolation(Some("in-place"));
        let build = build
            .under(root.wrapper())
            .program("/kaniko/executor")
            .arg("--force");
        let build = build.env("KANIKO_DIR", "/kaniko").env("TMPDIR", "/kaniko");
        let build = build.destination(place.destination(if cached { "cached" } else { "plain" }));
        if cached {
            build.cached_in(cache(&place)).run()
        } else {
            build.run()
        }
    });
}

// conformance: H19
#[test]
fn steps_without_a_layer_are_not_run_again() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = "FROM BASE\nRUN echo exe''cuted\nWORKDIR /tmp\nRUN date +%N > /d\n";
    let build = case
        .build(&dockerfile(&case, lines))
        .cached_in(cache(&case));
    let first = build.run();
    assert!(
        first
            .went("RUN miss, WORKDIR miss, RUN miss")
            .log
            .contains("executed")
    );
    let second = build.run();
    assert!(
        !second
            .went("RUN hit, WORKDIR hit, RUN hit")
            .log
            .contains("executed")
    );
    assert_eq!(first.image().digest, second.image().digest);
}

// conformance: H20
#[test]
fn a_lost_entry_costs_one_step() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines =
        "FROM BASE\nCOPY a /\nRUN date +%N > /one\nRUN date +%N > /two\nRUN date +%N > /three\n";
    let build = case
        .build(&dockerfile(&case, lines))
        .cached_in(cache(&case));
    build.run().went("COPY miss, RUN miss, RUN miss, RUN miss");
    case.registry()
        .remove_tag(&cache(&case), &key(&build, "stage-0", 3));
    build.run().went("COPY hit, RUN hit, RUN miss, RUN hit");
    build.run().went("COPY hit, RUN hit, RUN hit, RUN hit");
}

/// Somebody's image under the tag of a key is no entry: it is said once, and the step takes its place.
// conformance: H22
#[test]
fn what_is_no_entry_is_replaced() {
    kiln_only!();
    let case = Case::new();
    let build = case
        .build(&dockerfile(&case, "FROM scratch\nCOPY a /\n"))
        .no_push()
        .cached_in(cache(&case));
    build.run().went("COPY miss");
    let tag = format!("{}:{}", cache(&case), key(&build, "stage-0", 1));
    let tar = TarTree::new().file("a", 0o644, "foreign\n");
    case.registry().push(&ImageSpec::of(tar), &tag);
    let second = build.run();
    second.went("COPY miss");
    let warnings = second.warnings();
    assert_eq!(warnings.len(), 1, "{}", second.log);
    assert!(warnings[0].contains(&cache(&case)), "{}", warnings[0]);
    let third = build.run();
    third.went("COPY hit");
    assert!(third.warnings().is_empty(), "{}", third.log);
}

/// Everything goes through one proxy: base, steps, and the image to a repository that has nothing yet.
// conformance: H21
#[test]
fn a_fully_cached_build_moves_no_layer_and_runs_nothing() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let proxy = Proxy::before(case.registry().host());
    let name = |text: &str| proxy.reference(text.split_once('/').unwrap().1);
    let lines = "FROM BASE AS one\nRUN echo exe''cuted; date +%N > /d\nFROM BASE AS two\nCOPY --from=one /d /e\n\
                 RUN date +%N > /f\nFROM BASE\nCOPY --from=two /e /f /\nRUN date +%N > /g\n";
    let context = dockerfile(&case, &lines.replace("BASE", &name(&base)));
    let build = case.build(&context).cached_in(name(&cache(&case)));
    let first = build
        .clone()
        .destination(name(&case.destination("first")))
        .run()
        .image();
    proxy.forget();
    let second = build.destination(name(&case.destination("second"))).run();
    assert_eq!(second.steps("stage-2"), "COPY hit, RUN hit");
    for stage in ["one", "two"] {
        assert_eq!(second.steps(stage), "", "{}", second.log);
    }
    assert!(!second.log.contains("executed"), "{}", second.log);
    for layer in &first.layers {
        let moved = |path: &String| path.contains(&layer.digest);
        assert!(
            !proxy.downloads().iter().any(moved),
            "{:#?}",
            proxy.downloads()
        );
    }
    // The new config is all there is to upload: layers are mounted.
    assert!(
        proxy.uploads().len() <= 2,
        "{:#?}\n{}",
        proxy.uploads(),
        proxy.protocol()
    );
    assert_eq!(second.image().digest, first.digest);
}

// conformance: H24
#[test]
fn steps_are_stored_where_and_when_asked() {
    kiln_only!();
    let case = Case::new();
    let registry = case.registry();
    let context = dockerfile(&case, "FROM scratch\nCOPY a /\n");
    let at = |name: &str| case.destination(name);
    let inferred = format!("{}/cache", at("image"));
    let build = case.build(&context);

    build
        .clone()
        .arg("--cache")
        .arg("--no-push-cache")
        .run()
        .went("COPY miss");
    assert!(registry.tags(&inferred).is_empty());
    assert!(registry.tags(&inferred).is_empty());
    build.clone().arg("--cache").run().went("COPY miss");
    let tags = registry.tags(&inferred);
    assert!(
        tags.contains(&key(&build.clone().arg("--cache"), "stage-0", 1)),
        "{tags:?}"
    );
    build
        .clone()
        .arg("--cache")
        .arg("--no-push-cache")
        .run()
        .went("COPY hit");

    let other = at("other");
    build
        .clone()
        .no_push()
        .cached_in(&other)
        .run()
        .went("COPY miss");
    assert!(!registry.tags(&other).is_empty());
    build
        .clone()
        .no_push()
        .cached_in(&other)
        .run()
        .went("COPY hit");
    // The first spelling of the flags.
    build.clone().arg("--use-cache").run().went("COPY hit");
    build
        .clone()
        .arg(format!("--cache={other}"))
        .run()
        .went("COPY hit");
    build
        .arg(format!("--cache={}", at("third")))
        .run()
        .went("COPY miss");
    assert!(!registry.tags(&at("third")).is_empty());
}

// conformance: H22 H25
#[test]
fn an_expired_entry_is_a_miss_and_stays() {
    kiln_only!();
    let case = Case::new();
    let context = dockerfile(&case, "FROM scratch\nCOPY a /\n");
    for flags in ["", "--reproducible"] {
        let build = case
            .build(&context)
            .no_push()
            .args(flags)
            .cached_in(cache(&case));
        build.run().went("COPY miss");
        let tag = format!("{}:{}", cache(&case), key(&build, "stage-0", 1));
        let before = case.registry().raw_manifest(&tag);
        let short = build.clone().arg("--cache-ttl=1ns").arg("--no-push-cache");
        short.run().went("COPY miss");
        build.run().went("COPY hit");
        // Using an entry makes it no younger.
        assert_eq!(case.registry().raw_manifest(&tag), before);
        let again = build.clone().arg("--cache-ttl=1ns");
        again.run().went("COPY miss");
        assert_ne!(
            case.registry().raw_manifest(&tag),
            before,
            "what is made anew takes the place of what expired"
        );
    }
}

/// Whatever the steps were stored as, a layer is what its media type says (the image's digests are checked by
/// whoever reads it), and the image has the format that it has without a cache.
// conformance: H27
#[test]
fn a_cached_layer_is_labelled_as_what_it_is() {
    kiln_only!();
    let case = Case::new();
    let build = |base: Base, flags: &str| {
        let lines = format!("FROM {}\nCOPY a /\nWORKDIR /w\n", case.base(base));
        case.build(&dockerfile(&case, &lines)).args(flags)
    };
    let rows = [
        (
            Base::Docker,
            "--image-format=oci",
            "--image-format=docker",
            "hit",
        ),
        (Base::Docker, "--compression=zstd", "", "miss"),
        (Base::Busybox, "--compression=zstd", "", "hit"),
        (
            Base::Busybox,
            "--compression=zstd",
            "--image-format=docker",
            "miss",
        ),
        (
            Base::Busybox,
            "--compression=zstd",
            "--tar-path=out/image.tar",
            "miss",
        ),
        (Base::Busybox, "", "--compression=zstd", "hit"),
        (Base::Docker, "", "--compression=zstd", "hit"),
        (Base::Docker, "", "--image-format=oci", "hit"),
    ];
    for (number, (base, stored, wanted, verdict)) in rows.into_iter().enumerate() {
        let place = case.destination(&format!("cache/{number}"));
        build(base, stored).no_push().cached_in(&place).run().ok();
        let outcome = build(base, wanted).cached_in(&place).run();
        outcome.went(&format!("COPY {verdict}, WORKDIR {verdict}"));
        let image = outcome.image();
        labelled(&image);
        // Docker has no name for zstd, so a hit in a build that asks for it may stay what it is.
        if wanted != "--compression=zstd" {
            let plain = build(base, wanted).run().image();
            assert_eq!(
                image.manifest["mediaType"], plain.manifest["mediaType"],
                "row {number}"
            );
        }
    }
}

fn labelled(image: &Image) {
    let docker = |label: &str| label.contains("docker");
    let manifest = docker(image.manifest["mediaType"].as_str().unwrap_or_default());
    for layer in &image.layers {
        let label = layer.media_type.as_str();
        assert_eq!(docker(label), manifest, "{label}");
        let zstd = layer.head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let gzip = layer.head.starts_with(&[0x1f, 0x8b]);
        assert_eq!(label.contains("zstd"), zstd, "{label}");
        assert_eq!(label.contains("gzip"), gzip, "{label}");
    }
}

// conformance: H28
#[test]
fn a_failing_stage_keeps_what_others_made_and_stores_nothing_of_its_own() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = "FROM BASE AS one\nCOPY a /\nRUN date +%N > /made\nFROM BASE\nCOPY --from=one /made /\n\
                 RUN echo half > /half; exit 3\n";
    let build = case
        .build(&dockerfile(&case, lines))
        .cached_in(cache(&case));
    build.run().failed(3, &["exit 3"]);
    let second = build.run();
    second.failed(3, &["exit 3"]);
    assert_eq!(second.steps("one"), "", "{}", second.log);
    assert_eq!(
        second.steps("stage-1"),
        "COPY hit, RUN miss",
        "{}",
        second.log
    );
    let tag = key(&build, "stage-1", 2);
    assert!(!case.registry().tags(&cache(&case)).contains(&tag));
}

// conformance: H26 H28
#[test]
fn two_builders_at_once_leave_whole_entries() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = "FROM BASE\nCOPY a /\nRUN date +%N > /one\nRUN date +%N > /two\nWORKDIR /w\n";
    let context = dockerfile(&case, lines);
    for place in [
        cache(&case),
        format!("oci:{}", case.path("out/steps").display()),
    ] {
        let build = case.build(&context).cached_in(&place);
        let mut both: Vec<_> = ["left", "right"]
            .map(|name| build.clone().destination(case.destination(name)).start())
            .into();
        for running in &mut both {
            running.wait().ok();
        }
        let third = build.destination(case.destination("third")).run();
        third.went("COPY hit, RUN hit, RUN hit, WORKDIR hit");
        let tree = third.image().tree();
        assert!(tree.has("one") && tree.has("two"));
    }
}

// conformance: H30
#[test]
fn each_kind_of_step_can_be_left_out() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let lines = "FROM BASE\nCOPY a /\nRUN date +%N > /one\nWORKDIR /w\nRUN date +%N > /two\n";
    let context = dockerfile(&case, lines);
    for (flag, first, second) in [
        (
            "--cache-copy-layers=false",
            "COPY miss, RUN hit, WORKDIR miss, RUN hit",
            "COPY hit, RUN hit, WORKDIR hit, RUN hit",
        ),
        (
            "--cache-run-layers=false",
            "COPY hit, RUN miss, WORKDIR hit, RUN miss",
            "COPY hit, RUN hit, WORKDIR hit, RUN hit",
        ),
    ] {
        let build = case
            .build(&context)
            .no_push()
            .cached_in(case.destination(flag.trim_matches('-').split_once('=').unwrap().0));
        let none = "COPY miss, RUN miss, WORKDIR miss, RUN miss";
        build.clone().arg(flag).run().went(none);
        build.clone().arg(flag).run().went(first);
        // What was left out was not stored either; the keys after it are as ever.
        build.run().went(first);
        build.run().went(second);
    }
}
