//! A control group of version 2 for one sandbox: its limits, and a way to end all of it at once.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a process and all that it starts may use of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory; swap is not given besides.
    pub memory: Option<u64>,
    /// Thousandths of a processor.
    pub milli_cpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// The time in microseconds over which processor time is measured out: the kernel's own choice.
const PERIOD: u64 = 100_000;

impl Limits {
    /// Returns each file of a control group that has to be written, with the controller it belongs to.
    fn settings(self) -> Vec<(&'static str, &'static str, String)> {
        let mut settings = Vec::new();
        if let Some(bytes) = self.memory {
            settings.push(("memory", "memory.max", bytes.to_string()));
            settings.push(("memory", "memory.swap.max", "0".to_owned()));
        }
        if let Some(milli_cpus) = self.milli_cpus {
            let quota = milli_cpus.saturating_mul(PERIOD / 1000).max(1000);
            settings.push(("cpu", "cpu.max", format!("{quota} {PERIOD}")));
        }
        if let Some(pids) = self.pids {
            settings.push(("pids", "pids.max", pids.to_string()));
        }
        settings
    }

    /// Returns whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Says whether limits can be set here.
///
/// # Errors
/// [`Error::Limits`] with the reason.
pub fn check_limits(limits: Limits) -> Result<(), Error> {
    if limits.is_empty() {
        return Ok(());
    }
    Group::make(limits).map(drop)
}

/// A control group, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    pub(crate) directory: OwnedFd,
}

impl Group {
    /// Makes a control group with `limits` where this process may make one.
    pub(crate) fn make(limits: Limits) -> Result<Self, Error> {
        let settings = limits.settings();
        let controllers: Vec<&str> = settings
            .iter()
            .map(|(controller, ..)| *controller)
            .collect();
        let parent = parent(&controllers).map_err(|reason| Error::Limits { reason })?;
        let group = Self::under(&parent)?;
        for (_, file, value) in settings {
            let path = group.path.join(file);
            match put(&path, &value) {
                // A kernel without swap has no such file, and nothing to limit.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && file == "memory.swap.max" => {}
                written => written.map_err(|error| failed("write", &path, &error))?,
            }
        }
        Ok(group)
    }

    fn under(parent: &Path) -> Result<Self, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(parent.join(format!("corten-{}-{number}", std::process::id())))
    }

    fn at(path: PathBuf) -> Result<Self, Error> {
        let created = match fs::create_dir(&path) {
            // Left behind by one that was killed and had this process' number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir(&path).and_then(|()| fs::create_dir(&path))
            }
            created => created,
        };
        created.map_err(|error| failed("create", &path, &error))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&path, flags, Mode::empty());
        let directory = directory.map_err(|errno| failed("open", &path, &errno.into()))?;
        Ok(Self { path, directory })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Linux 5.14 has this file. What else is to be ended is whoever made the group's to end.
        put(&self.path.join("cgroup.kill"), "1").ok();
        // It can be removed once the last process has been reaped, which the kernel does not wait for.
        for _ in 0..200 {
            match fs::remove_dir(&self.path) {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                _ => return,
            }
        }
    }
}

