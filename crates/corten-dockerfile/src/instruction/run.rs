//! RUN.

use super::parse::Fields;
use super::{Command, flags, mount};
use crate::diagnostic::{Diagnostic, Span};
use crate::heredoc::Heredoc;
use crate::words::Word;

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Every `--mount`.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// Every `--device`.
    pub devices: Vec<Word>,
    /// The command.
    pub command: Command,
    /// The here-documents its text opens, in order.
    pub heredocs: Vec<Heredoc>,
}

/// The network a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// What the build is set to.
    #[default]
    Default,
    /// None but loopback.
    None,
    /// The host's.
    Host,
}

/// Whether a command is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As usual.
    #[default]
    Sandbox,
    /// With every capability and without a filter of system calls.
    Insecure,
}

/// One `--mount`, cut at its commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Names in lower case, with values where there is an equals sign.
    pub options: Vec<(String, Option<String>)>,
    /// The whole flag.
    pub span: Span,
}

impl Mount {
    /// Returns the last value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .and_then(|(_, v)| v.as_deref())
    }
}

pub(super) fn parse(fields: &Fields<'_>, heredocs: &[Heredoc]) -> Result<Run, Diagnostic> {
    let command = fields.command()?;
    if matches!(&command, Command::Exec(words) if words.is_empty()) {
        return Err(Diagnostic::new("RUN needs a command", fields.span));
    }
    let network = match flags::value(&fields.flags, "network") {
        None => Network::Default,
        Some(word) => match word.text.as_str() {
            "default" => Network::Default,
            "none" => Network::None,
            "host" => Network::Host,
            other => {
                let message = format!("unknown network mode `{other}`");
                return Err(Diagnostic::new(message, word.span)
                    .with_label("expected `default`, `none` or `host`"));
            }
        },
    };
    let security = match flags::value(&fields.flags, "security") {
        None => Security::Sandbox,
        Some(word) => match word.text.as_str() {
            "sandbox" => Security::Sandbox,
            "insecure" => Security::Insecure,
            other => {
                let message = format!("unknown security mode `{other}`");
                return Err(Diagnostic::new(message, word.span)
                    .with_label("expected `sandbox` or `insecure`"));
            }
        },
    };
    let mounts = flags::values(&fields.flags, "mount")
        .iter()
        .map(read_mount)
        .collect::<Result<_, _>>()?;
    Ok(Run {
        mounts,
        network,
        security,
        devices: flags::values(&fields.flags, "device"),
        command,
        heredocs: heredocs.to_vec(),
    })
}

fn read_mount(word: &Word) -> Result<Mount, Diagnostic> {
    let cut = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
        None => (field.to_lowercase(), None),
    };
    let mount = Mount {
        options: comma_separated(&word.text).into_iter().map(cut).collect(),
        span: word.span,
    };
    mount::check(&mount)?;
    Ok(mount)
}

/// Cuts at commas outside double quotes; a doubled quote inside is one quote (RFC 4180).
fn comma_separated(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else {
            break;
        };
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    fields
}
