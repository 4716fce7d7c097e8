//! Ways out of a sandbox that other runtimes once left open.

use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use corten_sandbox::{
    Error, Init, Input, Mount, MountKind, RootKind, Sandbox, Signals, Stdio, User, run,
};
use corten_testing::harness::Test;

use crate::world::{World, output, prints, require_root};

pub(crate) const TESTS: &[Test] = &[
    ("no_descriptor_leaks", no_descriptor_leaks),
    (
        "a_leaked_directory_is_no_working_directory",
        a_leaked_directory_is_no_working_directory,
    ),
    (
        "the_hosts_root_is_out_of_reach",
        the_hosts_root_is_out_of_reach,
    ),
    (
        "the_own_executable_cannot_be_written",
        the_own_executable_cannot_be_written,
    ),
    (
        "a_directory_as_a_standard_stream_is_no_way_out",
        a_directory_as_a_standard_stream_is_no_way_out,
    ),
    (
        "standard_streams_are_opened_again",
        standard_streams_are_opened_again,
    ),
    ("masked_paths_are_empty", masked_paths_are_empty),
    (
        "the_kernels_settings_are_read_only",
        the_kernels_settings_are_read_only,
    ),
    ("proc_as_a_link_is_refused", proc_as_a_link_is_refused),
    ("nothing_is_mounted_over_proc", nothing_is_mounted_over_proc),
    (
        "mount_points_stay_in_the_root",
        mount_points_stay_in_the_root,
    ),
    (
        "devices_of_the_image_are_not_used",
        devices_of_the_image_are_not_used,
    ),
    (
        "devices_of_the_host_cannot_be_made",
        devices_of_the_host_cannot_be_made,
    ),
    (
        "an_ordinary_user_is_not_root_of_the_host",
        an_ordinary_user_is_not_root_of_the_host,
    ),
];

/// What `ls /` shows in a root of [`World`].
const ROOT: &str = "bin\ndev\nproc\nsys\ntmp\n";

fn no_descriptor_leaks() -> Result<(), String> {
    require_root()?;
    let directory = std::fs::File::open("/").unwrap();
    // Unlike all of Rust's, this one does not close on execution.
    let leaked = rustix::io::dup(&directory).unwrap();
    assert_eq!(World::new().prints("ls /proc/self/fd"), "0\n1\n2\n3\n");
    drop(leaked);
    Ok(())
}

/// CVE-2024-21626: with a working directory of `/proc/self/fd/7`, runc started the process in the
/// host's file system.
fn a_leaked_directory_is_no_working_directory() -> Result<(), String> {
    require_root()?;
    let directory = std::fs::File::open("/").unwrap();
    let leaked = rustix::io::dup(&directory).unwrap();
    let world = World::new();
    let mut sandbox = world.sandbox("ls ../../../../../../..");
    for fd in (3..20).chain([leaked.as_raw_fd()]) {
        sandbox.process.cwd = format!("/proc/self/fd/{fd}").into();
        match output(&sandbox) {
            Err(Error::WorkingDirectory { .. }) => {}
            // A descriptor of the stage that lies in the root does no harm.
            Ok((_, out, _)) => assert_eq!(out, ROOT, "descriptor {fd}"),
            Err(other) => panic!("descriptor {fd}: {other:?}"),
        }
    }
    Ok(())
}

fn the_hosts_root_is_out_of_reach() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    assert_eq!(world.prints("ls /../../../.."), ROOT);
    assert_eq!(world.prints("ls /proc/self/cwd/../../../.."), ROOT);
    assert_eq!(world.prints("ls /proc/1/root/../.."), ROOT);
    Ok(())
}

/// CVE-2019-5736: a process opened `/proc/PID/exe` of runc in its container and overwrote it.
fn the_own_executable_cannot_be_written() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox(": > /proc/1/exe");
    sandbox.init = Init::Reaper;
    let (outcome, _, err) = output(&sandbox).unwrap();
    assert!(
        !outcome.status.is_success() && err.contains("denied"),
        "{err}"
    );
    // Landlock keeps one that may look into others from it.
    let capabilities = &mut sandbox.process.capabilities;
    capabilities.push("CAP_SYS_PTRACE".to_owned());
    let (_, _, err) = output(&sandbox).unwrap();
    assert!(err.contains("Permission denied"), "{err}");
    // Even without it there is a read-only mount.
    sandbox.process.unconfined = true;
    let (outcome, _, err) = output(&sandbox).unwrap();
    assert!(
        !outcome.status.is_success() && err.contains("Read-only"),
        "{err}"
    );
    Ok(())
}

