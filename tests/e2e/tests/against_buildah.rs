//! The same Dockerfile and context through Kiln and through Debian's `buildah`: the images must be equal, file by file
//! and setting by setting, but for differences that are named here with their reasons.
//!
//! A difference that is not in the lists fails the test, and so does one in a case's list that is gone.

use kiln_e2e::{
    Base, Builder, Case, Context, TarTree, all_in_place, compare_configs, compare_trees, kiln_only,
    needs_root,
};

/// What a difference line begins with, and why the two differ there.
type Known = (&'static str, &'static str);

/// Differences that any case may have.
const EVERYWHERE: &[Known] = &[
    (
        "config.ArgsEscaped",
        "for Windows; BuildKit sets it for shell forms, buildah never",
    ),
    (
        "config.Labels",
        "buildah adds its version as a label; those of the Dockerfile have a case of their own",
    ),
    (
        "config.Image",
        "classic docker's field; BuildKit leaves it out",
    ),
    (
        "config.Hostname",
        "of the container that ran the commands; BuildKit leaves it out",
    ),
    (
        "config.WorkingDir: \"\" => \"/\"",
        "BuildKit writes the root, buildah nothing",
    ),
    ("config.WorkingDir: null => \"/\"", "as above"),
];

/// Mount points that buildah's chroot isolation makes and leaves; BuildKit and Kiln take them away again.
const LEFT_BY_CHROOT: &[&str] = &[
    "dev",
    "proc",
    "sys",
    "run",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/hostname",
];

fn is_left_by_chroot(path: &str) -> bool {
    let inside = |place: &str| path == place || path.starts_with(&format!("{place}/"));
    path == "etc" || LEFT_BY_CHROOT.iter().copied().any(inside)
}

/// Builds with both and compares; `BASE` in the lines is an image that `docker` would have made.
fn compare(lines: &str, known: &[Known], fill: impl Fn(Context) -> Context) {
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let base = case.base(Base::Docker);
    let context = fill(case.context().dockerfile(lines.replace("BASE", &base)));
    let built = |builder, name: &str| {
        let build = case.build(&context).with(builder);
        build.destination(case.destination(name)).run().image()
    };
    let (theirs, ours) = (
        built(Builder::Buildah, "buildah"),
        built(Builder::Kiln, "kiln"),
    );
    let mut found = compare_trees(&theirs.tree(), &ours.tree(), is_left_by_chroot);
    found.extend(compare_configs(&theirs.config, &ours.config, &[]));
    let is = |line: &str, (start, _): &Known| line.starts_with(start);
    let gone: Vec<_> = known
        .iter()
        .filter(|one| !found.iter().any(|line| is(line, one)))
        .collect();
    found.retain(|line| !known.iter().chain(EVERYWHERE).any(|one| is(line, one)));
    assert!(found.is_empty(), "buildah => kiln:\n{}", found.join("\n"));
    assert!(
        gone.is_empty(),
        "listed, but no longer different: {gone:#?}"
    );
    assert!(!all_in_place(), "not one of the suites for both isolations");
}

#[test]
fn copies() {
    let lines = "FROM BASE\nCOPY . /all/\nCOPY --chown=33:50 d /owned\nCOPY a b /both/\nCOPY *.txt /texts/\nADD archive.tar /un\n";
    compare(lines, &[], |context| {
        let archive = TarTree::new()
            .dir("x/", 0o711)
            .owner(3, 4)
            .file("x/y", 0o640, "y")
            .symlink("x/z", "y");
        context
            .file_with_mode("a", 0o600, "a")
            .file_with_mode("b", 0o755, "b")
            .file("one.txt", "1")
            .file("d/deep/er", "e")
            .dir("d/empty", 0o700)
            .symlink("d/link", "deep")
            .file("archive.tar", archive.finish())
            .file(".dockerignore", "b.md\n**/skip\n")
            .file("b.md", "")
            .file("d/skip", "")
    });
}

