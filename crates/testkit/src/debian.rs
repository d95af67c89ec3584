//! Debian's `docker-registry`: the reference implementation, when it is installed.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kiln_oci::{Reference, Repository};

use crate::certificate::Issued;
use crate::port::closed_port;

const PROGRAM: &str = "/usr/bin/docker-registry";

/// A running `docker-registry` with its data in a temporary directory; killed when dropped.
#[derive(Debug)]
pub struct DebianRegistry {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl DebianRegistry {
    /// Starts it with plain http, or says on standard error why the test is skipped.
    pub fn start() -> Option<Self> {
        Self::start_with(None)
    }

    /// Starts it with https and HTTP/2.
    pub fn start_tls(issued: &Issued) -> Option<Self> {
        Self::start_with(Some(issued))
    }

    fn start_with(tls: Option<&Issued>) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            kiln_skip::skipped(format!("{PROGRAM} is not installed"));
            return None;
        }
        let dir = tempfile::tempdir().expect("no temporary directory");
        let port = closed_port();
        let config = dir.path().join("config.yml");
        let data = dir.path().join("data");
        let tls = tls.map_or_else(String::new, |issued| {
            let (certificate, key) = issued.write(dir.path(), "server");
            format!(
                "\n  tls: {{certificate: {}, key: {}}}",
                certificate.display(),
                key.display()
            )
        });
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp:\n  addr: \"127.0.0.1:{port}\"{tls}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("cannot write the registry's config");
        let child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry does not start");
        let registry = Self { child, port, dir };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(registry);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("docker-registry did not open its port");
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
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

    /// Where it keeps its data.
    pub fn data(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for DebianRegistry {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
