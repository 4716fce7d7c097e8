//! The same sandboxes for an ordinary user: all other tests again, in a user namespace.
//!
//! The user exists only in a mount namespace of the test, whose `/etc` has it and its subordinate ids.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use corten_sandbox::{Entered, Tier, entered, probe, reexec_in_user_namespace};
use corten_testing::harness::Test;
use tempfile::TempDir;

use crate::world::require_root;
use crate::{escapes, files, harness, isolation, lifetime, terminal};

pub(crate) const TESTS: &[Test] = &[
    (
        "subordinate_ids_are_the_users_own",
        subordinate_ids_are_the_users_own,
    ),
    (
        "everything_works_in_a_user_namespace",
        everything_works_in_a_user_namespace,
    ),
    (
        "without_the_tools_the_probe_says_what_to_install",
        without_the_tools_the_probe_says_so,
    ),
    (
        "without_ids_the_probe_says_what_to_run",
        without_ids_the_probe_says_so,
    ),
    (
        "the_status_of_the_program_inside_is_passed_on",
        the_status_is_passed_on,
    ),
];

/// Tells this executable to go into a user namespace and do something: `--scenario NAME`.
pub(crate) const SCENARIO: &str = "--scenario";
/// Tells this executable to print what it can do.
pub(crate) const PROBE: &str = "--probe";

const UID: u32 = 4321;
const FIRST_SUBORDINATE: u32 = 500_000;

pub(crate) fn print_probe() -> ExitCode {
    let found = probe();
    println!("{found}");
    ExitCode::from(u8::from(found.tier.is_none()))
}

pub(crate) fn scenario(name: &str) -> ExitCode {
    let Some(outside) = entered() else {
        let Tier::UserNamespace(map) = probe().require().unwrap() else {
            panic!("is root")
        };
        let status = reexec_in_user_namespace(&map).unwrap();
        return ExitCode::from(u8::try_from(status.code()).unwrap());
    };
    assert_eq!(outside, Entered { uid: UID, gid: UID });
    assert!(rustix::process::geteuid().is_root());
    match name {
        "ids" => {
            let file = std::env::temp_dir().join("file");
            fs::File::create(&file).unwrap();
            chown(&file, Some(1000), Some(65536)).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().uid(), 1000);
            assert_eq!(probe().tier, Some(Tier::Root { userxattr: true }));
            ExitCode::SUCCESS
        }
        "all" => harness::main(
            &[],
            &[
                ("isolation", isolation::TESTS),
                ("files", files::TESTS),
                ("escapes", escapes::TESTS),
                ("lifetime", lifetime::TESTS),
                ("terminal", terminal::TESTS),
            ],
        ),
        "killed" => {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            unreachable!("a process outlives its SIGKILL")
        }
        other => panic!("no scenario {other}"),
    }
}

/// An ordinary user with a home and a copy of this executable.
struct User {
    dir: TempDir,
}

impl User {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path(), readable).unwrap();
        for name in ["home", "etc", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        chown(dir.path().join("home"), Some(UID), Some(UID)).unwrap();
        fs::copy("/proc/self/exe", dir.path().join("it")).unwrap();
        Self { dir }
    }

    /// Runs this executable as the user, with these subordinate ids.
    fn run(&self, ids: &str, path: &str, args: &[&str]) -> Output {
        let script = r#"
            mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc &&
            echo "sandboxer:x:4321:4321::/:/bin/sh" >> /etc/passwd &&
            echo "$2" > /etc/subuid && echo "$2" > /etc/subgid && base=$1 path=$3 && shift 3 &&
            exec setpriv --reuid 4321 --regid 4321 --clear-groups \
                env "PATH=$path" "TMPDIR=$base/home" "$base/it" "$@"
        "#;
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(self.dir.path())
            .args([ids, path])
            .args(args)
            .output()
            .unwrap()
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) {
        let ids = format!("sandboxer:{FIRST_SUBORDINATE}:65536");
        let output = self.run(&ids, "/usr/bin:/bin", args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    }
}

fn require() -> Result<(), String> {
    require_root()?;
    if corten_sandbox::in_user_namespace() {
        return Err("needs root of the machine".to_owned());
    }
    for tool in ["newuidmap", "newgidmap", "setpriv", "unshare"] {
        if !Path::new("/usr/bin").join(tool).exists() {
            return Err(format!("needs {tool}"));
        }
    }
    Ok(())
}

fn subordinate_ids_are_the_users_own() -> Result<(), String> {
    require()?;
    let user = User::new();
    user.succeeds(&[SCENARIO, "ids"]);
    let file = fs::metadata(user.dir.path().join("home/file")).unwrap();
    assert_eq!(
        (file.uid(), file.gid()),
        (FIRST_SUBORDINATE + 999, FIRST_SUBORDINATE + 65535)
    );
    Ok(())
}

fn everything_works_in_a_user_namespace() -> Result<(), String> {
    require()?;
    User::new().succeeds(&[SCENARIO, "all"]);
    Ok(())
}

#[track_caller]
fn check_probe(ids: &str, path: &str, expected: &str) {
    let output = User::new().run(ids, path, &[PROBE]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

fn without_the_tools_the_probe_says_so() -> Result<(), String> {
    require()?;
    let expected = "  user namespace: `newuidmap` did not map the ids: not found in $PATH\n    \
        hint: install newuidmap and newgidmap: package `uidmap` of Debian and Ubuntu, \
        `shadow-utils` of Fedora, `shadow-uidmap` of Alpine\n";
    check_probe("sandboxer:500000:65536", "/nowhere", expected);
    Ok(())
}

fn without_ids_the_probe_says_so() -> Result<(), String> {
    require()?;
    let expected = "  subordinate ids: `/etc/subuid` has no range for user sandboxer\n    \
        hint: run `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 sandboxer` as \
        root\n";
    check_probe("somebody:500000:65536", "/usr/bin:/bin", expected);
    Ok(())
}

fn the_status_is_passed_on() -> Result<(), String> {
    require()?;
    let ids = format!("sandboxer:{FIRST_SUBORDINATE}:65536");
    let output = User::new().run(&ids, "/usr/bin:/bin", &[SCENARIO, "killed"]);
    assert_eq!(output.status.code(), Some(137));
    Ok(())
}
