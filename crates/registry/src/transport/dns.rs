//! Names to addresses without libc, whose resolver does not work in a static binary.
//!
//! In the order of a usual `nsswitch.conf`: `localhost`, then `/etc/hosts`, then the servers of
//! `/etc/resolv.conf`. A missing `resolv.conf` means the server at 127.0.0.1, as resolv.conf(5) says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;
use reqwest::dns::{Addrs, Resolve, Resolving};
use tokio::sync::OnceCell;

use super::localhost::is_localhost;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Caches answers. Bound to the runtime it is first used on, so there is no process-wide one.
#[derive(Default)]
struct Resolver {
    servers: OnceCell<TokioResolver>,
}

impl Resolver {
    async fn lookup(
        &self,
        name: &str,
    ) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let name = name.trim_end_matches('.');
        if is_localhost(name) {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        // Read each time: kubelet and docker rewrite the file, and it is tiny.
        let hosts = tokio::fs::read(HOSTS).await.unwrap_or_default();
        let known = in_hosts(&String::from_utf8_lossy(&hosts), name);
        if !known.is_empty() {
            return Ok(known);
        }
        let servers = self.servers.get_or_try_init(|| async {
            let text = tokio::fs::read(RESOLV_CONF).await.unwrap_or_default();
            resolver(&String::from_utf8_lossy(&text))
        });
        let answer = servers.await?.lookup_ip(name).await;
        let answer = answer.map_err(|error| describe(name, &error))?;
        Ok(answer.iter().collect())
    }
}

/// The resolver as reqwest wants it.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Resolver>);

impl Resolve for Shared {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = resolver.lookup(name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            continue;
        };
        if words.any(|word| word.trim_end_matches('.').eq_ignore_ascii_case(name)) {
            found.push(address);
        }
    }
    found
}

/// What we take from `resolv.conf`; unknown lines and options are skipped, as libc does.
#[derive(Debug, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: u64,
    attempts: usize,
}

fn parse(text: &str) -> ResolvConf {
    let mut conf = ResolvConf {
        servers: Vec::new(),
        search: Vec::new(),
        ndots: 1,
        timeout: 5,
        attempts: 2,
    };
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                // `fe80::1%eth0`: the zone is lost, which works for a single link.
                let address = words
                    .next()
                    .map(|word| word.split('%').next().unwrap_or(word));
                conf.servers
                    .extend(address.and_then(|word| word.parse::<IpAddr>().ok()));
            }
            Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
            Some("options") => {
                for (key, value) in words.filter_map(|word| word.split_once(':')) {
                    let Ok(value) = value.parse::<usize>() else {
                        continue;
                    };
                    match key {
                        "ndots" => conf.ndots = value.min(15),
                        "timeout" => conf.timeout = value.clamp(1, 30) as u64,
                        "attempts" => conf.attempts = value.clamp(1, 5),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if conf.servers.is_empty() {
        conf.servers.push(Ipv4Addr::LOCALHOST.into());
    }
    conf
}

fn resolver(resolv_conf: &str) -> Result<TokioResolver, Box<dyn std::error::Error + Send + Sync>> {
    let conf = parse(resolv_conf);
    let servers = conf
        .servers
        .iter()
        .map(|address| NameServerConfig::udp_and_tcp(*address))
        .collect();
    let search = conf
        .search
        .iter()
        .filter_map(|name| Name::from_utf8(name).ok())
        .collect();
    let config = ResolverConfig::from_parts(None, search, servers);
    let mut options = ResolverOpts::default();
    options.ndots = conf.ndots;
    options.timeout = Duration::from_secs(conf.timeout);
    options.attempts = conf.attempts;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.try_tcp_on_error = true;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options);
    Ok(builder.build()?)
}

fn describe(name: &str, error: &hickory_resolver::net::NetError) -> String {
    if error.is_nx_domain() || error.is_no_records_found() {
        format!("the name `{name}` does not exist")
    } else {
        format!("the name `{name}` could not be resolved: {error}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_files_are_read_like_libc_does() {
        let text = "127.0.0.1\tlocalhost\n# c\n10.0.0.7 reg.example Reg # x\n::1 reg6\nbroken line\nfe80::1%lo0 x\n10.0.0.8 reg";
        let table: [(&str, &[&str]); 4] = [
            ("reg.example", &["10.0.0.7"]),
            ("reg", &["10.0.0.7", "10.0.0.8"]),
            ("reg6", &["::1"]),
            ("re", &[]),
        ];
        assert!(!table.is_empty());
        for (name, expected) in table {
            let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(in_hosts(text, name), expected, "{name}");
        }
    }

    #[test]
    fn resolv_conf_is_read_leniently() {
        let text = "# kubelet\nnameserver 10.96.0.10\nnameserver nonsense\nsearch ns.svc.cluster.local svc.cluster.local\noptions ndots:5 trust-ad unheard-of:x edns0\nsortlist 1.2.3.4";
        let conf = parse(text);
        assert_eq!(conf.servers, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        assert_eq!(conf.search, ["ns.svc.cluster.local", "svc.cluster.local"]);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (5, 5, 2));
        assert_eq!(parse("").servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    }

    #[tokio::test]
    async fn localhost_needs_no_server() {
        let resolver = Resolver::default();
        for name in ["localhost", "LOCALHOST", "registry.localhost", "localhost."] {
            let found = resolver.lookup(name).await.unwrap();
            assert!(found.contains(&IpAddr::from(Ipv4Addr::LOCALHOST)), "{name}");
        }
    }
}
