//! execve(2): what the kernel is given instead, so that it finds what the process means.
//!
//! The kernel reads it from memory of the process, and nothing there is free to be written to: the stack
//! may be the parent's (vfork(2)). So it lies in a mapping of its own.

use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::records::FileId;
use crate::sys::ptrace::Registers;
use crate::traced::access::{EXECUTE, is_permitted};
use crate::traced::arch;
use crate::traced::copies::{errno, reopened};
use crate::traced::elf::{self, Executable, SCRIPT_HEAD};
use crate::traced::memory::Memory;
use crate::traced::resolve::{Asker, Handle, Last, find, kind, last_of, of_descriptor};
use crate::traced::stat::told;
use crate::traced::tasks::State;
use crate::traced::world::{Area, World, id_of, proc_path};

/// What a process becomes if the kernel agrees.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    /// The path of the executable in the root.
    pub(crate) executable: Vec<u8>,
    pub(crate) set_uid: Option<u32>,
    pub(crate) set_gid: Option<u32>,
    /// What the process is told to have been executed as.
    pub(crate) named: Vec<u8>,
    /// What the kernel must have executed, unless that is for it to find out.
    pub(crate) image: Option<FileId>,
}

/// As deep as scripts may name scripts.
const MOST_SCRIPTS: usize = 5;
/// As much as the kernel takes of arguments at most.
const MOST_SCRATCH: usize = 6 << 20;
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// Returns what a thread that is about to execute something becomes, and what the kernel is to be given.
pub(crate) fn prepare(
    world: &World,
    state: &mut State,
    asker: Asker,
    registers: &Registers,
) -> Result<(Execution, Given), Errno> {
    let memory = Memory(asker.tid);
    let args = arch::args(registers);
    let is_at = arch::call(registers) == libc::SYS_execveat;
    let [dirfd, path, argv, envp, flags, _] = if is_at {
        args
    } else {
        [HERE, args[0], args[1], args[2], 0, 0]
    };
    let path = memory.path(path)?;
    let (mut handle, mut named) = target(world, state, asker, dirfd, &path, flags)?;
    // What comes before the arguments that there are, the last one first.
    let mut before: Vec<Vec<u8>> = Vec::new();
    let mut n_scripts = 0;
    let (file, head) = loop {
        let (file, head) = open(state, asker, &handle)?;
        let Some(script) = elf::script(&head)? else {
            break (file, head);
        };
        n_scripts += 1;
        if n_scripts > MOST_SCRIPTS {
            return Err(Errno::LOOP);
        }
        if before.is_empty() {
            before.push(named);
        }
        before.extend(script.argument);
        before.push(script.interpreter.clone());
        named = script.interpreter;
        let path = absolute(world, state, asker, &named)?;
        handle = find(world, state, asker, &path, Last::Follow)?;
    };
    let mut read = |at, into: &mut [u8]| read_at(&file, at, into);
    let examined = elf::examine(&head, &mut read)?;
    let is_other = matches!(examined, Executable::Other);
    let loader = match examined {
        Executable::Static | Executable::Other => None,
        Executable::Dynamic { loader, header } => {
            Some((loader_path(world, state, asker, &loader)?, header))
        }
    };
    let executable = world.told_of(handle.fd.as_fd());
    let name = executable.as_deref().unwrap_or(b"memfd");
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
    let place = if let (None, Area::Tree, Ok(path)) = (&loader, handle.area, &executable) {
        world.real(path)
    } else {
        let loader = loader
            .as_ref()
            .map(|(path, header)| (path.as_slice(), *header));
        state.copies.of(&file, &handle.stat, name, loader)?
    };
    let called = path.rsplit(|&byte| byte == b'/').next().unwrap_or(&path);
    let place = state.copies.called(place, called)?;
    let image = rustix::fs::stat(place.as_slice())?;
    let mode = told(
        world,
        &state.records,
        &asker_ids(state, asker)?,
        handle.stat,
    );
    // Whose it is counts for nothing where another program executes it.
    let is_set = |bit| !is_other && mode.st_mode & bit != 0;
    let execution = Execution {
        executable: executable.unwrap_or_else(|_| path.clone()),
        set_uid: is_set(SET_UID).then_some(mode.st_uid),
        set_gid: (is_set(SET_GID) && is_set(0o010)).then_some(mode.st_gid),
        named,
        image: (!is_other).then_some(id_of(&image)),
    };
    before.reverse();
    let given = Given::new(memory, place, before, [argv, envp])?;
    Ok((execution, given))
}

