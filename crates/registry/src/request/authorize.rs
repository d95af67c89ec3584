//! Who we say we are in a request, and what we learn when that does not do (I8-I10).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::Deserialize;

use super::answer::Answer;
use super::{Call, ERROR_BODY_LIMIT, connection, timeout};
use crate::ask::Ask;
use crate::auth::{Challenge, Credential, Found, Token, parse_challenges, secret_header};
use crate::client::Client;
use crate::error::RegistryError;
use crate::retry::{Waits, repeat};

/// What was put on a request.
pub(super) enum Sent {
    Nothing,
    /// Basic, or a bearer token from the credentials: there is no other to be had.
    Fixed(HeaderValue),
    /// A token that can be replaced.
    Token {
        header: HeaderValue,
        value: String,
    },
}

impl Sent {
    pub(super) fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Nothing => request,
            Self::Fixed(header) | Self::Token { header, .. } => {
                request.header(AUTHORIZATION, header.clone())
            }
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Client {
    /// The authorization of a request, as far as the host has asked for one.
    pub(super) async fn authorize(&self, call: &Call) -> Result<Sent, RegistryError> {
        let tokens = &self.inner.tokens;
        let found = tokens.credential(&call.repo).await;
        let fixed = |text: String| secret_header(&text).map_or(Sent::Nothing, Sent::Fixed);
        let Some(challenge) = tokens.challenge(&call.host.name) else {
            return Ok(Sent::Nothing);
        };
        match (challenge, &found.credential) {
            (_, Credential::Bearer(token)) => Ok(fixed(format!("Bearer {token}"))),
            (Challenge::Basic, Credential::Password { user, password }) => {
                Ok(fixed(basic(user, password)))
            }
            (Challenge::Basic, _) => Ok(Sent::Nothing),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                _,
            ) => {
                let slot = tokens.slot(&call.scope);
                // Held while a token is fetched: the others wait for it instead of fetching their own.
                let mut slot = slot.lock().await;
                let fresh = slot
                    .as_ref()
                    .filter(|token| token.stale > std::time::Instant::now());
                let token = match fresh {
                    Some(token) => token.clone(),
                    None => {
                        self.fetch_token(call, &found, &realm, service.as_deref(), scope.as_deref())
                            .await?
                    }
                };
                *slot = Some(token.clone());
                Ok(secret_header(&format!("Bearer {}", token.value)).map_or(
                    Sent::Nothing,
                    |header| Sent::Token {
                        header,
                        value: token.value,
                    },
                ))
            }
        }
    }

    /// Takes in a 401; `true` if another try can look different.
    pub(super) async fn learn(&self, call: &Call, answer: &Answer, sent: &Sent) -> bool {
        let tokens = &self.inner.tokens;
        let Some(challenge) = parse_challenges(answer.response.headers())
            .into_iter()
            .next()
        else {
            return false;
        };
        let basic = challenge == Challenge::Basic;
        tokens.set_challenge(&call.host.name, challenge);
        match sent {
            Sent::Fixed(_) => false,
            Sent::Nothing => {
                let found = tokens.credential(&call.repo).await;
                !basic
                    || matches!(
                        found.credential,
                        Credential::Password { .. } | Credential::Bearer(_)
                    )
            }
            Sent::Token { value, .. } => {
                let slot = tokens.slot(&call.scope);
                let mut slot = slot.lock().await;
                if slot.as_ref().is_some_and(|token| token.value == *value) {
                    *slot = None;
                }
                true
            }
        }
    }

    /// A 401 or 403 that stays, with where the credentials came from (I10).
    pub(super) async fn refusal(&self, call: &Call, answer: Answer) -> RegistryError {
        let found = self.inner.tokens.credential(&call.repo).await;
        let (status, message) = answer.into_message().await;
        RegistryError::Unauthorized {
            registry: call.ask.registry.clone(),
            ask: call.ask.what.clone(),
            status,
            message,
            credentials: found.hint(),
        }
    }