#[test]
fn destinations() {
    let lines = "FROM BASE\nWORKDIR /w/x\nCOPY f name\nCOPY f dir/\nCOPY f ..\nCOPY f ./\nCOPY d new\nCOPY d/. dotted\n\
        COPY links /\nCOPY f /to-dir/\nCOPY f /to-file\nCOPY f /to-dir/../above\nCOPY [\"with space\", \"/w/with space\"]\n";
    let why = "a link to nothing is followed and becomes the file; buildah makes a directory there";
    let known = [("~ srv/target", why), ("- srv/target/f", why)];
    compare(lines, &known, |context| {
        context
            .file("f", "f")
            .file("with space", "s")
            .file("d/one/two", "2")
            .symlink("links/to-dir", "/tmp")
            .symlink("links/to-file", "/srv/target")
            .dir("links/srv", 0o755)
    });
}

#[test]
fn links_and_modes() {
    let lines = "FROM BASE\nCOPY d /d\nCOPY d/link-to-file /followed\nCOPY d/link-to-dir /contents\nCOPY --chmod=4750 d/file /special\n\
        COPY --chown=app d/file /named\nCOPY --chown=5 d/file /uid\nCOPY --chown=app:0 d/file /both\n";
    let why = "set-group-id is kept; buildah loses it";
    let known = [
        "~ both",
        "~ d/file",
        "~ d/twin",
        "~ followed",
        "~ named",
        "~ uid",
    ];
    compare(lines, &known.map(|path| (path, why)), |context| {
        context
            .file_with_mode("d/file", 0o2751, "f")
            .dir("d/sticky", 0o1777)
            .file("d/sub/inner", "i")
            .symlink("d/link-to-file", "file")
            .symlink("d/link-to-dir", "sub")
            .symlink("d/dangling", "/no/where")
            .hardlink("d/twin", "d/file")
    });
}

#[test]
fn archives() {
    let lines = "FROM BASE\nRUN mkdir -p /u/was-dir/full && touch /u/was-file && ln -s /srv /u/to-srv\nADD archive.tar /u\n\
        ADD archive.tar /new/place/\nCOPY archive.tar /kept\nADD --chown=7:8 plain /owned\n";
    let why = "what the archive says of its root is not for the directory that it is unpacked into";
    compare(lines, &[("~ new/place:", why), ("~ u:", why)], |context| {
        let archive = TarTree::new()
            .dir("./", 0o700)
            .file("was-dir", 0o640, "now a file")
            .dir("was-file/", 0o711)
            .file("was-file/inner", 0o4711, "i")
            .symlink("up", "..")
            .file("up/above", 0o600, "stays inside")
            .hardlink("twin", 0o640, "was-dir");
        context
            .file("archive.tar", archive.finish())
            .file("plain", "no archive")
    });
}

#[test]
fn ignore_files() {
    let lines = "FROM BASE\nCOPY . /c/\nCOPY a /a/\n";
    compare(lines, &[], |context| {
        context
            .file(
                ".dockerignore",
                "*.log\n!keep.log\npartly/*\n!partly/in\nnone\n/root-only\n# comment\na/?.tmp\n",
            )
            .file("x.log", "")
            .file("keep.log", "")
            .file("partly/in", "")
            .file("partly/out", "")
            .file("none/at/all", "")
            .file("root-only", "")
            .file("sub/root-only", "")
            .file("a/1.tmp", "")
            .file("a/12.tmp", "")
            .dir("partly", 0o770)
    });
}

#[test]
fn settings() {
    let lines = "ARG X=1\nFROM BASE\nARG X\nENV A=1 B=$A C=\"${X:-2} 3\"\nLABEL l=1\nEXPOSE 80 53/udp\nVOLUME /v\nUSER app\n\
        WORKDIR /home/app\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD echo hi\nSTOPSIGNAL SIGUSR1\nHEALTHCHECK --retries=2 CMD true\n\
        ONBUILD RUN true\n";
    compare(lines, &[], |context| context);
}

#[test]
fn words() {
    let lines = "FROM BASE\nARG ONE=1\nARG EMPTY=\nENV a=${ONE}x b=\"$ONE y\" c='$ONE z' d=\\$ONE e=a\\ b f=${EMPTY:-no} h=${ONE:+yes} \\\n\
        # a comment in between\n    i=\"q\\\"q\" j='s\"s'\nENV legacy value with  blanks\nRUN env | grep -E '^([a-j]|legacy)=' | sort > /env\n";
    compare(lines, &[], |context| context);
}

