//! Reading a Dockerfile, its words and its ignore file.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{MANY, dockerfile, dockerfile_of_lines, small_path};
use kiln_dockerfile::{Expander, LintContext, PatternSet};

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for stages in [1, 100] {
        let text = dockerfile(stages);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("stages", stages), &text, |b, text| {
            b.iter(|| kiln_dockerfile::parse(text.as_bytes()).unwrap());
        });
    }
    // The goal is less than 10 ms.
    let text = dockerfile_of_lines(10_000);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_with_input(BenchmarkId::new("lines", 10_000), &text, |b, text| {
        b.iter(|| kiln_dockerfile::parse(text.as_bytes()).unwrap());
    });
    let file = kiln_dockerfile::parse(text.as_bytes()).unwrap();
    group.bench_with_input(BenchmarkId::new("lint", 10_000), &file, |b, file| {
        b.iter(|| kiln_dockerfile::lint(file, &LintContext::default()));
    });
    group.finish();
}

fn expand(c: &mut Criterion) {
    let mut group = c.benchmark_group("expand");
    let vars = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("VERSION", "1.22.3-alpine3.19"),
        ("NAME", "app"),
    ];
    let words = [
        ("plain", "/usr/share/nginx/html"),
        ("variables", "/opt/$NAME/bin:${PATH}"),
        (
            "defaults",
            "${REGISTRY:-docker.io}/${ORG:-library}/$NAME:${VERSION}",
        ),
        ("patterns", "${VERSION%%-*}/${VERSION//./_}"),
        ("quotes", "\"a value with $NAME\"' and $another'\\ one"),
    ];
    for (name, word) in words {
        group.bench_function(name, |b| {
            b.iter(|| Expander::default().word(black_box(word), &vars).unwrap());
        });
    }
    group.finish();
}

/// A usual ignore file against the paths of a large context.
fn ignore(c: &mut Criterion) {
    const RULES: &str = "# of a web application\n.git\n**/*.md\n!README.md\nnode_modules\n**/.DS_Store\n*.log\n\
                         **/test-?/**\nlib/*/module-[0-9]*7/file-*1.js\n!lib/1/**\ndist/**\n";
    let paths: Vec<String> = (0..MANY).map(small_path).collect();
    let mut group = c.benchmark_group("ignore");
    group.throughput(Throughput::Elements(MANY as u64));
    group.bench_function("paths", |b| {
        let set = PatternSet::parse_ignore_file(RULES.as_bytes()).unwrap();
        b.iter(|| {
            paths
                .iter()
                .filter(|path| set.is_excluded(path.as_bytes()))
                .count()
        });
    });
    group.finish();
}

criterion_group!(benches, parse, expand, ignore);
criterion_main!(benches);
