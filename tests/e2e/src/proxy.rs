//! A man in the middle before a real registry: it counts requests, and lies when told to.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use crate::http::{HttpServer, Request, Response, read_body, read_head};

/// What the proxy does to answers whose request matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One byte of the body is changed.
    WrongBytes,
    /// Half of the body, then the connection ends.
    Truncated,
    /// Status 500 with a registry's error body.
    ServerError,
    /// Status 200 and a login page.
    Html,
    /// Status 200 and JSON that is no manifest.
    OtherJson,
    /// The answer comes after half a minute: longer than any test waits for.
    Stall,
    /// The truth, a little later: long enough for others to ask for the same.
    Late,
    /// Status 503 for the first two matching requests, then the truth.
    Transient,
}

/// When a fault applies: method and a part of the path.
type Rule = (&'static str, &'static str, Fault);

/// The proxy; it stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    server: HttpServer,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Proxy {
    /// Passes everything on to the registry at `host` and notes it.
    pub fn before(host: &str) -> Self {
        Self::with_faults(host, &[])
    }

    /// As [`Proxy::before`], with faults for requests of a method whose path contains a text.
    pub fn with_faults(host: &str, rules: &[Rule]) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (notes, host, rules) = (seen.clone(), host.to_owned(), rules.to_vec());
        let failures = Mutex::new(0);
        let server = HttpServer::start(move |request| {
            notes
                .lock()
                .expect("notes are only pushed to")
                .push((request.method.clone(), request.path.clone()));
            let truth = forward(&host, request).unwrap_or_else(|error| {
                Response::new(502, "text/plain", format!("the proxy: {error}"))
            });
            let rule = rules
                .iter()
                .find(|(method, part, _)| *method == request.method && request.path.contains(part));
            match rule {
                Some((_, _, fault)) => spoil(*fault, truth, &failures),
                None => truth,
            }
        });
        Self { server, seen }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        self.server.address()
    }

    /// The reference of `name` through this proxy.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    /// A full reference of the registry's own, through this proxy.
    pub fn through(&self, reference: &str) -> String {
        let (_, name) = reference.split_once('/').expect("a full reference");
        self.reference(name)
    }

    /// Waits until a request of this method with this text in its path has come.
    ///
    /// # Panics
    /// When none comes within half a minute.
    pub fn wait_for(&self, method: &str, part: &str) {
        for _ in 0..3000 {
            if self.seen(method).iter().any(|path| path.contains(part)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("no {method} of {part} came");
    }

    /// Paths of all requests of a method since the last call of [`Proxy::forget`].
    pub fn seen(&self, method: &str) -> Vec<String> {
        let seen = self.seen.lock().expect("notes are only pushed to");
        seen.iter()
            .filter(|(other, _)| other == method)
            .map(|(_, path)| path.clone())
            .collect()
    }

    /// Digests of the blobs that were asked for, as often as they were.
    pub fn blobs(&self) -> Vec<String> {
        let digest = |path: String| Some(path.split_once("/blobs/")?.1.to_owned());
        self.seen("GET").into_iter().filter_map(digest).collect()
    }

    /// Blob uploads that were finished, whichever way: monolithic POST, or PUT at the end.
    pub fn uploads(&self) -> Vec<String> {
        let finished = |path: &String| path.contains("/blobs/uploads/") && path.contains("digest=");
        let mut uploads = self.seen("PUT");
        uploads.extend(self.seen("POST"));
        uploads.retain(finished);
        uploads
    }

    /// Starts counting anew.
    pub fn forget(&self) {
        self.seen.lock().expect("notes are only pushed to").clear();
    }
}

fn spoil(fault: Fault, mut truth: Response, failures: &Mutex<u32>) -> Response {
    match fault {
        Fault::WrongBytes => {
            let middle = truth.body.len() / 2;
            if let Some(byte) = truth.body.get_mut(middle) {
                *byte ^= 0x20;
            }
            // A liar is consistent: the digest header would give it away too early.
            truth
                .headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case("docker-content-digest"));
            truth
        }
        Fault::Truncated => {
            truth.announced = Some(truth.body.len() as u64);
            truth.body.truncate(truth.body.len() / 2);
            truth
        }
        Fault::ServerError => {
            let body = r#"{"errors":[{"code":"UNKNOWN","message":"disk on fire in rack seven"}]}"#;
            Response::new(500, "application/json", body)
        }
        Fault::Html => Response::new(
            200,
            "text/html",
            "<!DOCTYPE html><html><body>Please log in</body></html>",
        ),
        Fault::OtherJson => Response::new(200, "application/json", r#"{"hello":"world"}"#),
        Fault::Stall => {
            std::thread::sleep(std::time::Duration::from_secs(30));
            truth
        }
        Fault::Late => {
            std::thread::sleep(std::time::Duration::from_millis(300));
            truth
        }
        Fault::Transient => {
            let mut failures = failures.lock().expect("a counter");
            *failures += 1;
            if *failures <= 2 {
                return Response::new(503, "text/plain", "come back later")
                    .header("Retry-After", "0");
            }
            truth
        }
    }
}

fn forward(host: &str, request: &Request) -> io::Result<Response> {
    let mut stream = TcpStream::connect(host)?;
    let mut head = format!(
        "{} {} HTTP/1.1\r\nConnection: close\r\n",
        request.method, request.path
    );
    // `Host` stays the proxy's, so that the registry's Location headers lead back here.
    for (name, value) in &request.headers {
        if !matches!(
            name.as_str(),
            "connection" | "content-length" | "transfer-encoding" | "expect"
        ) {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += &format!("content-length: {}\r\n\r\n", request.body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut reader = BufReader::new(stream);
    let (first, headers) = read_head(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(502);
    let has_body = request.method != "HEAD" && !matches!(status, 204 | 304);
    let body = if has_body {
        read_body(&mut reader, &headers, true)?
    } else {
        Vec::new()
    };
    let announced = headers
        .get("content-length")
        .and_then(|value| value.parse().ok())
        .filter(|_| !has_body);
    let skipped = ["connection", "content-length", "transfer-encoding"];
    let headers = headers
        .into_iter()
        .filter(|(name, _)| !skipped.contains(&name.as_str()))
        .collect();
    Ok(Response {
        status,
        headers,
        body,
        announced,
    })
}
