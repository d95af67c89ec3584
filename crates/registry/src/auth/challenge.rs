//! `WWW-Authenticate` headers (RFC 9110, 11.6.1): several challenges may share a header or come in several.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry wants to be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password in every request.
    Basic,
    /// A token from elsewhere.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// What the registry calls itself there.
        service: Option<String>,
        /// The scope it misses, if it says so.
        scope: Option<String>,
    },
}

/// All challenges we understand, in the order given; unknown schemes are skipped (I8).
pub(crate) fn parse_challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse_header)
        .collect()
}

fn parse_header(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut scheme: Option<(String, Vec<(String, String)>)> = None;
    for piece in split_commas(text) {
        // `Bearer realm="x"` starts a challenge; `service="y"` goes on with the one before.
        let piece = piece.trim();
        let (word, rest) = piece
            .split_once([' ', '\t'])
            .map_or((piece, ""), |(word, rest)| (word, rest.trim()));
        let starts = !word.is_empty() && !word.contains('=') && !rest.starts_with('=');
        let parameter = if starts { rest } else { piece };
        if starts {
            found.extend(scheme.take().and_then(finish));
            scheme = Some((word.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, parameters)), Some((key, value))) =
            (scheme.as_mut(), parameter.split_once('='))
        {
            parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
        }
    }
    found.extend(scheme.and_then(finish));
    found
}

fn finish((scheme, parameters): (String, Vec<(String, String)>)) -> Option<Challenge> {
    let get = |name: &str| {
        let found = parameters
            .iter()
            .find(|(key, value)| key == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    match scheme.as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: get("realm")?,
            service: get("service"),
            scope: get("scope"),
        }),
        _ => None,
    }
}

/// Splits at commas that are not inside quotes.
fn split_commas(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else {
        return text.to_owned();
    };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut out = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        out.extend(if letter == '\\' {
            letters.next()
        } else {
            Some(letter)
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: &str, scope: &str) -> Challenge {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: some(service),
            scope: some(scope),
        }
    }

    // conformance: I8
    #[test]
    fn challenges_are_read_in_every_shape() {
        let table: Vec<(&[&str], Vec<Challenge>)> = vec![
            (&["Basic realm=\"x\""], vec![Challenge::Basic]),
            (&["basic"], vec![Challenge::Basic]),
            (
                &["Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull,push\""],
                vec![bearer("https://a/t", "s", "repository:x:pull,push")],
            ),
            (
                &["bearer  realm=https://a/t , service = s"],
                vec![bearer("https://a/t", "s", "")],
            ),
            (
                &["Negotiate, Basic realm=\"a, b\", Bearer realm=\"https://a/t\",service=\"s\""],
                vec![Challenge::Basic, bearer("https://a/t", "s", "")],
            ),
            (
                &["Digest realm=\"x\"", "Bearer realm=\"https://a/t\""],
                vec![bearer("https://a/t", "", "")],
            ),
            (
                &["Bearer realm=\"https://a/\\\"t\""],
                vec![bearer("https://a/\"t", "", "")],
            ),
            (&["Bearer service=\"s\""], vec![]),
            (&["", ",,", "="], vec![]),
        ];
        assert!(!table.is_empty());
        for (values, expected) in table {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
            }
            assert_eq!(parse_challenges(&headers), expected, "{values:?}");
        }
    }
}
