//! `deploy/Dockerfile`, with stubs in place of the Rust toolchain and of apt.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use kiln_e2e::{Base, Case, Context, Image, compare_configs, compare_trees, kiln_only, needs_root};

/// Checks what it is asked for, and makes two files that stand for the binaries.
const CARGO: &str = r#"#!/bin/sh -eu
test "$*" = "build --locked --profile dist --target $(rustc -vV | sed -n 's/^host: //p') --bin executor --bin warmer"
test "$RUSTFLAGS" = "-C target-feature=+crt-static"
test -f Cargo.lock && test -d crates/build && test ! -e target && test ! -e .git
mkdir -p target/stub-host/dist
for name in executor warmer; do echo "$name" > target/stub-host/dist/$name; chmod 755 target/stub-host/dist/$name; done
"#;
const RUSTC: &str = "#!/bin/sh\nprintf 'rustc 1.95.0 (stub)\\nhost: stub-host\\n'\n";
/// Installs what the real one would: certificates, and a busybox that the base has already.
const APT: &str = "#!/bin/sh -eu\nmkdir -p /etc/ssl/certs\necho certificates > /etc/ssl/certs/ca-certificates.crt\n";

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

/// An image that looks like the one in `RUST_IMAGE`, as far as `deploy/Dockerfile` can tell.
fn toolchain(case: &Case) -> String {
    let lines = format!(
        "FROM {}\nCOPY --chmod=755 bin /usr/bin\n",
        case.base(Base::Busybox)
    );
    let context = case
        .context_named("toolchain")
        .dockerfile(lines)
        .file("bin/cargo", CARGO)
        .file("bin/rustc", RUSTC)
        .file("bin/apt-get", APT);
    let name = case.destination("toolchain");
    case.build(&context).destination(&name).run().ok();
    name
}

/// The context of `deploy/Dockerfile.local`, with the files that the stubs make.
fn local(case: &Case) -> Context {
    let dockerfile = std::fs::read_to_string(deploy().join("Dockerfile.local")).unwrap();
    let context = case.context_named("local").dockerfile(dockerfile);
    let busybox = std::fs::read(kiln_e2e::tool("busybox")).unwrap();
    context
        .file_with_mode("executor", 0o755, "executor\n")
        .file_with_mode("warmer", 0o755, "warmer\n")
        .file("ca-certificates.crt", "certificates\n")
        .file_with_mode("busybox/busybox", 0o755, busybox)
        .symlink("busybox/sh", "busybox")
        .dir("kaniko/.docker", 0o755)
        .symlink("debug/bin/sh", "/busybox/sh")
        .file("debug/etc/nsswitch.conf", "hosts: files dns\n")
}

#[test]
fn the_images_from_source_are_those_of_make_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let toolchain = toolchain(&case);
    let local = local(&case);
    // The repository as it is: its ignore file keeps `target` out.
    let repository = Context::new(&deploy().join(".."));
    for (target, files, entrypoint) in [
        ("executor", &["executor"][..], "/kaniko/executor"),
        ("warmer", &["warmer"], "/kaniko/warmer"),
        ("debug", &["executor", "warmer"], "/kaniko/executor"),
    ] {
        let from_source: Image = case
            .build(&repository)
            .dockerfile("deploy/Dockerfile")
            .build_arg(format!("RUST_IMAGE={toolchain}"))
            .target(target)
            .destination(case.destination(target))
            .run()
            .image();
        let tree = from_source.tree();
        for name in ["executor", "warmer"] {
            let path = format!("kaniko/{name}");
            assert_eq!(tree.has(&path), files.contains(&name), "{target}: {path}");
        }
        assert_eq!(from_source.list("Entrypoint"), [entrypoint], "{target}");
        assert_eq!(tree.has("busybox/sh"), target == "debug", "{target}");
        // finding 45: scripts write a login there without making the folder, as any user.
        assert_eq!(tree.owner("kaniko/.docker"), "1777 0:0", "{target}");
        for path in ["bin/sh", "etc/nsswitch.conf"] {
            assert_eq!(tree.has(path), target == "debug", "{target}: {path}");
        }

        let build = case.build(&local).target(target);
        let name = case.destination(&format!("{target}-local"));
        let from_binaries = build.destination(name).run().image();
        // How many links there are is busybox's business.
        let links = |path: &str| {
            path.starts_with("busybox/") && !matches!(path, "busybox/sh" | "busybox/busybox")
        };
        let differences = compare_trees(&tree, &from_binaries.tree(), links);
        assert!(
            differences.is_empty(),
            "{target}:\n{}",
            differences.join("\n")
        );
        let differences = compare_configs(&from_source.config, &from_binaries.config, &[]);
        assert!(
            differences.is_empty(),
            "{target}:\n{}",
            differences.join("\n")
        );
    }
}
