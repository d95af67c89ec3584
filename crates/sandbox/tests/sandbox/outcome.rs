//! How commands end, and what is heard of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use kiln_sandbox::{Exit, SetupError, Stream};

use crate::fixture::{Fixture, execute, execute_with, output};
use crate::way::{NAMESPACES, Way};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("exit_codes", NAMESPACES, exit_codes),
    test("lookup", NAMESPACES, lookup),
    test("not_executable", NAMESPACES, not_executable),
    test("missing_loader", NAMESPACES, missing_loader),
    test("streams", NAMESPACES, streams),
    test("much_output", &[Way::Plain], much_output),
];

// conformance: D6
fn exit_codes(fixture: &Fixture) {
    let cases = [
        ("true", Exit::Code(0), 0),
        ("exit 3", Exit::Code(3), 3),
        ("exit 255", Exit::Code(255), 255),
        ("kill -9 $$", Exit::Signal(9), 137),
        ("kill -TERM $$", Exit::Signal(15), 143),
    ];
    for (script, expected, shell_code) in cases {
        let exit = execute(&fixture.sh(script)).result.unwrap();
        assert_eq!(exit, expected, "{script}");
        assert_eq!(exit.shell_code(), shell_code);
    }
}

// conformance: D1
fn lookup(fixture: &Fixture) {
    fs::create_dir_all(fixture.root.join("opt/first")).unwrap();
    for (path, text) in [
        ("opt/first/tool", "first"),
        ("usr/bin/tool", "second"),
        ("opt/local", "relative"),
    ] {
        let path = fixture.root.join(path);
        fs::write(&path, format!("#!/bin/sh\necho {text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut spec = fixture.command(&["tool"]);
    assert_eq!(output(&spec), "second\n");
    spec.env = vec![("PATH".into(), "/nowhere:/opt/first:/usr/bin".into())];
    assert_eq!(output(&spec), "first\n");
    spec.env.clear();
    assert_eq!(output(&spec), "second\n", "the default PATH");
    let mut spec = fixture.command(&["./local"]);
    spec.cwd = "/opt".into();
    assert_eq!(output(&spec), "relative\n");
}

// conformance: D7
fn not_executable(fixture: &Fixture) {
    let files = [
        ("script", "#!/no/such/interpreter -x\n", 0o755),
        ("dos", "#!/bin/sh\r\necho\r\n", 0o755),
        ("plain", "echo no first line\n", 0o755),
        ("closed", "#!/bin/sh\n", 0o644),
    ];
    for (name, text, mode) in files {
        let path = fixture.root.join("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let cases = [
        (
            "nothing",
            127,
            "command `nothing` not found in PATH `/usr/bin:/bin`",
        ),
        ("/bin/nothing", 127, "command `/bin/nothing`: no such file"),
        (
            "/bin/sh/nothing",
            127,
            "command `/bin/sh/nothing`: no such file",
        ),
        (
            "script",
            127,
            "command `/bin/script` exists, but its interpreter `/no/such/interpreter` does not",
        ),
        (
            "/bin/dos",
            127,
            "command `/bin/dos` exists, but its interpreter `/bin/sh\r` does not",
        ),
        (
            "plain",
            126,
            "command `/bin/plain` is not a program this machine can execute",
        ),
        (
            "closed",
            126,
            "command `/bin/closed` cannot be executed: permission denied",
        ),
        (
            "/tmp",
            126,
            "command `/tmp` cannot be executed: permission denied",
        ),
        ("", 127, "command `` not found in PATH `/usr/bin:/bin`"),
    ];
    for (command, code, message) in cases {
        let error = execute(&fixture.command(&[command])).result.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.shell_code()),
            (message, Some(code)),
            "{command}"
        );
    }
}

// conformance: D7
fn missing_loader(fixture: &Fixture) {
    if cfg!(target_feature = "crt-static") {
        return;
    }
    fs::copy(
        std::env::current_exe().unwrap(),
        fixture.root.join("bin/dynamic"),
    )
    .unwrap();
    fs::write(fixture.root.join("bin/indirect"), "#!/bin/dynamic\n").unwrap();
    fs::set_permissions(
        fixture.root.join("bin/indirect"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    for command in ["dynamic", "indirect"] {
        let error = execute(&fixture.command(&[command])).result.unwrap_err();
        let kiln_sandbox::SandboxError::Setup(SetupError::MissingInterpreter {
            path, script, ..
        }) = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((path.as_str(), script), ("/bin/dynamic", false));
    }
}

// conformance: D10
fn streams(fixture: &Fixture) {
    let spec = fixture
        .sh("echo one; echo two >&2; printf 'no newline'; printf 'three\\nfour' >/dev/stderr");
    let mut lines = Vec::new();
    let outcome = execute_with(&spec, &kiln_sandbox::Cancel::new(), &mut |stream, line| {
        lines.push((stream, line.to_owned()));
    });
    assert!(outcome.result.unwrap().success());
    assert_eq!(outcome.stdout, "one\nno newline");
    assert_eq!(outcome.stderr, "two\nthree\nfour");
    assert!(
        lines.contains(&(Stream::Stderr, "three\n".to_owned())),
        "{lines:?}"
    );
}

// conformance: D10
fn much_output(fixture: &Fixture) {
    // 20 MB in lines, and as much without any newline, while nothing of it may be kept.
    for script in [
        "yes 0123456789 | head -c 20000000",
        "head -c 20000000 /dev/zero",
    ] {
        let (mut total, mut longest) = (0, 0);
        let exit = kiln_sandbox::run(
            &fixture.sh(script),
            &mut |_, line| {
                total += line.len();
                longest = longest.max(line.len());
            },
            &kiln_sandbox::Cancel::new(),
        );
        assert!(exit.unwrap().success());
        assert_eq!(total, 20_000_000);
        assert!(longest < 200_000);
    }
}
