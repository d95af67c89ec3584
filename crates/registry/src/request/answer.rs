//! What came back: bodies under a timeout, and errors in the registry's own words.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;

use super::{connection, slow};
use crate::ask::Ask;
use crate::error::{RegistryError, StatusText};
use crate::pace::Pace;
use crate::retry::retry_after;

/// Bodies of errors are read up to here.
pub(crate) const ERROR_BODY_LIMIT: u64 = 64 << 10;
/// And for so long: the status says what matters.
const ERROR_BODY_TIME: Duration = Duration::from_secs(5);
/// A registry's message is shortened to this many characters.
const MESSAGE_LIMIT: usize = 300;

/// An answer whose body has not been read.
pub(crate) struct Answer {
    pub(crate) ask: Ask,
    pub(crate) response: reqwest::Response,
    pub(crate) pace: Pace,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    }

    /// The next piece of the body; silence is an error, and so is a drip (I17).
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let waited = self.pace.wait(self.response.chunk()).await;
        let chunk = waited.map_err(|reason| slow(&self.ask, reason))?;
        let chunk = chunk.map_err(|error| connection(&self.ask, &error))?;
        let size = chunk.as_ref().map_or(0, Bytes::len) as u64;
        let came = self.pace.came(size);
        came.map_err(|reason| slow(&self.ask, reason))?;
        Ok(chunk)
    }

    /// Reads what little there should be, so that the connection can serve again.
    pub(crate) async fn drain(mut self) {
        drop(self.beginning().await);
    }

    /// The whole body; more than `limit` bytes is an error.
    pub(crate) async fn bytes(mut self, limit: u64) -> Result<Bytes, RegistryError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            let size = (body.len() + chunk.len()) as u64;
            if size > limit {
                return Err(RegistryError::NotARegistry {
                    registry: self.ask.registry.clone(),
                    ask: self.ask.what.clone(),
                    got: format!("more than {limit} bytes"),
                    wanted: "a small document",
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The start of the body, whatever happens while reading it.
    async fn beginning(&mut self) -> BytesMut {
        let mut body = BytesMut::new();
        let read = async {
            while (body.len() as u64) < ERROR_BODY_LIMIT {
                match self.chunk().await {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    // The status is already known to be an error; its text is a courtesy.
                    Ok(None) | Err(_) => break,
                }
            }
        };
        // What came by then has to do.
        let _ = tokio::time::timeout(ERROR_BODY_TIME, read).await;
        body
    }

    /// Status, codes and message as an error.
    pub(crate) async fn into_error(mut self) -> RegistryError {
        let body = self.beginning().await;
        let (codes, message) = explain(self.response.headers(), &body);
        RegistryError::Status {
            registry: self.ask.registry,
            ask: self.ask.what,
            status: StatusText(self.response.status().as_u16()),
            codes,
            message,
            retry_after: retry_after(self.response.headers(), SystemTime::now()),
            limit: None,
        }
    }

    /// The registry's message about a refusal.
    pub(crate) async fn into_message(mut self) -> (StatusText, String) {
        let body = self.beginning().await;
        let (_, message) = explain(self.response.headers(), &body);
        (StatusText(self.response.status().as_u16()), message)
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    errors: Vec<ErrorItem>,
    /// Token servers and cloud registries use these.
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Codes and one line of text out of the body of an error.
fn explain(headers: &HeaderMap, body: &[u8]) -> (Vec<String>, String) {
    if let Ok(parsed) = serde_json::from_slice::<ErrorBody>(body) {
        let codes: Vec<String> = parsed
            .errors
            .iter()
            .filter_map(|item| item.code.clone())
            .collect();
        let mut texts: Vec<String> = parsed
            .errors
            .into_iter()
            .filter_map(|item| item.message.filter(|text| !text.is_empty()).or(item.code))
            .collect();
        texts.extend(
            [parsed.message, parsed.details, parsed.error_description]
                .into_iter()
                .flatten(),
        );
        texts.dedup();
        return (codes, one_line(&texts.join("; ")));
    }
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    if kind.contains("html") || text.trim_start().starts_with('<') {
        let page = if text.trim().is_empty() {
            ""
        } else {
            "a web page instead of a registry's error"
        };
        return (Vec::new(), page.to_owned());
    }
    (
        Vec::new(),
        one_line(
            text.lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default(),
        ),
    )
}

/// Printable, short, and without the secrets URLs carry (I39).
fn one_line(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|word| match word.split_once("://") {
            Some((scheme, rest)) => {
                let rest = rest.split(['?', '#']).next().unwrap_or_default();
                let rest = rest.split_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{rest}")
            }
            None => word.to_owned(),
        });
    let line: String = words
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    match line.char_indices().nth(MESSAGE_LIMIT) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: I39
    #[test]
    fn messages_are_found_and_cleaned() {
        let table = [
            (
                r#"{"errors":[{"code":"DENIED","message":"no access","detail":{"x":1}}]}"#,
                "no access",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, "DENIED"),
            (
                r#"{"errors":[{"code":"A","message":"x"},{"code":"B","message":"y"}]}"#,
                "x; y",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (
                r#"{"error":"invalid_grant","error_description":"expired"}"#,
                "expired",
            ),
            (
                "<html><body>504</body></html>",
                "a web page instead of a registry's error",
            ),
            (
                "\n\nservice\tunavailable\nsecond line",
                "service unavailable",
            ),
            (
                "see https://u:pw@s3.example/x?X-Amz-Signature=abc now",
                "see https://s3.example/x now",
            ),
            ("bell\u{7}", "bell"),
            ("", ""),
        ];
        assert!(!table.is_empty());
        for (body, expected) in table {
            assert_eq!(
                explain(&HeaderMap::new(), body.as_bytes()).1,
                expected,
                "{body}"
            );
        }
        assert_eq!(one_line(&"x".repeat(1000)).len(), MESSAGE_LIMIT + 3);
    }
}
