//! A man in the middle before a real registry: it counts requests, delays them, and lies when told to.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::http::{HttpServer, Request, Response, read_body, read_head};

/// What the proxy does to answers whose request matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One byte of the body is changed.
    WrongBytes,
    /// Half of the body, then the connection ends.
    Truncated,
    /// Half of the body, as if it were all.
    Half,
    /// This word in the body becomes another of the same length.
    Replaced(&'static str, &'static str),
    /// Status 500 with a registry's error body.
    ServerError,
    /// Any other status with a registry's error body; the request does not reach the registry.
    Status(u16),
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

/// When a fault applies: method (`*` for any) and a part of the path.
type Rule = (&'static str, &'static str, Fault);

/// A request that came, and when it was answered: moments are counted, so that no clock decides what was before what.
#[derive(Debug, Clone)]
struct Seen {
    method: String,
    path: String,
    begun: usize,
    ended: Option<usize>,
}

/// All requests since the start, or since they were forgotten.
#[derive(Debug, Default)]
struct Notes {
    moment: usize,
    seen: Vec<Seen>,
}

impl Notes {
    fn begin(&mut self, request: &Request) -> usize {
        self.moment += 1;
        self.seen.push(Seen {
            method: request.method.clone(),
            path: request.path.clone(),
            begun: self.moment,
            ended: None,
        });
        self.moment
    }

    fn end(&mut self, begun: usize) {
        self.moment += 1;
        // Gone when it was forgotten in between.
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.begun == begun) {
            seen.ended = Some(self.moment);
        }
    }
}

/// The proxy; it stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    server: HttpServer,
    notes: Arc<Mutex<Notes>>,
}

impl Proxy {
    /// Passes everything on to the registry at `host` and notes it.
    pub fn before(host: &str) -> Self {
        Self::with_faults(host, &[])
    }

    /// As [`Proxy::before`], with faults for requests of a method whose path contains a text.
    pub fn with_faults(host: &str, rules: &[Rule]) -> Self {
        Self::with(host, rules, Duration::ZERO)
    }

    /// As [`Proxy::before`], but each answer comes this much later: a registry that is far away.
    pub fn distant(host: &str, latency: Duration) -> Self {
        Self::with(host, &[], latency)
    }

    fn with(host: &str, rules: &[Rule], latency: Duration) -> Self {
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (noted, host, rules) = (notes.clone(), host.to_owned(), rules.to_vec());
        let failures = Mutex::new(0);
        let server = HttpServer::start(move |request| {
            let begun = lock(&noted).begin(request);
            std::thread::sleep(latency);
            let rule = rules.iter().find(|(method, part, _)| {
                ["*", request.method.as_str()].contains(method) && request.path.contains(part)
            });
            let answer = answer(&host, request, rule.map(|(_, _, fault)| *fault), &failures);
            lock(&noted).end(begun);
            answer
        });
        Self { server, notes }
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
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no {method} of {part} came");
    }

    /// Paths of all requests of a method since the last call of [`Proxy::forget`].
    pub fn seen(&self, method: &str) -> Vec<String> {
        lock(&self.notes)
            .seen
            .iter()
            .filter(|seen| seen.method == method)
            .map(|seen| seen.path.clone())
            .collect()
    }

    /// Digests of the blobs that were asked for, as often as they were.
    pub fn blobs(&self) -> Vec<String> {
        let digest = |path: String| Some(path.split_once("/blobs/")?.1.to_owned());
        self.seen("GET").into_iter().filter_map(digest).collect()
    }

    /// Blobs that were downloaded, by their paths.
    pub fn downloads(&self) -> Vec<String> {
        let mut blobs = self.seen("GET");
        blobs.retain(|path| path.contains("/blobs/sha256"));
        blobs
    }

