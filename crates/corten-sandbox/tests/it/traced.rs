//! Processes that have no right at all, and whose calls are answered.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio as Pipe};
use std::sync::OnceLock;

use corten_sandbox::{
    Error, FileRecord, FileRecords, Init, Input, Isolation, Limits, Network, Process,
    RecordedDevice, Root, RootKind, Sandbox, Signals, Stdio, Stream, choose, run,
};
use tempfile::TempDir;

use crate::harness::Test;
use crate::world::{World, require_root};

pub(crate) const TESTS: &[Test] = &[
    ("who_it_is", who_it_is),
    ("the_root_is_the_directory", the_root_is_the_directory),
    ("owners_are_what_is_said", owners_are_what_is_said),
    ("modes_hold_for_others", modes_hold_for_others),
    ("records_go_in_and_come_out", records_go_in_and_come_out),
    ("there_is_no_way_out", there_is_no_way_out),
    (
        "other_processes_are_out_of_reach",
        other_processes_are_out_of_reach,
    ),
    ("what_cannot_be_executed", what_cannot_be_executed),
    (
        "scripts_name_their_interpreter",
        scripts_name_their_interpreter,
    ),
    ("pipes_wait_for_each_other", pipes_wait_for_each_other),
    (
        "directories_move_beneath_a_process",
        directories_move_beneath_a_process,
    ),
    ("nothing_is_left_behind", nothing_is_left_behind),
    ("it_dies_with_its_caller", it_dies_with_its_caller),
    ("without_a_network", without_a_network),
];

/// The user that has nothing.
pub(crate) const NOBODY: u32 = 65534;

/// Returns this executable where everybody may execute it.
fn executable() -> &'static Path {
    static COPY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = COPY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("it");
        fs::copy(std::env::current_exe().unwrap(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    });
    path
}

/// Makes the root in `world` that of a user without any right, with what a step finds in it.
fn give_away(world: &World) {
    for name in [
        "root/dev",
        "root/dev/pts",
        "root/proc",
        "root/sys",
        "workspace",
    ] {
        fs::create_dir(world.path(name)).unwrap();
    }
    symlink("/proc/self/fd", world.path("root/dev/fd")).unwrap();
    symlink("pts/ptmx", world.path("root/dev/ptmx")).unwrap();
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(world.path("workspace"), Some(NOBODY), Some(NOBODY)).unwrap();
    give_tree(&world.path("root"));
}

fn give_tree(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_tree(&entry.unwrap().path());
        }
    }
}

/// Returns a command that runs `script` supervised, by one who has no right.
pub(crate) fn command(world: &World, script: &str, more: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
        .arg(executable())
        .arg(RUN)
        .args([world.path("root"), world.path("workspace")])
        .arg(script)
        .args(more);
    command
}

/// What the script prints, both streams, and its exit status at the end.
#[track_caller]
pub(crate) fn shows(world: &World, script: &str, more: &[&str]) -> String {
    let output = command(world, script, more).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output.status.code().unwrap_or(-1);
    format!("{}{}{status}", text(&output.stdout), text(&output.stderr))
}

pub(crate) fn world() -> Result<World, String> {
    require_root()?;
    let world = World::new();
    give_away(&world);
    Ok(world)
}

#[track_caller]
fn check(script: &str, expected: &str) -> Result<(), String> {
    let world = world()?;
    assert_eq!(shows(&world, script, &[]), expected, "{script}");
    Ok(())
}

fn who_it_is() -> Result<(), String> {
    check(
        "id -u; id -g; cat /proc/self/comm; readlink /proc/self/exe",
        "0\n0\ncat\n/bin/busybox\n0",
    )?;
    let world = world()?;
    assert_eq!(
        shows(&world, "id -u; id -g; echo x >/new", &["7"]),
        "7\n7\n/bin/sh: can't create /new: Permission denied\n1"
    );
    Ok(())
}

fn the_root_is_the_directory() -> Result<(), String> {
    check(
        "ls /; cd /bin/../../tmp; pwd; echo made >/new; ln -s /new link; cat link; readlink link; cat ../../../new",
        "bin\ndev\nproc\nsys\ntmp\n/tmp\nmade\n/new\nmade\n0",
    )
}

fn owners_are_what_is_said() -> Result<(), String> {
    check(
        "cd /tmp; echo >f; chown 5:6 f; chmod 6755 f; stat -c '%u %g %a' f; chown 7 f; stat -c '%u %g %a' f; \
         mknod d c 1 5; stat -c '%F %t %T' d; mkdir s; chown 0:9 s; chmod 2000 s; echo >s/in; \
         stat -c '%u %g %a' s s/in; ln -s f l; chown -h 3:4 l; stat -c '%u %g' l f; mv f g; stat -c %u g; \
         rm g; echo >g; stat -c '%u %g' g; ln g h; chown 8 h; stat -c '%u %h' g",
        "5 6 6755\n7 6 755\ncharacter special file 1 5\n0 9 2000\n0 9 644\n3 4\n7 6\n7\n0 0\n8 2\n0",
    )
}

