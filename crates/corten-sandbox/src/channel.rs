//! What passes between a child and its parent: the task in a sealed memory file, so that no argument
//! list shows an environment, and the child's reports over a socket that closes when it executes.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::probe::Check;
use crate::spec::Sandbox;

/// The descriptor of the task in the child.
pub(crate) const TASK_FD: i32 = 3;
/// The descriptor of the socket in the child.
pub(crate) const SOCKET_FD: i32 = 4;

/// A report longer than this is not sent: it could not be one datagram.
const MAX_REPORT: usize = 64 << 10;

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Run {
        sandbox: Box<Sandbox>,
        terminal: Option<Window>,
    },
    Probe,
    /// Try each primitive by itself; the directory may be written to.
    Survey {
        scratch: PathBuf,
    },
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Window {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

/// What a child has to say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The master of the terminal comes with this.
    Terminal,
    /// The process is about to be executed.
    Ready {
        /// The mount points that were missing in the root.
        created: Vec<String>,
        /// What could not be done to keep it apart.
        shortcomings: Vec<String>,
    },
    Failed(Failure),
    Probed(Vec<Check>),
}

/// Returns a connected pair: the parent's end and the child's.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Writes `task` into a memory file nobody can change any more.
pub(crate) fn seal(task: &Task) -> std::io::Result<OwnedFd> {
    let fd = memfd_create(
        "corten-sandbox",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL,
    )
    // The flag is from Linux 6.3.
    .or_else(|_| {
        memfd_create(
            "corten-sandbox",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )
    })?;
    let mut file = File::from(fd);
    file.write_all(&serde_json::to_vec(task)?)?;
    file.rewind()?;
    fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK,
    )?;
    Ok(file.into())
}

/// Reads the task back. A file that is not sealed is not a parent's.
pub(crate) fn unseal(fd: OwnedFd) -> std::io::Result<Task> {
    if !fcntl_get_seals(&fd)?.contains(SealFlags::WRITE) {
        return Err(Errno::INVAL.into());
    }
    let mut bytes = Vec::new();
    File::from(fd).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Sends `report`, with a descriptor if there is one.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    report: &Report,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let bytes = serde_json::to_vec(report).map_err(|_| Errno::INVAL)?;
    if bytes.len() > MAX_REPORT {
        return Err(Errno::MSGSIZE);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptor.into_iter().collect();
    if !descriptors.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let slices = [std::io::IoSlice::new(&bytes)];
    sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Receives the next report; `None` once the other end is closed.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Report, Option<OwnedFd>)>, Errno> {
    let mut bytes = vec![0; MAX_REPORT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [std::io::IoSliceMut::new(&mut bytes)];
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(socket, slices, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let length = match received {
        Err(Errno::CONNRESET) => 0,
        other => other?.bytes,
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let bytes = bytes.get(..length).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(None);
    }
    let report = serde_json::from_slice(bytes).map_err(|_| Errno::PROTO)?;
    Ok(Some((report, descriptor)))
}

/// Returns whether the other end is gone: then the parent was killed before this child could ask
/// to die with it.
pub(crate) fn is_closed(socket: BorrowedFd<'_>) -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(&socket, PollFlags::RDHUP)];
    matches!(poll(&mut polled, Some(&now)), Ok(n) if n > 0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_report_and_its_descriptor_arrive_and_then_the_end() {
        let (parent, child) = pair().unwrap();
        let report = Report::Ready {
            created: vec!["/proc".to_owned()],
            shortcomings: Vec::new(),
        };
        send(child.as_fd(), &report, Some(parent.as_fd())).unwrap();
        assert!(!is_closed(parent.as_fd()));
        drop(child);
        let (report, descriptor) = receive(parent.as_fd()).unwrap().unwrap();
        assert!(matches!(report, Report::Ready { created, .. } if created == ["/proc"]));
        assert!(descriptor.is_some());
        assert!(receive(parent.as_fd()).unwrap().is_none());
        assert!(is_closed(parent.as_fd()));
    }

    #[test]
    fn a_task_is_read_only_from_a_sealed_file() {
        assert!(matches!(
            unseal(seal(&Task::Probe).unwrap()),
            Ok(Task::Probe)
        ));
        let open = memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(unseal(open).is_err());
    }
}
