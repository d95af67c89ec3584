//! RUN --mount, in both isolations.

use std::fs;

use kiln_e2e::{Base, Case, Image, SshAgent, all_in_place, kiln_only, namespace_only, needs_root};

// conformance: D26 D28 D18
#[test]
fn bind_mounts_of_context_stage_and_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base} AS source\nRUN mkdir /d && echo stage > /d/f\n\
         FROM {base}\nWORKDIR /w\nRUN --mount=target=/ctx,type=bind --mount=from=source,source=/d,dst=stage \
         --mount=type=bind,from={base},src=etc/motd,target=/motd \
         --mount=type=bind,source=sub,target=/rw,rw \
         cat /ctx/file stage/f /motd > /seen; echo discarded > /rw/inside && cat /rw/inside /rw/own >> /seen\n\
         RUN ls -d /ctx /w/stage /motd /rw > /left 2>/dev/null; true\n"
    );
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("file", "context\n")
        .file("sub/own", "own\n");
    let image = case.build(&context).run().image();
    let tree = image.tree();
    assert_eq!(
        tree.text("seen"),
        "context\nstage\nsecond layer\ndiscarded\nown\n"
    );
    assert_eq!(
        tree.text("left"),
        "",
        "mount points are gone in the next RUN"
    );
    let base = Image::read(&format!("docker://{base}"));
    for layer in image.above(&base) {
        for name in layer.names() {
            assert!(
                !["ctx", "stage", "motd", "rw"].contains(&name.trim_end_matches('/')),
                "`{name}` is in a layer"
            );
        }
    }
}

/// Where nothing is mounted, nothing is read-only; what is written is thrown away all the same.
// conformance: D28
#[test]
fn bind_mounts_are_read_only() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let lines = "RUN --mount=target=/ctx touch /ctx/no && echo writable > /seen; true\n\
         RUN --mount=target=/ctx,readwrite touch /ctx/no && test -e /ctx/no\n\
         RUN --mount=target=/ctx test ! -e /ctx/no\n";
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\n{lines}"))
        .file("file", "context\n");
    let tree = case.build(&context).run().image().tree();
    assert_eq!(tree.has("seen"), all_in_place());
    assert!(!tree.has("ctx"));
}

// conformance: D30 D31
#[test]
fn cache_mounts_are_shared_and_not_in_the_image() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    let dockerfile = format!(
        "FROM {base}\nRUN --mount=type=cache,id={id},target=/c echo kept > /c/f.part && mv /c/f.part /c/f\n\
         RUN --mount=type=cache,target=/other,id={id} cat /other/f > /seen\n\
         RUN --mount=type=cache,target=/c,id={id}-2,mode=0700,uid=5,gid=6 stat -c '%a %u:%g' /c > /stat\n\
         RUN --mount=type=cache,target=/{id}/x/.././d/ echo of-target > /{id}/d/f\n\
         RUN --mount=type=cache,id=/{id}/d,target=/c cat /c/f >> /seen; stat -c '%a %u:%g' /c >> /stat\n"
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("seen"), "kept\nof-target\n");
    assert_eq!(tree.text("stat"), "700 5:6\n755 0:0\n");
    assert!(
        !tree.has(&id) && !tree.has("c") && !tree.has("other"),
        "{:?}",
        tree.paths()
    );
}

// finding 27
// conformance: D30
#[test]
fn caches_of_another_owner_or_mode_are_other_caches() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    let run = |flags: &str, command: &str| {
        format!("RUN --mount=type=cache,id={id},target=/c{flags} {command}\n")
    };
    let look = "ls /c >> /seen; stat -c '%a %u:%g' /c >> /seen";
    let lines = [
        run("", "touch /c/plain"),
        run(",uid=10", "touch /c/uid"),
        run(",gid=10", "touch /c/gid"),
        run(",mode=0700", "touch /c/mode"),
        run("", look),
        run(",uid=10", look),
        run(",gid=10,uid=0", look),
        run(",mode=0700", look),
        run(",uid=10,mode=0755,gid=0", look),
        run(",uid=11", look),
        // The owner is that of the cache itself, which is not what a source inside shows.
        run(",source=/plain,uid=10", "cat /c && echo inside >> /seen"),
    ];
    let lines = lines.concat().replace(
        &format!("id={id},target=/c,source"),
        &format!("id={id},target=/f,source"),
    );
    let lines = lines.replace("cat /c &&", "cat /f &&");
    let context = case.context().dockerfile(format!("FROM {base}\n{lines}"));
    let tree = case.build(&context).run().image().tree();
    assert_eq!(
        tree.text("seen"),
        "plain\n755 0:0\nuid\n755 10:0\ngid\n755 0:10\nmode\n700 0:0\nuid\n755 10:0\n755 11:0\ninside\n"
    );
}

