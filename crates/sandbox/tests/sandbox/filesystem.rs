//! What a command sees of files, and that the root is left as the command made it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use kiln_sandbox::{Exit, RunSpec, SandboxMount};

use crate::fixture::{Fixture, execute, output, tree};
use crate::way::{NAMESPACES, Way};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("supplied", NAMESPACES, supplied),
    test("nothing_of_the_host", NAMESPACES, nothing_of_the_host),
    test("no_devices", NAMESPACES, no_devices),
    test("stubs_vanish", NAMESPACES, stubs_vanish),
    test(
        "changes_beside_stubs_stay",
        NAMESPACES,
        changes_beside_stubs_stay,
    ),
    test("scratch", NAMESPACES, scratch),
    test("own_resolv_conf", NAMESPACES, own_resolv_conf),
    test("mounts_in_order", NAMESPACES, mounts_in_order),
    test("bind_access", NAMESPACES, bind_access),
    test("discarded_writes", NAMESPACES, discarded_writes),
    test("tmpfs", NAMESPACES, tmpfs),
    test("hostile_targets", NAMESPACES, hostile_targets),
    test("mount_errors", NAMESPACES, mount_errors),
    test("hidden", NAMESPACES, hidden),
    test("executable_is_safe", NAMESPACES, executable_is_safe),
];

fn bind(source: &Path, target: &str) -> SandboxMount {
    SandboxMount::Bind {
        source: source.to_owned(),
        target: target.into(),
        read_only: true,
        discard_writes: false,
    }
}

fn writable(source: &Path, target: &str) -> SandboxMount {
    SandboxMount::Bind {
        source: source.to_owned(),
        target: target.into(),
        read_only: false,
        discard_writes: false,
    }
}

fn discarding(source: &Path, target: &str) -> SandboxMount {
    SandboxMount::Bind {
        source: source.to_owned(),
        target: target.into(),
        read_only: false,
        discard_writes: true,
    }
}

fn tmpfs_at(target: &str) -> SandboxMount {
    SandboxMount::Tmpfs {
        target: target.into(),
        size: None,
        mode: 0o1777,
    }
}

fn with_network_files(fixture: &Fixture, script: &str) -> RunSpec {
    let (hosts, resolv_conf) = (fixture.work.join("hosts"), fixture.work.join("resolv.conf"));
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    fs::write(&resolv_conf, "nameserver 192.0.2.1\n").unwrap();
    let mut spec = fixture.sh(script);
    spec.hosts = Some(hosts);
    spec.resolv_conf = Some(resolv_conf);
    spec
}

// conformance: D17
fn supplied(fixture: &Fixture) {
    let script = "cat /etc/hosts /etc/resolv.conf
        (echo x >>/etc/hosts) 2>/dev/null || echo read-only
        echo x >/dev/null; head -c 3 /dev/zero | wc -c; (echo x >/dev/full) 2>/dev/null || echo full
        head -c 5 /dev/urandom | wc -c
        ls -A /dev | tr '\\n' ' '; readlink /dev/fd; readlink /dev/stdout
        df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2; stat -c %a /dev/shm /dev /dev/null
        test -d /sys/kernel && echo sys; (: >/sys/kernel/x) 2>/dev/null || echo sys read-only
        (: >/proc/sys/kernel/core_pattern) 2>/dev/null || echo proc read-only
        head -c 1 /proc/kcore | wc -c
        echo $$ $(ls /proc | grep -c '^[0-9]')";
    let said = output(&with_network_files(fixture, script));
    let expected = "127.0.0.1 localhost
nameserver 192.0.2.1
read-only
3
full
5
core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero /proc/self/fd
/proc/self/fd/1
65536
1777
755
666
sys
sys read-only
proc read-only
0
";
    let (fixed, processes) = said.split_at(expected.len().min(said.len()));
    assert_eq!(fixed, expected);
    if fixture.way != Way::MaskedProc {
        // The init, the shell, and the substitution with its two commands.
        assert!(matches!(processes, "2 5\n" | "2 4\n"), "{processes:?}");
    }
    let after = tree(&fixture.root);
    assert!(!after.contains_key(&fixture.root.join("etc/hosts")));
    assert!(!after.contains_key(&fixture.root.join("etc/resolv.conf")));
}

