//! Files that ask for more than anybody writes.

use kiln_dockerfile::{MOST_INSTRUCTIONS, MOST_LINES, MOST_MOUNTS, MOST_STAGES, MOST_WORDS, parse};

/// Faults after which nobody reads on.
const MOST_FAULTS: usize = 500;

// finding 11
#[test]
fn what_is_too_much_is_said_at_its_line() {
    let rows = [
        (
            format!("FROM a\n{}", "RUN x\n".repeat(MOST_INSTRUCTIONS)),
            MOST_INSTRUCTIONS + 1,
            "MOST_INSTRUCTIONS",
        ),
        (
            "FROM a\n".repeat(MOST_STAGES + 1),
            MOST_STAGES + 1,
            "MOST_STAGES",
        ),
        (
            format!("FROM a\n\nCOPY {}b\n", "a ".repeat(MOST_WORDS + 1)),
            3,
            "MOST_WORDS",
        ),
        (
            format!(
                "FROM a\nRUN {} x\n",
                "--mount=target=/a ".repeat(MOST_MOUNTS + 1)
            ),
            2,
            "MOST_MOUNTS",
        ),
        (
            format!("FROM a\n{}", "\n".repeat(MOST_LINES)),
            MOST_LINES + 1,
            "MOST_LINES",
        ),
    ];
    for (text, line, name) in rows {
        let error = parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.errors.len(), 1, "{name}");
        assert_eq!(error.line(), Some(line as u32), "{name}");
        assert!(
            error.to_string().contains(&format!("the limit {name}: ")),
            "{error}"
        );
    }
    let most = format!("FROM a\n{}", "RUN x\n".repeat(MOST_INSTRUCTIONS - 1));
    assert!(parse(most.as_bytes()).is_ok());
    assert!(parse("FROM a\n".repeat(MOST_STAGES).as_bytes()).is_ok());
    let faults = parse("NO\n".repeat(5_000).as_bytes()).unwrap_err();
    assert_eq!(faults.errors.len(), MOST_FAULTS);
}
