//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` as Go programs read them, since kaniko is one (I14).
//!
//! reqwest's own reading knows no ports in `NO_PROXY` and sends loopback addresses to the proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// A proxy chooser over the variables of this process, read once.
pub(super) fn from_environment() -> reqwest::Proxy {
    let rules = Rules::read(&|name| std::env::var(name).ok());
    reqwest::Proxy::custom(move |url| rules.proxy_for(url))
}

/// Whether a proxy is set that is no URL.
pub(super) fn is_unusable() -> bool {
    let (http, https) = proxies(&|name| std::env::var(name).ok());
    let mut set = http.iter().chain(&https);
    set.any(|text| parse_proxy(text).is_none())
}

/// What is set for http and for https.
fn proxies(env: &dyn Fn(&str) -> Option<String>) -> (Option<String>, Option<String>) {
    // In a CGI program HTTP_PROXY is the client's `Proxy:` header (httpoxy); Go ignores it there too.
    let cgi = env("REQUEST_METHOD").is_some();
    let http = either(env, "HTTP_PROXY").filter(|_| !cgi);
    (http, either(env, "HTTPS_PROXY"))
}

/// A variable in upper or lower case.
fn either(env: &dyn Fn(&str) -> Option<String>, upper: &str) -> Option<String> {
    let lower = upper.to_ascii_lowercase();
    [upper, &lower]
        .into_iter()
        .find_map(|name| env(name).filter(|value| !value.trim().is_empty()))
}

#[derive(Debug, Clone)]
struct Rules {
    http: Option<Url>,
    https: Option<Url>,
    except: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    Everything,
    Network {
        address: IpAddr,
        bits: u8,
    },
    Domain {
        name: String,
        port: Option<u16>,
        only_below: bool,
    },
}

impl Rules {
    fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let (http, https) = proxies(env);
        Self {
            http: http.and_then(|text| parse_proxy(&text)),
            https: https.and_then(|text| parse_proxy(&text)),
            except: either(env, "NO_PROXY")
                .map(|text| parse_exceptions(&text))
                .unwrap_or_default(),
        }
    }

    fn proxy_for(&self, url: &Url) -> Option<Url> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let host = url
            .host_str()?
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = url.port_or_known_default()?;
        let direct = is_loopback(host) || self.except.iter().any(|rule| rule.covers(host, port));
        (!direct).then(|| proxy.clone())
    }
}

impl Exception {
    fn covers(&self, host: &str, to_port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network { address, bits } => {
                host.parse().is_ok_and(|ip| in_network(ip, *address, *bits))
            }
            Self::Domain {
                name,
                port,
                only_below,
            } => {
                let host = host.to_ascii_lowercase();
                let below = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                port.is_none_or(|port| port == to_port) && (below || (!only_below && host == *name))
            }
        }
    }
}

fn parse_proxy(text: &str) -> Option<Url> {
    let text = text.trim();
    let url = if text.contains("://") {
        Url::parse(text)
    } else {
        Url::parse(&format!("http://{text}"))
    };
    url.ok().filter(|url| url.host().is_some())
}

fn parse_exceptions(text: &str) -> Vec<Exception> {
    text.split([',', ' '])
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .filter_map(parse_exception)
        .collect()
}

fn parse_exception(item: &str) -> Option<Exception> {
    if item == "*" {
        return Some(Exception::Everything);
    }
    if let Some((address, bits)) = item.split_once('/') {
        let (address, bits) = (address.parse().ok()?, bits.parse().ok()?);
        return Some(Exception::Network { address, bits });
    }
    if let Ok(address) = item
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
    {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Some(Exception::Network { address, bits });
    }
    let (name, port) = match item.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok()?)),
        None => (item, None),
    };
    let name = name.strip_prefix('*').unwrap_or(name).to_ascii_lowercase();
    let only_below = name.starts_with('.');
    let name = name.trim_start_matches('.').to_owned();
    (!name.is_empty()).then_some(Exception::Domain {
        name,
        port,
        only_below,
    })
}

fn in_network(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u32::from(ip) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(ip) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    super::localhost::is_localhost(host)
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let rules = Rules::read(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        rules
            .proxy_for(&Url::parse(url).unwrap())
            .map(|url| url.to_string())
    }

    // conformance: I14
    #[test]
    fn each_scheme_has_its_proxy() {
        let both = [("HTTPS_PROXY", "http://s:1"), ("http_proxy", "p:2")];
        assert_eq!(
            choose(&both, "https://reg.example/v2/").as_deref(),
            Some("http://s:1/")
        );
        assert_eq!(
            choose(&both, "http://reg.example/v2/").as_deref(),
            Some("http://p:2/")
        );
        assert_eq!(choose(&both[1..], "https://reg.example/v2/"), None);
        assert_eq!(choose(&both, "http://localhost:5000/"), None);
        assert_eq!(choose(&both, "http://127.0.0.1:5000/"), None);
        assert_eq!(choose(&both, "http://[::1]:5000/"), None);
        assert_eq!(
            choose(
                &[("HTTP_PROXY", "x"), ("REQUEST_METHOD", "GET")],
                "http://h/"
            ),
            None
        );
    }

    // conformance: I14
    #[test]
    fn exceptions_cover_names_networks_and_ports() {
        let table = [
            ("*", "h.example", true),
            ("example", "h.example", true),
            ("example", "example", true),
            ("example", "hexample", false),
            (".example", "h.example", true),
            (".example", "example", false),
            ("*.example", "h.example", true),
            ("a, h.example:5000 b", "h.example:5000", true),
            ("h.example:5000", "h.example:5001", false),
            ("h.example:443", "h.example", true),
            ("10.0.0.0/8", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("fd00::/8", "[fd12::1]:5000", true),
            ("EXAMPLE", "H.Example", true),
            ("nonsense/x, :1", "h.example", false),
        ];
        assert!(!table.is_empty());
        for (except, host, direct) in table {
            let variables = [("HTTPS_PROXY", "http://s:1"), ("NO_PROXY", except)];
            let chosen = choose(&variables, &format!("https://{host}/v2/"));
            assert_eq!(chosen.is_none(), direct, "{except} {host}");
        }
    }
}