    /// The longest chain of requests of which each began when the one before it had been answered: what latency is
    /// paid for, however many requests go out side by side.
    pub fn longest_chain(&self) -> Vec<String> {
        let notes = lock(&self.notes);
        // By their beginnings, as they came; each with the best chain that ends in it.
        let mut chains: Vec<(usize, Option<usize>)> = Vec::new();
        for seen in &notes.seen {
            let before = notes.seen.iter().zip(&chains).enumerate();
            let best = before
                .filter(|(_, (other, _))| other.ended.is_some_and(|ended| ended < seen.begun))
                .max_by_key(|(_, (_, (length, _)))| *length)
                .map(|(at, (_, (length, _)))| (at, *length));
            chains.push(best.map_or((1, None), |(at, length)| (length + 1, Some(at))));
        }
        let last = (0..chains.len()).max_by_key(|at| chains[*at].0);
        let steps = std::iter::successors(last, |at| chains[*at].1);
        let mut lines: Vec<String> = steps
            .map(|at| format!("{} {}", notes.seen[at].method, notes.seen[at].path))
            .collect();
        lines.reverse();
        lines
    }

    /// Every request with the moments of its beginning and end, to be read when a chain is too long.
    pub fn protocol(&self) -> String {
        let notes = lock(&self.notes);
        let line = |seen: &Seen| {
            let ended = seen
                .ended
                .map_or_else(String::new, |moment| moment.to_string());
            format!(
                "{:>4} {ended:>4} {} {}\n",
                seen.begun, seen.method, seen.path
            )
        };
        notes.seen.iter().map(line).collect()
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
        lock(&self.notes).seen.clear();
    }
}

fn lock(notes: &Mutex<Notes>) -> std::sync::MutexGuard<'_, Notes> {
    notes.lock().expect("nothing panics while it takes a note")
}

fn answer(host: &str, request: &Request, fault: Option<Fault>, failures: &Mutex<u32>) -> Response {
    if let Some(Fault::Status(status)) = fault {
        return refusal(status);
    }
    let truth = forward(host, request)
        .unwrap_or_else(|error| Response::new(502, "text/plain", format!("the proxy: {error}")));
    match fault {
        Some(fault) => spoil(fault, truth, failures),
        None => truth,
    }
}

fn refusal(status: u16) -> Response {
    let body = r#"{"errors":[{"code":"DENIED","message":"the proxy says no"}]}"#;
    let response = Response::new(status, "application/json", body);
    match status {
        401 => response.header("WWW-Authenticate", "Basic realm=\"e2e\""),
        429 => response.header("Retry-After", "0"),
        _ => response,
    }
}

/// A liar is consistent: a digest header would give it away too early.
fn without_digest(mut answer: Response) -> Response {
    answer
        .headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("docker-content-digest"));
    answer
}

fn spoil(fault: Fault, mut truth: Response, failures: &Mutex<u32>) -> Response {
    match fault {
        Fault::WrongBytes => {
            let middle = truth.body.len() / 2;
            if let Some(byte) = truth.body.get_mut(middle) {
                *byte ^= 0x20;
            }
            without_digest(truth)
        }
        Fault::Half => {
            truth.body.truncate(truth.body.len() / 2);
            without_digest(truth)
        }
        Fault::Replaced(word, other) => {
            truth.body = String::from_utf8_lossy(&truth.body)
                .replace(word, other)
                .into_bytes();
            without_digest(truth)
        }
        Fault::Status(status) => refusal(status),
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
            std::thread::sleep(Duration::from_secs(30));
            truth
        }
        Fault::Late => {
            std::thread::sleep(Duration::from_millis(300));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_made_of_requests_that_waited_for_one_another() {
        let mut notes = Notes::default();
        let begin = |notes: &mut Notes, path: &str| {
            notes.begin(&Request {
                method: "GET".into(),
                path: path.into(),
                headers: std::collections::BTreeMap::new(),
                body: Vec::new(),
            })
        };
        let a = begin(&mut notes, "a");
        let b = begin(&mut notes, "b");
        notes.end(a);
        let c = begin(&mut notes, "c");
        notes.end(b);
        notes.end(c);
        let d = begin(&mut notes, "d");
        notes.end(d);
        let proxy = Proxy {
            server: HttpServer::start(|_| Response::new(200, "text/plain", "")),
            notes: Arc::new(Mutex::new(notes)),
        };
        assert_eq!(proxy.longest_chain(), ["GET a", "GET c", "GET d"]);
    }
}
