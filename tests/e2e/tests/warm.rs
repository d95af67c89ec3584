//! The warmer fills a volume, and the executor uses it.

use std::process::Command;

use kiln_e2e::{Base, Case, Image, Proxy, Registry, kiln_only, needs_root, output, warmer};

#[test]
fn a_warmed_image_is_not_downloaded_again() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let cache = case.path("cache");
    for base in [Base::Busybox, Base::Index, Base::Docker] {
        let name = case.base(base);
        let name = proxy.reference(name.split_once('/').unwrap().1);
        let warm = || {
            let mut command = Command::new(warmer());
            command
                .arg("--cache-dir")
                .arg(&cache)
                .arg("--image")
                .arg(&name);
            output(
                command
                    .env("TMPDIR", case.path("tmp"))
                    .env("HOME", case.path("home")),
            )
        };
        warm();
        let blobs = |proxy: &Proxy| {
            proxy
                .seen("GET")
                .into_iter()
                .filter(|path| path.contains("/blobs/"))
                .count()
        };
        assert!(blobs(&proxy) > 0);
        proxy.forget();
        warm();
        assert_eq!(blobs(&proxy), 0, "what is there is skipped");

        let context = case
            .context()
            .dockerfile(format!("FROM {name}\nRUN cat /etc/motd > /seen\n"));
        let build = case
            .build(&context)
            .arg("--cache")
            .arg("--no-push-cache")
            .arg(format!("--cache-dir={}", cache.display()));
        assert_eq!(build.run().image().tree().text("seen"), "second layer\n");
        assert_eq!(
            blobs(&proxy),
            0,
            "the executor takes the layers from the volume: {:#?}",
            proxy.seen("GET")
        );
        proxy.forget();
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
    let cache = case.path("cache");
    let mut command = Command::new(warmer());
    command
        .arg("--cache-dir")
        .arg(&cache)
        .arg("--image")
        .arg(&name);
    output(
        command
            .env("TMPDIR", case.path("tmp"))
            .env("HOME", case.path("home")),
    );
    drop(registry);

    let build = |from: &str| {
        let lines = format!("FROM {from}\nCOPY Dockerfile /\nRUN cat /etc/motd > /seen\n");
        let context = case.context().dockerfile(lines);
        let build = case.build(&context).arg("--cache").arg("--no-push-cache");
        build.arg(format!("--cache-dir={}", cache.display())).run()
    };
    let outcome = build(&pinned);
    assert_eq!(outcome.image().tree().text("seen"), "second layer\n");
    let line = format!(
        "{pinned} ({digest}) is taken from the cache at {}",
        cache.display()
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
