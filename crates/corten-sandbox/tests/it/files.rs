//! The file system of a sandbox: what it sees, and what is left of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use corten_sandbox::{Mount, MountKind, RootKind};
use corten_testing::harness::Test;

use crate::world::{World, output, prints, require_root};

pub(crate) const TESTS: &[Test] = &[
    (
        "the_upper_directory_has_what_changed",
        the_upper_directory_has_what_changed,
    ),
    (
        "an_upper_directory_can_be_used_again",
        an_upper_directory_can_be_used_again,
    ),
    (
        "many_layers_with_odd_names_are_stacked",
        many_layers_with_odd_names_are_stacked,
    ),
    (
        "a_directory_is_changed_in_place",
        a_directory_is_changed_in_place,
    ),
    (
        "a_read_only_root_stays_as_it_is",
        a_read_only_root_stays_as_it_is,
    ),
    ("mounts_are_as_asked", mounts_are_as_asked),
    ("mounts_are_not_seen_outside", mounts_are_not_seen_outside),
    ("dev_can_be_used", dev_can_be_used),
];

/// All paths beneath `dir`, relative to it.
fn tree(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found
}

fn the_upper_directory_has_what_changed() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let script = "echo x > /tmp/new; rm /bin/ip; echo x > /dev/shm/x";
    let (outcome, ..) = output(&world.sandbox(script)).unwrap();
    let expected = ["bin", "bin/ip", "dev", "proc", "sys", "tmp", "tmp/new"];
    assert!(
        tree(&world.path("upper")).iter().eq(expected),
        "{:?}",
        tree(&world.path("upper"))
    );
    let created: Vec<_> = outcome
        .created_mount_points
        .iter()
        .map(|p| p.to_str().unwrap())
        .collect();
    assert_eq!(created, ["/proc", "/sys", "/dev"]);
    assert!(!tree(&world.path("root")).contains("tmp/new"));
    Ok(())
}

fn an_upper_directory_can_be_used_again() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    world.prints("echo first > /tmp/new");
    assert_eq!(world.prints("cat /tmp/new"), "first\n");
    let (outcome, ..) = output(&world.sandbox("true")).unwrap();
    assert!(outcome.created_mount_points.is_empty(), "{outcome:?}");
    Ok(())
}

fn many_layers_with_odd_names_are_stacked() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut layers = Vec::new();
    for idx in 0..200 {
        let layer = world.path(&format!("layer, {idx}:\\"));
        fs::create_dir_all(layer.join("tmp")).unwrap();
        fs::File::create(layer.join(format!("tmp/{idx}"))).unwrap();
        layers.push(layer);
    }
    layers.push(world.path("root"));
    let mut sandbox = world.sandbox("ls /tmp | grep -c .");
    let RootKind::Overlay { lower, .. } = &mut sandbox.root.kind else {
        unreachable!()
    };
    *lower = layers;
    assert_eq!(prints(&sandbox), "200\n");
    Ok(())
}

fn a_directory_is_changed_in_place() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("echo x > /tmp/new");
    sandbox.root.kind = RootKind::Directory(world.path("root"));
    prints(&sandbox);
    assert!(tree(&world.path("root")).contains("tmp/new"));
    Ok(())
}

fn a_read_only_root_stays_as_it_is() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("echo x > /dev/shm/x; echo x > /run/x; echo x > /tmp/x");
    sandbox.root.readonly = true;
    let kind = MountKind::Tmpfs {
        size: Some(1 << 20),
        mode: 0o755,
    };
    sandbox.mounts = vec![Mount {
        destination: "/run".into(),
        kind,
        readonly: false,
    }];
    for kind in [
        sandbox.root.kind.clone(),
        RootKind::Directory(world.path("root")),
    ] {
        sandbox.root.kind = kind;
        let (outcome, _, err) = output(&sandbox).unwrap();
        assert_eq!(
            err, "sh: can't create /tmp/x: Read-only file system\n",
            "{outcome:?}"
        );
    }
    Ok(())
}

fn mounts_are_as_asked() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    fs::create_dir(world.path("context")).unwrap();
    world.write("context/file", "content\n", 0o644);
    let bind = |name: &str, destination: &str, readonly| Mount {
        destination: destination.into(),
        kind: MountKind::Bind {
            source: world.path(name),
        },
        readonly,
    };
    let tmpfs = MountKind::Tmpfs {
        size: None,
        mode: 0o1777,
    };
    let mut sandbox = world.sandbox(
        "cat /a/file /run/secrets/b; echo more >> /rw/file; stat -c %a /t; echo x > /t/x; echo > /a/x",
    );
    sandbox.mounts = vec![
        bind("context", "/a", true),
        bind("context/file", "/run/secrets/b", true),
        bind("context", "/rw", false),
        Mount {
            destination: "/t".into(),
            kind: tmpfs,
            readonly: false,
        },
    ];
    let (_, out, err) = output(&sandbox).unwrap();
    assert_eq!(out, "content\ncontent\n1777\n");
    assert_eq!(err, "sh: can't create /a/x: Read-only file system\n");
    assert_eq!(
        fs::read(world.path("context/file")).unwrap(),
        b"content\nmore\n"
    );
    Ok(())
}

fn mounts_are_not_seen_outside() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let mut during = String::new();
    let mut sink = |_, bytes: &[u8]| during = format!("{during}{}{}", bytes.len(), mounts());
    let stdio = corten_sandbox::Stdio::Sink {
        stdin: corten_sandbox::Input::Null,
        sink: &mut sink,
    };
    let sandbox = world.sandbox("echo 1; sleep 0.01");
    corten_sandbox::run(&sandbox, stdio, corten_sandbox::Signals::Leave).unwrap();
    assert_eq!(during, format!("2{before}"));
    assert_eq!(mounts(), before);
    Ok(())
}

fn dev_can_be_used() -> Result<(), String> {
    require_root()?;
    let script = "head -c 3 /dev/zero; head -c 3 /dev/urandom > /dev/null; : > /dev/mqueue/x; \
        ls /dev/pts; stat -c %a /dev/shm /dev/null; echo err > /dev/fd/2";
    let world = World::new();
    assert_eq!(world.prints(script), "\0\0\0ptmx\n1777\n666\nerr\n");
    Ok(())
}
