//! Ignore patterns the slow way: component by component, every choice tried. What the compiled ones are compared with.

/// Whether the last of `rules` that matches the path or a parent excludes it (A39).
pub(crate) fn is_excluded(rules: &[String], path: &str) -> bool {
    let mut excluded = false;
    for rule in rules {
        let (exception, pattern) = match rule.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, rule.as_str()),
        };
        let pattern: Vec<&str> = pattern.split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        if (1..=path.len()).any(|length| matches(&pattern, &path[..length])) {
            excluded = !exception;
        }
    }
    excluded
}

fn matches(pattern: &[&str], path: &[&str]) -> bool {
    match pattern {
        [] => path.is_empty(),
        // At the end it takes something, whatever it is; before that any number of directories (A38).
        ["**"] => !path.is_empty(),
        ["**", rest @ ..] => (0..=path.len()).any(|skipped| matches(rest, &path[skipped..])),
        [first, rest @ ..] => match path {
            [name, below @ ..] => {
                component(first.as_bytes(), name.as_bytes()) && matches(rest, below)
            }
            [] => false,
        },
    }
}

pub(crate) fn component(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|taken| component(rest, &name[taken..])),
        [b'?', rest @ ..] => !name.is_empty() && component(rest, &name[1..]),
        [letter, rest @ ..] => name.first() == Some(letter) && component(rest, &name[1..]),
    }
}
