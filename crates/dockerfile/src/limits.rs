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
