//! What holds for any input.

use kiln_dockerfile::{Chmod, Expander, Glob, Mount, PatternSet, parse, parse_trigger};
use proptest::prelude::*;

/// Lines that get past the first checks more often than random bytes do.
fn dockerfile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("FROM a AS b\n"),
        Just("# escape=`\n"),
        Just("# check=skip=all\n"),
        Just("RUN "),
        Just("COPY --from=x "),
        Just("ONBUILD "),
        Just("ENV a=\"b\" "),
        Just("HEALTHCHECK --interval=1s CMD "),
        Just("--mount=type=bind,target=/x "),
        Just("<<EOF "),
        Just("<<-'E F'"),
        Just("EOF\n"),
        Just("[\"a\", \"\\u00e9\"]"),
        Just("\\\n"),
        Just("`\n"),
        Just("$((1 << 2)) "),
        Just("${x:-y} "),
        Just("'\"\\ "),
        Just("\u{e9}\u{1f600}"),
        Just("# c\n"),
        Just("\r\n"),
        Just("\n"),
        Just("\t"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_parse_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = parse(&bytes) {
            prop_assert!(!error.errors.is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn likely_text_parses_or_fails(text in dockerfile_text()) {
        let _ = parse_trigger(&text, '\\');
        match parse(text.as_bytes()) {
            Ok(file) => {
                prop_assert!(!file.stages.is_empty());
                let instructions = file.stages.iter().flat_map(|stage| &stage.instructions);
                for instruction in file.global_args.iter().chain(instructions) {
                    let span = instruction.span;
                    prop_assert!(span.start <= span.end);
                    prop_assert!(span.end.line as usize <= file.lines.len());
                    prop_assert!(file.excerpt(span).contains(">>>"));
                }
            }
            Err(error) => {
                for error in &error.errors {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }

    #[test]
    fn line_ends_make_no_difference(text in dockerfile_text()) {
        let unix = text.replace('\r', "");
        let windows = unix.replace('\n', "\r\n");
        let shape = |text: &str| match parse(text.as_bytes()) {
            Ok(file) => Ok(file.stages.iter().map(|s| s.instructions.len()).collect::<Vec<_>>()),
            Err(error) => Err(error.errors.iter().map(|e| (e.line, e.fault.clone())).collect::<Vec<_>>()),
        };
        prop_assert_eq!(shape(&unix), shape(&windows));
    }

    #[test]
    fn any_word_expands_or_fails(
        word in "[ab'\"\\\\`$\\{\\}:/#%*?=+@1 -]{0,40}",
        value in "[a*?/ ]{0,6}",
    ) {
        let vars = [("a", value.as_str()), ("b", "")];
        for escape in ['\\', '`'] {
            let expander = Expander::new(escape);
            let _ = expander.word(&word, &vars);
            let _ = expander.words(&word, &vars);
            let _ = expander.heredoc(&word, &vars);
        }
    }

    #[test]
    fn words_without_special_characters_stay(word in "[^\"'\\\\$]{0,40}") {
        prop_assert_eq!(Expander::default().word(&word, &()).unwrap().text, word);
    }

    #[test]
    fn single_quotes_keep_everything(word in "[^']{0,40}") {
        let quoted = format!("'{word}'");
        prop_assert_eq!(Expander::default().word(&quoted, &()).unwrap().text, word);
    }

    #[test]
    fn removing_all_of_a_literal(value in "[ab]{0,20}") {
        let text = Expander::default().word("${v//a/}", &[("v", &value)]).unwrap().text;
        prop_assert_eq!(text, value.replace('a', ""));
    }

    #[test]
    fn any_patterns_compile_or_fail(
        rules in proptest::collection::vec("[!a*?/.\\[\\]\\\\^ -]{0,12}", 0..4),
        path in "[a./b-]{0,12}",
    ) {
        if let Ok(set) = PatternSet::new(&rules) {
            let _ = set.is_excluded(path.as_bytes());
            let _ = set.may_include_below(path.as_bytes());
        }
        let _ = PatternSet::parse_ignore_file(rules.join("\n").as_bytes());
        for rule in &rules {
            let _ = Glob::new(rule).map(|glob| glob.matches(path.as_bytes()));
            let _ = Glob::with_any_depth(rule).map(|glob| glob.matches(path.as_bytes()));
        }
    }

    #[test]
    fn any_ignore_file_compiles_or_fails(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(set) = PatternSet::parse_ignore_file(&bytes) {
            let _ = set.is_excluded(&bytes);
        }
    }

    /// What a walk skips because of `may_include_below` is indeed excluded.
    #[test]
    fn skipped_directories_hold_nothing(
        rules in proptest::collection::vec("!?(\\*\\*|[ab*?]{1,2})(/(\\*\\*|[ab*?]{1,2})){0,2}", 1..4),
        dir in "[ab]{1,2}(/[ab]{1,2}){0,1}",
        below in "[ab]{1,2}(/[ab]{1,2}){0,2}",
    ) {
        let set = PatternSet::new(&rules).unwrap();
        let path = format!("{dir}/{below}");
        if !set.may_include_below(dir.as_bytes()) {
            prop_assert!(set.is_excluded(path.as_bytes()), "{rules:?} {path}");
            prop_assert!(set.is_excluded(dir.as_bytes()));
        }
    }

    #[test]
    fn any_mount_and_mode_parse_or_fail(raw in "[a-z=,\"/$0-9]{0,30}", mode in "[0-9ugorwxXst=+,-]{0,10}") {
        let _ = Mount::parse(&raw, &mut |value| Ok(value.to_owned()));
        if let Ok(chmod) = Chmod::parse(&mode) {
            prop_assert!(chmod.apply(0o644, false) <= 0o7777);
        }
    }
}

/// Quadratic parsing would make these take minutes.
#[test]
fn large_files() {
    let lines = "RUN echo hello \\\n  && echo again\n".repeat(50_000);
    let file = parse(format!("FROM a\n{lines}").as_bytes()).unwrap();
    assert_eq!(file.stages[0].instructions.len(), 50_000);

    let one = format!("FROM a\nRUN x{}", " \\\n y".repeat(100_000));
    assert_eq!(
        parse(one.as_bytes()).unwrap().stages[0].instructions.len(),
        1
    );

    let wrong = format!("FROM a\n{}", "WHAT is this\n".repeat(50_000));
    assert_eq!(parse(wrong.as_bytes()).unwrap_err().errors.len(), 50_000);

    let heredocs = "RUN <<A <<B\na\nA\nb\nB\n".repeat(20_000);
    assert!(parse(format!("FROM a\n{heredocs}").as_bytes()).is_ok());

    let shifts = format!("FROM a\nRUN <<A {}\nA\n", "$((1 << ".repeat(50_000));
    assert!(parse(shifts.as_bytes()).is_err());

    let open = format!("FROM a\nRUN {}", "<<A ".repeat(20_000));
    assert!(parse(open.as_bytes()).is_err());
}
