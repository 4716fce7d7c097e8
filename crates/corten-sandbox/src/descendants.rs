//! Processes that descend from this one, where no namespace of processes ends them.

use std::collections::HashSet;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

/// How long to go on with what does not end: it may be another user's and we without `CAP_KILL`, or
/// wait for a device.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for what has been killed before looking again.
const PAUSE: Duration = Duration::from_millis(2);

/// The children of this process that it means to have.
static OWN: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

/// Does `spawn` and takes the child it returns for one that is meant, until it is [forgotten](forget).
pub(crate) fn spawn_own<T, E>(spawn: impl FnOnce() -> Result<(i32, T), E>) -> Result<(i32, T), E> {
    // An orphan is looked for under the same lock, so that a child is never taken for one.
    let mut own = own();
    let spawned = spawn()?;
    own.get_or_insert_default().insert(spawned.0);
    Ok(spawned)
}

/// Says that a child has been reaped.
pub(crate) fn forget(pid: i32) {
    if let Some(own) = own().as_mut() {
        own.remove(&pid);
    }
}

fn own() -> MutexGuard<'static, Option<HashSet<i32>>> {
    // A number is in it or not.
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has what a reaper that is killed leaves behind become ours.
pub(crate) fn adopt_orphans() {
    // Where this fails, what it is for cannot be had; there is no such kernel that runs Landlock.
    set_child_subreaper(Some(getpid())).ok();
}

/// Kills and reaps everything that descends from this process.
pub(crate) fn end_all() {
    end(&|_| true);
}

/// Kills and reaps what has become a child of this process because its reaper was killed, and all that
/// descends from it: what is in a session of its own and was not started by us. What the program starts
/// besides, such as a helper, stays in its session.
pub(crate) fn end_orphans() {
    // `getsid` is of no use: rustix takes its answer for the number of a process, and it is 0 in a
    // namespace of processes that the session's leader is outside of, as in a container.
    let Some(session) = own_session() else {
        return;
    };
    end(&|process| process.session != session);
}

/// Orphans come to us while their parents end, so that it is done again until there is no child.
fn end(is_ours: &dyn Fn(&Process) -> bool) {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let own = own();
        let all = processes();
        let is_meant = |pid: i32| own.as_ref().is_some_and(|own| own.contains(&pid));
        let ours = getpid().as_raw_pid();
        let children = all.iter().filter(|one| one.parent == ours);
        let children = children.filter(|one| !is_meant(one.pid) && is_ours(one));
        let children: Vec<i32> = children.map(|one| one.pid).collect();
        if children.is_empty() {
            return;
        }
        for pid in with_descendants(&all, &children) {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended just now.
                kill_process(pid, Signal::KILL).ok();
            }
        }
        drop(own);
        for pid in children.into_iter().filter_map(Pid::from_raw) {
            // What it ended with is of no interest to anybody.
            waitpid(Some(pid), WaitOptions::NOHANG).ok();
        }
        std::thread::sleep(PAUSE);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
}

/// Returns each process in sight.
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let process = |entry: fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read(entry.path().join("stat")).ok()?;
        process_of(pid, &String::from_utf8_lossy(&stat))
    };
    entries.flatten().filter_map(process).collect()
}

/// Returns the children of this process, as the kernel lists them.
pub(crate) fn children() -> Vec<i32> {
    let listed = || -> Option<Vec<i32>> {
        let mut found = Vec::new();
        for thread in fs::read_dir("/proc/self/task").ok()? {
            let list = fs::read_to_string(thread.ok()?.path().join("children")).ok()?;
            found.extend(
                list.split_whitespace()
                    .filter_map(|pid| pid.parse::<i32>().ok()),
            );
        }
        Some(found)
    };
    // Not every kernel has the list.
    listed().unwrap_or_else(|| {
        let ours = getpid().as_raw_pid();
        let children = processes().into_iter().filter(|one| one.parent == ours);
        children.map(|one| one.pid).collect()
    })
}

fn own_session() -> Option<i32> {
    let stat = fs::read("/proc/self/stat").ok()?;
    let own = process_of(getpid().as_raw_pid(), &String::from_utf8_lossy(&stat))?;
    Some(own.session)
}

/// Reads `/proc/PID/stat`. The name in it may hold anything, `)` included.
fn process_of(pid: i32, stat: &str) -> Option<Process> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(1);
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Process {
        pid,
        parent,
        session,
    })
}

fn with_descendants(all: &[Process], ancestors: &[i32]) -> Vec<i32> {
    let mut found = ancestors.to_vec();
    let mut idx = 0;
    while let Some(&next) = found.get(idx) {
        let children = all.iter().filter(|one| one.parent == next);
        let children: Vec<i32> = children
            .map(|one| one.pid)
            .filter(|pid| !found.contains(pid))
            .collect();
        found.extend(children);
        idx += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, session: i32) -> Process {
        Process {
            pid,
            parent,
            session,
        }
    }

    #[test]
    fn a_name_does_not_hide_the_parent() {
        assert_eq!(process_of(7, "7 (sh) S 3 7 8 0"), Some(process(7, 3, 8)));
        let odd = process_of(7, "7 (a) S 1 (b) R 4 7 9 0");
        assert_eq!(odd, Some(process(7, 4, 9)));
        assert_eq!(process_of(7, "7 (sh"), None);
        assert_eq!(process_of(7, "7 (sh) S 3 7"), None);
    }

    #[test]
    fn all_generations_descend() {
        let all = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (1, 0)];
        let all = all.map(|(pid, parent)| process(pid, parent, 1));
        let mut found = with_descendants(&all, &[2]);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
        // What a busy machine shows need not fit together.
        let odd = [process(2, 3, 1), process(3, 2, 1)];
        assert_eq!(with_descendants(&odd, &[2]), [2, 3]);
    }
}