// finding 27: what a cache begins with tells it apart, too.
// conformance: D30
#[test]
fn caches_that_begin_with_other_files_are_other_caches() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    let run = |flags: &str| {
        format!(
            "RUN --mount=type=cache,id={id},target=/c{flags} ls /c >> /seen; echo - >> /seen; touch /c/more\n"
        )
    };
    let lines = ["", ",from=one", ",from=two", ",from=scratch", ",from=one"]
        .map(run)
        .concat();
    let context = case.context().dockerfile(format!(
        "FROM scratch AS one\nCOPY f /first\nFROM scratch AS two\nCOPY f /second\nFROM {base}\n{lines}"
    ));
    let tree = case.build(&context.file("f", "f")).run().image().tree();
    assert_eq!(
        tree.text("seen"),
        "-\nfirst\n-\nsecond\n-\nmore\n-\nfirst\nmore\n-\n"
    );
}

/// An empty cache begins with the files of a stage or image; later they are its own.
// conformance: D30 D31
#[test]
fn caches_begin_with_files_of_a_stage() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let (id, store) = (case.id(), case.path("out/volume"));
    fs::create_dir_all(&store).unwrap();
    let build = |seed: &str, lines: &str| {
        let context = case.context().dockerfile(format!(
            "FROM {base} AS seed\nRUN mkdir -p /a/b && echo {seed} > /a/b/f && chown 5:6 /a/b/f\nFROM {base}\n{lines}\n"
        ));
        let build = case.build(&context);
        build
            .arg(format!("--cache-dir={}", store.display()))
            .run()
            .image()
            .tree()
    };
    let mount = format!("--mount=type=cache,id={id},from=seed,source=a/b,target=/c");
    let tree = build(
        "one",
        &format!("RUN {mount} cat /c/f > /seen; stat -c %u:%g /c/f >> /seen; echo more > /c/g"),
    );
    assert_eq!(tree.text("seen"), "one\n5:6\n");
    let tree = build(
        "two",
        &format!("RUN {mount} cat /c/f /c/g > /seen; rm /c/f"),
    );
    assert_eq!(
        tree.text("seen"),
        "one\nmore\n",
        "a cache that is there is not filled again"
    );
    // What a command wrote before it failed is there for the next one.
    let plain = mount.replace("from=seed,source=a/b,", "");
    let fails = case.context().dockerfile(format!(
        "FROM {base}\nRUN {plain} echo failed > /c/failed; exit 3\n"
    ));
    let failed = case
        .build(&fails)
        .arg(format!("--cache-dir={}", store.display()));
    assert_eq!(failed.run().code, Some(3));
    let tree = build("three", &format!("RUN {plain} cat /c/failed > /seen"));
    assert_eq!(tree.text("seen"), "failed\n");
}

/// Two stages at once: they take turns, or each has its own.
// conformance: D30
#[test]
fn caches_are_shared_as_asked() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    for (sharing, command) in [
        ("locked", "mkdir /c/mine && sleep 1 && rmdir /c/mine"),
        (
            "private",
            "test ! -e /c/mine && mkdir /c/mine && sleep 1 && rmdir /c/mine",
        ),
    ] {
        let run = format!(
            "RUN --mount=type=cache,id={id}-{sharing},sharing={sharing},target=/c {command} && touch /done"
        );
        let context = case.context().dockerfile(format!(
            "FROM {base} AS one\n{run}\nFROM {base} AS two\n{run}\nFROM {base}\nCOPY --from=one /done /one\nCOPY --from=two /done /two\n"
        ));
        let tree = case.build(&context).run().image().tree();
        assert!(tree.has("one") && tree.has("two"), "{sharing}");
    }
}

