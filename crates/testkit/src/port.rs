//! Ports nobody else has.

use std::net::{Ipv4Addr, TcpListener};

/// A port of 127.0.0.1 on which nothing listens.
///
/// Another process may take it; the kernel hands out others first, so in practice none does.
pub fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
