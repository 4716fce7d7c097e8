//! RUN: what is mounted, what is kept, what is hidden, and how it ends. Needs a machine that allows it,
//! and a busybox that is linked statically.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

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

/// Builds `lines` on `tools`, with `context` as the context.
pub(crate) fn build(program: &Program, lines: &str, args: &[&str]) -> Ran {
    program.write("Dockerfile", &format!("FROM tools\n{lines}\n"));
    let path = program.path("context");
    fs::create_dir_all(path).unwrap();
    program.run(
        &[
            &[
                "build",
                "context",
                "-f",
                "Dockerfile",
                "--progress",
                "plain",
            ],
            args,
        ]
        .concat(),
    )
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
fn what_is_mounted() {
    let Some(program) = program("what_is_mounted") else {
        return;
    };
    program.write("context/a", "a\n");
    program.write("context/sub/b", "b\n");
    program.write("context/hidden/secret", "no\n");
    program.write("context/.dockerignore", "hidden\n");
    symlink("/etc/passwd", program.path("context/out")).unwrap();
    symlink("sub", program.path("context/in")).unwrap();
    program.write("more/c", "c\n");
    let lines = "FROM tools AS one
RUN mkdir -p /data/d && echo one >/data/d/one && ln -s d /data/link
FROM tools
WORKDIR /w
RUN --mount=target=/m set -e; cat /m/a /m/sub/b; ! ls /m/hidden; ! cat /m/out; ! touch /m/x; \\
    test \"$(stat -c %u:%g /m/a)\" = 0:0
RUN --mount=target=m,rw set -e; echo more >>m/a; rm -r m/sub; touch m/new
RUN --mount=source=a,target=/f --mount=source=in,target=/d set -e; cat /f /d/b
RUN --mount=target=. --mount=type=tmpfs,target=sub cat a; test -z \"$(ls sub)\"
RUN --mount=from=one,src=/data/link,target=/m,rw set -e; cat /m/one; rm /m/one; touch /m/two
RUN --mount=from=one,target=/m test -e /m/data/d/one -a ! -e /m/data/d/two
RUN --mount=from=scratch,target=/m,rw touch /m/x
RUN --mount=from=more,target=/m test \"$(cat /m/c)\" = c
RUN --mount=type=tmpfs,target=/t,size=64k touch /t/x; ! dd if=/dev/zero of=/t/y bs=1k count=65
RUN test ! -e /t/x
RUN --mount=type=cache,target=/a/b/c --mount=type=cache,target=/a/b/c/d touch /a/b/c/d/x";
    let found = added(&program, lines, &["--build-context", "more=more"]);
    // As with BuildKit, a mount point that was made goes, and the directories that were made above it.
    assert_eq!(found, ["w/"]);
    assert_eq!(
        fs::read_to_string(program.path("context/a")).unwrap(),
        "a\n"
    );
    assert!(program.path("context/sub/b").exists() && !program.path("context/new").exists());
    let not_there = "RUN --mount=source=hidden,target=/m true";
    fails(
        &program,
        not_there,
        &[],
        "`hidden` is not in the build context",
    );
    fails(&program, not_there, &[], "`.dockerignore` leaves it out");
    let escape = "RUN --mount=source=out,target=/m true";
    fails(&program, escape, &[], "`out` is not in the build context");
    is_clean(&program, "no process");
}

#[test]
fn what_a_bind_depends_on() {
    let Some(program) = program("what_a_bind_depends_on") else {
        return;
    };
    program.write("context/used/a", "1");
    program.write("context/other", "1");
    let lines = "FROM tools AS src
COPY other /src/other
COPY used /src/used
FROM tools
RUN --mount=source=used,target=/m cat /m/a >/one
FROM tools
COPY --from=2 /one /one
RUN --mount=from=src,src=/src/used,target=/m cat /m/a >/two";
    let is_cached = || {
        let ran = succeeds(&program, lines, &[]);
        let steps = |text: &str| {
            let step = ran.stderr.lines().find(|line| line.contains(text)).unwrap();
            let number = step.split(' ').next().unwrap();
            ran.stderr
                .lines()
                .any(|line| line == format!("{number} CACHED"))
        };
        (steps(">/one"), steps(">/two"))
    };
    assert_eq!(is_cached(), (false, false));
    assert_eq!(is_cached(), (true, true));
    // Neither what is not mounted nor a time counts.
    program.write("context/other", "2");
    program.write("context/used/a", "1");
    assert_eq!(is_cached(), (true, true));
    program.write("context/used/a", "2");
    assert_eq!(is_cached(), (false, false));
}

#[test]
fn caches_are_kept_and_shared() {
    let Some(program) = program("caches_are_kept_and_shared") else {
        return;
    };
    let count = |options: &str, args: &[&str]| {
        let lines = format!(
            "RUN --mount=type=cache,{options} echo x >>/c/f; echo =$(wc -l </c/f) $(stat -c %a:%u /c)="
        );
        let ran = succeeds(&program, &lines, &[&["--no-cache"], args].concat());
        ran.stderr.split('=').rev().nth(1).unwrap().to_owned()
    };
    assert_eq!(count("target=/c", &[]), "1 755:0");
    assert_eq!(count("target=/c", &[]), "2 755:0");
    assert_eq!(count("target=/c,id=/c,sharing=locked", &[]), "3 755:0");
    assert_eq!(count("target=/c,id=other", &[]), "1 755:0");
    assert_eq!(count("target=/c,uid=7,mode=0711", &[]), "1 711:7");
    let namespace = ["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=mine"];
    assert_eq!(count("target=/c", &namespace), "1 755:0");
    // What an image has is there at first, and what a link in a cache says stays in the cache.
    succeeds(&program, "RUN mkdir /s && echo seed >/s/f", &["-t", "seed"]);
    let from =
        "RUN --mount=type=cache,from=seed,source=s,target=/c echo x >>/c/f; grep -c . /c/f | grep";
    succeeds(&program, &format!("{from} 2"), &["--no-cache"]);
    succeeds(&program, &format!("{from} 3"), &["--no-cache"]);
    let link = "RUN --mount=type=cache,id=l,target=/c ln -s /etc /c/sel
RUN --mount=type=cache,id=l,target=/c,source=sel ls /c";
    fails(&program, link, &[], "failed opening the mount's source");
    // Two programs at once: one waits for the other.
    let alone = "RUN --mount=type=cache,id=x,target=/c,sharing=locked \\
    mkdir /c/busy && sleep 0.3 && rmdir /c/busy";
    std::thread::scope(|scope| {
        let builds: Vec<_> = (0..3)
            .map(|number| {
                let name = format!("Dockerfile{number}");
                program.write(&name, &format!("FROM tools\n{alone}\n"));
                let program = &program;
                scope.spawn(move || program.run(&["build", "context", "--no-cache", "-f", &name]))
            })
            .collect();
        for build in builds {
            let ran = build.join().unwrap();
            assert_eq!(ran.code, 0, "{}", ran.stderr);
        }
    });
    let df: serde_json::Value =
        serde_json::from_str(&program.ok(&["df", "--format", "json"])).unwrap();
    let mut ids: Vec<_> = df["runCaches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, ["//c", "//c", "//c", "/l", "/other", "/x", "mine//c"]);
    let gc = |args: &[&str]| {
        let text = program.ok(&[&["gc", "--format", "json"], args].concat());
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        report["removedRunCaches"].as_u64().unwrap()
    };
    assert_eq!((gc(&[]), gc(&["--cache"]), gc(&["--cache"])), (0, 7, 0));
}

/// Returns every file below `path`, decompressed where it is a blob.
pub(crate) fn contents(path: &Path, found: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            contents(&path, found);
        } else if metadata.is_file() {
            let bytes = fs::read(&path).unwrap();
            let mut plain = Vec::new();
            let limits = corten_tar::DecodeLimits::default();
            let reader = corten_tar::Decoder::new(Box::new(bytes.as_slice()), limits);
            reader.unwrap().read_to_end(&mut plain).unwrap();
            found.extend([bytes.clone(), plain]);
        }
    }
}

