//! A shell in the root of a step that failed.

use std::path::Path;
use std::sync::PoisonError;

use corten_sandbox::{Sandbox, Stdio, run_until};

use crate::build::Builder;
use crate::event::Event;
use crate::run::options::FailureShell;

/// Shells that are started without arguments in the place of a command that they were to run.
const SHELLS: [&str; 7] = ["sh", "ash", "bash", "dash", "ksh", "mksh", "zsh"];

impl Builder<'_> {
    /// Runs a shell on the caller's terminal where the command of `failed` ran, and waits for its end.
    ///
    /// All other commands of the build are ended first: the build has failed, and there is one terminal. Of
    /// commands that fail at the same time one gets a shell. What the shell ends with is no matter.
    pub(crate) fn open_shell(&self, failed: &Sandbox, shell: &FailureShell) {
        // Nothing is behind it that a panic could leave half done.
        let _only = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cancel.is_cancelled() {
            return;
        }
        self.cancel.request();
        let mut sandbox = failed.clone();
        let process = &mut sandbox.process;
        process.args = vec![shell_of(&process.args)];
        if let Some(term) = &shell.term
            && !process.env.iter().any(|entry| entry.starts_with("TERM="))
        {
            process.env.push(format!("TERM={term}"));
        }
        let text = format!(
            "the command failed; `{}` is in its place now, with the secrets that the command had, and the build \
             fails when it ends",
            process.args.join(" ")
        );
        (self.listener)(Event::Warning(&text));
        let ended = match &self.request.cancel {
            Some(cancel) => run_until(&sandbox, Stdio::Terminal, cancel),
            None => {
                corten_sandbox::run(&sandbox, Stdio::Terminal, corten_sandbox::Signals::Forward)
            }
        };
        if let Err(error) = ended {
            (self.listener)(Event::Warning(&format!("there is no shell: {error}")));
        }
    }
}

/// Returns the shell that the command was for, or the usual one.
fn shell_of(command: &[String]) -> String {
    let first = command.first().map(String::as_str).unwrap_or_default();
    let name = Path::new(first).file_name().and_then(|name| name.to_str());
    if name.is_some_and(|name| SHELLS.contains(&name)) {
        first.to_owned()
    } else {
        "/bin/sh".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_of_a_command_is_kept() {
        #[track_caller]
        fn check(command: &[&str], expected: &str) {
            let command: Vec<String> = command.iter().map(ToString::to_string).collect();
            assert_eq!(shell_of(&command), expected, "{command:?}");
        }
        check(&["/bin/sh", "-c", "x"], "/bin/sh");
        check(&["/usr/bin/bash", "-ec", "x"], "/usr/bin/bash");
        check(&["/app", "serve"], "/bin/sh");
        check(&[], "/bin/sh");
    }
}
