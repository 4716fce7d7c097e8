//! The directories of one RUN, and the files that every command sees.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_dockerfile::Script;
use corten_sandbox::{Held, Mount, MountKind};
use corten_snapshot::snapshots::remove;

use crate::{Error, Result};

/// The directories of one RUN. They are removed with it.
#[derive(Debug)]
pub(crate) struct Workspace {
    path: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
    /// What lies below when the image has no layer.
    pub(crate) empty: PathBuf,
    is_removed: bool,
    /// Released after the directories are gone.
    _held: Held,
}

impl Workspace {
    pub(crate) fn new(path: PathBuf, held: Held) -> Result<Self> {
        let inside = |name| path.join(name);
        let (upper, work, empty) = (inside("upper"), inside("work"), inside("empty"));
        for directory in [&upper, &work, &empty] {
            make(directory)?;
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, private).map_err(Error::system("set the mode of", &path))?;
        Ok(Self {
            path,
            upper,
            work,
            empty,
            is_removed: false,
            _held: held,
        })
    }

    /// Makes an empty directory besides.
    pub(crate) fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        make(&path)?;
        Ok(path)
    }

    /// Files that every command sees, as copies: a change to them goes nowhere.
    pub(crate) fn files(
        &self,
        resolvers: &str,
        hosts: &str,
        script: Option<&Script>,
    ) -> Result<Vec<Mount>> {
        let resolvers = resolvers.as_bytes();
        let mut mounts = vec![
            self.file("resolv.conf", resolvers, 0o644, "/etc/resolv.conf")?,
            self.file("hosts", hosts.as_bytes(), 0o644, "/etc/hosts")?,
        ];
        if let Some(script) = script {
            mounts.push(self.file("script", script.content.as_bytes(), 0o755, &script.path)?);
        }
        Ok(mounts)
    }

    fn file(&self, name: &str, content: &[u8], mode: u32, destination: &str) -> Result<Mount> {
        let path = self.path.join(name);
        #[expect(
            clippy::disallowed_methods,
            reason = "a private file that nobody reads before it is mounted"
        )]
        fs::write(&path, content).map_err(Error::system("write", &path))?;
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(&path, mode).map_err(Error::system("set the mode of", &path))?;
        Ok(Mount {
            destination: PathBuf::from(destination),
            kind: MountKind::Bind { source: path },
            readonly: false,
        })
    }

    pub(crate) fn remove(mut self) -> Result<()> {
        self.is_removed = true;
        Ok(remove(&self.path)?)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.is_removed {
            // Something else failed before; what stays is for gc.
            remove(&self.path).ok();
        }
    }
}

fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(Error::system("create", directory))
}

/// Returns `/etc/hosts` as BuildKit writes it: nothing of the host's.
pub(crate) fn hosts_file(hosts: &[(String, IpAddr)], host_name: &str) -> String {
    let mut text =
        format!("127.0.0.1\tlocalhost {host_name}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in hosts {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}
