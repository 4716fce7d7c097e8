//! Processes in a directory that is entered by chroot(2) alone.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio as Pipe};
use std::time::{Duration, Instant};

use corten_sandbox::{
    Cancel, Error, Init, Input, Isolation, Mount, MountKind, Network, RootKind, Sandbox, Signals,
    Stdio, Tier, choose, run, run_until,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Test;
use crate::world::{World, output, prints, require_root};

pub(crate) const TESTS: &[Test] = &[
    ("the_root_is_the_directory", the_root_is_the_directory),
    ("nothing_is_mounted", nothing_is_mounted),
    ("who_it_is", who_it_is),
    ("there_is_no_way_out", there_is_no_way_out),
    ("no_root_is_left_for_another", no_root_is_left_for_another),
    ("without_a_network", without_a_network),
    ("nothing_is_left_behind", nothing_is_left_behind),
    (
        "a_killed_caller_takes_it_along",
        a_killed_caller_takes_it_along,
    ),
    (
        "it_ends_when_all_is_cancelled",
        it_ends_when_all_is_cancelled,
    ),
    (
        "it_ends_although_the_reaper_does_not_answer",
        it_ends_although_the_reaper_does_not_answer,
    ),
    (
        "it_ends_where_the_session_is_out_of_sight",
        it_ends_where_the_session_is_out_of_sight,
    ),
    ("what_it_cannot_do_is_refused", what_it_cannot_do_is_refused),
    (
        "each_isolation_is_the_one_asked_for",
        each_isolation_is_the_one_asked_for,
    ),
];

/// By this argument this executable runs a shell in the root that follows, and waits for its end.
pub(crate) const HOLD: &str = "chrooted-hold";

/// A shell starts nothing in the background without it.
fn add_null(world: &World) {
    fs::create_dir(world.path("root/dev")).unwrap();
    world.write("root/dev/null", "", 0o666);
}

fn sandbox(world: &World, script: &str) -> Sandbox {
    let mut sandbox = world.sandbox(script);
    sandbox.root.kind = RootKind::Chroot(world.path("root"));
    sandbox.init = Init::Reaper;
    sandbox
}

fn the_root_is_the_directory() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    assert_eq!(
        prints(&sandbox(&world, "ls / && pwd && echo made >/new")),
        "bin\ntmp\n/\n"
    );
    assert_eq!(fs::read(world.path("root/new")).unwrap(), b"made\n");
    Ok(())
}

/// The mount namespace is the caller's, so that what can be seen of mounts by number is the same.
fn nothing_is_mounted() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let device = fs::metadata(world.path("root")).unwrap().dev();
    let shown = prints(&sandbox(&world, "stat -c %d / /bin"));
    assert_eq!(shown, format!("{device}\n{device}\n"));
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    Ok(())
}

fn who_it_is() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = sandbox(&world, "id -u; id -g; id -G");
    sandbox.process.user.uid = 7;
    sandbox.process.user.gid = 8;
    sandbox.process.user.additional_gids = vec![8, 9];
    assert_eq!(prints(&sandbox), "7\n8\n8 9\n");
    Ok(())
}

fn there_is_no_way_out() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    world.write("secret", "secret", 0o644);
    let secret = world.path("secret");
    let up = "../".repeat(32);
    let script = format!(
        "mkdir -p /a/b && cd /a; chroot b /bin/true; cat {up}{0} {0}; kill -0 {1} && echo reached; true",
        secret.display(),
        std::process::id(),
    );
    let shown = prints(&sandbox(&world, &script));
    let n_missing = shown.matches("No such file or directory").count();
    assert_eq!(n_missing, 2, "twice a file: {shown}");
    let n_refused = shown.matches("Operation not permitted").count();
    assert!(n_refused >= 1, "to change the root: {shown}");
    // A signal is refused by Landlock from Linux 6.12 on.
    assert!(!shown.contains("reached"), "{shown}");
    Ok(())
}

