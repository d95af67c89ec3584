//! Where steps are kept: several repositories, folders, the local volume; and what a far registry costs.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use kiln_e2e::{Base, Build, Case, Context, Proxy, Tree, kiln_only, needs_root};

fn dockerfile(case: &Case, lines: &str) -> Context {
    let lines = lines.replace("BASE", &case.base(Base::Busybox));
    case.context()
        .dockerfile(lines)
        .file("a", "one\n")
        .file("b", "two\n")
}

/// The repository part of a reference through a proxy.
fn through(proxy: &Proxy, reference: &str) -> String {
    proxy.reference(reference.split_once('/').unwrap().1)
}

// conformance: H24
#[test]
fn all_repositories_are_read_and_written() {
    kiln_only!();
    let case = Case::new();
    let [one, two, three] = ["one", "two", "three"].map(|name| case.destination(name));
    let context = dockerfile(&case, "FROM scratch\nCOPY a /\nCOPY b /\n");
    let build = case.build(&context).no_push();
    build
        .clone()
        .cached_in(&one)
        .cached_in(&two)
        .run()
        .went("COPY miss, COPY miss");
    for place in [&one, &two] {
        build
            .clone()
            .cached_in(place)
            .run()
            .went("COPY hit, COPY hit");
    }
    // The second place helps out.
    let tag = case
        .registry()
        .tags(&one)
        .into_iter()
        .find(|tag| tag.len() == 64)
        .unwrap();
    case.registry().remove_tag(&one, &tag);
    build
        .clone()
        .cached_in(&one)
        .cached_in(&two)
        .run()
        .went("COPY hit, COPY hit");
    // What is only read stays as it is.
    let before = case.registry().tags(&two);
    let context = dockerfile(&case, "FROM scratch\nCOPY a /\nCOPY b /other\n");
    let build = case.build(&context).no_push().cached_in(&three);
    let from = build.clone().arg(format!("--cache-from={two}"));
    from.run().went("COPY hit, COPY miss");
    assert_eq!(case.registry().tags(&two), before);
    from.run().went("COPY hit, COPY hit");
    build.run().went("COPY miss, COPY hit");
}

// conformance: H26
#[test]
fn a_folder_is_a_place_that_others_can_read() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let dir = case.path("out/deep/steps");
    let place = format!("oci:{}", dir.display());
    let lines = "FROM BASE\nCOPY a /\nRUN date +%N > /d\nRUN true\n";
    let build = case.build(&dockerfile(&case, lines)).cached_in(&place);
    build.run().went("COPY miss, RUN miss, RUN miss");
    assert!(dir.join("oci-layout").is_file());
    let first = build.run();
    first.went("COPY hit, RUN hit, RUN hit");
    // Read only, also by its permissions.
    let before = Tree::of_dir(&dir).unwrap();
    let from = case
        .build(&dockerfile(&case, lines))
        .arg("--cache")
        .arg("--no-push-cache");
    let second = from.arg(format!("--cache-from={place}")).run();
    second.went("COPY hit, RUN hit, RUN hit");
    let used = |path: &str| path.starts_with("kiln-v1/used");
    let differences = kiln_e2e::compare_trees(&before, &Tree::of_dir(&dir).unwrap(), used);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(first.image().digest, second.image().digest);
}

/// A build with steps in a repository behind a proxy and on a volume.
fn on_volume<'a>(case: &'a Case, context: &Context, repository: &str, volume: &Path) -> Build<'a> {
    fs::create_dir_all(volume).unwrap();
    let dir = format!("--cache-dir={}", volume.display());
    case.build(context).cached_in(repository).arg(dir)
}

const LINES: &str = "FROM BASE\nCOPY a /\nRUN date +%N > /one\nRUN date +%N > /two\n";

/// The volume alone is asked for what it has.
#[test]
fn steps_on_the_volume_need_no_registry() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let repository = through(&proxy, &case.destination("cache"));
    let build = on_volume(
        &case,
        &dockerfile(&case, LINES),
        &repository,
        &case.path("volume"),
    );
    let first = build.run();
    first.went("COPY miss, RUN miss, RUN miss");
    proxy.forget();
    let second = build.run();
    second.went("COPY hit, RUN hit, RUN hit");
    assert_eq!(first.image().digest, second.image().digest);
    let steps: Vec<String> = proxy
        .seen("GET")
        .into_iter()
        .filter(|path| path.contains("/manifests/"))
        .collect();
    assert!(steps.is_empty(), "{steps:#?}");
    assert!(proxy.downloads().is_empty(), "{:#?}", proxy.downloads());
}

