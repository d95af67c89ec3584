//! RUN in a namespace: the process, its user, its environment, its end.

use kiln_e2e::{Base, Case, User, kiln_only, namespace_only, needs_root, skipped, userns_works};

/// Builds `FROM busybox` and these lines as root in a namespace, and gives the text of `/seen`.
fn seen(lines: &str) -> String {
    let case = Case::new();
    let dockerfile = format!("FROM {}\n{lines}\n", case.base(Base::Busybox));
    case.build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree()
        .text("seen")
}

// conformance: D1 D3 D4
#[test]
fn the_command_runs_where_and_how_it_should() {
    needs_root!();
    assert_eq!(
        seen("RUN [\"/bin/sh\", \"-c\", \"echo exec > /seen\"]"),
        "exec\n"
    );
    assert_eq!(
        seen("WORKDIR /new/dir\nRUN pwd > /seen; echo $PWD >> /seen"),
        "/new/dir\n/new/dir\n"
    );
    assert_eq!(seen("RUN echo $HOME > /seen"), "/root\n");
    assert_eq!(seen("RUN umask > /seen"), "0022\n");
    assert_eq!(seen("RUN cat > /seen; echo end >> /seen"), "end\n");
    assert_eq!(
        seen("SHELL [\"/bin/ash\", \"-e\", \"-c\"]\nRUN case $- in *e*) echo $0 e > /seen;; esac"),
        "/bin/ash e\n"
    );
}

// conformance: A21 D1 D3
#[test]
fn neither_entrypoint_nor_home_get_in_the_way() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nENTRYPOINT [\"/no/such\"]\nRUN\nRUN echo \"$0 $HOME\" > /seen\n\
         RUN [\"/bin/sh\", \"-c\", \"echo $0 $HOME >> /seen\", \"exec\"]\n"
    ));
    let image = case.build(&context).run().image();
    assert_eq!(image.tree().text("seen"), "/bin/sh /root\nexec /root\n");
    assert_eq!(image.env("HOME"), None);
    let lines =
        "ENV HOME=/of-env\nRUN touch /seen && chmod 666 /seen\nUSER app\nRUN echo $HOME > /seen";
    assert_eq!(seen(lines), "/of-env\n");
}

// conformance: D5
#[test]
fn a_working_directory_that_is_gone_is_made_for_the_command() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case.context().dockerfile(format!(
        "FROM {base}\nUSER app\nWORKDIR /new/dir\nUSER root\nRUN rm -r /new\nUSER app\nRUN pwd > /tmp/seen\n"
    ));
    let image = case.build(&context).run().image();
    let names = image.layers.last().map(kiln_e2e::Layer::names);
    assert_eq!(names.unwrap(), ["new/", "new/dir/", "tmp/", "tmp/seen"]);
    let tree = image.tree();
    assert_eq!(tree.text("tmp/seen"), "/new/dir\n");
    for path in ["new", "new/dir"] {
        assert_eq!(tree.owner(path), "0755 0:0", "{path}");
    }
}

// conformance: D1
#[test]
fn exec_form_looks_in_the_images_path() {
    kiln_only!();
    needs_root!();
    assert_eq!(
        seen(
            "ENV PATH=/opt:/bin\nRUN mkdir /opt && printf '#!/bin/sh\\ntouch $1\\n' > /opt/only-here && chmod +x /opt/only-here\nRUN [\"only-here\", \"/seen\"]"
        ),
        ""
    );
}

