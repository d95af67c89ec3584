//! As much HTTP/1.1 as a registry needs.

use std::io::{self, BufRead, Read, Write};

/// A request whose body has not been read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
}

impl Request {
    /// The next request; `None` if the client is done.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target), Some(_)) = (words.next(), words.next(), words.next())
        else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not http"));
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        Ok(Some(Self {
            method,
            target,
            headers,
        }))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the query, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    /// All parameters of that name, decoded.
    pub(super) fn queries(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect()
    }

    /// The body, or its first `limit` bytes.
    pub(super) fn body(&self, from: &mut impl BufRead, limit: u64) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self
            .header("transfer-encoding")
            .is_some_and(|coding| coding.contains("chunked"))
        {
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let size =
                    u64::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)
                        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad chunk"))?;
                let want = size.min(limit - body.len() as u64);
                exactly(from, want, &mut body)?;
                if want < size || body.len() as u64 == limit {
                    return Ok(body);
                }
                from.read_line(&mut line)?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let length: u64 = self
            .header("content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        exactly(from, length.min(limit), &mut body)?;
        Ok(body)
    }
}

fn exactly(from: &mut impl BufRead, size: u64, to: &mut Vec<u8>) -> io::Result<()> {
    if from.take(size).read_to_end(to)? as u64 == size {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// An error as the distribution specification wants it.
    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
        Self::new(status).content("application/json", body.to_string().into_bytes())
    }

    pub(super) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn content(mut self, kind: &str, body: Vec<u8>) -> Self {
        self.body = body;
        self.header("Content-Type", kind)
    }

    /// Head, and body unless it is for HEAD; `sent` limits the body without changing its promised length.
    pub(super) fn write(
        &self,
        to: &mut impl Write,
        with_body: bool,
        sent: Option<usize>,
    ) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        head.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n\r\n"]);
        to.write_all(head.as_bytes())?;
        if with_body {
            to.write_all(&self.body[..sent.unwrap_or(self.body.len()).min(self.body.len())])?;
        }
        to.flush()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Whatever",
    }
}
