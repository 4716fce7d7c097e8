//! Commands that misbehave, fail or are interrupted: nothing of them is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{BUILD, added, fails, is_clean, program, write};
use crate::program::Program;

#[test]
fn what_misbehaves() {
    let Some(program) = program("what_misbehaves") else {
        return;
    };
    let nap = format!("4{}.25", std::process::id());
    let name = "n".repeat(255);
    let lines = format!(
        "RUN set -e; setsid sleep {nap} & (sleep {nap} &) ; mkdir -p /x/one /x/two; cd /x; \\
    touch {name}; mkfifo fifo; echo hi >one/f; ln one/f two/g; cp /bin/busybox su; chmod 4755 su; \\
    dd if=/dev/zero of=sparse bs=1 count=1 seek=64M 2>/dev/null; \\
    i=0; while [ $i -lt 2000 ]; do : >one/$i; i=$((i+1)); done
RUN --mount=type=tmpfs,target=/mnt/t --mount=type=cache,target=/c ! rmdir /mnt/t 2>/dev/null; \\
    umount /c 2>/dev/null; mv /mnt /gone 2>/dev/null; rm -rf /mnt 2>/dev/null; touch /c/kept; true
RUN --mount=type=cache,target=/c test -e /c/kept"
    );
    let found = added(&program, &lines, &[]);
    is_clean(&program, &nap);
    assert_eq!(
        found
            .iter()
            .filter(|path| path.starts_with("x/one/"))
            .count(),
        2002
    );
    let others: Vec<_> = found
        .iter()
        .filter(|path| !path.starts_with("x/one/"))
        .collect();
    let long = format!("x/{name}");
    assert_eq!(
        others.iter().filter(|path| path.starts_with("x/")).count(),
        7,
        "{others:?}"
    );
    assert!(others.contains(&&long), "{others:?}");
    assert!(
        !found
            .iter()
            .any(|path| path.starts_with("c/") || path.ends_with("t/")),
        "{others:?}"
    );
    let stat = |path: &str| fs::symlink_metadata(program.path("out/x").join(path)).unwrap();
    assert_eq!(stat("one/f").ino(), stat("two/g").ino());
    assert_eq!(stat("su").mode() & 0o7777, 0o4755);
    assert_eq!(
        (stat("sparse").len(), stat("fifo").mode() & 0o170_000),
        ((64 << 20) + 1, 0o010_000)
    );
}

/// Starts a build and waits until one of its commands has printed `ready`.
fn start(program: &Program, lines: &str) -> Child {
    write(program, lines);
    let mut child = program
        .heeding(&BUILD)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with(" ready")));
    child
}

#[test]
fn whoever_interrupts_does_not_wait() {
    let Some(program) = program("whoever_interrupts_does_not_wait") else {
        return;
    };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let nap = format!("5{}.25", std::process::id());
        let lines = format!("RUN trap '' INT TERM HUP; sleep {nap} & echo ready; sleep {nap}");
        let mut child = start(&program, &lines);
        let before = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        let took = before.elapsed();
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(took < Duration::from_secs(1), "{took:?}");
        is_clean(&program, &nap);
    }
}

#[test]
fn a_failed_stage_ends_the_others() {
    let Some(program) = program("a_failed_stage_ends_the_others") else {
        return;
    };
    let nap = format!("6{}.25", std::process::id());
    let lines = format!(
        "FROM tools AS slow
RUN --mount=type=cache,id=sign,target=/c touch /c/ready; sleep {nap}
FROM tools AS bad
RUN --mount=type=cache,id=sign,target=/c until test -e /c/ready; do sleep 0.01; done; exit 3
FROM tools
COPY --from=slow /etc /a
COPY --from=bad /etc /b"
    );
    let before = Instant::now();
    fails(&program, &lines, &[], "ended with exit status 3");
    assert!(before.elapsed() < Duration::from_secs(30));
    is_clean(&program, &nap);
}