/// What the process prints with `stdin`.
fn reading(sandbox: &Sandbox, stdin: &str) -> String {
    let mut out = Vec::new();
    let mut sink = |_, bytes: &[u8]| out.extend_from_slice(bytes);
    let stdio = Stdio::Sink {
        stdin: Input::File(std::fs::File::open(stdin).unwrap().into()),
        sink: &mut sink,
    };
    run(sandbox, stdio, Signals::Leave).unwrap();
    String::from_utf8(out).unwrap()
}

/// No mount keeps from what a descriptor leads to: Landlock does.
fn a_directory_as_a_standard_stream_is_no_way_out() -> Result<(), String> {
    require_root()?;
    let script = "ls /proc/self/fd/0/ >/dev/null; cat /proc/self/fd/0/etc/passwd >/dev/null";
    let world = World::new();
    let mut sandbox = world.sandbox(script);
    let told = reading(&sandbox, "/");
    assert_eq!(told.matches("Permission denied").count(), 2, "{told}");
    // Nothing else keeps it in.
    sandbox.process.unconfined = true;
    assert_eq!(reading(&sandbox, "/"), "");
    Ok(())
}

/// A file that the caller redirected is the caller's gift, by whatever name it is opened.
fn standard_streams_are_opened_again() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    world.write("input", "read\n", 0o600);
    let sandbox = world.sandbox("cat /dev/stdin; echo written >/dev/stdout; : >/dev/stderr");
    let input = world.path("input");
    assert_eq!(
        reading(&sandbox, input.to_str().unwrap()),
        "read\nwritten\n"
    );
    // It is no more than what it was opened for.
    world.write("input", "#!/bin/sh\necho ran\n", 0o700);
    for script in [
        "echo lost >/proc/self/fd/0",
        ": >>/proc/self/fd/0",
        "/proc/self/fd/0",
    ] {
        let told = reading(&world.sandbox(script), input.to_str().unwrap());
        assert!(told.contains("Permission denied"), "{script}: {told}");
    }
    let left = std::fs::read_to_string(&input).unwrap();
    assert_eq!(left, "#!/bin/sh\necho ran\n");
    Ok(())
}

fn masked_paths_are_empty() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    for file in ["kcore", "keys", "timer_list", "interrupts", "sched_debug"] {
        let script = format!("test ! -e /proc/{file} || cat /proc/{file}");
        assert_eq!(world.prints(&script), "", "{file}");
    }
    // CVE-2025-31133: what covers them is the null device, whatever the image calls so.
    std::fs::create_dir(world.path("root/dev")).unwrap();
    symlink("/bin/busybox", world.path("root/dev/null")).unwrap();
    assert_eq!(
        world.prints("stat -c %t:%T /proc/interrupts; cat /proc/interrupts"),
        "1:3\n"
    );
    for directory in ["/proc/acpi", "/proc/scsi", "/sys/firmware"] {
        let script = format!("test ! -e {directory} || ls -A {directory}");
        assert_eq!(world.prints(&script), "", "{directory}");
    }
    Ok(())
}

fn the_kernels_settings_are_read_only() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    for file in [
        "/proc/sys/kernel/hostname",
        "/proc/sysrq-trigger",
        "/sys/kernel/mm/ksm/run",
    ] {
        let script = format!("test ! -e {file} || echo 1 > {file}");
        let (outcome, _, err) = output(&world.sandbox(&script)).unwrap();
        let is_absent = outcome.status.is_success() && !Path::new(file).exists();
        assert!(is_absent || err.contains("Read-only"), "{file}: {err}");
    }
    Ok(())
}

/// CVE-2019-19921 and CVE-2025-52881: with a `/proc` of its own making, an image decides what the
/// runtime writes to and masks.
fn proc_as_a_link_is_refused() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    symlink("tmp", world.path("root/proc")).unwrap();
    let error = output(&world.sandbox("true")).unwrap_err();
    assert_eq!(error.to_string(), "failed opening the mount point `/proc`");
    Ok(())
}

