//! RUN.

use super::parse::Fields;
use super::{Command, flags};
use crate::diagnostic::{Diagnostic, Span};
use crate::heredoc::Heredoc;
use crate::suggest;
use crate::words::Word;

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Every `--mount`.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Option<Word>,
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

const MOUNT_OPTIONS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];
const MOUNT_SWITCHES: [&str; 5] = ["readonly", "ro", "readwrite", "rw", "required"];
const MOUNT_TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];

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
    let security = flags::value(&fields.flags, "security");
    if let Some(word) = security
        .as_ref()
        .filter(|w| w.text != "sandbox" && w.text != "insecure")
    {
        let message = format!("unknown security mode `{}`", word.text);
        return Err(
            Diagnostic::new(message, word.span).with_label("expected `sandbox` or `insecure`")
        );
    }
    let mounts = flags::values(&fields.flags, "mount")
        .iter()
        .map(mount)
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

fn mount(word: &Word) -> Result<Mount, Diagnostic> {
    let mut options = Vec::new();
    for field in comma_separated(&word.text) {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
            None => (field.to_lowercase(), None),
        };
        check_option(&key, value.as_deref()).map_err(|(message, label)| {
            let diagnostic = Diagnostic::new(message, word.span);
            match label {
                Some(label) => diagnostic.with_label(label),
                None => diagnostic,
            }
        })?;
        options.push((key, value));
    }
    Ok(Mount {
        options,
        span: word.span,
    })
}

fn check_option(key: &str, value: Option<&str>) -> Result<(), (String, Option<String>)> {
    let near = |word: &str, options: &[&'static str]| {
        let near = suggest::nearest(word, options.iter().copied());
        near.map(|near| format!("did you mean `{near}`?"))
    };
    if !MOUNT_OPTIONS.contains(&key) {
        return Err((
            format!("unknown mount option `{key}`"),
            near(key, &MOUNT_OPTIONS),
        ));
    }
    match (key, value) {
        (_, None) if !MOUNT_SWITCHES.contains(&key) => {
            Err((format!("the mount option `{key}` needs a value"), None))
        }
        ("type", Some(kind)) if !kind.contains('$') => {
            if MOUNT_TYPES.contains(&kind.to_lowercase().as_str()) {
                return Ok(());
            }
            Err((
                format!("unknown mount type `{kind}`"),
                near(kind, &MOUNT_TYPES),
            ))
        }
        ("from", Some(from)) if from.find('$').is_some_and(|at| at + 1 < from.len()) => Err((
            "variables are not expanded in `from`".to_owned(),
            Some("name a stage with FROM … AS and use that".to_owned()),
        )),
        _ => Ok(()),
    }
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
