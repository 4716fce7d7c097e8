//! Secrets and SSH agents: a command has them, and nothing keeps them.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;

use super::{fails, program, succeeds};

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
