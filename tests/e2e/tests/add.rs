//! ADD: archives and URLs.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::expect_used, clippy::format_push_string)]

use std::io::Write;

use kiln_e2e::{Base, Case, HttpServer, Response, TarTree, kiln_only};
use sha2::{Digest, Sha256};

fn archive() -> Vec<u8> {
    TarTree::new()
        .dir("./", 0o700)
        .dir("top/", 0o711)
        .owner(12, 34)
        .file("top/file", 0o4750, "content")
        .symlink("top/link", "file")
        .hardlink("top/twin", 0o4750, "top/file")
        .finish()
}

fn packed(kind: &str, bytes: &[u8]) -> Vec<u8> {
    let memory = "packing memory does not fail";
    match kind {
        "gz" => {
            let mut packer =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packer
                .write_all(bytes)
                .and_then(|()| packer.finish())
                .expect(memory)
        }
        "bz2" => {
            let mut packer =
                bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            packer
                .write_all(bytes)
                .and_then(|()| packer.finish())
                .expect(memory)
        }
        "xz" => {
            let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 3);
            packer
                .write_all(bytes)
                .and_then(|()| packer.finish())
                .expect(memory)
        }
        "zst" => zstd::encode_all(bytes, 3).expect(memory),
        _ => bytes.to_vec(),
    }
}

// conformance: E37 E39 E40
#[test]
fn archives_are_unpacked_whatever_their_compression() {
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let kinds = ["tar", "gz", "bz2", "xz", "zst"];
    let mut dockerfile = format!("FROM {base}\n");
    let mut context = case.context();
    for kind in kinds {
        // By content, not by name.
        context = context.file(&format!("archive-{kind}"), packed(kind, &archive()));
        dockerfile += &format!("ADD archive-{kind} /un/{kind}\n");
    }
    dockerfile += "COPY archive-gz /copied\nADD plain.gz /\n";
    context = context
        .dockerfile(dockerfile)
        .file("plain.gz", packed("gz", b"no archive"));
    let tree = case.build(&context).run().image().tree();
    for kind in kinds {
        let at = |name: &str| format!("un/{kind}/{name}");
        assert_eq!(tree.text(&at("top/file")), "content", "{kind}");
        assert_eq!(tree.owner(&at("top/file")), "4750 12:34", "{kind}");
        assert_eq!(tree.owner(&at("top")), "0711 0:0", "{kind}");
        assert_eq!(tree.text(&at("top/twin")), "content", "{kind}");
        assert!(
            tree.node(&at("top/link"))
                .to_string()
                .starts_with("symlink -> file"),
            "{kind}"
        );
    }
    assert_eq!(
        tree.node("copied").content,
        Some(packed("gz", &archive())),
        "COPY never unpacks (E42)"
    );
    assert_eq!(
        tree.node("plain.gz").content,
        Some(packed("gz", b"no archive"))
    );
}

/// Entries, and links of the image or of the archive itself that entries go through, end below the destination.
// conformance: E41
#[test]
fn nothing_of_an_archive_gets_above_the_destination() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let archive = TarTree::new()
        .symlink("up", "../..")
        .symlink("absolute", "/srv")
        .file("up/above", 0o644, "1")
        .file("absolute/below", 0o644, "2")
        .file("of-image/below", 0o644, "3")
        .file("../../entry", 0o644, "4")
        .hardlink("up/twin", 0o644, "absolute/below")
        .finish();
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nCOPY links /a/b/\nADD archive.tar /a/b\n"
        ))
        .symlink("links/of-image", "/etc")
        .file("archive.tar", archive);
    let tree = case.build(&context).run().image().tree();
    let files = [
        ("a/b/above", "1"),
        ("a/b/srv/below", "2"),
        ("a/b/etc/below", "3"),
        ("a/b/entry", "4"),
        ("a/b/twin", "2"),
    ];
    for (path, text) in files {
        assert_eq!(tree.text(path), text, "{path}");
    }
    let link = tree.node("a/b/of-image").to_string();
    assert!(link.starts_with("symlink -> /etc"), "{link}");
    for path in ["above", "entry", "srv/below", "etc/below", "a/above"] {
        assert!(!tree.has(path), "{path}");
    }
}