// conformance: D11 D12 D14 D3
#[test]
fn users_and_groups_are_those_of_the_image() {
    kiln_only!();
    needs_root!();
    let table = [
        ("root", "uid=0(root) gid=0(root) groups=0(root) /root"),
        (
            "app",
            "uid=1000(app) gid=1000(app) groups=8(mail),50(staff),1000(app) /home/app",
        ),
        (
            "1000",
            "uid=1000(app) gid=1000(app) groups=8(mail),50(staff),1000(app) /home/app",
        ),
        (
            "app:mail",
            "uid=1000(app) gid=8(mail) groups=8(mail) /home/app",
        ),
        ("1234", "uid=1234 gid=0(root) groups=0(root) /"),
        ("1234:55", "uid=1234 gid=55 groups=55 /"),
    ];
    for (user, expected) in table {
        let text = seen(&format!(
            "RUN touch /seen && chmod 666 /seen\nUSER {user}\nRUN echo $(id) $HOME > /seen"
        ));
        // busybox prints the primary group first or in order, depending on its version.
        let sorted = |line: &str| {
            let mut words: Vec<String> = line.split([' ', ',', '=']).map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(sorted(text.trim()), sorted(expected), "USER {user}");
    }
    // The files are those that the steps before left.
    let lines = "USER made\nUSER root\nRUN echo 'made:x:77:88::/:/bin/sh' >> /etc/passwd && touch /seen && chmod 666 /seen\n\
                 USER made\nRUN id -u > /seen; id -g >> /seen";
    assert_eq!(seen(lines), "77\n88\n");
}

// conformance: D13
#[test]
fn an_unknown_user_fails_at_the_run() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nUSER nobody-knows\nRUN true\n"));
    case.build(&context).run().failed(
        1,
        &[
            "unable to find user nobody-knows: no matching entries in passwd file",
            "Dockerfile:3",
        ],
    );
}

// conformance: D16
#[test]
fn capabilities_are_dockers_default_ones() {
    kiln_only!();
    needs_root!();
    let text = seen("RUN grep -E 'Cap(Eff|Bnd)' /proc/self/status > /seen");
    assert_eq!(
        text,
        "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n"
    );
    let text = seen(
        "RUN touch /seen && chmod 666 /seen\nUSER app\nRUN grep CapEff /proc/self/status > /seen",
    );
    assert_eq!(text, "CapEff:\t0000000000000000\n");
}

// conformance: D2 I39
#[test]
fn nothing_of_the_builder_is_visible() {
    kiln_only!();
    needs_root!();
    namespace_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let secret = case.path("home/secret-of-the-host");
    std::fs::write(&secret, "host").unwrap();
    let dockerfile = format!(
        "FROM {base}\nRUN env > /seen; tr '\\0' '\\n' < /proc/1/environ >> /seen; ls -la /proc/1/fd /proc/self/fd >> /seen; \
         ls / >> /seen; cat /tmp/kiln-*/home/secret* >> /seen 2>/dev/null; ls /kaniko >> /seen 2>/dev/null; ps >> /seen; true\n"
    );
    let config = r#"{"auths":{"127.0.0.1:1":{"auth":"bm90OnJlYWw="}}}"#;
    let build = case.build(&case.context().dockerfile(dockerfile));
    let build = build
        .env("DOCKER_AUTH_CONFIG", config)
        .env("BUILDER_SECRET", "leaked")
        .env("KANIKO_DIR", case.path("work"));
    let text = build.run().image().tree().text("seen");
    for word in [
        "leaked",
        "bm90OnJlYWw=",
        "BUILDER_SECRET",
        "DOCKER_AUTH_CONFIG",
        "KANIKO_DIR",
        "kiln-e2e-",
    ] {
        assert!(!text.contains(word), "`{word}` is visible in RUN:\n{text}");
    }
    assert!(
        text.contains("BASE_ENV=from base") && !text.lines().any(|line| line == "host"),
        "{text}"
    );
    assert!(
        !text.contains("socket:"),
        "a socket of the builder is open in RUN:\n{text}"
    );
}

// conformance: D6
#[test]
fn the_exit_code_of_a_failing_run_is_the_builders() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let table = [
        ("exit 7", 7, "exit code: 7"),
        ("exit 255", 255, "exit code: 255"),
        ("kill -9 $$", 137, "killed by signal 9"),
        ("kill -15 $$", 143, "killed by signal 15"),
        ("no-such-command", 127, "exit code: 127"),
    ];
    for (command, code, said) in table {
        let context = case
            .context()
            .dockerfile(format!("FROM {base}\nENV A=1\nRUN {command}\n"));
        let outcome = case.build(&context).run();
        outcome.failed(code, &[command, said, "Dockerfile:3"]);
        assert!(
            case.registry()
                .raw_manifest(&case.destination("image"))
                .is_none(),
            "nothing is pushed"
        );
    }
}

