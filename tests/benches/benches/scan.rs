//! Looking at a root twice: what every RUN costs where no overlay can be mounted.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::path::Path;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{MANY, make_deep, make_many, scratch, small_path};
use kiln_layer::{Compression, LayerWriter, WriterOptions};
use kiln_snapshot::{ChangeSet, Contents, Filter, Scan};

fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MANY as u64));
    let root = scratch().unwrap();
    let root = root.path();
    make_many(root, MANY).unwrap();
    let filter = Filter::default();
    for threads in [1, 2] {
        group.bench_with_input(BenchmarkId::new("take", threads), &threads, |b, threads| {
            b.iter(|| Scan::take(root, &filter, *threads).unwrap());
        });
    }
    group.bench_function("take, remembering contents", |b| {
        b.iter(|| Scan::take_with(root, &filter, 2, Contents::All).unwrap());
    });
    let mut scan = Scan::take(root, &filter, 2).unwrap();
    group.bench_function("diff, nothing changed", |b| {
        b.iter(|| scan.diff(root).unwrap());
    });
    let mut round = 0_u64;
    group.bench_function("diff, 100 files changed", |b| {
        b.iter_batched(
            || change_some(root, &mut round),
            |()| scan.diff(root).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let empty = scratch().unwrap();
    let nothing = || Scan::take(empty.path(), &filter, 2).unwrap();
    group.bench_function("diff, all files new", |b| {
        b.iter_batched(
            nothing,
            |mut scan| scan.diff(root).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let all = nothing().diff(root).unwrap();
    group.bench_function("write, tar", |b| b.iter(|| write(&all, Compression::None)));
    group.bench_function("write, gzip", |b| {
        b.iter(|| write(&all, Compression::default()));
    });
    group.finish();
}

fn change_some(root: &Path, round: &mut u64) {
    *round += 1;
    for number in (0..MANY).step_by(MANY / 100) {
        std::fs::write(root.join(small_path(number)), round.to_string()).unwrap();
    }
}

fn write(changes: &ChangeSet, compression: Compression) {
    let mut writer = LayerWriter::new(std::io::sink(), compression, WriterOptions::default());
    changes.write(&mut writer).unwrap();
    writer.finish().unwrap();
}

fn deep(c: &mut Criterion) {
    let root = scratch().unwrap();
    make_deep(root.path(), 500).unwrap();
    c.bench_function("scan/take, 500 directories deep", |b| {
        b.iter(|| Scan::take(root.path(), &Filter::default(), 2).unwrap());
    });
}

criterion_group!(benches, many, deep);
criterion_main!(benches);
