//! One registry host: its address, its HTTP client, and the scheme it turns out to speak (I12, I13).

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_oci::Repository;
use reqwest::Url;
use tokio::sync::OnceCell;

use super::tls::{self, Trust};
use super::{builder, dns, localhost};
use crate::error::RegistryError;
use crate::settings::RegistrySettings;
use crate::settings_error::SettingsError;

/// Which way the bytes go; some settings differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Direction {
    Pull,
    Push,
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A registry as one direction sees it.
pub(crate) struct Host {
    /// As people write it: `docker.io`.
    pub(crate) name: String,
    /// Where it really is: `registry-1.docker.io`.
    authority: String,
    pub(crate) http: reqwest::Client,
    direction: Direction,
    /// Plain http may be used if https is not spoken.
    pub(crate) insecure: bool,
    /// Decided by the first request; see `request::scheme`.
    pub(crate) scheme: OnceCell<Scheme>,
    /// Set once the host was asked what it wants.
    pub(crate) greeted: OnceCell<()>,
}

impl Host {
    /// The URL of `path` (which starts with `/v2/`).
    pub(crate) fn url(&self, scheme: Scheme, path: &str) -> Result<Url, RegistryError> {
        let text = format!("{}://{}{path}", scheme.as_str(), self.authority);
        Url::parse(&text).map_err(|error| RegistryError::BadAddress {
            reference: self.name.clone(),
            reason: error.to_string(),
        })
    }
}

/// All hosts of one client.
pub(crate) struct Hosts {
    plain: reqwest::Client,
    unverified: reqwest::Client,
    /// By direction, since `--skip-tls-verify-pull` is about one.
    special: BTreeMap<String, [reqwest::Client; 2]>,
    known: Mutex<HashMap<(String, Direction), Arc<Host>>>,
    insecure: [bool; 2],
    insecure_names: Vec<String>,
    unverified_all: [bool; 2],
    unverified_names: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(settings: &RegistrySettings) -> Result<Self, SettingsError> {
        let unverified_hosts = lower(&settings.skip_tls_verify_hosts);
        let dns = dns::Shared::default();
        let build = |config| {
            let mut builder = builder(
                &settings.user_agent,
                config,
                dns.clone(),
                !settings.disable_http2,
            )
            // Redirects are followed by hand: credentials and schemes are checked at each hop (I11).
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(settings.connect_timeout)
            .pool_max_idle_per_host(settings.concurrency.max(16));
            builder = if settings.disable_http2 {
                builder.http1_only()
            } else {
                // The default window of 64 KiB would make a blob wait for a round trip at every 64 KiB.
                builder
                    .http2_initial_stream_window_size(2 << 20)
                    .http2_initial_connection_window_size(8 << 20)
            };
            builder.build().map_err(|error| SettingsError::Http {
                reason: error.to_string(),
            })
        };
        let mut special = BTreeMap::new();
        for (host, trust, identity) in special_hosts(settings)? {
            // A certificate of its own does not take back what was said about not looking at any.
            let client = |unverified_all: bool| {
                let unverified = unverified_all || unverified_hosts.contains(&host);
                let trust = if unverified { &Trust::Anyone } else { &trust };
                build(trust.client_config(identity.as_ref())?)
            };
            let clients = [
                client(settings.skip_tls_verify_pull)?,
                client(settings.skip_tls_verify_push)?,
            ];
            special.insert(host, clients);
        }
        Ok(Self {
            plain: build(Trust::System.client_config(None)?)?,
            unverified: build(Trust::Anyone.client_config(None)?)?,
            special,
            known: Mutex::default(),
            insecure: [settings.insecure_pull, settings.insecure_push],
            insecure_names: lower(&settings.insecure_hosts),
            unverified_all: [settings.skip_tls_verify_pull, settings.skip_tls_verify_push],
            unverified_names: unverified_hosts,
        })
    }

    /// The host of a repository.
    pub(crate) fn get(&self, repo: &Repository, direction: Direction) -> Arc<Host> {
        let name = repo.registry.to_ascii_lowercase();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry((name.clone(), direction));
        Arc::clone(entry.or_insert_with(|| Arc::new(self.make(name, direction))))
    }

    /// The client for another host a registry sent us to: its own settings if it has any, else the
    /// registry's.
    pub(crate) fn client_for_redirect(&self, host: &Host, target: &Url) -> reqwest::Client {
        let authority = authority(target);
        let special = self.special.get(&authority);
        special
            .map_or(&host.http, |clients| &clients[host.direction as usize])
            .clone()
    }

    fn make(&self, name: String, direction: Direction) -> Host {
        let at = direction as usize;
        let named = |list: &[String]| list.contains(&name);
        let http = if let Some(special) = self.special.get(&name) {
            &special[at]
        } else if self.unverified_all[at] || named(&self.unverified_names) {
            &self.unverified
        } else {
            &self.plain
        };
        let authority = if name == "docker.io" {
            "registry-1.docker.io".to_owned()
        } else {
            name.clone()
        };
        let insecure = self.insecure[at] || named(&self.insecure_names) || is_private(&name);
        Host {
            http: http.clone(),
            direction,
            authority,
            insecure,
            scheme: if insecure {
                OnceCell::new()
            } else {
                OnceCell::new_with(Some(Scheme::Https))
            },
            greeted: OnceCell::new(),
            name,
        }
    }
}

