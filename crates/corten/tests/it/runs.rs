//! RUN: what is mounted, what is kept, what is hidden, and how it ends. Needs a machine that allows it,
//! and a busybox that is linked statically.

mod endings;
mod mounts;
pub(crate) mod secrets;

use std::fs;

use crate::program::{Program, Ran};
use crate::run::program as busybox;

/// Returns a program whose store has the image `tools`, with all of busybox.
pub(crate) fn program(test: &str) -> Option<Program> {
    let program = busybox(test)?;
    program.write(
        "tools/Dockerfile",
        "FROM busybox\nENV PATH=/bin\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n",
    );
    program.ok(&["build", "tools", "-t", "tools"]);
    Some(program)
}

/// Builds what [`write`] writes.
const BUILD: [&str; 6] = [
    "build",
    "context",
    "-f",
    "Dockerfile",
    "--progress",
    "plain",
];

/// Writes `lines` on `tools` as the Dockerfile, and makes the directory `context` if it is not there.
fn write(program: &Program, lines: &str) {
    program.write("Dockerfile", &format!("FROM tools\n{lines}\n"));
    fs::create_dir_all(program.path("context")).unwrap();
}

/// Builds `lines` on `tools`, with `context` as the context.
pub(crate) fn build(program: &Program, lines: &str, args: &[&str]) -> Ran {
    write(program, lines);
    program.run(&[&BUILD, args].concat())
}

#[track_caller]
pub(crate) fn succeeds(program: &Program, lines: &str, args: &[&str]) -> Ran {
    let ran = build(program, lines, args);
    assert_eq!(ran.code, 0, "{lines}\n{}", ran.stderr);
    ran
}

#[track_caller]
pub(crate) fn fails(program: &Program, lines: &str, args: &[&str], expected: &str) -> String {
    let ran = build(program, lines, args);
    assert_eq!(ran.code, 1, "{lines}\n{}", ran.stderr);
    assert!(ran.stderr.contains(expected), "{lines}\n{}", ran.stderr);
    ran.stderr
}

/// Returns what the image has besides `tools`: paths, directories with a slash behind.
#[track_caller]
fn added(program: &Program, lines: &str, args: &[&str]) -> Vec<String> {
    let output = ["-o", "type=local,dest=out"];
    let out = program.path("out");
    fs::remove_dir_all(&out).ok();
    succeeds(program, lines, &[args, &output].concat());
    let mut found = Vec::new();
    let mut todo = vec![out.clone()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let is_directory = fs::symlink_metadata(&path).unwrap().is_dir();
            let name = path.strip_prefix(&out).unwrap().to_str().unwrap();
            if name == "bin" {
                continue;
            }
            found.push(format!("{name}{}", if is_directory { "/" } else { "" }));
            if is_directory {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether nothing of a RUN is left: no directory, no mount, no process that sleeps so long.
#[track_caller]
fn is_clean(program: &Program, nap: &str) {
    let left = fs::read_dir(program.path("store/layers/tmp"));
    let left: Vec<_> = left
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let store = program.path("store");
    assert!(!mounts.contains(store.to_str().unwrap()), "{mounts}");
    let alive = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.unwrap().path().join("cmdline")).ok());
    assert_eq!(alive.filter(|line| line.contains(nap)).count(), 0, "{nap}");
}

#[test]
fn what_must_be_allowed() {
    let Some(program) = program("what_must_be_allowed") else {
        return;
    };
    let insecure = "RUN --security=insecure grep -q 'Seccomp:.0' /proc/self/status";
    let seccomp = |flag: &str| format!("RUN {flag} grep -q 'Seccomp:.2' /proc/self/status");
    fails(
        &program,
        insecure,
        &[],
        "`security.insecure` is not allowed",
    );
    succeeds(&program, insecure, &["--allow", "security.insecure"]);
    succeeds(
        &program,
        &seccomp("--security=sandbox"),
        &["--allow", "security.insecure"],
    );
    let links = |flag: &str, count: u32| {
        format!(
            "RUN {flag} test $(grep -c : /proc/net/dev) -{} 1",
            if count == 1 { "eq" } else { "gt" }
        )
    };
    let none = ["--network", "none"];
    succeeds(&program, &links("", 1), &none);
    succeeds(&program, &links("--network=default", 1), &none);
    fails(
        &program,
        &links("--network=host", 2),
        &none,
        "`network.host` is not allowed",
    );
    succeeds(
        &program,
        &links("--network=host", 1).replace("test", "true"),
        &["--network", "none", "--allow", "network.host"],
    );
    succeeds(&program, &links("--network=none", 1), &[]);
    fails(
        &program,
        "RUN --device=x true",
        &[],
        "RUN --device is not supported yet",
    );
    let hosts = "RUN grep -q \"^1.2.3.4.one$\" /etc/hosts && grep -q '^::5.two$' /etc/hosts";
    assert_eq!(
        added(
            &program,
            hosts,
            &["--add-host", "one:1.2.3.4", "--add-host", "two=::5"]
        ),
        [""; 0]
    );
}

/// As for BuildKit: a base image may name a working directory that it does not have.
#[test]
fn a_working_directory_that_is_not_there_is_made() {
    let Some(program) = program("a_working_directory_that_is_not_there_is_made") else {
        return;
    };
    let lines = "WORKDIR /v/w\nRUN rm -r /v\nRUN test \"$(pwd)\" = /v/w && touch x";
    assert_eq!(added(&program, lines, &[]), ["v/", "v/w/", "v/w/x"]);
}