fn asker_ids(state: &State, asker: Asker) -> Result<crate::traced::ids::Ids, Errno> {
    let thread = state.threads.get(&asker.tid).ok_or(Errno::SRCH)?;
    Ok(thread.ids.clone())
}

fn target(
    world: &World,
    state: &State,
    asker: Asker,
    dirfd: u64,
    path: &[u8],
    flags: u64,
) -> Result<(Handle, Vec<u8>), Errno> {
    let is_empty = flags & u64::from(libc::AT_EMPTY_PATH.cast_unsigned()) != 0;
    if path.is_empty() && is_empty {
        let fd = descriptor(dirfd);
        let handle = of_descriptor(asker.pid, fd)?;
        let handle = in_tree_again(world, handle);
        return Ok((handle, format!("/dev/fd/{fd}").into_bytes()));
    }
    let whole = state.absolute(world, asker, descriptor(dirfd), path)?;
    let last = last_of(flags);
    let handle = find(world, state, asker, &whole, last)?;
    if kind(&handle.stat) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let named = if path.starts_with(b"/") || descriptor(dirfd) == libc::AT_FDCWD {
        path.to_vec()
    } else {
        [format!("/dev/fd/{}/", descriptor(dirfd)).as_bytes(), path].concat()
    };
    Ok((handle, named))
}

/// A descriptor of a file of the tree is as good as its path.
fn in_tree_again(world: &World, handle: Handle) -> Handle {
    let is_there = handle.stat.st_dev == world.device && world.told_of(handle.fd.as_fd()).is_ok();
    Handle {
        area: if is_there { Area::Tree } else { handle.area },
        ..handle
    }
}

/// `AT_FDCWD` as an argument.
const HERE: u64 = libc::AT_FDCWD.cast_unsigned() as u64;

/// The lower half of an argument.
pub(crate) fn half(arg: u64) -> u32 {
    (arg & 0xffff_ffff) as u32
}

/// A descriptor, of which the kernel takes the lower half.
pub(crate) fn descriptor(arg: u64) -> i32 {
    half(arg).cast_signed()
}

fn absolute(world: &World, state: &State, asker: Asker, path: &[u8]) -> Result<Vec<u8>, Errno> {
    state.absolute(world, asker, libc::AT_FDCWD, path)
}

/// Opens an executable, if it may be executed, and returns how it begins.
fn open(state: &State, asker: Asker, handle: &Handle) -> Result<(std::fs::File, Vec<u8>), Errno> {
    let thread = state.threads.get(&asker.tid).ok_or(Errno::SRCH)?;
    if kind(&handle.stat) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    if !is_permitted(&state.records, &thread.ids, &handle.stat, EXECUTE) {
        return Err(Errno::ACCESS);
    }
    let file = reopened(&proc_path(handle.fd.as_fd()))?;
    let mut head = vec![0; SCRIPT_HEAD];
    let n_read = read_at(&file, 0, &mut head)?;
    head.truncate(n_read);
    Ok((file, head))
}

fn read_at(file: &std::fs::File, mut at: u64, into: &mut [u8]) -> Result<usize, Errno> {
    let mut n_read = 0;
    while let Some(rest) = into.get_mut(n_read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(n) => {
                n_read += n;
                at = at.saturating_add(n as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errno(error)),
        }
    }
    Ok(n_read)
}

/// Returns the path of a loader from the root on, without links.
fn loader_path(
    world: &World,
    state: &State,
    asker: Asker,
    loader: &[u8],
) -> Result<Vec<u8>, Errno> {
    let path = absolute(world, state, asker, loader)?;
    let handle = find(world, state, asker, &path, Last::Follow)?;
    open(state, asker, &handle)?;
    if handle.area != Area::Tree {
        return Err(Errno::ACCESS);
    }
    let path = world.told_of(handle.fd.as_fd())?;
    Ok(path.strip_prefix(b"/").unwrap_or(&path).to_vec())
}

/// What execve(2) is given.
#[derive(Debug)]
pub(crate) struct Given {
    path: Vec<u8>,
    /// Instead of the first argument, if there are any.
    before: Vec<Vec<u8>>,
    /// Where the arguments behind it are, with the null pointer at the end.
    rest: Vec<u64>,
    argv: u64,
    envp: u64,
}

