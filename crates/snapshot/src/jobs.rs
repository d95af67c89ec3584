//! Work that finds more work: the shape of a parallel walk.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::Scope;

use crate::error::SnapshotError;

struct Crew<F> {
    work: F,
    failed: AtomicBool,
    error: Mutex<Option<SnapshotError>>,
}

/// Does the `first` jobs and every job that `work` adds, on the threads of the current rayon pool.
///
/// Each worker takes its own newest job first, so the walk is depth-first and the queue stays short. Jobs are never
/// nested on a stack: the depth of a tree is no limit. After the first error the rest is skipped.
pub(crate) fn run<J, F>(first: Vec<J>, work: F) -> Result<(), SnapshotError>
where
    J: Send,
    F: Fn(J, &mut Vec<J>) -> Result<(), SnapshotError> + Sync,
{
    let crew = Crew {
        work,
        failed: AtomicBool::new(false),
        error: Mutex::new(None),
    };
    rayon::scope(|scope| first.into_iter().for_each(|job| spawn(scope, &crew, job)));
    let error = crew
        .error
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    error.map_or(Ok(()), Err)
}

fn spawn<'s, J, F>(scope: &Scope<'s>, crew: &'s Crew<F>, job: J)
where
    J: Send + 's,
    F: Fn(J, &mut Vec<J>) -> Result<(), SnapshotError> + Sync,
{
    scope.spawn(move |scope| {
        if crew.failed.load(Ordering::Relaxed) {
            return;
        }
        let mut found = Vec::new();
        match (crew.work)(job, &mut found) {
            Ok(()) => found.into_iter().for_each(|job| spawn(scope, crew, job)),
            Err(error) => {
                crew.failed.store(true, Ordering::Relaxed);
                let mut first = crew
                    .error
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                first.get_or_insert(error);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn every_job_is_done_once_even_in_a_long_chain() {
        let done = AtomicU32::new(0);
        run(vec![100_000_u32], |left, more| {
            done.fetch_add(1, Ordering::Relaxed);
            more.extend(left.checked_sub(1));
            Ok(())
        })
        .unwrap();
        assert_eq!(done.into_inner(), 100_001);
    }

    #[test]
    fn the_first_error_ends_the_work() {
        let result = run(vec![0_u32], |depth, more| {
            more.push(depth + 1);
            if depth == 10 {
                return Err(SnapshotError::MountInfo {
                    line: String::new(),
                });
            }
            Ok(())
        });
        assert!(matches!(result, Err(SnapshotError::MountInfo { .. })));
    }
}
