//! What `RUN --mount=type=cache` keeps, and the commands about it.

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

#[test]
fn mounts_are_listed_and_removed() {
    let Some(program) = program("mounts_are_listed_and_removed") else {
        return;
    };
    let lines = "RUN --mount=type=cache,target=/a --mount=type=cache,target=/x,id=b \\
    --mount=type=cache,target=/c dd if=/dev/zero of=/a/f bs=100k count=1 2>&1 && echo >/x/f && echo >/done";
    succeeds(&program, lines, &[]);
    assert_eq!(ids(&program), ["//a", "//c", "/b"]);
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
    assert_ne!(program.run(&["cache", "rm", "b"]).code, 0);
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
    let none = json(&program, &["cache", "prune", "--keep-storage", "10MiB"]);
    assert_eq!(none["mounts"], 0);
    let mounts = json(&program, &["cache", "prune", "--keep-storage", "50KiB"]);
    assert_eq!(mounts["mounts"], 1);
    assert!(mounts["mountBytes"].as_u64().unwrap() >= 100 << 10);
    assert_eq!(ids(&program), [""; 0]);
}
