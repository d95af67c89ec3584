//! The same Dockerfile and context through Kiln and through Debian's `buildah`: the images must be equal, file by file
//! and setting by setting, but for differences that are named here.

use kiln_e2e::{
    Base, Builder, Case, Context, compare_configs, compare_trees, kiln_only, needs_root,
};

fn same(name: &str, lines: &str, fill: impl Fn(Context) -> Context) {
    let case = Case::new();
    let base = case.base(Base::Docker);
    let context = fill(case.context().dockerfile(lines.replace("BASE", &base)));
    let ours = case
        .build(&context)
        .with(Builder::Kiln)
        .destination(case.destination("kiln"))
        .run()
        .image();
    let theirs = case
        .build(&context)
        .with(Builder::Buildah)
        .destination(case.destination("buildah"))
        .run()
        .image();
    // buildah's chroot isolation leaves the mount points it made in the image.
    let left = [
        "dev",
        "proc",
        "sys",
        "run",
        "etc/hosts",
        "etc/resolv.conf",
        "etc/hostname",
        "etc",
    ];
    let trees = compare_trees(&theirs.tree(), &ours.tree(), |path| {
        left.iter().any(|prefix| {
            path == *prefix || path.starts_with(&format!("{prefix}/")) && *prefix != "etc"
        })
    });
    assert!(
        trees.is_empty(),
        "{name}, buildah => kiln:\n{}",
        trees.join("\n")
    );
    // buildah labels its images and always sets a shell command's escape flag differently.
    let mut configs = compare_configs(
        &theirs.config,
        &ours.config,
        &["ArgsEscaped", "Labels", "Image", "Hostname"],
    );
    configs.retain(|line| {
        !(line.starts_with("config.Shell")
            || line.starts_with("config.WorkingDir") && line.contains("\"/\""))
    });
    assert!(
        configs.is_empty(),
        "{name}, buildah => kiln:\n{}",
        configs.join("\n")
    );
}

#[test]
fn copies() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nCOPY . /all/\nCOPY --chown=33:50 d /owned\nCOPY a b /both/\nCOPY *.txt /texts/\nADD archive.tar /un\n";
    same("copies", lines, |context| {
        let archive = kiln_e2e::TarTree::new()
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
fn settings() {
    kiln_only!();
    needs_root!();
    let lines = "ARG X=1\nFROM BASE\nARG X\nENV A=1 B=$A C=\"${X:-2} 3\"\nLABEL l=1\nEXPOSE 80 53/udp\nVOLUME /v\nUSER app\n\
        WORKDIR /home/app\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD echo hi\nSTOPSIGNAL SIGUSR1\nHEALTHCHECK --retries=2 CMD true\n\
        ONBUILD RUN true\n";
    same("settings", lines, |context| context);
}

#[test]
fn commands() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE\nRUN mkdir -p /a/b && echo 1 > /a/b/f && ln /a/b/f /a/g && ln -s b /a/l\nRUN rm -r /var/old /etc/motd\n\
        RUN rm -r /a/b && mkdir /a/b && echo 2 > /a/b/f\nRUN chown -R 5:6 /a && chmod 2755 /a && mkfifo /a/p && cp -p /usr/bin/suid /a/\n\
        USER app\nRUN echo mine > /home/app/f\n";
    same("commands", lines, |context| context);
}

#[test]
fn stages() {
    kiln_only!();
    needs_root!();
    let lines = "FROM BASE AS one\nRUN mkdir /out && echo 1 > /out/one && chmod 4755 /out/one && chown 7:8 /out\n\
        FROM one AS two\nRUN echo 2 > /out/two\nFROM BASE\nCOPY --from=two /out /out\nCOPY --from=0 /out/one /alone\n";
    same("stages", lines, |context| context);
}
