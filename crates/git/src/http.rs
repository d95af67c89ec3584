//! How servers are spoken to over HTTP: with the caller's idea of certificates, and a login that is a header.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use gix::protocol::transport::client::blocking_io::http::{Options, reqwest};

use crate::reference::Login;

/// How long a server may take to answer the phone.
const CONNECT: Duration = Duration::from_secs(30);

/// Login and certificates.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) login: Option<Login>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

impl Http {
    /// For one connection. They stay in memory: nothing of them is written into a repository.
    pub(crate) fn options(&self) -> Options {
        let header = self.login.as_ref().map(|login| {
            let pair = format!("{}:{}", login.user, login.password);
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            format!("Authorization: Basic {pair}")
        });
        let tls = Arc::clone(&self.tls);
        let backend = reqwest::Options {
            configure_client: Some(Box::new(move |builder| {
                Ok(builder.tls_backend_preconfigured((*tls).clone()))
            })),
            ..reqwest::Options::default()
        };
        Options {
            extra_headers: header.into_iter().collect(),
            user_agent: Some(concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned()),
            connect_timeout: Some(CONNECT),
            ssl_verify: true,
            backend: Some(Arc::new(Mutex::new(backend))),
            ..Options::default()
        }
    }
}