/// As for somebody who is not root: what is recorded counts.
fn modes_hold_for_others() -> Result<(), String> {
    let world = world()?;
    let prepare = "cd /tmp; echo secret >f; chmod 600 f; mkdir d; chmod 755 d; echo own >o; chown 7:7 o; \
                   chmod 400 o; chmod 1777 .; cat f";
    assert_eq!(shows(&world, prepare, &[]), "secret\n0");
    again(&world);
    let attempt =
        "cd /tmp; cat f; cat o; echo x >d/x; rm f; chown 0 o; chmod 600 o; stat -c %a o; kill -0 1";
    let shown = shows(&world, attempt, &["7"]);
    assert!(shown.starts_with("own\n600\n"), "{shown}");
    assert_eq!(shown.matches("denied").count(), 2, "{shown}");
    assert_eq!(shown.matches("not permitted").count(), 3, "{shown}");
    Ok(())
}

/// A workspace is for one run.
fn again(world: &World) {
    let executables = world.path("workspace/executables");
    fs::remove_dir_all(executables).unwrap();
}

fn records_go_in_and_come_out() -> Result<(), String> {
    let world = world()?;
    world.write("root/tmp/old", "", 0o600);
    chown(world.path("root/tmp/old"), Some(NOBODY), Some(NOBODY)).unwrap();
    let id = |name: &str| {
        let found = fs::symlink_metadata(world.path(name)).unwrap();
        (found.dev(), found.ino())
    };
    let mut records = FileRecords::default();
    let old = FileRecord {
        uid: 11,
        gid: 12,
        mode: 0o4000,
        ..FileRecord::default()
    };
    records.insert(id("root/tmp/old"), old.clone());
    let text = String::from_utf8(records.encode()).unwrap();
    world.write("workspace/records", &text, 0o600);
    chown(world.path("workspace/records"), Some(NOBODY), Some(NOBODY)).unwrap();
    let script = "stat -c '%u %g %a' /tmp/old; mknod /tmp/new b 8 1";
    assert_eq!(shows(&world, script, &[]), "11 12 4000\n0");
    let after = FileRecords::decode(&fs::read(world.path("workspace/records")).unwrap()).unwrap();
    assert_eq!(after.get(id("root/tmp/old")), Some(&old));
    let new = after.get(id("root/tmp/new")).unwrap();
    let device = RecordedDevice {
        block: true,
        major: 8,
        minor: 1,
    };
    assert_eq!((new.device, new.mode), (Some(device), 0o644));
    Ok(())
}

fn there_is_no_way_out() -> Result<(), String> {
    let world = world()?;
    world.write("secret", "secret", 0o644);
    let secret = world.path("secret");
    let secret = secret.display();
    let (up, parent) = ("../".repeat(32), std::process::id());
    let script = format!(
        "ln -s {secret} /tmp/l; ln -s {up}{secret} /tmp/r; ln -s /proc/self/root{secret} /tmp/p; cd /tmp; \
         for f in {secret} {up}{secret} l r p /proc/1/root{secret} /proc/{parent}/root{secret} \
             /proc/self/root/{up}{secret} /proc/self/cwd/{up}{secret} /dev/fd/0/{up}{secret}; \
         do cat $f && echo reached $f; ln $f /tmp/hard && echo linked; mv $f /tmp/moved && echo moved; done; \
         echo x >{secret}; echo x >l; mkdir {up}out; ls /out"
    );
    let shown = shows(&world, &script, &[]);
    assert!(
        !shown.contains("reached") && !shown.contains("secret\n0"),
        "{shown}"
    );
    assert!(!world.path("out").exists() && !Path::new("/out").exists());
    assert_eq!(fs::read(world.path("secret")).unwrap(), b"secret");
    assert!(shown.ends_with('0'), "{shown}");
    Ok(())
}

fn other_processes_are_out_of_reach() -> Result<(), String> {
    let world = world()?;
    let mut other = Command::new("setpriv");
    let mut other = other
        .args(["--reuid", "65534", "--clear-groups", "sleep", "1000"])
        .spawn()
        .unwrap();
    let pid = other.id();
    let script = format!(
        "kill -0 {pid} && echo signaled; kill -9 -1; kill -9 $PPID && echo supervisor; ls -d /proc/{pid} /proc/$PPID; \
         cat /proc/$PPID/mem; echo on"
    );
    let shown = shows(&world, &script, &[]);
    let ended = other.try_wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(ended.is_none(), "{shown}");
    assert!(
        !shown.contains("signaled") && !shown.contains("supervisor"),
        "{shown}"
    );
    assert_eq!(shown.matches("No such file").count(), 3, "{shown}");
    assert!(
        shown.starts_with("on\n") && shown.ends_with("\n0"),
        "{shown}"
    );
    Ok(())
}

