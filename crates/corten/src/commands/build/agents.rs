//! `--ssh`: sockets of agents, and files of keys.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use corten_build::{SshAgent, SshKey};
use zeroize::Zeroizing;

use crate::env;
use crate::error::CommandError;

/// No key is longer, and BuildKit reads no more.
const LONGEST_KEY: usize = 100 << 10;

/// Returns the id and the agent that `--ssh` names: `ID`, `ID=SOCKET` or `ID=KEY[,KEY…]`.
pub(super) fn agent(text: &str) -> Result<(String, SshAgent), CommandError> {
    let (id, paths) = match text.split_once('=') {
        Some((id, paths)) if !paths.is_empty() => (id, paths.split(',').map(PathBuf::from)),
        Some((id, _)) => return Ok((named(id), SshAgent::Socket(socket_of_user(id)?))),
        None => return Ok((named(text), SshAgent::Socket(socket_of_user(text)?))),
    };
    let mut sockets = Vec::new();
    let mut keys = Vec::new();
    for path in paths {
        let shown = path.display();
        let metadata = fs::metadata(&path).map_err(|error| {
            let option = path.to_string_lossy();
            let hint = option.starts_with("raw=").then_some(
                "`raw` is not done: a command may list the keys of an agent and sign with them alone",
            );
            let error = CommandError::doing(format!("cannot use `{shown}` for SSH"), error);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        if metadata.file_type().is_socket() {
            sockets.push(path);
        } else if metadata.is_file() {
            let key = read(&path).map_err(|error| {
                error.while_doing(format!("cannot use `{shown}` for `--ssh {id}`"))
            })?;
            keys.push(key);
        } else {
            let text = format!("`{shown}` is neither a socket of an SSH agent nor a file of a key");
            return Err(CommandError::failed(text));
        }
    }
    match (sockets.pop(), keys.is_empty()) {
        (Some(socket), true) if sockets.is_empty() => Ok((named(id), SshAgent::Socket(socket))),
        (None, _) => Ok((named(id), SshAgent::Keys(keys.into()))),
        (Some(_), _) => Err(CommandError::usage(format!(
            "`--ssh {id}` is one socket, or files of keys, and not both"
        ))),
    }
}

fn named(id: &str) -> String {
    if id.is_empty() { "default" } else { id }.to_owned()
}

fn socket_of_user(id: &str) -> Result<PathBuf, CommandError> {
    let socket = env::lookup("SSH_AUTH_SOCK").ok_or_else(|| {
        CommandError::failed(format!("there is no SSH agent for `--ssh {id}`")).hint(
            "start one with `eval $(ssh-agent)` and add keys with `ssh-add`, or name files of keys",
        )
    })?;
    let path = PathBuf::from(socket);
    let shown = path.display();
    let metadata = fs::metadata(&path).map_err(|error| {
        CommandError::doing(format!("cannot use `{shown}` as an SSH agent"), error)
    })?;
    if !metadata.file_type().is_socket() {
        return Err(CommandError::failed(format!(
            "`{shown}` is no socket of an SSH agent"
        )));
    }
    Ok(path)
}

fn read(path: &PathBuf) -> Result<SshKey, CommandError> {
    // It is wiped, and never grows, which would leave a copy.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_KEY + 1));
    let file = fs::File::open(path).map_err(CommandError::caused)?;
    let mut file = file.take(LONGEST_KEY as u64 + 1);
    file.read_to_end(&mut bytes).map_err(CommandError::caused)?;
    if bytes.len() > LONGEST_KEY {
        return Err(CommandError::failed("it is too long for a key"));
    }
    SshKey::read(&bytes).map_err(CommandError::caused)
}
