//! How much a Dockerfile may ask for: far more than people write, and far less than a machine has.

/// Lines of a file.
pub const MOST_LINES: usize = 200_000;
/// Instructions of a file, and triggers of an image.
pub const MOST_INSTRUCTIONS: usize = 10_000;
/// Stages of a file.
pub const MOST_STAGES: usize = 500;
/// Words of one instruction, heredocs included.
pub const MOST_WORDS: usize = 10_000;
/// Mounts of one RUN.
pub const MOST_MOUNTS: usize = 200;
/// Patterns of an ignore file, or of the `--exclude` flags of an instruction.
pub const MOST_PATTERNS: usize = 10_000;
/// Bytes of one pattern of an ignore file or flag: twice the longest path.
pub const LONGEST_PATTERN: usize = 8192;
/// Bytes of one word, or of a heredoc, once its variables are replaced; and the work for patterns in `${...}`.
pub const MOST_WORK: usize = 8 << 20;
/// Faults after which nobody reads on.
pub(crate) const MOST_FAULTS: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

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
}
