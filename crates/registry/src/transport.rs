//! Connections: TLS trust, names, proxies, and which scheme a host speaks.

#[cfg(not(feature = "dns"))]
#[path = "transport/libc_names.rs"]
mod dns;
#[cfg(feature = "dns")]
mod dns;

mod host;
mod localhost;
mod proxy;
mod tls;

use std::time::Duration;

pub(crate) use host::{Direction, Host, Hosts, Scheme, authority};

use crate::notice::RegistryNotice;
use crate::settings::CONNECT_TIMEOUT;
use crate::settings_error::SettingsError;

/// What is offered in the TLS handshake; reqwest leaves a configuration of ours as it is.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A client builder with Kiln's trust, name resolution and proxies, for other downloads over http.
///
/// Works without any certificate store or `/etc/resolv.conf`, and with the feature `dns` without a dynamic libc; installs
/// the process-wide crypto provider if there is none yet.
pub fn http_client_builder(user_agent: &str) -> Result<reqwest::ClientBuilder, SettingsError> {
    Ok(builder(
        user_agent,
        tls::Trust::System.client_config(None)?,
        dns::Shared::default(),
        true,
    ))
}

/// The certificates that [`http_client_builder`] believes in, for a client that is made elsewhere.
pub fn tls_config() -> Result<rustls::ClientConfig, SettingsError> {
    let mut tls = tls::Trust::System.client_config(None)?;
    tls.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(tls)
}

/// What the variables of this process say that cannot be used.
pub(crate) fn troubles() -> impl Iterator<Item = RegistryNotice> {
    let proxy = proxy::is_unusable().then_some(RegistryNotice::Proxy);
    let roots = tls::roots_are_missing().then_some(RegistryNotice::Certificates);
    proxy.into_iter().chain(roots)
}

fn builder(
    user_agent: &str,
    mut tls: rustls::ClientConfig,
    dns: dns::Shared,
    http2: bool,
) -> reqwest::ClientBuilder {
    // A control character would make every request fail; what is left of the text still names us.
    let user_agent: String = user_agent
        .chars()
        .filter(|c| matches!(c, ' '..='~'))
        .collect();
    tls.alpn_protocols = ALPN[usize::from(!http2)..]
        .iter()
        .map(|name| name.to_vec())
        .collect();
    reqwest::Client::builder()
        .user_agent(user_agent)
        .tls_backend_preconfigured(tls)
        .dns_resolver(dns)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_mins(1))
        .tcp_nodelay(true)
        .no_proxy()
        .proxy(proxy::from_environment())
}
