//! tar, two hashes and compression, in one pass.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{noise, prose, small_content, small_path};
use kiln_layer::{Compression, Entry, LayerWriter, WriterOptions};

const KINDS: [(&str, Compression); 3] = [
    ("tar", Compression::None),
    ("gzip", Compression::Gzip { level: None }),
    ("zstd", Compression::Zstd { level: None }),
];

fn pack<'a>(files: impl IntoIterator<Item = &'a (Entry, Vec<u8>)>, compression: Compression) {
    let mut writer = LayerWriter::new(std::io::sink(), compression, WriterOptions::default());
    for (entry, content) in files {
        writer.append(entry, Some(&mut &content[..])).unwrap();
    }
    writer.finish().unwrap();
}

fn one_file(c: &mut Criterion) {
    let size = 256 << 20;
    for (kind, content) in [("noise", noise(size)), ("prose", prose(size))] {
        let file = (Entry::file("file", size as u64), content);
        let mut group = c.benchmark_group(format!("layer/256 MiB of {kind}"));
        group.sample_size(10);
        group.throughput(Throughput::Bytes(size as u64));
        for (name, compression) in KINDS {
            group.bench_function(name, |b| b.iter(|| pack([&file], compression)));
        }
        group.finish();
    }
}

fn many_files(c: &mut Criterion) {
    let files: Vec<_> = (0..20_000)
        .map(|number| {
            let content = small_content(number);
            (
                Entry::file(small_path(number).as_str(), content.len() as u64),
                content,
            )
        })
        .collect();
    let mut group = c.benchmark_group("layer/20000 small files");
    group.sample_size(10);
    group.throughput(Throughput::Elements(files.len() as u64));
    for (name, compression) in KINDS {
        group.bench_function(name, |b| b.iter(|| pack(&files, compression)));
    }
    group.finish();
}

criterion_group!(benches, one_file, many_files);
criterion_main!(benches);
