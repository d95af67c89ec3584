//! One request: scheme, authorization, redirects, timeouts, and what the answer means.

mod answer;
mod authorize;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kiln_oci::Repository;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, LOCATION};
use reqwest::{Method, StatusCode, Url};

pub(crate) use answer::{Answer, ERROR_BODY_LIMIT};
use authorize::Sent;

use crate::ask::Ask;
use crate::auth::Scope;
use crate::blob_source::BlobSource;
use crate::client::Client;
use crate::error::{Cause, RegistryError};
use crate::growing_file::GrowingFile;
use crate::pace::{Pace, Slow};
use crate::progress::Progress;
use crate::retry::{Waits, repeat};
use crate::transport::{Direction, Host, authority};
use crate::upload::{self, Activity};

/// A chain of redirects longer than this is a loop.
const MAX_REDIRECTS: usize = 10;
/// Times one request is sent to find out who we have to be: nobody, with a token, with a fresh one.
const MAX_AUTH_ROUNDS: u32 = 4;

/// A request to a registry, complete enough to be sent again.
pub(crate) struct Call {
    pub(crate) ask: Ask,
    pub(crate) repo: Repository,
    pub(crate) host: Arc<Host>,
    pub(crate) scope: Scope,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Payload,
    /// Told how far the blob of the body is.
    pub(crate) progress: Option<Progress>,
    pub(crate) waits: Waits,
}

/// Where a request goes.
#[derive(Clone)]
pub(crate) enum Target {
    /// On the host, starting with `/v2/`.
    Path(String),
    /// Where the registry sent us.
    Url(Url),
}

/// What a request carries.
pub(crate) enum Payload {
    None,
    Bytes(Bytes),
    /// A piece of a blob: from where, how many bytes.
    Blob {
        source: BlobSource,
        offset: u64,
        size: u64,
    },
    /// A file from its start to where its writer ends it.
    Growing(GrowingFile),
}

impl Payload {
    /// Bytes of the blob that other requests carry before this one.
    fn offset(&self) -> u64 {
        match self {
            Self::Blob { offset, .. } => *offset,
            Self::None | Self::Bytes(_) | Self::Growing(_) => 0,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob { size, .. } => *size,
            // Not known; the registry has no more to do at the end than for a piece.
            Self::Growing(_) => u64::MAX,
        }
    }
}

impl Client {
    /// A body-less request; set what differs.
    pub(crate) fn call(
        &self,
        ask: Ask,
        repo: &Repository,
        direction: Direction,
        method: Method,
        path: String,
    ) -> Call {
        Call {
            ask,
            repo: repo.clone(),
            host: self.inner.hosts.get(repo, direction),
            scope: match direction {
                Direction::Pull => Scope::pull(repo),
                Direction::Push => Scope::push(repo),
            },
            method,
            target: Target::Path(path),
            headers: HeaderMap::new(),
            body: Payload::None,
            progress: None,
            waits: Waits::request(&self.inner.settings.retries),
        }
    }

    /// Sends until there is an answer of the 2xx kind or an error that stays (I15).
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, RegistryError> {
        repeat(call.waits.clone(), RegistryError::is_transient, || {
            self.attempt(call)
        })
        .await
    }

    /// The same for a small document, whose body is read as part of the try.
    pub(crate) async fn send_and_read(
        &self,
        call: &Call,
        limit: u64,
    ) -> Result<(HeaderMap, Bytes), RegistryError> {
        repeat(
            call.waits.clone(),
            RegistryError::is_transient,
            || async move {
                let _permit = self.inner.requests.acquire().await;
                let mut answer = self.attempt(call).await?;
                let headers = std::mem::take(answer.response.headers_mut());
                let bytes = answer.bytes(limit).await?;
                Ok((headers, bytes))
            },
        )
        .await
    }

    /// One try, with one more if the registry wants to know who we are (I8, I9).
    pub(crate) async fn attempt(&self, call: &Call) -> Result<Answer, RegistryError> {
        // Boxed, or every future above would carry these 10 KiB several times.
        Box::pin(self.attempt_unboxed(call)).await
    }

