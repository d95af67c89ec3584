//! Which allowed word a misspelt one was probably meant to be.

/// The candidate closest to `word`, if it is close enough to be worth suggesting.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = fold(word);
    let limit = (folded.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and word separators are what people most often get wrong, so they cost nothing.
fn fold(word: &str) -> Vec<char> {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i);
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggestions() {
        let words = ["gzip", "zstd", "snapshot-mode", "no-push", "cache"];
        let table: &[(&str, Option<&str>)] = &[
            ("gzpi", Some("gzip")),
            ("gz", None),
            ("ZSTD", Some("zstd")),
            ("snapshotmode", Some("snapshot-mode")),
            ("snapshot_mod", Some("snapshot-mode")),
            ("nopush", Some("no-push")),
            ("cahce", Some("cache")),
            ("x", None),
            ("", None),
            ("brotli", None),
        ];
        assert!(!table.is_empty());
        for (word, expected) in table {
            assert_eq!(nearest(word, words), *expected, "{word}");
        }
    }
}
