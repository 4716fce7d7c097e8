//! From the path that a process gives to what it means.
//!
//! The kernel resolves most of them at once, in the root and nowhere else. What it does not find is gone
//! through name by name: a link may lead to `/proc`, which is not in the root.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, readlinkat};
use rustix::io::Errno;

use crate::traced::access::{EXECUTE, is_permitted};
use crate::traced::tasks::State;
use crate::traced::world::{Area, NEW_TERMINAL, World, handle_of_descriptor, link_of_descriptor};

/// What a link at the end of a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// Where it leads.
    Follow,
    /// Itself.
    Stay,
}

/// Something that is there.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Opened with `O_PATH`.
    pub(crate) fd: OwnedFd,
    pub(crate) area: Area,
    pub(crate) stat: Stat,
    /// Where a link of `/proc` is said to lead.
    pub(crate) link: Option<Vec<u8>>,
}

/// Where a path leads, without links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// To this path beneath one of the areas that have paths; nothing need be there.
    In(Area, Vec<u8>),
    /// To a link of `/proc` that the kernel makes up, and where it is said to lead.
    Link(Vec<u8>, Vec<u8>),
    /// To what a descriptor of a process is of.
    Descriptor(i32, i32),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) tid: i32,
    pub(crate) pid: i32,
}

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// What a name in a path is.
enum Look {
    Missing,
    Directory(Stat),
    Other,
    Link(Vec<u8>),
    Descriptor(i32, i32),
    /// A link that the kernel makes up: where it leads is not what it says.
    MadeUp(Vec<u8>),
}

/// Returns what is at an absolute path.
pub(crate) fn find(
    world: &World,
    state: &State,
    asker: Asker,
    path: &[u8],
    last: Last,
) -> Result<Handle, Errno> {
    if !leads_outside(path) {
        match in_tree(world, path, last) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::ACCESS) => {}
            found => return found,
        }
    }
    let must_be_directory = path.ends_with(b"/");
    let found = match walk(world, state, asker, path, last)? {
        Place::In(Area::Tree, path) => in_tree(world, &path, Last::Stay)?,
        Place::In(area, path) => outside(world, area, &path)?,
        Place::Link(path, link) => Handle {
            link: Some(link),
            ..outside(world, Area::Proc, &path)?
        },
        Place::Descriptor(pid, fd) => of_descriptor(pid, fd)?,
    };
    if must_be_directory && kind(&found.stat) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    Ok(found)
}

/// Returns what a descriptor of a process is of.
pub(crate) fn of_descriptor(pid: i32, fd: i32) -> Result<Handle, Errno> {
    let fd = handle_of_descriptor(pid, fd)?;
    let stat = fstat(&fd)?;
    Ok(Handle {
        fd,
        area: Area::Descriptor,
        stat,
        link: None,
    })
}

fn in_tree(world: &World, path: &[u8], last: Last) -> Result<Handle, Errno> {
    let flags = match last {
        Last::Follow => OFlags::PATH,
        Last::Stay => OFlags::PATH | OFlags::NOFOLLOW,
    };
    let fd = world.in_tree(path, flags, Mode::empty())?;
    let stat = fstat(&fd)?;
    let (fd, area) = world.instead(fd, &stat)?;
    let stat = if area == Area::Tree {
        stat
    } else {
        fstat(&fd)?
    };
    Ok(Handle {
        fd,
        area,
        stat,
        link: None,
    })
}

