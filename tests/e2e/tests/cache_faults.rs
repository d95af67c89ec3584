//! A broken cache costs time, never the build: it goes on, says one thing, and gives the image it gives without.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::net::TcpListener;

use kiln_e2e::{Base, Build, Case, Context, Fault, Outcome, Proxy, kiln_only, needs_root};

const LINES: &str =
    "FROM BASE\nCOPY a /\nRUN echo one > /one && rm /etc/motd\nCOPY b /b\nRUN cat /a /b > /LAST\n";

fn context(case: &Case, last: &str) -> Context {
    let lines = LINES
        .replace("BASE", &case.base(Base::Busybox))
        .replace("LAST", last);
    case.context()
        .dockerfile(lines)
        .file("a", "one\n")
        .file("b", "two\n")
}

/// The faults of a place; what becomes of the steps, and how many warnings there are.
struct Row {
    name: &'static str,
    rules: Vec<(&'static str, &'static str, Fault)>,
    steps: &'static str,
    warnings: usize,
}

fn row(
    name: &'static str,
    rules: &[(&'static str, &'static str, Fault)],
    steps: &'static str,
) -> Row {
    Row {
        name,
        rules: rules.to_vec(),
        steps,
        warnings: 1,
    }
}

const MISSES: &str = "COPY miss, RUN miss, COPY miss, RUN miss";

/// What is wrong with a build that should have been told of its cache and have done well without.
fn complaints(outcome: &Outcome, place: &str, row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    if outcome.code != Some(0) {
        return vec![format!("{}: {}\n{}", row.name, outcome.status, outcome.log)];
    }
    let steps = outcome.steps("stage-0");
    if steps != row.steps {
        wrong.push(format!(
            "{}: {steps}, not {}\n{}",
            row.name, row.steps, outcome.log
        ));
    }
    let warnings = outcome.warnings();
    let named = warnings.iter().all(|warning| warning.contains(place));
    let words = ["panicked", "Os {", "kiln_", "::"];
    let readable = !words.iter().any(|word| warnings.join("\n").contains(word));
    if warnings.len() != row.warnings || !named || !readable {
        wrong.push(format!("{}: {warnings:#?}\n{}", row.name, outcome.log));
    }
    wrong
}

