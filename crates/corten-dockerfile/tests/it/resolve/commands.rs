//! `RUN`: the environment and the here-documents of a command.

use corten_dockerfile::{BaseConfig, RunStep, Step};

use super::steps;

fn run(text: &str, args: &[(&str, &str)]) -> RunStep {
    let found = steps(text, args, &BaseConfig::default())
        .unwrap()
        .pop()
        .unwrap()
        .step;
    let Step::Run(run) = found else {
        panic!("{found:?}")
    };
    *run
}

#[test]
fn environment_of_a_command() {
    let step = run(
        "FROM a\nARG b=2\nENV c=3\nUSER u\nWORKDIR w\nRUN x",
        &[("http_proxy", "p")],
    );
    let names: Vec<&str> = step.env.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["PATH", "b", "c"]);
    assert_eq!((step.user.as_str(), step.workdir.as_str()), ("u", "/w"));
    let proxies: Vec<&str> = step
        .proxy_env
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(proxies, ["HTTP_PROXY", "http_proxy"]);
}

#[test]
fn here_documents_of_a_command() {
    #[track_caller]
    fn check(line: &str, command: &str, script: Option<(&str, &str)>) {
        let step = run(&format!("FROM a\nARG a=1\n{line}\n"), &[]);
        assert_eq!(
            step.command.last().map(String::as_str),
            Some(command),
            "{line:?}"
        );
        let found = step
            .script
            .as_ref()
            .map(|s| (s.path.as_str(), s.content.as_str()));
        assert_eq!(found, script, "{line:?}");
    }

    check("RUN <<EOF\necho $a\nEOF", "echo $a\n", None);
    check("RUN <<-EOF\n\techo\n\tEOF", "echo\n", None);
    check(
        "RUN python3 <<EOF\nprint(1)\nEOF",
        "python3 <<EOF\nprint(1)\nEOF",
        None,
    );
    check(
        "RUN cat <<A <<-B\n1\nA\n\t2\nB",
        "cat <<A <<-B\n1\nA\n\t2\nB",
        None,
    );
    check(
        "RUN <<EOF\n#!/bin/x\n1\nEOF",
        "/dev/pipes/EOF",
        Some(("/dev/pipes/EOF", "#!/bin/x\n1\n")),
    );
}
