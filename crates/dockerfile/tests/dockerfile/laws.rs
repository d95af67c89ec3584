//! What holds for any input.

use kiln_dockerfile::{
    Chmod, Command, Dockerfile, Expander, Glob, LintContext, Mount, PatternSet, Source, Span, lint,
    parse, parse_trigger,
};
use proptest::prelude::*;

use crate::naive;

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
        Just("# check=skip=all\nFROM $x\n"),
        Just("ARG A=$B C\n"),
        Just("COPY --chmod=9 --from=3 a b\n"),
        Just("EXPOSE x\n"),
        Just("WORKDIR a\nLABEL ${\n"),
        Just("CMD x\n"),
        Just("\r\n"),
        Just("\n"),
        Just("\t"),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Whether a place lies in the text: on a line that exists, and not behind its end.
fn lies_in(lines: &[String], span: Span) -> bool {
    let width = |line: u32| {
        lines
            .get(line as usize - 1)
            .map(|line| line.chars().count())
    };
    span.start <= span.end
        && [span.start, span.end].iter().all(|at| {
            at.column >= 1 && width(at.line).is_some_and(|width| at.column as usize <= width + 1)
        })
}

/// The lines of a text as the parser counts them.
fn lines_of(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.split_inclusive('\n');
    lines
        .map(|line| line.trim_end_matches(['\r', '\n']).to_owned())
        .collect()
}

/// Every place that a file knows.
fn spans(file: &Dockerfile) -> Vec<Span> {
    let mut spans: Vec<Span> = file.comments.iter().map(|comment| comment.span).collect();
    spans.extend(
        ["syntax", "escape", "check"]
            .iter()
            .filter_map(|key| file.directives.span(key)),
    );
    spans.extend(
        lint(file, &LintContext::default())
            .iter()
            .map(|warning| warning.span),
    );
    let mut instructions: Vec<_> = file.global_args.iter().collect();
    for stage in &file.stages {
        spans.push(stage.from.span);
        spans.extend(stage.faults.iter().filter_map(|fault| fault.span));
        instructions.extend(&stage.instructions);
    }
    for instruction in instructions {
        spans.push(instruction.span);
        let sources: &[Source] = match &instruction.command {
            Command::Run(run) => {
                spans.extend(run.heredocs.iter().map(|heredoc| heredoc.span));
                &[]
            }
            Command::Copy(copy) => &copy.sources,
            Command::Add(add) => &add.sources,
            _ => &[],
        };
        spans.extend(sources.iter().filter_map(|source| match source {
            Source::Heredoc(heredoc) => Some(heredoc.span),
            Source::Path(_) => None,
        }));
    }
    spans
}

