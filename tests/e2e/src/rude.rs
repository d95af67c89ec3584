//! A server that says what no registry should: bytes as they are, without end if need be.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::http::{Request, read_body, read_head};

/// What is sent to one request; the connection ends after it.
#[derive(Debug, Clone)]
pub enum Said {
    /// Status line with headers (lines end in `\r\n`), then a body of its announced length.
    Whole(String, Vec<u8>),
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// Bytes, then these again and again until the client goes away or a gigabyte was sent.
    Endless(Vec<u8>, Vec<u8>),
}

impl Said {
    /// An answer with a JSON body.
    pub fn json(status: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(
            format!("{status}\r\nContent-Type: application/json"),
            body.into(),
        )
    }

    /// An answer with a body of some type.
    pub fn typed(kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(format!("200 OK\r\nContent-Type: {kind}"), body.into())
    }
}

/// The server; it stops when dropped.
pub struct Rude {
    host: String,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl fmt::Debug for Rude {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rude")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Rude {
    /// Answers every request with what `answer` says; it is told the server's own address.
    pub fn start(answer: impl Fn(&Request, &str) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let host = listener.local_addr().expect("a bound socket").to_string();
        let server = Self {
            host: host.clone(),
            stop: Arc::default(),
            requests: Arc::default(),
            seen: Arc::default(),
        };
        let (stop, requests, seen) = (
            Arc::clone(&server.stop),
            Arc::clone(&server.requests),
            Arc::clone(&server.seen),
        );
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let (answer, host) = (Arc::clone(&answer), host.clone());
                let (requests, seen) = (Arc::clone(&requests), Arc::clone(&seen));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    requests.fetch_add(1, Ordering::Relaxed);
                    let line = format!("{} {}", request.method, request.path);
                    seen.lock().expect("nothing panics here").push(line);
                    send(&mut stream, &request, answer(&request, &host));
                });
            }
        });
        server
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Requests that came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Method and path of each.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("nothing panics here").clone()
    }
}

impl Drop for Rude {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.host));
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (first, headers) = read_head(&mut reader).ok()??;
    // What finds out whether it is https.
    if !first.contains("HTTP/1.1") {
        return None;
    }
    let body = read_body(&mut reader, &headers, false).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    Some(Request {
        method: words.next()?,
        path: words.next()?,
        headers,
        body,
    })
}

fn send(stream: &mut TcpStream, request: &Request, said: Said) {
    const ENOUGH: usize = 1 << 30;
    // A client that went away is what these tests are about.
    match said {
        Said::Whole(head, body) => {
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            );
            if request.method != "HEAD" {
                let _ = stream.write_all(&body);
            }
        }
        Said::Raw(bytes) => drop(stream.write_all(&bytes)),
        Said::Endless(start, again) => {
            let mut sent = 0;
            let mut result = stream.write_all(&start);
            while result.is_ok() && sent < ENOUGH {
                sent += again.len();
                result = stream.write_all(&again);
            }
        }
    }
}

/// What a layout holds, as a registry would serve it under any repository: paths below `/v2/x/` to answers.
pub fn served(layout: &Path) -> BTreeMap<String, Said> {
    let index = std::fs::read(layout.join("index.json")).expect("a layout");
    let index: serde_json::Value = serde_json::from_slice(&index).expect("a layout");
    let mut paths = BTreeMap::new();
    let blobs = std::fs::read_dir(layout.join("blobs/sha256")).expect("a layout");
    for blob in blobs {
        let blob = blob.expect("a blob");
        let bytes = std::fs::read(blob.path()).expect("a blob");
        let name = blob.file_name().to_string_lossy().into_owned();
        paths.insert(
            format!("blobs/sha256:{name}"),
            Said::typed("application/octet-stream", bytes),
        );
    }
    for (at, entry) in index["manifests"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let digest = entry["digest"].as_str().expect("a digest");
        let path = layout.join("blobs").join(digest.replace(':', "/"));
        let bytes = std::fs::read(path).expect("a manifest");
        let said = Said::typed(entry["mediaType"].as_str().expect("a type"), bytes);
        paths.insert(format!("manifests/{digest}"), said.clone());
        if at == 0 {
            paths.insert("manifests/1".to_owned(), said);
        }
    }
    paths
}
