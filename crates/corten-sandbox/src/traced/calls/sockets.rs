//! Sockets with names in the root.
//!
//! The kernel knows nothing of who may reach which socket by its path, and reads an address again after
//! whoever looked at it: another thread may have changed it, or put another socket at the same number. So
//! the supervisor connects and binds them itself, and no process ever has a Unix socket that the kernel
//! would connect: a new one is an end of a pair, which the kernel takes for connected; one that has a name
//! listens at once; and those that send to names without a connection (`SOCK_DGRAM`) cannot be had.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    socketpair,
};

use super::{Answer, Answered, Call, fd, half};
use crate::traced::access::{WRITE, is_permitted};
use crate::traced::resolve::{Last, Place, kind, walk};
use crate::traced::world::{Area, Descriptor, link_of_descriptor, proc_path};

/// What a name that is a path begins with: the family.
const FAMILY: [u8; 2] = AddressFamily::UNIX.as_raw().to_ne_bytes();
/// `struct sockaddr_un`, and the most that the kernel takes of any address.
const LONGEST: usize = 110;
const LARGEST: u32 = 128;
/// Of so many new sockets it is known what they are.
const MOST: usize = 4096;
/// What the kernel makes of it is the most that it allows.
const BACKLOG: i32 = 4096;

/// Sockets that are neither connected nor bound, by their inodes.
#[derive(Debug, Default)]
pub(crate) struct NewSockets {
    kinds: HashMap<u64, SocketType>,
    /// The oldest first; most have been used or closed long ago.
    order: VecDeque<u64>,
}

impl NewSockets {
    fn add(&mut self, inode: u64, kind: SocketType) {
        if self.kinds.insert(inode, kind).is_none() {
            self.order.push_back(inode);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.kinds.remove(&oldest);
        }
    }
}

/// A connection that is made once who listens takes another.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) socket: OwnedFd,
    /// The socket with the name.
    to: OwnedFd,
    pub(crate) number: i32,
    pub(crate) is_closed_on_exec: bool,
}

impl Connecting {
    /// Tries; it fails with `EAGAIN` as long as nobody has taken enough of those that wait.
    pub(crate) fn attempt(&self) -> Result<(), Errno> {
        let address = SocketAddrUnix::new(proc_path(self.to.as_fd()))?;
        connect(&self.socket, &address)
    }
}

/// What an address says.
enum Name {
    Path(Vec<u8>),
    /// It has no path: it is the machine's, or chosen by the kernel.
    Abstract,
}