proptest! {
    #[test]
    fn places_lie_in_the_text(text in dockerfile_text()) {
        let lines = lines_of(&text);
        match parse(text.as_bytes()) {
            Ok(file) => {
                prop_assert_eq!(&file.lines, &lines);
                for span in spans(&file) {
                    prop_assert!(lies_in(&lines, span), "{span}");
                }
            }
            Err(error) => {
                for span in error.errors.iter().filter_map(|one| one.span) {
                    prop_assert!(lies_in(&lines, span), "{span}");
                }
            }
        }
    }

    /// The logical line that is kept says what the instruction is: read again, it gives the same.
    #[test]
    fn the_source_of_an_instruction_says_it_all(text in dockerfile_text()) {
        let Ok(file) = parse(text.as_bytes()) else { return Ok(()) };
        let escape = file.directives.escape;
        for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
            let has_bodies = instruction.source.contains("<<");
            let no_trigger = matches!(instruction.command, Command::Onbuild(_) | Command::Maintainer(_));
            // A continuation at the end would have to be continued again.
            if has_bodies || no_trigger || instruction.source.ends_with(escape) {
                continue;
            }
            let again = parse_trigger(&instruction.source, escape).unwrap();
            prop_assert_eq!(&again.command, &instruction.command);
        }
    }

    /// What any text is, written in double quotes.
    #[test]
    fn double_quotes_with_escapes_keep_everything(value in "[^\r\n]{0,40}", backtick in any::<bool>()) {
        let escape = if backtick { '`' } else { '\\' };
        let mut quoted = String::from("\"");
        for c in value.chars() {
            if c == '"' || c == '$' || c == escape {
                quoted.push(escape);
            }
            quoted.push(c);
        }
        quoted.push('"');
        prop_assert_eq!(Expander::new(escape).word(&quoted, &()).unwrap().text, value);
    }

    #[test]
    fn a_variable_gives_its_value_as_it_is(value in any::<String>(), before in "[a-z/ ]{0,5}") {
        let vars = [("v", value.as_str())];
        for form in ["$v", "${v}", "\"$v\"", "${none:-$v}", "${v+$v}", "${v#}", "${v%}"] {
            let expanded = Expander::default().word(&format!("{before}{form}"), &vars).unwrap();
            prop_assert_eq!(expanded.text, format!("{before}{value}"), "{}", form);
        }
    }

    #[test]
    fn literal_patterns_cut_as_strings_do(value in "[ab]{0,8}", part in "[ab]{0,3}") {
        let vars = [("v", value.as_str())];
        let expanded = |operator: &str| {
            let word = format!("${{v{operator}{part}}}");
            Expander::default().word(&word, &vars).unwrap().text
        };
        let front = value.strip_prefix(&part).unwrap_or(&value);
        let back = value.strip_suffix(&part).unwrap_or(&value);
        prop_assert_eq!(expanded("#"), front);
        prop_assert_eq!(expanded("##"), front);
        prop_assert_eq!(expanded("%"), back);
        prop_assert_eq!(expanded("%%"), back);
    }

    /// What is cut off is what the shortest or longest match of the pattern is, tried one after the other.
    #[test]
    fn wildcards_cut_what_they_match(value in "[ab]{0,7}", pattern in "[ab*?]{0,4}") {
        let vars = [("v", value.as_str())];
        let expanded = |operator: &str| {
            let word = format!("${{v{operator}{pattern}}}");
            Expander::default().word(&word, &vars).unwrap().text
        };
        let fits = |text: &str| naive::component(pattern.as_bytes(), text.as_bytes());
        let ends: Vec<usize> = (0..=value.len()).filter(|at| fits(&value[..*at])).collect();
        let starts: Vec<usize> = (0..=value.len()).filter(|at| fits(&value[*at..])).collect();
        let behind = |at: Option<&usize>| at.map_or(value.as_str(), |at| &value[*at..]);
        let before = |at: Option<&usize>| at.map_or(value.as_str(), |at| &value[..*at]);
        // `${v##p}` is read as two signs, so a pattern may not begin with one; none here does.
        prop_assert_eq!(expanded("#"), behind(ends.first()));
        prop_assert_eq!(expanded("##"), behind(ends.last()));
        prop_assert_eq!(expanded("%"), before(starts.last()));
        prop_assert_eq!(expanded("%%"), before(starts.first()));
    }

    #[test]
    fn names_are_used_or_unset(word in "[$ab{}:+-]{0,20}") {
        let vars = [("a", "1")];
        if let Ok(expanded) = Expander::default().word(&word, &vars) {
            prop_assert!(expanded.used.iter().all(|name| name == "a"));
            prop_assert!(!expanded.unset.contains("a"));
            prop_assert!(expanded.undefined.is_subset(&expanded.unset));
        }
    }

    #[test]
    fn patterns_agree_with_the_slow_way(
        rules in proptest::collection::vec(
            "!?(\\*\\*|[ab]?[*?]?[ab]|\\*)(/(\\*\\*|[ab?][*]?|\\*)){0,3}",
            0..5,
        ),
        path in "[ab]{1,2}(/[ab]{1,3}){0,3}",
    ) {
        let set = PatternSet::new(&rules).unwrap();
        prop_assert_eq!(
            set.is_excluded(path.as_bytes()),
            naive::is_excluded(&rules, &path),
            "{:?} {}", rules, path
        );
    }

    /// A rule more at the end that takes back what matches leaves nothing of it excluded, and the other way round.
    #[test]
    fn the_last_rule_wins(
        rules in proptest::collection::vec("!?[ab*]{1,2}(/[ab*]{1,2}){0,1}", 0..4),
        path in "[ab]{1,2}(/[ab]{1,2}){0,2}",
    ) {
        for (last, expected) in [(path.clone(), true), (format!("!{path}"), false)] {
            let rules: Vec<String> = rules.iter().cloned().chain([last]).collect();
            let set = PatternSet::new(&rules).unwrap();
            prop_assert_eq!(set.is_excluded(path.as_bytes()), expected, "{:?} {}", rules, path);
        }
    }

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
    let lines = "RUN echo hello \\\n  && echo again\n".repeat(4_900);
    let file = parse(format!("FROM a\n{lines}").as_bytes()).unwrap();
    assert_eq!(file.stages[0].instructions.len(), 4_900);

    let one = format!("FROM a\nRUN x{}", " \\\n y".repeat(100_000));
    assert_eq!(
        parse(one.as_bytes()).unwrap().stages[0].instructions.len(),
        1
    );

    let wrong = format!("FROM a\n{}", "WHAT is this\n".repeat(4_900));
    let listed = parse(wrong.as_bytes()).unwrap_err().errors.len();
    assert_eq!(listed, 500, "nobody reads more, and each has an excerpt");

    let heredocs = "RUN <<A <<B\na\nA\nb\nB\n".repeat(4_900);
    assert!(parse(format!("FROM a\n{heredocs}").as_bytes()).is_ok());

    let shifts = format!("FROM a\nRUN <<A {}\nA\n", "$((1 << ".repeat(50_000));
    assert!(parse(shifts.as_bytes()).is_err());

    let open = format!("FROM a\nRUN {}", "<<A ".repeat(20_000));
    assert!(parse(open.as_bytes()).is_err());
}