/// `host` or `host:port` of a URL, as settings name hosts.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

type Special = (String, Trust, Option<tls::Identity>);

/// Hosts with certificates of their own (I13).
fn special_hosts(settings: &RegistrySettings) -> Result<Vec<Special>, SettingsError> {
    let mut roots: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for (host, path) in &settings.certificates {
        roots
            .entry(host.to_ascii_lowercase())
            .or_default()
            .extend(tls::read_roots(host, path)?);
    }
    let mut identities = BTreeMap::new();
    for (host, certificate, key) in &settings.client_certificates {
        identities.insert(
            host.to_ascii_lowercase(),
            tls::read_identity(host, certificate, key)?,
        );
    }
    let mut special: Vec<Special> = Vec::new();
    for (host, roots) in roots {
        let identity = identities.remove(&host);
        special.push((host, Trust::SystemAnd(roots), identity));
    }
    special.extend(
        identities
            .into_iter()
            .map(|(host, identity)| (host, Trust::System, Some(identity))),
    );
    Ok(special)
}

fn lower(hosts: &[String]) -> Vec<String> {
    hosts.iter().map(|host| host.to_ascii_lowercase()).collect()
}

/// Hosts where kaniko tries plain http without being told (I12).
fn is_private(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => host,
        _ => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || is_rfc1918(ip),
        Ok(IpAddr::V6(ip)) => ip.is_loopback(),
        Err(_) => {
            let host = host.to_ascii_lowercase();
            localhost::is_localhost(&host)
                || host
                    .strip_suffix(".local")
                    .is_some_and(|label| !label.is_empty())
        }
    }
}

fn is_rfc1918(ip: Ipv4Addr) -> bool {
    ip.is_private()
}

#[cfg(test)]
mod tests {
    use kiln_testkit::{Authority, DebianRegistry};
    use reqwest::Version;

    use super::*;

    // conformance: I35
    #[tokio::test]
    async fn http_2_is_spoken_unless_forbidden() {
        let issued = Authority::new().issue(&["127.0.0.1"]);
        let Some(registry) = DebianRegistry::start_tls(&issued) else {
            return;
        };
        for (disable_http2, expected) in [(false, Version::HTTP_2), (true, Version::HTTP_11)] {
            let hosts = Hosts::new(&RegistrySettings {
                disable_http2,
                skip_tls_verify_pull: true,
                ..RegistrySettings::default()
            });
            let host = hosts.unwrap().get(&registry.repo("a"), Direction::Pull);
            let url = host.url(Scheme::Https, "/v2/").unwrap();
            let answer = host.http.get(url).send().await.unwrap();
            assert_eq!(answer.version(), expected);
        }
    }

    // conformance: I12
    #[test]
    fn plain_http_is_tried_where_a_flag_allows_it() {
        let with = |pull: bool, push: bool, hosts: &[&str]| RegistrySettings {
            insecure_pull: pull,
            insecure_push: push,
            insecure_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..RegistrySettings::default()
        };
        let table = [
            (with(false, false, &[]), [false, false], [false, false]),
            (with(true, false, &[]), [true, false], [true, false]),
            (with(false, true, &[]), [false, true], [false, true]),
            (
                with(false, false, &["Reg.example:5000"]),
                [true, true],
                [false, false],
            ),
        ];
        for (settings, named, other) in table {
            let hosts = Hosts::new(&settings).unwrap();
            for (host, expected) in [("reg.example:5000", named), ("reg.example", other)] {
                let repo = Repository {
                    registry: host.to_owned(),
                    path: "a".to_owned(),
                };
                let found = [Direction::Pull, Direction::Push].map(|direction| {
                    let host = hosts.get(&repo, direction);
                    // Where it is not allowed, https is what is spoken before anybody was asked.
                    assert_eq!(host.scheme.get().is_none(), host.insecure);
                    host.insecure
                });
                assert_eq!(found, expected, "{host}");
            }
        }
    }

    // conformance: I12
    #[test]
    fn plain_http_is_tried_unasked_on_private_addresses_only() {
        let table = [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.8.8.8", true),
            ("[::1]:5000", true),
            ("registry.local:5000", true),
            ("10.0.0.1", true),
            ("172.16.0.1:80", true),
            ("172.32.0.1:80", false),
            ("192.168.1.1", true),
            ("8.8.8.8", false),
            ("ghcr.io", false),
            ("local", false),
            ("registry.local.evil.tld", false),
            ("localhost.evil.tld", false),
            ("10.0.0.1.evil.tld", false),
            ("[fd00::1]:5000", false),
        ];
        assert!(!table.is_empty());
        for (authority, expected) in table {
            assert_eq!(is_private(authority), expected, "{authority}");
        }
    }
}
