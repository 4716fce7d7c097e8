//! When a sandbox ends, everything in it ends; and it ends with who started it.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use corten_sandbox::{Init, Signals, Stdio, run};
use corten_testing::harness::Test;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

use crate::world::{World, output, require_root};

pub(crate) const TESTS: &[Test] = &[
    ("a_daemon_does_not_survive", a_daemon_does_not_survive),
    (
        "a_killed_parent_takes_the_sandbox_along",
        a_killed_parent_takes_the_sandbox_along,
    ),
    ("signals_are_forwarded", signals_are_forwarded),
    (
        "an_executable_that_was_removed_still_works",
        an_executable_that_was_removed_still_works,
    ),
    ("sandboxes_run_side_by_side", sandboxes_run_side_by_side),
    ("ten_sandboxes_take_no_time", ten_sandboxes_take_no_time),
];

/// Tells this executable to hold a sandbox: `--hold INIT UID SCRIPT`.
pub(crate) const HOLD: &str = "--hold";

pub(crate) fn hold() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(2).collect();
    let world = World::new();
    let mut sandbox = world.sandbox(&args[2]);
    sandbox.process.user.uid = args[1].parse().unwrap();
    sandbox.init = if args[0] == "reaper" {
        Init::Reaper
    } else {
        Init::Process
    };
    let outcome = run(&sandbox, Stdio::Inherit, Signals::Forward).unwrap();
    ExitCode::from(u8::try_from(outcome.status.code()).unwrap())
}

/// A process that holds a sandbox, and the directory it leaves behind when it is killed.
struct Holder {
    process: Child,
    _dir: TempDir,
}

/// Starts a holder and waits until its sandbox has printed a line.
fn holder(executable: &str, init: &str, uid: &str, script: &str) -> Holder {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Command::new(executable)
        .args([HOLD, init, uid, script])
        .env("TMPDIR", dir.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    Holder { process, _dir: dir }
}

fn a_daemon_does_not_survive() -> Result<(), String> {
    require_root()?;
    // A time nobody else sleeps, to find it by.
    let nap = format!("3{}.5", std::process::id());
    for init in [Init::Process, Init::Reaper] {
        let world = World::new();
        let script = format!("setsid sleep {nap} & sh -c 'sleep {nap} &'; exit 3");
        let mut sandbox = world.sandbox(&script);
        sandbox.init = init;
        assert_eq!(output(&sandbox).unwrap().0.status.code(), 3);
        let alive = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            std::fs::read_to_string(entry.unwrap().path().join("cmdline")).ok()
        });
        assert_eq!(
            alive.filter(|cmdline| cmdline.contains(&nap)).count(),
            0,
            "{init:?}"
        );
    }
    Ok(())
}

fn a_killed_parent_takes_the_sandbox_along() -> Result<(), String> {
    require_root()?;
    // With another user, for changing it clears what ties a process to its parent.
    for (init, uid) in [("process", "0"), ("process", "1000"), ("reaper", "1000")] {
        let mut holder = holder("/proc/self/exe", init, uid, "echo ready; sleep 1000");
        let children = format!("/proc/{0}/task/{0}/children", holder.process.id());
        let child = std::fs::read_to_string(children).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        let pidfd = pidfd_open(child, PidfdFlags::empty()).unwrap();
        holder.process.kill().unwrap();
        holder.process.wait().unwrap();
        let mut polled = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        let limit = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut polled, Some(&limit)), Ok(1), "{init} {uid}");
    }
    Ok(())
}

fn signals_are_forwarded() -> Result<(), String> {
    require_root()?;
    let trapping = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    for (init, script, expected) in [
        ("process", trapping, 5),
        ("reaper", trapping, 5),
        ("reaper", "echo ready; while :; do sleep 0.01; done", 143),
    ] {
        let mut holder = holder("/proc/self/exe", init, "0", script);
        let pid = Pid::from_raw(holder.process.id().cast_signed()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        let status = holder.process.wait().unwrap();
        assert_eq!(
            (status.code(), status.signal()),
            (Some(expected), None),
            "{init} {script}"
        );
    }
    Ok(())
}

/// As when a new version is installed meanwhile: the stage then runs from a copy in memory.
fn an_executable_that_was_removed_still_works() -> Result<(), String> {
    require_root()?;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("it");
    std::fs::copy("/proc/self/exe", &path).unwrap();
    let removed = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let executable = format!("/proc/self/fd/{}", removed.as_raw_fd());
    let mut holder = holder(&executable, "process", "0", "echo ready");
    assert!(holder.process.wait().unwrap().success());
    Ok(())
}

fn sandboxes_run_side_by_side() -> Result<(), String> {
    require_root()?;
    // Made before any thread starts a child, which for a moment holds open what is being written: an
    // executable in that state cannot be executed.
    let worlds: Vec<World> = (0..8).map(|_| World::new()).collect();
    std::thread::scope(|scope| {
        for (idx, world) in worlds.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..5 {
                    let script = format!("echo {idx}.{round} | cat; ls /proc/self/fd");
                    let expected = format!("{idx}.{round}\n0\n1\n2\n3\n");
                    assert_eq!(world.prints(&script), expected);
                }
            });
        }
    });
    Ok(())
}

/// The bound is loose, for machines that do other things besides; the aim is 10 in 150 ms.
fn ten_sandboxes_take_no_time() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let sandbox = world.sandbox("true");
    let before = Instant::now();
    for _ in 0..10 {
        output(&sandbox).unwrap();
    }
    let elapsed = before.elapsed();
    println!("10 sandboxes: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    Ok(())
}
