//! `EXPOSE` words (F2).

use std::ops::RangeInclusive;

/// A word of `EXPOSE` that names no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExposeError {
    /// Neither a number up to 65535 nor a range of them.
    #[error("invalid containerPort: {text}")]
    ContainerPort {
        /// The part before `/`.
        text: String,
    },
    /// The tolerated `host:container` form with a host port that is none.
    #[error("invalid hostPort: {text}")]
    HostPort {
        /// The part between the colons.
        text: String,
    },
    /// Something other than `tcp`, `udp` or `sctp`.
    #[error("invalid proto: {text}")]
    Protocol {
        /// The part behind `/`.
        text: String,
    },
    /// No port at all.
    #[error("no port specified: {text}<empty>")]
    Missing {
        /// The word given.
        text: String,
    },
}

/// The ports of one expanded word in the form the image config has: `80-82/UDP` gives `80/udp`,
/// `81/udp`, `82/udp`. A host address or host port before the last colon is checked and dropped.
pub fn parse_expose(word: &str) -> Result<Vec<String>, ExposeError> {
    let (ports, protocol) = ports_of(word)?;
    Ok(ports.map(|port| format!("{port}/{protocol}")).collect())
}

/// Whether [`parse_expose`] would take the word, without a line for each port of a range.
pub(crate) fn check_expose(word: &str) -> Result<(), ExposeError> {
    ports_of(word).map(drop)
}

fn ports_of(word: &str) -> Result<(RangeInclusive<u16>, String), ExposeError> {
    let (ports, protocol) = match word.split_once('/') {
        Some((ports, protocol)) => (ports, protocol),
        None => (word, ""),
    };
    let protocol = if protocol.is_empty() {
        "tcp".to_owned()
    } else {
        protocol.to_lowercase()
    };
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(ExposeError::Protocol { text: protocol });
    }
    let (host, container) = match ports.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, ports),
    };
    if container.is_empty() {
        return Err(ExposeError::Missing {
            text: word.to_owned(),
        });
    }
    // `ip:port:container`; an address in brackets has colons of its own.
    let host_port = host.map(|host| host.rsplit_once(':').map_or(host, |(_, port)| port));
    if let Some(text) = host_port
        && !text.is_empty()
        && !looks_like_address(text)
        && port_range(text).is_none()
    {
        return Err(ExposeError::HostPort {
            text: text.to_owned(),
        });
    }
    let (first, last) = port_range(container).ok_or_else(|| ExposeError::ContainerPort {
        text: container.to_owned(),
    })?;
    Ok((first..=last, protocol))
}

fn looks_like_address(text: &str) -> bool {
    text.ends_with(']') || text.parse::<std::net::Ipv4Addr>().is_ok()
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| -> Option<u16> {
        // `parse` alone would take `+80`.
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())
            .flatten()
    };
    match text.split_once('-') {
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            (first <= last).then_some((first, last))
        }
        None => port(text).map(|p| (p, p)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: F2
    #[test]
    fn ports() {
        let rows: &[(&str, Result<&str, &str>)] = &[
            ("80", Ok("80/tcp")),
            ("80/tcp", Ok("80/tcp")),
            ("53/UDP", Ok("53/udp")),
            ("7/sctp", Ok("7/sctp")),
            ("80-82", Ok("80/tcp 81/tcp 82/tcp")),
            ("80-81/udp", Ok("80/udp 81/udp")),
            ("080", Ok("80/tcp")),
            ("80/", Ok("80/tcp")),
            ("8080:80", Ok("80/tcp")),
            ("127.0.0.1:80:8080/udp", Ok("8080/udp")),
            ("127.0.0.1::8080", Ok("8080/tcp")),
            ("[::1]:80:90", Ok("90/tcp")),
            ("abc", Err("invalid containerPort: abc")),
            ("+80", Err("invalid containerPort: +80")),
            ("65536", Err("invalid containerPort: 65536")),
            ("82-80", Err("invalid containerPort: 82-80")),
            ("80-", Err("invalid containerPort: 80-")),
            ("80/icmp", Err("invalid proto: icmp")),
            ("", Err("no port specified: <empty>")),
            ("/tcp", Err("no port specified: /tcp<empty>")),
            ("x:80", Err("invalid hostPort: x")),
        ];
        assert!(!rows.is_empty());
        for (word, expected) in rows {
            let got = parse_expose(word)
                .map(|ports| ports.join(" "))
                .map_err(|e| e.to_string());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(got, expected, "{word}");
        }
        assert_eq!(parse_expose("0-65535").map(|p| p.len()), Ok(65536));
    }
}
