//! What a hostile command does to whoever supervises it, and what only an unusual one does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Stdio as Pipe};
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::harness::Test;
use crate::traced::{NOBODY, command, is_running, shows, world};
use crate::world::World;

pub(crate) const TESTS: &[Test] = &[
    (
        "sockets_outside_are_out_of_reach",
        sockets_outside_are_out_of_reach,
    ),
    ("sockets_inside_are_reached", sockets_inside_are_reached),
    ("nobody_is_started_untraced", nobody_is_started_untraced),
    (
        "the_callers_terminal_is_not_reached",
        the_callers_terminal_is_not_reached,
    ),
    (
        "terminals_of_others_are_not_reached",
        terminals_of_others_are_not_reached,
    ),
    ("terminals_are_made", terminals_are_made),
    (
        "memory_of_a_parent_is_left_alone",
        memory_of_a_parent_is_left_alone,
    ),
    (
        "directories_are_searched_by_whom_they_let",
        directories_are_searched_by_whom_they_let,
    ),
    ("places_are_opened", places_are_opened),
    ("owners_end_with_their_files", owners_end_with_their_files),
    (
        "files_of_the_caller_are_not_changed",
        files_of_the_caller_are_not_changed,
    ),
    (
        "capabilities_go_with_what_a_file_held",
        capabilities_go_with_what_a_file_held,
    ),
    (
        "set_id_bits_go_when_others_write",
        set_id_bits_go_when_others_write,
    ),
    (
        "other_processes_are_not_limited",
        other_processes_are_not_limited,
    ),
];

/// Returns a world with the attacks in it, as `/bin/attack`.
fn attacked() -> Result<World, String> {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let world = world()?;
    let (_, built) = BUILT.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("attack");
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/it/traced_attacks/attacks.c"
        );
        // A linker is there, since this was linked.
        let status = Command::new("cc")
            .args(["-static", "-O1", "-pthread", "-Wall", "-Werror", "-o"])
            .arg(&path)
            .arg(source)
            .status()
            .unwrap();
        assert!(status.success());
        (dir, path)
    });
    let path = world.path("root/bin/attack");
    fs::copy(built, &path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    Ok(world)
}

#[track_caller]
fn check(script: &str, expected: &str) -> Result<(), String> {
    let world = attacked()?;
    assert_eq!(shows(&world, script, &[]), expected, "{script}");
    Ok(())
}