// conformance: D7
#[test]
fn a_missing_program_and_a_missing_interpreter_are_told_apart() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nRUN [\"not-there\", \"x\"]\n"));
    case.build(&context)
        .run()
        .failed(127, &["not-there", "/usr/local/sbin:/usr/local/bin"]);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY script /script\nRUN [\"/script\"]\n"
        ))
        .file_with_mode("script", 0o755, "#!/no/such/interpreter\n");
    case.build(&context)
        .run()
        .failed(127, &["/script", "/no/such/interpreter"]);
}

// conformance: D9
#[test]
fn background_children_end_with_the_command() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    // The name of the case is in the command line, so that the leak check would find the child.
    let dockerfile = format!(
        "FROM {base}\nRUN (sh -c 'sleep 3000; echo {id}' &) ; (nohup setsid sh -c 'sleep 3000; echo {id}' &) ; \
         sh -c 'sleep 0.1 & exec true'; echo done > /seen\n"
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("seen"), "done\n");
}

// conformance: D10
#[test]
fn output_is_passed_through() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nRUN echo to-stdout; echo to-stderr >&2; printf no-newline; seq 20000\n"
    );
    let outcome = case.build(&case.context().dockerfile(dockerfile)).run();
    for word in ["to-stdout", "to-stderr", "no-newline", "20000"] {
        assert!(
            outcome.ok().log.contains(word),
            "`{word}` of RUN is not in the log"
        );
    }
}

// conformance: D17 D18 D20 G24
#[test]
fn what_is_supplied_is_not_in_the_layer() {
    kiln_only!();
    needs_root!();
    namespace_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nCOPY own /etc/resolv.conf\nRUN cat /etc/hosts > /seen && ! grep own /etc/resolv.conf && ! (echo x >> /etc/hosts) \
         && ! (echo x >> /etc/resolv.conf) && echo name > /etc/hostname && echo x > /dev/shm/f && ls /dev/null /proc/1 /sys/kernel \
         && test -w /dev/stdout && echo gone > /dev/null\n"
    );
    let base = kiln_e2e::Image::read(&format!("docker://{base}"));
    let context = case.context().dockerfile(dockerfile).file("own", "own\n");
    let image = case.build(&context).run().image();
    let layers = image.above(&base);
    assert_eq!(layers.len(), 2);
    assert_eq!(
        layers[1].names(),
        ["etc/", "etc/hostname", "seen"],
        "only these files, no stub of a mount"
    );
    let tree = image.tree();
    assert_eq!(tree.text("etc/hostname"), "name\n");
    assert_eq!(tree.text("etc/resolv.conf"), "own\n");
    let hosts = tree.text("seen");
    let mut names = hosts
        .lines()
        .flat_map(|line| line.split_whitespace().skip(1));
    assert!(hosts.contains("127.0.0.1\tlocalhost\n"), "{hosts}");
    assert!(
        names.all(|name| ["localhost", "ip6-localhost", "ip6-loopback"].contains(&name)),
        "{hosts}"
    );
}

// conformance: G10 G11 G13 G14 G15 G8
#[test]
fn a_layer_has_exactly_what_changed() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let reference = case.base(Base::Busybox);
    let base = kiln_e2e::Image::read(&format!("docker://{reference}"));
    let table: [(&str, &[&str]); 8] = [
        ("rm /etc/motd", &["etc/", "etc/.wh.motd"]),
        ("rm -r /var/old", &["var/", "var/.wh.old"]),
        (
            "rm -r /var/old && mkdir /var/old",
            &["var/", "var/old/", "var/old/.wh.new"],
        ),
        ("rm /etc/motd && ln -s x /etc/motd", &["etc/", "etc/motd"]),
        (
            "rm /usr/bin/suid-twin",
            &["usr/", "usr/bin/", "usr/bin/.wh.suid-twin"],
        ),
        ("chmod 600 /etc/motd", &["etc/", "etc/motd"]),
        (
            "chmod 644 /etc/motd; touch /x && rm /x; mv /etc/motd /m && mv /m /etc/motd",
            &[],
        ),
        (
            "mkfifo /p && mknod /n c 1 3 && mkdir -m 1711 /d",
            &["d/", "n", "p"],
        ),
    ];
    for (at, (command, names)) in table.iter().enumerate() {
        let context = case
            .context()
            .dockerfile(format!("FROM {reference}\nRUN {command}\n"));
        let image = case
            .build(&context)
            .destination(case.destination(&format!("n{at}")))
            .run()
            .image();
        let layers = image.above(&base);
        let got: Vec<&str> = layers.iter().flat_map(kiln_e2e::Layer::names).collect();
        assert_eq!(got, *names, "{command}");
        for (name, node) in layers.iter().flat_map(|layer| &layer.entries) {
            if name.contains(".wh.") {
                assert_eq!((node.mode, node.mtime), (0, 0), "{name}");
                let empty = matches!(node.kind, kiln_e2e::NodeKind::File { size: 0, .. });
                assert!(empty, "{name}: {node}");
            }
        }
    }
}

