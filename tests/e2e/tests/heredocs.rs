//! Heredocs in RUN, COPY and ADD.

use kiln_e2e::{Base, Case, kiln_only, needs_root};

// conformance: B15 D21 D22 D23 A33
#[test]
fn run_takes_scripts() {
    // Debian's buildah is older than heredocs.
    kiln_only!();
    needs_root!();
    let case = Case::new();
    let dockerfile = format!(
        r#"FROM {}
ENV WHO=builder
RUN <<EOF
WHO=script
echo first $WHO > /plain
# a comment of the script
echo "$(id -u)" >> /plain
EOF
RUN <<EOF
#!/bin/awk -f
BEGIN {{ print "no shell" > "/shebang" }}
EOF
RUN cat <<ONE > /one && cat <<"TWO" > /two
value $((1 + 1))
ONE
value $((1 + 1))
TWO
RUN <<-EOF
	echo tabs > /tabs
	EOF
SHELL ["/bin/ash", "-e", "-c"]
RUN <<EOF
case $- in *e*) echo $0 e > /shell;; esac
EOF
"#,
        case.base(Base::Busybox)
    );
    let image = case
        .build(&case.context().dockerfile(dockerfile))
        .run()
        .image();
    // The script itself is nowhere.
    let names: Vec<Vec<&str>> = image.layers.iter().map(|layer| layer.names()).collect();
    assert_eq!(names[names.len() - 4], ["shebang"]);
    let tree = image.tree();
    let table = [
        ("plain", "first script\n0\n"),
        ("shebang", "no shell\n"),
        ("one", "value 2\n"),
        ("two", "value $((1 + 1))\n"),
        ("tabs", "tabs\n"),
        ("shell", "/bin/ash e\n"),
    ];
    for (path, text) in table {
        assert_eq!(tree.text(path), text, "{path}");
    }
}

// conformance: A30 A31 B15 E49
#[test]
fn copy_and_add_take_files() {
    kiln_only!();
    let case = Case::new();
    let dockerfile = format!(
        r#"FROM {}
ENV WHO=world
COPY <<one.txt <<"two.txt" file /d/
hello $WHO "quoted" \$WHO
one.txt
hello $WHO
two.txt
ADD --chmod=600 --chown=33 <<EOF /added
added $WHO
EOF
"#,
        case.base(Base::Busybox)
    );
    let tree = case
        .build(&case.context().dockerfile(dockerfile).file("file", "x"))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("d/one.txt"), "hello world \"quoted\" $WHO\n");
    assert_eq!(tree.text("d/two.txt"), "hello $WHO\n");
    assert_eq!(tree.owner("d/one.txt"), "0644 0:0");
    assert_eq!(tree.text("d/file"), "x");
    assert_eq!(tree.text("added"), "added world\n");
    assert_eq!(tree.owner("added"), "0600 33:33");
}
