//! What a command changed in a directory, found by looking at everything before and after it.
//!
//! Nothing is read of a file whose inode, size and time of change are what they were: no process can set
//! the last, as it can the time of modification.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use corten_layer::beneath::Root;
use corten_layer::path;
use corten_layer::scan::{Descend, Found, FoundKind, Xattrs, inspect, inspect_root, scan};
use corten_layer::upper::Touched;
use rustix::fs::{Mode, OFlags, Timespec, Timestamps, UTIME_NOW, fstat, futimens, open};
use rustix::io::Errno;

use crate::{Error, Result};

/// What is the same as long as nothing about a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    ctime: (i64, u32),
    size: u64,
}

impl Stamp {
    fn of(found: &Found) -> Self {
        Self {
            inode: found.inode,
            ctime: found.ctime,
            size: found.size,
        }
    }
}

/// A directory as it was at one time.
#[derive(Debug)]
pub(crate) struct Walk {
    seen: HashMap<Vec<u8>, Stamp>,
    latest: (i64, u32),
}

/// Sets both times to the present one, and with them that of change.
const NOW: Timestamps = Timestamps {
    last_access: PRESENT,
    last_modification: PRESENT,
};
const PRESENT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
};

/// What is never looked at: the sandbox has it covered.
const COVERED: [&[u8]; 3] = [b"dev", b"proc", b"sys"];

impl Walk {
    /// Looks at everything in `root`.
    pub(crate) fn of(root: &Root) -> Result<Self> {
        let mut walk = Self {
            seen: HashMap::new(),
            latest: (0, 0),
        };
        walk.see(Vec::new(), &inspect_root(root, Xattrs::Leave)?);
        visit(root, &mut |path, found| walk.see(path.to_vec(), &found))?;
        Ok(walk)
    }

    /// Returns what was at each path, by device and inode.
    pub(crate) fn inodes(&self) -> impl Iterator<Item = (&[u8], (u64, u64))> {
        let seen = self.seen.iter();
        seen.map(|(path, stamp)| (path.as_slice(), stamp.inode))
    }

    fn see(&mut self, path: Vec<u8>, found: &Found) {
        self.latest = self.latest.max(found.ctime);
        self.seen.insert(path, Stamp::of(found));
    }

