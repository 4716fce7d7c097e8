//! The processes that are traced, and what the kernel does not know of them.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use crate::records::FileRecords;
use crate::traced::calls::{NewSockets, Waiting};
use crate::traced::copies::Copies;
use crate::traced::ids::Ids;
use crate::traced::resolve::{Asker, search};
use crate::traced::world::{World, handle_of_descriptor, link_of_descriptor};

/// A process: what its threads share.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// The working directory that it is told of. The kernel's own is the root, always.
    pub(crate) cwd: Arc<OwnedFd>,
    pub(crate) umask: u32,
    /// The path of its executable in the root.
    pub(crate) executable: Vec<u8>,
    /// A number of its memory, which is another's, too, after vfork(2).
    pub(crate) memory: u64,
}

/// A thread.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    /// Its process.
    pub(crate) pid: i32,
    pub(crate) ids: Ids,
}

/// All that changes while commands run.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) threads: HashMap<i32, Thread>,
    pub(crate) processes: HashMap<i32, Process>,
    pub(crate) records: FileRecords,
    pub(crate) copies: Copies,
    /// The terminals that were made here; some may be another's by now.
    pub(crate) terminals: HashSet<u32>,
    pub(crate) sockets: NewSockets,
    /// The threads that wait for the other end of a pipe.
    pub(crate) waiting: HashMap<i32, Arc<Waiting>>,
}

impl State {
    /// Adds a thread that `parent` has started. It is a process of its own unless it is said to be one of
    /// the parent's.
    ///
    /// Its memory has the number `memory`, if it is not the parent's.
    pub(crate) fn add(&mut self, parent: i32, tid: i32, pid: i32, memory: Option<u64>) {
        let Some(thread) = self.threads.get(&parent) else {
            return;
        };
        let (ids, above) = (thread.ids.clone(), thread.pid);
        if pid != above
            && let Some(mut process) = self.processes.get(&above).cloned()
        {
            process.memory = memory.unwrap_or(process.memory);
            self.processes.insert(pid, process);
        }
        self.threads.insert(tid, Thread { pid, ids });
    }

    /// Removes a thread that is gone, and its process with the last one. Returns the number of the memory
    /// that the process had.
    pub(crate) fn remove(&mut self, tid: i32) -> Option<u64> {
        if let Some(waiting) = self.waiting.remove(&tid) {
            waiting.wake();
        }
        let gone = self.threads.remove(&tid)?;
        if self.threads.values().any(|thread| thread.pid == gone.pid) {
            return None;
        }
        self.processes
            .remove(&gone.pid)
            .map(|process| process.memory)
    }

    /// Tells whether some process has the memory of this number.
    pub(crate) fn has_memory(&self, memory: u64) -> bool {
        self.processes.values().any(|one| one.memory == memory)
    }

    /// Returns the path from the root on of what a process names by a directory and a path, if it may search
    /// the directories on the way.
    pub(crate) fn absolute(
        &self,
        world: &World,
        asker: Asker,
        dirfd: i32,
        path: &[u8],
    ) -> Result<Vec<u8>, Errno> {
        if path.starts_with(b"/") {
            search(world, self, asker, path, b"")?;
            return Ok(path.to_vec());
        }
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let directory = if dirfd == libc::AT_FDCWD {
            let process = self.processes.get(&asker.pid).ok_or(Errno::SRCH)?;
            world.told_of(process.cwd.as_fd())?
        } else {
            of_descriptor(world, asker, dirfd)?
        };
        let whole = [directory.as_slice(), b"/", path].concat();
        search(world, self, asker, &whole, &directory)?;
        Ok(whole)
    }

    /// A thread has executed something: it is the only one of its process now, and has its number.
    pub(crate) fn executed(&mut self, before: i32, pid: i32) {
        if let Some(thread) = self.threads.remove(&before) {
            self.threads.retain(|_, other| other.pid != pid);
            self.threads.insert(pid, thread);
        }
    }
}

fn of_descriptor(world: &World, asker: Asker, dirfd: i32) -> Result<Vec<u8>, Errno> {
    let link = link_of_descriptor(asker.pid, dirfd)?;
    if link.ends_with(b" (deleted)") {
        let handle = handle_of_descriptor(asker.pid, dirfd)?;
        return world.told_of(handle.as_fd());
    }
    world.told(&link).ok_or(Errno::NOTDIR)
}
