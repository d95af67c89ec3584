//! "Did you mean": the closest of a few known words.

/// A word further away than this is another word, not a typing error.
const FARTHEST: usize = 2;
/// Words up to this length are within two steps of nearly everything; for them it is one.
const SHORT: usize = 3;

/// ` (did you mean x?)`, or nothing.
pub(crate) fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion
        .map(|s| format!(" (did you mean {s}?)"))
        .unwrap_or_default()
}

/// The option nearest to `word` in any case, if it is near enough to be what was meant; none when
/// `word` itself is an option.
pub fn closest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest(word, options, farthest(word), str::to_lowercase)
}

/// The same where case makes a difference.
pub(crate) fn closest_case<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    nearest(word, options, farthest(word), str::to_owned)
}

/// The option that one typing error makes `word` of; never for short words, of which many are near each other.
pub(crate) fn one_step_away<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.chars().count() <= SHORT {
        return None;
    }
    nearest(word, options, 1, str::to_owned)
}

fn farthest(word: &str) -> usize {
    if word.chars().count() <= SHORT {
        1
    } else {
        FARTHEST
    }
}

fn nearest<'a>(
    word: &str,
    options: impl IntoIterator<Item = &'a str>,
    farthest: usize,
    folded: impl Fn(&str) -> String,
) -> Option<&'a str> {
    let word = folded(word);
    let length = word.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for option in options {
        let other = folded(option);
        if other.chars().count().abs_diff(length) > farthest {
            continue;
        }
        // Letters that changed places are one step.
        let distance = strsim::osa_distance(&word, &other);
        if distance == 0 {
            return None;
        }
        if distance <= farthest && distance < length && best.is_none_or(|(d, _)| distance < d) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: A15, A18, C9
    #[test]
    fn closest_option() {
        let rows: &[(&str, &[&str], Option<&str>)] = &[
            ("FNTRYPOINT", &["ENV", "ENTRYPOINT"], Some("ENTRYPOINT")),
            ("mont", &["network", "mount"], Some("mount")),
            ("nope", &["one", "two"], Some("one")),
            ("rnu", &["RUN", "USER"], Some("RUN")),
            ("run", &["RUN"], None),
            ("xyz", &["RUN", "CMD"], None),
            ("ab", &["cd"], None),
            ("foo", &["fpe"], None),
            ("", &["a"], None),
            ("copyy", &[], None),
        ];
        assert!(!rows.is_empty());
        for (word, options, expected) in rows {
            assert_eq!(closest(word, options.iter().copied()), *expected, "{word}");
        }
    }
}
