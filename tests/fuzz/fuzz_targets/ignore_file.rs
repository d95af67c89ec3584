//! Any bytes are an ignore file or an error with a line; every line of it is a name to ask for.
#![no_main]

use kiln_dockerfile::PatternSet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match PatternSet::parse_ignore_file(data) {
        Ok(set) => {
            for path in data.split(|b| *b == b'\n').take(16) {
                let excluded = set.is_excluded(path);
                assert!(!excluded || !set.is_empty());
                let _ = set.may_include_below(path);
            }
        }
        Err(error) => {
            let lines = data.split(|b| *b == b'\n').count();
            let line = error.line().expect("a fault of a file has a line");
            assert!((1..=lines).contains(&(line as usize)));
        }
    }
});