/// Another thread changes the address, or the descriptor, while the kernel may look at it.
fn sockets_outside_are_out_of_reach() -> Result<(), String> {
    let world = attacked()?;
    let outside = world.path("outside");
    let place = outside.display().to_string();
    let listener = UnixListener::bind(&outside).unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
    let abstract_name = format!("corten-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    let machines = UnixListener::bind_addr(&address).unwrap();
    fs::create_dir(world.path("open")).unwrap();
    fs::set_permissions(world.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let made = world.path("open/made");
    let script = format!("attack sockets {place} {abstract_name} {}", made.display());
    let shown = shows(&world, &script, &[]);
    for listener in [listener, machines] {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "{shown}");
    }
    assert!(!made.exists(), "{shown}");
    assert_eq!(
        shown,
        "plain: ENOENT\npackets: ENOENT\nabstract: ECONNREFUSED\ndatagrams: ESOCKTNOSUPPORT\n\
         raw: ESOCKTNOSUPPORT\na pair of datagrams: ESOCKTNOSUPPORT\na pair: done\na pair that connects: EISCONN\n\
         bind: done\none that has a name: EINVAL\nlisten: done\nconnected: some\nover\n0"
    );
    Ok(())
}

fn sockets_inside_are_reached() -> Result<(), String> {
    // Of what is connected the kernel looks up the name before it refuses, and not in the root.
    let expected = "bind: done\nbind again: EADDRINUSE\nlisten: done\nconnect: done\nwrite: done\nread: done\nhello\n\
                    connect again: ENOENT\nnobody there: ECONNREFUSED\nnothing there: ENOENT\n";
    let world = attacked()?;
    let script = "cd /tmp; attack listen /tmp/s; stat -c '%F %a' s; attack listen r";
    let shown = shows(&world, script, &[]);
    let mut lines: Vec<&str> = shown.lines().collect();
    let mut wanted: Vec<&str> = expected.lines().chain(expected.lines()).collect();
    wanted.extend(["socket 755", "0"]);
    // Two processes tell of it.
    lines.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(lines, wanted, "{shown}");
    Ok(())
}

fn nobody_is_started_untraced() -> Result<(), String> {
    check(
        "attack untraced",
        "clone: EPERM\nclone: EPERM\nclone: EPERM\nunshare: EPERM\n0",
    )?;
    assert!(!is_running("98763"));
    Ok(())
}

fn the_callers_terminal_is_not_reached() -> Result<(), String> {
    let world = attacked()?;
    let step = command(
        &world,
        "echo INJECTED >/dev/tty; cat /dev/tty; ls -l /dev/tty; echo on",
        &[],
    );
    let words = std::iter::once(step.get_program()).chain(step.get_args());
    let words: Vec<String> = words
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let output = Command::new("script")
        .args(["-qec", &words.join(" "), "/dev/null"])
        .stdin(Pipe::null())
        .output();
    let output = output.map_err(|error| format!("needs script: {error}"))?;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(!shown.contains("INJECTED"), "{shown}");
    assert_eq!(
        shown.matches("No such device or address").count(),
        2,
        "{shown}"
    );
    assert!(shown.contains("on\r\n"), "{shown}");
    Ok(())
}

/// Takes the terminal of this number, if it is free.
fn take_terminal(number: &str) -> Option<OwnedFd> {
    let mut others = Vec::new();
    for _ in 0..64 {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        if name.to_str().unwrap() == format!("/dev/pts/{number}") {
            return Some(master);
        }
        others.push(master);
    }
    None
}

/// A number is another's once the terminal that had it is closed.
fn terminals_of_others_are_not_reached() -> Result<(), String> {
    let world = attacked()?;
    let script = "exec 3<>/dev/ptmx; number=$(grep tty-index /proc/self/fdinfo/3); exec 3>&-; echo $number; read line; \
                  echo FROM-STEP >$line; cat <$line; echo on";
    let mut step = command(&world, script, &[]);
    step.arg("0").arg("input");
    let mut step = step
        .stdin(Pipe::piped())
        .stdout(Pipe::piped())
        .stderr(Pipe::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(step.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let number = line
        .trim()
        .strip_prefix("tty-index:")
        .unwrap()
        .trim()
        .to_owned();
    let name = format!("/dev/pts/{number}");
    let Some(master) = take_terminal(&number) else {
        step.kill().unwrap();
        step.wait().unwrap();
        return Err(format!("somebody else has {name}"));
    };
    unlockpt(&master).unwrap();
    chown(&name, Some(NOBODY), Some(NOBODY)).unwrap();
    // As long as it is open by its owner.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_str(), flags, Mode::empty()).unwrap();
    rustix::io::write(&master, b"my password\n").unwrap();
    writeln!(step.stdin.take().unwrap(), "{name}").unwrap();
    let (mut shown, mut errors) = (String::new(), String::new());
    out.read_to_string(&mut shown).unwrap();
    step.stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    step.wait().unwrap();
    assert_eq!(shown, "on\n", "{errors}");
    assert_eq!(errors.matches("/dev/pts/").count(), 2, "{errors}");
    let nonblocking = rustix::fs::fcntl_getfl(&master).unwrap() | OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(master.as_fd(), nonblocking).unwrap();
    let mut bytes = [0; 64];
    let n_read = rustix::io::read(&master, &mut bytes).unwrap_or(0);
    // What was typed is shown by the kernel.
    assert!(!String::from_utf8_lossy(&bytes[..n_read]).contains("FROM-STEP"));
    drop(slave);
    Ok(())
}

fn terminals_are_made() -> Result<(), String> {
    check(
        "attack terminal",
        "write: done\nread: done\nthrough\na terminal of its own: ENXIO\nclosed: ENOENT\n0",
    )
}

/// The stack of who executes something may lie in what its parent still needs.
fn memory_of_a_parent_is_left_alone() -> Result<(), String> {
    let world = attacked()?;
    let script = "cd /tmp; printf '#!/bin/sh\\nexit $(($# %% 251))\\n' >s; chmod 755 s; echo >plain; chmod 755 plain; \
                  printf '#!/none\\n' >long; chmod 755 long; attack spawn /tmp/s";
    let expected = format!(
        "0\n{0}\n{0}\n{1}\n127 126 127\n0",
        3000 % 251,
        200_000 % 251
    );
    assert_eq!(shows(&world, script, &[]), expected);
    Ok(())
}

/// Where somebody is, how it came there does not matter.
fn directories_are_searched_by_whom_they_let() -> Result<(), String> {
    check(
        "mkdir -p /tmp/p/in; cd /tmp/p/in; echo 1 >f; echo 2 >../g; mkdir ../m; echo 3 >../m/h; chmod 711 ../m; chmod 700 ..; \
         ln -s /tmp/p/in/f /tmp/l; cat /tmp/p/in/f /tmp/l; attack as 7 /bin/cat f ./f; exec 2>&1; \
         attack as 7 /bin/cat /tmp/p/in/f; attack as 7 /bin/cat /tmp/p/../p/g; attack as 7 /bin/stat -c %n /tmp/p /tmp/p/; \
         cd ..; attack as 7 /bin/cat g; attack as 7 /bin/sh -c 'cd in'; cd m; attack as 7 /bin/cat h; attack as 7 /bin/ls .",
        "1\n1\n1\n1\ncat: can't open '/tmp/p/in/f': Permission denied\n\
         cat: can't open '/tmp/p/../p/g': Permission denied\n/tmp/p\n/tmp/p/\ncat: can't open 'g': Permission denied\n\
         /bin/sh: cd: line 0: can't cd to in: Permission denied\n3\nls: can't open '.': Permission denied\n1",
    )
}

fn places_are_opened() -> Result<(), String> {
    check(
        "cd /tmp; echo >f; ln -s f l; mknod p p; attack places /tmp f l p",
        "directory: done\nfile: done\nlink: EOPNOTSUPP\npipe: done\nchange: done\n0",
    )
}

/// A file has its owner for as long as it is open, and nobody else's file gets it.
fn owners_end_with_their_files() -> Result<(), String> {
    check(
        "attack unlinked /tmp/f",
        "owner: done\n5 6\nmode: done\n0 600\nthe caller's: done\n0",
    )
}

/// What a command was started with may lie on the disk of the root.
fn files_of_the_caller_are_not_changed() -> Result<(), String> {
    let world = attacked()?;
    let path = world.path("input");
    world.write("input", "in", 0o604);
    chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    let mut step = command(&world, "attack unlinked /tmp/f; chmod 777 /dev/fd/0", &[]);
    let input = fs::File::open(&path).unwrap();
    let output = step.args(["0", "input"]).stdin(input).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o604);
    Ok(())
}

fn capabilities_go_with_what_a_file_held() -> Result<(), String> {
    check(
        "cd /tmp; setcap() { attack capabilities f security.capability; }; echo old >f; chmod 6755 f; setcap; \
         attack capabilities f; touch f; chmod 755 f; cat f; attack capabilities f; \
         echo new >f; attack capabilities f; setcap; echo more >>f; attack capabilities f; \
         setcap; attack append f; attack capabilities f; setcap; attack mapped f; attack capabilities f; setcap; ln f g; mv g h; \
         attack capabilities h; stat -c %a h; attack capabilities f security.ima",
        "set: done\n20\nold\n20\n-1\nset: done\n-1\nset: done\nappend: done\ntimes: done\n-1\nset: done\nmap: done\n-1\n\
         set: done\n20\n755\nset: EPERM\n0",
    )
}

fn set_id_bits_go_when_others_write() -> Result<(), String> {
    check(
        "cd /tmp; chmod 777 .; echo >f; chmod 6777 f; echo root >f; stat -c %a f; attack as 7 /bin/sh -c 'cat <f; echo >>f'; \
         stat -c %a f; chmod 6777 f; attack as 7 /bin/sh -c 'touch f; echo >f'; stat -c %a f; chmod 6777 f; \
         attack as 7 /bin/touch f; stat -c %a f; attack as 7 /bin/sh -c 'echo >o; chmod 4755 o'; stat -c '%a %u' o",
        "6777\nroot\n777\n777\n6777\n4755 7\n0",
    )
}

/// The kernel lets everybody limit what runs as the same user.
fn other_processes_are_not_limited() -> Result<(), String> {
    let world = attacked()?;
    let mut other = Command::new("setpriv");
    let mut other = other
        .args(["--reuid", "65534", "--clear-groups", "sleep", "1000"])
        .spawn()
        .unwrap();
    let shown = shows(&world, &format!("attack others {}", other.id()), &[]);
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(
        shown,
        "limits: EPERM\nown limits: done\nprocessors: EPERM\nown processors: done\nschedule: EPERM\n\
         priority: EPERM\nall priorities: EPERM\nown priority: done\ninput and output: EPERM\n\
         all input and output: EPERM\nwatch: ENOSPC\n0"
    );
    Ok(())
}
