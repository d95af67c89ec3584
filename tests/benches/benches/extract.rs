//! Unpacking a layer, and reading only its headers.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{layer_of_many, layer_of_one, noise, scratch};
use kiln_layer::{
    Compression, ExtractOptions, LayerReader, Owners, Root, TreeIndex, extract, read_listing,
};

const COUNT: usize = 20_000;

const KINDS: [(&str, Compression); 3] = [
    ("tar", Compression::None),
    ("gzip", Compression::Gzip { level: None }),
    ("zstd", Compression::Zstd { level: None }),
];

/// Gives back the directory, so that removing it is not measured.
fn unpack(layer: &[u8]) -> tempfile::TempDir {
    let root = scratch().unwrap();
    let options = ExtractOptions {
        owners: Owners::Ignore,
        ..ExtractOptions::default()
    };
    extract(
        LayerReader::new(layer),
        &Root::open(root.path()).unwrap(),
        &options,
    )
    .unwrap();
    root
}

fn many_files(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("extract/{COUNT} small files"));
    group.sample_size(10);
    group.throughput(Throughput::Elements(COUNT as u64));
    for (name, compression) in KINDS {
        let layer = layer_of_many(COUNT, compression).unwrap();
        group.bench_function(name, |b| {
            b.iter_batched(|| (), |()| unpack(&layer), BatchSize::PerIteration);
        });
    }
    let layer = layer_of_many(COUNT, Compression::default()).unwrap();
    group.bench_function("headers of gzip", |b| {
        b.iter(|| read_listing(LayerReader::new(&layer[..])).unwrap());
    });
    let (entries, _) = read_listing(LayerReader::new(&layer[..])).unwrap();
    let index = |entries| {
        let mut tree = TreeIndex::new();
        tree.apply_layer(0, entries).unwrap();
        tree
    };
    group.bench_function("tree index", |b| {
        b.iter_batched(|| entries.clone(), index, BatchSize::PerIteration);
    });
    group.finish();
}

fn one_file(c: &mut Criterion) {
    let content = noise(256 << 20);
    let mut group = c.benchmark_group("extract/256 MiB of noise");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(content.len() as u64));
    for (name, compression) in KINDS {
        let layer = layer_of_one(&content, compression).unwrap();
        group.bench_function(name, |b| {
            b.iter_batched(|| (), |()| unpack(&layer), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, many_files, one_file);
criterion_main!(benches);
