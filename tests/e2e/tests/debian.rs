//! A base of real size: Debian from `debootstrap`, with `apt-get install` in a RUN.

use kiln_e2e::{
    Case, DebianRoot, Image, Throwaway, Tree, apt_settings, compare_trees, kiln_only, needs_root,
};

/// Installs a package with a file capability and one with setuid programs, over the machine's own network settings.
const LINES: &str = "COPY apt.conf /etc/apt/apt.conf.d/99host\n\
    RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    iputils-ping libcap2-bin sudo > /dev/null && getcap /bin/ping > /caps && apt-get clean && rm -rf /var/lib/apt/lists\n\
    RUN useradd --create-home someone && rm -rf /usr/share/doc\nUSER someone\nRUN id -un > /home/someone/me\n";

fn check(image: &Image) -> Tree {
    let tree = image.tree();
    assert!(
        tree.text("caps").contains("cap_net_raw=ep"),
        "{}",
        tree.text("caps")
    );
    let capability = tree.node("usr/bin/ping").xattrs.get("security.capability");
    assert_eq!(
        capability.map(String::as_str),
        Some("0100000200200000000000000000000000000000")
    );
    assert_eq!(tree.owner("usr/bin/sudo"), "4755 0:0");
    assert_eq!(tree.owner("usr/bin/passwd"), "4755 0:0");
    assert_eq!(
        tree.owner("usr/sbin/unix_chkpwd").split(' ').next(),
        Some("2755")
    );
    assert!(tree.owner("tmp").starts_with("1777"));
    assert_eq!(tree.text("home/someone/me"), "someone\n");
    assert!(!tree.has("usr/share/doc"));
    tree
}

// conformance: G35 H18
#[test]
fn apt_get_install_keeps_capabilities_and_setuid() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.destination("debian");
    case.registry().push(&DebianRoot::get().image(), &reference);
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\n{LINES}"))
        .file("apt.conf", apt_settings());
    let cached = || {
        let build = case.build(&context).cached_in(case.destination("cache"));
        build.run()
    };
    let image = cached().image();
    let tree = check(&image);

    // The same image from the cache, to the last byte, without a command being run (H18).
    let again = cached();
    assert!(!again.log.contains("packed layer"), "{}", again.log);
    assert_eq!(again.image().digest, image.digest);

    // umoci unpacks the same, onto a real filesystem.
    let root = image.unpack(&case.path("unpacked"));
    let differences = compare_trees(&tree, &Tree::of_dir(&root).unwrap(), |_| false);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn in_place_too() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.destination("debian");
    case.registry().push(&DebianRoot::get().image(), &reference);
    let context = case
        .context()
        .dockerfile(format!("FROM {reference}\n{LINES}"))
        .file("apt.conf", apt_settings());
    let root = Throwaway::new(&case, context.path());
    std::fs::copy("/etc/resolv.conf", root.path().join("etc/resolv.conf")).unwrap();
    let build = case
        .build(&context)
        .context("/workspace")
        .isolation(Some("in-place"))
        .arg("--force");
    let build = build
        .under(root.wrapper())
        .program("/kaniko/executor")
        .env("KANIKO_DIR", "/kaniko")
        .env("TMPDIR", "/kaniko");
    check(&build.run().image());
}
