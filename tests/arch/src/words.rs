//! The words of source text: enough to tell code from comments, texts and tests.

/// Words and signs of the text, without comments, texts in quotes and what only tests have.
pub fn tokens(text: &str) -> Vec<String> {
    without_tests(&words(text))
}

fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_code) = token(rest, first);
        if is_code {
            found.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    found
}

/// The length of what the text begins with, and whether it is code.
fn token(rest: &str, first: char) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), false);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), false);
    }
    if let Some(length) = raw_string(rest).or_else(|| quoted(rest)) {
        return (length, false);
    }
    let word = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    if word > 0 {
        return (word, true);
    }
    if rest.starts_with("::") {
        return (2, true);
    }
    (first.len_utf8(), !first.is_whitespace())
}

/// Comments of this kind stand in each other.
fn block_comment(rest: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < rest.len() {
        let here = &rest.as_bytes()[at..];
        let step = match here {
            [b'/', b'*', ..] => 1,
            [b'*', b'/', ..] => -1,
            _ => 0,
        };
        depth += step;
        at += if step == 0 { 1 } else { 2 };
    }
    at
}

/// `r"..."`, `br#"..."#` and so on.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let inner = body.trim_start_matches('#');
    let end = format!("\"{}", &body[..body.len() - inner.len()]);
    let inner = inner.strip_prefix('"')?;
    let length = inner.find(&end).map_or(inner.len(), |at| at + end.len());
    Some(rest.len() - inner.len() + length)
}

/// `"..."` and `'x'`, also of bytes and for C; a lifetime is neither.
fn quoted(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let quote = body.chars().next().filter(|c| "\"'".contains(*c))?;
    let mut chars = body.char_indices().skip(1);
    let mut inside = 0;
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Some(rest.len() - body.len() + at + 1),
            '\\' => drop(chars.next()),
            _ if quote == '\'' && inside > 0 => return None,
            _ => {}
        }
        inside += 1;
    }
    None
}

/// Leaves out what stands below `#[cfg(test)]`: all attributes and the item.
fn without_tests(words: &[String]) -> Vec<String> {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at..].iter().take(TEST.len()).eq(TEST.iter()) {
            at = end_of_item(words, at + TEST.len());
        } else {
            kept.push(words[at].clone());
            at += 1;
        }
    }
    kept
}

fn end_of_item(words: &[String], start: usize) -> usize {
    let mut depth = 0;
    for (at, word) in words.iter().enumerate().skip(start) {
        match word.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(word.as_str(), ";" | "}") {
            return at + 1;
        }
    }
    words.len()
}
