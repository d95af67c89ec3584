//! What the text of a module says about other modules. No parser: words and signs are enough for paths.

/// A path that a module names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    /// As written, without what renames it.
    pub(crate) path: Vec<String>,
    /// What the module calls it from then on; only of `use`.
    pub(crate) name: Option<String>,
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