// conformance: D2 D34 D35 D36
#[test]
fn secrets_leave_no_trace() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    fs::write(case.path("secret-file"), "from-a-file-7f3a").unwrap();
    let dockerfile = format!(
        "FROM {base}\nRUN --mount=type=secret,id=file cat /run/secrets/file | md5sum > /seen; stat -c '%a %u' /run/secrets/file >> /seen\n\
         RUN --mount=type=secret,id=variable,target=/s,mode=0440,uid=7 md5sum < /s >> /seen; stat -c '%a %u' /s >> /seen\n\
         ENV TOKEN=of-the-image\nRUN --mount=type=secret,id=file,env=TOKEN echo \"$TOKEN\" | wc -c >> /seen; ls /run >> /seen\n\
         RUN --mount=type=secret,target=/etc/kiln/file,gid=8 md5sum < /etc/kiln/file >> /seen; \
         stat -c '%a %u:%g' /etc/kiln/file >> /seen\n\
         RUN --mount=type=secret,id=file,env=TOKEN,target=/both test \"$(cat /both)\" = \"$TOKEN\" && echo both >> /seen\n\
         RUN --mount=type=secret,id=absent ls /run/secrets 2>/dev/null >> /seen; echo ran >> /seen\n"
    );
    let file = format!("id=file,src={}", case.path("secret-file").display());
    let build = case
        .build(&case.context().dockerfile(dockerfile))
        .arg("--secret")
        .arg(file);
    let build = build
        .arg("--secret=id=variable,env=SECRET_VARIABLE")
        .env("SECRET_VARIABLE", "from-the-env-99b1");
    let outcome = build.arg("--verbosity=trace").run();
    let image = outcome.image();
    let text = image.tree().text("seen");
    // md5 of the two texts, modes and owners, `echo "$TOKEN" | wc -c`, and nothing of `ls /run`.
    // In a pod there is the service account.
    let (run, secrets) = if all_in_place() {
        ("secrets\n", "kubernetes.io\n")
    } else {
        ("", "")
    };
    let expected = format!(
        "3dd3e593c1917f4cd98a401895f2d73d  -\n400 0\n4cc0af5a6262fe6f5c91d0250f69f6ff  -\n440 7\n17\n{run}\
         3dd3e593c1917f4cd98a401895f2d73d  -\n400 0:8\nboth\n{secrets}ran\n"
    );
    assert_eq!(text, expected);
    for secret in ["from-a-file-7f3a", "from-the-env-99b1"] {
        assert!(!outcome.log.contains(secret), "`{secret}` is in the log");
        assert!(
            !image.config.to_string().contains(secret),
            "`{secret}` is in the config"
        );
    }
    let tree = image.tree();
    for path in ["run/secrets", "s", "both", "etc/kiln"] {
        assert!(!tree.has(path), "{path}");
    }
    assert_eq!(image.env("TOKEN"), Some("of-the-image"));

    let required = format!("FROM {base}\nRUN --mount=type=secret,id=z,required=true true\n");
    let context = case.context().dockerfile(required);
    case.build(&context)
        .run()
        .failed(1, &["secret z: not found", "Dockerfile:2"]);
}

// conformance: D33
#[test]
fn tmpfs_mounts_hide_and_vanish() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!(
        "FROM {base}\nRUN --mount=type=tmpfs,target={HIDDEN},size=1m ls -A {HIDDEN} > /seen; stat -c %a {HIDDEN} >> /seen; \
         touch {HIDDEN}/f\nRUN cat /etc/motd >> /seen\n",
        HIDDEN = hidden(),
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("seen"), "1777\nsecond layer\n");
    assert!(!tree.has("etc/f") && !tree.has("home/f") && tree.has("etc/passwd"));
}

/// A directory with files. In place `/etc` cannot be covered: a pod has files mounted there.
fn hidden() -> &'static str {
    if all_in_place() { "/home" } else { "/etc" }
}

