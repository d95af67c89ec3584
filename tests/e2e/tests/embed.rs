//! `examples/embed`: a build from a Rust program, without a command line.

use std::process::Command;

use kiln_e2e::{Base, Case, Image, Leaks, embed, kiln_only, output, skipped, userns_works};

fn embedded(lines: &str) -> (Case, Image) {
    let case = Case::new();
    let base = case.base(Base::Docker);
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\n{lines}\n"))
        .file("f", "f\n");
    let leaks = Leaks::before(&case);
    let archive = case.path("out/image.tar");
    let mut command = Command::new(embed());
    command
        .arg(context.path())
        .arg(&archive)
        .current_dir(case.path("out"));
    command
        .env("TMPDIR", case.path("tmp"))
        .env("HOME", case.path("home"));
    output(&mut command);
    leaks.check_after("");
    let image = Image::read(&format!("docker-archive:{}", archive.display()));
    (case, image)
}

#[test]
fn a_program_builds_an_archive() {
    kiln_only!();
    let (case, image) = embedded("COPY f /copied\nENV A=1");
    assert_eq!(image.tree().text("copied"), "f\n");
    assert_eq!(image.env("A"), Some("1"));
    let digest = std::fs::read_to_string(case.path("out/digest"));
    let digest = digest.unwrap_or_default();
    assert!(
        digest.starts_with("sha256:") && digest.len() == 71,
        "{digest:?}"
    );
}

#[test]
fn a_program_runs_commands_as_itself() {
    kiln_only!();
    // Its isolation is `auto`, which must find namespaces here: never this machine's own root.
    if !userns_works() {
        skipped("needs a machine that allows namespaces");
        return;
    }
    let (_, image) = embedded("COPY f /copied\nRUN cat /copied > /ran");
    assert_eq!(image.tree().text("ran"), "f\n");
}