/// A file of a control group takes a value in one write, and is never made.
#[expect(
    clippy::disallowed_methods,
    reason = "a control file of the kernel's, which keeps no half of what is written"
)]
fn put(path: &Path, value: &str) -> io::Result<()> {
    if path.exists() {
        fs::write(path, value)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Error {
    let reason = format!("cannot {action} `{}`: {error}", path.display());
    Error::Limits { reason }
}

/// Says, in words, whether this process may make control groups with the controllers of all limits.
pub(crate) fn try_delegation() -> Result<(), String> {
    let parent = parent(&["memory", "cpu", "pids"])?;
    Group::under(&parent)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Returns the directory in which a control group with `controllers` can be made.
fn parent(controllers: &[&str]) -> Result<PathBuf, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mount = mount_of(&read("/proc/self/mountinfo"));
    let mount = mount.ok_or("no cgroup v2 hierarchy is mounted")?;
    let own = own_group(&read("/proc/self/cgroup"));
    let own = own.ok_or("this process is in no cgroup of version 2")?;
    parent_in(&mount, &own, controllers)
}

/// Beside our own group or, where that is the topmost one in sight, in it: a group with processes in it
/// gives no controllers to those below, unless it is the machine's first.
fn parent_in(mount: &Path, own: &str, controllers: &[&str]) -> Result<PathBuf, String> {
    let own = mount.join(own.trim_start_matches('/'));
    let parent = own.parent().filter(|_| own != mount);
    let parent = parent.filter(|parent| parent.starts_with(mount));
    let parent = parent.unwrap_or(&own).to_owned();
    let given = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    let is_given = |controller: &&str| given.split_whitespace().any(|one| one == *controller);
    let missing: Vec<&str> = controllers
        .iter()
        .filter(|one| !is_given(one))
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(parent);
    }
    Err(format!(
        "`{}` does not delegate the controllers {}",
        parent.display(),
        missing.join(", ")
    ))
}

/// Returns where the hierarchy of version 2 is mounted.
fn mount_of(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let place = before.split(' ').nth(4)?;
        (after.split(' ').next() == Some("cgroup2")).then(|| PathBuf::from(place))
    })
}

/// Returns this process' group in that hierarchy, whose number is 0 (cgroups(7)).
fn own_group(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A process that was moved out of its namespace's sight has no place to make groups in.
    (!path.starts_with("/..")).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_files() {
        let limits = Limits {
            memory: Some(1 << 20),
            milli_cpus: Some(1500),
            pids: Some(7),
        };
        let files: Vec<String> = limits
            .settings()
            .into_iter()
            .map(|(_, file, value)| format!("{file}={value}"))
            .collect();
        let expected = [
            "memory.max=1048576",
            "memory.swap.max=0",
            "cpu.max=150000 100000",
            "pids.max=7",
        ];
        assert_eq!(files, expected);
        assert!(Limits::default().settings().is_empty());
    }

    #[test]
    fn where_the_hierarchy_is() {
        let text = "24 1 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                    25 1 0:23 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mount_of(text),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(mount_of("24 1 0:22 / / rw - ext4 /dev/a rw\n"), None);
        assert_eq!(
            own_group("1:name=systemd:/\n0::/a/b\n").as_deref(),
            Some("/a/b")
        );
        assert_eq!(own_group("0::/../c\n"), None);
        assert_eq!(own_group("1:memory:/x\n"), None);
    }

    #[test]
    fn a_group_that_was_left_behind_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("corten-1-0");
        fs::create_dir(&path).unwrap();
        assert_eq!(Group::at(path.clone()).unwrap().path, path);
        // One in use is not removed.
        fs::create_dir_all(path.join("used")).unwrap();
        assert!(Group::at(path.clone()).is_err());
        assert!(path.join("used").exists());
    }

    #[test]
    fn a_group_is_made_where_controllers_are_given() {
        let dir = tempfile::tempdir().unwrap();
        let slice = dir.path().join("slice/scope");
        fs::create_dir_all(&slice).unwrap();
        put_new(
            &dir.path().join("slice/cgroup.subtree_control"),
            "memory pids\n",
        );
        let found = |own, controllers: &[&str]| parent_in(dir.path(), own, controllers);
        assert_eq!(
            found("/slice/scope", &["memory"]),
            Ok(dir.path().join("slice"))
        );
        let refused = found("/slice/scope", &["cpu", "pids"]).unwrap_err();
        assert!(refused.ends_with("the controllers cpu"), "{refused}");
        assert_eq!(found("/", &[]), Ok(dir.path().to_path_buf()));
    }

    #[expect(clippy::disallowed_methods, reason = "a file of this test's own")]
    fn put_new(path: &Path, value: &str) {
        fs::write(path, value).unwrap();
    }
}
