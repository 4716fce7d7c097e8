//! What a process is told about the host's network and name: copies, so that it can neither change the
//! host's files nor leave anything of them in its root.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use corten_sandbox::{Mount, MountKind, Network};

use crate::{Error, Result};

/// Returns the host's name.
pub(crate) fn name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Writes `/etc/hosts`, `/etc/hostname` and, for the host's network, `/etc/resolv.conf` for a process
/// into `directory`, and returns their mounts.
pub(crate) fn files(directory: &Path, hostname: &str, network: Network) -> Result<Vec<Mount>> {
    let hosts = match network {
        Network::Host => read("/etc/hosts")?,
        Network::None => Some(LOCAL.into()),
    };
    let hosts = hosts.map(|hosts| with_name(hosts, hostname));
    let resolvers = match network {
        Network::Host => read("/etc/resolv.conf")?,
        Network::None => None,
    };
    let named = [
        ("hosts", hosts),
        ("hostname", Some(format!("{hostname}\n").into())),
        ("resolv.conf", resolvers),
    ];
    let mut mounts = Vec::new();
    for (name, content) in named {
        let Some(content) = content else { continue };
        let source = directory.join(name);
        write(&source, &content)?;
        mounts.push(Mount {
            destination: Path::new("/etc").join(name),
            kind: MountKind::Bind { source },
            readonly: true,
        });
    }
    Ok(mounts)
}

const LOCAL: &[u8] = b"127.0.0.1\tlocalhost\n::1\tlocalhost\n";

/// Adds a line for the name if none has it: programs look up their own.
fn with_name(mut hosts: Vec<u8>, hostname: &str) -> Vec<u8> {
    let is_known = hosts.split(|&byte| byte == b'\n').any(|line| {
        let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        words.next().is_some() && words.any(|word| word == hostname.as_bytes())
    });
    if !is_known {
        if !hosts.is_empty() && !hosts.ends_with(b"\n") {
            hosts.push(b'\n');
        }
        hosts.extend_from_slice(format!("127.0.0.1\t{hostname}\n").as_bytes());
    }
    hosts
}

fn read(path: &str) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        content => content.map(Some).map_err(Error::system("read", path)),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(Error::system("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_name_can_be_looked_up() {
        #[track_caller]
        fn check(hosts: &str, expected: &str) {
            let found = with_name(hosts.into(), "box");
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{hosts:?}");
        }
        check("", "127.0.0.1\tbox\n");
        check(
            "127.0.0.1 localhost",
            "127.0.0.1 localhost\n127.0.0.1\tbox\n",
        );
        check("::1 a box\n", "::1 a box\n");
        check("::1 a #box\n", "::1 a #box\n127.0.0.1\tbox\n");
        check("box other\n", "box other\n127.0.0.1\tbox\n");
    }
}
