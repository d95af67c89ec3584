//! Reading the upper directory of an overlay: what every RUN costs where overlays can be mounted.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::slice;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::{MANY, make_many, scratch, small_path};
use kiln_snapshot::{Filter, overlay_changes};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, setxattr, utimensat};

fn many(c: &mut Criterion) {
    let mut group = c.benchmark_group("overlay");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MANY as u64));
    let scratch = scratch().unwrap();
    let dir = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let (full, copy, none) = (dir("full"), dir("copy"), dir("none"));
    for tree in [&full, &copy] {
        make_many(tree, MANY).unwrap();
        age(tree);
    }
    let filter = Filter::default();
    group.bench_function("all new", |b| {
        b.iter(|| overlay_changes(&full, slice::from_ref(&none), &filter).unwrap());
    });
    let layers: Vec<PathBuf> = (0..30)
        .map(|number| dir(&format!("layer-{number}")))
        .collect();
    for layer in &layers {
        fs::create_dir_all(layer.join("lib/0/module-0")).unwrap();
    }
    group.bench_function("all new, over 30 layers", |b| {
        b.iter(|| overlay_changes(&full, &layers, &filter).unwrap());
    });
    group.bench_function("all copied up and equal", |b| {
        b.iter(|| overlay_changes(&full, slice::from_ref(&copy), &filter).unwrap());
    });
    let upper = dir("opaque");
    fs::create_dir_all(upper.join("lib")).unwrap();
    setxattr(
        upper.join("lib"),
        "user.overlay.opaque",
        b"y",
        XattrFlags::empty(),
    )
    .unwrap();
    group.bench_function("all gone behind an opaque directory", |b| {
        b.iter(|| overlay_changes(&upper, slice::from_ref(&full), &filter).unwrap());
    });
    let wide = dir("wide");
    for number in 0..MANY {
        fs::write(wide.join(number.to_string()), "x").unwrap();
    }
    group.bench_function("all new in one directory", |b| {
        b.iter(|| overlay_changes(&wide, slice::from_ref(&none), &filter).unwrap());
    });
    group.finish();
}

/// Gives all files the same time.
fn age(root: &Path) {
    let time = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    for number in 0..MANY {
        utimensat(CWD, root.join(small_path(number)), &times, AtFlags::empty()).unwrap();
    }
}

criterion_group!(benches, many);
criterion_main!(benches);
