//! Deriving the key of a COPY from a context of many files.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{small_content, small_path};
use kiln_cache_key::{FileId, FileSet, Parts, compare, part};
use kiln_oci::Digest;

/// Files of the context, as in the bench of whole builds.
const FILES: usize = 50_000;

fn files() -> Vec<FileId> {
    let file = |number| {
        let content = small_content(number);
        FileId::file(
            small_path(number),
            content.len() as u64,
            Digest::of(&content),
        )
    };
    (0..FILES).map(file).collect()
}

fn parts(files: Vec<FileId>) -> Parts {
    Parts::new()
        .with(part::INSTRUCTION, "COPY . /src")
        .with(part::FILES, FileSet::new(files))
}

fn keys(c: &mut Criterion) {
    let files = files();
    let mut group = c.benchmark_group("keys");
    group.throughput(Throughput::Elements(FILES as u64));
    group.bench_function("derive", |b| {
        b.iter_batched(
            || files.clone(),
            |files| parts(files).key(None),
            criterion::BatchSize::LargeInput,
        );
    });
    let mut changed = files.clone();
    changed[FILES / 2] = FileId::file(small_path(FILES / 2), 1, Digest::of(b"x"));
    // As it comes back from where the earlier entry is kept.
    let stored = serde_json::to_vec(&parts(files)).unwrap();
    let now = parts(changed);
    group.bench_function("explain", |b| {
        b.iter(|| {
            let before: Parts = serde_json::from_slice(&stored).unwrap();
            compare(&before, &now).len()
        });
    });
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