fn outside(world: &World, area: Area, path: &[u8]) -> Result<Handle, Errno> {
    let fd = world.outside_at(area, path, OFlags::PATH | OFlags::NOFOLLOW)?;
    let stat = fstat(&fd)?;
    Ok(Handle {
        fd,
        area,
        stat,
        link: None,
    })
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A guess that saves an attempt.
fn leads_outside(path: &[u8]) -> bool {
    let starts = [
        b"/proc/".as_slice(),
        b"/sys/",
        b"/dev/pts/",
        b"/dev/fd",
        b"/dev/std",
    ];
    starts.iter().any(|start| path.starts_with(start))
}

/// Follows a path name by name.
pub(crate) fn walk(
    world: &World,
    state: &State,
    asker: Asker,
    path: &[u8],
    last: Last,
) -> Result<Place, Errno> {
    follow(world, state, asker, path, last, &mut |_| Ok(()))
}

/// Refuses to lead whoever asks through directories that it may not search, but not through those from
/// which its path begins: how it came there is nobody's concern. What is not there is for others to tell.
pub(crate) fn search(
    world: &World,
    state: &State,
    asker: Asker,
    path: &[u8],
    beginning: &[u8],
) -> Result<(), Errno> {
    let ids = &state.threads.get(&asker.tid).ok_or(Errno::SRCH)?.ids;
    if ids.overrides() {
        return Ok(());
    }
    let end = path.iter().rposition(|&byte| byte != b'/');
    let path = end.and_then(|end| path.get(..=end)).unwrap_or_default();
    // The last of them is where it is, which it must search.
    let mut n_passed = names(beginning).len().saturating_sub(1);
    let mut may_search = |directory: &Stat| {
        if n_passed > 0 {
            n_passed -= 1;
            return Ok(());
        }
        if is_permitted(&state.records, ids, directory, EXECUTE) {
            Ok(())
        } else {
            Err(Errno::ACCESS)
        }
    };
    match follow(world, state, asker, path, Last::Stay, &mut may_search) {
        Err(Errno::ACCESS) => Err(Errno::ACCESS),
        _ => Ok(()),
    }
}

/// Follows a path name by name; each directory of the root on the way is shown to `pass`.
fn follow(
    world: &World,
    state: &State,
    asker: Asker,
    path: &[u8],
    last: Last,
    pass: &mut dyn FnMut(&Stat) -> Result<(), Errno>,
) -> Result<Place, Errno> {
    let mut here: Vec<Vec<u8>> = Vec::new();
    let mut todo = names(path);
    let mut n_links = 0;
    while let Some(name) = todo.pop() {
        if name == b".." {
            here.pop();
        }
        if name == b".." || name == b"." {
            continue;
        }
        here.push(name);
        let is_last = todo.is_empty();
        let stays = is_last && last == Last::Stay;
        let target = match look(world, state, asker, &here)? {
            Look::Missing if is_last => break,
            Look::Missing => return Err(Errno::NOENT),
            Look::Other if !is_last => return Err(Errno::NOTDIR),
            Look::Link(_) if stays => break,
            Look::Directory(stat) if !is_last && area_of(&here).0 == Area::Tree => {
                pass(&stat)?;
                continue;
            }
            Look::Directory(_) | Look::Other => continue,
            Look::MadeUp(target) if stays => return Ok(Place::Link(beneath(&here, 1), target)),
            Look::Link(target) | Look::MadeUp(target) => target,
            Look::Descriptor(pid, fd) if stays => {
                let link = told_of_descriptor(world, pid, fd)?;
                return Ok(Place::Link(beneath(&here, 1), link));
            }
            Look::Descriptor(pid, fd) if is_last => return Ok(Place::Descriptor(pid, fd)),
            Look::Descriptor(pid, fd) => {
                let link = link_of_descriptor(pid, fd)?;
                world.told(&link).ok_or(Errno::NOTDIR)?
            }
        };
        n_links += 1;
        if n_links > MOST_LINKS {
            return Err(Errno::LOOP);
        }
        here.pop();
        if target.starts_with(b"/") {
            here.clear();
        }
        todo.extend(names(&target));
    }
    let (area, depth) = area_of(&here);
    Ok(Place::In(area, beneath(&here, depth)))
}

/// Returns what a link to a descriptor says.
fn told_of_descriptor(world: &World, pid: i32, fd: i32) -> Result<Vec<u8>, Errno> {
    let link = link_of_descriptor(pid, fd).map_err(|_| Errno::NOENT)?;
    Ok(world.told(&link).unwrap_or(link))
}

/// Returns the names of a path, the last one first. A slash at the end stands for the directory itself.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/');
    let names = names.filter(|name| !name.is_empty());
    let itself = path.ends_with(b"/").then_some(b".".as_slice());
    let mut names: Vec<Vec<u8>> = names.chain(itself).map(<[u8]>::to_vec).collect();
    names.reverse();
    names
}

fn beneath(here: &[Vec<u8>], depth: usize) -> Vec<u8> {
    here.get(depth..).unwrap_or_default().join(&b'/')
}

