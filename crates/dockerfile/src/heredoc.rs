//! Here-documents: finding them on a line, and what they are once read.

/// A here-document of `RUN`, `COPY` or `ADD` (A30).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, without its quotes.
    pub name: String,
    /// The number before `<<`; 0 when there is none.
    pub fd: u32,
    /// The body; for `<<-` the leading tabs are gone already.
    pub content: String,
    /// Whether the builder expands the body: the delimiter has no quote (A31).
    pub expand: bool,
    /// Written as `<<-`.
    pub chomp: bool,
}

impl Heredoc {
    pub(crate) fn is_whole_text(&self, _text: &str) -> bool {
        false
    }
}
