//! RUN, with its here-documents as BuildKit runs them.

use super::{Names, Outcome, StageState, argv, in_shell, mounts};
use crate::diagnostic::Diagnostic;
use crate::heredoc;
use crate::instruction::{Command, Run};
use crate::step::{RunStep, Script, Step};

/// Where BuildKit puts a script; the name shows in `$0` and in messages of the interpreter.
const SCRIPTS: &str = "/dev/pipes";
/// Where programs look for the socket of an SSH agent.
const AGENT: &str = "SSH_AUTH_SOCK";

pub(super) fn resolve(
    run: &Run,
    state: &StageState,
    names: &mut Names,
) -> Result<Outcome, Diagnostic> {
    let (command, script) = command(run, state);
    let mounts = mounts::resolve(&run.mounts, state, names)?;
    let mut env = state.env.clone();
    if let Some(socket) = mounts::agent(&mounts)
        && !env.iter().any(|(name, _)| name == AGENT)
    {
        env.push((AGENT.to_owned(), socket.to_owned()));
    }
    let created_by = format!("RUN {}{} # buildkit", arguments(state), command.join(" "));
    let step = RunStep {
        command,
        env,
        proxy_env: state.scope.proxy_env.clone(),
        script,
        network: run.network,
        security: run.security,
        mounts,
        workdir: state.workdir.clone(),
        user: state.user.clone(),
    };
    Ok((Step::Run(Box::new(step)), Some(created_by)))
}

/// The command and, if its only text is a here-document that names its interpreter, the script.
fn command(run: &Run, state: &StageState) -> (Vec<String>, Option<Script>) {
    let (Command::Shell(word), Some(first)) = (&run.command, run.heredocs.first()) else {
        return (argv(&run.command, state), None);
    };
    if heredoc::parse(&word.text, word.span).is_none() {
        // The shell reads the documents itself; it needs them behind its text.
        let mut text = word.text.clone();
        for heredoc in &run.heredocs {
            text.push('\n');
            text.push_str(&heredoc.content);
            text.push_str(&heredoc.name);
        }
        return (in_shell(&text, state), None);
    }
    let content = first.body();
    if content.starts_with("#!") && state.scope.platform.os != "windows" {
        let path = crate::path::clean(&format!("{SCRIPTS}/{}", first.name));
        // The shell starts it, as BuildKit has it.
        return (in_shell(&path, state), Some(Script { path, content }));
    }
    (in_shell(&content, state), None)
}

/// `|2 A=1 B=2 ` for the build arguments in use: each name once, with the value it has now.
fn arguments(state: &StageState) -> String {
    let mut shown: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &state.args {
        let now = state
            .env
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value);
        let value = now
            .or(value.as_ref())
            .map(String::as_str)
            .unwrap_or_default();
        match shown.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => shown.push((name, value)),
        }
    }
    if shown.is_empty() {
        return String::new();
    }
    let mut out = format!("|{} ", shown.len());
    for (name, value) in shown {
        out.extend([name, "=", value, " "]);
    }
    out
}