/// What a build had to fetch is there for the next one; what it did not need is not fetched for it.
#[test]
fn the_volume_is_filled_from_afar() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let proxy = Proxy::before(case.registry().host());
    let repository = through(&proxy, &case.destination("cache"));
    let [full, empty] = ["full", "empty"].map(|name| case.path(name));
    on_volume(&case, &dockerfile(&case, LINES), &repository, &full)
        .run()
        .ok();

    proxy.forget();
    let build = on_volume(&case, &dockerfile(&case, LINES), &repository, &empty);
    build.run().went("COPY hit, RUN hit, RUN hit");
    assert!(proxy.downloads().is_empty(), "{:#?}", proxy.downloads());

    let context = dockerfile(&case, &format!("{LINES}RUN date +%N > /three\n"));
    let build = on_volume(&case, &context, &repository, &empty);
    build.run().went("COPY hit, RUN hit, RUN hit, RUN miss");
    assert!(!proxy.downloads().is_empty());
    proxy.forget();
    let context = dockerfile(&case, &format!("{LINES}RUN date +%N > /four\n"));
    let build = on_volume(&case, &context, &repository, &empty);
    let outcome = build.run();
    outcome.went("COPY hit, RUN hit, RUN hit, RUN miss");
    let place = format!("cached in {}", empty.display());
    assert_eq!(outcome.log.matches(&place).count(), 3, "{}", outcome.log);
    let plain = case.build(&context).run().image();
    let own = |path: &str| ["one", "two", "four"].contains(&path);
    let differences = kiln_e2e::compare_trees(&outcome.image().tree(), &plain.tree(), own);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// As a volume that many builders mount read-only: hits count, nothing is written, nobody is warned.
// conformance: H39
#[test]
fn a_volume_that_is_read_only_serves_steps() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let volume = case.path("volume");
    let context = dockerfile(&case, LINES);
    let build = on_volume(&case, &context, &case.destination("cache"), &volume);
    build.run().ok();
    // Root may write wherever permissions say no, so the filesystem has to.
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation=private",
        "/bin/sh",
        "-c",
    ];
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"";
    let words: Vec<String> = wrapper
        .iter()
        .map(|word| (*word).to_owned())
        .chain([script.to_owned(), volume.display().to_string()])
        .collect();
    let before = Tree::of_dir(&volume).unwrap();
    let context = dockerfile(&case, &format!("{LINES}RUN date +%N > /three\n"));
    let other = case.destination("other");
    let build = on_volume(&case, &context, &other, &volume).under(words);
    let outcome = build.run();
    outcome.went("COPY hit, RUN hit, RUN hit, RUN miss");
    assert!(outcome.warnings().is_empty(), "{:#?}", outcome.warnings());
    build.run().went("COPY hit, RUN hit, RUN hit, RUN hit");
    assert_eq!(Tree::of_dir(&volume).unwrap(), before);
}

/// A registry 50 ms away: sequential round trips of a fully cached build, whatever the number of its steps.
fn round_trips(steps: usize) -> (usize, String) {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    // Long enough for a loaded machine to send what goes out side by side before the first answer comes back.
    let proxy = Proxy::distant(case.registry().host(), Duration::from_millis(400));
    let lines: Vec<String> = (0..steps)
        .map(|step| format!("RUN echo {step} > /step-{step}"))
        .collect();
    let lines = lines.join("\n");
    let build = |way: &dyn Fn(&str) -> String| {
        let context = case
            .context()
            .dockerfile(format!("FROM {}\n{lines}", way(&base)));
        let build = case
            .build(&context)
            .cached_in(way(&case.destination("cache")));
        build.destination(way(&case.destination("image"))).run()
    };
    // The names through the proxy lead to the same repositories, and keys hold no names.
    build(&str::to_owned).ok();
    build(&|reference| through(&proxy, reference)).went(&vec!["RUN hit"; steps].join(", "));
    let chain = proxy.longest_chain();
    (chain.len(), format!("{chain:#?}\n{}", proxy.protocol()))
}

#[test]
fn a_far_registry_costs_ten_round_trips_for_thirty_steps() {
    kiln_only!();
    needs_root!();
    let (trips, protocol) = round_trips(30);
    assert!(trips <= 10, "{trips} sequential round trips\n{protocol}");
}

#[test]
fn and_no_more_for_sixty() {
    kiln_only!();
    needs_root!();
    let (trips, protocol) = round_trips(60);
    assert!(trips <= 10, "{trips} sequential round trips\n{protocol}");
}
