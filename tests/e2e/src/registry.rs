//! A real registry: Debian's `docker-registry` on a free loopback port.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::base::Base;
use crate::guarded::Guarded;
use crate::layout::ImageSpec;
use crate::tool::{self, output, skopeo, tool};

/// `user` and `password` of a registry made with [`Registry::with_login`].
const HTPASSWD: &str = "kiln:$2b$05$DxJTGK0GCfp6GYt8sllbYO9A8h5Hw0UHdsjnLvqcOAFL3Tqkz15wq\n";

/// A running registry; it stops, and its storage goes, when this is dropped or the test process ends.
#[derive(Debug)]
pub struct Registry {
    host: String,
    dir: PathBuf,
    bases: Mutex<BTreeMap<Base, String>>,
    login: bool,
    _server: Guarded,
}

impl Registry {
    /// The registry that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Registry> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A registry of its own, for tests that look at what a registry holds.
    pub fn start() -> Self {
        Self::with(None, false, None)
    }

    /// A registry of its own with its storage below `storage_parent`.
    pub fn start_in(storage_parent: &Path) -> Self {
        Self::with(None, false, Some(storage_parent))
    }

    /// A registry that wants the user `kiln` with the password `s3cret:pw`.
    pub fn with_login() -> Self {
        Self::with(None, true, None)
    }

    /// A registry that speaks TLS with this certificate and key.
    pub fn with_tls(certificate: &Path, key: &Path) -> Self {
        Self::with(Some((certificate, key)), false, None)
    }

    fn with(tls: Option<(&Path, &Path)>, login: bool, parent: Option<&Path>) -> Self {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let dir = tempfile::Builder::new()
            .prefix("kiln-registry-")
            .tempdir_in(parent)
            .expect("a folder")
            .keep();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {0}/storage\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:0\n  secret: e2e\n",
            dir.display()
        );
        if let Some((certificate, key)) = tls {
            config += &format!(
                "  tls:\n    certificate: {}\n    key: {}\n",
                certificate.display(),
                key.display()
            );
        }
        if login {
            fs::write(dir.join("htpasswd"), HTPASSWD).expect("the password file");
            config += &format!(
                "auth:\n  htpasswd:\n    realm: e2e\n    path: {}/htpasswd\n",
                dir.display()
            );
        }
        fs::write(dir.join("config.yml"), config).expect("the registry's settings");
        let log = dir.join("log");
        let program = tool("docker-registry");
        let mut server = Guarded::start(
            &dir,
            &log,
            &program,
            &["serve".as_ref(), dir.join("config.yml").as_os_str()],
        );
        let host = wait_for_port(&mut server, &log);
        Self {
            host,
            dir,
            bases: Mutex::default(),
            login,
            _server: server,
        }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The full reference of `name` (with or without a tag) in this registry.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// The reference of a base image, which is made and pushed at the first call.
    pub fn base(&self, base: Base) -> String {
        let mut bases = self
            .bases
            .lock()
            .expect("no test panics while it pushes a base");
        if let Some(reference) = bases.get(&base) {
            return reference.clone();
        }
        let reference = self.reference(&base.name());
        self.push(&base.spec(), &reference);
        bases.insert(base, reference.clone());
        reference
    }

    /// Pushes an image made here under a full reference, with `skopeo`.
    pub fn push(&self, spec: &ImageSpec, reference: &str) {
        let layout = tempfile::tempdir().expect("a folder");
        spec.write_layout(layout.path(), "image");
        let from = format!("oci:{}:image", layout.path().display());
        let to = format!("docker://{reference}");
        let mut copy = skopeo(["copy", "--quiet", "--all", "--dest-tls-verify=false"]);
        // Converting to schema2 changes the manifest, so digests can only be kept for OCI.
        if spec.docker {
            copy.args(["--format", "v2s2"]);
        } else {
            copy.arg("--preserve-digests");
        }
        if self.login {
            copy.args(["--dest-creds", "kiln:s3cret:pw"]);
        }
        output(copy.args([from, to]));
    }

    /// `skopeo inspect --raw` of a name or full reference; `None` when the registry does not have it.
    pub fn raw_manifest(&self, name: &str) -> Option<String> {
        let name = name
            .strip_prefix(&format!("{}/", self.host))
            .unwrap_or(name);
        let mut inspect = skopeo(["inspect", "--raw", "--tls-verify=false"]);
        if self.login {
            inspect.args(["--creds", "kiln:s3cret:pw"]);
        }
        let ran = tool::run(inspect.arg(format!("docker://{}", self.reference(name))));
        (ran.code == Some(0)).then_some(ran.stdout)
    }

    /// Digests (`sha256:...`) of all blobs in the registry's storage, whatever repository they belong to.
    pub fn blobs(&self) -> Vec<String> {
        let root = self.dir.join("storage/docker/registry/v2/blobs/sha256");
        let mut found = Vec::new();
        for prefix in list(&root) {
            found.extend(
                list(&root.join(prefix))
                    .into_iter()
                    .map(|name| format!("sha256:{name}")),
            );
        }
        found.sort();
        found
    }

    /// Whether anything was pushed to a repository.
    pub fn has_repository(&self, name: &str) -> bool {
        self.manifests(name).exists()
    }

    /// All tags of a repository.
    pub fn tags(&self, name: &str) -> Vec<String> {
        let mut tags = list(&self.manifests(name).join("tags"));
        tags.sort();
        tags
    }

    /// Takes a tag away, as a cleaner of registries does.
    pub fn remove_tag(&self, name: &str, tag: &str) {
        let tag = self.manifests(name).join("tags").join(tag);
        fs::remove_dir_all(tag).expect("the tag is there");
    }

    /// The file of a blob, `sha256:...`, in the registry's storage.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let root = self.dir.join("storage/docker/registry/v2/blobs/sha256");
        root.join(&hex[..2]).join(hex).join("data")
    }

    /// Where the registry keeps manifests and tags of a repository, by its name or full reference.
    fn manifests(&self, name: &str) -> PathBuf {
        let name = name.split_once('/').map_or(
            name,
            |(first, rest)| {
                if first.contains(':') { rest } else { name }
            },
        );
        let root = self.dir.join("storage/docker/registry/v2/repositories");
        root.join(name).join("_manifests")
    }

    /// The folder with all that the registry has on disk.
    pub fn storage(&self) -> &Path {
        &self.dir
    }
}

fn list(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Reads the port that the kernel gave from the registry's log.
fn wait_for_port(server: &mut Guarded, log: &Path) -> String {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_mins(1) {
        let text = fs::read_to_string(log).unwrap_or_default();
        if let Some((_, rest)) = text.split_once("listening on ") {
            let host: String = rest
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.' || *c == ':')
                .collect();
            if rest.len() > host.len() {
                return host;
            }
        }
        assert!(
            server.is_running(),
            "docker-registry did not start:\n{text}"
        );
        sleep(Duration::from_millis(10));
    }
    panic!(
        "docker-registry did not listen within a minute:\n{}",
        fs::read_to_string(log).unwrap_or_default()
    );
}
