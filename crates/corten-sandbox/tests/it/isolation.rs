//! What a process in a sandbox is, sees and may do.

use corten_sandbox::{ExitStatus, Init, Input, Network, Signals, Stdio, User, run};
use corten_testing::harness::Test;

use crate::world::{World, chain, output, prints, require_root};

pub(crate) const TESTS: &[Test] = &[
    (
        "the_status_is_that_of_the_process",
        the_status_is_that_of_the_process,
    ),
    ("the_streams_are_apart", the_streams_are_apart),
    ("much_output_arrives_whole", much_output_arrives_whole),
    ("input_is_passed_on", input_is_passed_on),
    ("the_host_name_is_set", the_host_name_is_set),
    (
        "only_its_own_processes_are_seen",
        only_its_own_processes_are_seen,
    ),
    ("the_reaper_is_process_1", the_reaper_is_process_1),
    (
        "capabilities_are_the_fields_14",
        capabilities_are_the_fields_14,
    ),
    ("system_calls_are_filtered", system_calls_are_filtered),
    (
        "without_network_there_is_only_loopback",
        without_network_there_is_only_loopback,
    ),
    (
        "an_ordinary_user_has_no_capabilities",
        an_ordinary_user_has_no_capabilities,
    ),
    (
        "an_ordinary_user_can_open_its_output",
        an_ordinary_user_can_open_its_output,
    ),
    (
        "no_new_privileges_is_what_was_asked",
        no_new_privileges_is_what_was_asked,
    ),
    ("errors_say_what_is_missing", errors_say_what_is_missing),
];

#[track_caller]
fn check_status(script: &str, init: Init, expected: ExitStatus) {
    let world = World::new();
    let mut sandbox = world.sandbox(script);
    sandbox.init = init;
    assert_eq!(output(&sandbox).unwrap().0.status, expected, "{script}");
}

fn the_status_is_that_of_the_process() -> Result<(), String> {
    require_root()?;
    check_status("true", Init::Process, ExitStatus::Exited(0));
    check_status("exit 7", Init::Process, ExitStatus::Exited(7));
    check_status("exit 7", Init::Reaper, ExitStatus::Exited(7));
    check_status("kill -9 $$", Init::Reaper, ExitStatus::Exited(137));
    check_status(
        "sh -c 'kill -TERM $$'; exit $?",
        Init::Process,
        ExitStatus::Exited(143),
    );
    Ok(())
}

fn the_streams_are_apart() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let (_, out, err) = output(&world.sandbox("echo out; echo err >&2; cat")).unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    Ok(())
}

fn much_output_arrives_whole() -> Result<(), String> {
    require_root()?;
    let (_, out, _) = output(&World::new().sandbox("head -c 3000000 /dev/zero")).unwrap();
    assert_eq!(out.len(), 3_000_000);
    Ok(())
}

fn input_is_passed_on() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    world.write("text", "typed\n", 0o600);
    let mut out = Vec::new();
    let mut sink = |_, bytes: &[u8]| out.extend_from_slice(bytes);
    let stdin = Input::File(std::fs::File::open(world.path("text")).unwrap().into());
    let stdio = Stdio::Sink {
        stdin,
        sink: &mut sink,
    };
    run(&world.sandbox("cat"), stdio, Signals::Leave).unwrap();
    assert_eq!(out, b"typed\n");
    Ok(())
}

fn the_host_name_is_set() -> Result<(), String> {
    require_root()?;
    assert_eq!(World::new().prints("hostname"), "sandbox\n");
    Ok(())
}

fn only_its_own_processes_are_seen() -> Result<(), String> {
    require_root()?;
    let shown = World::new().prints("echo $$; ls /proc | grep -c '^[0-9]'");
    // The shell, `ls` and `grep`.
    assert_eq!(shown, "1\n3\n");
    Ok(())
}

fn the_reaper_is_process_1() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox =
        world.sandbox("echo $$; readlink /proc/1/exe || echo hidden; cat /proc/1/fd/0");
    sandbox.init = Init::Reaper;
    let (_, out, err) = output(&sandbox).unwrap();
    assert_eq!(out, "2\nhidden\n");
    assert!(err.contains("denied"), "{err}");
    Ok(())
}

fn capabilities_are_the_fields_14() -> Result<(), String> {
    require_root()?;
    let shown = World::new().prints("grep -E 'Cap|Seccomp:|NoNewPrivs' /proc/self/status");
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\n\
        CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
        NoNewPrivs:\t0\nSeccomp:\t2\n";
    assert_eq!(shown, expected);
    Ok(())
}

