//! The terminal of a sandbox, connected with that of the caller.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::channel::Window;
use crate::poll::{self, Found};

/// What a terminal holds of unread input at most; reading more of ours would only fill memory.
const CHUNK: usize = 4096;

/// Returns the size of the caller's terminal, or the usual one if it has none.
pub(crate) fn window() -> Window {
    match tcgetwinsize(stdout()) {
        Ok(size) => Window {
            rows: size.ws_row,
            columns: size.ws_col,
        },
        Err(_) => Window {
            rows: 24,
            columns: 80,
        },
    }
}

/// The caller's terminal, passing every key on as it is until this is dropped.
#[derive(Debug)]
struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Returns `None` if standard input is no terminal.
    fn enter() -> Result<Option<Self>, Errno> {
        if !isatty(stdin()) {
            return Ok(None);
        }
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

/// The parent's side of the sandbox' terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    master: OwnedFd,
    /// Input the sandbox has not taken yet.
    pending: Vec<u8>,
    is_input_at_end: bool,
    _raw: Option<RawMode>,
}

impl Terminal {
    pub(crate) fn new(master: OwnedFd) -> Result<Self, Errno> {
        let flags = fcntl_getfl(&master)?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        let raw = RawMode::enter()?;
        Ok(Self {
            master,
            pending: Vec::new(),
            is_input_at_end: false,
            _raw: raw,
        })
    }

    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Returns whether more of the caller's input can be taken.
    pub(crate) fn wants_input(&self) -> bool {
        self.pending.is_empty() && !self.is_input_at_end
    }

    /// Passes what the caller typed on to the sandbox.
    pub(crate) fn pass_input(&mut self) -> Result<(), Errno> {
        let mut buf = [0; CHUNK];
        match rustix::io::retry_on_intr(|| rustix::io::read(stdin(), &mut buf))? {
            0 => self.is_input_at_end = true,
            n => self
                .pending
                .extend_from_slice(buf.get(..n).unwrap_or_default()),
        }
        self.flush()
    }

    /// Passes on what the sandbox did not take before.
    pub(crate) fn flush(&mut self) -> Result<(), Errno> {
        while !self.pending.is_empty() {
            match rustix::io::retry_on_intr(|| rustix::io::write(&self.master, &self.pending)) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(Errno::AGAIN) => return Ok(()),
                // Nobody has the terminal open any more.
                Err(Errno::IO) => self.pending.clear(),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Shows what the sandbox wrote; returns whether more may come.
    pub(crate) fn pass_output(&mut self) -> Result<Found, Errno> {
        let mut buf = [0; CHUNK];
        let found = poll::read(self.master.as_fd(), &mut buf)?;
        if let Found::Bytes(n) = found {
            let mut rest = buf.get(..n).unwrap_or_default();
            while !rest.is_empty() {
                let n = rustix::io::retry_on_intr(|| rustix::io::write(stdout(), rest))?;
                rest = rest.get(n..).unwrap_or_default();
            }
        }
        Ok(found)
    }

    /// Gives the sandbox' terminal the size of the caller's.
    pub(crate) fn resize(&self) -> Result<(), Errno> {
        if isatty(stdout()) {
            tcsetwinsize(&self.master, tcgetwinsize(stdout())?)
        } else {
            Ok(())
        }
    }
}
