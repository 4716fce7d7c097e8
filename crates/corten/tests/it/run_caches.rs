//! What `RUN --mount=type=cache` keeps, and the commands about it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::program::Program;
use crate::runs::{program, succeeds};

fn json(program: &Program, args: &[&str]) -> Value {
    let text = program.ok(&[args, &["--format", "json"]].concat());
    serde_json::from_str(&text).unwrap()
}

/// Returns the ids of all mounts, sorted.
fn ids(program: &Program) -> Vec<String> {
    let listed = json(program, &["cache", "ls", "--kind", "mount"]);
    let mounts = listed["mounts"].as_array().unwrap().iter();
    let mut ids: Vec<_> = mounts
        .map(|mount| mount["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids
}

/// Whatever ran a command for another processor need not be here for what is known of it.
#[test]
fn what_is_known_of_another_processor_needs_no_emulator() {
    let Some(program) = program("what_is_known_of_another_processor_needs_no_emulator") else {
        return;
    };
    // The same files for a processor that nothing emulates: what runs on them is the same step.
    program.write("all/Dockerfile", "FROM tools\nRUN echo a >/a\n");
    program.write("one/Dockerfile", "FROM tools\n");
    program.ok(&["build", "one", "-o", "type=tar,dest=tools.tar"]);
    let import = |platform: &str| {
        let ends = ["-t", "tools", "--timestamp", "1000", "--platform", platform];
        program.ok(&[&["import", "tools.tar"], &ends[..]].concat());
    };
    let build = |platform: &str, args: &[&str]| {
        let all = ["build", "all", "--platform", platform];
        program.run(&[&all, args].concat())
    };
    import(&corten_spec::Platform::host().to_string());
    let host = corten_spec::Platform::host().to_string();
    let cache = ["--cache-to", "type=local,dest=cache,mode=max"];
    assert_eq!(build(&host, &cache).code, 0);
    import("linux/wasm");
    let refused = |ran: crate::program::Ran, is_begun: bool| {
        let is_refused = ran.stderr.contains("there is a RUN for linux/wasm, which");
        assert!(
            ran.code == 1 && is_refused && ran.stderr.contains("#1") == is_begun,
            "{ran:?}"
        );
    };
    // Nobody knows that it is known.
    refused(build("linux/wasm", &[]), false);
    let ran = build("linux/wasm", &["--cache-from", "type=local,src=cache"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = build("linux/wasm", &[]);
    assert!(ran.code == 0 && ran.stderr.contains("CACHED"), "{ran:?}");
    refused(build("linux/wasm", &["--no-cache"]), false);
    program.write("all/Dockerfile", "FROM tools\nRUN echo b >/a\n");
    refused(build("linux/wasm", &[]), true);
}

#[test]
fn mounts_are_listed_and_removed() {
    let Some(program) = program("mounts_are_listed_and_removed") else {
        return;
    };
    let lines = "RUN --mount=type=cache,target=/a --mount=type=cache,target=/x,id=b \\
    --mount=type=cache,target=/c dd if=/dev/zero of=/a/f bs=100k count=1 2>&1 && echo >/x/f && echo >/done";
    succeeds(&program, lines, &[]);
    assert_eq!(ids(&program), ["//a", "//c", "/b"]);
    // They are the store's own.
    assert_eq!(json(&program, &["fsck"])["findings"], serde_json::json!([]));
    let listed = json(&program, &["cache", "ls"]);
    let mount = |id: &str| {
        let mounts = listed["mounts"].as_array().unwrap().iter();
        mounts.clone().find(|mount| mount["id"] == id).unwrap()
    };
    assert!(mount("//a")["size"].as_u64().unwrap() >= 100 << 10);
    assert_eq!(mount("//a")["inUse"], false);
    let n_records = listed["records"].as_array().unwrap().len();
    assert!(n_records >= 2, "{listed}");
    let text = program.ok(&["cache", "ls"]);
    assert!(
        text.contains("/a\n") && text.contains(" mount ") && text.contains(" step "),
        "{text}"
    );

    let removed = json(&program, &["cache", "rm", "b"]);
    assert_eq!(
        (&removed["records"], &removed["mounts"]),
        (&0.into(), &1.into())
    );
    let key = mount("//c")["key"].as_str().unwrap().get(..20).unwrap();
    assert_eq!(json(&program, &["cache", "rm", key])["mounts"], 1);
    assert_eq!(ids(&program), ["//a"]);
    // A letter alone might begin the key of a step.
    assert_ne!(program.run(&["cache", "rm", "/b"]).code, 0);
    // What is young stays, and each kind by itself.
    let young = json(&program, &["cache", "prune", "--older-than", "1h"]);
    assert_eq!(
        (&young["records"], &young["mounts"]),
        (&0.into(), &0.into())
    );
    let steps = json(&program, &["cache", "prune", "--all", "--kind", "step"]);
    assert_eq!(
        (&steps["records"], &steps["mounts"]),
        (&n_records.into(), &0.into())
    );
    for (age, size, n_removed) in [("1h", "1", 0), ("0s", "10MiB", 0), ("0s", "50KiB", 1)] {
        let args = [
            "cache",
            "prune",
            "--keep-duration",
            age,
            "--keep-storage",
            size,
        ];
        assert_eq!(json(&program, &args)["mounts"], n_removed, "{args:?}");
    }
    succeeds(&program, lines, &["--no-cache"]);
    assert_eq!(json(&program, &["cache", "rm", "b", "//c"])["mounts"], 2);
    let none = json(&program, &["cache", "prune", "--keep-storage", "10MiB"]);
    assert_eq!(none["mounts"], 0);
    let mounts = json(&program, &["cache", "prune", "--keep-storage", "50KiB"]);
    assert_eq!(mounts["mounts"], 1);
    assert!(mounts["mountBytes"].as_u64().unwrap() >= 100 << 10);
    assert_eq!(ids(&program), [""; 0]);
}

/// Who fills a cache has its guard, and asks for what garbage collection keeps from others.
#[test]
fn nobody_waits_for_a_cache_and_keeps_all_others_waiting() {
    let Some(program) = program("nobody_waits_for_a_cache_and_keeps_all_others_waiting") else {
        return;
    };
    succeeds(&program, "RUN --mount=type=cache,target=/c echo >/c/f", &[]);
    let listed = json(&program, &["cache", "ls", "--kind", "mount"]);
    let key = listed["mounts"][0]["key"].as_str().unwrap();
    let caches = program.path("store/run-caches");
    let guard = caches.join(key.replace(':', "-")).join("lock");
    let gc = File::open(program.path("store/locks/gc")).unwrap();
    for verb in ["gc", "df"] {
        let held = File::open(&guard).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let mut child = program.command(&[verb]).spawn().unwrap();
        let open = PathBuf::from(format!("/proc/{}/fd", child.id()));
        let is_waiting = || {
            let files = fs::read_dir(&open).unwrap().flatten();
            files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|file| file == guard)
        };
        while !is_waiting() {
            assert!(child.try_wait().unwrap().is_none(), "{verb}");
            std::thread::sleep(Duration::from_millis(1));
        }
        flock(&gc, FlockOperation::NonBlockingLockShared).unwrap();
        flock(&gc, FlockOperation::Unlock).unwrap();
        drop(held);
        assert!(child.wait().unwrap().success(), "{verb}");
    }
}

/// Returns the files that a command finds in the cache `/c`, with owners, modes and times.
fn found(program: &Program, args: &[&str]) -> String {
    let lines = "RUN --mount=type=cache,target=/c cd /c && echo \"=$(find . | sort | \\
    xargs stat -c '%n %F %a %u %g %Y %h' | tr '\\n' ';')=\"";
    let ran = succeeds(program, lines, &[&["--no-cache"], args].concat());
    ran.stderr.split('=').rev().nth(1).unwrap().to_owned()
}

const FILL: &str = "RUN --mount=type=cache,target=/c --mount=type=cache,target=/d,id=other cd /c && \\
    mkdir -m 750 s && echo one >s/one && chown 7:8 s/one && chmod 4711 s/one && ln s/one two && ln -s /etc link && \\
    mkfifo pipe && touch -h -d @5 s/one link pipe && touch -d @6 s . && echo >/d/f";

#[test]
fn mounts_go_from_machine_to_machine() {
    let Some(first) = program("mounts_go_from_machine_to_machine") else {
        return;
    };
    succeeds(&first, FILL, &[]);
    let expected = found(&first, &[]);
    assert!(
        expected.contains("./s/one regular file 4711 7 8 5 2;") && expected.contains("./pipe fifo"),
        "{expected}"
    );
    let cache = first.path("cache").display().to_string();
    let to = format!("type=local,dest={cache}");
    let sent = json(&first, &["cache", "export", "--to", &to]);
    assert_eq!(sent["mounts"].as_array().unwrap().len(), 2, "{sent}");
    assert!(sent["sent"].as_u64().unwrap() >= 4, "{sent}");
    // The same files are the same layers.
    let again = json(&first, &["cache", "export", "--to", &to]);
    assert_eq!(
        (&again["sent"], &again["manifest"]),
        (&0.into(), &sent["manifest"])
    );

    // Another machine takes them by hand, one of them under its id.
    let second = program("mounts_go_from_machine_to_machine").unwrap();
    let import = |args: &[&str]| {
        json(
            &second,
            &[&["cache", "import", "--from", &to], args].concat(),
        )["mounts"]
            .clone()
    };
    let made = import(&["/c"]);
    assert_eq!(made, serde_json::json!([{ "id": "//c", "done": "made" }]));
    assert_eq!(found(&second, &[]), expected);
    succeeds(&second, "RUN --mount=type=cache,target=/c rm -r /c/*", &[]);
    let all = import(&[]);
    let all = all.as_array().unwrap();
    assert!(
        all.contains(&serde_json::json!({ "id": "//c", "done": "kept" })),
        "{all:?}"
    );
    assert!(
        all.contains(&serde_json::json!({ "id": "/other", "done": "made" })),
        "{all:?}"
    );
    assert_ne!(found(&second, &[]), expected);
    assert_eq!(import(&["/c", "--replace"])[0]["done"], "replaced");
    assert_eq!(found(&second, &[]), expected);
    assert_ne!(
        second
            .run(&["cache", "import", "--from", &to, "/absent"])
            .code,
        0
    );
}

#[test]
fn builds_carry_the_mounts_of_their_commands() {
    let Some(first) = program("builds_carry_the_mounts_of_their_commands") else {
        return;
    };
    succeeds(&first, "RUN --mount=type=cache,target=/unused true", &[]);
    let cache = first.path("cache").display().to_string();
    let to = format!("type=local,dest={cache},mode=max,mounts=true");
    let from = format!("type=local,src={cache},mounts=true");
    let ran = succeeds(&first, FILL, &["--cache-from", &from, "--cache-to", &to]);
    assert!(
        ran.stderr.contains("latest-mounts has 2 mounts"),
        "{}",
        ran.stderr
    );
    let expected = found(&first, &[]);

    // Another one finds what it has nothing of, also where a step is not in the cache.
    let second = program("builds_carry_the_mounts_of_their_commands").unwrap();
    assert_eq!(found(&second, &["--cache-from", &from]), expected);
    assert_eq!(ids(&second), ["//c"], "the other one was not wanted");
    // What is here is not overwritten, and takes the place of what is there.
    succeeds(&second, "RUN --mount=type=cache,target=/c rm -r /c/*", &[]);
    assert_ne!(found(&second, &["--cache-from", &from]), expected);
    succeeds(&second, FILL, &["--cache-from", &from, "--cache-to", &to]);
    let third = program("builds_carry_the_mounts_of_their_commands").unwrap();
    assert_eq!(found(&third, &["--cache-from", &from]), expected);

    // Without the layers, a build begins with an empty one, and says so.
    let blobs = first.path("cache/blobs/sha256");
    for blob in fs::read_dir(blobs).unwrap() {
        let path = blob.unwrap().path();
        if fs::read(&path).unwrap().starts_with(b"\x1f\x8b") {
            fs::remove_file(path).unwrap();
        }
    }
    let fourth = program("builds_carry_the_mounts_of_their_commands").unwrap();
    let ran = succeeds(
        &fourth,
        "RUN --mount=type=cache,target=/c test -z \"$(ls /c)\"",
        &["--cache-from", &from],
    );
    assert!(
        ran.stderr.contains("a mount of a cache cannot be used"),
        "{}",
        ran.stderr
    );
}