    /// Waits until a change would show: the time of change is counted in steps, and what was made in
    /// this one looks as if it had not been changed since.
    ///
    /// Kernels before 6.13 have steps of some milliseconds, and some file systems, as ext3 and those of
    /// small inodes, whole seconds. So `probe`, a directory of the same file system, is touched until
    /// its time is later.
    pub(crate) fn settle(&self, probe: &Path) -> Result<()> {
        /// No file system that Linux runs from counts in longer steps (FAT's of two seconds are those of
        /// its times of modification). A time further ahead is another clock's.
        const LONGEST_STEP: Duration = Duration::from_secs(2);
        let failed = |errno: Errno| Error::system("set the time of", probe)(errno.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let probe = open(probe, flags, Mode::empty()).map_err(failed)?;
        let started = Instant::now();
        while started.elapsed() < LONGEST_STEP {
            futimens(&probe, &NOW).map_err(failed)?;
            let stat = fstat(&probe).map_err(failed)?;
            let nanoseconds = u32::try_from(stat.st_ctime_nsec).unwrap_or_default();
            if (stat.st_ctime, nanoseconds) > self.latest {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Looks again, and returns what is not as it was.
    pub(crate) fn touched(mut self, root: &Root) -> Result<Touched> {
        let mut touched = Touched::default();
        let mut directories = HashSet::new();
        let mut changed = Vec::new();
        let mut compare = |path: &[u8], found: Found| {
            if found.kind == FoundKind::Directory {
                directories.insert(path.to_vec());
            }
            let before = self.seen.remove(path);
            if before != Some(Stamp::of(&found)) {
                if before.is_some_and(|before| before.inode == found.inode) {
                    touched.kept.insert(path.to_vec());
                }
                changed.push(path.to_vec());
            }
        };
        compare(b"", inspect_root(root, Xattrs::Leave)?);
        visit(root, &mut compare)?;
        let is_first = |path: &Vec<u8>| directories.contains(path::split(path).0);
        touched.removed = self.seen.into_keys().filter(is_first).collect();
        touched.found = attributes(root, changed)?;
        Ok(touched)
    }
}

/// Extended attributes cost a call or more for each file, so that only those of a few are read.
fn attributes(root: &Root, changed: Vec<Vec<u8>>) -> Result<Vec<(Vec<u8>, Found)>> {
    let mut all = Vec::with_capacity(changed.len());
    for path in changed {
        if path.is_empty() {
            all.push((path, inspect_root(root, Xattrs::Read)?));
            continue;
        }
        let (directory, name) = path::split(&path);
        let parent = root.directory(directory)?;
        let found = inspect(parent.as_fd(), name, Xattrs::Read)
            .map_err(|error| Error::system("examine", root.shown(&path))(error.into()))?;
        all.extend(found.map(|found| (path, found)));
    }
    Ok(all)
}

fn visit(root: &Root, visit: &mut dyn FnMut(&[u8], Found)) -> Result<()> {
    Ok(scan(root, b"", Xattrs::Leave, &mut |path, found| {
        if COVERED.contains(&path) {
            return Ok(Descend::Past);
        }
        visit(path, found);
        Ok(Descend::Into)
    })?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "files of this test's own")]
    fn write(path: &Path, content: &str) {
        fs::write(path, content).unwrap();
    }

    #[track_caller]
    fn check(change: impl FnOnce(&Path), found: &[&str], removed: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        for name in ["a/b", "proc/1"] {
            fs::create_dir_all(here.join(name)).unwrap();
        }
        for name in ["a/file", "a/b/inner", "other"] {
            write(&here.join(name), "1");
        }
        let root = Root::open(here).unwrap();
        let walk = Walk::of(&root).unwrap();
        walk.settle(&here.join("proc")).unwrap();
        change(here);
        let touched = walk.touched(&root).unwrap();
        let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
        let mut paths: Vec<String> = touched.found.iter().map(|(path, _)| text(path)).collect();
        paths.sort();
        let mut gone: Vec<String> = touched.removed.iter().map(|path| text(path)).collect();
        gone.sort();
        assert_eq!((paths, gone), (owned(found), owned(removed)));
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// As of a file system that counts seconds, whose time of change is the last one's end.
    #[test]
    fn a_long_step_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let seconds = || {
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH);
            i64::try_from(since.unwrap().as_secs()).unwrap()
        };
        let latest = (seconds(), 999_999_999);
        let walk = Walk {
            seen: HashMap::new(),
            latest,
        };
        walk.settle(dir.path()).unwrap();
        assert!(seconds() > latest.0);
    }

    #[test]
    fn what_was_touched() {
        check(|_| {}, &[], &[]);
        check(|dir| drop(fs::read(dir.join("other"))), &[], &[]);
        // Of the same length, and at once.
        check(|dir| write(&dir.join("a/file"), "2"), &["a/file"], &[]);
        let mode = fs::Permissions::from_mode(0o4755);
        check(
            |dir| fs::set_permissions(dir.join("other"), mode.clone()).unwrap(),
            &["other"],
            &[],
        );
        check(|dir| write(&dir.join("new"), ""), &["", "new"], &[]);
        check(|dir| write(&dir.join("proc/2"), ""), &[], &[]);
    }

    #[test]
    fn what_is_gone() {
        check(
            |dir| fs::remove_file(dir.join("a/file")).unwrap(),
            &["a"],
            &["a/file"],
        );
        check(
            |dir| fs::remove_dir_all(dir.join("a")).unwrap(),
            &[""],
            &["a"],
        );
        // What was in it is gone with the directory that it was.
        check(
            |dir| {
                fs::remove_dir_all(dir.join("a/b")).unwrap();
                write(&dir.join("a/b"), "");
            },
            &["a", "a/b"],
            &[],
        );
        check(
            |dir| fs::rename(dir.join("a"), dir.join("z")).unwrap(),
            &["", "z", "z/b", "z/b/inner", "z/file"],
            &["a"],
        );
    }
}
