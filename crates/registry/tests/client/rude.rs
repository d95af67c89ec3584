//! Registries that never end: each is given up after a known number of requests, with a message that names the limit.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_oci::{Descriptor, Digest, MediaType, Repository};
use kiln_registry::{AuthConfig, BlobSource, Client, Floor, RegistrySettings, Retries};

use crate::{login, settings, shown};

/// One request, as far as these servers look at it.
struct Asked {
    /// `GET /v2/`
    line: String,
    headers: String,
}

/// A server that answers with whatever its closure writes; each connection serves one request.
struct Rude {
    host: String,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Rude {
    fn start(answer: impl Fn(&Asked, &mut TcpStream, &str) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (stop, requests) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let server = Self {
            host: host.clone(),
            stop: Arc::clone(&stop),
            requests: Arc::clone(&requests),
            seen: Arc::clone(&seen),
        };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let (answer, requests, seen) = (
                    Arc::clone(&answer),
                    Arc::clone(&requests),
                    Arc::clone(&seen),
                );
                let host = host.clone();
                std::thread::spawn(move || {
                    let Some(asked) = read(&stream) else { return };
                    // What finds out whether it is https.
                    if !asked.line.contains("HTTP/1.1") {
                        return;
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                    seen.lock()
                        .unwrap()
                        .push(format!("{}\n{}", asked.line, asked.headers));
                    answer(&asked, &mut stream, &host);
                });
            }
        });
        server
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    fn repo(&self) -> Repository {
        Repository {
            registry: self.host.clone(),
            path: "a/b".to_owned(),
        }
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.host));
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = String::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? <= 2 {
            break;
        }
        headers.push_str(&header.to_ascii_lowercase());
    }
    let length = headers
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim().to_owned();
    Some(Asked { line, headers })
}

