//! References as distribution's grammar has them, and digests as coreutils compute them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use corten_spec::{Algorithm, Hasher, Reference};

/// `ParseNormalizedNamed` of github.com/distribution/reference v0.6.0, by its own expressions.
const PYTHON: &str = r#"
import re, sys
alphanumeric = "[a-z0-9]+"
component = alphanumeric + "(?:(?:[._]|__|[-]+)" + alphanumeric + ")*"
path = component + "(?:/" + component + ")*"
label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
domain = "(?:" + label + r"(?:\." + label + r")*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
tag = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
digest = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*[:][0-9a-fA-F]{32,}"
reference = re.compile("(?:(" + domain + ")/)?(" + path + ")(?::(" + tag + "))?(?:@(" + digest + "))?")

def normalized(text):
    if re.fullmatch("[a-f0-9]{64}", text):
        return None
    first, slash, rest = text.partition("/")
    is_host = slash and (any(c in ".:" for c in first) or first == "localhost" or first.lower() != first)
    host, remainder = (first, rest) if is_host else ("docker.io", text)
    if host == "index.docker.io":
        host = "docker.io"
    if host == "docker.io" and "/" not in remainder:
        remainder = "library/" + remainder
    name = remainder.partition(":")[0]
    if name.lower() != name:
        return None
    match = reference.fullmatch(host + "/" + remainder)
    if not match or not match[1] or len(match[2]) > 255:
        return None
    if match[4] and not re.fullmatch("sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}", match[4]):
        return None
    return " ".join([match[1], match[2], match[3] or "-", match[4] or "-"])

for line in sys.stdin.read().split("\n")[:-1]:
    print(normalized(line) or "refused")
"#;

/// Runs `command` with `input`; `None`, and a line that says so, if it is not there.
fn run(command: &mut Command, input: &[u8]) -> Option<String> {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            println!("not run: corten-spec peers: {command:?}: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command:?}");
        Some(String::from_utf8(output.stdout).unwrap())
    })
}

/// Numbers that look random, and are the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn references() -> Vec<String> {
    let digest = format!("@sha256:{}", "0a".repeat(32));
    let long = ["@sha512:", &"b".repeat(128)].concat();
    let pieces = [
        "a",
        "b1",
        "B",
        "0",
        ".",
        "-",
        "--",
        "_",
        "__",
        "___",
        "/",
        "/",
        "/",
        ":",
        ":5000",
        ":v1.0_x-y",
        "@",
        "localhost",
        "docker.io",
        "index.docker.io",
        "library",
        "registry.example",
        "127.0.0.1",
        "[::1]",
        "[fe80::1]:80",
        " ",
        "%",
        "\u{e9}",
        &digest,
        &digest,
        &long,
        "@sha256:00",
        "@md5:00000000000000000000000000000000",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut all: Vec<String> = (0..4000)
        .map(|_| {
            (0..=random.below(7))
                .map(|_| pieces[random.below(pieces.len())])
                .collect()
        })
        .collect();
    all.extend([
        "0a".repeat(32),
        "a".repeat(255),
        "a".repeat(256),
        format!("a:{}", "t".repeat(129)),
    ]);
    all
}

#[test]
fn references_are_those_of_distribution() {
    let references = references();
    let input = references.join("\n") + "\n";
    let Some(output) = run(
        Command::new("python3").args(["-c", PYTHON]),
        input.as_bytes(),
    ) else {
        return;
    };
    let mut n_accepted = 0;
    let mut differences = Vec::new();
    assert_eq!(output.lines().count(), references.len());
    for (text, expected) in references.iter().zip(output.lines()) {
        let found = text.parse::<Reference>().ok().map(|found| {
            let digest = found.digest().map_or("-", |digest| digest.as_str());
            let tag = found.tag().unwrap_or("-");
            format!("{} {} {tag} {digest}", found.registry(), found.repository())
        });
        n_accepted += usize::from(found.is_some());
        // distribution has sha256, sha384 and sha512; OCI lets anybody have others (descriptor.md#digests).
        let is_of_another_algorithm = expected == "refused" && text.contains("@md5:");
        if found.as_deref().unwrap_or("refused") != expected && !is_of_another_algorithm {
            differences.push(format!("{text:?}: {found:?}, distribution: {expected}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(
        n_accepted > 300,
        "{n_accepted} of {} were accepted",
        references.len()
    );
}

#[test]
fn digests_are_those_of_coreutils() {
    let mut random = Random(7);
    for len in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 100_000] {
        let bytes: Vec<u8> = (0..len)
            .map(|_| random.below(256).to_le_bytes()[0])
            .collect();
        for (algorithm, program) in [
            (Algorithm::Sha256, "sha256sum"),
            (Algorithm::Sha512, "sha512sum"),
        ] {
            let Some(output) = run(&mut Command::new(program), &bytes) else {
                continue;
            };
            let mut hasher = Hasher::new(algorithm);
            let (start, end) = bytes.split_at(len / 3);
            hasher.update(start);
            hasher.update(end);
            let digest = hasher.finish();
            assert_eq!(
                output.split(' ').next(),
                Some(digest.encoded()),
                "{program}, {len} bytes"
            );
        }
    }
}
