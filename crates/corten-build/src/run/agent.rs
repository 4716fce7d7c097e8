//! Sockets of SSH agents for a command: it may list keys and sign with them, and nothing else.
//!
//! The caller's own socket is not mounted: an agent talks only to the user it belongs to, and would let
//! the command add and remove keys. What goes through is what BuildKit lets through.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{fs, thread};

use corten_dockerfile::Ownership;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::run::owners;
use crate::ssh::{FAILURE, REQUEST_IDENTITIES, SIGN_REQUEST, SshAgent, SshKey, answer};
use crate::{Error, Result};

/// A socket that leads to an agent, until this is dropped.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Where it is.
    pub(crate) socket: PathBuf,
    /// Closed at the end.
    end: Option<OwnedFd>,
    streams: Arc<Mutex<Streams>>,
    thread: Option<JoinHandle<()>>,
}

/// All sides of what is connected, to be closed from outside.
#[derive(Debug, Default)]
struct Streams {
    open: HashMap<u64, Vec<UnixStream>>,
    is_ended: bool,
}

/// As OpenSSH has it.
const MAX_MESSAGE: u32 = 256 << 10;
/// How many connections of a command are served at once: each takes a thread and three descriptors.
const MAX_STREAMS: usize = 64;

impl Agent {
    /// Makes a socket called `name` in `directory`, a directory of nobody else, that leads to `agent`.
    pub(crate) fn forward(
        agent: &SshAgent,
        directory: &Path,
        name: &str,
        owner: Ownership,
    ) -> Result<Self> {
        let socket = directory.join(name);
        let failed = |error| Error::system("make the socket", &socket)(error);
        let listener = bind(directory, name).map_err(failed)?;
        owners::give(&socket, owner.uid, owner.gid).map_err(failed)?;
        let mode = fs::Permissions::from_mode(owner.mode & 0o777);
        fs::set_permissions(&socket, mode).map_err(failed)?;
        let (ending, end) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
        let streams: Arc<Mutex<Streams>> = Arc::default();
        let serving = Serving {
            listener,
            agent: agent.clone(),
            end: ending,
            streams: Arc::clone(&streams),
        };
        let thread = Some(thread::spawn(move || serving.serve()));
        Ok(Self {
            socket,
            end: Some(end),
            streams,
            thread,
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.end.take());
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.is_ended = true;
        for stream in streams.open.values().flatten() {
            // It may be closed already.
            stream.shutdown(Shutdown::Both).ok();
        }
        drop(streams);
        if let Some(thread) = self.thread.take() {
            // One that panicked serves nobody any more, either.
            thread.join().ok();
        }
    }
}

/// Binds by the handle of the directory: the path of a store may be longer than an address can be.
fn bind(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let handle = fs::File::open(directory)?;
    UnixListener::bind(format!("/proc/self/fd/{}/{name}", handle.as_raw_fd()))
}

struct Serving {
    listener: UnixListener,
    agent: SshAgent,
    end: OwnedFd,
    streams: Arc<Mutex<Streams>>,
}

impl Serving {
    fn serve(&self) {
        thread::scope(|scope| {
            let mut number = 0;
            while self.is_wanted() {
                let Ok((client, _)) = self.listener.accept() else {
                    return;
                };
                // What fails here ends a connection, which the command sees.
                number += 1;
                if let Ok((client, agent)) = self.connect(client, number) {
                    scope.spawn(move || {
                        match agent {
                            Connected::Stream(agent) => pass(&client, &agent).ok(),
                            Connected::Keys(keys) => answer_all(&client, &keys).ok(),
                        };
                        client.shutdown(Shutdown::Both).ok();
                        self.streams().open.remove(&number);
                    });
                }
            }
        });
    }

    /// Waits for somebody to connect; false at the end.
    fn is_wanted(&self) -> bool {
        let mut polled = [
            PollFd::from_borrowed_fd(self.end.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        let waited = rustix::io::retry_on_intr(|| poll(&mut polled, None));
        waited.is_ok() && polled[0].revents().is_empty()
    }

    fn connect(&self, client: UnixStream, number: u64) -> io::Result<(UnixStream, Connected)> {
        let is_refused = |streams: &Streams| streams.is_ended || streams.open.len() >= MAX_STREAMS;
        if is_refused(&self.streams()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let agent = match &self.agent {
            // This waits for as long as the agent's queue is full, and others need what is locked.
            SshAgent::Socket(path) => Connected::Stream(UnixStream::connect(path)?),
            SshAgent::Keys(keys) => Connected::Keys(Arc::clone(keys)),
        };
        let mut sides = vec![client.try_clone()?];
        if let Connected::Stream(agent) = &agent {
            sides.push(agent.try_clone()?);
        }
        let mut streams = self.streams();
        if is_refused(&streams) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        streams.open.insert(number, sides);
        Ok((client, agent))
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a command is connected with.
enum Connected {
    Stream(UnixStream),
    Keys(Arc<[SshKey]>),
}

/// Answers requests by `keys`, until the command closes.
fn answer_all(mut client: &UnixStream, keys: &[SshKey]) -> io::Result<()> {
    while let Some(request) = message(&mut client)? {
        send(&mut client, &answer(keys, &request))?;
    }
    Ok(())
}

/// Passes on requests and answers, until one side closes.
fn pass(mut client: &UnixStream, mut agent: &UnixStream) -> io::Result<()> {
    while let Some(request) = message(&mut client)? {
        let is_harmless = matches!(request.first(), Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)));
        if !is_harmless {
            send(&mut client, &[FAILURE])?;
            continue;
        }
        send(&mut agent, &request)?;
        let answer = message(&mut agent)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        send(&mut client, &answer)?;
    }
    Ok(())
}

/// Reads a message; `None` at the end.
fn message(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = Vec::new();
    stream.take(length.into()).read_to_end(&mut message)?;
    if message.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(message))
}

fn send(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that answers everything with the byte after the request's.
    fn agent(directory: &Path) -> PathBuf {
        let path = directory.join("real");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                while let Some(request) = message(&mut stream).unwrap() {
                    send(&mut stream, &[request[0] + 1, 42]).unwrap();
                }
            }
        });
        path
    }

