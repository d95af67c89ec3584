//! A message has an end, and a terminal obeys nothing in it.

/// Characters of one line of a message.
const LONGEST_LINE: usize = 2000;

/// Characters of one message: the mistakes of a Dockerfile that are listed fit in.
const LONGEST_SHOWN: usize = 60_000;

/// Without what a terminal obeys, and not longer than anybody reads: a part of it may come from an image or a registry.
pub(crate) fn printable(text: &str) -> String {
    let kept = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    let text: String = text.chars().filter(kept).collect();
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| cut(line, LONGEST_LINE))
        .collect();
    cut(&lines.join("\n"), LONGEST_SHOWN)
}

/// Whether [`printable`] would give the same text.
pub(crate) fn is_printable(text: &str) -> bool {
    text.len() <= LONGEST_LINE
        && text
            .chars()
            .all(|c| !c.is_control() || matches!(c, '\n' | '\t'))
}

/// Both ends of a text that is longer than `limit` characters: what is wrong stands after a name that may be long.
fn cut(text: &str, limit: usize) -> String {
    let count = text.chars().count();
    if count <= limit {
        return text.to_owned();
    }
    let half = limit / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(count - half).collect();
    format!("{head} ... {tail}")
}

#[cfg(test)]
mod tests {
    use crate::for_people;

    // finding 5: what an image or a registry says is shown, not obeyed.
    #[test]
    fn messages_are_short_and_obeyed_by_no_terminal() {
        let text = for_people(&format!("\u{1b}[2J{}\u{7}\tb", "a".repeat(100_000))).into_owned();
        assert!(text.starts_with("[2Jaaa") && text.ends_with("aaa\tb"));
        assert!(text.len() < 2100);
        let text = for_people(&format!("image {}: not found", "a".repeat(100_000))).into_owned();
        assert!(text.contains("a ... a") && text.ends_with("a: not found"));
        let text = for_people(&"line\n".repeat(100_000)).into_owned();
        assert!(text.len() < 61_000);
        assert_eq!(for_people("one\n\ttwo\r\u{9b}"), "one\n\ttwo");
    }
}
