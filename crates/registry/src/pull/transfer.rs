//! One blob from one place to one file, resumed as often as it takes (I16).

use std::path::Path;

use bytes::Buf as _;
use kiln_oci::Descriptor;
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use super::sink::{self, Sink};
use super::{Origin, wrong_digest, wrong_size};
use crate::client::Client;
use crate::error::{Cause, RegistryError};
use crate::request::{Answer, Call, Target};
use crate::retry::Waits;
use crate::transport::Direction;

impl Client {
    /// The request for a blob's content.
    pub(super) fn content_call(
        &self,
        origin: &Origin,
        d: &Descriptor,
    ) -> Result<Call, RegistryError> {
        match origin {
            Origin::Repository(repo) => {
                Ok(self.blob_call(repo, &d.digest(), Method::GET, Direction::Pull))
            }
            Origin::Url { repo, url } => {
                let mut call = self.blob_call(repo, &d.digest(), Method::GET, Direction::Pull);
                let url = Url::parse(url)
                    .ok()
                    .filter(|url| matches!(url.scheme(), "http" | "https"));
                let url = url.ok_or_else(|| RegistryError::Unusable {
                    reference: repo.at_digest(d.digest()).familiar(),
                    reason: "the layer's own address is not an http URL".to_owned(),
                })?;
                call.ask.what = format!("the request for foreign layer `{}`", d.digest());
                url.host_str()
                    .unwrap_or_default()
                    .clone_into(&mut call.ask.registry);
                call.target = Target::Url(url);
                Ok(call)
            }
        }
    }

    /// Fetches, verifies and names the file.
    pub(super) async fn transfer(
        &self,
        origin: Origin,
        d: &Descriptor,
        to: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let mut call = self.content_call(&origin, d)?;
        let mut sink = Sink::new(to, d.size()).await?;
        let mut waits = Waits::request(&self.inner.settings.retries);
        loop {
            let before = sink.taken();
            let error = match self.piece(&mut call, d, &mut sink, progress).await {
                Ok(()) => break,
                Err(error) => error,
            };
            if sink.taken() - before >= self.inner.settings.resume_progress {
                // It moved, and not by a byte per connection: the next failure is a new one.
                waits = Waits::request(&self.inner.settings.retries);
            }
            if let Err(error) = waits.pause(error, RegistryError::is_transient).await {
                // The unfinished file is gone before the caller hears of it.
                drop(sink.finish().await);
                return Err(error);
            }
        }
        let taken = sink.taken();
        let (actual, file) = sink.finish().await?;
        if taken != d.size() {
            return Err(wrong_size(&call.ask, d.size(), taken));
        }
        if actual != d.digest() {
            return Err(wrong_digest(&call.ask, d.digest(), actual));
        }
        sink::keep(file, to).await
    }

    /// One answer, from where the sink stands to the end.
    async fn piece(
        &self,
        call: &mut Call,
        d: &Descriptor,
        sink: &mut Sink,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let start = sink.taken();
        call.headers.remove(RANGE);
        if start > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={start}-"))
        {
            call.headers.insert(RANGE, range);
        }
        let mut answer = self.attempt(call).await?;
        let mut skip = skip(&answer, start, d)?;
        while let Some(mut chunk) = answer.chunk().await? {
            // A server without ranges sends all of it again.
            let known = skip.min(chunk.len() as u64);
            skip -= known;
            chunk.advance(known as usize);
            if chunk.is_empty() {
                continue;
            }
            let size = chunk.len() as u64;
            if sink.taken() + size > d.size() {
                return Err(wrong_size(&call.ask, d.size(), sink.taken() + size));
            }
            progress(sink.taken() + size);
            if !sink.take(chunk).await {
                // `finish` has the reason.
                return Ok(());
            }
        }
        if sink.taken() < d.size() {
            return Err(RegistryError::Connection {
                registry: call.ask.registry.clone(),
                ask: call.ask.what.clone(),
                source: Cause::new(
                    format!(
                        "the answer ended after {} of {} bytes",
                        sink.taken(),
                        d.size()
                    ),
                    true,
                ),
            });
        }
        Ok(())
    }
}

/// How many bytes of the answer are known already.
fn skip(answer: &Answer, start: u64, d: &Descriptor) -> Result<u64, RegistryError> {
    if answer.status() == StatusCode::PARTIAL_CONTENT {
        let from = answer.header("content-range").and_then(|text| {
            text.strip_prefix("bytes ")?
                .split('-')
                .next()?
                .trim()
                .parse::<u64>()
                .ok()
        });
        return match from {
            Some(from) if from <= start => Ok(start - from),
            _ => Err(RegistryError::NotARegistry {
                registry: answer.ask.registry.clone(),
                ask: answer.ask.what.clone(),
                got: "another range than was asked for".to_owned(),
                wanted: "the rest of the blob",
            }),
        };
    }
    let length = answer
        .header("content-length")
        .and_then(|text| text.parse::<u64>().ok());
    match length {
        Some(length) if length != d.size() => Err(wrong_size(&answer.ask, d.size(), length)),
        _ => Ok(start),
    }
}
