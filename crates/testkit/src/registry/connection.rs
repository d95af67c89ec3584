//! Sockets and threads: one thread a connection, ended by the registry's end.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::fault::Fault;
use super::http::{Request, Response};
use super::{Logged, Shared, lock, routes};
use crate::certificate::Issued;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        // Small answers must not wait for the acknowledgement of others.
        let _ = stream.set_nodelay(true);
        if let Ok(handle) = stream.try_clone() {
            lock(&shared.connections).push(handle);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that goes away is no event here; the log tells what it asked.
            let _ = serve(&stream, &shared);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut first = [0];
    if stream.peek(&mut first)? == 0 {
        return Ok(());
    }
    let handshake = first == [TLS_HANDSHAKE];
    let socket = stream.try_clone()?;
    let stream: Box<dyn Stream> = match &shared.tls {
        None if handshake => return Ok(()),
        None => Box::new(socket),
        Some(config) if handshake => {
            let tls = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(tls, socket))
        }
        Some(_) => {
            let body = b"Client sent an HTTP request to an HTTPS server.\n".to_vec();
            let mut socket = socket;
            return Response::new(400)
                .content("text/plain", body)
                .write(&mut socket, true, None);
        }
    };
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    while let Some(request) = Request::read(&mut stream)? {
        if !answer(&request, &mut stream, shared)? {
            break;
        }
    }
    Ok(())
}

/// `false` if the connection is spoiled.
fn answer(
    request: &Request,
    stream: &mut BufReader<Box<dyn Stream>>,
    shared: &Shared,
) -> io::Result<bool> {
    let number = note(request, shared);
    let fault = lock(&shared.faults).take(&request.method, &request.target);
    let with_body = request.method != "HEAD";
    match &fault {
        Some(Fault::Reset) => return Ok(false),
        Some(Fault::ResetInBody(after)) => {
            let read = request.body(stream, *after as u64)?;
            finish(shared, number, read.len(), 0);
            return Ok(false);
        }
        Some(Fault::Status {
            code,
            headers,
            body,
        }) => {
            let kind = if body.starts_with('{') {
                "application/json"
            } else {
                "text/plain"
            };
            let mut response = Response::new(*code).content(kind, body.clone().into_bytes());
            response.headers.extend(headers.iter().cloned());
            finish(shared, number, 0, *code);
            response
                .headers
                .push(("Connection".to_owned(), "close".to_owned()));
            response.write(stream.get_mut(), with_body, None)?;
            // An unread body makes the close a reset, which can overtake the answer.
            let _ = request.body(stream, u64::MAX);
            return Ok(false);
        }
        _ => {}
    }
    if request.header("expect").is_some() {
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let body = request.body(stream, u64::MAX)?;
    let size = body.len();
    if matches!(fault, Some(Fault::Stall)) {
        wait_for_the_end(shared);
        return Ok(false);
    }
    if let Some(Fault::UntilUploads(count)) = fault {
        wait_for_uploads(shared, count);
    }
    let mut response = routes::handle(request, body, shared, fault.as_ref());
    let mut sent = None;
    match fault {
        Some(Fault::Delay(time)) => std::thread::sleep(time),
        Some(Fault::WrongContent) => {
            if let Some(last) = response.body.last_mut() {
                *last ^= 1;
            }
        }
        Some(Fault::Truncate(bytes) | Fault::StallAfter(bytes)) => sent = Some(bytes),
        Some(Fault::Html) => {
            response = Response::new(200)
                .content("text/html; charset=utf-8", b"<html>Welcome</html>".to_vec());
        }
        Some(Fault::Redirect(ref base)) => {
            response = redirect(&format!("{base}{}", request.target));
        }
        Some(Fault::RedirectTo(ref location)) => response = redirect(location),
        Some(Fault::ClaimDigest(ref digest)) => {
            response
                .headers
                .retain(|(name, _)| name != "Docker-Content-Digest");
            response = response.header("Docker-Content-Digest", digest);
        }
        Some(Fault::WithoutHeader(ref name)) => response
            .headers
            .retain(|(own, _)| !own.eq_ignore_ascii_case(name)),
        _ => {}
    }
    finish(shared, number, size, response.status);
    response.write(stream.get_mut(), with_body, sent)?;
    if matches!(fault, Some(Fault::StallAfter(_))) {
        wait_for_the_end(shared);
    }
    Ok(sent.is_none())
}

fn redirect(location: &str) -> Response {
    Response::new(307).header("Location", location)
}

/// Writes the request into the log; its place there.
fn note(request: &Request, shared: &Shared) -> usize {
    let mut log = lock(&shared.log);
    log.push(Logged {
        method: request.method.clone(),
        path: request.target.clone(),
        body: 0,
        status: 0,
        headers: request.headers.clone(),
    });
    log.len() - 1
}

fn finish(shared: &Shared, number: usize, body: usize, status: u16) {
    // The log may have been cleared in between.
    if let Some(line) = lock(&shared.log).get_mut(number) {
        line.body = body as u64;
        line.status = status;
    }
}

/// Until so many uploads have been open at one time; a client that never opens them is answered after ten seconds.
fn wait_for_uploads(shared: &Shared, count: usize) {
    let end = Instant::now() + Duration::from_secs(10);
    while lock(&shared.store).most_open_uploads() < count && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wait_for_the_end(shared: &Shared) {
    while !shared.stopped.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn server_config(issued: &Issued, client_authority: Option<&str>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .expect("a PEM certificate");
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a PEM key");
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("default versions");
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("a PEM certificate"))
                .expect("a usable authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    Arc::new(
        builder
            .with_single_cert(chain, key)
            .expect("certificate and key that fit"),
    )
}
