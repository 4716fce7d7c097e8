//! Nothing stays beside what a command was told to stop making.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::program::Program;

/// Every run is stopped as soon as something is in the directory `out`; one that was faster than that
/// says nothing.
const ATTEMPTS: usize = 50;

#[test]
fn a_command_that_is_told_to_end_leaves_nothing() {
    let program = Program::new();
    let large: Vec<u8> = (0_u32..12 << 20)
        .flat_map(|number| number.wrapping_mul(0x9E37_79B9).to_le_bytes())
        .collect();
    program.write_tar("base.tar", &[("large", &large, 0o644)]);
    let import = ["import", "base.tar", "-t", "base", "--compression", "none"];
    program.ok(&import);
    program.write("context/Dockerfile", "FROM base\n");
    let export = ["export", "base", "-o", "out/x.tar", "--compression", "zstd"];
    for signal in [Signal::INT, Signal::TERM] {
        check(&program, &export, signal);
        check(&program, &["save", "base", "-o", "out/x.tar"], signal);
        check(&program, &["unpack", "--rootless", "base", "out/x"], signal);
        for kind in ["tar", "oci", "docker", "local"] {
            let output = format!("type={kind},dest=out/x.tar");
            check(&program, &["build", "context", "-o", &output], signal);
        }
    }
}

#[track_caller]
fn check(program: &Program, args: &[&str], signal: Signal) {
    let out = program.path("out");
    for _ in 0..ATTEMPTS {
        fs::remove_dir_all(&out).ok();
        fs::create_dir(&out).unwrap();
        let mut command = program.heeding(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        if !wait_for_something(&mut child, &out) {
            continue;
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            continue;
        }
        assert_eq!(status.signal(), Some(signal.as_raw()), "{args:?}: {status}");
        assert_eq!(names(&out), [] as [String; 0], "{args:?} {signal:?}");
        return;
    }
    panic!("{args:?} was never caught in the middle");
}

/// Tells whether something was in `out` before the program ended.
fn wait_for_something(child: &mut Child, out: &Path) -> bool {
    while names(out).is_empty() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}
