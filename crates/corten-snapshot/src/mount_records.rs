//! What outlives the process that mounted it: one record a mount, so that gc spares its files.
//!
//! ```text
//! locks/mounts/4711-…-0
//!   boot 6f0c…        the boot in which it was mounted
//!   mounts 4026531840 the mount namespace in which it was mounted
//!   device 0:45       what mountinfo says of it: the device
//!   root /            and which directory of that
//!   at /mnt/app       where
//!   type erofs        the file system
//!   source /var/…     and what it was mounted from
//!   kind erofs
//!   temporary 4711-…  what is removed with it, in layers/tmp
//!   key layers/tar/…  what it needs, one a line
//! ```
//!
//! A record is written before the mount is attached, and its writer holds a lease on it until it is
//! gone. After that the record counts for as long as mountinfo has such a mount. It does not in another
//! boot; and where the namespace cannot be looked into it does until then.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use corten_content::Store;
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::mountinfo::{self, MountLine};
use crate::snapshots::boot;
use crate::{Error, Result, RootKind, sys};

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountRecord {
    /// The record's own name.
    pub(crate) name: String,
    pub(crate) boot: String,
    pub(crate) mounts: u64,
    pub(crate) line: MountLine,
    pub(crate) kind: RootKind,
    pub(crate) temporary: Option<String>,
    pub(crate) keys: Vec<String>,
}

impl MountRecord {
    /// Writes the record; the caller holds a lease on [`key_of`] it.
    pub(crate) fn write(&self, store: &Store) -> Result<()> {
        let directory = directory(store);
        fs::create_dir_all(&directory).map_err(Error::system("create", &directory))?;
        let path = directory.join(&self.name);
        #[expect(
            clippy::disallowed_methods,
            reason = "its lease holds until it is whole, and one cut short is of a boot that is over"
        )]
        fs::write(&path, self.encode()).map_err(Error::system("write", &path))
    }

    pub(crate) fn remove(&self, store: &Store) -> Result<()> {
        crate::snapshots::remove(&directory(store).join(&self.name))
    }

    fn encode(&self) -> String {
        let MountLine {
            device, fs_type, ..
        } = &self.line;
        let [root, at, source] =
            [&self.line.root, &self.line.at, &self.line.source].map(|path| mountinfo::escape(path));
        let temporary = self
            .temporary
            .iter()
            .map(|name| ("temporary", name.as_str()));
        let keys = self.keys.iter().map(|key| ("key", key.as_str()));
        let mounts = self.mounts.to_string();
        let lines = [
            ("boot", self.boot.as_str()),
            ("mounts", &mounts),
            ("device", device),
            ("root", &root),
            ("at", &at),
            ("type", fs_type),
            ("source", &source),
            ("kind", self.kind.name()),
        ];
        let lines = lines.into_iter().chain(temporary).chain(keys);
        lines
            .flat_map(|(name, value)| [name, " ", value, "\n"])
            .collect()
    }

    fn decode(name: &str, text: &str) -> Option<Self> {
        let all = |name: &'static str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines
                .filter(move |(found, _)| *found == name)
                .map(|(_, value)| value.to_owned())
        };
        let path = |name| Some(mountinfo::unescape(all(name).next()?.as_bytes()));
        let kind = all("kind").next()?;
        Some(Self {
            name: name.to_owned(),
            boot: all("boot").next()?,
            mounts: all("mounts").next()?.parse().ok()?,
            line: MountLine {
                device: all("device").next()?,
                root: path("root")?,
                at: path("at")?,
                fs_type: all("type").next()?,
                source: path("source")?,
            },
            kind: RootKind::ALL
                .into_iter()
                .find(|known| known.name() == kind)?,
            temporary: all("temporary").next(),
            keys: all("key").collect(),
        })
    }

    /// Tells whether `line` shows this mount, which may have been moved.
    pub(crate) fn is_of(&self, line: &MountLine) -> bool {
        self.boot == boot_id() && self.line.shows_same(line)
    }

    fn is_live(&self, is_protected: &dyn Fn(&str) -> bool) -> bool {
        is_protected(&key_of(&self.name)) || self.is_mounted()
    }

    fn is_mounted(&self) -> bool {
        if self.boot != boot_id() {
            return false;
        }
        match mounts_of(self.mounts) {
            Some(lines) => lines.iter().any(|line| self.is_of(line)),
            None => true,
        }
    }
}

/// Removes the records of mounts that must be gone, since `new` has the number of their device.
pub(crate) fn remove_replaced(store: &Store, new: &MountRecord) -> Result<()> {
    let (records, _) = read(store)?;
    let is_replaced =
        |record: &MountRecord| record.name != new.name && new.line.is_in_place_of(&record.line);
    for record in records.into_iter().filter(is_replaced) {
        record.remove(store)?;
    }
    Ok(())
}

/// Returns what the lease on the record `name` is called.
pub(crate) fn key_of(name: &str) -> String {
    format!("mounts/{name}")
}

pub(crate) fn boot_id() -> String {
    String::from_utf8_lossy(&boot()).trim().to_owned()
}