// conformance: D33
#[test]
fn a_tmpfs_has_a_limit() {
    kiln_only!();
    needs_root!();
    namespace_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let fill = "dd if=/dev/zero of=/t/big bs=1M count=2 2>/dev/null";
    let context = case.context().dockerfile(format!(
        "FROM {base}\nRUN --mount=type=tmpfs,target=/t,size=1m ! {fill}\n\
         RUN --mount=type=tmpfs,target=/t,size=3145728 {fill}\n"
    ));
    case.build(&context).run().ok();
}

/// Dockerfiles write `--mount=ro` for the context in place of the working directory, as docker's own does.
// conformance: D25
#[test]
fn a_mount_without_target_is_on_the_working_directory() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .file("src/main.c", "int main;")
        .file("src/tmp/hidden", "")
        .dockerfile(format!(
            "FROM {base}\nWORKDIR /src\nRUN --mount=ro --mount=type=tmpfs,target=src/tmp ls src src/tmp > /seen\n\
             WORKDIR src\nRUN --mount=source=src cat main.c >> /seen\n\
             WORKDIR /t\nRUN --mount=type=tmpfs touch gone && ls >> /seen\n\
             WORKDIR /c\nRUN --mount=type=cache,id={id} echo kept > f\n\
             WORKDIR /\nRUN --mount=type=cache,id={id},target=c cat c/f >> /seen\n",
            id = case.id()
        ));
    let tree = case.build(&context).run().image().tree();
    assert_eq!(
        tree.text("seen"),
        "src:\nmain.c\ntmp\n\nsrc/tmp:\nint main;gone\nkept\n"
    );
    assert!(!tree.has("t/gone") && !tree.has("c/f"));
    assert!(!tree.has("src/src/main.c") && !tree.has("src/src/tmp"));
}

/// A real agent with a real key: what `ssh-add -l` says here, the agent says in RUN.
// conformance: D37
#[test]
fn an_ssh_agent_is_shown_to_the_command() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let agent = SshAgent::start(&case);
    let keys = agent.keys();
    let lines = "COPY root /\nRUN --mount=type=ssh ssh-add -l > /seen; stat -c '%a %u:%g' $SSH_AUTH_SOCK >> /seen\n\
         RUN --mount=type=ssh,id=git,target=/agent,mode=0666,uid=5,gid=6 ssh-add -l >> /seen; stat -c '%a %u:%g' /agent >> /seen\n\
         RUN --mount=type=ssh,id=none echo \"none: $SSH_AUTH_SOCK\" >> /seen\n\
         RUN --mount=type=ssh --mount=type=ssh,id=git echo $SSH_AUTH_SOCK >> /seen; test -S /run/buildkit/ssh_agent.1\n\
         RUN ls -A /run /agent 2>/dev/null > /left || true\n";
    let context = case.context().dockerfile(format!("FROM {base}\n{lines}"));
    let context = SshAgent::put_client(context, "root");
    let build = case
        .build(&context)
        .arg(format!("--ssh=git={}", agent.socket().display()));
    let build = build
        .arg("--ssh=default")
        .env("SSH_AUTH_SOCK", agent.socket());
    let tree = build.run().image().tree();
    let seen = format!("{keys}600 0:0\n{keys}666 5:6\nnone: \n/run/buildkit/ssh_agent.0\n");
    assert_eq!(tree.text("seen"), seen);
    let account = if all_in_place() { "secrets\n" } else { "" };
    assert_eq!(tree.text("left").replace("/run:\n", ""), account);

    let missing = format!("FROM {base}\nRUN --mount=type=ssh,required=true true\n");
    let context = context.dockerfile(missing);
    case.build(&context).run().failed(
        1,
        &["ssh agent default: not found", "--ssh", "Dockerfile:2"],
    );
}

/// Neither what a mount shows nor the place it is shown at is a change.
// conformance: D26 D27
#[test]
fn a_run_that_changes_only_what_is_mounted_makes_no_layer() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let id = case.id();
    let targets = [hidden(), "/etc/not/there", "/var/old", "/new/place"];
    let mut lines = Vec::new();
    for (number, target) in targets.into_iter().enumerate() {
        lines.push(format!(
            "RUN --mount=type=cache,id={id}-{number},target={target} --mount=type=tmpfs,target={target}/t \
             --mount=type=bind,source=file,target={target}/t/f touch {target}/x {target}/t/y && cat {target}/t/f\n"
        ));
    }
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\n{}", lines.concat()))
        .file("file", "context\n");
    let image = case.build(&context).run().image();
    let above = image.above(&Image::read(&format!("docker://{base}")));
    let names: Vec<_> = above.iter().map(|layer| layer.names()).collect();
    assert!(names.is_empty(), "{names:?}");
}

