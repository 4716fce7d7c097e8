//! Bundles under the runtimes that others use.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, ExitCode, Output};

use corten_bundle::config::{ConfigOptions, Network, Privileges, Volumes};
use corten_bundle::{UnpackOptions, unpack};
use corten_content::ImageDocuments;
use corten_layer::directory::{Devices, Owners};
use corten_snapshot::Snapshots;
use corten_testing::harness::Test;

use crate::world::{World, busybox, require_root, require_tool, shell, words};

pub(crate) const TESTS: &[Test] = &[
    ("runc_runs_what_the_image_says", || as_root("runc")),
    ("crun_runs_what_the_image_says", || as_root("crun")),
    ("runc_takes_every_option", || with_options("runc")),
    ("crun_takes_every_option", || with_options("crun")),
    ("runc_runs_without_privileges", || as_user("runc")),
    ("crun_runs_without_privileges", || as_user("crun")),
];

/// An ordinary user without a name.
const UID: u32 = 4322;

const SCRIPT: &str =
    "id; pwd; echo $A $B $HOME; touch /data/x && ls /data; ls -d /srv/deep; hostname";

fn image(world: &World, user: &str) -> ImageDocuments {
    world.image(&[busybox()], |config| {
        config.config.cmd = Some(shell(SCRIPT));
        config.config.user = user.into();
        config.config.env = words("A=1 B=2");
        config.config.working_dir = "/srv/deep".into();
        config.config.volumes.0 = ["/data".to_owned()].into();
        config.config.labels = [("a label".to_owned(), "its value".to_owned())].into();
    })
}

fn bundle(world: &World, image: &ImageDocuments, options: &UnpackOptions) -> std::path::PathBuf {
    let bundle = world.path("bundle");
    unpack(&Snapshots::new(&world.store), image, &bundle, options).unwrap();
    bundle
}

/// Runs the bundle. A runtime may refuse a machine with both versions of cgroups mounted (crun 1.8
/// does), so the newer one is hidden from it.
fn run(runtime: &str, bundle: &Path, user: Option<u32>) -> Output {
    let script = r#"
        if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
        cd "$2" && exec $3 "$1" --root "$4" run "corten-test-$$"
    "#;
    let drop = user.map_or(String::new(), |id| {
        format!("setpriv --reuid {id} --regid {id} --clear-groups")
    });
    let state = bundle.with_file_name("state");
    fs::create_dir_all(&state).unwrap();
    if let Some(user) = user {
        chown(&state, Some(user), Some(user)).unwrap();
    }
    Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", runtime])
        .arg(bundle)
        .arg(drop)
        .arg(&state)
        .env("XDG_RUNTIME_DIR", &state)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

#[track_caller]
fn check(runtime: &str, output: &Output, expected: &str) {
    let version = Command::new(runtime).arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{version}\n{out}\n{err}");
    assert_eq!(out, expected, "{version}\n{err}");
}

fn as_root(runtime: &str) -> Result<(), String> {
    require_root()?;
    require_tool(runtime)?;
    let world = World::new();
    let image = image(&world, "root");
    let options = UnpackOptions {
        owners: Owners::Set,
        devices: Devices::Make,
        user: Some("app".into()),
        config: ConfigOptions::default(),
    };
    let bundle = bundle(&world, &image, &options);
    check(
        runtime,
        &run(runtime, &bundle, None),
        "uid=1000(app) gid=100(users) groups=44(video)\n/srv/deep\n1 2 /home/app\nx\n/srv/deep\ncorten\n",
    );
    assert!(
        !bundle.join("rootfs/data/x").exists(),
        "it is in the volume"
    );
    Ok(())
}

fn with_options(runtime: &str) -> Result<(), String> {
    require_root()?;
    require_tool(runtime)?;
    let world = World::new();
    let image = image(&world, "");
    let mut config = ConfigOptions {
        network: Network::Host,
        volumes: Volumes::Ignore,
        privileges: Privileges::Gainable,
        hostname: "box".into(),
        ..ConfigOptions::default()
    };
    config.overrides.command = Some(shell("hostname; echo $A; touch /made; pwd; id -u"));
    config.overrides.env = words("A=x");
    config.overrides.working_dir = Some("/".into());
    let options = UnpackOptions {
        owners: Owners::Set,
        devices: Devices::Make,
        user: None,
        config,
    };
    let bundle = bundle(&world, &image, &options);
    check(runtime, &run(runtime, &bundle, None), "box\nx\n/\n0\n");
    assert!(
        bundle.join("rootfs/made").exists(),
        "the root can be written to"
    );
    Ok(())
}

/// Tells this executable to unpack an image, as whoever it runs as, into a directory.
pub(crate) const UNPACK: &str = "--unpack";

pub(crate) fn unpack_here(bundle: &Path) -> ExitCode {
    let world = World::new();
    let image = image(&world, "");
    let options = UnpackOptions {
        owners: Owners::Leave,
        devices: Devices::Skip,
        user: None,
        config: ConfigOptions::rootless(UID, UID),
    };
    unpack(&Snapshots::new(&world.store), &image, bundle, &options).unwrap();
    ExitCode::SUCCESS
}

fn as_user(runtime: &str) -> Result<(), String> {
    require_root()?;
    require_tool(runtime)?;
    require_tool("setpriv")?;
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (home, program) = (dir.path().join("home"), dir.path().join("it"));
    fs::create_dir(&home).unwrap();
    chown(&home, Some(UID), Some(UID)).unwrap();
    fs::copy("/proc/self/exe", &program).unwrap();
    let bundle = home.join("bundle");
    let id = UID.to_string();
    let output = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .arg(&program)
        .arg(UNPACK)
        .arg(&bundle)
        .env("TMPDIR", &home)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    check(
        runtime,
        &run(runtime, &bundle, Some(UID)),
        "uid=0(root) gid=0(root)\n/srv/deep\n1 2 /root\nx\n/srv/deep\ncorten\n",
    );
    Ok(())
}