/// Returns the area that a path without links leads to, and how many names lead to the area.
fn area_of(here: &[Vec<u8>]) -> (Area, usize) {
    let name = |idx: usize| here.get(idx).map_or(b"".as_slice(), Vec::as_slice);
    match (name(0), name(1)) {
        (b"proc", _) => (Area::Proc, 1),
        (b"sys", _) => (Area::Sys, 1),
        (b"dev", b"pts") => (Area::Terminals, 2),
        _ => (Area::Tree, 0),
    }
}

fn look(world: &World, state: &State, asker: Asker, here: &[Vec<u8>]) -> Result<Look, Errno> {
    let (area, depth) = area_of(here);
    if area == Area::Proc
        && let Some(found) = look_at_process(world, state, asker, here)?
    {
        return Ok(found);
    }
    if area == Area::Terminals && here.len() > depth {
        let number = here.get(depth).and_then(|name| number_of(name));
        let is_own = number.is_some_and(|number| {
            u32::try_from(number).is_ok_and(|number| state.terminals.contains(&number))
        });
        let is_new = here.get(depth).is_some_and(|name| name == NEW_TERMINAL);
        if !is_own && !is_new {
            return Err(Errno::NOENT);
        }
    }
    let path = beneath(here, depth);
    let flags = OFlags::PATH | OFlags::NOFOLLOW;
    let opened = match area {
        Area::Tree => world.in_tree(&path, flags, Mode::empty()),
        other => world.outside_at(other, &path, flags),
    };
    let fd = match opened {
        // Nothing is made outside.
        Err(Errno::NOENT) if area == Area::Tree => return Ok(Look::Missing),
        other => other?,
    };
    let stat = fstat(&fd)?;
    Ok(match kind(&stat) {
        FileType::Symlink => Look::Link(readlinkat(&fd, "", Vec::new())?.into_bytes()),
        FileType::Directory => Look::Directory(stat),
        _ => Look::Other,
    })
}

/// What the kernel makes up in `/proc` for who asks.
fn look_at_process(
    world: &World,
    state: &State,
    asker: Asker,
    here: &[Vec<u8>],
) -> Result<Option<Look>, Errno> {
    let link = |text: String| Ok(Some(Look::MadeUp(text.into_bytes())));
    match here.get(1).map(Vec::as_slice) {
        Some(b"self") if here.len() == 2 => return link(asker.pid.to_string()),
        Some(b"thread-self") if here.len() == 2 => {
            return link(format!("{}/task/{}", asker.pid, asker.tid));
        }
        _ => {}
    }
    let Some(mut pid) = here.get(1).and_then(|name| number_of(name)) else {
        return Ok(None);
    };
    if !state.threads.contains_key(&pid) && !state.processes.contains_key(&pid) {
        return Err(Errno::NOENT);
    }
    let mut depth = 2;
    if here.get(2).is_some_and(|name| name == b"task")
        && let Some(tid) = here.get(3).and_then(|name| number_of(name))
    {
        pid = tid;
        depth = 4;
    }
    let process = state.threads.get(&pid).map_or(pid, |thread| thread.pid);
    let process = state.processes.get(&process);
    let rest: Vec<&[u8]> = here.iter().skip(depth).map(Vec::as_slice).collect();
    Ok(match (rest.as_slice(), process) {
        ([b"root"], _) => Some(Look::MadeUp(b"/".to_vec())),
        ([b"cwd"], Some(process)) => Some(Look::MadeUp(world.told_of(process.cwd.as_fd())?)),
        ([b"exe"], Some(process)) => Some(Look::MadeUp(process.executable.clone())),
        ([b"fd", number], _) => match number_of(number) {
            Some(fd) if link_of_descriptor(pid, fd).is_ok() => Some(Look::Descriptor(pid, fd)),
            _ => return Err(Errno::NOENT),
        },
        // They show the kernel's memory of a process, and the supervisor's eyes would be used.
        ([b"map_files" | b"mem" | b"ns", ..], _) => return Err(Errno::NOENT),
        _ => None,
    })
}