/// A command as the machine's root may make a device, which is then in the layer, but it cannot reach the host's disks
/// through it, wherever it puts it.
fn no_devices(fixture: &Fixture) {
    let cache = fixture.work.join("cache");
    fs::create_dir(&cache).unwrap();
    let script = "umask 0
        for dir in / /dev /cache /discarded; do
            mknod $dir/node c 1 5 2>/dev/null
            head -c 1 $dir/node >/dev/null 2>&1 && echo $dir/node can be read
        done
        test -c /node && echo made
        : >/dev/null && head -c 2 /dev/zero | wc -c";
    let mut spec = fixture.sh(script);
    spec.mounts = vec![writable(&cache, "/cache"), discarding(&cache, "/discarded")];
    let expected = if fixture.is_root_of_machine() {
        "made\n2\n"
    } else {
        "2\n"
    };
    assert_eq!(output(&spec), expected);
}

// conformance: D41
fn nothing_of_the_host(fixture: &Fixture) {
    let (work, own) = (fixture.work.display(), std::process::id());
    let script = format!(
        "exec 2>/dev/null; ls -A / | tr '\\n' ' '; ls -d {work}
        for pid in 1 {own}; do
            cat /proc/$pid/environ; ls /proc/$pid/root/ /proc/$pid/cwd/
            for fd in /proc/$pid/fd/*; do readlink $fd; done
        done; true"
    );
    // In the pid namespace of a command, our number may be that of one of its own.
    assert_eq!(
        fixture.output_of(&script),
        "bin dev etc proc run sys tmp usr "
    );
}

// conformance: D18 D27
fn stubs_vanish(fixture: &Fixture) {
    for name in ["proc", "sys", "dev", "run"] {
        fs::remove_dir(fixture.root.join(name)).unwrap();
    }
    let source = fixture.work.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let before = tree(&fixture.root);
    let mut spec = with_network_files(
        fixture,
        "cat /run/secrets/x /deep/er/file; touch /deep/tmp/x; ls /proc/self/exe",
    );
    spec.mounts = vec![
        bind(&source.join("file"), "/run/secrets/x"),
        bind(&source, "/deep/er"),
        tmpfs_at("/deep/tmp"),
        tmpfs_at("/deep/tmp/inner/most"),
        bind(&source.join("file"), "/bin/extra"),
    ];
    assert_eq!(output(&spec), "contentcontent/proc/self/exe\n");
    assert_eq!(tree(&fixture.root), before);
    spec.argv = vec!["nothing".into()];
    assert!(execute(&spec).result.is_err());
    assert_eq!(tree(&fixture.root), before, "after a failed start");
    spec.mounts.push(bind(&fixture.work.join("missing"), "/x"));
    assert!(execute(&spec).result.is_err());
    assert_eq!(tree(&fixture.root), before, "after a failed mount");
}

// conformance: D18
fn changes_beside_stubs_stay(fixture: &Fixture) {
    fs::create_dir(fixture.root.join("kept")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    fs::File::open(fixture.root.join("kept"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let mut spec = fixture.sh(
        "sleep 0.05; echo x >/kept/by-command; echo y >/kept/made/too; mv /kept/made /kept/moved",
    );
    spec.mounts = vec![tmpfs_at("/kept/made/for/mount"), tmpfs_at("/kept/stub")];
    output(&spec);
    let mut left: Vec<_> = fs::read_dir(fixture.root.join("kept"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["by-command", "moved"]);
    let moved: Vec<_> = fs::read_dir(fixture.root.join("kept/moved"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(moved, ["too"]);
    let modified = fs::metadata(fixture.root.join("kept"))
        .unwrap()
        .modified()
        .unwrap();
    assert_ne!(modified, old, "the command changed the directory");
}

// conformance: D40
fn scratch(fixture: &Fixture) {
    let root = fixture.work.join("scratch");
    fs::create_dir(&root).unwrap();
    fs::copy(fixture.root.join("bin/busybox"), root.join("busybox")).unwrap();
    let before = tree(&root);
    let mut spec = with_network_files(fixture, "");
    spec.argv = ["/busybox", "ls", "/"].map(Into::into).to_vec();
    spec.root = kiln_sandbox::RunRoot::Directory(root.clone());
    spec.env.clear();
    assert_eq!(output(&spec), "busybox\ndev\netc\nproc\nsys\n");
    assert_eq!(tree(&root), before);
}

/// What the image has at /etc/resolv.conf, and how it is made.
type Case = (&'static str, fn(&Path));

// conformance: D20
fn own_resolv_conf(fixture: &Fixture) {
    let path = fixture.root.join("etc/resolv.conf");
    let cases: [Case; 5] = [
        ("a file", |path| fs::write(path, "own\n").unwrap()),
        ("dangling", |path| {
            symlink("../run/systemd/resolve/stub-resolv.conf", path).unwrap();
        }),
        ("absolute", |path| symlink("/etc/passwd", path).unwrap()),
        ("looping", |path| symlink("resolv.conf", path).unwrap()),
        ("out of the root", |path| {
            symlink("../../../../../../etc/hostname", path).unwrap();
        }),
    ];
    assert!(!cases.is_empty());
    for (what, make) in &cases {
        make(&path);
        let before = tree(&fixture.root);
        let spec = with_network_files(
            fixture,
            "cat /etc/resolv.conf; (echo x >>/etc/resolv.conf) 2>/dev/null || echo read-only",
        );
        assert_eq!(output(&spec), "nameserver 192.0.2.1\nread-only\n", "{what}");
        assert_eq!(tree(&fixture.root), before, "{what}");
        fs::remove_file(&path).unwrap();
    }
}

// conformance: D26
fn mounts_in_order(fixture: &Fixture) {
    let (outer, inner) = (fixture.work.join("outer"), fixture.work.join("inner"));
    for directory in [&outer, &inner, &outer.join("point")] {
        fs::create_dir(directory).unwrap();
        fs::write(
            directory.join("who"),
            directory.file_name().unwrap().as_encoded_bytes(),
        )
        .unwrap();
    }
    fs::create_dir_all(fixture.root.join("m/old")).unwrap();
    let before = tree(&fixture.root);
    let mut spec = fixture.sh("ls /m; cat /m/who /m/point/who; ls /m/point/deep");
    spec.mounts = vec![
        bind(&outer, "/m"),
        writable(&inner, "/m/point"),
        tmpfs_at("/m/point/deep"),
    ];
    assert_eq!(output(&spec), "point\nwho\nouterinner");
    assert_eq!(tree(&fixture.root), before);
    // A mount point made in someone else's directory is taken away as well.
    assert!(!inner.join("deep").exists());
}

// conformance: D28 D31
fn bind_access(fixture: &Fixture) {
    let source = fixture.work.join("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("file"), "old").unwrap();
    let mut spec = fixture
        .sh("cd /m; (echo new >file) 2>/dev/null || echo no; (touch sub/x) 2>/dev/null || echo no");
    spec.mounts = vec![bind(&source, "/m")];
    assert_eq!(output(&spec), "no\nno\n");
    let mut spec = fixture.sh("cd /m; echo new >file; mv sub renamed; echo x >renamed/x");
    spec.mounts = vec![writable(&source, "m")];
    output(&spec);
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "new\n");
    assert!(source.join("renamed/x").exists());
}

// conformance: D28
fn discarded_writes(fixture: &Fixture) {
    let source = fixture.work.join("source");
    fs::create_dir_all(source.join("sub/deep")).unwrap();
    fs::write(source.join("file"), "old").unwrap();
    symlink("file", source.join("link")).unwrap();
    let (before, root_before) = (tree(&source), tree(&fixture.root));
    let script = "cd /m; cat link; echo new >file; cat link; rm -r sub; mkdir sub; touch sub/x; ls -R sub; mv file f2
        cat /f; echo changed >/f; cat /f; ls -A /dev | grep -c kiln; true";
    let mut spec = fixture.sh(script);
    spec.mounts = vec![
        discarding(&source, "/m"),
        discarding(&source.join("file"), "/f"),
    ];
    assert_eq!(output(&spec), "oldnew\nsub:\nx\noldchanged\n0\n");
    assert_eq!(tree(&source), before);
    assert_eq!(tree(&fixture.root), root_before);
}

// conformance: D33
fn tmpfs(fixture: &Fixture) {
    let mut spec = fixture.sh(
        "stat -c %a /t /small; df -k /small | tail -1 | tr -s ' ' | cut -d' ' -f2
        (head -c 2000000 /dev/zero >/small/x) 2>/dev/null || echo too small; ls /t; touch /t/x",
    );
    fs::create_dir(fixture.root.join("t")).unwrap();
    fs::write(fixture.root.join("t/below"), "").unwrap();
    spec.mounts = vec![
        tmpfs_at("/t"),
        SandboxMount::Tmpfs {
            target: "/small".into(),
            size: Some(1 << 20),
            mode: 0o700,
        },
    ];
    assert_eq!(output(&spec), "1777\n700\n1024\ntoo small\n");
    assert!(fixture.root.join("t/below").exists());
    assert!(!fixture.root.join("t/x").exists());
}

fn hostile_targets(fixture: &Fixture) {
    let outside = fixture.work.join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, fixture.root.join("absolute")).unwrap();
    symlink(
        "../../../../../../../../../../tmp",
        fixture.root.join("relative"),
    )
    .unwrap();
    symlink("/proc/self/root", fixture.root.join("magic")).unwrap();
    let before = (tree(&outside), tree(&fixture.root));
    let cases = [
        "/absolute/x",
        "/relative/x",
        "/magic/../y",
        "/../../z",
        "/tmp/../../../q",
    ];
    for target in cases {
        let mut spec = fixture.sh(&format!("cd {target} && echo reached"));
        spec.cwd = "/tmp".into();
        spec.mounts = vec![tmpfs_at(target)];
        let outcome = execute(&spec);
        assert_eq!(
            outcome.result.unwrap(),
            Exit::Code(0),
            "{target}: {}",
            outcome.stderr
        );
        assert_eq!((tree(&outside), tree(&fixture.root)), before, "{target}");
    }
    // The places every root has may be symlinks as well.
    fs::remove_dir(fixture.root.join("proc")).unwrap();
    symlink(&outside, fixture.root.join("proc")).unwrap();
    let before = (tree(&outside), tree(&fixture.root));
    let outcome = execute(&fixture.sh("true"));
    assert!(outcome.result.unwrap().success());
    assert_eq!((tree(&outside), tree(&fixture.root)), before);
}

fn mount_errors(fixture: &Fixture) {
    fs::write(fixture.root.join("file"), "").unwrap();
    symlink("b", fixture.root.join("a")).unwrap();
    symlink("a", fixture.root.join("b")).unwrap();
    let missing = fixture.work.join("missing");
    let cases = [
        (bind(&missing, "/x"), format!("cannot open mount source `{}`: no such file or directory", missing.display())),
        (tmpfs_at("/file"), "cannot make mount target `/file` in the root filesystem: not a directory".to_owned()),
        (tmpfs_at("/file/x"), "cannot make mount target `/file/x` in the root filesystem: not a directory".to_owned()),
        (
            bind(&fixture.root.join("file"), "/tmp"),
            "cannot make mount target `/tmp` in the root filesystem: is a directory".to_owned(),
        ),
        (
            tmpfs_at("/a"),
            "cannot make mount target `/a` in the root filesystem: too many levels of symbolic links".to_owned(),
        ),
        (tmpfs_at("/"), "cannot make mount target `/` in the root filesystem: device or resource busy".to_owned()),
    ];
    for (mount, message) in cases {
        let mut spec = fixture.sh("true");
        spec.mounts = vec![mount];
        let error = execute(&spec).result.unwrap_err().to_string();
        assert_eq!(
            error
                .replace("resource busy", "device or resource busy")
                .replace("device or device or", "device or"),
            message
        );
    }
}

// conformance: D41
fn hidden(fixture: &Fixture) {
    fs::create_dir(fixture.root.join("kaniko")).unwrap();
    fs::write(fixture.root.join("kaniko/executor"), "x").unwrap();
    fs::write(fixture.root.join("file"), "x").unwrap();
    let before = tree(&fixture.root);
    let mut spec =
        fixture.sh("ls /kaniko; cat /file; (touch /kaniko/x) 2>/dev/null || echo closed");
    spec.hidden = ["/kaniko", "/file", "/missing"].map(Into::into).to_vec();
    assert_eq!(output(&spec), "closed\n");
    assert_eq!(tree(&fixture.root), before);
    assert!(fixture.way != Way::InPlace);
}

/// A command can have itself executed by our executable (CVE-2019-5736), but not write to it.
// conformance: D41
fn executable_is_safe(fixture: &Fixture) {
    use std::os::unix::fs::PermissionsExt;

    let own = std::env::current_exe().unwrap();
    let before = fs::read(&own).unwrap();
    let path = fixture.root.join("bin/trick");
    fs::write(&path, "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = execute(&fixture.command(&["trick"]));
    let script = "for pid in 1 $PPID; do (: >>/proc/$pid/exe) && echo written; done; exit 0";
    assert_eq!(output(&fixture.sh(script)), "");
    assert_eq!(fs::read(&own).unwrap(), before);
}
