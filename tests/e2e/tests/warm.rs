//! The warmer fills a volume, and the executor uses it.

use std::process::Command;

use kiln_e2e::{Base, Case, Proxy, kiln_only, needs_root, output, warmer};

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
