//! Archives that want much, wherever a user's archive is read: for ADD, as a named context, as an image to be pushed or
//! built on. Each ends in an image or in one clear message, takes little memory, and leaves nothing behind.
// finding 5
// finding 6
#![expect(
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "tables of attacks; a fixture that cannot be made is a failed test"
)]

use std::io::Write as _;
use std::path::Path;

use kiln_e2e::Ends::{self, Builds, Fails, Somehow};
use kiln_e2e::{
    Case, Forge, Forged, HttpServer, Response, attack, kiln_only, namespace_only, needs_root,
    write_documents,
};
use serde_json::json;

const GIB: u64 = 1 << 30;

/// An archive of ADD: `name` in the context, unpacked into scratch.
fn as_added(what: &str, archive: &[u8], ends: Ends) {
    let case = Case::new();
    let context = case
        .context()
        .dockerfile("FROM scratch\nADD x.tar /\n")
        .file("x.tar", archive);
    let build = case.build(&context).no_push();
    ends.check(&attack(&format!("{what} (ADD)"), &case, &build));
}

/// The same bytes behind `--build-context`.
fn as_context(what: &str, archive: &[u8], ends: Ends) {
    let case = Case::new();
    let bytes = archive.to_vec();
    let server = HttpServer::start(move |_| Response::new(200, "application/x-tar", bytes.clone()));
    let context = case
        .context()
        .dockerfile("FROM scratch\nCOPY --from=pack /f0 /\n");
    let flag = format!("--build-context=pack={}", server.url("pack.tar"));
    let build = case.build(&context).no_push().arg(flag);
    ends.check(&attack(&format!("{what} (context)"), &case, &build));
}

#[test]
fn archives_of_users() {
    kiln_only!();
    namespace_only!();
    needs_root!();
    let long = vec![b'v'; 1 << 20];
    let small = Forged::plain(|f| {
        f.file("f0");
    })
    .blob;
    let xz_dictionary = {
        let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
        options.dict_size(1 << 30);
        let mut filters = liblzma::stream::Filters::new();
        filters.lzma2(&options);
        let check = liblzma::stream::Check::None;
        let encoder = liblzma::stream::Stream::new_stream_encoder(&filters, check).unwrap();
        let mut out = liblzma::write::XzEncoder::new_stream(Vec::new(), encoder);
        out.write_all(&small).unwrap();
        out.finish().unwrap()
    };
    let zstd_window = {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        out.window_log(30).unwrap();
        out.write_all(&small).unwrap();
        out.finish().unwrap()
    };
    let bzip2_bomb = {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        let mut forge = Forge::new(&mut out);
        forge.file("f0").zero_file("z", 64 << 20);
        forge.finish();
        out.finish().unwrap()
    };
    let rows: Vec<(&str, Vec<u8>, Ends)> = vec![
        (
            "stacked headers",
            Forged::gzip(|f| {
                (0..1_500).for_each(|n| {
                    f.record(b'x', &format!("c{n}"), &long[..900_000]);
                });
                f.file("f0");
            })
            .blob,
            Fails("MAX_EXTENSIONS"),
        ),
        (
            "a global attribute for 1,000 files",
            Forged::gzip(|f| {
                f.record(b'g', "SCHILY.xattr.user.a", &long[..1_000_000]);
                (0..1_000).for_each(|n| {
                    f.file(&format!("f{n}"));
                });
            })
            .blob,
            Fails("MAX_XATTR"),
        ),
        (
            "an attribute of 64 KB for each of 2,000 files",
            Forged::gzip(|f| {
                (0..2_000).for_each(|n| {
                    f.record(b'x', "SCHILY.xattr.user.a", &long[..65_000])
                        .file(&format!("f{n}"));
                });
            })
            .blob,
            Fails("MAX_TEXT"),
        ),
        (
            "a sparse file of 1 TB",
            Forged::gzip(|f| {
                f.sparse("f0", 1024 * GIB);
            })
            .blob,
            Fails("MAX_HOLES"),
        ),
        (
            "a sparse file of 128 MB",
            Forged::gzip(|f| {
                f.sparse("f0", 128 << 20);
            })
            .blob,
            Builds,
        ),
        (
            "128 MB of zeros",
            Forged::gzip(|f| {
                f.zero_file("f0", 128 << 20);
            })
            .blob,
            Builds,
        ),
        (
            "an xz dictionary of 1 GB",
            xz_dictionary,
            Fails("MAX_DECODER_MEMORY"),
        ),
        (
            "a zstd window of 1 GB",
            zstd_window,
            Fails("MAX_DECODER_MEMORY"),
        ),
        ("zeros in bzip2", bzip2_bomb, Builds),
    ];
    assert!(!rows.is_empty());
    for (what, archive, ends) in rows {
        as_added(what, &archive, ends);
        as_context(what, &archive, ends);
    }
    let many = Forged::gzip(|f| {
        (0..400_001).for_each(|n| {
            f.file(&format!("f{n}"));
        });
    });
    as_added("half a million files", &many.blob, Fails("MAX_ENTRIES"));
}

fn push(what: &str, case: &Case, path: &Path, ends: Ends) {
    let build = case
        .push(path)
        .destination("127.0.0.1:1/x:1")
        .arg("--skip-push-permission-check");
    ends.check(&attack(&format!("{what} (push)"), case, &build));
}