/// `--chmod` is for files, and the directories that an archive only implies are nobody's.
// finding 31
// conformance: E39 E40
#[test]
fn modes_and_owners_of_directories_around_an_archive() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let rooted = archive();
    let archive = TarTree::new()
        .owner(12, 34)
        .dir("said/", 0o711)
        .file("implied/by/file", 0o640, "content")
        .owner(56, 78)
        .hardlink("implied/twin", 0o4711, "implied/by/file")
        .xattr("user.of", b"archive")
        .file("noted", 0o600, "")
        .finish();
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nADD --chmod=600 a.tar /mode/of/place\nADD --chown=7:8 a.tar /owner/of/place/\n\
             ADD --chmod=600 --chown=7:8 a.tar plain /both/\nADD --chmod=600 --unpack=false a.tar /packed/a\n\
             ADD root.tar /home/app\nADD root.tar /fresh\n"
        ))
        .file("root.tar", rooted)
        .file("a.tar", archive)
        .file("plain", "no archive");
    let tree = case.build(&context).run().image().tree();
    let table = [
        ("mode", "0755 0:0"),
        ("mode/of/place", "0755 0:0"),
        ("mode/of/place/said", "0711 12:34"),
        ("mode/of/place/implied", "0755 0:0"),
        // The last of its names says what a file is like.
        ("mode/of/place/implied/by/file", "4711 56:78"),
        ("mode/of/place/implied/twin", "4711 56:78"),
        ("owner", "0755 7:8"),
        ("owner/of/place", "0755 7:8"),
        ("owner/of/place/said", "0711 7:8"),
        ("owner/of/place/implied", "0755 0:0"),
        ("owner/of/place/implied/by", "0755 0:0"),
        ("owner/of/place/implied/by/file", "4711 7:8"),
        ("both", "0755 7:8"),
        ("both/plain", "0600 7:8"),
        ("packed", "0600 0:0"),
        // What an archive says of its root is not for what is there or made already.
        ("home/app", "0750 1000:1000"),
        ("home/app/top", "0711 0:0"),
        ("home/app/.profile", "0600 1000:1000"),
        ("fresh", "0755 0:0"),
        ("fresh/top", "0711 0:0"),
    ];
    for (path, owner) in table {
        assert_eq!(tree.owner(path), owner, "{path}");
    }
    let noted = tree.node("mode/of/place/noted");
    assert_eq!(noted.mtime, 1_600_000_000);
    assert_eq!(noted.xattrs.get("user.of"), Some(&hex::encode("archive")));
    let before = kiln_e2e::Image::read(&format!("docker://{base}")).tree();
    assert_eq!(tree.node("home/app").mtime, before.node("home/app").mtime);
    let twin = tree.node("mode/of/place/implied/twin").to_string();
    assert!(twin.contains("linked with"), "{twin}");
}

// conformance: E37
#[test]
fn an_archive_stays_packed_when_told_so() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .dockerfile(format!(
            "FROM {base}\nADD --unpack=false archive.tar /kept/\nADD --unpack archive.tar /un/\n"
        ))
        .file("archive.tar", archive());
    let tree = case.build(&context).run().image().tree();
    assert!(tree.has("kept/archive.tar") && !tree.has("kept/top"));
    assert!(tree.has("un/top/file") && !tree.has("un/archive.tar"));
}