/// Said before anything is pulled: the base does not even exist.
// conformance: D39
#[test]
fn what_no_command_can_have_is_refused() {
    kiln_only!();
    let case = Case::new();
    let absent = case.destination("absent");
    for (flag, words) in [
        ("--security=insecure", ["--security=insecure", "privilege"]),
        ("--device=vendor.com/device", ["--device", "no device"]),
        ("--network=bridge", ["--network", "default, none or host"]),
        ("--security=none", ["--security", "sandbox or insecure"]),
    ] {
        let context = case
            .context()
            .dockerfile(format!("FROM {absent}\nRUN {flag} true\n"));
        let outcome = case.build(&context).run();
        outcome.failed(1, &words);
        assert!(outcome.log.contains("Dockerfile:2"), "{}", outcome.log);
    }
}

// conformance: D39
#[test]
fn network_none_has_only_loopback() {
    kiln_only!();
    needs_root!();
    let text = seen("RUN --network=none ip link | grep -o '^[0-9]*: [a-z0-9]*' > /seen");
    assert_eq!(text, "1: lo\n");
}

// conformance: D39
#[test]
fn the_network_is_the_builders_unless_told_otherwise() {
    kiln_only!();
    needs_root!();
    let devices = std::fs::read_to_string("/proc/net/dev").unwrap();
    let names = devices.lines().filter_map(|line| line.split_once(':'));
    let names: Vec<&str> = names.map(|(name, _)| name.trim()).collect();
    for flag in ["", "--network=default ", "--network=host "] {
        let text = seen(&format!(
            "RUN {flag}cut -d: -s -f1 /proc/net/dev | tr -d ' ' > /seen"
        ));
        assert_eq!(text.lines().collect::<Vec<_>>(), names, "{flag}");
    }
}

// conformance: D40
#[test]
fn a_static_binary_on_scratch() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let busybox = std::fs::read(kiln_e2e::tool("busybox")).unwrap();
    let dockerfile =
        "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"touch\", \"/seen\"]\n";
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file_with_mode("busybox", 0o755, busybox);
    assert_eq!(
        case.build(&context).run().image().tree().paths(),
        ["busybox", "seen"]
    );
}

/// As the issue has it: root is not needed where the machine lets users make namespaces.
#[test]
fn an_ordinary_user_can_run_in_a_namespace() {
    kiln_only!();
    if !userns_works() {
        skipped("this machine lets users make no namespaces");
        return;
    }
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nCOPY Dockerfile /copied\nRUN id -u > /seen && rm /etc/motd && mkdir /made\n"
    );
    let context = case.context().dockerfile(dockerfile);
    let (words, program) = User::Ordinary.enter(&case);
    let base = kiln_e2e::Image::read(&format!("docker://{base}"));
    let image = case
        .build(&context)
        .under(words)
        .program(program)
        .run()
        .image();
    let tree = image.tree();
    assert_eq!(tree.text("seen"), "0\n");
    assert!(!tree.has("etc/motd"));
    for path in ["seen", "made", "copied"] {
        assert!(
            tree.owner(path).ends_with(" 0:0"),
            "{path}: {}",
            tree.owner(path)
        );
    }
    // What belongs to others in the base still does: base layers pass through.
    assert_eq!(tree.owner("home/app"), "0750 1000:1000");
    let names: Vec<&str> = image.above(&base)[1].names();
    assert_eq!(names, ["etc/", "etc/.wh.motd", "made/", "seen"]);
}

