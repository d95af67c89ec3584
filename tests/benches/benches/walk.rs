//! Going through a tree of files: our own walks beside `walkdir`. Ours are kept where they are faster, or give what a path
//! alone cannot: a root that nothing leads out of.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{make_many, scratch};
use kiln_context::{DirectoryView, FileView};
use kiln_dockerfile::PatternSet;
use kiln_layer::{ImagePath, Root};
use kiln_snapshot::{Filter, Scan};
use walkdir::WalkDir;

const FILES: usize = 20_000;

fn walk(c: &mut Criterion) {
    let mut group = c.benchmark_group("walk");
    group.sample_size(20);
    group.throughput(Throughput::Elements(FILES as u64));
    let root = scratch().unwrap();
    let root = root.path();
    make_many(root, FILES).unwrap();
    group.bench_function("walkdir, names", |b| b.iter(|| names(root)));
    group.bench_function("walkdir, sorted, metadata", |b| b.iter(|| metadata(root)));
    let view = DirectoryView::new(Root::open(root).unwrap(), PatternSet::default());
    group.bench_function("context, sorted, metadata", |b| b.iter(|| listed(&view)));
    // More than metadata: it keeps all of it, and looks for attributes.
    for threads in [1, 2] {
        group.bench_with_input(BenchmarkId::new("scan", threads), &threads, |b, threads| {
            b.iter(|| Scan::take(root, &Filter::default(), *threads).unwrap());
        });
    }
    group.finish();
}

fn names(root: &Path) -> usize {
    WalkDir::new(root).into_iter().map(Result::unwrap).count()
}

fn metadata(root: &Path) -> u64 {
    let all = WalkDir::new(root).sort_by_file_name().into_iter();
    all.map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

fn listed(view: &DirectoryView) -> usize {
    let mut count = 0;
    let mut pending = vec![ImagePath::root()];
    while let Some(dir) = pending.pop() {
        for child in view.read_dir(&dir).unwrap() {
            count += 1;
            if child.is_dir() {
                pending.push(child.entry.path);
            }
        }
    }
    count
}

criterion_group!(benches, walk);
criterion_main!(benches);
