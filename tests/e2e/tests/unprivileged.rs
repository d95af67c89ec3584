//! Building with nothing: uid 1000, no capability, no new privileges.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kiln_e2e::{
    Base, Case, LayerSpec, Outcome, Packing, TarTree, User, kiln_only, skipped, userns_works,
};

fn build_powerless(case: &Case, dockerfile: &str, isolation: Option<&'static str>) -> Outcome {
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file_with_mode("app/run", 0o755, "#!/bin/sh\n")
        .file("app/data", "data")
        .symlink("app/link", "data");
    let (words, program) = User::Powerless.enter(case);
    case.build(&context)
        .isolation(isolation)
        .under(words)
        .program(program)
        .run()
}

// conformance: design "the image is computed"; E22 E27 F7
#[test]
fn a_build_without_run_needs_no_privilege() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nCOPY app /app\nCOPY --chown=www-data:www-data app/data /srv/data\nCOPY --from={base} /usr/bin/suid /suid\n\
         ENV A=1\nUSER app\nWORKDIR /home/app/work\nCMD [\"/app/run\"]\n"
    );
    // `auto` is safe here: uid 1000 without capabilities cannot overwrite this machine's root.
    let image = build_powerless(&case, &dockerfile, Some("auto")).image();
    let tree = image.tree();
    let table = [
        ("app/run", "0755 0:0"),
        ("app/data", "0644 0:0"),
        ("srv/data", "0644 33:33"),
        ("suid", "4755 0:0"),
        ("home/app/work", "0755 1000:1000"),
        ("etc/motd", "0644 0:0"),
    ];
    for (path, owner) in table {
        assert_eq!(tree.owner(path), owner, "{path}");
    }
    assert_eq!(image.setting("User"), "app");
}

#[test]
fn it_writes_archives_and_layouts_too() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY Dockerfile /copied\n"));
    let (words, program) = User::Powerless.enter(&case);
    let build = case
        .build(&context)
        .no_push()
        .isolation(Some("auto"))
        .under(words)
        .program(program);
    let (tar, layout) = (case.path("out/image.tar"), case.path("out/layout"));
    build
        .arg("--tar-path")
        .arg(&tar)
        .arg("--image-format=docker")
        .run()
        .ok();
    let image = kiln_e2e::Image::read(&format!("docker-archive:{}", tar.display()));
    assert!(image.tree().has("copied"));
    build_layout(&case, &layout);
}

fn build_layout(case: &Case, layout: &std::path::Path) {
    let context = kiln_e2e::Context::new(&case.path("context"));
    let (words, program) = User::Powerless.enter(case);
    let build = case
        .build(&context)
        .no_push()
        .isolation(Some("auto"))
        .under(words)
        .program(program);
    build.arg("--oci-layout-path").arg(layout).run().ok();
    assert!(
        kiln_e2e::Image::read(&format!("oci:{}", layout.display()))
            .tree()
            .has("copied")
    );
}

/// A RUN cannot work here, and the message says so before anything is done.
#[test]
fn a_run_without_any_privilege_says_why_it_cannot() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    // uid 1000 can make namespaces on many machines; without PATH to `unshare` there is no way to forbid it here, so
    // this asks for what certainly cannot work.
    let outcome = build_powerless(&case, &format!("FROM {base}\nRUN true\n"), Some("in-place"));
    outcome.failed(1, &["in place", "not running as root"]);
    assert!(
        case.registry()
            .raw_manifest(&case.destination("image"))
            .is_none()
    );
}

// conformance: J14
#[test]
fn an_unreadable_file_matters_only_when_it_is_used() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nCOPY open /\n"))
        .file("open", "")
        .file("closed", "content");
    let (words, program) = User::Powerless.enter(&case);
    if kiln_e2e::is_root() {
        std::os::unix::fs::chown(case.path("context/closed"), Some(0), Some(0)).unwrap();
    }
    fs::set_permissions(case.path("context/closed"), fs::Permissions::from_mode(0o0)).unwrap();
    let build = case
        .build(&context)
        .isolation(Some("auto"))
        .under(words)
        .program(program);
    build.run().ok();
    let context = context.dockerfile(format!("FROM {base}\nCOPY . /\n"));
    let _ = &context;
    build.run().failed(1, &["closed"]);
}

/// What this user cannot make is missing where the command looks, is said, and is in the image all the same.
// conformance: G40
#[test]
fn devices_of_a_base_stay_in_the_image() {
    kiln_only!();
    if !userns_works() {
        skipped("needs user namespaces");
        return;
    }
    let case = Case::new();
    let mut spec = Base::Busybox.image_spec();
    spec.layers.push(LayerSpec {
        tar: TarTree::new().char_device("node", 1, 3).finish(),
        packing: Packing::Gzip,
    });
    let base = case.destination("device");
    case.registry().push(&spec, &base);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN test ! -c /node && echo ran > /ran\n"
    ));
    let (words, program) = User::WithSubIds.enter(&case);
    let build = case.build(&context).isolation(Some("namespace"));
    let outcome = build.under(words).program(program).run();
    let tree = outcome.image().tree();
    assert_eq!(tree.node("node").to_string(), "special c 1 3 0666 0:0");
    assert!(tree.has("ran"));
    let said = "device `/node` cannot be made here";
    let warnings = outcome.warnings();
    let said = warnings.iter().filter(|warning| warning.contains(said));
    assert_eq!(said.count(), 1, "{warnings:?}");
}
