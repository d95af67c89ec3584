//! Which allowed word a misspelt one was probably meant to be.

/// The candidate closest to `word`, if it is close enough to be worth suggesting.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let folded = fold(word);
    let limit = (folded.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and word separators are what people most often get wrong, so they cost nothing.
fn fold(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
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