    async fn attempt_unboxed(&self, call: &Call) -> Result<Answer, RegistryError> {
        let scheme = self.scheme(&call.host).await?;
        self.greet(call).await;
        let url = match &call.target {
            Target::Path(path) => call.host.url(scheme, path)?,
            Target::Url(url) => url.clone(),
        };
        let home = authority(&call.host.url(scheme, "/v2/")?);
        let mut refused = false;
        for round in 1..=MAX_AUTH_ROUNDS {
            let sent = if authority(&url) == home {
                self.authorize(call).await?
            } else {
                Sent::Nothing
            };
            let answer = self.follow(call, url.clone(), &home, &sent).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                // Only the registry itself says where its credentials go, not who it has sent us to.
                let asked_by_host = authority(answer.response.url()) == home;
                let again = asked_by_host && !refused && round < MAX_AUTH_ROUNDS;
                if again && self.learn(call, &answer, &sent).await {
                    refused = !matches!(sent, Sent::Nothing);
                    continue;
                }
                return Err(self.refusal(call, answer).await);
            }
            if answer.status() == StatusCode::FORBIDDEN {
                return Err(self.refusal(call, answer).await);
            }
            if answer.status().is_success() {
                return Ok(answer);
            }
            return Err(answer.into_error().await);
        }
        // Not reached: the last round returns.
        Err(redirect_error(
            call,
            None,
            "it asked for credentials again and again",
        ))
    }

    /// Sends and follows redirects; authorization goes to the registry's own address only (I11, I28).
    async fn follow(
        &self,
        call: &Call,
        mut url: Url,
        home: &str,
        sent: &Sent,
    ) -> Result<Answer, RegistryError> {
        let mut method = call.method.clone();
        for _ in 0..MAX_REDIRECTS {
            let at_home = authority(&url) == home;
            let answer = self.send_once(call, &method, &url, sent, at_home).await?;
            let status = answer.status();
            let location = answer
                .response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let Some(location) = location.filter(|_| is_redirect(status)) else {
                return Ok(answer);
            };
            let target = url
                .join(location)
                .map_err(|_| redirect_error(call, None, "the address is malformed"))?;
            if let Err(reason) = may_follow(&url, &target, call.host.insecure) {
                return Err(redirect_error(call, Some(&target), reason));
            }
            if status == StatusCode::SEE_OTHER {
                method = Method::GET;
            }
            url = target;
        }
        Err(redirect_error(
            call,
            Some(&url),
            "too many redirects in a row",
        ))
    }

    /// For an answer that is about to be read.
    pub(crate) fn pace(&self) -> Pace {
        let settings = &self.inner.settings;
        Pace::new(settings.floor, settings.inactivity_timeout)
    }

    async fn send_once(
        &self,
        call: &Call,
        method: &Method,
        url: &Url,
        sent: &Sent,
        at_home: bool,
    ) -> Result<Answer, RegistryError> {
        let client = if at_home {
            call.host.http.clone()
        } else {
            self.inner.hosts.client_for_redirect(&call.host, url)
        };
        let mut request = client
            .request(method.clone(), url.clone())
            .headers(call.headers.clone());
        if at_home {
            request = sent.put_on(request);
        }
        let activity = Activity::new(call.body.size(), call.body.offset(), call.progress.clone());
        let activity = Arc::new(activity);
        // After a 303 the content is asked for, not sent again.
        let with_body = *method == call.method;
        request = match &call.body {
            Payload::Bytes(bytes) if with_body => request.body(bytes.clone()),
            Payload::Blob {
                source,
                offset,
                size,
            } if with_body => request
                .header(CONTENT_LENGTH, *size)
                .body(upload::body(source, *offset, *size, &activity).await?),
            Payload::Growing(file) if with_body => {
                request.body(upload::growing_body(file, &activity))
            }
            // Some registries insist on a length with POST and PUT.
            _ if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
                request.header(CONTENT_LENGTH, 0)
            }
            _ => request,
        };
        let patience = self.inner.settings.inactivity_timeout;
        match activity.watch(patience, request.send()).await {
            Some(Ok(response)) => Ok(Answer {
                ask: call.ask.clone(),
                response,
                pace: self.pace(),
            }),
            // A failure of our own file is not the network's.
            Some(Err(error)) => Err(activity
                .take_failure()
                .unwrap_or_else(|| connection(&call.ask, &error))),
            None => Err(timeout(&call.ask, patience)),
        }
    }
}

/// A redirect that is not followed.
fn redirect_error(call: &Call, target: Option<&Url>, reason: &'static str) -> RegistryError {
    RegistryError::Redirect {
        registry: call.ask.registry.clone(),
        ask: call.ask.what.clone(),
        target: target.map_or_else(
            || "an unreadable address".to_owned(),
            |url| format!("`{}://{}`", url.scheme(), authority(url)),
        ),
        reason,
    }
}

/// Whether a redirect is to be followed (I11).
pub(crate) fn may_follow(from: &Url, to: &Url, insecure: bool) -> Result<(), &'static str> {
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(()),
        ("https", "http") if insecure => Ok(()),
        ("https", "http") => {
            Err("https must not become http unless the registry is marked insecure")
        }
        _ => Err("only http and https are followed"),
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The connection failed or broke.
pub(crate) fn connection(ask: &Ask, error: &reqwest::Error) -> RegistryError {
    RegistryError::Connection {
        registry: ask.registry.clone(),
        ask: ask.what.clone(),
        source: Cause::of(error),
    }
}

/// A body that does not come, or hardly (I17).
pub(crate) fn slow(ask: &Ask, reason: Slow) -> RegistryError {
    match reason {
        Slow::Silent { after } => timeout(ask, after),
        Slow::Below { .. } => RegistryError::TooSlow {
            registry: ask.registry.clone(),
            ask: ask.what.clone(),
            source: reason,
        },
    }
}

/// Nothing moved for too long (I17).
pub(crate) fn timeout(ask: &Ask, after: Duration) -> RegistryError {
    RegistryError::Timeout {
        registry: ask.registry.clone(),
        ask: ask.what.clone(),
        after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: I11
    #[test]
    fn redirects_never_lose_encryption_unasked() {
        let table = [
            ("https://a/", "https://b/", false, true),
            ("http://a/", "http://b/", false, true),
            ("http://a/", "https://b/", false, true),
            ("https://a/", "http://b/", false, false),
            ("https://a/", "http://b/", true, true),
            ("https://a/", "file:///etc/passwd", true, false),
            ("http://a/", "ftp://b/", true, false),
        ];
        assert!(!table.is_empty());
        for (from, to, insecure, expected) in table {
            let url = |text: &str| Url::parse(text).unwrap();
            assert_eq!(
                may_follow(&url(from), &url(to), insecure).is_ok(),
                expected,
                "{from} {to}"
            );
        }
    }
}
