//! What the text of a module says about other modules. No parser: words and signs are enough for paths.

/// A path that a module names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    /// As written, without what renames it.
    pub(crate) path: Vec<String>,
    /// What the module calls it from then on; only of `use`.
    pub(crate) name: Option<String>,
}

/// Words and signs of the text, without comments, texts in quotes and what only tests have.
pub(crate) fn tokens(text: &str) -> Vec<String> {
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

/// The modules that are in files of their own: `mod name;`.
pub(crate) fn children(tokens: &[String]) -> Vec<String> {
    tokens
        .windows(3)
        .filter(|three| three[0] == "mod" && three[2] == ";")
        .map(|three| three[1].clone())
        .collect()
}

/// All paths that lead somewhere in the crate: those of `use`, and others that begin as such paths do.
pub(crate) fn used(tokens: &[String], is_child: &dyn Fn(&str) -> bool) -> Vec<Used> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at] == "use" {
            at = use_tree(tokens, at + 1, &[], &mut found);
            continue;
        }
        let begins = matches!(tokens[at].as_str(), "crate" | "self" | "super");
        let follows = at > 0 && matches!(tokens[at - 1].as_str(), "::" | ".");
        let path = path(tokens, at);
        if path.len() > 1 && !follows && (begins || is_child(&path[0])) {
            let (path, name) = (path.clone(), None);
            found.push(Used { path, name });
        }
        at += (2 * path.len()).saturating_sub(1).max(1);
    }
    found
}

/// The words from here on that are joined by `::`.
fn path(tokens: &[String], start: usize) -> Vec<String> {
    let mut path = Vec::new();
    let mut at = start;
    while tokens.get(at).is_some_and(|token| is_word(token)) {
        path.push(tokens[at].clone());
        match tokens.get(at + 1) {
            Some(sign) if sign == "::" => at += 2,
            _ => break,
        }
    }
    path
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Takes a tree of `use` apart; gives the place of what ends it.
fn use_tree(tokens: &[String], start: usize, prefix: &[String], found: &mut Vec<Used>) -> usize {
    let own = path(tokens, start);
    let mut at = start + (2 * own.len()).saturating_sub(1);
    let mut path = [prefix, &own].concat();
    if tokens.get(at).is_some_and(|sign| sign == "::") {
        at += 1;
    }
    match tokens.get(at).map(String::as_str) {
        Some("{") => {
            while tokens
                .get(at)
                .is_some_and(|sign| sign == "{" || sign == ",")
            {
                at = use_tree(tokens, at + 1, &path, found);
            }
            return at + 1;
        }
        Some("*") => {
            found.push(Used { path, name: None });
            return at + 1;
        }
        _ => {}
    }
    // `a::{self}` is `a`.
    if prefix.len() + 1 == path.len() && !prefix.is_empty() {
        path.pop_if(|last| last == "self");
    }
    let renamed = tokens.get(at).is_some_and(|word| word == "as");
    let name = if renamed {
        tokens.get(at + 1).cloned()
    } else {
        path.last().cloned()
    };
    // A comma at the end of a list has nothing behind it.
    if !own.is_empty() {
        found.push(Used { path, name });
    }
    at + if renamed { 2 } else { 0 }
}