fn number_of(name: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(name).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// Flags of a call that say what a link at the end means.
pub(crate) fn last_of(flags: u64) -> Last {
    let stays = u64::from(AtFlags::SYMLINK_NOFOLLOW.bits());
    if flags & stays == 0 {
        Last::Follow
    } else {
        Last::Stay
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use proptest::prelude::*;
    use rustix::fs::{CWD, ResolveFlags, open, openat2};

    use super::*;
    use crate::records::FileRecords;
    use crate::traced::calls::NewSockets;
    use crate::traced::copies::Copies;
    use crate::traced::world::id_of;

    const ASKER: Asker = Asker { tid: 1, pid: 1 };

    fn directory(path: &Path) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).unwrap()
    }

    fn empty_state(place: &Path) -> State {
        State {
            threads: HashMap::new(),
            processes: HashMap::new(),
            records: FileRecords::default(),
            copies: Copies::new(directory(place), place.as_os_str().as_bytes().to_vec()),
            terminals: HashSet::new(),
            sockets: NewSockets::default(),
            waiting: HashMap::new(),
        }
    }

    /// What the kernel finds in a root of its own, and what is found name by name.
    fn both(root: &Path, path: &[u8], last: Last) -> [Result<(u64, u64), Errno>; 2] {
        let stays = match last {
            Last::Follow => OFlags::empty(),
            Last::Stay => OFlags::NOFOLLOW,
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC | stays;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let handle = directory(root);
        let kernels = openat2(&handle, path, flags, Mode::empty(), resolve);
        let kernels = kernels.and_then(|fd| Ok(id_of(&fstat(&fd)?)));
        let world = World::new(handle).unwrap();
        let place = walk(&world, &empty_state(root), ASKER, path, last);
        let own = place.and_then(|place| match place {
            Place::In(Area::Tree, path) => Ok(id_of(&in_tree(&world, &path, Last::Stay)?.stat)),
            _ => Err(Errno::INVAL),
        });
        [kernels, own]
    }

    fn path() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec!["a", "b", "c", "d", "..", ".", ""]);
        (any::<bool>(), prop::collection::vec(name, 1..5)).prop_map(|(is_absolute, names)| {
            let slash = if is_absolute { "/" } else { "" };
            format!("{slash}{}", names.join("/"))
        })
    }

    /// Makes directories, files and links; what has no place is left out.
    fn build(root: &Path, made: &[(String, String, u8)]) {
        for (at, target, kind) in made {
            let names = at
                .split('/')
                .filter(|name| !matches!(*name, "" | "." | ".."));
            let at = root.join(names.collect::<Vec<_>>().join("/"));
            let made = match kind {
                0 => rustix::fs::symlink(target.as_str(), &at),
                1 => rustix::fs::mknodat(CWD, &at, FileType::RegularFile, Mode::RUSR, 0),
                _ => rustix::fs::mkdir(&at, Mode::RWXU),
            };
            made.ok();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn names_lead_where_the_kernel_says(
            made in prop::collection::vec((path(), path(), 0_u8..4), 1..12),
            asked in prop::collection::vec((path(), any::<bool>()), 1..12),
        ) {
            let dir = tempfile::tempdir().unwrap();
            build(dir.path(), &made);
            for (path, follows) in asked {
                let last = if follows { Last::Follow } else { Last::Stay };
                let path = format!("/{path}");
                match both(dir.path(), path.as_bytes(), last) {
                    // Which of two reasons is told differs.
                    [Err(_), Err(_)] => {}
                    [kernels, own] => prop_assert_eq!(kernels, own, "{} of {:?}", path, made),
                }
            }
        }
    }

    #[test]
    fn what_the_kernel_makes_up_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(directory(dir.path())).unwrap();
        let state = empty_state(dir.path());
        let own = std::process::id();
        let hidden = [
            format!("/proc/{own}"),
            format!("/proc/{own}/root/etc"),
            "/proc/self/mem".to_owned(),
            "/dev/pts/0".to_owned(),
            "/sys/../proc/1/exe".to_owned(),
        ];
        for path in hidden {
            let found = walk(&world, &state, ASKER, path.as_bytes(), Last::Follow);
            assert_eq!(found, Err(Errno::NOENT), "{path}");
        }
        let found = walk(
            &world,
            &state,
            ASKER,
            b"/proc/../proc/./version",
            Last::Follow,
        );
        assert_eq!(found, Ok(Place::In(Area::Proc, b"version".to_vec())));
    }
}