// conformance: D19
#[test]
fn var_run_is_captured_unless_told_otherwise() {
    kiln_only!();
    needs_root!();
    // In a pod it leads to a mount, and cannot be replaced.
    namespace_only!();
    for (flag, captured) in [
        ("--single-snapshot=false", true),
        ("--ignore-var-run=false", true),
        ("--ignore-var-run", false),
    ] {
        let case = Case::new();
        let base = case.base(Base::Busybox);
        let dockerfile = format!(
            "FROM {base}\nRUN rm -rf /var/run; mkdir -p /var/run; touch /var/run/v /seen\n"
        );
        let context = case.context().dockerfile(dockerfile);
        let tree = case.build(&context).arg(flag).run().image().tree();
        assert!(tree.has("seen"));
        assert_eq!(tree.has("var/run/v"), captured, "{flag}");
    }
}

/// Where the user has one id, files cannot be given away; the kernel's own words do not say why.
#[test]
fn a_missing_id_is_explained() {
    kiln_only!();
    needs_root!();
    if !userns_works()
        || std::fs::read_to_string("/etc/subuid").is_ok_and(|ranges| !ranges.is_empty())
    {
        skipped("uid 1000 gets no user namespace, or one with more ids");
        return;
    }
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let (words, program) = User::Ordinary.enter(&case);
    let failing = |command: &str| {
        let context = case
            .context()
            .dockerfile(format!("FROM {base}\nRUN {command}\n"));
        case.build(&context)
            .under(words.clone())
            .program(program.clone())
            .run()
    };
    failing("touch /f && chown 5:5 /f")
        .failed(1, &["Dockerfile:2", "hint: only one user id exists"]);
    let other = failing("exit 7");
    other.failed(7, &["Dockerfile:2"]);
    assert!(!other.log.contains("hint:"), "{}", other.log);
}

// finding 14
#[test]
fn a_command_that_is_too_long_is_refused_without_its_text() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let long = "x".repeat(240_000);
    let script = "#!/bin/sh";
    let table = [
        (
            format!("RUN echo {long}"),
            "the command's text has 240005 bytes",
            "MAX_ARG_STRLEN",
        ),
        (
            format!("RUN <<E\necho {long}\nE"),
            "the command's text has 240006 bytes",
            "MAX_ARG_STRLEN",
        ),
        (
            format!("RUN [\"/bin/echo\", \"{long}\"]"),
            "the command's text has 240000 bytes",
            "MAX_ARG_STRLEN",
        ),
        (
            format!("ENV A={long}\nRUN true"),
            "the variable `A` has 240002 bytes",
            "MAX_ARG_STRLEN",
        ),
        (
            format!("ARG A={long}\nRUN true"),
            "the variable `A` has 240002 bytes",
            "MAX_ARG_STRLEN",
        ),
    ];
    for (lines, said, limit) in table {
        let context = case.context().dockerfile(format!("FROM {base}\n{lines}\n"));
        let outcome = case.build(&context).no_push().run();
        outcome.failed(
            1,
            &[
                said,
                limit,
                "heredoc that begins with `#!/bin/sh`",
                "Dockerfile:",
            ],
        );
        assert!(
            outcome.log.len() < 8_000,
            "{} bytes of log",
            outcome.log.len()
        );
    }
    // Long, and no matter; nothing of it is said in full.
    let context = case.context().file("f", "f").dockerfile(format!(
        "FROM {base}\nRUN <<E\n{script}\nX={long}\necho ${{#X}} > /length\nE\nRUN true {}\nLABEL l={long}\n",
        "z".repeat(100_000)
    ));
    let outcome = case.build(&context).run();
    assert_eq!(outcome.image().tree().text("length"), "240000\n");
    assert!(
        outcome.log.len() < 12_000,
        "{} bytes of log",
        outcome.log.len()
    );
    for lines in [
        format!("RUN false {}", "z".repeat(100_000)),
        format!("COPY {} /", "z".repeat(100_000)),
        format!("FRMO {long}"),
    ] {
        let context = case.context().dockerfile(format!("FROM {base}\n{lines}\n"));
        let outcome = case.build(&context).no_push().run();
        assert_eq!(outcome.code, Some(1));
        assert!(
            outcome.log.len() < 8_000,
            "{lines:.20}: {} bytes of log\n{:.3000}",
            outcome.log.len(),
            outcome.log
        );
    }
}