#[test]
fn secrets_are_nowhere() {
    let Some(program) = program("secrets_are_nowhere") else {
        return;
    };
    let secrets = [
        "5cf87b-in-a-file",
        "0a1d92-in-a-variable",
        "77e03c-in-another",
    ];
    program.write("secret", secrets[0]);
    let agent = program.path("agent");
    let _listener = UnixListener::bind(&agent).unwrap();
    // A key that is read from a file, and of which lines in the middle are the secret.
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"]);
    let made = keygen.arg(program.path("key")).status();
    assert!(made.expect("ssh-keygen is installed").success());
    let key = fs::read_to_string(program.path("key")).unwrap();
    let secrets = secrets.into_iter().chain(key.lines().skip(10).take(3));
    let secrets: Vec<&str> = secrets.collect();
    let lines = format!(
        "RUN --mount=type=ssh,id=keys,required,mode=0666 test -S $SSH_AUTH_SOCK && ! grep -r PRIVATE /run/buildkit
RUN --mount=type=secret,id=file,required --mount=type=secret,id=one,env=ONE \\
    --mount=type=secret,id=TWO,env=TWO,target=/two,mode=0444,uid=5 --mount=type=ssh,required \\
    --mount=type=secret,id=none,env=NONE --mount=type=secret,id=absent \\
    set -e; test \"$(cat /run/secrets/file)\" = \"$(printf 5cf87b; printf -- -in-a-file)\"; \\
    test \"$(stat -c '%a %u' /run/secrets/file /two | tr '\\n' ' ')\" = '400 0 444 5 '; \\
    test ${{#ONE}} = {}; test ${{#TWO}} = {}; test \"${{NONE-unset}}\" = ''; test ! -e /run/secrets/one; \\
    test ! -e /run/secrets/absent; test -S $SSH_AUTH_SOCK; touch /done
RUN test -z \"$ONE$TWO$SSH_AUTH_SOCK\" -a ! -e /two -a ! -e /run/secrets/file",
        secrets[1].len(),
        secrets[2].len()
    );
    program.write("Dockerfile", &format!("FROM tools\n{lines}\n"));
    fs::create_dir_all(program.path("context")).unwrap();
    let ssh = format!("default={}", agent.display());
    let mut command = program.command(&[
        "build",
        "context",
        "-f",
        "Dockerfile",
        "-t",
        "app",
        "--secret",
        "id=file,src=secret",
        "--secret",
        "id=one,env=VARIABLE",
        "--secret",
        "id=TWO",
        "--ssh",
        &ssh,
        "--ssh",
        "keys=key",
        "--output",
        "type=tar,dest=out.tar",
    ]);
    let output = command
        .env("VARIABLE", secrets[1])
        .env("TWO", secrets[2])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}");
    let mut found = vec![
        output.stdout,
        output.stderr,
        fs::read(program.path("out.tar")).unwrap(),
    ];
    contents(&program.path("store"), &mut found);
    assert!(found.len() > 10);
    for secret in &secrets {
        let is_in = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(secret);
        assert_eq!(
            found.iter().filter(|bytes| is_in(bytes)).count(),
            0,
            "{secret}"
        );
    }
    // The search finds what is there.
    program.write("context/leak", secrets[0]);
    succeeds(&program, "COPY leak /leak", &[]);
    let mut found = Vec::new();
    contents(&program.path("store"), &mut found);
    let is_in = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(secrets[0]);
    assert!(found.iter().any(is_in));

    let required = "RUN --mount=type=secret,id=no,required echo not run >&2; exit 9";
    fails(
        &program,
        required,
        &[],
        "the secret `no` is required and was not given",
    );
    let required = "RUN --mount=type=ssh,required exit 9";
    fails(
        &program,
        required,
        &[],
        "the SSH agent `default` is required and was not given",
    );
    fails(
        &program,
        "RUN true",
        &["--secret", "id=a,src=none"],
        "cannot read the secret `a`",
    );
    fails(
        &program,
        "RUN true",
        &["--ssh", "a=secret"],
        "it is no private key",
    );
    fails(
        &program,
        "RUN true",
        &["--ssh", "default"],
        "there is no SSH agent",
    );
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
    program.write("Dockerfile", &format!("FROM tools\n{lines}\n"));
    fs::create_dir_all(program.path("context")).unwrap();
    let args = [
        "build",
        "context",
        "-f",
        "Dockerfile",
        "--progress",
        "plain",
    ];
    let mut child = program
        .heeding(&args)
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

#[test]
fn mounts_where_nothing_can_be_mounted() {
    let Some(program) = program("mounts_where_nothing_can_be_mounted") else {
        return;
    };
    program.write("context/a", "a\n");
    program.write("context/sub/b", "b\n");
    program.write("secret", "hush-hush");
    let nap = format!("7{}.25", std::process::id());
    let lines = "FROM tools AS one
RUN mkdir -p /data/d && echo one >/data/d/one
FROM tools
RUN --mount=target=/m --mount=from=one,source=/data,target=/m2 --mount=source=a,target=/etc/one \\
    cat /m/a /m/sub/b /m2/d/one /etc/one >/seen; ! test -e /m/x
RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/c/t touch /c/kept /c/t/x
RUN --mount=type=cache,target=/c test -e /c/kept && ! test -e /c/t/x
RUN --mount=type=secret,id=s,target=/s/x --mount=type=secret,id=s,target=/keys/x,mode=0440,gid=7,env=S \\
    test \"$(cat /keys/x)\" = \"$S\" && test \"$(stat -c %u:%g:%a /keys/x)\" = 0:7:440 && mv /s /moved && ln /keys/x /linked
RUN ! test -s /moved/x && ! test -s /linked && ! test -e /keys && rm -f /linked";
    let args = ["--isolation", "chroot", "--secret", "id=s,src=secret"];
    let found = added(&program, lines, &args);
    is_clean(&program, &nap);
    for path in ["seen", "moved/"] {
        assert!(found.iter().any(|found| found == path), "{path}: {found:?}");
    }
    let traces = [
        "m/", "m2/", "etc/one", "c/", "keys/", "keys/x", "moved/x", "s/",
    ];
    for path in traces {
        assert!(
            !found.iter().any(|found| found == path),
            "{path}: {found:?}"
        );
    }
    assert_eq!(
        fs::read_to_string(program.path("out/seen")).unwrap(),
        "a\nb\none\na\n"
    );
    // A command that fails leaves the cache where it was.
    let failing = "FROM tools\nRUN --mount=type=cache,target=/c touch /c/more; exit 3";
    fails(&program, failing, &args, "exit status 3");
    let lines = "FROM tools\nRUN --mount=type=cache,target=/c test -e /c/more && test -e /c/kept";
    added(&program, lines, &args);
    for (mount, expected) in [
        ("type=tmpfs,target=/t,size=1m", "cannot be limited"),
        (
            "type=cache,target=/c --mount=type=cache,id=/c,target=/d",
            "in two places",
        ),
    ] {
        // Nothing runs before what cannot be had is refused.
        let lines = format!("FROM tools\nRUN echo it ran\nRUN --mount={mount} true");
        let told = fails(&program, &lines, &args, expected);
        assert!(!told.contains("it ran\n"), "{told}");
    }
    is_clean(&program, &nap);
}
