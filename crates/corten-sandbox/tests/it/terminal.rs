//! A sandbox with a terminal, on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Command, ExitCode};

use corten_sandbox::{Signals, Stdio, run};
use corten_testing::harness::Test;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::world::{World, require_root};

pub(crate) const TESTS: &[Test] = &[("a_terminal_is_passed_on", a_terminal_is_passed_on)];

/// Tells this executable to run a script in a sandbox with a terminal: `--type SCRIPT`.
pub(crate) const TYPE: &str = "--type";

pub(crate) fn show(script: &str) -> ExitCode {
    let world = World::new();
    // CVE-2025-52565: what the image calls its console must not be what is mounted on.
    std::fs::create_dir(world.path("root/dev")).unwrap();
    symlink("/proc/sysrq-trigger", world.path("root/dev/console")).unwrap();
    let outcome = run(&world.sandbox(script), Stdio::Terminal, Signals::Leave).unwrap();
    ExitCode::from(u8::try_from(outcome.status.code()).unwrap())
}

/// What is typed may arrive before the new size, which was there first.
const SCRIPT: &str = "tty; stty size; stat -c %t:%T /dev/console; \
    read line; echo got $line; \
    n=0; while [ \"$(stty size)\" = '33 99' ] && [ $n -lt 1000 ]; do n=$((n + 1)); sleep 0.01; done; \
    stty size; exit 4";

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// Reads until the text ends in `end`, which comes at once.
#[track_caller]
fn read_until(master: &mut File, text: &mut String, end: &str) {
    const PATIENCE: Timespec = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let mut byte = [0];
    while !text.ends_with(end) {
        let n_ready = poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&PATIENCE));
        assert!(
            n_ready == Ok(1) && matches!(master.read(&mut byte), Ok(1)),
            "{text:?} does not end in {end:?}"
        );
        text.push(char::from(byte[0]));
    }
}

fn a_terminal_is_passed_on() -> Result<(), String> {
    require_root()?;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&master).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave: OwnedFd = ioctl_tiocgptpeer(&master, flags).unwrap();
    tcsetwinsize(&slave, size(33, 99)).unwrap();
    let before = tcgetattr(&slave).unwrap();
    let stdio = || slave.try_clone().unwrap();
    let mut shown = Command::new("/proc/self/exe")
        .args([TYPE, SCRIPT])
        .stdin(stdio())
        .stdout(stdio())
        .stderr(stdio())
        .spawn()
        .unwrap();
    let mut master = File::from(master);
    let mut text = String::new();
    read_until(&mut master, &mut text, "88:0\r\n");
    tcsetwinsize(&slave, size(44, 55)).unwrap();
    kill_process(
        Pid::from_raw(shown.id().cast_signed()).unwrap(),
        Signal::WINCH,
    )
    .unwrap();
    master.write_all(b"typed\r").unwrap();
    read_until(&mut master, &mut text, "55\r\n");
    assert_eq!(
        text,
        "/dev/pts/0\r\n33 99\r\n88:0\r\ntyped\r\ngot typed\r\n44 55\r\n"
    );
    assert_eq!(shown.wait().unwrap().code(), Some(4));
    let after = tcgetattr(&slave).unwrap();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    Ok(())
}
