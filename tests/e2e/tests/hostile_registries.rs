//! Registries that say what no registry should, to the real program: each ends in one clear message after a known
//! number of requests, takes little memory, and leaves nothing behind. What only time can show is in the registry
//! crate's own tests, with short windows.
// finding 5
// finding 7
// finding 8
// finding 9
#![expect(clippy::too_many_lines, reason = "tables of attacks")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_e2e::{
    Case, Ends, Forged, Request, Rude, Said, attack, attack_all, kiln_only, namespace_only, served,
    write_documents,
};
use serde_json::json;

type Answer = Box<dyn Fn(&Request, &str) -> Option<Said> + Send + Sync>;

/// What it does, which message it ends in, and after how many requests at most.
struct Row {
    what: &'static str,
    expected: &'static str,
    requests: usize,
    answer: Answer,
}

fn row(
    what: &'static str,
    expected: &'static str,
    requests: usize,
    answer: impl Fn(&Request, &str) -> Option<Said> + Send + Sync + 'static,
) -> Row {
    Row {
        what,
        expected,
        requests,
        answer: Box::new(answer),
    }
}

/// The paths of a good image.
fn good(case: &Case) -> BTreeMap<String, Said> {
    let layout = case.path("out/good");
    let layer = Forged::gzip(|f| {
        f.file("f");
    });
    layer.write_layout(&layout);
    served(&layout)
}

fn part(request: &Request) -> &str {
    request.path.strip_prefix("/v2/x/").unwrap_or(&request.path)
}

/// Runs a build on what the server gives; an answer of `None` is that of a good registry.
fn run(rows: Vec<Row>) {
    attack_all(
        rows.into_iter().map(|row| (row.what.to_owned(), row)),
        |_, row| run_one(row),
    );
}

fn run_one(row: Row) {
    let Row {
        what,
        expected,
        requests,
        answer,
    } = row;
    let case = Case::new();
    let paths = good(&case);
    let rude = Rude::start(move |request, host| {
        if let Some(said) = answer(request, host) {
            return said;
        }
        if request.path == "/v2/" {
            return Said::json("200 OK", "{}");
        }
        paths
            .get(part(request))
            .cloned()
            .unwrap_or_else(|| Said::json("404 Not Found", "{}"))
    });
    // The registry of another process that is gone must not be asked instead.
    let text = format!("FROM {}/x:1\nCOPY own /own\n", rude.host());
    let context = case.context().dockerfile(text).file("own", "own");
    let outcome = attack(what, &case, &case.build(&context).no_push());
    match expected {
        "" => Ends::Builds,
        text => Ends::Fails(text),
    }
    .check(&outcome);
    assert!(rude.requests() <= requests, "{what}: {:#?}", rude.seen());
}

fn at(request: &Request, place: &str) -> bool {
    part(request).starts_with(place)
}

