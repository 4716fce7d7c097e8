//! HEALTHCHECK.

use super::parse::Fields;
use super::{Command, flags};
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::words;

/// HEALTHCHECK; durations are nanoseconds, as in the image's config, and 0 means the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is run.
    pub test: HealthcheckTest,
    /// `--interval`.
    pub interval: i64,
    /// `--timeout`.
    pub timeout: i64,
    /// `--start-period`.
    pub start_period: i64,
    /// `--start-interval`.
    pub start_interval: i64,
    /// `--retries`.
    pub retries: u32,
}

/// What a health check runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthcheckTest {
    /// Nothing: the base image's check is switched off.
    None,
    /// A command.
    Command(Command),
}

/// Docker refuses shorter ones; an interval of a nanosecond is a unit forgotten.
const SHORTEST: i64 = 1_000_000;

pub(super) fn parse(fields: &Fields<'_>) -> Result<Healthcheck, Diagnostic> {
    let (kind, rest) = words::first(fields.text, fields.arguments.clone());
    let kind_span = fields.span_of(&kind);
    let kind = fields.text.get(kind).unwrap_or_default();
    let test = match kind.to_uppercase().as_str() {
        "" => {
            return Err(Diagnostic::new(
                "HEALTHCHECK needs CMD or NONE",
                fields.span,
            ));
        }
        "NONE" if rest.is_empty() => HealthcheckTest::None,
        "NONE" => {
            let message = "HEALTHCHECK NONE takes no arguments";
            return Err(Diagnostic::new(message, fields.span_of(&rest)));
        }
        "CMD" => {
            let command = fields.command_of(rest)?;
            let empty = match &command {
                Command::Exec(words) => words.is_empty(),
                Command::Shell(word) => word.text.is_empty(),
            };
            if empty {
                return Err(Diagnostic::new(
                    "HEALTHCHECK CMD needs a command",
                    fields.span,
                ));
            }
            HealthcheckTest::Command(command)
        }
        _ => {
            let message = format!("unknown health check `{kind}`");
            return Err(Diagnostic::new(message, kind_span).with_label("expected CMD or NONE"));
        }
    };
    Ok(Healthcheck {
        test,
        interval: duration(fields, "interval")?,
        timeout: duration(fields, "timeout")?,
        start_period: duration(fields, "start-period")?,
        start_interval: duration(fields, "start-interval")?,
        retries: retries(fields)?,
    })
}

fn duration(fields: &Fields<'_>, name: &str) -> Result<i64, Diagnostic> {
    let Some(word) = flags::value(&fields.flags, name) else {
        return Ok(0);
    };
    match duration::parse(&word.text) {
        Some(nanoseconds) if nanoseconds == 0 || nanoseconds >= SHORTEST => Ok(nanoseconds),
        Some(_) => {
            let message = format!("`--{name}={}` is less than 1ms", word.text);
            Err(Diagnostic::new(message, word.span))
        }
        None => {
            let message = format!("`{}` is not a duration", word.text);
            Err(Diagnostic::new(message, word.span).with_label("such as `30s` or `1m30s`"))
        }
    }
}

fn retries(fields: &Fields<'_>) -> Result<u32, Diagnostic> {
    let Some(word) = flags::value(&fields.flags, "retries") else {
        return Ok(0);
    };
    let number = word
        .text
        .parse::<i32>()
        .ok()
        .and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| {
        let message = format!("`{}` is not a number of retries", word.text);
        Diagnostic::new(message, word.span)
    })
}
