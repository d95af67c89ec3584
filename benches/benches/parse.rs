//! Reading a Dockerfile.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::dockerfile;

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for stages in [1, 100] {
        let text = dockerfile(stages);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("stages", stages), &text, |b, text| {
            b.iter(|| kiln_dockerfile::parse(text.as_bytes()).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