#[test]
fn commands_and_entry_points() {
    let lines = "FROM BASE AS one\nENTRYPOINT [\"a\", \"b\"]\nCMD [\"c\"]\nFROM one AS two\nCMD d e\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo shell > /shell\n\
        ENTRYPOINT f g\nHEALTHCHECK CMD true\nHEALTHCHECK NONE\nSTOPSIGNAL 9\nUSER 5:6\n";
    let known = [(
        "config.Entrypoint",
        "a shell form runs in the SHELL of the stage; buildah takes /bin/sh -c",
    )];
    compare(lines, &known, |context| context);
}

#[test]
fn working_directories() {
    let lines = "FROM BASE\nWORKDIR a\nWORKDIR ../b/./c\nRUN pwd > /pwd\nENV D=/from/env\nWORKDIR $D/x\nRUN ln -s /srv /link\nWORKDIR /link/y\nRUN pwd -P >> /pwd\n";
    compare(lines, &[], |context| context);
}

#[test]
fn users() {
    let lines = "FROM BASE\nRUN id > /ids && chmod 666 /ids\nUSER app\nRUN id >> /ids; echo $HOME >> /ids\nUSER app:root\nRUN id >> /ids\n\
        USER 1234\nRUN id >> /ids\nUSER 1234:55\nRUN id >> /ids; umask >> /ids\n";
    compare(lines, &[], |context| context);
}

#[test]
fn commands() {
    let lines = "FROM BASE\nRUN mkdir -p /a/b && echo 1 > /a/b/f && ln /a/b/f /a/g && ln -s b /a/l\nRUN rm -r /var/old /etc/motd\n\
        RUN rm -r /a/b && mkdir /a/b && echo 2 > /a/b/f\nRUN chown -R 5:6 /a && chmod 2755 /a && mkfifo /a/p && cp -p /usr/bin/suid /a/\n\
        USER app\nRUN echo mine > /home/app/f\n";
    compare(lines, &[], |context| context);
}

#[test]
fn mounts() {
    let lines = "FROM BASE AS one\nRUN mkdir /d && echo one > /d/f\nFROM BASE\nRUN --mount=type=bind,target=/ctx --mount=type=bind,from=one,source=/d,target=/one \
        --mount=type=tmpfs,target=/tmp/t cat /ctx/f /one/f > /seen && touch /tmp/t/x\nRUN ls /ctx /one 2>/dev/null >> /seen; ls /tmp >> /seen; true\n";
    let why = "the place of a mount is gone with it; buildah leaves the directory it made";
    let known = [("~ seen", why), ("- tmp/t", why)];
    compare(lines, &known, |context| context.file("f", "context\n"));
}

#[test]
fn stages() {
    let lines = "FROM BASE AS one\nRUN mkdir /out && echo 1 > /out/one && chmod 4755 /out/one && chown 7:8 /out\n\
        FROM one AS two\nRUN echo 2 > /out/two\nFROM BASE\nCOPY --from=two /out /out\nCOPY --from=0 /out/one /alone\n";
    compare(lines, &[], |context| context);
}

#[test]
fn scratch_and_arguments() {
    let lines = "ARG TAG=unused\nARG WHO=global\nFROM BASE AS one\nARG WHO\nARG OWN=own\nRUN echo \"$WHO $OWN $TAG\" > /said\n\
        FROM scratch\nARG WHO=here\nCOPY --from=one /said /said\nLABEL who=$WHO\nENV WHO2=$WHO\nCMD [\"/said\"]\n";
    compare(lines, &[], |context| context);
}

#[test]
fn triggers() {
    let lines = "FROM BASE AS parent\nONBUILD COPY f /copied\nONBUILD RUN echo ran > /ran\nONBUILD ENV T=1\nFROM parent\nRUN cat /copied >> /ran; echo $T >> /ran\n";
    compare(lines, &[], |context| context.file("f", "f\n"));
}
