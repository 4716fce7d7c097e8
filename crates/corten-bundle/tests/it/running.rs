use std::fs;
use std::path::Path;

use corten_bundle::config::RootAccess;
use corten_bundle::volume::{Access, VolumeMount};
use corten_bundle::{Error, RunRequest, is_unmountable, run, run_directories};
use corten_content::ImageDocuments;
use corten_sandbox::{ExitStatus, Init, Input, Network, Stdio};
use corten_snapshot::{ErofsRoot, RootFiles, Snapshots};
use corten_testing::harness::Test;

use crate::world::{World, busybox, directory, file, require_root, shell, symlink, words};

pub(crate) const TESTS: &[Test] = &[
    ("what_the_image_says", what_the_image_says),
    ("what_the_caller_says", what_the_caller_says),
    ("changes_are_gone_afterwards", changes_are_gone_afterwards),
    ("volumes_of_the_host", volumes_of_the_host),
    ("a_root_that_cannot_be_written_to", read_only_root),
    ("names_of_the_host", names_of_the_host),
    ("an_image_without_layers", an_image_without_layers),
    (
        "an_index_that_cannot_be_mounted",
        an_index_that_cannot_be_mounted,
    ),
    ("statuses_are_passed_on", statuses_are_passed_on),
    ("what_does_not_start", what_does_not_start),
];

/// Runs, and returns the status with what came out.
pub(crate) fn output(
    world: &World,
    request: &RunRequest<'_>,
) -> Result<(ExitStatus, String), Error> {
    let mut out = Vec::new();
    let mut sink = |_, bytes: &[u8]| out.extend_from_slice(bytes);
    let stdio = Stdio::Sink {
        stdin: Input::Null,
        sink: &mut sink,
    };
    let status = run(&Snapshots::new(&world.store), request, stdio)?;
    let left = fs::read_dir(world.store.layers_dir().join("tmp"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "a run leaves nothing");
    Ok((status, String::from_utf8(out).unwrap()))
}

#[track_caller]
pub(crate) fn check(world: &World, request: &RunRequest<'_>, expected: &str) {
    let (status, out) = output(world, request).unwrap();
    assert_eq!((out.as_str(), status), (expected, ExitStatus::Exited(0)));
}

fn small(world: &World, script: &str) -> ImageDocuments {
    world.image(&[busybox()], |config| {
        config.config.cmd = Some(shell(script));
    })
}

fn what_the_image_says() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let home = vec![
        directory("srv").owned(1000, 100, 0o750),
        file("srv/x", b"hello"),
    ];
    let image = world.image(&[busybox(), home], |config| {
        config.config.entrypoint = Some(words("/bin/sh -c"));
        config.config.cmd = Some(vec![
            "id; pwd; echo $A $HOME; cat /srv/x; ls -ld .. /srv".into(),
        ]);
        config.config.user = "app".into();
        config.config.env = words("A=1 PATH=/bin");
        config.config.working_dir = "/srv/deep".into();
    });
    let (status, out) = output(&world, &RunRequest::new(&image)).unwrap();
    assert_eq!(status, ExitStatus::Exited(0), "{out}");
    let expected = "uid=1000(app) gid=100(users) groups=44(video)\n/srv/deep\n1 /home/app\nhello";
    assert!(out.starts_with(expected), "{out}");
    // The directory that was made for the working directory hides nothing of the image's own.
    let listed: Vec<&str> = out.lines().skip(3).collect();
    assert!(
        listed.iter().all(|line| line.contains("drwxr-x---")),
        "{out}"
    );
    Ok(())
}

fn what_the_caller_says() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let image = world.image(&[busybox()], |config| {
        config.config.entrypoint = Some(words("/bin/no"));
        config.config.user = "app".into();
        config.config.env = words("A=1 B=2");
    });
    let mut request = RunRequest::new(&image);
    request.overrides.entrypoint = Some(shell("id -u; id -g; echo $A $B; pwd; hostname; echo $0"));
    request.overrides.command = Some(words("given"));
    request.overrides.env = words("B=3");
    request.overrides.working_dir = Some("/etc".into());
    request.user = Some("7:8".into());
    request.hostname = Some("box".into());
    request.network = Network::None;
    request.init = Init::Reaper;
    check(&world, &request, "7\n8\n1 3\n/etc\nbox\ngiven\n");
    Ok(())
}

fn changes_are_gone_afterwards() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let image = small(
        &world,
        "ls /made 2>/dev/null; echo x > /made; echo y >> /etc/passwd; cat /made",
    );
    for _ in 0..2 {
        check(&world, &RunRequest::new(&image), "x\n");
    }
    Ok(())
}

fn volumes_of_the_host() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let script =
        "cat /in/a; echo new > /out/b; touch /in/c 2>/dev/null || echo refused; cat /etc/conf";
    let image = small(&world, script);
    let (input, out) = (world.path("in"), world.path("out"));
    fs::create_dir(&input).unwrap();
    fs::create_dir(&out).unwrap();
    for (path, text) in [
        (input.join("a"), "content\n"),
        (world.path("conf"), "file\n"),
    ] {
        std::io::Write::write_all(&mut fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
    }
    let mut request = RunRequest::new(&image);
    let parse = |text: &str| VolumeMount::parse(text, world.dir.path()).unwrap();
    request.volumes = vec![
        parse("./in:/in:ro"),
        parse("./out:/out"),
        parse("./conf:/etc/conf"),
    ];
    assert_eq!(request.volumes[0].access, Access::ReadOnly);
    check(&world, &request, "content\nrefused\nfile\n");
    assert_eq!(fs::read(out.join("b")).unwrap(), b"new\n");
    Ok(())
}

