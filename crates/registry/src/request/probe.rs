//! Which scheme a host speaks, and what it asks for (I8, I12).

use std::time::Duration;

use reqwest::{Method, StatusCode};

use super::answer::Answer;
use super::{Call, connection, timeout};
use crate::ask::Ask;
use crate::auth::{Credential, parse_challenges};
use crate::client::Client;
use crate::error::RegistryError;
use crate::transport::{Host, Scheme};

/// How much longer https may take than http before http is taken.
const HTTPS_HEAD_START: Duration = Duration::from_secs(1);

impl Client {
    /// The scheme of the host, found out once.
    pub(super) async fn scheme(&self, host: &Host) -> Result<Scheme, RegistryError> {
        host.scheme
            .get_or_try_init(|| self.probe(host))
            .await
            .copied()
    }

    /// Asks a host we know credentials for what it wants, so that the first request carries them already:
    /// some registries answer anonymous requests with 404 where 401 is meant.
    pub(super) async fn greet(&self, call: &Call) {
        let host = &call.host;
        if host.greeted.initialized() || self.inner.tokens.challenge(&host.name).is_some() {
            return;
        }
        if self.inner.tokens.credential(&call.repo).await.credential == Credential::Anonymous {
            return;
        }
        host.greeted
            .get_or_init(|| async {
                // What is wrong with the host will show in the request itself.
                if let Err(error) = self.ping(host, Scheme::Https).await {
                    tracing::debug!("{error}");
                }
            })
            .await;
    }

    /// Both schemes at once: waiting for one before the other costs round trips. https is preferred.
    async fn probe(&self, host: &Host) -> Result<Scheme, RegistryError> {
        let mut https = std::pin::pin!(self.ping(host, Scheme::Https));
        let mut http = std::pin::pin!(self.ping(host, Scheme::Http));
        let (secure, plain) = tokio::select! {
            secure = &mut https => {
                if secure.is_ok() {
                    return Ok(Scheme::Https);
                }
                (secure, http.await)
            }
            plain = &mut http => {
                let secure = if plain.is_ok() {
                    let late = || Err(timeout(&Ask::ping(&host.name), HTTPS_HEAD_START));
                    tokio::time::timeout(HTTPS_HEAD_START, https).await.unwrap_or_else(|_| late())
                } else {
                    https.await
                };
                (secure, plain)
            }
        };
        match (secure, plain) {
            (Ok(()), _) => Ok(Scheme::Https),
            (Err(_), Ok(())) => {
                tracing::debug!("registry `{}` speaks plain http", host.name);
                Ok(Scheme::Http)
            }
            // An http answer of any kind tells that somebody is there, and the trouble is with TLS.
            (Err(secure), Err(plain)) if plain.status().is_some() => Err(secure),
            (Err(secure @ RegistryError::Connection { .. }), Err(_)) if !secure.is_transient() => {
                Err(secure)
            }
            (Err(_), Err(plain)) => Err(plain),
        }
    }

    /// `GET /v2/` without authorization; notes the challenge.
    async fn ping(&self, host: &Host, scheme: Scheme) -> Result<(), RegistryError> {
        let ask = Ask::ping(&host.name);
        let url = host.url(scheme, "/v2/")?;
        let patience = self.inner.settings.inactivity_timeout;
        let request = host.http.request(Method::GET, url).send();
        let answer = match tokio::time::timeout(patience, request).await {
            Ok(Ok(response)) => Answer {
                ask,
                response,
                pace: self.pace(),
            },
            Ok(Err(error)) => return Err(connection(&ask, &error)),
            Err(_) => return Err(timeout(&ask, patience)),
        };
        // What a TLS port answers to plain http.
        if scheme == Scheme::Http && answer.status() == StatusCode::BAD_REQUEST {
            return Err(answer.into_error().await);
        }
        if answer.status() == StatusCode::UNAUTHORIZED {
            let challenges = parse_challenges(answer.response.headers());
            if let Some(challenge) = challenges.into_iter().next() {
                self.inner.tokens.set_challenge(&host.name, challenge);
            }
        }
        answer.drain().await;
        Ok(())
    }
}
