//! An SSH agent shown to a command: a socket of ours with the mode and owner that the mount asks for, in front of the
//! agent's own (conformance D37). The agent's key material stays where it is; only requests pass.

use std::fs::{self, Permissions};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use kiln_events::{Event, EventSink, WarningKind};

/// Passes requests on until it is dropped.
#[derive(Debug)]
pub(super) struct AgentProxy {
    /// Wakes the thread below, wherever the listening socket was moved to.
    listener: Arc<UnixListener>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AgentProxy {
    /// Listens at `path`, which must not exist.
    pub(super) fn start(
        path: &Path,
        agent: PathBuf,
        mode: u32,
        (uid, gid): (u32, u32),
        events: Arc<dyn EventSink>,
    ) -> io::Result<AgentProxy> {
        let listener = Arc::new(listen(path)?);
        if (uid, gid) != (0, 0) {
            chown(path, Some(uid), Some(gid))?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let over = Arc::new(AtomicBool::new(false));
        let (accepting, ended) = (Arc::clone(&listener), Arc::clone(&over));
        let thread = thread::Builder::new()
            .name("kiln-ssh".to_owned())
            .spawn(move || accept(&accepting, &ended, &agent, &*events))?;
        Ok(AgentProxy {
            listener,
            over,
            thread: Some(thread),
        })
    }
}

impl Drop for AgentProxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Ends the wait in `accept`.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Names of sockets must be short, and work folders may be deep.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return UnixListener::bind(path);
    };
    let dir = fs::File::open(dir)?;
    let descriptor = dir.as_raw_fd().to_string();
    UnixListener::bind(Path::new("/proc/self/fd").join(descriptor).join(name))
}

fn accept(listener: &UnixListener, over: &AtomicBool, agent: &Path, events: &dyn EventSink) {
    while let Ok((command, _)) = listener.accept() {
        if over.load(Ordering::Acquire) {
            return;
        }
        // One that is refused ends here: the command sees that the agent hung up.
        match UnixStream::connect(agent) {
            Ok(agent) => {
                let passing = thread::Builder::new()
                    .name("kiln-ssh".to_owned())
                    .spawn(move || pass(&command, &agent));
                drop(passing);
            }
            Err(error) => {
                let agent = agent.display();
                let text = format!("the SSH agent at `{agent}` does not answer: {error}");
                events.event(Event::warning(WarningKind::SshAgent, text));
            }
        }
    }
}

/// Both ways, until either side hangs up.
fn pass(command: &UnixStream, agent: &UnixStream) {
    thread::scope(|scope| {
        scope.spawn(|| copy(command, agent));
        copy(agent, command);
    });
}

fn copy(mut from: &UnixStream, mut to: &UnixStream) {
    // An end of one direction ends the other: requests and answers alternate.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn requests_and_answers_pass_until_it_is_dropped() {
        let temp = tempfile::tempdir().unwrap();
        let (real, shown) = (temp.path().join("agent"), temp.path().join("shown"));
        let agent = UnixListener::bind(&real).unwrap();
        let echo = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = agent.accept().unwrap();
                let mut word = [0; 4];
                stream.read_exact(&mut word).unwrap();
                stream.write_all(&word).unwrap();
            }
        });
        let proxy =
            AgentProxy::start(&shown, real, 0o640, (0, 0), Arc::new(kiln_events::Silent)).unwrap();
        let mode = fs::metadata(&shown).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        for word in [b"ping", b"pong"] {
            let mut stream = UnixStream::connect(&shown).unwrap();
            stream.write_all(word).unwrap();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, word);
        }
        echo.join().unwrap();
        let moved = temp.path().join("moved");
        fs::rename(&shown, &moved).unwrap();
        drop(proxy);
        assert!(
            UnixStream::connect(moved).is_err(),
            "nobody listens any more"
        );
    }
}
