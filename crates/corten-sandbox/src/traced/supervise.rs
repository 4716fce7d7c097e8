//! The thread that follows the processes, and what it shares with the one that answers their calls.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::descendants;
use crate::sys::ptrace::{
    Registers, Resume, event_message, kill, registers, resume, set_registers, wait_any,
};
use crate::traced::arch;
use crate::traced::execute::{self, Execution, Given, correct_auxiliary};
use crate::traced::memory::Memory;
use crate::traced::resolve::Asker;
use crate::traced::scratch::{self, Scratch, Scratches};
use crate::traced::tasks::State;
use crate::traced::world::{World, id_of};

/// What both threads know.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) world: World,
    pub(crate) state: Mutex<State>,
}

/// A call that is made with other arguments.
#[derive(Debug)]
enum Pending {
    /// Room for the arguments is mapped instead.
    Mapping {
        before: Registers,
        execution: Execution,
        given: Given,
    },
    Executing(Executing),
}

#[derive(Debug)]
struct Executing {
    before: Registers,
    execution: Execution,
    scratch: Scratch,
    /// What the kernel was given.
    args: [u64; 6],
}

/// The thread that follows.
#[derive(Debug)]
struct Follower<'a> {
    supervisor: &'a Supervisor,
    pending: HashMap<i32, Pending>,
    /// Whose next call is to execute something; a handler of a signal may come first.
    ready: HashMap<i32, Executing>,
    scratches: Scratches,
    /// Threads that have stopped before it was told who started them.
    early: HashSet<i32>,
}

impl Supervisor {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked has ended this process.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows `main` and all that it starts to its end, and ends what is left. Returns the exit code, as a
    /// shell would show it.
    pub(crate) fn follow(&self, main: i32) -> i32 {
        let mut follower = Follower {
            supervisor: self,
            pending: HashMap::new(),
            ready: HashMap::new(),
            scratches: Scratches::default(),
            early: HashSet::new(),
        };
        let code = follower.until(main);
        follower.end_all();
        code
    }

    /// Writes what has been recorded to a file.
    pub(crate) fn save(&self, into: &mut File) -> std::io::Result<()> {
        into.write_all(&self.lock().records.encode())
    }
}