fn manifest_is(
    kind: &'static str,
    body: impl Into<Vec<u8>>,
) -> impl Fn(&Request, &str) -> Option<Said> {
    let body = body.into();
    move |request, _| at(request, "manifests/").then(|| Said::typed(kind, body.clone()))
}

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[test]
fn documents() {
    kiln_only!();
    namespace_only!();
    let digest = format!("sha256:{}", "0".repeat(64));
    let descriptor = json!({ "mediaType": OCI, "digest": digest, "size": 10 });
    let manifest = |more: serde_json::Value| {
        let mut manifest = json!({ "schemaVersion": 2, "config": descriptor, "layers": [] });
        for (key, value) in more.as_object().into_iter().flatten() {
            manifest[key] = value.clone();
        }
        manifest.to_string()
    };
    let head = |length: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {OCI}\r\n{length}\r\n").into_bytes()
    };
    let endless = head("");
    let promised = head("Content-Length: 4611686018427387904\r\n");
    let unlabelled: Vec<_> = (0..1_000)
        .map(|n| json!({ "mediaType": OCI, "digest": format!("sha256:{n:064}"), "size": 10 }))
        .collect();
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": unlabelled }).to_string();
    let other = manifest(json!({}));
    // Real ones, each for a platform that only its config tells.
    let config = json!({ "os": "linux", "architecture": "none", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = config.to_string();
    let config_digest = kiln_e2e::digest(config.as_bytes());
    let described = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": config.len() });
    let mut paths = BTreeMap::from([(
        format!("blobs/{config_digest}"),
        Said::typed("application/octet-stream", config),
    )]);
    let mut entries = Vec::new();
    for number in 0..40 {
        let body = manifest(
            json!({ "config": described, "annotations": { "number": number.to_string() } }),
        );
        let digest = kiln_e2e::digest(body.as_bytes());
        entries.push(json!({ "mediaType": OCI, "digest": digest, "size": body.len() }));
        paths.insert(format!("manifests/{digest}"), Said::typed(OCI, body));
    }
    let hunted =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string();
    paths.insert("manifests/1".to_owned(), Said::typed(INDEX, hunted));
    let platforms: Vec<_> = (0..10_000)
        .map(|n| json!({ "mediaType": OCI, "digest": digest, "size": 10, "platform": { "os": "linux", "architecture": format!("none-{n}-{}", "x".repeat(300)) } }))
        .collect();
    let platforms =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": platforms }).to_string();
    let brackets = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    run(vec![
        row(
            "a manifest without end",
            "8388608 bytes",
            4,
            move |request, _| {
                at(request, "manifests/").then(|| Said::Endless(endless.clone(), vec![b' '; 65536]))
            },
        ),
        row(
            "a manifest of exabytes",
            "8388608 bytes",
            4,
            move |request, _| {
                at(request, "manifests/")
                    .then(|| Said::Endless(promised.clone(), vec![b' '; 65536]))
            },
        ),
        row(
            "a manifest with manifests",
            "two different images",
            4,
            manifest_is(OCI, manifest(json!({ "manifests": [] }))),
        ),
        row(
            "an index with layers",
            "two different images",
            4,
            manifest_is(
                INDEX,
                json!({ "schemaVersion": 2, "manifests": [], "layers": [] }).to_string(),
            ),
        ),
        row(
            "an index with a config",
            "two different images",
            4,
            manifest_is(
                INDEX,
                json!({ "schemaVersion": 2, "manifests": [], "config": {} }).to_string(),
            ),
        ),
        row(
            "a manifest called an index",
            "calls itself something else",
            4,
            manifest_is(INDEX, manifest(json!({ "mediaType": OCI }))),
        ),
        row(
            "an index called a manifest",
            "calls itself something else",
            4,
            manifest_is(OCI, index.clone()),
        ),
        row(
            "a manifest with Layers",
            "two different images",
            4,
            manifest_is(OCI, manifest(json!({ "Layers": [] }))),
        ),
        row(
            "schema 1 beside schema 2",
            "two different images",
            4,
            manifest_is(OCI, manifest(json!({ "fsLayers": [] }))),
        ),
        row(
            "1,001 layers",
            "MAX_LAYERS",
            4,
            manifest_is(
                OCI,
                manifest(json!({ "layers": vec![descriptor.clone(); 1_001] })),
            ),
        ),
        row(
            "a manifest of brackets",
            "not a manifest",
            4,
            manifest_is(OCI, brackets(100_000)),
        ),
        row(
            "annotations of brackets",
            "malformed",
            4,
            manifest_is(
                OCI,
                format!(
                    r#"{{"x":{}}}"#,
                    String::from_utf8(brackets(10_000)).unwrap()
                ),
            ),
        ),
        row(
            "a million values",
            "MAX_JSON_VALUES",
            4,
            manifest_is(OCI, manifest(json!({ "x": vec![0; 1_000_000] }))),
        ),
        row("another JSON", "malformed", 4, manifest_is(OCI, "{}")),
        row(
            "a page",
            "not a manifest",
            4,
            manifest_is("text/html", "<html>\u{1b}[31m</html>"),
        ),
        row(
            "a media type of a megabyte",
            "not a manifest",
            4,
            manifest_is(
                "application/octet-stream",
                format!(r#"{{"mediaType":"{}"}}"#, "a".repeat(1 << 20)),
            ),
        ),
        row(
            "a config of exabytes",
            "at most 8388608",
            4,
            manifest_is(
                OCI,
                manifest(
                    json!({ "config": { "mediaType": OCI, "digest": digest, "size": u64::MAX } }),
                ),
            ),
        ),
        row(
            "a negative size",
            "malformed",
            4,
            manifest_is(
                OCI,
                manifest(json!({ "config": { "mediaType": OCI, "digest": digest, "size": -1 } })),
            ),
        ),
        row(
            "a digest of a megabyte",
            "malformed",
            4,
            manifest_is(
                OCI,
                manifest(
                    json!({ "config": { "mediaType": OCI, "digest": "\u{1b}[31m".repeat(200_000), "size": 1 } }),
                ),
            ),
        ),
        row(
            "forty manifests for nobody knows what",
            "MAX_CANDIDATES",
            120,
            move |request, _| paths.get(part(request)).cloned(),
        ),
        row(
            "10,000 other platforms",
            "and 9980 more",
            4,
            manifest_is(INDEX, platforms),
        ),
        row(
            "other content than its digest says",
            "other content",
            4,
            move |request, _| {
                let head = format!(
                    "200 OK\r\nContent-Type: {OCI}\r\nDocker-Content-Digest: sha256:{}",
                    "1".repeat(64)
                );
                at(request, "manifests/").then(|| Said::Whole(head, other.clone().into_bytes()))
            },
        ),
    ]);
}

#[test]
fn indexes_in_indexes() {
    kiln_only!();
    namespace_only!();
    // Each names the next one; a digest cannot name itself.
    let mut body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string();
    let mut paths = BTreeMap::new();
    for _ in 0..10 {
        let digest = kiln_e2e::digest(body.as_bytes());
        paths.insert(
            format!("manifests/{digest}"),
            Said::typed(INDEX, body.clone()),
        );
        let entry = json!({ "mediaType": INDEX, "digest": digest, "size": body.len() });
        body = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    }
    paths.insert("manifests/1".to_owned(), Said::typed(INDEX, body));
    run(vec![row(
        "ten indexes deep",
        "nested more than 4 deep",
        12,
        move |request, _| paths.get(part(request)).cloned(),
    )]);
}

#[test]
fn configs_and_layers() {
    kiln_only!();
    namespace_only!();
    let case = Case::new();
    let image =
        |name: &str, config: serde_json::Value, layers: &[Forged], more: serde_json::Value| {
            let dir = case.path(&format!("out/{name}"));
            write_documents(&dir, &config, layers, &more);
            served(&dir)
        };
    let plain = |diff_ids: &[&str]| json!({ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    let tiny = Forged::gzip(|f| {
        f.file("f");
    });
    let with = |paths: BTreeMap<String, Said>| {
        move |request: &Request, _: &str| paths.get(part(request)).cloned()
    };
    let mut history = plain(&[]);
    history["history"] = json!(vec![json!({}); 200_000]);
    let mut fields = plain(&[]);
    fields["config"] =
        json!({ "Labels": (0..300_000).map(|n| (n.to_string(), "")).collect::<BTreeMap<_, _>>() });
    let mut both = plain(&[]);
    both["manifests"] = json!([]);
    let layers = image(
        "layers",
        plain(&[&tiny.diff_id]),
        std::slice::from_ref(&tiny),
        json!({}),
    );
    let blob = format!("blobs/{}", kiln_e2e::digest(&tiny.blob));
    let foreign = json!({ "layers": [{
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": format!("sha256:{}", "2".repeat(64)), "size": 10,
        "urls": (0..1_000).map(|n| format!("http://HOST/layer/{n}")).collect::<Vec<_>>(),
    }] });
    let foreign = image("foreign", plain(&[&tiny.diff_id]), &[], foreign);
    let huge = json!({ "layers": [{
        "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{}", "2".repeat(64)), "size": 1_u64 << 60,
    }] });
    let huge = image("huge", plain(&[&tiny.diff_id]), &[], huge);
    let lie = |head: String, body: Vec<u8>| {
        let (layers, blob) = (layers.clone(), blob.clone());
        move |request: &Request, _: &str| {
            if part(request) == blob {
                return Some(Said::Raw(
                    [head.clone().into_bytes(), body.clone()].concat(),
                ));
            }
            layers.get(part(request)).cloned()
        }
    };
    let size = tiny.blob.len();
    let calls = Arc::new(AtomicUsize::new(0));
    run(vec![
        row(
            "a history of nothing",
            "MAX_JSON_VALUES",
            6,
            with(image("history", history, &[], json!({}))),
        ),
        row(
            "300,000 labels",
            "MAX_JSON_VALUES",
            6,
            with(image("fields", fields, &[], json!({}))),
        ),
        row(
            "a config that is an index",
            "two different images",
            6,
            with(image("both", both, &[], json!({}))),
        ),
        row(
            "other layers than the config says",
            "",
            8,
            with(layers.clone()),
        ),
        row("a layer of exabytes", "No space left", 8, with(huge)),
        row(
            "1,000 addresses of a foreign layer",
            "layer",
            60,
            move |request, host| {
                match foreign.get(part(request)).cloned() {
                    Some(Said::Whole(head, body)) if at(request, "manifests/1") => {
                        // The address is not known before; as long as the word it stands for.
                        let text = String::from_utf8(body).unwrap().replace("HOST", host);
                        Some(Said::Whole(head, text.into_bytes()))
                    }
                    other => other,
                }
            },
        ),
        row(
            "half a layer for ever",
            "closed before the answer was complete",
            12,
            {
                let half = tiny.blob[..size / 2].to_vec();
                lie(
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"),
                    half,
                )
            },
        ),
        row(
            "a byte a connection",
            "closed before the answer was complete",
            12,
            {
                let (layers, blob, bytes) = (layers.clone(), blob.clone(), tiny.blob.clone());
                move |request, _| {
                    if part(request) != blob {
                        return layers.get(part(request)).cloned();
                    }
                    let range = request
                        .headers
                        .get("range")
                        .and_then(|text| text.strip_prefix("bytes="));
                    let from: usize =
                        range.map_or(0, |text| text.trim_end_matches('-').parse().unwrap());
                    let head = if from == 0 {
                        "200 OK".to_owned()
                    } else {
                        format!(
                            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}",
                            size - 1
                        )
                    };
                    let head =
                        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", size - from);
                    Some(Said::Raw([head.as_bytes(), &bytes[from..=from]].concat()))
                }
            },
        ),
        row("a layer without end", "expected", 12, {
            let (layers, blob) = (layers.clone(), blob.clone());
            move |request, _| {
                if part(request) == blob {
                    return Some(Said::Endless(
                        b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
                        vec![0; 65536],
                    ));
                }
                layers.get(part(request)).cloned()
            }
        }),
        row(
            "another length",
            "expected",
            12,
            lie(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".to_owned(),
                b"abc".to_vec(),
            ),
        ),
        row("another range", "another range", 12, {
            lie(
                format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 7-9/{size}\r\nContent-Length: 3\r\n\r\n"
                ),
                b"abc".to_vec(),
            )
        }),
        row("no range ever fits", "416", 12, {
            let (layers, blob) = (layers.clone(), blob.clone());
            move |request, _| {
                if part(request) == blob {
                    return Some(Said::json("416 Range Not Satisfiable", ""));
                }
                layers.get(part(request)).cloned()
            }
        }),
        row("wrong bytes", "other content", 12, {
            lie(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"),
                vec![b'x'; size],
            )
        }),
        row("a layer that needs a token each time", "401", 30, {
            let (layers, blob, calls) = (layers, blob, calls);
            move |request, host| {
                if request.path.starts_with("/token") {
                    let number = calls.fetch_add(1, Ordering::Relaxed);
                    return Some(Said::json("200 OK", format!(r#"{{"token":"{number}"}}"#)));
                }
                if part(request) == blob {
                    let head = format!(
                        "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\""
                    );
                    return Some(Said::json(&head, ""));
                }
                layers.get(part(request)).cloned()
            }
        }),
    ]);
}

#[test]
fn answers() {
    kiln_only!();
    namespace_only!();
    let all = |said: Said| move |_: &Request, _: &str| Some(said.clone());
    let bearer = |token: &'static str| {
        move |request: &Request, host: &str| {
            if request.path.starts_with("/token") {
                return Some(Said::json("200 OK", token));
            }
            let head = format!(
                "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\""
            );
            Some(Said::json(&head, ""))
        }
    };
    let raw = |text: &str| Said::Raw(text.as_bytes().to_vec());
    let escapes = "\u{1b}[31mred\u{7} ".repeat(10_000);
    run(vec![
        row(
            "a token with a line feed",
            "no header can hold",
            10,
            bearer(r#"{"token":"a\nb"}"#),
        ),
        row(
            "a token that is never right",
            "401",
            12,
            bearer(r#"{"token":"a"}"#),
        ),
        row("a token of brackets", "not a token", 10, |request, host| {
            if request.path.starts_with("/token") {
                return Some(Said::json("200 OK", "[".repeat(60_000)));
            }
            Some(Said::json(
                &format!(
                    "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\""
                ),
                "",
            ))
        }),
        row("a token without end", "65536 bytes", 10, |request, host| {
            if request.path.starts_with("/token") {
                return Some(Said::Endless(
                    b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
                    vec![b'['; 65536],
                ));
            }
            Some(Said::json(
                &format!(
                    "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\""
                ),
                "",
            ))
        }),
        row("a realm of 300 KB", "failed", 12, |_, host| {
            let realm = format!("http://{host}/token?{}", "x".repeat(300_000));
            Some(Said::json(
                &format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\""),
                "",
            ))
        }),
        row(
            "redirects in a circle",
            "too many redirects",
            16,
            |request, host| {
                at(request, "manifests/").then(|| {
                    Said::json(
                        &format!(
                            "307 Temporary Redirect\r\nLocation: http://{host}{}",
                            request.path
                        ),
                        "",
                    )
                })
            },
        ),
        row(
            "a redirect to a file",
            "only http and https",
            6,
            |request, _| {
                at(request, "manifests/").then(|| {
                    Said::json("307 Temporary Redirect\r\nLocation: file:///etc/passwd", "")
                })
            },
        ),
        row("a redirect nowhere", "malformed", 6, |request, _| {
            at(request, "manifests/")
                .then(|| Said::json("307 Temporary Redirect\r\nLocation: http://[", ""))
        }),
        row(
            "come back in thirty years",
            "RETRY_AFTER_LIMIT",
            6,
            |request, _| {
                at(request, "manifests/")
                    .then(|| Said::json("429 Too Many Requests\r\nRetry-After: 999999999", ""))
            },
        ),
        row("busy for ever", "503", 8, |request, _| {
            at(request, "manifests/").then(|| Said::json("503 Service Unavailable", ""))
        }),
        row(
            "no answer for ever",
            "closed without an answer",
            12,
            |request, _| at(request, "manifests/").then(|| Said::Raw(Vec::new())),
        ),
        row("no HTTP", "failed", 20, all(raw("SSH-2.0-OpenSSH_9.6\r\n"))),
        row(
            "headers without end",
            "failed",
            20,
            all(Said::Endless(
                b"HTTP/1.1 200 OK\r\n".to_vec(),
                format!("X: {}\r\n", "x".repeat(5_000)).into_bytes(),
            )),
        ),
        row(
            "one header without end",
            "failed",
            20,
            all(Said::Endless(
                b"HTTP/1.1 200 OK\r\nX: ".to_vec(),
                vec![b'x'; 65536],
            )),
        ),
        row(
            "10,000 headers",
            "failed",
            20,
            all(Said::Raw(
                format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(10_000)).into_bytes(),
            )),
        ),
        row("a chunk of exabytes", "failed", 20, |request, _| {
            at(request, "manifests/").then(|| Said::Raw(format!("HTTP/1.1 200 OK\r\nContent-Type: {OCI}\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc").into_bytes()))
        }),
        row("an error without end", "500", 10, |request, _| {
            at(request, "manifests/")
                .then(|| Said::Endless(b"HTTP/1.1 500 Oh\r\n\r\n".to_vec(), vec![b'x'; 65536]))
        }),
        row("an error in red", "500", 10, move |request, _| {
            at(request, "manifests/").then(|| {
                Said::json(
                    "500 Oh",
                    format!(
                        r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#,
                        escapes
                            .replace('\u{1b}', "\\u001b")
                            .replace('\u{7}', "\\u0007")
                    ),
                )
            })
        }),
        row("an error of brackets", "404", 10, |request, _| {
            at(request, "manifests/").then(|| Said::json("404 Not Found", "[".repeat(60_000)))
        }),
        row(
            "packed without being asked",
            "not a manifest",
            10,
            |request, _| {
                at(request, "manifests/").then(|| {
                    Said::Whole(
                        format!("200 OK\r\nContent-Type: {OCI}\r\nContent-Encoding: gzip"),
                        kiln_e2e::gzip_of(|out| out.write_all(b"{}")),
                    )
                })
            },
        ),
    ]);
}