fn bind(world: &World, destination: &str) -> Mount {
    let kind = MountKind::Bind {
        source: world.path("root/tmp"),
    };
    Mount {
        destination: destination.into(),
        kind,
        readonly: true,
    }
}

fn nothing_is_mounted_over_proc() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    symlink("/proc/sys", world.path("root/link")).unwrap();
    for destination in ["/proc", "/proc/sys/kernel", "/link", "/", "/tmp/../proc"] {
        let mut sandbox = world.sandbox("true");
        sandbox.mounts = vec![bind(&world, destination)];
        let error = output(&sandbox).unwrap_err();
        assert!(
            matches!(error, Error::SetUp { .. }),
            "{destination}: {error:?}"
        );
    }
    Ok(())
}

fn mount_points_stay_in_the_root() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    symlink("/../../../../../../../tmp", world.path("root/link")).unwrap();
    let mut sandbox = world.sandbox("ls -d /tmp/*/*");
    let name = world.dir.path().file_name().unwrap().to_str().unwrap();
    let name = name.trim_start_matches('.');
    sandbox.mounts = vec![bind(&world, &format!("/link/{name}-escaped/inner"))];
    let (outcome, out, _) = output(&sandbox).unwrap();
    assert_eq!(out, format!("/tmp/{name}-escaped/inner\n"));
    assert!(
        !std::env::temp_dir()
            .join(format!("{name}-escaped"))
            .exists()
    );
    let created = outcome
        .created_mount_points
        .iter()
        .map(|path| path.to_str().unwrap());
    let expected = [
        format!("/tmp/{name}-escaped"),
        format!("/tmp/{name}-escaped/inner"),
    ];
    assert!(created.skip(3).eq(expected), "{outcome:?}");
    Ok(())
}

fn devices_of_the_image_are_not_used() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    std::fs::create_dir(world.path("root/dev")).unwrap();
    symlink("/tmp/fake", world.path("root/dev/null")).unwrap();
    let shown = world.prints("echo secret > /dev/null; ls /tmp; stat -c %t:%T /dev/null; ls /dev");
    let listing = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n\
        urandom\nzero\n";
    assert_eq!(shown, format!("1:3\n{listing}"));
    Ok(())
}

/// Root may make device nodes, which belong into images, and without a cgroup of devices nothing but
/// the mount keeps it from using them: a node of the host's disk would be the host's files.
fn devices_of_the_host_cannot_be_made() -> Result<(), String> {
    require_root()?;
    if corten_sandbox::in_user_namespace() {
        return Err("the kernel lets nobody make them here".to_owned());
    }
    let world = World::new();
    std::fs::create_dir(world.path("volume")).unwrap();
    let made = |directory: &str| {
        // A second null device stands for those that would do harm.
        let script = format!(
            "mknod {directory}/x c 1 3 && stat -c %t:%T {directory}/x; \
             cat {directory}/x 2>/dev/null && echo open"
        );
        let mut sandbox = world.sandbox(&format!("{script}; true"));
        sandbox.mounts = vec![Mount {
            destination: "/volume".into(),
            kind: MountKind::Bind {
                source: world.path("volume"),
            },
            readonly: false,
        }];
        prints(&sandbox)
    };
    for directory in ["/tmp", "/dev", "/dev/shm", "/volume"] {
        assert_eq!(made(directory), "1:3\n", "{directory}");
    }
    let mut sandbox =
        world.sandbox("mknod /tmp/x c 1 3; cat /tmp/x 2>/dev/null && echo open; true");
    sandbox.root.kind = RootKind::Directory(world.path("root"));
    assert_eq!(prints(&sandbox), "");
    Ok(())
}

fn an_ordinary_user_is_not_root_of_the_host() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("cat /proc/1/environ; env");
    sandbox.process.user = User {
        uid: 1000,
        gid: 1000,
        additional_gids: Vec::new(),
    };
    let shown = prints(&sandbox);
    assert!(!shown.contains("CARGO"), "{shown}");
    Ok(())
}