impl Follower<'_> {
    fn until(&mut self, main: i32) -> i32 {
        loop {
            let Ok((tid, status)) = wait_any() else {
                return 255;
            };
            if libc::WIFSTOPPED(status) {
                self.stopped(tid, status);
                continue;
            }
            self.gone(tid);
            if tid == main {
                return if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                };
            }
        }
    }

    fn gone(&mut self, tid: i32) {
        self.pending.remove(&tid);
        self.ready.remove(&tid);
        self.early.remove(&tid);
        let mut state = self.supervisor.lock();
        if let Some(memory) = state.remove(tid)
            && !state.has_memory(memory)
        {
            self.scratches.end(memory);
        }
        drop(state);
        let orphans = self
            .early
            .extract_if(|&child| self.supervisor.is_orphan(child));
        for child in orphans {
            kill(child, libc::SIGKILL).ok();
        }
    }

    /// Kills until there is nobody left: what is known, and what the kernel says besides.
    fn end_all(&mut self) {
        loop {
            let mut left = descendants::children();
            left.extend(&self.early);
            left.extend(self.supervisor.lock().threads.keys());
            for tid in left {
                kill(tid, libc::SIGKILL).ok();
            }
            match wait_any() {
                // Somebody that has just been started; it is killed in the next round.
                Ok((tid, status)) if libc::WIFSTOPPED(status) => self.stopped(tid, status),
                Ok((tid, _)) => self.gone(tid),
                Err(_) => return,
            }
        }
    }

    fn stopped(&mut self, tid: i32, status: i32) {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_SECCOMP => self.at_call(tid),
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                self.started(tid);
                go_on(tid, Resume::Run, 0);
            }
            libc::PTRACE_EVENT_EXEC => {
                self.executed(tid);
                go_on(tid, Resume::Run, 0);
            }
            libc::PTRACE_EVENT_STOP => self.at_stop(tid, signal),
            _ if signal == libc::SIGTRAP | 0x80 => self.after_call(tid),
            _ => go_on(tid, Resume::Run, signal),
        }
    }

    fn at_stop(&mut self, tid: i32, signal: i32) {
        let is_known = self.supervisor.lock().threads.contains_key(&tid);
        if !is_known {
            if self.supervisor.is_orphan(tid) {
                kill(tid, libc::SIGKILL).ok();
            } else {
                self.early.insert(tid);
            }
            return;
        }
        match signal {
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU => {
                go_on(tid, Resume::Listen, 0);
            }
            _ => go_on(tid, Resume::Run, 0),
        }
    }

    fn started(&mut self, parent: i32) {
        let Ok(tid) = event_message(parent) else {
            return;
        };
        {
            let mut state = self.supervisor.lock();
            let process = state
                .threads
                .get(&parent)
                .map_or(parent, |thread| thread.pid);
            let is_thread = std::fs::exists(format!("/proc/{process}/task/{tid}"));
            let pid = if is_thread.unwrap_or(false) {
                process
            } else {
                tid
            };
            let above = state.processes.get(&process).map(|process| process.memory);
            let memory = (!shares_memory(parent)).then(|| self.scratches.begin(above));
            state.add(parent, tid, pid, memory);
        }
        if self.early.remove(&tid) {
            go_on(tid, Resume::Run, 0);
        }
    }

    /// A thread is about to execute something.
    fn at_call(&mut self, tid: i32) {
        let Ok(before) = registers(tid) else {
            return;
        };
        if ![libc::SYS_execve, libc::SYS_execveat].contains(&arch::call(&before)) {
            // A filter of its own stops it, which nobody waits for.
            go_on(tid, Resume::Run, 0);
            return;
        }
        let is_ready = self
            .ready
            .get(&tid)
            .is_some_and(|ready| ready.args == arch::args(&before));
        if is_ready && let Some(executing) = self.ready.remove(&tid) {
            self.pending.insert(tid, Pending::Executing(executing));
            go_on(tid, Resume::ToExit, 0);
            return;
        }
        let mut changed = before;
        let how = match self.execute(tid, before, &mut changed) {
            Ok(pending) => {
                self.pending.insert(tid, pending);
                Resume::ToExit
            }
            Err(errno) => {
                changed = before;
                arch::set_call(&mut changed, -1);
                arch::set_result(&mut changed, i64::from(-errno.raw_os_error()));
                Resume::Run
            }
        };
        if set_registers(tid, &changed).is_ok() {
            go_on(tid, how, 0);
        }
    }

    /// Changes what is called: to what is to be executed if there is room for it, to the making of room if
    /// there is none.
    fn execute(
        &mut self,
        tid: i32,
        before: Registers,
        changed: &mut Registers,
    ) -> Result<Pending, Errno> {
        let mut state = self.supervisor.lock();
        let pid = state.threads.get(&tid).ok_or(Errno::PERM)?.pid;
        let asker = Asker { tid, pid };
        let world = &self.supervisor.world;
        let (execution, given) = execute::prepare(world, &mut state, asker, &before)?;
        let memory = state.processes.get(&pid).ok_or(Errno::PERM)?.memory;
        drop(state);
        while let Some(scratch) = self.scratches.take(memory, given.length()) {
            // It may have been unmapped.
            if let Ok(args) = given.put(Memory(tid), scratch.at) {
                arch::set_call(changed, libc::SYS_execve);
                arch::set_args(changed, args);
                return Ok(Pending::Executing(Executing {
                    before,
                    execution,
                    scratch,
                    args,
                }));
            }
        }
        scratch::map(changed, given.length());
        Ok(Pending::Mapping {
            before,
            execution,
            given,
        })
    }

    /// A call that was changed has ended: room has been made, or nothing was executed.
    fn after_call(&mut self, tid: i32) {
        if let Some(pending) = self.pending.remove(&tid)
            && let Ok(after) = registers(tid)
        {
            let restored = match pending {
                Pending::Mapping {
                    before,
                    execution,
                    given,
                } => self.make_ready(tid, &after, before, execution, &given),
                Pending::Executing(executing) => {
                    self.give_back(tid, executing.scratch);
                    with_result(executing.before, arch::result(&after))
                }
            };
            set_registers(tid, &restored).ok();
        }
        go_on(tid, Resume::Run, 0);
    }

    fn make_ready(
        &mut self,
        tid: i32,
        after: &Registers,
        before: Registers,
        execution: Execution,
        given: &Given,
    ) -> Registers {
        let scratch = match scratch::mapped(after, given.length()) {
            Ok(scratch) => scratch,
            Err(result) => return with_result(before, result),
        };
        let args = match given.put(Memory(tid), scratch.at) {
            Ok(args) => args,
            Err(errno) => {
                self.give_back(tid, scratch);
                return with_result(before, i64::from(-errno.raw_os_error()));
            }
        };
        let mut again = before;
        arch::set_args(&mut again, args);
        arch::call_again(&mut again, libc::SYS_execve);
        let executing = Executing {
            before,
            execution,
            scratch,
            args,
        };
        self.ready.insert(tid, executing);
        again
    }

    fn give_back(&mut self, tid: i32, scratch: Scratch) {
        let state = self.supervisor.lock();
        let pid = state.threads.get(&tid).map(|thread| thread.pid);
        let process = pid.and_then(|pid| state.processes.get(&pid));
        if let Some(process) = process {
            self.scratches.put(process.memory, scratch);
        }
    }

    fn executed(&mut self, pid: i32) {
        let before = event_message(pid).unwrap_or(pid);
        let pending = self.pending.remove(&before);
        self.pending.remove(&pid);
        self.ready.remove(&pid);
        self.ready.remove(&before);
        let mut state = self.supervisor.lock();
        state.executed(before, pid);
        let Some(Pending::Executing(executing)) = pending else {
            // What nobody was asked for is not executed.
            kill(pid, libc::SIGKILL).ok();
            return;
        };
        let execution = executing.execution;
        let image = rustix::fs::stat(format!("/proc/{pid}/exe"));
        if execution.image.is_some() && image.map(|image| id_of(&image)).ok() != execution.image {
            // Its memory was changed after it was looked at.
            kill(pid, libc::SIGKILL).ok();
            return;
        }
        if let Some(process) = state.processes.get_mut(&pid) {
            process.executable.clone_from(&execution.executable);
            let left = process.memory;
            process.memory = self.scratches.begin(None);
            if state.has_memory(left) {
                self.scratches.put(left, executing.scratch);
            } else {
                self.scratches.end(left);
            }
        }
        let Some(thread) = state.threads.get_mut(&pid) else {
            return;
        };
        thread.ids.execute(execution.set_uid, execution.set_gid);
        if let Ok(registers) = registers(pid) {
            // What it is told beside its arguments is rarely asked for.
            correct_auxiliary(pid, &registers, &execution, &thread.ids).ok();
        }
    }
}

impl Supervisor {
    /// Tells whether nobody will tell who started a thread: whoever did was killed in the act.
    fn is_orphan(&self, tid: i32) -> bool {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else {
            return false;
        };
        let number = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            value.and_then(|value| value.trim().parse::<i32>().ok())
        };
        let above = [number("Tgid:"), number("PPid:")];
        let state = self.lock();
        !above
            .iter()
            .flatten()
            .any(|pid| state.processes.contains_key(pid))
    }
}

/// Tells whether what a thread has just started has its memory.
fn shares_memory(parent: i32) -> bool {
    let Ok(registers) = registers(parent) else {
        return false;
    };
    let [flags, ..] = arch::args(&registers);
    match arch::call(&registers) {
        libc::SYS_vfork => true,
        libc::SYS_clone => flags & u64::from(libc::CLONE_VM.unsigned_abs()) != 0,
        _ => false,
    }
}

fn with_result(mut registers: Registers, result: i64) -> Registers {
    arch::set_result(&mut registers, result);
    registers
}

/// Lets a thread go on; one that was killed meanwhile does not.
fn go_on(tid: i32, how: Resume, signal: i32) {
    resume(tid, how, signal).ok();
}
