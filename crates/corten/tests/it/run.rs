//! What isolates processes: RUN and `corten run`. Needs a machine that allows it, and a busybox that is
//! linked statically.

use std::fs;

use crate::program::{Program, not_run};

/// Returns a program whose store has the image `busybox`, or says why the test cannot run.
pub(crate) fn program(test: &str) -> Option<Program> {
    let program = Program::new();
    let doctor = program.run(&["doctor"]);
    if doctor.code != 0 {
        not_run(test, "processes cannot be isolated here");
        return None;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| fs::read(path).ok());
    let Some(busybox) = busybox.filter(|bytes| is_static(bytes)) else {
        not_run(test, "there is no static busybox");
        return None;
    };
    let names = ["sh", "cat", "echo", "id", "busybox"];
    let paths = names.map(|name| format!("bin/{name}"));
    let files: Vec<_> = paths
        .iter()
        .map(|path| (path.as_str(), busybox.as_slice(), 0o755))
        .collect();
    program.write_tar("busybox.tar", &files);
    program.ok(&[
        "import",
        "busybox.tar",
        "-t",
        "busybox",
        "--timestamp",
        "1000",
    ]);
    Some(program)
}

/// Tells whether an ELF program names no loader: none of its program headers is `PT_INTERP`.
fn is_static(program: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| usize::from(u16::from_le_bytes([program[at], program[at + 1]]));
    let (first, size, count) = (half(32), half(54), half(56));
    (0..count).all(|header| {
        let at = first + header * size;
        u32::from_le_bytes([
            program[at],
            program[at + 1],
            program[at + 2],
            program[at + 3],
        ]) != PT_INTERP
    })
}

#[test]
fn run_steps_change_the_image() {
    let Some(program) = program("run_steps_change_the_image") else {
        return;
    };
    program.write(
        "context/Dockerfile",
        "FROM busybox AS first\nARG who=you\nRUN echo hello $who | /bin/cat > /greeting\nFROM busybox\nCOPY --from=first /greeting /\nCMD [\"cat\", \"/greeting\"]\n",
    );
    program.ok(&["build", "context", "-t", "app"]);
    program.run(&["run", "--rm", "app"]).is(0, "hello you", "");
    // As BuildKit, a build writes `ArgsEscaped`, of which the specification says that it is deprecated.
    program.run(&["validate", "app"]).is(
        0,
        "note CFG-26 [DIGEST]#/config/ArgsEscaped: it is deprecated; leave it out",
        "`docker.io/library/app:latest` is valid",
    );
    // What a build needs again stays.
    program.ok(&["gc"]);
    let again = program.run(&["build", "context", "--build-arg", "who=you"]);
    assert!(again.stderr.contains("#2 CACHED"), "{again:?}");
}

#[test]
fn a_step_that_fails_shows_its_last_words() {
    let Some(program) = program("a_step_that_fails_shows_its_last_words") else {
        return;
    };
    fs::create_dir(program.path("empty")).unwrap();
    let dockerfile = b"FROM busybox\nRUN echo why; exit 7\n";
    program
        .run_with_input(&["-q", "build", "-f", "-", "empty"], dockerfile)
        .is(
            1,
            "",
            "error: <stdin>:2: `RUN echo why; exit 7` failed
  caused by: `RUN /bin/sh -c echo why; exit 7 # buildkit` ended with exit status 7
    | why",
        );
}

#[test]
fn the_exit_code_is_that_of_the_program() {
    let Some(program) = program("the_exit_code_is_that_of_the_program") else {
        return;
    };
    program
        .run(&["run", "busybox", "sh", "-c", "exit 42"])
        .is(42, "", "");
    // Process 1 cannot kill itself; with `--init` the program is another.
    program
        .run(&["run", "--init", "busybox", "sh", "-c", "kill -9 $$"])
        .is(137, "", "");
    let ran = program.run(&["run", "busybox", "absent"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr
            .contains("executable `absent` not found in $PATH"),
        "{ran:?}"
    );
}

#[test]
fn what_is_said_on_the_command_line_counts() {
    let Some(program) = program("what_is_said_on_the_command_line_counts") else {
        return;
    };
    program.write("data/file", "from the host\n");
    program.write("env", "# comment\nA=file\nB=file\n");
    let args = [
        "run",
        "-e",
        "B=given",
        "--env-file",
        "env",
        "-v",
        "./data:/data:ro",
        "-w",
        "/data",
        "-u",
        "5:6",
        "--entrypoint",
        "sh",
        "busybox",
        "-c",
        "echo $A $B; cat file; id -u; echo x > file",
    ];
    let ran = program.run(&args);
    assert_eq!(ran.stdout, "file given\nfrom the host\n5", "{ran:?}");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("Read-only file system") || ran.stderr.contains("Permission denied"),
        "{ran:?}"
    );
    program.run(&["run", "-p", "80:80", "busybox"]).is(
        2,
        "",
        "error: ports cannot be published: the network is the host's
hint: leave `-p` out; the program's ports are the host's already",
    );
}

#[test]
fn input_is_handed_on_when_it_is_wanted() {
    let Some(program) = program("input_is_handed_on_when_it_is_wanted") else {
        return;
    };
    program
        .run_with_input(&["run", "-i", "busybox", "cat"], b"some input\n")
        .is(0, "some input", "");
    program
        .run_with_input(&["run", "busybox", "cat"], b"some input\n")
        .is(0, "", "");
}

/// Overlayfs takes the character device 0:0 in a lower directory for a whiteout (rule 29), and an index
/// over tars cannot change it.
#[test]
fn an_image_with_the_device_0_0_runs_from_a_plain_directory() {
    let Some(program) = program("an_image_with_the_device_0_0_runs_from_a_plain_directory") else {
        return;
    };
    let busybox = fs::read("/bin/busybox").or_else(|_| fs::read("/usr/bin/busybox"));
    let busybox = busybox.unwrap();
    let file = fs::File::create(program.path("odd.tar")).unwrap();
    let mut writer = corten_tar::Writer::new(file);
    let device = corten_tar::EntryKind::CharDevice;
    let device = corten_tar::Entry::new(device, "null");
    writer.entry(&device, &mut std::io::empty()).unwrap();
    let mut entry = corten_tar::Entry::new(corten_tar::EntryKind::File, "bin/sh");
    entry.mode = 0o755;
    entry.size = busybox.len() as u64;
    writer.entry(&entry, &mut busybox.as_slice()).unwrap();
    writer.finish().unwrap();
    program.ok(&["import", "odd.tar", "-t", "odd"]);
    let script = "test -c /null && echo x > /new && cd /made && echo there";
    let ran = program.run(&["-v", "run", "-w", "/made", "odd", "sh", "-c", script]);
    assert_eq!(
        (ran.code, ran.stdout.trim()),
        (0, "there"),
        "{}",
        ran.stderr
    );
    if !rustix::process::geteuid().is_root() {
        return;
    }
    assert!(ran.stderr.contains("root: plain"), "{}", ran.stderr);
    let again = program.run(&["run", "odd", "sh", "-c", "test ! -e /new"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
}
