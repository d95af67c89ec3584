//! A real SSH agent with a key of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::case::Case;
use crate::context::Context;
use crate::guarded::Guarded;
use crate::tool::{output, tool};

/// OpenSSH's agent, ended with the value.
#[derive(Debug)]
pub struct SshAgent {
    socket: PathBuf,
    _server: Guarded,
}

impl SshAgent {
    /// Starts an agent in the case's folder and gives it a fresh key.
    pub fn start(case: &Case) -> Self {
        let dir = case.path("agent");
        fs::create_dir(&dir).expect("a folder for the agent");
        let (socket, key) = (dir.join("socket"), dir.join("key"));
        let arguments = [Path::new("-D"), Path::new("-a"), &socket];
        let log = case.path("agent.log");
        let server = Guarded::start(&dir, &log, &tool("ssh-agent"), &arguments);
        for _ in 0..500 {
            if socket.exists() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
        let mut generate = Command::new(tool("ssh-keygen"));
        generate.args(["-q", "-t", "ed25519", "-N", "", "-C", "of a test", "-f"]);
        output(generate.arg(&key));
        let agent = Self {
            socket,
            _server: server,
        };
        output(agent.client().arg("-q").arg(&key));
        agent
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `ssh-add -l` says: the key's length, fingerprint, comment and type.
    pub fn keys(&self) -> String {
        output(self.client().arg("-l")).stdout
    }

    fn client(&self) -> Command {
        let mut client = Command::new(tool("ssh-add"));
        client.env("SSH_AUTH_SOCK", &self.socket);
        client
    }

    /// Puts `ssh-add` with all libraries that it needs into a folder of the context, as a root filesystem has them.
    pub fn put_client(context: Context, folder: &str) -> Context {
        let client = tool("ssh-add");
        let libraries = output(Command::new(tool("ldd")).arg(&client)).stdout;
        let paths = libraries
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        let all = paths.map(PathBuf::from).chain([client]);
        all.fold(context, |context, path| {
            let content = fs::read(&path).expect("a program and its libraries can be read");
            context.file_with_mode(&format!("{folder}{}", path.display()), 0o755, content)
        })
    }
}
