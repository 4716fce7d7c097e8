//! Who a process is told that it is, and whom it may send a signal.

use rustix::io::Errno;

use super::{Answer, Answered, Call, NOTHING, fd, half, length};
use crate::traced::ids::{Ids, Three};

const MOST_GROUPS: u32 = 65536;

impl Call<'_> {
    pub(super) fn answer_identity(&mut self, number: i64) -> Answered {
        let [a, b, c, ..] = self.args;
        let three = [half(a), half(b), half(c)];
        match number {
            libc::SYS_getuid => self.id(|ids| ids.user.real),
            libc::SYS_geteuid => self.id(|ids| ids.user.effective),
            libc::SYS_getgid => self.id(|ids| ids.group.real),
            libc::SYS_getegid => self.id(|ids| ids.group.effective),
            libc::SYS_getresuid => self.give_three(|ids| ids.user),
            libc::SYS_getresgid => self.give_three(|ids| ids.group),
            libc::SYS_getgroups => self.groups(half(a), b),
            libc::SYS_setuid => self.change(|ids| ids.set_uid(half(a))),
            libc::SYS_setgid => self.change(|ids| ids.set_gid(half(a))),
            libc::SYS_setreuid => self.change(|ids| ids.set_reuid(half(a), half(b))),
            libc::SYS_setregid => self.change(|ids| ids.set_regid(half(a), half(b))),
            libc::SYS_setresuid => self.change(|ids| ids.set_resuid(three)),
            libc::SYS_setresgid => self.change(|ids| ids.set_resgid(three)),
            libc::SYS_setfsuid => {
                let before = self.own()?.set_fs_uid(half(a));
                Ok(Answer::Value(i64::from(before)))
            }
            libc::SYS_setfsgid => {
                let before = self.own()?.set_fs_gid(half(a));
                Ok(Answer::Value(i64::from(before)))
            }
            libc::SYS_setgroups => {
                let groups = self.read_groups(half(a), b)?;
                self.change(|ids| ids.set_groups(groups))
            }
            libc::SYS_capget => self.capget(a, b),
            libc::SYS_capset => self.capset(a, b),
            libc::SYS_prctl => self.prctl(half(a), b),
            libc::SYS_kill | libc::SYS_rt_sigqueueinfo => self.kill(fd(a)),
            libc::SYS_tgkill
            | libc::SYS_rt_tgsigqueueinfo
            | libc::SYS_tkill
            | libc::SYS_pidfd_open => self.signal(fd(a)),
            libc::SYS_prlimit64
            | libc::SYS_sched_setaffinity
            | libc::SYS_sched_setattr
            | libc::SYS_sched_setparam
            | libc::SYS_sched_setscheduler => self.of_own_thread(fd(a)),
            libc::SYS_setpriority | libc::SYS_ioprio_set => self.of_own_thread(fd(b)),
            _ => Err(Errno::NOSYS),
        }
    }

    fn own(&mut self) -> Result<&mut Ids, Errno> {
        let thread = self.state.threads.get_mut(&self.asker.tid);
        Ok(&mut thread.ok_or(Errno::SRCH)?.ids)
    }

    fn id(&self, which: impl FnOnce(&Ids) -> u32) -> Answered {
        Ok(Answer::Value(i64::from(which(self.ids()?))))
    }

    fn give_three(&self, which: impl FnOnce(&Ids) -> Three) -> Answered {
        let three = which(self.ids()?);
        let ids = [three.real, three.effective, three.saved];
        for (address, id) in self.args.into_iter().zip(ids) {
            self.memory.write(address, &id.to_ne_bytes())?;
        }
        NOTHING
    }

    /// Nothing is changed where a call fails.
    fn change(&mut self, change: impl FnOnce(&mut Ids) -> Result<(), Errno>) -> Answered {
        let own = self.own()?;
        let mut ids = own.clone();
        change(&mut ids)?;
        *own = ids;
        NOTHING
    }

    fn groups(&self, size: u32, into: u64) -> Answered {
        let groups = &self.ids()?.groups;
        if size.cast_signed() < 0 || (size > 0 && (size as usize) < groups.len()) {
            return Err(Errno::INVAL);
        }
        if size > 0 {
            let bytes: Vec<u8> = groups.iter().flat_map(|gid| gid.to_ne_bytes()).collect();
            self.memory.write(into, &bytes)?;
        }
        length(groups.len())
    }

    fn read_groups(&self, n_groups: u32, from: u64) -> Result<Vec<u32>, Errno> {
        if n_groups > MOST_GROUPS {
            return Err(Errno::INVAL);
        }
        let bytes = self.memory.bytes(from, n_groups as usize * 4)?;
        let groups = bytes.chunks_exact(4).filter_map(<[u8]>::first_chunk);
        Ok(groups.map(|&gid| u32::from_ne_bytes(gid)).collect())
    }

    fn capget(&self, header: u64, data: u64) -> Answered {
        let (n_words, pid) = self.capability_header(header)?;
        let Some(n_words) = n_words else {
            return if data == 0 {
                NOTHING
            } else {
                Err(Errno::INVAL)
            };
        };
        let thread = self.state.threads.get(&pid).ok_or(Errno::SRCH)?;
        let ids = &thread.ids;
        let sets = [ids.effective, ids.permitted, ids.inheritable];
        let words = (0..n_words).flat_map(|word| sets.map(|set| half(set >> (word * 32))));
        let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
        if data != 0 {
            self.memory.write(data, &bytes)?;
        }
        NOTHING
    }

    fn capset(&mut self, header: u64, data: u64) -> Answered {
        let (n_words, pid) = self.capability_header(header)?;
        let n_words = n_words.ok_or(Errno::INVAL)?;
        if pid != self.asker.tid {
            return Err(Errno::PERM);
        }
        let mut sets = [0_u64; 3];
        for word in 0..n_words {
            for (idx, set) in sets.iter_mut().enumerate() {
                let at = data.wrapping_add((u64::from(word) * 3 + idx as u64) * 4);
                *set |= u64::from(self.memory.half(at)?) << (word * 32);
            }
        }
        let [effective, permitted, inheritable] = sets;
        self.change(|ids| ids.set_capabilities(effective, permitted, inheritable))
    }

    /// Returns how many words a set has in this version, if there is such a version, and whose they are.
    fn capability_header(&self, header: u64) -> Result<(Option<u32>, i32), Errno> {
        const NEWEST: u32 = 0x2008_0522;
        let version = self.memory.half(header)?;
        let pid = self.memory.half(header.wrapping_add(4))?.cast_signed();
        let n_words = match version {
            0x1998_0330 => Some(1),
            0x2007_1026 | NEWEST => Some(2),
            _ => {
                self.memory.write(header, &NEWEST.to_ne_bytes())?;
                None
            }
        };
        let tid = if pid == 0 { self.asker.tid } else { pid };
        Ok((n_words, tid))
    }

    fn prctl(&mut self, option: u32, value: u64) -> Answered {
        const SET_DUMPABLE: u32 = 4;
        const GET_KEEPCAPS: u32 = 7;
        const SET_KEEPCAPS: u32 = 8;
        const CAPBSET_READ: u32 = 23;
        const CAPBSET_DROP: u32 = 24;
        const SET_SECUREBITS: u32 = 28;
        const CAP_AMBIENT: u32 = 47;
        let bit = u32::try_from(value).ok().filter(|&bit| bit < 64);
        let bit = bit.map(|bit| 1_u64 << bit);
        match option {
            // Its memory could not be read any more.
            SET_DUMPABLE | SET_SECUREBITS | CAP_AMBIENT => NOTHING,
            GET_KEEPCAPS => Ok(Answer::Value(i64::from(self.ids()?.keeps_caps))),
            SET_KEEPCAPS => {
                self.own()?.keeps_caps = value != 0;
                NOTHING
            }
            CAPBSET_READ => {
                let bit = bit
                    .filter(|bit| bit.trailing_zeros() <= 40)
                    .ok_or(Errno::INVAL)?;
                Ok(Answer::Value(i64::from(self.ids()?.bounding & bit != 0)))
            }
            CAPBSET_DROP => {
                let bit = bit.ok_or(Errno::INVAL)?;
                self.own()?.bounding &= !bit;
                NOTHING
            }
            _ => Ok(Answer::Happens),
        }
    }

    /// kill(2), by which a process may name groups of them.
    fn kill(&self, pid: i32) -> Answered {
        match pid {
            // All that there are would be those of the whole container.
            -1 => {
                let signal = fd(self.args[1]);
                let others = self
                    .state
                    .processes
                    .keys()
                    .filter(|&&pid| pid != self.asker.pid);
                for &pid in others {
                    // It may be gone already.
                    crate::sys::ptrace::kill(pid, signal).ok();
                }
                NOTHING
            }
            0 => Ok(Answer::Happens),
            group if group < 0 => {
                let is_own = |pid: &i32| {
                    let pid = rustix::process::Pid::from_raw(*pid);
                    let found = rustix::process::getpgid(pid);
                    found.is_ok_and(|found| found.as_raw_nonzero().get() == -group)
                };
                if self.state.processes.keys().any(is_own) {
                    Ok(Answer::Happens)
                } else {
                    Err(Errno::SRCH)
                }
            }
            pid => self.signal(pid),
        }
    }

    /// What a process may do to its own threads alone: the kernel lets a user do it to all of its own.
    fn of_own_thread(&self, tid: i32) -> Answered {
        let thread = self.state.threads.get(&tid).ok_or(Errno::PERM)?;
        if thread.pid == self.asker.pid {
            Ok(Answer::Happens)
        } else {
            Err(Errno::PERM)
        }
    }

    fn signal(&self, pid: i32) -> Answered {
        let is_own =
            self.state.threads.contains_key(&pid) || self.state.processes.contains_key(&pid);
        if is_own {
            Ok(Answer::Happens)
        } else {
            Err(Errno::SRCH)
        }
    }
}
