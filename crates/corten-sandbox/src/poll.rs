//! Waiting for several descriptors at once, and reading what is there without waiting.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Waits until at least one is readable or at its end, and says which are.
pub(crate) fn readable(descriptors: &[BorrowedFd<'_>]) -> Result<Vec<bool>, Errno> {
    let mut polled: Vec<_> = descriptors
        .iter()
        .map(|fd| PollFd::new(fd, PollFlags::IN))
        .collect();
    rustix::io::retry_on_intr(|| poll(&mut polled, None))?;
    Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect())
}

/// Waits until `fd` is readable or at its end, or `patience` is over; returns whether it is.
pub(crate) fn readable_within(fd: BorrowedFd<'_>, patience: Duration) -> Result<bool, Errno> {
    let started = Instant::now();
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// What a read that does not wait found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Bytes(usize),
    Nothing,
    End,
}

/// Reads from a non-blocking descriptor.
pub(crate) fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<Found, Errno> {
    match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buf)) {
        // EIO is how the parent's side of a terminal tells that the other side is closed.
        Ok(0) | Err(Errno::IO) => Ok(Found::End),
        Ok(n) => Ok(Found::Bytes(n)),
        Err(Errno::AGAIN) => Ok(Found::Nothing),
        Err(errno) => Err(errno),
    }
}