/// A docker archive with these documents.
fn archive(
    case: &Case,
    manifest: &[u8],
    config: &[u8],
    layer: Option<&Forged>,
) -> std::path::PathBuf {
    let mut forge = Forge::new(Vec::new());
    forge
        .with(b'0', b"manifest.json", manifest)
        .with(b'0', b"c.json", config);
    if let Some(layer) = layer {
        forge.with(b'0', b"l.tar", &layer.blob);
    }
    let path = case.path("out/saved.tar");
    std::fs::write(&path, forge.finish().0).unwrap();
    path
}

#[test]
fn docker_archives_and_layouts() {
    kiln_only!();
    namespace_only!();
    let case = Case::new();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = config.to_string().into_bytes();
    let one = br#"{"Config":"c.json","Layers":[]}"#;
    let list = |count: usize| {
        [
            b"[".to_vec(),
            vec![&one[..]; count].join(&b','),
            b"]".to_vec(),
        ]
        .concat()
    };
    let padded = |size: usize| [list(1), vec![b' '; size]].concat();
    let large = {
        let mut value: serde_json::Value = serde_json::from_slice(&config).unwrap();
        value["author"] = json!("a".repeat(4 << 20));
        value.to_string().into_bytes()
    };
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let empties = vec!["{}"; 200_000].join(",");
    let rows: Vec<(&str, Vec<u8>, Vec<u8>, &str)> = vec![
        (
            "a manifest of 20 MB",
            padded(20 << 20),
            config.clone(),
            "MAX_DOCUMENT",
        ),
        (
            "a config of 20 MB",
            list(1),
            [config.clone(), vec![b' '; 20 << 20]].concat(),
            "MAX_DOCUMENT",
        ),
        (
            "30,000 images with one config of 4 MB",
            list(30_000),
            large,
            "MAX_CONFIGS",
        ),
        (
            "200,000 images",
            list(200_000),
            config.clone(),
            "MAX_JSON_VALUES",
        ),
        (
            "a manifest of brackets",
            nested(100_000),
            config.clone(),
            "is not valid",
        ),
        (
            "a config of brackets",
            list(1),
            [br#"{"a":"#.to_vec(), nested(10_000), b"}".to_vec()].concat(),
            "is not valid",
        ),
        (
            "a history of nothing",
            list(1),
            format!(r#"{{"history":[{empties}]}}"#).into_bytes(),
            "MAX_JSON_VALUES",
        ),
        (
            "fields of nothing",
            list(1),
            format!(r#"{{"x":[{empties}]}}"#).into_bytes(),
            "MAX_JSON_VALUES",
        ),
        (
            "a config that is a manifest",
            list(1),
            br#"{"os":"linux","layers":[],"rootfs":{"diff_ids":[]}}"#.to_vec(),
            "two different images",
        ),
        (
            "no manifest at all",
            b"".to_vec(),
            config.clone(),
            "is not valid",
        ),
    ];
    for (what, manifest, config, text) in rows {
        let path = archive(&case, &manifest, &config, None);
        push(what, &case, &path, Fails(text));
    }
    let layer = Forged::gzip(|f| {
        let long = vec![b'v'; 900_000];
        (0..1_500).for_each(|n| {
            f.record(b'x', &format!("c{n}"), &long);
        });
    });
    let config = json!({ "os": "linux", "rootfs": { "diff_ids": [layer.diff_id] } }).to_string();
    let manifest = br#"[{"Config":"c.json","Layers":["l.tar"]}]"#;
    let path = archive(&case, manifest, config.as_bytes(), Some(&layer));
    push("a layer of headers", &case, &path, Fails("MAX_EXTENSIONS"));

    let layout = |name: &str| case.path(&format!("out/{name}"));
    let plain = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] } });
    let dir = layout("long");
    write_documents(&dir, &plain, &[], &json!({}));
    let index = std::fs::read(dir.join("index.json")).unwrap();
    std::fs::write(
        dir.join("index.json"),
        [index.clone(), vec![b' '; 20 << 20]].concat(),
    )
    .unwrap();
    push("an index of 20 MB", &case, &dir, Fails("MAX_DOCUMENT"));
    let text = String::from_utf8(index).unwrap();
    std::fs::write(
        dir.join("index.json"),
        text.replacen('{', r#"{"layers":[],"#, 1),
    )
    .unwrap();
    push(
        "an index with layers",
        &case,
        &dir,
        Fails("two different images"),
    );
    std::fs::write(
        dir.join("index.json"),
        format!(r#"{{"manifests":[{empties}]}}"#),
    )
    .unwrap();
    push("an index of nothing", &case, &dir, Fails("MAX_JSON_VALUES"));
    std::fs::write(dir.join("oci-layout"), nested(1 << 20)).unwrap();
    push("a marker of brackets", &case, &dir, Fails("layout version"));
    let dir = layout("both");
    write_documents(&dir, &plain, &[], &json!({ "manifests": [] }));
    push(
        "a manifest with manifests",
        &case,
        &dir,
        Fails("two different images"),
    );
    let dir = layout("layers");
    let tiny = Forged::raw(b"x".to_vec(), "");
    write_documents(&dir, &plain, &vec![tiny; 1_001], &json!({}));
    push(
        "a manifest with 1,001 layers",
        &case,
        &dir,
        Fails("MAX_LAYERS"),
    );
    let dir = layout("name");
    write_documents(
        &dir,
        &plain,
        &[],
        &json!({ "mediaType": "\u{1b}[31m".repeat(100_000) }),
    );
    push("a media type of a megabyte", &case, &dir, Somehow);
}