    fn owner() -> Ownership {
        Ownership {
            mode: 0o640,
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
        }
    }

    #[test]
    fn keys_are_listed_and_used_and_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let forwarded = Agent::forward(
            &SshAgent::Socket(agent(dir.path())),
            dir.path(),
            "s",
            owner(),
        )
        .unwrap();
        let mode = fs::metadata(&forwarded.socket)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o640);
        let mut stream = UnixStream::connect(&forwarded.socket).unwrap();
        let mut ask = |request: &[u8]| {
            send(&mut stream, request).unwrap();
            message(&mut stream).unwrap().unwrap()
        };
        assert_eq!(ask(&[REQUEST_IDENTITIES]), [12, 42]);
        assert_eq!(ask(&[SIGN_REQUEST, 1, 2]), [14, 42]);
        // To add a key, to remove all, to lock, an extension, and nothing.
        for request in [&[17][..], &[19], &[22, 0], &[27], &[]] {
            assert_eq!(ask(request), [FAILURE], "{request:?}");
        }
        // Too long a message ends the connection, and one that nobody finishes does not hold us.
        stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
        let mut stream = UnixStream::connect(&forwarded.socket).unwrap();
        stream.write_all(&[0, 0, 0, 9, 11]).unwrap();
        drop(forwarded);
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }

    /// Runs a program of OpenSSH that finds the socket, and returns what it prints.
    fn openssh(socket: &Path, program: &str, args: &[&str]) -> String {
        let mut command = std::process::Command::new(program);
        let output = command.args(args).env("SSH_AUTH_SOCK", socket).output();
        let output = output.expect("OpenSSH is installed");
        let (printed, said) = (output.stdout, output.stderr);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{program} {args:?}: {said}");
        String::from_utf8_lossy(&printed).into_owned() + &said
    }

    #[test]
    fn openssh_signs_with_keys_that_were_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let kinds = ["ed25519", "rsa", "ecdsa"];
        let path = |kind: &str| dir.path().join(kind).display().to_string();
        let keys: Vec<SshKey> = kinds
            .iter()
            .map(|kind| {
                let file = path(kind);
                let args = ["-q", "-t", kind, "-N", "", "-C", kind, "-f", &file];
                openssh(Path::new(""), "ssh-keygen", &args);
                let key = SshKey::read(&fs::read(&file).unwrap()).unwrap();
                fs::remove_file(&file).unwrap();
                key
            })
            .collect();
        let agent = SshAgent::Keys(keys.into());
        let forwarded = Agent::forward(&agent, dir.path(), "s", owner()).unwrap();
        let listed = openssh(&forwarded.socket, "ssh-add", &["-L"]);
        let expected = kinds.map(|kind| fs::read_to_string(path(kind) + ".pub").unwrap());
        assert_eq!(listed, expected.concat());
        let data = path("data");
        corten_content::atomic::write(Path::new(&data), b"data").unwrap();
        for kind in kinds {
            let public = path(kind) + ".pub";
            let sign = ["-Y", "sign", "-n", "file", "-f", &public, &data];
            openssh(&forwarded.socket, "ssh-keygen", &sign);
            let mut check = std::process::Command::new("ssh-keygen");
            check.args([
                "-Y",
                "check-novalidate",
                "-n",
                "file",
                "-s",
                &(data.clone() + ".sig"),
            ]);
            let check = check
                .stdin(fs::File::open(&data).unwrap())
                .output()
                .unwrap();
            assert!(check.status.success(), "{kind}: {check:?}");
            fs::remove_file(data.clone() + ".sig").unwrap();
        }
        // Nothing is added or removed.
        let mut remove = std::process::Command::new("ssh-add");
        let removed = remove
            .arg("-D")
            .env("SSH_AUTH_SOCK", &forwarded.socket)
            .output();
        assert!(!removed.unwrap().status.success());
        assert_eq!(openssh(&forwarded.socket, "ssh-add", &["-L"]), listed);
        let mut stream = UnixStream::connect(&forwarded.socket).unwrap();
        stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    }
}