/// Returns all records that can be read, and the paths of those that cannot.
pub(crate) fn read(store: &Store) -> Result<(Vec<MountRecord>, Vec<PathBuf>)> {
    let directory = directory(store);
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((records, unreadable)),
        entries => entries.map_err(Error::system("list", &directory))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::system("list", &directory))?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let text = fs::read_to_string(&path);
        let record = name
            .zip(text.ok())
            .and_then(|(name, text)| MountRecord::decode(&name, &text));
        match record {
            Some(record) => records.push(record),
            None => unreadable.push(path),
        }
    }
    Ok((records, unreadable))
}

/// Returns the keys of what is mounted.
pub(crate) fn live_keys(
    store: &Store,
    is_protected: &dyn Fn(&str) -> bool,
) -> Result<HashSet<String>> {
    let mut keys = HashSet::new();
    for record in read(store)?.0 {
        if record.is_live(is_protected) {
            keys.extend(record.temporary.map(|name| format!("layers/tmp/{name}")));
            keys.extend(record.keys);
        }
    }
    Ok(keys)
}

/// Removes the records of what is not mounted any more. Nobody else may be using the store.
pub(crate) fn remove_dead(store: &Store, is_protected: &dyn Fn(&str) -> bool) -> Result<()> {
    let (records, unreadable) = read(store)?;
    for path in unreadable {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !is_protected(&key_of(&name)) {
            crate::snapshots::remove(&path)?;
        }
    }
    for record in records {
        if !record.is_live(is_protected) {
            record.remove(store)?;
        }
    }
    Ok(())
}

fn directory(store: &Store) -> PathBuf {
    store.locks_dir().join("mounts")
}

/// Returns the number of the mount namespace of the process `id`, or of this one for `self`.
pub(crate) fn namespace_of(id: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{id}/ns/mnt"))
        .ok()
        .map(|metadata| metadata.ino())
}

/// Returns all that is mounted in a namespace; `None` if nobody here can tell.
fn mounts_of(namespace: u64) -> Option<Vec<MountLine>> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let processes = processes
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    ["self".to_owned()]
        .into_iter()
        .chain(processes)
        .filter(|id| namespace_of(id) == Some(namespace))
        .find_map(|id| {
            let handle = File::open(format!("/proc/{id}/ns/mnt")).ok()?;
            // Another process may have the number by now.
            let is_same = handle.metadata().ok()?.ino() == namespace;
            is_same.then(|| mounts_in(&handle))?
        })
}

/// Returns all that is mounted in a namespace. A process of it sees no more than what is beneath its
/// root, which it may have changed; who enters a namespace gets the root of that.
fn mounts_in(namespace: &File) -> Option<Vec<MountLine>> {
    let look = || {
        // The namespace may have another `/proc`, or none.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let this = rustix::fs::open("/proc/thread-self", flags, Mode::empty()).ok()?;
        sys::own_directory().ok()?;
        let kind = Some(LinkNameSpaceType::Mount);
        move_into_link_name_space(namespace.as_fd(), kind).ok()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(this, "mountinfo", flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(file).read_to_end(&mut text).ok()?;
        Some(mountinfo::parse(&text))
    };
    // The thread stays there, and ends.
    std::thread::scope(|scope| scope.spawn(look).join().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let record = MountRecord {
            name: "n".into(),
            boot: "b".into(),
            mounts: 7,
            line: MountLine {
                device: "0:45".into(),
                root: "/".into(),
                at: "/a b\n".into(),
                fs_type: "overlay".into(),
                source: "/c d".into(),
            },
            kind: RootKind::Plain,
            temporary: Some("t".into()),
            keys: vec!["layers/tar/x".into(), "layers/tar/y".into()],
        };
        assert_eq!(MountRecord::decode("n", &record.encode()), Some(record));
        assert_eq!(MountRecord::decode("n", "boot b\n"), None);
    }

    #[test]
    fn a_mount_of_another_boot_or_that_is_gone_does_not_count() {
        let own = namespace_of("self").unwrap();
        let mounted = mounts_of(own).unwrap().remove(0);
        let record = |boot: &str, mounts, line: &MountLine| MountRecord {
            name: "n".into(),
            boot: boot.into(),
            mounts,
            line: line.clone(),
            kind: RootKind::Erofs,
            temporary: None,
            keys: Vec::new(),
        };
        assert!(record(&boot_id(), own, &mounted).is_mounted());
        assert!(!record("another", own, &mounted).is_mounted());
        let gone = MountLine {
            device: "999:999".into(),
            ..mounted.clone()
        };
        assert!(!record(&boot_id(), own, &gone).is_mounted());
        assert!(record(&boot_id(), 1, &gone).is_mounted(), "nobody can tell");
        let of_others = MountLine {
            source: "/elsewhere".into(),
            ..mounted
        };
        assert!(!record(&boot_id(), own, &of_others).is_mounted());
    }

    #[test]
    fn a_process_with_another_root_hides_no_mounts() {
        use std::process::{Command, Stdio};
        let directory = tempfile::tempdir().unwrap();
        let path = |name| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (hidden, root) = (path("hidden"), path("root"));
        let script = r#"mount -t tmpfs hidden "$0" && mount --bind / "$1" &&
            exec chroot "$1" sh -c 'echo; exec cat'"#;
        let mut child = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .args([&hidden, &root])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        let namespace = namespace_of(&child.id().to_string()).unwrap();
        let mounts = mounts_of(namespace).unwrap();
        assert!(mounts.iter().any(|line| line.at == hidden), "{mounts:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