/// A directory that is moved out of a root takes along who is in it, and Landlock knows nothing of
/// modes.
fn no_root_is_left_for_another() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    add_null(&world);
    world.write("secret", "secret", 0o644);
    let secret = world.path("secret");
    let (up, secret) = ("../".repeat(32), secret.display());
    let script = format!(
        "mkdir -p /a/bin /a/in; cp /bin/busybox /a/bin/; \
         for name in sh chmod; do ln -s busybox /a/bin/$name; done; \
         (chroot /a /bin/sh -c 'cd /in; echo >here; while [ -e /in ]; do :; done; chmod 600 {up}{secret}' \
         || echo >/a/in/here) & \
         while [ ! -e /a/in/here ]; do :; done; mv /a/in /moved; wait; \
         mknod /disk b 8 0; mknod /null c 1 3; true"
    );
    let shown = prints(&sandbox(&world, &script));
    let mode = fs::metadata(world.path("secret")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o644, "{shown}");
    assert!(!world.path("root/disk").exists(), "{shown}");
    assert!(!world.path("root/null").exists(), "{shown}");
    Ok(())
}

fn without_a_network() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let script = "busybox nc -w 1 127.0.0.1 1; busybox nc -w 1 ::1 1; true";
    let mut sandbox = sandbox(&world, script);
    sandbox.network = Network::None;
    let shown = prints(&sandbox);
    let n_refused = shown.matches("Operation not permitted").count();
    assert_eq!(n_refused, 2, "{shown}");
    Ok(())
}

fn processes_with(word: &str) -> Vec<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let found = entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let cmdline = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        cmdline.contains(word).then_some(pid)
    });
    found.collect()
}

fn nothing_is_left_behind() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    add_null(&world);
    let nap = format!("1000{}1", std::process::id());
    // In sessions of their own, some of whose parents have ended, and one that ignores signals.
    let script = format!(
        "setsid sleep {nap} & (setsid sleep {nap} &) ; \
         (setsid sh -c 'trap \"\" TERM INT HUP; sleep {nap}; sleep {nap}' &); exit 3"
    );
    let (outcome, ..) = output(&sandbox(&world, &script)).unwrap();
    assert_eq!(outcome.status.code(), 3);
    assert!(processes_with(&nap).is_empty());
    Ok(())
}

/// Holds a sandbox of `root` that says when it is ready.
pub(crate) fn hold(root: &str) -> ExitCode {
    let world = World::new();
    add_null(&world);
    let script = format!("setsid sleep {root} & sleep {root} & echo ready; wait");
    let sandbox = sandbox(&world, &script);
    let mut sink = |_stream, _bytes: &[u8]| println!("ready");
    let stdio = Stdio::Sink {
        stdin: Input::Null,
        sink: &mut sink,
    };
    run(&sandbox, stdio, Signals::Leave).unwrap();
    ExitCode::SUCCESS
}

