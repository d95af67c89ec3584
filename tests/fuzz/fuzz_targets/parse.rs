//! Any bytes parse, and are linted, or fail with places that lie in the text; nothing panics, nothing takes long.
#![no_main]

use kiln_dockerfile::{
    Diagnostic, Instruction, LintContext, Position, Span, lint, parse, parse_trigger,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let lines = line_widths(data);
    match parse(data) {
        Ok(file) => {
            assert!(!file.stages.is_empty());
            assert_eq!(file.lines.len(), lines.len());
            for instruction in &file.global_args {
                check(instruction, &lines);
            }
            for stage in &file.stages {
                within(stage.from.span, &lines);
                stage.instructions.iter().for_each(|i| check(i, &lines));
                stage.faults.iter().for_each(|fault| place(fault, &lines));
            }
            for comment in &file.comments {
                within(comment.span, &lines);
            }
            for warning in lint(&file, &LintContext::default()) {
                within(warning.span, &lines);
                assert!(!file.excerpt(warning.span).is_empty());
            }
        }
        Err(error) => {
            assert!(!error.errors.is_empty());
            error.errors.iter().for_each(|one| place(one, &lines));
            let _ = (error.to_string(), error.in_file("Dockerfile").to_string());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse_trigger(text, '\\');
    }
});

fn place(fault: &Diagnostic, lines: &[u32]) {
    if let Some(span) = fault.span {
        within(span, lines);
        assert!(fault.excerpt.contains('^'));
    }
}

fn check(instruction: &Instruction, lines: &[u32]) {
    within(instruction.span, lines);
    assert!(!instruction.source.is_empty());
}

/// Characters of every line, as the parser counts them.
fn line_widths(data: &[u8]) -> Vec<u32> {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    data.split_inclusive(|b| *b == b'\n')
        .map(|line| {
            let text = String::from_utf8_lossy(line);
            text.trim_end_matches(['\r', '\n']).chars().count() as u32
        })
        .collect()
}

fn within(span: Span, lines: &[u32]) {
    assert!(span.start <= span.end, "{span}");
    for Position { line, column } in [span.start, span.end] {
        let width = lines[line as usize - 1];
        assert!((1..=width + 1).contains(&column), "{span} {width}");
    }
}