impl Given {
    fn new(
        memory: Memory,
        path: Vec<u8>,
        before: Vec<Vec<u8>>,
        [argv, envp]: [u64; 2],
    ) -> Result<Self, Errno> {
        let rest = if before.is_empty() {
            Vec::new()
        } else {
            other_arguments(memory, argv)?
        };
        let given = Self {
            path,
            before,
            rest,
            argv,
            envp,
        };
        if given.length() > MOST_SCRATCH {
            return Err(Errno::TOOBIG);
        }
        Ok(given)
    }

    fn strings(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.path)
            .chain(&self.before)
            .map(Vec::as_slice)
    }

    /// Returns how much room it takes.
    pub(crate) fn length(&self) -> usize {
        let strings: usize = self.strings().map(|string| string.len() + 1).sum();
        strings.next_multiple_of(8) + (self.before.len() + self.rest.len()) * 8
    }

    /// Writes it to memory of the process and returns the arguments of execve(2).
    pub(crate) fn put(&self, memory: Memory, at: u64) -> Result<[u64; 6], Errno> {
        let mut bytes = Vec::new();
        let mut addresses = Vec::new();
        for string in self.strings() {
            addresses.push(at.wrapping_add(bytes.len() as u64));
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let argv = if self.before.is_empty() {
            self.argv
        } else {
            at.wrapping_add(bytes.len() as u64)
        };
        let own = addresses.iter().skip(1);
        let pointers = own.chain(&self.rest).copied();
        bytes.extend(pointers.flat_map(u64::to_ne_bytes));
        memory.write(at, &bytes)?;
        Ok([at, argv, self.envp, 0, 0, 0])
    }
}

/// Returns the pointers behind the first, with the null pointer at the end.
fn other_arguments(memory: Memory, argv: u64) -> Result<Vec<u64>, Errno> {
    /// As many as are read at once, within a page.
    const AT_ONCE: u64 = 512;
    let mut at = argv;
    if at == 0 || memory.word(at)? == 0 {
        return Ok(vec![0]);
    }
    let mut pointers = Vec::new();
    at = at.wrapping_add(8);
    while pointers.len() * 8 <= MOST_SCRATCH {
        let to_border = AT_ONCE - at / 8 % AT_ONCE;
        let length = usize::try_from(to_border * 8).map_err(|_| Errno::FAULT)?;
        let bytes = match memory.bytes(at, length) {
            // It is not aligned, and ends at a border.
            Err(Errno::FAULT) => memory.word(at)?.to_ne_bytes().to_vec(),
            bytes => bytes?,
        };
        at = at.wrapping_add(bytes.len() as u64);
        for &word in bytes.as_chunks::<8>().0 {
            let pointer = u64::from_ne_bytes(word);
            pointers.push(pointer);
            if pointer == 0 {
                return Ok(pointers);
            }
        }
    }
    Err(Errno::TOOBIG)
}

/// Corrects what a process that has just begun is told of its executable and its user.
pub(crate) fn correct_auxiliary(
    pid: i32,
    registers: &Registers,
    execution: &Execution,
    ids: &crate::traced::ids::Ids,
) -> Result<(), Errno> {
    const AT_UID: u64 = 11;
    const AT_EUID: u64 = 12;
    const AT_GID: u64 = 13;
    const AT_EGID: u64 = 14;
    const AT_EXECFN: u64 = 31;
    let memory = Memory(pid);
    let stack = arch::stack(registers);
    let n_args = memory.word(stack)?;
    let mut at = stack.wrapping_add(n_args.wrapping_add(2).wrapping_mul(8));
    while memory.word(at)? != 0 {
        at = at.wrapping_add(8);
    }
    loop {
        at = at.wrapping_add(8);
        let (key, value_at) = (memory.word(at)?, at.wrapping_add(8));
        let id = match key {
            0 => return Ok(()),
            AT_UID => Some(ids.user.real),
            AT_EUID => Some(ids.user.effective),
            AT_GID => Some(ids.group.real),
            AT_EGID => Some(ids.group.effective),
            AT_EXECFN => {
                let place = memory.word(value_at)?;
                let before = memory.path(place)?;
                if execution.named.len() <= before.len() {
                    let text = [execution.named.as_slice(), b"\0"].concat();
                    memory.write(place, &text)?;
                }
                None
            }
            _ => None,
        };
        if let Some(id) = id {
            memory.write(value_at, &u64::from(id).to_ne_bytes())?;
        }
        at = value_at;
    }
}
