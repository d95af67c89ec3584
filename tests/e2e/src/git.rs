//! Real git repositories, served by git's own servers: `git daemon`, and `git http-backend` behind our HTTP server.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::case::Case;
use crate::guarded::Guarded;
use crate::http::{HttpServer, Request, Response};
use crate::tool::{output, tool};

/// A folder of repositories.
#[derive(Debug)]
pub struct GitHost {
    dir: PathBuf,
}

/// A repository with a work tree, below a [`GitHost`].
#[derive(Debug)]
pub struct GitRepository {
    dir: PathBuf,
}

impl GitHost {
    /// An empty folder in the case's.
    pub fn new(case: &Case) -> Self {
        let dir = case.path("git");
        fs::create_dir_all(&dir).expect("a folder for repositories");
        Self { dir }
    }

    /// A new repository, served as `NAME`; its work tree is served too, which nobody minds.
    pub fn repository(&self, name: &str) -> GitRepository {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).expect("a folder for a repository");
        let repository = GitRepository { dir };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Serves all repositories over git's own protocol; gives the URL of the folder.
    pub fn daemon(&self) -> (GitDaemon, String) {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
            listener
                .local_addr()
                .expect("a bound socket has an address")
                .port()
        };
        // Where the guard removes things at the end.
        let own = self.dir.with_file_name("git-daemon");
        fs::create_dir_all(&own).expect("a folder for the daemon");
        let arguments = [
            "daemon".to_owned(),
            "--reuseaddr".to_owned(),
            "--listen=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--export-all".to_owned(),
            format!("--base-path={}", self.dir.display()),
        ];
        let log = self.dir.with_file_name("git-daemon.log");
        let server = Guarded::start(&own, &log, &tool("git"), &arguments);
        for _ in 0..500 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        (
            GitDaemon { _server: server },
            format!("git://127.0.0.1:{port}"),
        )
    }

    /// Serves all repositories over HTTP; with `login`, `user:password` in base64 is asked for.
    pub fn http(&self, login: Option<&'static str>) -> HttpServer {
        let dir = self.dir.clone();
        HttpServer::start(move |request| {
            let given = request.headers.get("authorization");
            let wanted = login.map(|login| format!("Basic {login}"));
            if wanted.is_some() && given != wanted.as_ref() {
                let refused = Response::new(401, "text/plain", "who are you?");
                return refused.header("WWW-Authenticate", "Basic realm=\"test\"");
            }
            backend(&dir, request)
        })
    }
}

/// `git daemon`, ended with the value.
#[derive(Debug)]
pub struct GitDaemon {
    _server: Guarded,
}

/// One request through git's CGI program.
fn backend(dir: &Path, request: &Request) -> Response {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let mut backend = Command::new(tool("git"));
    backend
        .arg("http-backend")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("GIT_PROJECT_ROOT", dir)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = backend.spawn().expect("git http-backend starts");
    let mut input = child.stdin.take().expect("a pipe");
    let body = request.body.clone();
    // A backend that refuses does not read its input.
    let writer = std::thread::spawn(move || drop(input.write_all(&body)));
    let answer = child
        .wait_with_output()
        .expect("git http-backend ends")
        .stdout;
    drop(writer.join());
    let end = answer
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let body = answer.get(end + 4..).unwrap_or_default();
    let field = |name: &str| {
        head.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(": ")
                .map(str::to_owned)
        })
    };
    let status = field("Status").and_then(|status| status[..3].parse().ok());
    let kind = field("Content-Type").unwrap_or_default();
    Response::new(status.unwrap_or(200), &kind, body)
}

impl GitRepository {
    /// Where its work tree is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs git in it and gives what it prints, without the last newline.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new(tool("git"));
        git.arg("-C").arg(&self.dir);
        for setting in [
            "user.name=Test",
            "user.email=test@example.com",
            "protocol.file.allow=always",
            "commit.gpgsign=false",
        ] {
            git.args(["-c", setting]);
        }
        git.args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .env("GIT_AUTHOR_DATE", "2001-09-09T01:46:40Z")
            .env("GIT_COMMITTER_DATE", "2001-09-09T01:46:40Z");
        output(&mut git).stdout.trim_end().to_owned()
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a folder");
        fs::write(path, content).expect("a file can be written");
    }

    /// Commits everything; gives the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }
}
