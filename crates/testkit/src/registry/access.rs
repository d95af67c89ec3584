//! Who may do what: nothing, Basic, or Bearer with a token server at `/token`.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::{Request, Response};
use super::lock;

/// What a registry asks for.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// User and password with every request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token from `/token`, which user and password buy.
    Bearer {
        /// The user.
        user: String,
        /// The password.
        password: String,
        /// A refresh token that does as well.
        identity: Option<String>,
        /// Whether anybody gets a token to pull.
        anonymous_pull: bool,
        /// `expires_in` of tokens.
        expires_in: Option<u64>,
    },
}

impl Auth {
    /// User and password with every request.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Tokens for user and password; nothing for others.
    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer {
            user: user.to_owned(),
            password: password.to_owned(),
            identity: None,
            anonymous_pull: false,
            expires_in: Some(300),
        }
    }
}

#[derive(Debug)]
pub(super) struct Access {
    auth: Auth,
    /// Token -> scopes.
    tokens: Mutex<HashMap<String, Vec<String>>>,
    issued: Mutex<u64>,
}

impl Access {
    pub(super) fn new(auth: Auth) -> Self {
        Self {
            auth,
            tokens: Mutex::default(),
            issued: Mutex::default(),
        }
    }

    pub(super) fn revoke(&self) {
        lock(&self.tokens).clear();
    }

    /// `None` if the request may pass, else the answer to it. `repo` is absent for `/v2/` itself.
    pub(super) fn check(
        &self,
        request: &Request,
        repo: Option<&str>,
        port: u16,
        scheme: &str,
    ) -> Option<Response> {
        let pulls = matches!(request.method.as_str(), "GET" | "HEAD");
        let given = request.header("authorization").unwrap_or_default();
        match &self.auth {
            Auth::None => None,
            Auth::Basic { user, password } => (given != basic(user, password)).then(|| {
                // Several challenges in one header, the first one unknown (I8).
                refused().header("WWW-Authenticate", "Negotiate, Basic realm=\"a, b\"")
            }),
            Auth::Bearer { .. } => {
                let wanted = repo.map(|repo| {
                    format!(
                        "repository:{repo}:{}",
                        if pulls { "pull" } else { "pull,push" }
                    )
                });
                let tokens = lock(&self.tokens);
                let scopes = given
                    .strip_prefix("Bearer ")
                    .and_then(|token| tokens.get(token));
                let fits = |scopes: &Vec<String>| {
                    wanted.as_ref().is_none_or(|wanted| covers(scopes, wanted))
                };
                if scopes.is_some_and(fits) && self.mount_allowed(request, scopes) {
                    return None;
                }
                let scope = wanted
                    .map(|scope| format!(",scope=\"{scope}\""))
                    .unwrap_or_default();
                let challenge = format!(
                    "Bearer realm=\"{scheme}://127.0.0.1:{port}/token\",service=\"kit\"{scope}"
                );
                Some(refused().header("WWW-Authenticate", challenge))
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads like its siblings")]
    fn mount_allowed(&self, request: &Request, scopes: Option<&Vec<String>>) -> bool {
        let Some(from) = request.query("from") else {
            return true;
        };
        scopes.is_some_and(|scopes| covers(scopes, &format!("repository:{from}:pull")))
    }

    /// The token server.
    pub(super) fn token(&self, request: &Request, body: &[u8]) -> Response {
        let Auth::Bearer {
            user,
            password,
            identity,
            anonymous_pull,
            expires_in,
        } = &self.auth
        else {
            return Response::error(404, "UNSUPPORTED", "no token server here");
        };
        let form: HashMap<String, String> =
            url::form_urlencoded::parse(body).into_owned().collect();
        let by_identity = identity.is_some() && form.get("refresh_token") == identity.as_ref();
        let given = request.header("authorization");
        let known = by_identity || given.is_some_and(|given| given == basic(user, password));
        if !known && (given.is_some() || request.method == "POST" || !anonymous_pull) {
            let body = serde_json::json!({"details": "incorrect username or password"});
            return Response::new(401).content("application/json", body.to_string().into_bytes());
        }
        let mut scopes = request.queries("scope");
        scopes.extend(
            form.get("scope")
                .into_iter()
                .flat_map(|scope| scope.split(' '))
                .map(str::to_owned),
        );
        if !known {
            scopes = scopes
                .into_iter()
                .map(|scope| scope.replace("pull,push", "pull"))
                .collect();
        }
        let number = {
            let mut issued = lock(&self.issued);
            *issued += 1;
            *issued
        };
        let token = format!("token-{number}");
        lock(&self.tokens).insert(token.clone(), scopes);
        // Both spellings are in use.
        let name = if number % 2 == 0 {
            "access_token"
        } else {
            "token"
        };
        let mut body = serde_json::json!({ name: token });
        if let Some(seconds) = expires_in {
            body["expires_in"] = serde_json::json!(seconds);
        }
        Response::new(200).content("application/json", body.to_string().into_bytes())
    }
}

fn refused() -> Response {
    Response::error(401, "UNAUTHORIZED", "authentication required")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Whether `wanted` is among `scopes`; `pull,push` includes `pull`.
fn covers(scopes: &[String], wanted: &str) -> bool {
    let (name, actions) = wanted.rsplit_once(':').unwrap_or((wanted, ""));
    scopes.iter().any(|scope| {
        let (own, have) = scope.rsplit_once(':').unwrap_or((scope, ""));
        own == name
            && actions
                .split(',')
                .all(|action| have.split(',').any(|own| own == action))
    })
}
