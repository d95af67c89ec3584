//! How ports are written: `ExposeProtoCasing`, `ExposeInvalidFormat`.

use super::Findings;
use super::rules::{EXPOSE_INVALID_FORMAT, EXPOSE_PROTO_CASING};
use crate::position::Span;

/// `port` is expanded.
pub(super) fn check(port: &str, span: Span, findings: &mut Findings<'_>) {
    let (ports, protocol) = port.split_once('/').unwrap_or((port, ""));
    if protocol.chars().any(char::is_uppercase) {
        let message =
            format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
        findings.add(&EXPOSE_PROTO_CASING, span, message);
    }
    if ports
        .rsplit_once(':')
        .is_some_and(|(host, _)| !host.is_empty())
    {
        let message = format!(
            "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
        );
        findings.add(&EXPOSE_INVALID_FORMAT, span, message);
    }
}
