//! An OCI registry in this process: small, strict where clients are careless, and faulty on demand.

mod access;
mod connection;
mod fault;
mod http;
mod routes;
mod store;

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use kiln_oci::{Descriptor, Digest, Family, Index, MediaType, Reference, Repository};

pub use access::Auth;
pub use fault::{Fault, On};
pub use store::Stored;

use crate::certificate::{Authority, Issued};
use crate::image::{Built, Image};
use access::Access;
use fault::Faults;
use store::Store;

/// What a registry should be like.
#[derive(Debug, Default)]
pub struct RegistryOptions {
    /// Who may do what.
    pub auth: Auth,
    /// Speak TLS with this certificate.
    pub tls: Option<Issued>,
    /// Only talk to clients that show a certificate of this authority (PEM).
    pub client_authority: Option<String>,
    /// Answer `PUT` of an existing tag as ECR does when tags are immutable.
    pub immutable_tags: bool,
    /// What `OCI-Chunk-Min-Length` says, if it is said.
    pub chunk_min: Option<u64>,
}

/// One request as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// `GET`, `PUT`, ...
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Bytes of the body that were read.
    pub body: u64,
    /// The status answered; 0 if a fault kept it from being one.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Logged {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A running registry on a port of 127.0.0.1; stops when dropped.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What the threads of a registry share.
#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    access: Access,
    faults: Mutex<Faults>,
    log: Mutex<Vec<Logged>>,
    immutable_tags: bool,
    chunk_min: Option<u64>,
    tls: Option<Arc<rustls::ServerConfig>>,
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    port: u16,
}

impl Registry {
    /// A plain http registry that is open to everybody.
    pub fn start() -> Self {
        Self::with(RegistryOptions::default())
    }

    /// A registry that asks for authorization.
    pub fn with_auth(auth: Auth) -> Self {
        Self::with(RegistryOptions {
            auth,
            ..RegistryOptions::default()
        })
    }

    /// A https registry with a certificate of `authority` for 127.0.0.1 and localhost.
    pub fn with_tls(authority: &Authority) -> Self {
        Self::with(RegistryOptions {
            tls: Some(authority.issue(&["127.0.0.1", "localhost"])),
            ..RegistryOptions::default()
        })
    }

    /// A registry with options.
    pub fn with(options: RegistryOptions) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let client_authority = options.client_authority.as_deref();
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            access: Access::new(options.auth),
            faults: Mutex::default(),
            log: Mutex::default(),
            immutable_tags: options.immutable_tags,
            chunk_min: options.chunk_min,
            tls: options
                .tls
                .map(|issued| connection::server_config(&issued, client_authority)),
            stopped: AtomicBool::new(false),
            connections: Mutex::default(),
            port,
        });
        let serving = Arc::clone(&shared);
        let acceptor = std::thread::spawn(move || connection::accept(&listener, &serving));
        Self {
            port,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// `127.0.0.1:<port>`, as the registry part of references.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A repository here.
    pub fn repo(&self, path: &str) -> Repository {
        Repository {
            registry: self.host(),
            path: path.to_owned(),
        }
    }

    /// An image here, written `path:tag` or `path@digest`.
    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.host())
            .parse()
            .expect("not a reference")
    }

    /// Misbehaves from now on in the requests `on` describes; earlier faults come first.
    pub fn fault(&self, on: On, fault: Fault) {
        lock(&self.shared.faults).add(on, fault);
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Makes every token handed out so far worthless.
    pub fn revoke_tokens(&self) {
        self.shared.access.revoke();
    }

    /// What was asked so far.
    pub fn log(&self) -> Vec<Logged> {
        lock(&self.shared.log).clone()
    }

    /// Forgets what was asked so far.
    pub fn clear_log(&self) {
        lock(&self.shared.log).clear();
    }

    /// How many requests had this method and this text in their path.
    pub fn count(&self, method: &str, path_part: &str) -> usize {
        let log = lock(&self.shared.log);
        log.iter()
            .filter(|line| line.method == method && line.path.contains(path_part))
            .count()
    }

    /// Puts a blob into a repository.
    pub fn put_blob(&self, repo: &str, blob: &[u8]) -> Digest {
        lock(&self.shared.store).put_blob(repo, blob.to_vec())
    }

    /// A blob of a repository.
    pub fn blob(&self, repo: &str, digest: &Digest) -> Option<Vec<u8>> {
        lock(&self.shared.store)
            .blob(repo, digest)
            .map(|blob| blob.to_vec())
    }

    /// Takes a blob out of a repository, as a garbage collector would.
    pub fn remove_blob(&self, repo: &str, digest: &Digest) {
        lock(&self.shared.store).remove_blob(repo, digest);
    }

    /// Puts a manifest into a repository, under a tag if there is one.
    pub fn put_manifest(
        &self,
        repo: &str,
        tag: Option<&str>,
        media_type: &str,
        bytes: &[u8],
    ) -> Digest {
        lock(&self.shared.store).put_manifest(repo, tag, media_type, bytes.to_vec())
    }

    /// The manifest under a tag or digest.
    pub fn manifest(&self, repo: &str, tag_or_digest: &str) -> Option<Stored> {
        lock(&self.shared.store).manifest(repo, tag_or_digest)
    }

    /// The tags of a repository, sorted.
    pub fn tags(&self, repo: &str) -> Vec<String> {
        lock(&self.shared.store).tags(repo)
    }

    /// Uploads that were started and neither completed nor cancelled.
    pub fn open_uploads(&self) -> usize {
        lock(&self.shared.store).open_uploads()
    }

    /// How many uploads were open at one time, at most.
    pub fn most_open_uploads(&self) -> usize {
        lock(&self.shared.store).most_open_uploads()
    }

    /// Puts an image and all its blobs under `path:tag`; foreign layers are left out.
    pub fn push_image(&self, name: &str, image: &Image) -> Digest {
        self.push_built(name, &image.build())
    }

    /// The same for a finished image.
    pub fn push_built(&self, name: &str, image: &Built) -> Digest {
        let reference = self.reference(name);
        let repo = reference.repository();
        self.put_blob(repo, &image.config);
        for layer in image
            .layers
            .iter()
            .filter(|layer| layer.descriptor.urls().is_empty())
        {
            self.put_blob(repo, &layer.blob);
        }
        self.put_manifest(
            repo,
            reference.tag(),
            image.media_type.as_str(),
            &image.manifest,
        )
    }

    /// Puts images under one index at `path:tag`.
    pub fn push_index(&self, name: &str, family: Family, images: &[Image]) -> Digest {
        let reference = self.reference(name);
        let repo = reference.repository();
        let built: Vec<Built> = images.iter().map(Image::build).collect();
        for image in &built {
            self.push_built(&format!("{repo}@{}", image.digest), image);
        }
        self.push_entries(name, family, built.iter().map(Built::index_entry).collect())
    }

    /// Puts an index with exactly these entries at `path:tag`.
    pub fn push_entries(&self, name: &str, family: Family, entries: Vec<Descriptor>) -> Digest {
        let reference = self.reference(name);
        let bytes = Index::new(family, entries).to_bytes();
        self.put_manifest(
            reference.repository(),
            reference.tag(),
            MediaType::index(family).as_str(),
            &bytes,
        )
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in one connection is reported by its own test.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
