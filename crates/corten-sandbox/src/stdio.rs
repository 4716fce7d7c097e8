//! What a process reads and writes, and how it reaches the caller.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_setfl, open};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{stderr, stdin, stdout};

use crate::poll::{self, Found};

/// Which of its two outputs a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a process reads.
#[derive(Debug)]
pub enum Input {
    /// Nothing.
    Null,
    /// What the caller reads.
    Inherit,
    /// A file or the reading end of a pipe.
    File(OwnedFd),
}

/// What a process reads and writes.
pub enum Stdio<'a> {
    /// The caller's standard input, output and error.
    Inherit,
    /// Output goes to a function, in pieces as they come.
    Sink {
        /// What the process reads.
        stdin: Input,
        /// Called in the calling thread. While it runs, a process that writes much waits.
        sink: &'a mut dyn FnMut(Stream, &[u8]),
    },
    /// A terminal of its own, shown on the caller's; signals are forwarded as with
    /// [`Signals::Forward`](crate::Signals::Forward).
    Terminal,
}

impl fmt::Debug for Stdio<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inherit => "Inherit",
            Self::Sink { .. } => "Sink",
            Self::Terminal => "Terminal",
        })
    }
}

/// Returns the three descriptors of the child and what the parent keeps of them.
pub(crate) fn connect(stdio: Stdio<'_>) -> Result<([OwnedFd; 3], Streams<'_>), Errno> {
    let duplicate = |fd: BorrowedFd<'_>| fcntl_dupfd_cloexec(fd, 0);
    match stdio {
        Stdio::Inherit => {
            let theirs = [
                duplicate(stdin())?,
                duplicate(stdout())?,
                duplicate(stderr())?,
            ];
            Ok((theirs, Streams::default()))
        }
        Stdio::Terminal => Ok(([null()?, null()?, null()?], Streams::default())),
        Stdio::Sink { stdin: input, sink } => {
            let input = match input {
                Input::Null => null()?,
                Input::Inherit => duplicate(stdin())?,
                Input::File(file) => file,
            };
            let (out, their_out) = pipe_with(PipeFlags::CLOEXEC)?;
            let (err, their_err) = pipe_with(PipeFlags::CLOEXEC)?;
            // Only our ends: a process that finds its output non-blocking may lose some of it.
            fcntl_setfl(&out, OFlags::NONBLOCK)?;
            fcntl_setfl(&err, OFlags::NONBLOCK)?;
            let open = vec![(Stream::Stdout, out), (Stream::Stderr, err)];
            Ok((
                [input, their_out, their_err],
                Streams {
                    open,
                    sink: Some(sink),
                },
            ))
        }
    }
}

pub(crate) fn null() -> Result<OwnedFd, Errno> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// The outputs that are not at their end.
#[derive(Default)]
pub(crate) struct Streams<'a> {
    open: Vec<(Stream, OwnedFd)>,
    sink: Option<Sink<'a>>,
}

type Sink<'a> = &'a mut dyn FnMut(Stream, &[u8]);

impl Streams<'_> {
    /// Returns what becomes readable when there is output, in the order [`Self::pass`] takes.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.iter().map(|(_, fd)| fd.as_fd())
    }

    /// Reads once from each stream marked in `ready`, forgets those at their end, and returns whether
    /// there was any output.
    pub(crate) fn pass(&mut self, ready: &[bool]) -> Result<bool, Errno> {
        let mut buf = vec![0; 64 << 10];
        let mut has_output = false;
        let mut left = Vec::new();
        let marks = ready.iter().copied().chain(std::iter::repeat(false));
        for ((stream, fd), is_ready) in std::mem::take(&mut self.open).into_iter().zip(marks) {
            match if is_ready {
                poll::read(fd.as_fd(), &mut buf)?
            } else {
                Found::Nothing
            } {
                Found::Bytes(n) => {
                    has_output = true;
                    if let Some(sink) = &mut self.sink {
                        sink(stream, buf.get(..n).unwrap_or_default());
                    }
                }
                Found::Nothing => {}
                Found::End => continue,
            }
            left.push((stream, fd));
        }
        self.open = left;
        Ok(has_output)
    }

    /// Reads what is left once the sandbox has ended. Does not wait for the end of the streams: a
    /// process outside may have got hold of them, but what the sandbox wrote is all there.
    pub(crate) fn drain(&mut self) -> Result<(), Errno> {
        while self.pass(&vec![true; self.open.len()])? {}
        Ok(())
    }
}
