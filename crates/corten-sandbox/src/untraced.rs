//! What a supervisor answers is known for x86-64 alone.

use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Doing, Failure};
use crate::spec::Sandbox;
use crate::stage::Never;

/// Refuses.
pub(crate) fn run(
    _: &Sandbox,
    directory: &Path,
    _: &Path,
    _: BorrowedFd<'_>,
) -> Result<Never, Failure> {
    Err(Errno::NOSYS).doing("supervising a process of this machine in", directory)
}

/// Refuses.
pub(crate) fn attempt(_: &Path) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}
