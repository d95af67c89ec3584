//! Names to addresses by libc, in a program that was built without the feature `dns`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Resolve, Resolving};

use super::localhost::is_localhost;

/// The resolver as reqwest wants it.
#[derive(Clone, Default)]
pub(super) struct Shared;

impl Resolve for Shared {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        Box::pin(async move {
            let name = name.as_str();
            if is_localhost(name.trim_end_matches('.')) {
                let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                let here: Addrs = Box::new(here.map(|ip| SocketAddr::new(ip, 0)).into_iter());
                return Ok(here);
            }
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}