impl Call<'_> {
    /// socket(2) of `AF_UNIX`.
    pub(super) fn unix_socket(&mut self, kind: u32, protocol: u32) -> Answered {
        const FLAGS: u32 = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC).cast_unsigned();
        let flags = SocketFlags::from_bits_retain(kind & FLAGS);
        let kind = SocketType::from_raw(kind & !FLAGS);
        if ![SocketType::STREAM, SocketType::SEQPACKET].contains(&kind) {
            return Err(Errno::SOCKTNOSUPPORT);
        }
        if protocol > 1 {
            return Err(Errno::PROTONOSUPPORT);
        }
        let own = flags | SocketFlags::CLOEXEC;
        let (file, _) = socketpair(AddressFamily::UNIX, kind, own, None)?;
        self.state.sockets.add(fstat(&file)?.st_ino, kind);
        Ok(Answer::File {
            file,
            is_closed_on_exec: flags.contains(SocketFlags::CLOEXEC),
        })
    }

    /// connect(2) and bind(2). Of another socket than a new one of `AF_UNIX` the kernel does it.
    pub(super) fn name_socket(&mut self, number: u64, address: u64, length: u64) -> Answered {
        let number = fd(number);
        let Some(kind) = self.new_socket(number)? else {
            return Ok(Answer::Happens);
        };
        let name = self.socket_name(address, half(length))?;
        let Descriptor {
            is_closed_on_exec,
            is_non_blocking,
        } = Descriptor::of(self.asker.pid, number)?;
        let is_bound = self.number == libc::SYS_bind;
        let Name::Path(path) = name else {
            return Err(if is_bound {
                Errno::ACCESS
            } else {
                Errno::CONNREFUSED
            });
        };
        let socket = socket_with(
            AddressFamily::UNIX,
            kind,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        if is_bound {
            self.bind_socket(&socket, &path)?;
        } else {
            let connecting = Connecting {
                to: self.socket_at(&path)?,
                socket,
                number,
                is_closed_on_exec,
            };
            return match connecting.attempt() {
                Err(Errno::AGAIN) if !is_non_blocking => Ok(Answer::Connects(connecting)),
                Err(errno) => Err(errno),
                Ok(()) => replaced(
                    connecting.socket,
                    number,
                    is_closed_on_exec,
                    is_non_blocking,
                ),
            };
        }
        replaced(socket, number, is_closed_on_exec, is_non_blocking)
    }

    fn new_socket(&self, number: i32) -> Result<Option<SocketType>, Errno> {
        let link = link_of_descriptor(self.asker.pid, number)?;
        let inode = link.strip_prefix(b"socket:[");
        let inode = inode.and_then(|rest| rest.strip_suffix(b"]"));
        let inode = inode.and_then(|inode| std::str::from_utf8(inode).ok()?.parse().ok());
        Ok(inode.and_then(|inode: u64| self.state.sockets.kinds.get(&inode).copied()))
    }

    /// Reads an address, once.
    fn socket_name(&self, address: u64, length: u32) -> Result<Name, Errno> {
        if length > LARGEST {
            return Err(Errno::INVAL);
        }
        let bytes = self.memory.bytes(address, length as usize)?;
        let path = bytes
            .strip_prefix(&FAMILY)
            .filter(|_| bytes.len() <= LONGEST);
        let path = path.ok_or(Errno::INVAL)?;
        let end = path.iter().position(|&byte| byte == 0);
        let path = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
        Ok(if path.is_empty() {
            Name::Abstract
        } else {
            Name::Path(path.to_vec())
        })
    }

    /// Returns the socket that may be connected to at a path.
    fn socket_at(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = self
            .state
            .absolute(self.world, self.asker, libc::AT_FDCWD, path)?;
        let handle = self.find(&path, Last::Follow)?;
        if handle.area != Area::Tree || kind(&handle.stat) != FileType::Socket {
            return Err(Errno::CONNREFUSED);
        }
        if !is_permitted(&self.state.records, self.ids()?, &handle.stat, WRITE) {
            return Err(Errno::ACCESS);
        }
        Ok(handle.fd)
    }

    /// Gives a socket a name, and has it listen: one that has a name and does not could be connected.
    ///
    /// The path is one from the root on, which is this process' working directory: it is what others are
    /// told of who listens. Landlock keeps it in the root, whatever has become of it meanwhile.
    fn bind_socket(&mut self, socket: &OwnedFd, path: &[u8]) -> Result<(), Errno> {
        let path = self
            .state
            .absolute(self.world, self.asker, libc::AT_FDCWD, path)?;
        let Place::In(Area::Tree, path) =
            walk(self.world, self.state, self.asker, &path, Last::Stay)?
        else {
            return Err(Errno::ACCESS);
        };
        let (directory, name) = self.parent(&[b"/".as_slice(), &path].concat())?;
        self.may_change(&directory.stat)?;
        let address = SocketAddrUnix::new(path.as_slice())?;
        // What is there already is told in other words than by other calls.
        bind(socket, &address).map_err(|errno| {
            if errno == Errno::EXIST {
                Errno::ADDRINUSE
            } else {
                errno
            }
        })?;
        let nofollow = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(&directory.fd, name.as_slice(), nofollow)?;
        let mode = 0o777 & !self.process()?.umask;
        self.made(&stat, &directory.stat, mode)?;
        listen(socket, BACKLOG)
    }
}

/// The socket takes the place of the new one.
fn replaced(
    file: OwnedFd,
    number: i32,
    is_closed_on_exec: bool,
    is_non_blocking: bool,
) -> Answered {
    if !is_non_blocking {
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags - rustix::fs::OFlags::NONBLOCK)?;
    }
    Ok(Answer::Replaces {
        file,
        number,
        is_closed_on_exec,
    })
}
