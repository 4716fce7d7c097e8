//! `corten build --check`: what is found in the Dockerfile; nothing is built.

use std::process::ExitCode;

use clap::Args;
use corten_build::BuildRequest;
use corten_content::load_image;
use corten_dockerfile::{Check, Lint, LintScope, render, without_credentials};
use corten_spec::{ImageConfig, Platform};
use serde_json::{Value, json};

use crate::bases::{NamedContext, StoreBases};
use crate::context::Context;
use crate::error::CommandError;
use crate::images::Pull;
use crate::output::Format;
use crate::places::{Name, Place};

/// What is to be checked, and how findings are printed.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Check the Dockerfile and build nothing; with a value, by these options instead of its own:
    /// `skip=RULE,…;error=true;experimental=RULE,…`
    #[arg(
        long,
        value_name = "OPTIONS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = Check::parse
    )]
    check: Option<Check>,
    /// How findings of `--check` are printed
    #[arg(long, value_enum, default_value_t, requires = "check")]
    check_format: Format,
}

impl CheckArgs {
    /// Tells whether nothing but a check is wanted.
    pub(crate) fn is_asked(&self) -> bool {
        self.check.is_some()
    }

    /// Returns the options that were given.
    pub(crate) fn options(&self) -> Option<Check> {
        // Without a value the Dockerfile's own count.
        self.check
            .clone()
            .filter(|check| *check != Check::default())
    }
}

/// Checks for each of `platforms`, and prints what is found. Findings make it fail, as in
/// `docker build --check`.
pub(crate) fn run(
    args: &CheckArgs,
    request: &BuildRequest,
    platforms: &[Platform],
    bases: &StoreBases<'_>,
    ctx: &Context,
) -> Result<ExitCode, CommandError> {
    let known = |name: &str, platform: &Platform| known(bases, name, platform, ctx);
    let found = platforms.iter().map(|platform| {
        let request = BuildRequest {
            platform: platform.clone(),
            ..request.clone()
        };
        corten_build::check(&request, LintScope::All, &known)
    });
    let lint = found
        .reduce(merged)
        .ok_or_else(|| CommandError::usage("there is no platform to check the Dockerfile for"))?;
    match args.check_format {
        Format::Json => ctx.output.json(&in_json(&lint, request))?,
        Format::Text => ctx.output.data(&in_text(&lint, request))?,
    }
    Ok(match (&lint.error, lint.findings.len()) {
        (None, 0) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Returns what is found for one platform or another, each finding once: most are of all.
fn merged(mut lint: Lint, other: Lint) -> Lint {
    for finding in other.findings {
        if !lint.findings.contains(&finding) {
            lint.findings.push(finding);
        }
    }
    lint.findings.sort_by_key(|finding| finding.span.line);
    lint.error = lint.error.or(other.error);
    lint
}

/// Returns the config of a base image. Without it there is less to find, so that is only noted.
fn known(
    bases: &StoreBases<'_>,
    name: &str,
    platform: &Platform,
    ctx: &Context,
) -> Option<ImageConfig> {
    match config(bases, name, platform) {
        Ok(config) => Some(config),
        Err(error) => {
            let error = error.into_cause();
            ctx.output.note(&format!(
                "what `{name}` sets is not known, and variables are not checked there: {error}"
            ));
            None
        }
    }
}

/// Reads the config of what a name stands for: manifest and config are asked for, and no layer.
fn config(
    bases: &StoreBases<'_>,
    name: &str,
    platform: &Platform,
) -> Result<ImageConfig, CommandError> {
    let here = match bases.context(name) {
        Some(NamedContext::Image(place)) => return read(bases, place, platform),
        Some(_) => return Err(CommandError::failed("it is no image")),
        None => name.parse::<Name>().map_err(CommandError::failed)?,
    };
    let there = match &here {
        Name::Reference(reference) if bases.pull != Pull::Never => {
            Some(Place::Registry(reference.clone()))
        }
        Name::Reference(_) | Name::Digest(_) => None,
    };
    let here = Place::Store(here);
    match there {
        Some(there) if bases.pull == Pull::Always => read(bases, &there, platform),
        Some(there) => read(bases, &here, platform).or_else(|_| read(bases, &there, platform)),
        None => read(bases, &here, platform),
    }
}

fn read(
    bases: &StoreBases<'_>,
    place: &Place,
    platform: &Platform,
) -> Result<ImageConfig, CommandError> {
    let opened = place.open(bases.ctx, bases.registry)?;
    let image = opened
        .source
        .resolve_for(&opened.name, platform)
        .and_then(|content| load_image(&*opened.source, &content, platform))
        .map_err(CommandError::caused)?;
    Ok(image.config.value)
}

fn in_text(lint: &Lint, request: &BuildRequest) -> String {
    let summary = match lint.findings.len() {
        0 if lint.error.is_some() => None,
        0 => Some("Check complete, no warnings found.".to_owned()),
        1 => Some("Check complete, 1 warning has been found!".to_owned()),
        n => Some(format!("Check complete, {n} warnings have been found!")),
    };
    let findings = lint
        .findings
        .iter()
        .map(|finding| finding.render(&request.file_name, &request.text));
    let error = lint
        .error
        .iter()
        .map(|error| render(error, &request.file_name, &request.text));
    let parts: Vec<String> = summary.into_iter().chain(findings).chain(error).collect();
    parts.join("\n\n")
}

/// The fields are those of BuildKit's subrequest `frontend.lint`.
fn in_json(lint: &Lint, request: &BuildRequest) -> Value {
    let location = |line: usize, column: usize, last: usize| {
        json!({
            "ranges": [{
                "start": { "line": line, "character": column.saturating_sub(1) },
                "end": { "line": last },
            }],
        })
    };
    let warnings: Vec<Value> = lint
        .findings
        .iter()
        .map(|finding| {
            json!({
                "ruleName": finding.rule.name(),
                "description": finding.rule.description(),
                "url": finding.rule.url(),
                "detail": finding.detail,
                "location": location(finding.span.line, finding.span.column, finding.last_line),
            })
        })
        .collect();
    let mut document = json!({
        "warnings": warnings,
        "sources": [{ "filename": request.file_name, "language": "Dockerfile" }],
    });
    if let (Some(error), Some(fields)) = (&lint.error, document.as_object_mut()) {
        let location = location(error.span.line, error.span.column, error.span.line);
        let error = json!({ "message": without_credentials(&error.message), "location": location });
        fields.insert("buildError".to_owned(), error);
    }
    document
}
