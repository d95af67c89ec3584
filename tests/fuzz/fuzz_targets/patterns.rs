//! Patterns and a path: nothing panics, and the questions a walk asks agree with each other.
//!
//! The first line is the path, the others are patterns.
#![no_main]

use kiln_dockerfile::{Glob, PatternSet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let mut lines = data.lines();
    let path = lines.next().unwrap_or_default();
    let patterns: Vec<&str> = lines.collect();
    for pattern in &patterns {
        for glob in [Glob::new(pattern), Glob::with_any_depth(pattern)]
            .into_iter()
            .flatten()
        {
            let _ = (glob.matches(path.as_bytes()), glob.is_literal());
            assert!(glob.pivot() <= glob.components().len());
        }
    }
    let Ok(set) = PatternSet::new(&patterns) else {
        return;
    };
    // Only cleaned paths are ever asked for.
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return;
    }
    let excluded = set.is_excluded(path.as_bytes());
    for (at, _) in path.match_indices('/') {
        if !set.may_include_below(path[..at].as_bytes()) {
            assert!(
                excluded,
                "{path:?} is in a directory that a walk would skip"
            );
        }
    }
});