/// Fills a cache, then builds with another last step through a proxy with each row's faults.
fn survives(filled: bool, rows: &[Row]) {
    assert!(!rows.is_empty());
    let mut wrong = Vec::new();
    for row in rows {
        let case = Case::new();
        let build = |last: &str| case.build(&context(&case, last)).arg("--reproducible");
        if filled {
            build("first")
                .no_push()
                .cached_in(case.destination("cache"))
                .run()
                .went(MISSES);
        }
        let proxy = Proxy::with_faults(case.registry().host(), &row.rules);
        let place = proxy.reference(&format!("{}/cache", case.id().to_lowercase()));
        let outcome = build("second").cached_in(&place).run();
        wrong.extend(complaints(&outcome, &place, row));
        // Nothing is to be found whose blobs are not all there.
        if !filled && !case.registry().tags(&case.destination("cache")).is_empty() {
            wrong.push(format!("{}: an entry without its layer", row.name));
        }
        let plain = build("second")
            .destination(case.destination("plain"))
            .run()
            .image();
        if outcome.code == Some(0) && outcome.image().digest != plain.digest {
            wrong.push(format!("{}: another image", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// conformance: H22 H23
#[test]
fn a_registry_that_refuses_everything() {
    kiln_only!();
    needs_root!();
    let all = |status| [("*", "/cache/", Fault::Status(status))];
    survives(
        true,
        &[
            row("401", &all(401), MISSES),
            row("403", &all(403), MISSES),
            row("404", &all(404), MISSES),
            row("429", &all(429), MISSES),
            row("500", &all(500), MISSES),
            row("html", &[("*", "/cache/", Fault::Html)], MISSES),
        ],
    );
}

// conformance: H22
#[test]
fn a_registry_that_cannot_be_reached() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = format!("{}/cache", listener.local_addr().unwrap());
    drop(listener);
    let build = |last: &str| case.build(&context(&case, last)).arg("--reproducible");
    let outcome = build("only").cached_in(&place).run();
    let wrong = complaints(&outcome, &place, &row("unreachable", &[], MISSES));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let plain = build("only")
        .destination(case.destination("plain"))
        .run()
        .image();
    assert_eq!(outcome.image().digest, plain.digest);
}

/// Half a minute of silence is not waited for.
// conformance: H22
#[test]
fn a_registry_that_says_nothing() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let rules = [("GET", "/cache/manifests/", Fault::Stall)];
    let proxy = Proxy::with_faults(case.registry().host(), &rules);
    let place = proxy.reference(&format!("{}/cache", case.id().to_lowercase()));
    let mut running = case
        .build(&context(&case, "only"))
        .cached_in(&place)
        .start();
    running.wait_for("WARN");
    let outcome = running.wait();
    let wrong = complaints(&outcome, &place, &row("stalled", &[], MISSES));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(outcome.log.contains("within 15 seconds"), "{}", outcome.log);
}

// conformance: H22
#[test]
fn manifests_that_are_none() {
    kiln_only!();
    needs_root!();
    let on = |fault| [("GET", "/cache/manifests/", fault)];
    let version = Fault::Replaced("cache.version\":\"1\"", "cache.version\":\"9\"");
    let diff_id = Fault::Replaced("cache.diff-id\":\"sha256:", "cache.diff-id\":\"sha999:");
    survives(
        true,
        &[
            row("500", &on(Fault::ServerError), MISSES),
            row("403", &on(Fault::Status(403)), MISSES),
            row("html", &on(Fault::Html), MISSES),
            row("other json", &on(Fault::OtherJson), MISSES),
            row("half", &on(Fault::Half), MISSES),
            row("cut off", &on(Fault::Truncated), MISSES),
            row("other version", &on(version), MISSES),
            row("other members", &on(diff_id), MISSES),
        ],
    );
}

// conformance: H22
#[test]
fn layers_that_are_not_what_they_should_be() {
    kiln_only!();
    needs_root!();
    let on = |fault| [("GET", "/cache/blobs/sha256", fault)];
    survives(
        true,
        &[
            row("404", &on(Fault::Status(404)), MISSES),
            row("403", &on(Fault::Status(403)), MISSES),
            row("500", &on(Fault::ServerError), MISSES),
            row("html", &on(Fault::Html), MISSES),
            row("half", &on(Fault::Half), MISSES),
            row("cut off", &on(Fault::Truncated), MISSES),
            row("wrong bytes", &on(Fault::WrongBytes), MISSES),
        ],
    );
}

/// Whatever is refused, the image itself is pushed.
// conformance: H23 H28
#[test]
fn a_cache_that_takes_nothing() {
    kiln_only!();
    needs_root!();
    let rows = [
        row(
            "POST 403",
            &[("POST", "/cache/", Fault::Status(403))],
            MISSES,
        ),
        row(
            "POST 401",
            &[("POST", "/cache/", Fault::Status(401))],
            MISSES,
        ),
        row(
            "POST 500",
            &[("POST", "/cache/", Fault::Status(500))],
            MISSES,
        ),
        row(
            "PATCH 500",
            &[
                ("PATCH", "/cache/", Fault::Status(500)),
                ("PUT", "/cache/blobs", Fault::Status(500)),
            ],
            MISSES,
        ),
        row(
            "PUT of manifests 403",
            &[("PUT", "/cache/manifests/", Fault::Status(403))],
            MISSES,
        ),
        row(
            "PUT of manifests 429",
            &[("PUT", "/cache/manifests/", Fault::Status(429))],
            MISSES,
        ),
        row("uploads html", &[("POST", "/cache/", Fault::Html)], MISSES),
    ];
    survives(false, &rows);
}

/// What happens to a file.
type Damage = fn(&std::path::Path);

/// What a registry's cleaner or a failing disk does to its storage.
// conformance: H22 H20
#[test]
fn a_blob_that_the_registry_lost() {
    kiln_only!();
    needs_root!();
    let damages: [(&str, Damage); 3] = [
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("truncated", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("flipped", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let case = Case::with_registry(kiln_e2e::Registry::start());
        let place = case.destination("cache");
        let build = |last: &str| case.build(&context(&case, last)).arg("--reproducible");
        build("first")
            .no_push()
            .cached_in(&place)
            .run()
            .went(MISSES);
        let second = layer_of(&build("first").no_push().cached_in(&place), 2);
        damage(&case.registry().blob_file(&second));
        let outcome = build("second").cached_in(&place).run();
        let row = row(name, &[], "COPY hit, RUN miss, COPY hit, RUN miss");
        let wrong = complaints(&outcome, &place, &row);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The digest of the layer that a cached step made.
fn layer_of(build: &Build<'_>, number: u64) -> String {
    let ran = build.explain("json");
    let steps: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let steps = steps["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["number"] == number).unwrap();
    let (place, key) = (
        step["cached_in"].as_str().unwrap(),
        step["key"].as_str().unwrap(),
    );
    let mut skopeo = std::process::Command::new(kiln_e2e::tool("skopeo"));
    skopeo.args(["inspect", "--raw", "--tls-verify=false"]);
    let raw = kiln_e2e::output(skopeo.arg(format!("docker://{place}:{key}"))).stdout;
    let manifest: serde_json::Value = serde_json::from_str(&raw).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}