fn what_cannot_be_executed() -> Result<(), String> {
    check(
        "cd /tmp; exec 2>/dev/null; /none; echo $?; echo >plain; ./plain; echo $?; chmod 755 plain; ./plain; echo $?; \
         ./; echo $?; printf '\\177ELF' >elf; chmod 755 elf; ./elf; echo $?; printf '#!/none\\n' >s; chmod 755 s; ./s; \
         echo $?; ln -s loop loop; ./loop; echo $?",
        "127\n126\n0\n126\n127\n127\n127\n0",
    )
}

fn scripts_name_their_interpreter() -> Result<(), String> {
    check(
        "cd /tmp; printf '#!/bin/sh -u\\necho $0 $@ $-\\n' >s; chmod 755 s; ./s 1 2; PATH=/tmp:$PATH; s x; \
         printf '#!/tmp/s\\n' >t; chmod 755 t; ./t y; cd ..; tmp/t",
        "./s 1 2 u\n/tmp/s x u\n/tmp/s ./t y u\n/tmp/s tmp/t u\n0",
    )
}

fn pipes_wait_for_each_other() -> Result<(), String> {
    check(
        "mknod /tmp/p p; (echo through >/tmp/p) & cat /tmp/p; wait; stat -c %F /tmp/p",
        "through\nfifo\n0",
    )
}

fn directories_move_beneath_a_process() -> Result<(), String> {
    check(
        "mkdir -p /tmp/a/b; cd /tmp/a/b; mv /tmp/a /tmp/c; /bin/pwd; echo >here; ls /tmp/c/b; rm -r /tmp/c; \
         /bin/pwd 2>/dev/null; echo $?",
        "/tmp/c/b\nhere\n1\n0",
    )
}

fn nothing_is_left_behind() -> Result<(), String> {
    check(
        "(setsid sleep 98765 &); (sleep 98765 >/dev/null 2>&1 &); echo on",
        "on\n0",
    )?;
    assert!(!is_running("98765"));
    Ok(())
}

fn it_dies_with_its_caller() -> Result<(), String> {
    let world = world()?;
    let mut caller = command(&world, "echo on; (setsid sleep 98764 &); sleep 98764", &[]);
    let mut caller = caller.stdout(Pipe::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(caller.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    caller.kill().unwrap();
    caller.wait().unwrap();
    // The last that could write is gone.
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "on\n");
    let began = std::time::Instant::now();
    while is_running("98764") {
        assert!(began.elapsed().as_secs() < 10, "it is still there");
        std::thread::yield_now();
    }
    Ok(())
}

pub(crate) fn is_running(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap();
    let lines = processes.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let found = lines.filter(|line| line.starts_with(b"sleep\0"));
    let mut found = found.map(|line| String::from_utf8_lossy(&line).into_owned());
    found.any(|line| line.contains(argument))
}

fn without_a_network() -> Result<(), String> {
    let world = world()?;
    let script = "/bin/busybox nc 127.0.0.1 1";
    let shown = shows(&world, script, &["0", "no-network"]);
    assert!(
        shown.contains("ermission denied") || shown.contains("not permitted"),
        "{shown}"
    );
    Ok(())
}

/// By this argument this executable runs a shell script in the root that follows, with a workspace, as
/// whoever it is itself.
pub(crate) const RUN: &str = "traced-run";

pub(crate) fn run_script(args: &[String]) -> ExitCode {
    let [root, workspace, script, rest @ ..] = args else {
        return ExitCode::from(125);
    };
    let mut process = Process::new(["/bin/sh", "-c", script].map(String::from).to_vec());
    process.env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "HOME=/root".to_owned(),
        "DEBIAN_FRONTEND=noninteractive".to_owned(),
    ];
    if let Some(user) = rest.first() {
        process.user.uid = user.parse().unwrap();
        process.user.gid = process.user.uid;
    }
    if let Err(error) = choose(Some(Isolation::Traced), Path::new(workspace)) {
        println!("cannot be had: {}", chain(&error));
        return ExitCode::from(125);
    }
    let sandbox = Sandbox {
        root: Root {
            kind: RootKind::Traced {
                directory: PathBuf::from(root),
                workspace: PathBuf::from(workspace),
            },
            readonly: false,
        },
        mounts: Vec::new(),
        hostname: "sandbox".to_owned(),
        network: if rest.get(1).is_some_and(|word| word == "no-network") {
            Network::None
        } else {
            Network::Host
        },
        init: Init::Reaper,
        limits: Limits::default(),
        process,
    };
    let mut sink = |stream: Stream, bytes: &[u8]| {
        drop(match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        });
    };
    let stdio = Stdio::Sink {
        stdin: if rest.get(1).is_some_and(|word| word == "input") {
            Input::Inherit
        } else {
            Input::Null
        },
        sink: &mut sink,
    };
    match run(&sandbox, stdio, Signals::Leave) {
        Ok(outcome) => ExitCode::from(u8::try_from(outcome.status.code()).unwrap_or(255)),
        Err(error) => {
            println!("cannot run: {}", chain(&error));
            ExitCode::from(125)
        }
    }
}

fn chain(error: &Error) -> String {
    crate::world::chain(error)
}
