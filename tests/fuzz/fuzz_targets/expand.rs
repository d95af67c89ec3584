//! Any word expands or fails, under both escape characters, as a word, as several and as a heredoc body.
//!
//! The input is the word, then after a NUL byte the values of `a`, `b` and so on.
#![no_main]

use kiln_dockerfile::Expander;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let mut parts = data.split('\0');
    let word = parts.next().unwrap_or_default();
    let names = ["a", "b", "c", "d"];
    let vars: Vec<(&str, &str)> = names.into_iter().zip(parts).collect();
    for escape in ['\\', '`'] {
        let expander = Expander::new(escape);
        let one = expander.word(word, &vars);
        let several = expander.words(word, &vars);
        // Splitting happens after expansion, so it cannot make a word valid or invalid.
        assert_eq!(one.is_ok(), several.is_ok());
        if let (Ok(one), Ok(several)) = (&one, &several) {
            let joined = several
                .concat()
                .chars()
                .filter(|c| !c.is_whitespace())
                .count();
            assert_eq!(
                joined,
                one.text.chars().filter(|c| !c.is_whitespace()).count()
            );
            assert!(one.used.is_disjoint(&one.unset));
        }
        if !word.contains(['$', '\'', '"', escape]) {
            assert_eq!(one.as_ref().map(|e| e.text.as_str()), Ok(word));
        }
        let _ = expander.heredoc(word, &vars);
    }
});
