//! finding 11: Dockerfiles and ignore files that ask for more than any machine has. Each ends in one message that names
//! the limit, or in a build, and takes little memory on the way.
#![expect(clippy::too_many_lines, reason = "tables of attacks")]

use std::fmt::Write as _;

use kiln_e2e::{Base, Case, attack, attack_all, kiln_only, needs_root};

struct Row {
    name: &'static str,
    dockerfile: String,
    ignore: Option<String>,
    /// What the message says; nothing for a file that has to build.
    says: &'static [&'static str],
}

fn row(name: &'static str, dockerfile: impl Into<String>, says: &'static [&'static str]) -> Row {
    Row {
        name,
        dockerfile: dockerfile.into(),
        ignore: None,
        says,
    }
}

fn ignoring(name: &'static str, ignore: impl Into<String>, says: &'static [&'static str]) -> Row {
    Row {
        ignore: Some(ignore.into()),
        ..row(name, "FROM scratch\nCOPY f /f\n", says)
    }
}

/// `count` lines made from their numbers.
fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0..count {
        text.push_str(&line(number));
        text.push('\n');
    }
    text
}

/// Each of a row of variables is twice the one before.
fn doubling(word: &str, times: usize) -> String {
    let next = |n: usize| format!("{word} A{}=$A{n}$A{n}", n + 1);
    format!("{word} A0=0123456789\n{}", lines(times, next))
}

fn variables() -> Vec<Row> {
    let kilobytes = "x".repeat(100_000);
    let mut long_args = String::from("FROM scratch\n");
    for number in 0..9 {
        let _ = writeln!(long_args, "ARG B{number}={kilobytes}");
    }
    let text = &["MOST_TEXT"];
    let variables = &["MOST_VARIABLES"];
    vec![
        row(
            "ARG, 24 doublings",
            format!("FROM scratch\n{}", doubling("ARG", 24)),
            variables,
        ),
        row(
            "ARG, 60 doublings",
            format!("FROM scratch\n{}", doubling("ARG", 60)),
            variables,
        ),
        row(
            "ENV, 24 doublings",
            format!("FROM scratch\n{}", doubling("ENV", 24)),
            variables,
        ),
        row(
            "global ARG, 24 doublings",
            format!("{}FROM scratch\n", doubling("ARG", 24)),
            variables,
        ),
        row(
            "ENV, doublings in one name",
            format!(
                "FROM scratch\nENV A=0123456789\n{}",
                lines(40, |_| "ENV A=$A$A".to_owned())
            ),
            variables,
        ),
        row(
            "ARG, a default that doubles",
            format!(
                "FROM scratch\nARG A=0123456789\n{}",
                lines(40, |_| "ARG A=${A}${B:-$A}".to_owned())
            ),
            variables,
        ),
        row(
            "one word of many values",
            format!("{long_args}LABEL l={}\n", "$B0".repeat(200)),
            &["MOST_WORK", "Dockerfile:11"],
        ),
        row(
            "labels",
            format!(
                "{long_args}{}",
                lines(9_000, |n| format!("LABEL l{n}=$B0$B1$B2"))
            ),
            text,
        ),
        row(
            "replacing grows a value",
            "FROM scratch\nARG A=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n".to_owned()
                + &lines(12, |_| "ARG A=${A//a/aaaaaaaa}".to_owned()),
            variables,
        ),
        row(
            "history of a RUN with many ARGs",
            format!(
                "{long_args}{}",
                lines(600, |_| "USER $B0$B1$B2$B3$B4$B5$B6$B7$B8".to_owned())
            ),
            text,
        ),
        row(
            "ports",
            format!(
                "FROM scratch\n{}",
                lines(9_000, |_| "EXPOSE 1-65535".to_owned())
            ),
            text,
        ),
        row(
            "a heredoc of many values",
            format!(
                "{long_args}{}",
                lines(200, |n| format!("COPY <<E{n} /h{n}\n$B0$B1$B2$B3\nE{n}"))
            ),
            text,
        ),
        row(
            "nested substitutions",
            format!(
                "FROM scratch\nLABEL l={}{}\n",
                "${a:-".repeat(200_000),
                "}".repeat(200_000)
            ),
            &["nested more than"],
        ),
        row(
            "an open quote",
            format!("FROM scratch\nLABEL l=\"{}\n", "x".repeat(3_000_000)),
            &["matching double-quote"],
        ),
        row(
            "every stage has a copy",
            format!(
                "{}FROM s0\n{}",
                long_args
                    .replace("ARG", "ENV")
                    .replace("FROM scratch", "FROM scratch AS s0")
                    + &lines(400, |n| format!("FROM s{n} AS s{}\nENV S={n}", n + 1)),
                lines(400, |n| format!("COPY --from=s{n} /x /x"))
            ),
            text,
        ),
    ]
}

fn counts() -> Vec<Row> {
    let stages = &["MOST_STAGES", "FROM s499"];
    let words = &["MOST_WORDS"];
    let file = &["larger than 4194304 bytes, the limit for a Dockerfile"];
    vec![
        row(
            "5,000 chained stages",
            "FROM scratch AS s0\n".to_owned()
                + &lines(5_000, |n| format!("FROM s{n} AS s{}", n + 1)),
            stages,
        ),
        row(
            "as many chained stages as may be",
            "FROM scratch AS s0\n".to_owned()
                + &lines(499, |n| format!("FROM s{n} AS s{}\nENV A{n}=1", n + 1)),
            &[],
        ),
        row(
            "as many stages side by side as may be",
            lines(499, |n| format!("FROM scratch AS s{n}\nCOPY f /f"))
                + "FROM scratch\n"
                + &lines(499, |n| format!("COPY --from=s{n} /f /f{n}")),
            &[],
        ),
        row(
            "instructions",
            "FROM scratch\n".to_owned() + &lines(10_001, |n| format!("ENV A{n}=1")),
            &["MOST_INSTRUCTIONS", "Dockerfile:10001"],
        ),
        row(
            "as many instructions as may be",
            "FROM scratch\n".to_owned() + &lines(9_999, |n| format!("ENV A{n}=1")),
            &[],
        ),
        row(
            "lines",
            "FROM scratch\n".to_owned() + &"\n".repeat(200_001),
            &["MOST_LINES", "Dockerfile:200001"],
        ),
        row(
            "bytes",
            "FROM scratch\nLABEL a=".to_owned() + &"x".repeat(4 << 20),
            file,
        ),
        row(
            "a large file of mistakes",
            lines(199_000, |n| format!("NO{n}")),
            &["Dockerfile:1:1", "more errors"],
        ),
        row(
            "sources",
            format!("FROM scratch\nCOPY {} /d/\n", "f ".repeat(10_001)),
            words,
        ),
        row(
            "pairs of ENV",
            format!("FROM scratch\nENV {}\n", "a=b ".repeat(10_001)),
            words,
        ),
        row(
            "pairs of LABEL",
            format!("FROM scratch\nLABEL {}\n", "a=b ".repeat(1_000_000)),
            words,
        ),
        row(
            "words of EXPOSE",
            format!("FROM scratch\nEXPOSE {}\n", "80 ".repeat(1_300_000)),
            words,
        ),
        row(
            "a JSON list",
            format!(
                "FROM scratch\nVOLUME [{}\"/v\"]\n",
                "\"/v\",".repeat(800_000)
            ),
            words,
        ),
        row(
            "open brackets",
            format!("FROM scratch\nCMD {}\n", "[".repeat(4_000_000)),
            &[],
        ),
        row(
            "mounts",
            format!(
                "FROM scratch\nRUN {} true\n",
                "--mount=type=tmpfs,target=/t ".repeat(201)
            ),
            &["MOST_MOUNTS"],
        ),
        row(
            "heredocs",
            format!(
                "FROM scratch\nCOPY {} /d/\n{}",
                "<<E ".repeat(10_001),
                "E\n".repeat(10_001)
            ),
            words,
        ),
        row(
            "excludes",
            format!(
                "FROM scratch\nCOPY {} f /d/\n",
                "--exclude=a ".repeat(10_001)
            ),
            words,
        ),
        row(
            "continued lines",
            format!("FROM scratch\nLABEL a={}\n", "x\\\n".repeat(190_000)),
            &[],
        ),
        row(
            "a long path of WORKDIR",
            format!("FROM scratch\nWORKDIR {}\n", "/a".repeat(1_000_000)),
            &["PATH_MAX", "WORKDIR"],
        ),
        row(
            "a path of WORKDIR that grows",
            "FROM scratch\n".to_owned()
                + &lines(9_000, |_| "WORKDIR aaaaaaaaaaaaaaaaaaaa".to_owned()),
            &["PATH_MAX"],
        ),
        row(
            "a long destination",
            format!("FROM scratch\nCOPY f {}\n", "/a".repeat(1_000_000)),
            &["PATH_MAX"],
        ),
        row(
            "a long name of a base",
            format!("FROM {}\n", "a".repeat(3_000_000)),
            &["invalid reference format"],
        ),
        row(
            "a long name of an instruction",
            "X".repeat(3_000_000),
            &["unknown instruction"],
        ),
        row(
            "a long source that is not there",
            format!("FROM scratch\nCOPY {} /\n", "a".repeat(1_000_000)),
            &[""],
        ),
    ]
}

fn ignore_files() -> Vec<Row> {
    vec![
        ignoring(
            "patterns",
            lines(10_001, |n| format!("p{n}")),
            &["MOST_PATTERNS"],
        ),
        ignoring(
            "as many patterns as may be",
            lines(10_000, |n| format!("**/p{n}*?")),
            &[],
        ),
        ignoring("a long pattern", "a".repeat(8193), &["LONGEST_PATTERN"]),
        ignoring("many stars", "**/*a".repeat(1600) + "\n!f\n", &[]),
        ignoring(
            "bytes",
            "a\n".repeat(600_000),
            &["larger than 1048576 bytes, the limit for an ignore file"],
        ),
        ignoring(
            "a class that never ends",
            "[".to_owned() + &"a-".repeat(4000),
            &["syntax error in pattern"],
        ),
    ]
}

fn suffer(what: &str, row: &Row) {
    let case = Case::new();
    let mut context = case.context().file("f", "f").dockerfile(&row.dockerfile);
    if let Some(ignore) = &row.ignore {
        context = context.file(".dockerignore", ignore);
    }
    let build = case.build(&context).no_push();
    let outcome = attack(what, &case, &build);
    if row.says.is_empty() {
        outcome.ok();
    } else {
        outcome.failed(1, row.says);
    }
    attack(&format!("{what} (--check)"), &case, &build.arg("--check"));
}

fn suffer_all(rows: Vec<Row>) {
    let named = rows.into_iter().map(|row| (row.name.to_owned(), row));
    attack_all(named, |what, row| suffer(what, &row));
}

#[test]
fn variables_that_grow() {
    kiln_only!();
    suffer_all(variables());
}

#[test]
fn more_of_everything() {
    kiln_only!();
    suffer_all(counts());
}

#[test]
fn ignore_files_that_grow() {
    kiln_only!();
    suffer_all(ignore_files());
}

// Directories one inside the other: each has the path of all above it.
#[test]
fn directories_made_by_a_command() {
    kiln_only!();
    needs_root!();
    // Three chains of directories, moved into each other where the path has to be longer than a call takes.
    let make =
        "i=0; p=; while [ $i -lt 1000 ]; do p=$p/d; i=$((i+1)); done; mkdir -p /x1$p /x2$p /x3$p";
    let join = "mv /x3/d /x2$p/ && mv /x2/d /x1$p/";
    let table: [(String, &[&str]); 2] = [
        (format!("{make} && {join}"), &["PATH_MAX"]),
        (make.to_owned(), &[]),
    ];
    for (command, says) in table {
        let case = Case::new();
        let base = case.base(Base::Busybox);
        let context = case
            .context()
            .dockerfile(format!("FROM {base}\nRUN {command}\n"));
        let outcome = attack("deep directories", &case, &case.build(&context).no_push());
        if says.is_empty() {
            outcome.ok();
        } else {
            outcome.failed(1, says);
        }
    }
}
