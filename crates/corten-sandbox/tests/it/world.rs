//! A root to run in, and short ways to run something in it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use corten_sandbox::{
    Error, Init, Input, Limits, Network, Outcome, Process, Root, RootKind, Sandbox, Signals, Stdio,
    Stream, run,
};
use tempfile::TempDir;

const APPLETS: [&str; 34] = [
    "cat", "chmod", "chown", "chroot", "cp", "echo", "env", "false", "grep", "head", "hostname",
    "id", "ip", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "ps", "pwd", "readlink", "rm",
    "setsid", "sh", "sleep", "stat", "stty", "touch", "true", "tty", "umount", "unshare",
];

/// Returns why a test cannot run here.
pub(crate) fn require_root() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    require_busybox()
}

pub(crate) fn require_busybox() -> Result<(), String> {
    let probe = corten_sandbox::probe();
    if probe.tier.is_none() {
        return Err(format!("no isolation here: {probe}"));
    }
    if Path::new("/bin/busybox").exists() {
        Ok(())
    } else {
        Err("needs busybox-static".to_owned())
    }
}

/// A directory with a root, and room for more.
pub(crate) struct World {
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("root/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(dir.path().join("root/tmp")).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        for name in ["upper", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A sandbox of the root with an overlay on it, in which a shell runs `script`.
    pub(crate) fn sandbox(&self, script: &str) -> Sandbox {
        let mut process = Process::new(["sh", "-c", script].map(String::from).to_vec());
        process.env = vec!["PATH=/bin".to_owned()];
        let kind = RootKind::Overlay {
            lower: vec![self.path("root")],
            upper: self.path("upper"),
            work: self.path("work"),
            userxattr: corten_sandbox::in_user_namespace(),
        };
        Sandbox {
            root: Root {
                kind,
                readonly: false,
            },
            mounts: Vec::new(),
            hostname: "sandbox".to_owned(),
            network: Network::Host,
            init: Init::Process,
            limits: Limits::default(),
            process,
        }
    }

    pub(crate) fn write(&self, name: &str, content: &str, mode: u32) {
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(mode);
        file.open(self.path(name))
            .unwrap()
            .write_all(content.as_bytes())
            .unwrap();
    }

    /// What the script prints, both streams together; fails if the script does.
    #[track_caller]
    pub(crate) fn prints(&self, script: &str) -> String {
        prints(&self.sandbox(script))
    }
}

/// What the process prints; fails if the process does.
#[track_caller]
pub(crate) fn prints(sandbox: &Sandbox) -> String {
    let (outcome, out, err) = output(sandbox).unwrap();
    assert!(
        outcome.status.is_success(),
        "{:?}: {out}{err}",
        outcome.status
    );
    out + &err
}

/// Runs a sandbox and returns what it wrote.
pub(crate) fn output(sandbox: &Sandbox) -> Result<(Outcome, String, String), Error> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut sink = |stream: Stream, bytes: &[u8]| match stream {
        Stream::Stdout => out.extend_from_slice(bytes),
        Stream::Stderr => err.extend_from_slice(bytes),
    };
    let stdio = Stdio::Sink {
        stdin: Input::Null,
        sink: &mut sink,
    };
    let outcome = run(sandbox, stdio, Signals::Leave)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((outcome, text(&out), text(&err)))
}

/// The error and its causes on one line.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