// conformance: D24 D25 D28 D38
#[test]
fn mistakes_in_mounts_are_errors() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let table = [
        ("type=bnd,target=/x", "bnd"),
        ("type=cache,targt=/x", "targt"),
        ("type=tmpfs", "below the root"),
        ("type=bind,target=/", "below the root"),
        ("type=bind,target=..", "below the root"),
        ("type=cache,target=/x,mode=9", "mode"),
        (
            "type=bind,target=/x,source=not-there",
            "\"/not-there\": not found",
        ),
    ];
    for (mount, word) in table {
        let context = case
            .context()
            .dockerfile(format!("FROM {base}\nRUN --mount={mount} true\n"));
        case.build(&context)
            .run()
            .failed(1, &[word, "Dockerfile", "2"]);
    }
}

/// Others who share a volume can put links and pipes where caches and their locks are.
// conformance: D32
#[test]
fn what_others_put_in_the_place_of_a_cache_is_refused() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let store = case.path("out/cache");
    let outside = case.path("out/outside");
    fs::create_dir_all(&store).unwrap();
    fs::create_dir_all(&outside).unwrap();
    let build = |sharing: &str| {
        let line =
            format!("RUN --mount=type=cache,sharing={sharing},target=/c echo x > /c/written");
        let context = case.context().dockerfile(format!("FROM {base}\n{line}\n"));
        let flag = format!("--cache-dir={}", store.display());
        case.build(&context).no_push().arg(flag).run()
    };
    build("locked").ok();
    let mounts = store.join("mounts");
    let names = fs::read_dir(&mounts).unwrap().flatten();
    let (locks, caches): (Vec<_>, Vec<_>) = names
        .map(|entry| entry.path())
        .partition(|path| path.extension().is_some());
    assert_eq!((locks.len(), caches.len()), (1, 1));
    fs::remove_dir_all(&caches[0]).unwrap();
    std::os::unix::fs::symlink(&outside, &caches[0]).unwrap();
    for sharing in ["shared", "locked"] {
        build(sharing).failed(1, &["it is no directory"]);
    }
    fs::remove_file(&locks[0]).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&locks[0]).status();
    assert!(made.unwrap().success());
    build("locked").failed(1, &["cannot lock"]);
    fs::remove_dir_all(&mounts).unwrap();
    std::os::unix::fs::symlink(&outside, &mounts).unwrap();
    build("shared").failed(1, &["it is no directory"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

// conformance: D32
#[test]
fn caches_stay_inside_their_store() {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let store = case.path("out/volume/cache");
    fs::create_dir_all(&store).unwrap();
    let outside = case.path("out/volume/outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("file"), "not for a build\n").unwrap();
    let build = |lines: &str| {
        let context = case.context().dockerfile(format!("FROM {base}\n{lines}\n"));
        let flag = format!("--cache-dir={}", store.display());
        case.build(&context).no_push().arg(flag).run()
    };
    // An id is a name, never a path.
    build("RUN --mount=type=cache,id=../../outside,target=/c echo x > /c/written && ! test -e /c/file").ok();
    assert!(!outside.join("written").exists());
    // A source is looked up inside the cache: links end at its root.
    let link = format!(
        "ln -s {} /c/absolute && ln -s ../../../outside /c/relative && mkdir /c/real",
        outside.display()
    );
    build(&format!("RUN --mount=type=cache,id=links,target=/c {link}")).ok();
    for name in ["absolute", "relative", "../../outside"] {
        let line =
            format!("RUN --mount=type=cache,id=links,source={name},target=/c test ! -e /c/file");
        let outcome = build(&line);
        assert!(
            outcome.code == Some(0) || outcome.log.contains("not found"),
            "{name}: {}",
            outcome.log
        );
    }
    build("RUN --mount=type=cache,id=links,source=real,target=/c touch /c/in").ok();
    let left: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["file"]);
}