    async fn fetch_token(
        &self,
        call: &Call,
        found: &Found,
        realm: &str,
        service: Option<&str>,
        challenge_scope: Option<&str>,
    ) -> Result<Token, RegistryError> {
        let ask = Ask {
            registry: call.ask.registry.clone(),
            what: format!("the token request for {}", call.ask.what),
        };
        let url = token_server(call, &ask, realm)?;
        let mut scopes = call.scope.parameters();
        // Usually the same; a registry that rewrites repository names asks for what it calls them.
        let extra = challenge_scope.unwrap_or_default().split_whitespace();
        let extra: Vec<String> = extra
            .filter(|scope| !names_ours(&scopes, scope))
            .map(str::to_owned)
            .collect();
        scopes.extend(extra);
        let waits = Waits::request(&self.inner.settings.retries);
        repeat(waits, RegistryError::is_transient, || {
            let request = token_request(
                &call.host.http,
                url.clone(),
                &found.credential,
                service,
                &scopes,
            );
            self.ask_for_token(&ask, found, request)
        })
        .await
    }

    async fn ask_for_token(
        &self,
        ask: &Ask,
        found: &Found,
        request: RequestBuilder,
    ) -> Result<Token, RegistryError> {
        let patience = self.inner.settings.inactivity_timeout;
        let response = match tokio::time::timeout(patience, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(connection(ask, &error)),
            Err(_) => return Err(timeout(ask, patience)),
        };
        let answer = Answer {
            ask: ask.clone(),
            response,
            pace: self.pace(),
        };
        let status = answer.status();
        if matches!(status.as_u16(), 400 | 401 | 403) {
            let (status, message) = answer.into_message().await;
            return Err(RegistryError::Unauthorized {
                registry: ask.registry.clone(),
                ask: ask.what.clone(),
                status,
                message,
                credentials: found.hint(),
            });
        }
        if !status.is_success() {
            return Err(answer.into_error().await);
        }
        let kind = answer
            .header("content-type")
            .unwrap_or("an unknown type")
            .to_owned();
        let body = answer.bytes(ERROR_BODY_LIMIT).await?;
        let parsed: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        let token = parsed.and_then(|answer| {
            let value = answer
                .token
                .or(answer.access_token)
                .filter(|token| !token.is_empty())?;
            Some(Token::new(value, answer.expires_in))
        });
        let odd = |got: String| RegistryError::NotARegistry {
            registry: ask.registry.clone(),
            ask: ask.what.clone(),
            got,
            wanted: "a token",
        };
        let token = token.ok_or_else(|| odd(kind))?;
        // One with a line feed in it can never be sent, so that the registry would ask for it for ever.
        if secret_header(&format!("Bearer {}", token.value)).is_none() {
            return Err(odd("a text that no header can hold".to_owned()));
        }
        Ok(token)
    }
}

/// Where tokens are to be had, if credentials may go there.
fn token_server(call: &Call, ask: &Ask, realm: &str) -> Result<Url, RegistryError> {
    let refuse = |target: String, reason| RegistryError::Redirect {
        registry: ask.registry.clone(),
        ask: ask.what.clone(),
        target,
        reason,
    };
    let url = Url::parse(realm).map_err(|_| {
        refuse(
            "an unreadable address".to_owned(),
            "the token server's address is malformed",
        )
    })?;
    let secure_registry = call
        .host
        .scheme
        .get()
        .is_some_and(|scheme| scheme.as_str() == "https");
    let target = || {
        format!(
            "`{}://{}`",
            url.scheme(),
            url.host_str().unwrap_or_default()
        )
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if !secure_registry || call.host.insecure => Ok(url),
        "http" => Err(refuse(target(), "credentials are not sent over plain http")),
        _ => Err(refuse(target(), "only http and https are followed")),
    }
}

/// Whether `scope` is about a resource that is in `ours`: we know better which rights we need there.
fn names_ours(ours: &[String], scope: &str) -> bool {
    let name = |scope: &str| scope.rsplit_once(':').map(|(name, _)| name.to_owned());
    name(scope).is_none() || ours.iter().any(|own| name(own) == name(scope))
}

fn token_request(
    http: &reqwest::Client,
    mut url: Url,
    credential: &Credential,
    service: Option<&str>,
    scopes: &[String],
) -> RequestBuilder {
    if let Credential::Identity(token) = credential {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("client_id", "kiln");
        form.append_pair("refresh_token", token);
        form.append_pair("scope", &scopes.join(" "));
        if let Some(service) = service {
            form.append_pair("service", service);
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        return http
            .request(Method::POST, url)
            .headers(headers)
            .body(Bytes::from(form.finish()));
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        for scope in scopes {
            query.append_pair("scope", scope);
        }
    }
    let request = http
        .request(Method::GET, url)
        .header(ACCEPT, "application/json");
    match credential {
        Credential::Password { user, password } => match secret_header(&basic(user, password)) {
            Some(header) => request.header(AUTHORIZATION, header),
            None => request,
        },
        _ => request,
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
