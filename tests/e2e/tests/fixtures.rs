//! The fixtures themselves, judged by other people's tools: a test that fails for their sake says nothing about a builder.

use std::process::Command;

use kiln_e2e::{
    Base, Case, DebianRoot, Fault, HttpServer, Image, PeakMemory, Proxy, Registry, Response,
    Throwaway, Tree, User, compare_trees, needs_root, output, tool,
};

#[test]
fn bases_unpack_with_umoci_as_we_read_them() {
    needs_root!();
    for base in [Base::Busybox, Base::Docker, Base::Index] {
        let case = Case::new();
        let image = Image::read(&format!("docker://{}", case.base(base)));
        let tree = image.tree();
        let root = image.unpack(&case.path("unpacked"));
        let differences = compare_trees(&tree, &Tree::of_dir(&root).unwrap(), |_| false);
        assert!(
            differences.is_empty(),
            "{base:?}:\n{}",
            differences.join("\n")
        );
        assert!(
            tree.has("var/old/new")
                && !tree.has("var/old/below-opaque")
                && !tree.has("etc/removed-later")
        );
        assert!(
            tree.node("usr/bin/suid-twin")
                .to_string()
                .contains("linked with usr/bin/suid")
        );
    }
}

#[test]
fn the_manifests_are_of_the_kinds_they_claim() {
    let table = [
        (Base::Busybox, "oci.image.manifest", "layer.v1.tar+gzip"),
        (
            Base::Docker,
            "docker.distribution.manifest.v2",
            "rootfs.diff.tar.gzip",
        ),
        (Base::Zstd, "oci.image.manifest", "layer.v1.tar+zstd"),
        (Base::Plain, "oci.image.manifest", "layer.v1.tar\""),
        (Base::Index, "oci.image.index", "riscv64"),
    ];
    for (base, manifest, layer) in table {
        let registry = Registry::shared();
        let raw = registry.raw_manifest(&registry.base(base)).unwrap();
        assert!(
            raw.contains(manifest) && raw.contains(layer),
            "{base:?}: {raw}"
        );
    }
}

fn inspect(reference: &str, flags: &[&str]) -> bool {
    let mut command = Command::new(tool("skopeo"));
    command
        .args(["--insecure-policy", "inspect"])
        .args(flags)
        .arg(format!("docker://{reference}"));
    command.output().is_ok_and(|done| done.status.success())
}

#[test]
fn a_proxy_tells_the_truth_and_lies_when_told() {
    let registry = Registry::shared();
    let base = registry.base(Base::Busybox);
    let path = base.split_once('/').unwrap().1;
    let proxy = Proxy::before(registry.host());
    let image = Image::read(&format!("docker://{}", proxy.reference(path)));
    assert!(image.tree().has("bin/busybox"));
    assert_eq!(
        proxy
            .seen("GET")
            .iter()
            .filter(|path| path.contains("/blobs/"))
            .count(),
        3
    );
    for fault in [
        Fault::Html,
        Fault::OtherJson,
        Fault::ServerError,
        Fault::Truncated,
    ] {
        let proxy = Proxy::with_faults(registry.host(), &[("GET", "/manifests/", fault)]);
        assert!(
            !inspect(&proxy.reference(path), &["--tls-verify=false"]),
            "{fault:?} is seen by skopeo"
        );
    }
}

#[test]
fn a_registry_can_want_a_login() {
    let registry = Registry::with_login();
    let base = registry.base(Base::Busybox);
    assert!(!inspect(&base, &["--tls-verify=false", "--no-creds"]));
    assert!(inspect(
        &base,
        &["--tls-verify=false", "--creds=kiln:s3cret:pw"]
    ));
    assert!(registry.raw_manifest(&base).is_some() && !registry.blobs().is_empty());
}

#[test]
fn servers_end_and_clean_up() {
    let (host, dir);
    {
        let registry = Registry::start();
        registry.base(Base::Busybox);
        host = registry.host().to_owned();
        dir = registry.storage().to_path_buf();
        assert!(dir.exists());
    }
    assert!(!dir.exists());
    assert!(
        std::net::TcpStream::connect(&host).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn the_http_server_answers() {
    let server =
        HttpServer::start(|request| Response::new(200, "text/plain", request.path.clone()));
    let busybox =
        output(Command::new(tool("busybox")).args(["wget", "-q", "-O", "-", &server.url("a/b?c")]));
    assert_eq!(busybox.stdout, "/a/b?c");
}

#[test]
fn an_ordinary_user_has_nothing() {
    needs_root!();
    for (user, bounding) in [(User::Ordinary, false), (User::Powerless, true)] {
        let words = user.words();
        let status = output(
            Command::new(&words[0])
                .args(&words[1..])
                .args(["cat", "/proc/self/status"]),
        )
        .stdout;
        assert!(
            status.contains("Uid:\t1000\t1000") && status.contains("CapEff:\t0000000000000000"),
            "{status}"
        );
        assert_eq!(
            status.contains("CapBnd:\t0000000000000000"),
            bounding,
            "{status}"
        );
    }
}

#[test]
fn a_throwaway_root_is_not_this_machines() {
    needs_root!();
    let case = Case::new();
    let context = case.context().file("file", "x");
    let root = Throwaway::new_with(&case, context.path(), &tool("busybox"));
    let words = root.wrapper();
    let script = "busybox ls -A /; busybox cat /workspace/file; echo; busybox touch /made; busybox cat /proc/1/comm";
    let script = script.replace("busybox ", "/kaniko/busybox ");
    let mut command = Command::new(&words[0]);
    let ran = output(
        command
            .args(&words[1..])
            .args(["/kaniko/busybox", "sh", "-c", &script]),
    );
    for line in ["kaniko", "workspace", "x", "busybox"] {
        assert!(
            ran.stdout.lines().any(|said| said == line),
            "{}",
            ran.stdout
        );
    }
    assert!(
        !ran.stdout.lines().any(|said| said == "usr"),
        "{}",
        ran.stdout
    );
    assert!(root.path().join("made").exists() && !std::path::Path::new("/made").exists());
}

#[test]
fn peak_memory_counts_children() {
    // dd holds its block in memory; the shell above it does not.
    let mut child = Command::new("/bin/sh")
        .args([
            "-c",
            "busybox dd if=/dev/zero of=/dev/null bs=64M count=40 2>/dev/null; true",
        ])
        .spawn()
        .unwrap();
    let memory = PeakMemory::watch(child.id());
    child.wait().unwrap();
    let (peak, line) = memory.finish();
    assert!((64_000_000..200_000_000).contains(&peak), "{line}");
}

#[test]
fn a_debian_root_is_a_base() {
    needs_root!();
    let case = Case::new();
    let reference = case.destination("debian");
    case.registry().push(&DebianRoot::get().image(), &reference);
    let tree = Image::read(&format!("docker://{reference}")).tree();
    assert_eq!(tree.owner("usr/bin/passwd"), "4755 0:0");
    assert!(tree.has("usr/bin/apt-get") && tree.owner("tmp").starts_with("1777"));
}
