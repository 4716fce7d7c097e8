//! Runs the program, and shows what it printed without what differs from run to run.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use corten_tar::{Entry, EntryKind, Timestamp, Writer};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_corten");

/// A directory with a store, in which the program runs.
pub(crate) struct Program {
    dir: TempDir,
}

/// What a run of the program printed, filtered, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    /// A program whose store has the image `base`, with `/etc/motd`, of a fixed time.
    pub(crate) fn with_base() -> Self {
        let program = Self::new();
        program.write_tar("base.tar", &[("etc/motd", b"hello\n", 0o644)]);
        program.ok(&["import", "base.tar", "-t", "base", "--timestamp", "1000"]);
        program
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// Writes a tar of `files`: path, content, mode.
    pub(crate) fn write_tar(&self, name: &str, files: &[(&str, &[u8], u32)]) {
        let mut writer = Writer::new(fs::File::create(self.path(name)).unwrap());
        for &(path, mut content, mode) in files {
            let mut entry = Entry::new(EntryKind::File, path);
            entry.mode = mode;
            entry.mtime = Timestamp::from_seconds(1000);
            entry.size = content.len() as u64;
            writer.entry(&entry, &mut content).unwrap();
        }
        writer.finish().unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        self.prepare(command.args(args));
        command
    }

    /// The program with no signal ignored, whatever whoever runs the tests has us ignore.
    pub(crate) fn heeding(&self, args: &[&str]) -> Command {
        let mut command = Command::new("env");
        let default = "--default-signal=HUP,INT,TERM";
        self.prepare(command.args([default, PROGRAM]).args(args));
        command
    }

    /// The program where no more than `n_files` files may be open at first.
    pub(crate) fn limited(&self, n_files: u32, args: &[&str]) -> Command {
        let script = format!(r#"ulimit -Sn {n_files} && exec "$0" "$@""#);
        let mut command = Command::new("sh");
        self.prepare(command.args(["-c", &script, PROGRAM]).args(args));
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("CORTEN_ROOT", self.path("store"))
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.dir.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.finish(&self.command(args).output().unwrap())
    }

    /// Runs the program with `input` on standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may end without having read all of it.
        child.stdin.take().unwrap().write_all(input).ok();
        self.finish(&child.wait_with_output().unwrap())
    }

    /// Runs the program, which must succeed, and returns what it printed, unfiltered.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    }

    /// Returns what a command printed that was run by hand.
    pub(crate) fn finish(&self, output: &std::process::Output) -> Ran {
        Ran {
            stdout: self.filter(&output.stdout),
            stderr: self.filter(&output.stderr),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// Replaces this directory, digests, sizes of blobs and durations.
    fn filter(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes);
        let text = text.replace(&self.dir.path().display().to_string(), "[DIR]");
        let part = |(number, part): (usize, &str)| {
            let rest = part.trim_start_matches(|char: char| char.is_ascii_hexdigit());
            match part.len() - rest.len() {
                _ if number == 0 => part.to_owned(),
                12.. => format!("[DIGEST]{rest}"),
                _ => format!("sha256:{part}"),
            }
        };
        let shown: String = text.split("sha256:").enumerate().map(part).collect();
        let line = |line: &str| match line.split_once(" DONE ") {
            Some((start, _)) => format!("{start} DONE"),
            None => line.to_owned(),
        };
        shown.lines().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Ran {
    /// Checks all that was printed, and the exit code.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, stdout: &str, stderr: &str) {
        let expected = Self {
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
            code,
        };
        assert_eq!(self, &expected, "\n{}\n{}", self.stdout, self.stderr);
    }
}

/// Counts a test as not run, and says why.
#[expect(clippy::print_stderr, reason = "the test script counts these lines")]
pub(crate) fn not_run(test: &str, reason: &str) {
    eprintln!("not run: {test}: {reason}");
}
