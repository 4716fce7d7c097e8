//! Mounts of parts of trees, of files in memory, and the switch that ends a sandbox.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use corten_sandbox::{
    Cancel, Content, Error, Init, Input, Mount, MountKind, RootKind, Stdio, run_until,
};

use crate::harness::Test;
use crate::world::{World, chain, output, require_root};

pub(crate) const TESTS: &[Test] = &[
    (
        "a_part_of_an_overlay_is_mounted",
        a_part_of_an_overlay_is_mounted,
    ),
    ("no_link_leads_out_of_a_tree", no_link_leads_out_of_a_tree),
    ("a_file_is_only_in_memory", a_file_is_only_in_memory),
    ("a_switch_ends_all_sandboxes", a_switch_ends_all_sandboxes),
    ("unconfined_means_so", unconfined_means_so),
];

fn a_part_of_an_overlay_is_mounted() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    for name in ["one/d", "two/d", "up", "wk"] {
        fs::create_dir_all(world.path(name)).unwrap();
    }
    world.write("one/d/a", "one\n", 0o644);
    world.write("one/d/b", "one\n", 0o644);
    world.write("two/d/b", "two\n", 0o644);
    symlink("/d", world.path("two/link")).unwrap();
    let part = |path: &str, destination: &str, readonly| Mount {
        destination: destination.into(),
        kind: MountKind::Part {
            of: RootKind::Overlay {
                lower: vec![world.path("two"), world.path("one")],
                upper: world.path("up"),
                work: world.path("wk"),
                userxattr: corten_sandbox::in_user_namespace(),
            },
            path: path.into(),
        },
        readonly,
    };
    let mut sandbox =
        world.sandbox("cat /m/a /m/b; rm /m/a; echo x > /m/c; ls /m; cat /proc/mounts");
    sandbox.mounts = vec![part("/link", "/m", false)];
    let (outcome, out, err) = output(&sandbox).unwrap();
    assert!(outcome.status.is_success(), "{err}");
    assert!(out.starts_with("one\ntwo\nb\nc\n"), "{out}");
    // The whole was mounted over the root for a moment.
    let n_roots = out
        .lines()
        .filter(|line| line.split(' ').nth(1) == Some("/"));
    assert_eq!(n_roots.count(), 1, "{out}");
    assert!(world.path("one/d/a").exists() && !world.path("one/d/c").exists());
    assert!(world.path("up/d/c").exists());

    sandbox = world.sandbox("cat /f; echo x > /f");
    sandbox.mounts = vec![part("d/b", "/f", true)];
    let (_, out, err) = output(&sandbox).unwrap();
    assert_eq!(out, "two\n");
    assert_eq!(err, "sh: can't create /f: Read-only file system\n");
    Ok(())
}

fn no_link_leads_out_of_a_tree() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    fs::create_dir(world.path("tree")).unwrap();
    for (name, target) in [
        ("absolute", "/etc"),
        ("relative", "../../../../../etc"),
        ("self", "self"),
    ] {
        symlink(target, world.path("tree").join(name)).unwrap();
    }
    for name in ["absolute", "relative", "self", "none", "../root"] {
        let mut sandbox = world.sandbox("ls /m");
        sandbox.mounts = vec![Mount {
            destination: "/m".into(),
            kind: MountKind::Part {
                of: RootKind::Directory(world.path("tree")),
                path: name.into(),
            },
            readonly: true,
        }];
        let error = output(&sandbox).map(|(_, out, _)| out).unwrap_err();
        let error = chain(&error);
        assert!(
            error.starts_with(&format!("failed opening the mount's source `{name}`: ")),
            "{error}"
        );
    }
    Ok(())
}

fn a_file_is_only_in_memory() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let file = |destination: &str, mode, uid| Mount {
        destination: destination.into(),
        kind: MountKind::File {
            content: Content(b"hush\0\xff\n".to_vec()),
            mode,
            uid,
            gid: 7,
        },
        readonly: true,
    };
    let mut sandbox = world.sandbox(
        "stat -c '%a %u %g %s' /s/a /s/b; grep ' /s/a ' /proc/mounts; cat /s/b; echo x > /s/a",
    );
    sandbox.mounts = vec![file("/s/a", 0o4440, 5), file("/s/b", 0o755, 0)];
    let (outcome, out, err) = output(&sandbox).unwrap();
    assert!(
        out.starts_with("440 5 7 7\n755 0 7 7\nnone /s/a tmpfs ro,nosuid,nodev,noexec"),
        "{out}"
    );
    assert!(err.contains("Read-only file system"), "{err}");
    assert!(
        format!("{sandbox:?}").contains("content: ***"),
        "{sandbox:?}"
    );
    // What is left is where it was mounted.
    assert_eq!(outcome.created_mount_points.len(), 6, "{outcome:?}");
    assert_eq!(fs::read(world.path("upper/s/a")).unwrap(), b"");
    Ok(())
}

fn a_switch_ends_all_sandboxes() -> Result<(), String> {
    require_root()?;
    let worlds = [World::new(), World::new()];
    let cancel = Cancel::new().unwrap();
    let started = std::sync::Barrier::new(worlds.len() + 1);
    let wait = |world: &World, init| {
        let mut sandbox = world.sandbox("trap '' TERM INT; sleep 1000 & echo ready; sleep 1000");
        sandbox.init = init;
        let mut is_ready = false;
        let mut sink = |_, _: &[u8]| {
            if !std::mem::replace(&mut is_ready, true) {
                started.wait();
            }
        };
        let stdio = Stdio::Sink {
            stdin: Input::Null,
            sink: &mut sink,
        };
        run_until(&sandbox, stdio, &cancel)
    };
    std::thread::scope(|scope| {
        let threads = [
            scope.spawn(|| wait(&worlds[0], Init::Process)),
            scope.spawn(|| wait(&worlds[1], Init::Reaper)),
        ];
        started.wait();
        let before = Instant::now();
        cancel.request();
        for thread in threads {
            assert!(matches!(thread.join().unwrap(), Err(Error::Cancelled)));
        }
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "{:?}",
            before.elapsed()
        );
    });
    Ok(())
}

fn unconfined_means_so() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let script = "grep -E 'CapBnd|Seccomp:' /proc/self/status; unshare -m true && echo unshared; \
                  grep -c ' /proc/' /proc/mounts";
    let mut sandbox = world.sandbox(script);
    let (_, confined, _) = output(&sandbox).unwrap();
    assert!(
        confined.contains("Seccomp:\t2") && !confined.contains("unshared"),
        "{confined}"
    );
    sandbox.process.unconfined = true;
    sandbox.process.capabilities = corten_sandbox::all_capabilities();
    let (_, out, _) = output(&sandbox).unwrap();
    assert!(out.contains("Seccomp:\t0\nunshared\n0\n"), "{out}");
    Ok(())
}
