//! A small HTTP/1.1 server on loopback, for ADD with a URL and as the front of the fault proxy.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Header names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, decoded when it came in chunks.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers; length and connection are added.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The length that is announced when it is not that of the body: a lie, or the answer to HEAD.
    pub announced: Option<u64>,
}

impl Response {
    /// A plain answer.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self {
            status,
            headers,
            body: body.into(),
            announced: None,
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: String,
    stop: Arc<AtomicBool>,
}

impl HttpServer {
    /// Serves every request with `answer`, each connection on a thread of its own.
    pub fn start(answer: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address")
            .to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, answer) = (stop.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let answer = answer.clone();
                // A client that goes away is part of what tests do.
                thread::spawn(move || drop(serve(stream, &*answer)));
            }
        });
        Self { address, stop }
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `http://127.0.0.1:port/path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept loop; if it cannot be reached it has ended already.
        drop(TcpStream::connect(&self.address));
    }
}

fn serve(stream: TcpStream, answer: &dyn Fn(&Request) -> Response) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader, &mut stream)? {
        let response = answer(&request);
        write_response(&mut stream, &request, &response)?;
        if response
            .announced
            .is_some_and(|length| length != response.body.len() as u64)
            && request.method != "HEAD"
        {
            // The promise cannot be kept: end the connection instead.
            return stream.shutdown(Shutdown::Both);
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead, stream: &mut TcpStream) -> io::Result<Option<Request>> {
    let Some((first, headers)) = read_head(reader)? else {
        return Ok(None);
    };
    let mut words = first.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default().to_owned(),
        words.next().unwrap_or_default().to_owned(),
    );
    if headers
        .get("expect")
        .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = read_body(reader, &headers, false)?;
    Ok(Some(Request {
        method,
        path,
        headers,
        body,
    }))
}

/// First line and headers (names in lower case); `None` at the end of the connection.
pub(crate) fn read_head(
    reader: &mut impl BufRead,
) -> io::Result<Option<(String, BTreeMap<String, String>)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some((first.trim_end().to_owned(), headers)));
        }
        if let Some((name, value)) = line.split_once(':') {
            // A header that comes several times is one with a list.
            let known: &mut String = headers.entry(name.to_ascii_lowercase()).or_default();
            known.push_str(if known.is_empty() { "" } else { ", " });
            known.push_str(value.trim());
        }
    }
}

/// A body by its length or in chunks; `to_end` when neither is given and the connection's end is the body's.
pub(crate) fn read_body(
    reader: &mut impl BufRead,
    headers: &BTreeMap<String, String>,
    to_end: bool,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers
        .get("transfer-encoding")
        .is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)
                .unwrap_or(0);
            let start = body.len();
            body.resize(start + size, 0);
            reader.read_exact(&mut body[start..])?;
            reader.read_line(&mut line)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match headers
        .get("content-length")
        .and_then(|value| value.parse().ok())
    {
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        None if to_end => drop(reader.read_to_end(&mut body)?),
        None => {}
    }
    Ok(body)
}

fn write_response(
    stream: &mut TcpStream,
    request: &Request,
    response: &Response,
) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", response.status);
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !matches!(response.status, 204 | 304) {
        head += &format!(
            "Content-Length: {}\r\n",
            response.announced.unwrap_or(response.body.len() as u64)
        );
    }
    head += "\r\n";
    stream.write_all(head.as_bytes())?;
    if request.method != "HEAD" {
        stream.write_all(&response.body)?;
    }
    stream.flush()
}