fn read_only_root() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let script = "touch /x 2>/dev/null || echo refused; touch /data/x && ls /data";
    let image = world.image(&[busybox()], |config| {
        config.config.cmd = Some(shell(script));
        config.config.volumes.0 = ["/data".to_owned()].into();
        config.config.user = "app".into();
    });
    let mut request = RunRequest::new(&image);
    request.root = RootAccess::ReadOnly;
    check(&world, &request, "refused\nx\n");
    Ok(())
}

fn names_of_the_host() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    // As where systemd resolves names: the link dangles in the image.
    let linked = vec![symlink(
        "etc/resolv.conf",
        "../run/systemd/resolve/stub-resolv.conf",
    )];
    let script = "cat /etc/hostname; cat /etc/resolv.conf; touch /etc/hosts 2>&1 | grep -c Read";
    let image = world.image(&[busybox(), linked], |config| {
        let script = script.replace("| grep -c Read", "");
        config.config.cmd = Some(shell(&script));
    });
    let mut request = RunRequest::new(&image);
    request.hostname = Some("box".into());
    let (_, out) = output(&world, &request).unwrap();
    let resolvers = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert!(out.starts_with(&format!("box\n{resolvers}")), "{out}");
    assert!(out.contains("Read-only file system"), "{out}");
    Ok(())
}

fn an_image_without_layers() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let image = world.image(&[], |config| {
        config.config.cmd = Some(words("/tool echo hi"));
    });
    let mut request = RunRequest::new(&image);
    request.volumes =
        vec![VolumeMount::parse("/bin/busybox:/bin/echo:ro", Path::new("/")).unwrap()];
    request.overrides.command = Some(words("/bin/echo hi"));
    check(&world, &request, "hi\n");
    Ok(())
}

/// Whether an index can be mounted is only known when it is.
fn an_index_that_cannot_be_mounted() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let image = small(&world, "echo ran");
    let snapshots = Snapshots::new(&world.store);
    let damaged = tempfile::NamedTempFile::new().unwrap();
    damaged.as_file().set_len(1 << 20).unwrap();
    let files = RootFiles::Erofs(ErofsRoot {
        index: damaged.path().to_owned(),
        devices: Vec::new(),
    });
    let mut request = RunRequest::new(&image);
    request.files = Some(files.clone());
    let error = run(&snapshots, &request, Stdio::Inherit).unwrap_err();
    assert!(is_unmountable(&error, &files), "{error:?}");
    let prepared = run_directories(&snapshots, &image).unwrap();
    assert!(!is_unmountable(&error, &prepared.files));
    request.files = Some(prepared.files);
    check(&world, &request, "ran\n");

    // What has nothing to do with the root is no reason to try another.
    request.overrides.command = Some(words("/absent"));
    let error = run(&snapshots, &request, Stdio::Inherit).unwrap_err();
    assert!(!is_unmountable(&error, &files), "{error:?}");
    Ok(())
}

#[track_caller]
fn check_status(world: &World, script: &str, init: Init, expected: ExitStatus) {
    let image = small(world, script);
    let mut request = RunRequest::new(&image);
    request.init = init;
    let (status, out) = output(world, &request).unwrap();
    assert_eq!(status, expected, "{script}: {out}");
}

fn statuses_are_passed_on() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    check_status(&world, "exit 7", Init::Process, ExitStatus::Exited(7));
    check_status(&world, "kill -9 $$", Init::Reaper, ExitStatus::Exited(137));
    Ok(())
}

#[track_caller]
fn check_refused(world: &World, request: &RunRequest<'_>, expected: &str) {
    let error = output(world, request).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    assert!(text.contains(expected), "{text}");
    let left = fs::read_dir(world.store.layers_dir().join("tmp"))
        .unwrap()
        .count();
    assert_eq!(left, 0, "{text}");
}

fn what_does_not_start() -> Result<(), String> {
    require_root()?;
    let world = World::new();
    let image = small(&world, "true");
    let mut request = RunRequest::new(&image);
    request.overrides.command = Some(words("nosuch"));
    check_refused(&world, &request, "executable `nosuch` not found");
    let mut request = RunRequest::new(&image);
    request.user = Some("nosuch".into());
    check_refused(&world, &request, "has no user called `nosuch`");
    let mut request = RunRequest::new(&image);
    request.overrides.working_dir = Some("/etc/passwd".into());
    check_refused(
        &world,
        &request,
        "cannot use `/etc/passwd` as the working directory",
    );
    let mut request = RunRequest::new(&image);
    request.volumes = vec![VolumeMount::parse("/no/such:/x", Path::new("/")).unwrap()];
    check_refused(&world, &request, "/no/such");
    let windows = world.image(&[], |config| config.os = "windows".into());
    check_refused(
        &world,
        &RunRequest::new(&windows),
        "the image is for `windows`",
    );
    Ok(())
}