fn say(stream: &mut TcpStream, head: &str, body: &str) {
    let length = body.len();
    // A client that went away is what these tests are about.
    let _ = write!(
        stream,
        "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
}

/// Bytes one by one, until the client has had enough.
fn drip(stream: &mut TcpStream, head: &str, length: usize) {
    if write!(
        stream,
        "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n"
    )
    .is_err()
    {
        return;
    }
    for _ in 0..length {
        if stream.write_all(b"x").is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Windows of a tenth of a second.
fn hasty() -> RegistrySettings {
    RegistrySettings {
        floor: Floor {
            bytes: 64 << 10,
            window: Duration::from_millis(100),
        },
        inactivity_timeout: Duration::from_millis(500),
        ..settings()
    }
}

fn descriptor(size: u64) -> Descriptor {
    Descriptor::new(MediaType::OciLayerGzip, Digest::of(b"never"), size)
}

async fn pull_blob(client: &Client, rude: &Rude, size: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    let fetched = client
        .blob_to_file(&rude.repo(), &descriptor(size), &to, &|_| ())
        .await;
    let text = shown(&fetched.unwrap_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{text}");
    text
}

async fn pull_manifest(client: &Client, rude: &Rude) -> String {
    let reference = format!("{}/a/b:1", rude.host).parse().unwrap();
    shown(&client.manifest(&reference).await.unwrap_err())
}

fn is_ping(asked: &Asked) -> bool {
    asked.line.starts_with("GET /v2/ ")
}

// finding 8
// conformance: I17
#[tokio::test]
async fn drips_are_given_up() {
    let table: [(&str, &str, &str); 4] = [
        ("a manifest", "/manifests/", "200 OK"),
        ("a blob", "/blobs/", "200 OK"),
        ("an error", "/manifests/", "404 Not Found"),
        ("the version check", "/v2/ ", "200 OK"),
    ];
    for (what, part, head) in table {
        let rude = Rude::start(move |asked, stream, _| {
            if asked.line.contains(part) {
                drip(stream, head, 10_000);
            } else {
                say(stream, "404 Not Found", "");
            }
        });
        let client = Client::new(hasty()).unwrap();
        let text = match what {
            "a blob" => pull_blob(&client, &rude, 10_000).await,
            _ => pull_manifest(&client, &rude).await,
        };
        let expected = if head.starts_with("404") || part == "/v2/ " {
            "404 Not Found"
        } else {
            "TRANSFER_FLOOR"
        };
        assert!(text.contains(expected), "{what}: {text}");
        assert!(rude.requests() <= 6, "{what}: {}", rude.requests());
    }
}

// finding 8: every connection makes progress, by one byte.
// conformance: I16
#[tokio::test]
async fn a_byte_a_connection_is_no_progress() {
    const SIZE: usize = 10_000;
    for bytes in [1, 100] {
        let rude = Rude::start(move |asked, stream, _| {
            if is_ping(asked) {
                return say(stream, "200 OK", "");
            }
            let from = asked
                .headers
                .lines()
                .find_map(|line| line.strip_prefix("range: bytes="));
            let from: usize =
                from.map_or(0, |text| text.trim().trim_end_matches('-').parse().unwrap());
            let rest = SIZE - from;
            let head = if from == 0 {
                "200 OK".to_owned()
            } else {
                format!(
                    "206 Partial Content\r\nContent-Range: bytes {from}-{}/{SIZE}",
                    SIZE - 1
                )
            };
            let some = "x".repeat(bytes.min(rest));
            let _ = write!(
                stream,
                "HTTP/1.1 {head}\r\nContent-Length: {rest}\r\n\r\n{some}"
            );
        });
        let client = Client::new(settings()).unwrap();
        let text = pull_blob(&client, &rude, SIZE as u64).await;
        assert!(
            text.contains("closed before the answer was complete"),
            "{text}"
        );
        // The ping over both schemes, and one request with three more tries.
        assert!(rude.requests() <= 6, "{bytes}: {}", rude.requests());
    }
}

// finding 8: what makes progress goes on, however often it breaks.
// conformance: I16
#[tokio::test]
async fn progress_is_rewarded() {
    let content = vec![b'c'; 100_000];
    let sent = content.clone();
    let rude = Rude::start(move |asked, stream, _| {
        if is_ping(asked) {
            return say(stream, "200 OK", "");
        }
        let from = asked
            .headers
            .lines()
            .find_map(|line| line.strip_prefix("range: bytes="));
        let from: usize = from.map_or(0, |text| text.trim().trim_end_matches('-').parse().unwrap());
        let (rest, size) = (&sent[from..], sent.len());
        let head = if from == 0 {
            "200 OK".to_owned()
        } else {
            format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}",
                size - 1
            )
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n",
            rest.len()
        );
        let _ = stream.write_all(&rest[..rest.len().min(10_000)]);
    });
    let client = Client::new(RegistrySettings {
        resume_progress: 5_000,
        ..settings()
    });
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("blob");
    let d = Descriptor::of(MediaType::OciLayerGzip, &content);
    let fetched = client
        .unwrap()
        .blob_to_file(&rude.repo(), &d, &to, &|_| ())
        .await;
    fetched.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content);
}

// finding 8
// conformance: I15
#[tokio::test]
async fn nobody_waits_for_years() {
    for after in ["999999999", "121", "Fri, 31 Dec 2399 23:59:59 GMT"] {
        let rude = Rude::start(move |asked, stream, _| {
            if is_ping(asked) {
                return say(stream, "200 OK", "");
            }
            say(
                stream,
                &format!("429 Too Many Requests\r\nRetry-After: {after}"),
                "",
            );
        });
        let client = Client::new(settings()).unwrap();
        let text = pull_manifest(&client, &rude).await;
        assert!(text.contains("RETRY_AFTER_LIMIT"), "{after}: {text}");
        assert!(rude.requests() <= 3, "{after}: {}", rude.requests());
    }
}

/// What the registry answers to everything, and what its token server says.
struct Row {
    what: &'static str,
    challenge: &'static str,
    token: &'static str,
    expected: &'static str,
}

const AUTHORIZATIONS: [Row; 11] = [
    Row {
        what: "a token with a line feed",
        challenge: "Bearer realm=\"http://HOST/token\"",
        token: r#"{"token":"a\nb"}"#,
        expected: "no header can hold",
    },
    Row {
        what: "a token that is never right",
        challenge: "Bearer realm=\"http://HOST/token\"",
        token: r#"{"token":"a"}"#,
        expected: "401 Unauthorized",
    },
    Row {
        what: "a token that is old at once",
        challenge: "Bearer realm=\"http://HOST/token\"",
        token: r#"{"token":"a","expires_in":0}"#,
        expected: "401 Unauthorized",
    },
    Row {
        what: "a token for a very long time",
        challenge: "Bearer realm=\"http://HOST/token\"",
        token: r#"{"token":"a","expires_in":18446744073709551615}"#,
        expected: "401 Unauthorized",
    },
    Row {
        what: "no token",
        challenge: "Bearer realm=\"http://HOST/token\"",
        token: "{}",
        expected: "not a token",
    },
    Row {
        what: "a realm in circles",
        challenge: "Bearer realm=\"http://HOST/v2/\"",
        token: "",
        expected: "401 Unauthorized",
    },
    Row {
        what: "a realm that is a file",
        challenge: "Bearer realm=\"file:///etc/passwd\"",
        token: "",
        expected: "only http and https are followed",
    },
    Row {
        what: "a realm that is nothing",
        challenge: "Bearer realm=\"\\\\\"",
        token: "",
        expected: "malformed",
    },
    Row {
        what: "basic for ever",
        challenge: "Basic realm=\"x\"",
        token: "",
        expected: "401 Unauthorized",
    },
    Row {
        what: "nothing that is known",
        challenge: "Negotiate",
        token: "",
        expected: "401 Unauthorized",
    },
    Row {
        what: "another way each time",
        challenge: "TURNS",
        token: r#"{"token":"a"}"#,
        expected: "401 Unauthorized",
    },
];

// finding 7: no token that can never be sent is asked for again and again.
#[tokio::test]
async fn authorization_ends() {
    for Row {
        what,
        challenge,
        token,
        expected,
    } in AUTHORIZATIONS
    {
        for auth in ["none", "password", "bearer", "bad bearer"] {
            let turn = AtomicUsize::new(0);
            let rude = Rude::start(move |asked, stream, host| {
                if asked.line.contains("/token") {
                    return say(stream, "200 OK\r\nContent-Type: application/json", token);
                }
                let challenge = match (challenge, turn.fetch_add(1, Ordering::Relaxed) % 2) {
                    ("TURNS", 0) => "Basic realm=\"x\"".to_owned(),
                    ("TURNS", _) => format!("Bearer realm=\"http://{host}/token\""),
                    (other, _) => other.replace("HOST", host),
                };
                say(
                    stream,
                    &format!("401 Unauthorized\r\nWWW-Authenticate: {challenge}"),
                    "",
                );
            });
            let json = match auth {
                "bearer" => r#"{"registrytoken":"t"}"#,
                "bad bearer" => r#"{"registrytoken":"t\nt"}"#,
                _ => "",
            };
            let auth_config = match auth {
                "none" => AuthConfig::default(),
                "password" => login(&rude.host, "u", "p"),
                _ => {
                    let text = format!(r#"{{"auths":{{"{}":{json}}}}}"#, rude.host);
                    AuthConfig::from_json(text.as_bytes(), "`test.json`").unwrap()
                }
            };
            let client = Client::new(RegistrySettings {
                auth: auth_config,
                ..settings()
            });
            let text = pull_manifest(&client.unwrap(), &rude).await;
            // A token of the user's own is sent as it is, so that no token server is asked.
            if !auth.contains("bearer") {
                assert!(text.contains(expected), "{what}, {auth}: {text}");
            }
            assert!(
                rude.requests() <= 12,
                "{what}, {auth}: {} requests, {text}",
                rude.requests()
            );
        }
    }
}

// finding 7: whoever a registry sends us to has no say in where its credentials go.
// conformance: I11
#[tokio::test]
async fn credentials_do_not_go_where_a_redirect_says() {
    let thief = Rude::start(|asked, stream, host| {
        if asked.line.contains("/token") {
            return say(
                stream,
                "200 OK\r\nContent-Type: application/json",
                r#"{"token":"stolen"}"#,
            );
        }
        let challenge =
            format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\"");
        say(stream, &challenge, "");
    });
    let elsewhere = thief.host.clone();
    let home = Rude::start(move |asked, stream, _| {
        if is_ping(asked) {
            return say(
                stream,
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"home\"",
                "",
            );
        }
        say(
            stream,
            &format!("307 Temporary Redirect\r\nLocation: http://{elsewhere}/blob"),
            "",
        );
    });
    let client = Client::new(RegistrySettings {
        auth: login(&home.host, "u", "s3cret"),
        ..settings()
    })
    .unwrap();
    let text = pull_blob(&client, &home, 10).await;
    assert!(text.contains("401"), "{text}");
    // A foreign layer names its own address.
    let foreign = descriptor(10)
        .with_media_type(MediaType::DockerForeignLayerGzip)
        .with_urls(vec![format!("http://{}/layer", thief.host)]);
    let dir = tempfile::tempdir().unwrap();
    let fetched = client
        .blob_to_file(&home.repo(), &foreign, &dir.path().join("x"), &|_| ())
        .await;
    fetched.unwrap_err();
    let seen = thief.seen.lock().unwrap().join("\n");
    assert!(
        !seen.contains("authorization") && !seen.contains("/token"),
        "{seen}"
    );
    assert!(thief.requests() <= 4 && home.requests() <= 12);
}

// finding 7
#[tokio::test]
async fn uploads_end() {
    type Answer = fn(&Asked, &mut TcpStream, &str);
    let table: [(&str, Answer); 8] = [
        ("a session that moves on for ever", |asked, stream, host| {
            let location = format!("Location: http://{host}/v2/a/b/blobs/uploads/1");
            if asked.line.starts_with("HEAD") || is_ping(asked) {
                return say(stream, "404 Not Found", "");
            }
            say(stream, &format!("307 Temporary Redirect\r\n{location}"), "");
        }),
        ("a session that is gone each time", |asked, stream, host| {
            let location = format!("Location: http://{host}/v2/a/b/blobs/uploads/1");
            if asked.line.starts_with("POST") {
                return say(stream, &format!("202 Accepted\r\n{location}"), "");
            }
            say(stream, "404 Not Found", "");
        }),
        ("a range that never fits", |asked, stream, host| {
            let location = format!("Location: http://{host}/v2/a/b/blobs/uploads/1");
            if asked.line.starts_with("POST") {
                return say(stream, &format!("202 Accepted\r\n{location}"), "");
            }
            say(stream, "416 Range Not Satisfiable", "");
        }),
        ("always too large", |asked, stream, host| {
            let location = format!("Location: http://{host}/v2/a/b/blobs/uploads/1");
            if asked.line.starts_with("POST") {
                return say(
                    stream,
                    &format!(
                        "202 Accepted\r\n{location}\r\nOCI-Chunk-Min-Length: 18446744073709551615"
                    ),
                    "",
                );
            }
            let head = if asked.line.starts_with("HEAD") {
                "404 Not Found"
            } else {
                "413 Too Large"
            };
            say(stream, head, "");
        }),
        ("no address", |asked, stream, _| {
            let head = if asked.line.starts_with("POST") {
                "202 Accepted"
            } else {
                "404 Not Found"
            };
            say(stream, head, "");
        }),
        ("an address of another kind", |asked, stream, _| {
            if asked.line.starts_with("POST") {
                return say(stream, "202 Accepted\r\nLocation: file:///etc/passwd", "");
            }
            say(stream, "404 Not Found", "");
        }),
        ("busy for ever", |_, stream, _| {
            say(stream, "503 Service Unavailable", "");
        }),
        ("credentials for every piece", |asked, stream, host| {
            if asked.line.contains("/token") {
                return say(
                    stream,
                    "200 OK\r\nContent-Type: application/json",
                    r#"{"token":"t"}"#,
                );
            }
            say(
                stream,
                &format!(
                    "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://{host}/token\""
                ),
                "",
            );
        }),
    ];
    for (what, answer) in table {
        let rude = Rude::start(answer);
        let client = Client::new(settings()).unwrap();
        let blob = vec![b'x'; 33 << 20];
        let d = Descriptor::of(MediaType::OciLayerGzip, &blob);
        let source = BlobSource::Bytes(blob.into());
        let pushed = client.push_blob(&rude.repo(), &d, source, &[]).await;
        let text = shown(&pushed.unwrap_err());
        assert!(
            rude.requests() <= 30,
            "{what}: {} requests, {text}",
            rude.requests()
        );
    }
}

// finding 8: somebody who takes the connection and says nothing, at any level.
// conformance: I17
#[tokio::test]
async fn silence_ends() {
    type Answer = fn(&mut TcpStream);
    let table: [(&str, Answer); 4] = [
        ("before the first byte", |_| {
            std::thread::sleep(Duration::from_secs(3));
        }),
        ("in the headers", |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX-A: ");
            for _ in 0..600 {
                if stream.write_all(b"a").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }),
        ("with interim answers", |stream| {
            for _ in 0..600 {
                if stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }),
        ("with headers without end", |stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            let line = format!("X-Header: {}\r\n", "a".repeat(8000));
            while stream.write_all(line.as_bytes()).is_ok() {}
        }),
    ];
    for (what, answer) in table {
        let rude = Rude::start(move |asked, stream, _| {
            if is_ping(asked) {
                return say(stream, "200 OK", "");
            }
            answer(stream);
        });
        let client = Client::new(RegistrySettings {
            retries: Retries {
                request: 1,
                ..settings().retries
            },
            ..hasty()
        });
        let text = pull_manifest(&client.unwrap(), &rude).await;
        assert!(rude.requests() <= 4, "{what}: {text}");
    }
}

// finding 8: a port that takes connections and never speaks TLS.
#[tokio::test]
async fn a_handshake_has_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let client = Client::new(RegistrySettings {
        connect_timeout: Duration::from_millis(100),
        inactivity_timeout: Duration::from_millis(500),
        ..settings()
    })
    .unwrap();
    let reference = format!("{host}/a:1").parse().unwrap();
    let text = shown(&client.manifest(&reference).await.unwrap_err());
    assert!(text.contains("failed") || text.contains("silent"), "{text}");
}

// The volume's and the layout's files are no place for what a registry claims to be endless.
#[tokio::test]
async fn a_layer_that_does_not_fit_is_not_begun() {
    let rude = Rude::start(|asked, stream, _| {
        if is_ping(asked) {
            return say(stream, "200 OK", "");
        }
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            u64::MAX / 2
        );
        while stream.write_all(&vec![0; 65536]).is_ok() {}
    });
    let client = Client::new(settings()).unwrap();
    let text = pull_blob(&client, &rude, u64::MAX / 2).await;
    assert!(text.contains("free"), "{text}");
    assert!(!Path::new("blob").exists());
}