#[track_caller]
fn check_refused(script: &str) {
    let world = World::new();
    let (outcome, _, err) = output(&world.sandbox(script)).unwrap();
    assert!(!outcome.status.is_success(), "{script}");
    assert!(
        ["not permitted", "permission denied", "you root"]
            .iter()
            .any(|m| err.contains(m)),
        "{script}: {err}"
    );
}

fn system_calls_are_filtered() -> Result<(), String> {
    require_root()?;
    check_refused("mount -t tmpfs none /tmp");
    check_refused("mount -o remount,rw /sys");
    check_refused("umount /proc/kcore");
    check_refused("unshare -U true");
    check_refused("unshare -m true");
    check_refused("hostname other");
    // What the default set allows still works.
    World::new().prints("chroot / true && touch /tmp/x && chown 5:6 /tmp/x && mknod /tmp/p p");
    if !corten_sandbox::in_user_namespace() {
        World::new().prints("mknod /tmp/null c 1 3");
    }
    Ok(())
}

fn without_network_there_is_only_loopback() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("ls /sys/class/net; grep -c : /proc/net/dev; ip -o addr");
    sandbox.network = Network::None;
    let shown = prints(&sandbox);
    assert!(shown.starts_with("lo\n1\n"), "{shown}");
    assert!(shown.contains("127.0.0.1/8"), "{shown}");
    Ok(())
}

fn an_ordinary_user_has_no_capabilities() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("id; grep CapEff /proc/self/status; touch /x");
    sandbox.process.user = User {
        uid: 1000,
        gid: 100,
        additional_gids: vec![7, 8],
    };
    let (outcome, out, err) = output(&sandbox).unwrap();
    assert_eq!(
        out,
        "uid=1000 gid=100 groups=7,8\nCapEff:\t0000000000000000\n"
    );
    assert!(
        err.contains("Permission denied") && !outcome.status.is_success(),
        "{err}"
    );
    Ok(())
}

fn an_ordinary_user_can_open_its_output() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("echo out > /dev/stdout; echo err > /dev/stderr");
    sandbox.process.user = User {
        uid: 1000,
        gid: 100,
        additional_gids: Vec::new(),
    };
    assert_eq!(prints(&sandbox), "out\nerr\n");
    Ok(())
}

fn no_new_privileges_is_what_was_asked() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let mut sandbox = world.sandbox("grep NoNewPrivs /proc/self/status");
    sandbox.process.no_new_privileges = true;
    assert_eq!(prints(&sandbox), "NoNewPrivs:\t1\n");
    Ok(())
}

#[track_caller]
fn check_error(args: &[&str], cwd: &str, expected: &str) {
    let world = World::new();
    std::fs::create_dir(world.path("root/etc")).unwrap();
    world.write("root/etc/text", "not an executable", 0o644);
    world.write("root/bin/script", "#!/bin/python\n", 0o755);
    world.write("root/bin/scrap", "scrap", 0o755);
    let mut sandbox = world.sandbox("");
    sandbox.process.args = args.iter().map(ToString::to_string).collect();
    sandbox.process.cwd = cwd.into();
    assert_eq!(chain(&output(&sandbox).unwrap_err()), expected);
}

fn errors_say_what_is_missing() -> Result<(), String> {
    require_root()?;
    check_error(
        &["nope"],
        "/",
        "executable `nope` not found in $PATH of the image (`/bin`)",
    );
    check_error(
        &["/nope"],
        "/",
        "cannot execute `/nope`: it, its interpreter or its dynamic loader is missing in the image: \
         No such file or directory (os error 2)",
    );
    check_error(
        &["script"],
        "/",
        "cannot execute `/bin/script`: it, its interpreter or its dynamic loader is missing in the \
         image: No such file or directory (os error 2)",
    );
    check_error(
        &["scrap"],
        "/",
        "cannot execute `/bin/scrap`: it is for another architecture, or a script without `#!`: Exec \
         format error (os error 8)",
    );
    let refused = "cannot execute `/etc/text`: Permission denied (os error 13)";
    check_error(&["/etc/text"], "/", refused);
    let missing =
        "cannot use `/nope` as the working directory: No such file or directory (os error 2)";
    check_error(&["true"], "/nope", missing);
    check_error(&[], "/", "the executable of the sandbox is not valid: ``");
    Ok(())
}