fn a_killed_caller_takes_it_along() -> Result<(), String> {
    require_root()?;
    let nap = format!("1000{}2", std::process::id());
    let mut holder = Command::new("/proc/self/exe")
        .args([HOLD, &nap])
        .stdout(Pipe::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    assert!(
        processes_with(&nap).len() > 2,
        "the holder and its processes"
    );
    kill_process(
        Pid::from_raw(i32::try_from(holder.id()).unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    holder.wait().unwrap();
    let started = Instant::now();
    while !processes_with(&nap).is_empty() {
        assert!(
            started.elapsed().as_secs() < 10,
            "{:?}",
            processes_with(&nap)
        );
        std::thread::yield_now();
    }
    Ok(())
}

fn it_ends_when_all_is_cancelled() -> Result<(), String> {
    require_root()?;
    for is_chroot in [true, false] {
        let world = World::new();
        add_null(&world);
        let nap = format!("1000{}3", std::process::id());
        let script = format!("setsid sleep {nap} & echo ready; sleep {nap}");
        let sandbox = if is_chroot {
            sandbox(&world, &script)
        } else {
            world.sandbox(&script)
        };
        let cancel = Cancel::new().unwrap();
        let other = cancel.clone();
        let mut sink = |_stream, _bytes: &[u8]| other.cancel(Duration::ZERO);
        let stdio = Stdio::Sink {
            stdin: Input::Null,
            sink: &mut sink,
        };
        let started = Instant::now();
        let ended = run_until(&sandbox, stdio, &cancel);
        assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
        assert!(started.elapsed().as_millis() < 1000);
        assert!(processes_with(&nap).is_empty());
    }
    Ok(())
}

fn parent_of(pid: i32) -> Pid {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Pid::from_raw(parent.unwrap().trim().parse().unwrap()).unwrap()
}

/// As a command can do that is not fenced in.
fn it_ends_although_the_reaper_does_not_answer() -> Result<(), String> {
    require_root()?;
    for signal in [Signal::STOP, Signal::KILL] {
        let world = World::new();
        add_null(&world);
        let nap = format!("1000{}4", std::process::id());
        let script = format!(
            "trap '' TERM; (setsid sleep {nap} & setsid sh -c 'sleep {nap}; sleep {nap}' &); \
             echo ready; sleep {nap}"
        );
        let sandbox = sandbox(&world, &script);
        let cancel = Cancel::new().unwrap();
        let other = cancel.clone();
        let mut sink = |_stream, _bytes: &[u8]| {
            // The first is the command itself, which has started the others: those may be on their way.
            let deadline = Instant::now() + Duration::from_secs(30);
            let mut found = processes_with(&nap);
            while found.len() < 3 {
                assert!(Instant::now() < deadline, "the command starts others");
                std::thread::sleep(Duration::from_millis(10));
                found = processes_with(&nap);
            }
            kill_process(parent_of(*found.iter().min().unwrap()), signal).unwrap();
            if signal == Signal::STOP {
                other.cancel(Duration::ZERO);
            }
        };
        let stdio = Stdio::Sink {
            stdin: Input::Null,
            sink: &mut sink,
        };
        let started = Instant::now();
        let ended = run_until(&sandbox, stdio, &cancel);
        match signal {
            Signal::STOP => assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}"),
            _ => assert_eq!(ended.unwrap().status.code(), 128 + 9),
        }
        assert!(started.elapsed().as_secs() < 10);
        assert_eq!(processes_with(&nap), [0; 0], "{signal:?}");
    }
    Ok(())
}

/// As in a container: the leader of the session is outside, so that its number is 0.
fn it_ends_where_the_session_is_out_of_sight() -> Result<(), String> {
    require_root()?;
    let inside = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .arg("chrooted::it_ends_although_the_reaper_does_not_answer")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&inside.stdout);
    assert!(inside.status.success(), "{inside:?}");
    assert!(shown.contains("1 passed; 0 failed; 0 not run"), "{shown}");
    Ok(())
}

fn what_it_cannot_do_is_refused() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let refused = |change: &dyn Fn(&mut Sandbox)| {
        let mut sandbox = sandbox(&world, "echo ran");
        change(&mut sandbox);
        let error = output(&sandbox).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    };
    refused(&|sandbox| sandbox.root.kind = RootKind::Chroot("/".into()));
    refused(&|sandbox| sandbox.root.kind = RootKind::Chroot("root".into()));
    refused(&|sandbox| sandbox.init = Init::Process);
    refused(&|sandbox| {
        sandbox.network = Network::None;
        sandbox.process.unconfined = true;
    });
    refused(&|sandbox| {
        sandbox.mounts.push(Mount {
            destination: "/tmp".into(),
            kind: MountKind::Tmpfs {
                size: None,
                mode: 0o755,
            },
            readonly: false,
        });
    });
    Ok(())
}

fn each_isolation_is_the_one_asked_for() -> Result<(), String> {
    require_root()?;
    let scratch = Path::new("/tmp");
    let chosen = |wanted| choose(wanted, scratch);
    assert!(matches!(chosen(None), Ok(Tier::Root { .. })));
    assert!(matches!(
        chosen(Some(Isolation::Root)),
        Ok(Tier::Root { .. })
    ));
    assert!(matches!(chosen(Some(Isolation::Chroot)), Ok(Tier::Chroot)));
    let refused = chosen(Some(Isolation::UserNamespace)).unwrap_err();
    assert!(
        refused.to_string().contains("userns: root needs none"),
        "{refused}"
    );
    Ok(())
}
