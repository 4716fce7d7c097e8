//! Landlock around the supervisor, and more closely around what it supervises.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::io::Errno;

use crate::landlock::{self, Right};
use crate::traced::copies::Copies;
use crate::traced::world::{Area, World};

const READ: u64 = Right::READ_FILE | Right::READ_DIR;

/// Keeps the supervisor within what it answers with. Returns whether the kernel keeps signals in, too.
pub(crate) fn fence_supervisor(world: &World, copies: &Copies) -> Result<bool, Errno> {
    let mut rules = vec![
        (world.root.as_fd(), Right::ALL),
        (copies.directory(), Right::ALL),
    ];
    rules.extend(
        world
            .outside()
            .map(|(area, handle)| (handle, of_supervisor(area))),
    );
    landlock::fence_with(&rules, landlock::Signals::Leave)
}

fn of_supervisor(area: Area) -> u64 {
    const FILE: u64 = Right::READ_FILE | Right::WRITE_FILE | Right::TRUNCATE | Right::IOCTL_DEV;
    match area {
        Area::Proc => READ | Right::WRITE_FILE | Right::TRUNCATE,
        Area::Sys => READ,
        Area::Terminals => FILE | Right::READ_DIR,
        Area::Device => FILE,
        Area::Tree | Area::Descriptor => 0,
    }
}

/// Keeps this process, and what it becomes, within what it does itself: executing files of the root. Nor may it trace the supervisor or, from Linux 6.12 on, send it a signal.
pub(crate) fn fence_process(world: &World, copies: &Copies) -> Result<(), Errno> {
    let executable = Right::EXECUTE | READ;
    let rules: [(BorrowedFd<'_>, u64); 2] = [
        (world.root.as_fd(), executable),
        (copies.directory(), executable),
    ];
    landlock::fence_with(&rules, landlock::Signals::Keep).map(drop)
}
