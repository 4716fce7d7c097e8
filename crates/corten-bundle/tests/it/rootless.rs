//! Runs by an ordinary user, who exists only in a mount namespace of the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, ExitCode};

use corten_bundle::RunRequest;
use corten_sandbox::{Tier, entered, probe, reexec_in_user_namespace};
use corten_testing::harness::Test;

use crate::running::check;
use crate::world::{World, busybox, require_root, require_tool, shell};

pub(crate) const TESTS: &[Test] = &[("an_ordinary_user_runs_an_image", an_ordinary_user)];

/// Tells this executable to go into a user namespace and run an image there.
pub(crate) const INSIDE: &str = "--inside";

const UID: u32 = 4323;

pub(crate) fn inside() -> ExitCode {
    if entered().is_none() {
        let Tier::UserNamespace(map) = probe().require().unwrap() else {
            panic!("is root")
        };
        let status = reexec_in_user_namespace(&map).unwrap();
        return ExitCode::from(u8::try_from(status.code()).unwrap());
    }
    let world = World::new();
    let script = "id; pwd; touch /x && echo made; cat /etc/hostname";
    let image = world.image(&[busybox()], |config| {
        config.config.cmd = Some(shell(script));
        config.config.working_dir = "/home/app".into();
    });
    let mut request = RunRequest::new(&image);
    request.hostname = Some("box".into());
    check(
        &world,
        &request,
        "uid=0(root) gid=0(root)\n/home/app\nmade\nbox\n",
    );
    request.user = Some("app".into());
    request.overrides.command = Some(shell("id"));
    check(
        &world,
        &request,
        "uid=1000(app) gid=100(users) groups=44(video)\n",
    );
    ExitCode::SUCCESS
}

fn an_ordinary_user() -> Result<(), String> {
    require_root()?;
    for tool in ["newuidmap", "newgidmap", "setpriv", "unshare"] {
        require_tool(tool)?;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["home", "etc", "work"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    chown(dir.path().join("home"), Some(UID), Some(UID)).unwrap();
    fs::copy("/proc/self/exe", dir.path().join("it")).unwrap();
    let script = r#"
        mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" /etc &&
        echo "runner:x:4323:4323::/:/bin/sh" >> /etc/passwd &&
        echo "runner:600000:65536" > /etc/subuid && echo "runner:600000:65536" > /etc/subgid &&
        exec setpriv --reuid 4323 --regid 4323 --clear-groups \
            env "TMPDIR=$1/home" "$1/it" --inside
    "#;
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(dir.path())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    Ok(())
}
