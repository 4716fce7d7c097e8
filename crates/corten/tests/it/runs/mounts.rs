//! What `RUN --mount` shows a command, and what is left of it.

use std::fs;
use std::os::unix::fs::symlink;

use super::{added, fails, is_clean, program, succeeds};

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