// conformance: E38
#[test]
fn a_corrupt_archive_is_an_error_and_an_empty_one_a_file() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let dockerfile = format!("FROM {base}\nADD empty.tar.gz /e/\n");
    let context = case
        .context()
        .dockerfile(dockerfile)
        .file("empty.tar.gz", "");
    assert_eq!(
        case.build(&context)
            .run()
            .image()
            .tree()
            .text("e/empty.tar.gz"),
        ""
    );

    let random: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut bytes = packed("gz", &TarTree::new().file("f", 0o644, random).finish());
    bytes.truncate(bytes.len() / 2);
    let context = context
        .dockerfile(format!("FROM {base}\nADD cut.tar.gz /e/\n"))
        .file("cut.tar.gz", bytes);
    case.build(&context)
        .run()
        .failed(1, &["cut.tar.gz", "Dockerfile:2"]);

    let linked = TarTree::new().dir("d/", 0o755).hardlink("l", 0o755, "d");
    let context = context
        .dockerfile(format!("FROM {base}\nADD linked.tar /e/\n"))
        .file("linked.tar", linked.finish());
    let said = "a hard link to a directory";
    case.build(&context)
        .run()
        .failed(1, &["linked.tar", "Dockerfile:2", said]);
}

// conformance: E43 E44 E45 E46
#[test]
fn urls_are_downloaded() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let server = HttpServer::start(|request| match request.path.as_str() {
        "/dir/file.txt?x=1" => Response::new(200, "text/plain", "downloaded")
            .header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
            .header("Content-Disposition", "attachment; filename=other"),
        "/dir/a%2Bb.tgz" | "/x%2Fy.txt" | "/last/" => Response::new(200, "text/plain", "named"),
        "/moved" => Response::new(302, "text/plain", "").header("Location", "/dir/file.txt?x=1"),
        "/a.tar.gz" => Response::new(200, "application/gzip", packed("gz", &archive())),
        _ => Response::new(404, "text/plain", "no such page"),
    });
    let sum = hex::encode(Sha256::digest(b"downloaded"));
    let dockerfile = format!(
        "FROM {base}\nADD {0} /d/\nADD --chmod=644 --chown=33 {1} /d/\nADD {2} /d/\nADD --unpack=true {2} /u/\n\
         ADD --checksum=sha256:{sum} {0} /sum\nADD {3} /names/\nADD {4} {5} /names/\n",
        server.url("dir/file.txt?x=1"),
        server.url("moved"),
        server.url("a.tar.gz"),
        server.url("dir/a%2Bb.tgz"),
        server.url("x%2Fy.txt"),
        server.url("last/"),
    );
    // What is ignored is ignored of the context.
    let context = case.context().dockerfile(dockerfile);
    let tree = case
        .build(&context.file(".dockerignore", "*\n"))
        .run()
        .image()
        .tree();
    assert_eq!(tree.text("d/file.txt"), "downloaded");
    assert_eq!(tree.owner("d/file.txt"), "0600 0:0");
    assert_eq!(tree.node("d/file.txt").mtime, 1_445_412_480);
    assert_eq!(tree.node("names/last").mtime, 0, "no time was said");
    assert_eq!(tree.text("d/moved"), "downloaded");
    assert_eq!(tree.owner("d/moved"), "0644 33:33");
    assert_eq!(
        tree.node("d/a.tar.gz").content,
        Some(packed("gz", &archive()))
    );
    assert_eq!(tree.text("u/top/file"), "content");
    assert_eq!(tree.text("sum"), "downloaded");
    // finding 32
    assert_eq!(
        tree.below("names"),
        ["names/a+b.tgz", "names/last", "names/y.txt"]
    );

    let missing = server.url("nope");
    let context = case
        .context()
        .dockerfile(format!("FROM {base}\nADD {missing} /\n"));
    case.build(&context).run().failed(1, &[&missing, "404"]);
    let wrong = "0".repeat(64);
    let url = server.url("dir/file.txt?x=1");
    let context = case.context().dockerfile(format!(
        "FROM {base}\nADD --checksum=sha256:{wrong} {url} /\n"
    ));
    case.build(&context).run().failed(1, &[&wrong, &sum]);
}
