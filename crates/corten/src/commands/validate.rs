//! `corten validate`

use std::process::ExitCode;

use clap::Args;
use corten_image::{Finding, Layers, Level, ValidateOptions, validate_layout};
use corten_spec::Platform;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::places::Place;
use crate::registry::RegistryArgs;

/// Check an image, or a whole image layout, against the specification
///
/// Prints a line for each finding, with the requirement it is about. Ends with 3 if something is
/// there that the specification forbids.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Where the image is; an `oci:DIR` without a name is checked with all that is in it
    #[arg(value_name = "PLACE")]
    place: Place,
    /// Check the documents alone, and read no layer
    #[arg(long)]
    no_layers: bool,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints of each finding.
#[derive(Debug, Serialize)]
struct Found<'a> {
    /// `must`, `should` or `note`.
    level: String,
    /// The requirement, such as `CFG-02`.
    requirement: &'a str,
    /// The content, and where in it.
    place: String,
    /// What is wrong.
    message: &'a str,
    /// What to do about it.
    advice: Option<&'a str>,
}

/// What the program ends with when something does not hold.
const NOT_VALID: u8 = 3;

pub(crate) fn run(args: &ValidateArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot validate `{}`", args.place);
    let findings = find(args, ctx).map_err(|error| error.while_doing(doing))?;
    match args.format {
        Format::Json => ctx
            .output
            .json(&findings.iter().map(as_json).collect::<Vec<_>>())?,
        Format::Text => {
            for finding in &findings {
                ctx.output.data(&as_text(finding))?;
            }
        }
    }
    let is_valid = !findings.iter().any(|finding| finding.level == Level::Must);
    ctx.output.note(&format!(
        "`{}` is {}valid",
        args.place,
        if is_valid { "" } else { "not " }
    ));
    Ok(if is_valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_VALID)
    })
}

fn find(args: &ValidateArgs, ctx: &Context) -> Result<Vec<Finding>, CommandError> {
    let options = ValidateOptions {
        layers: if args.no_layers {
            Layers::Skip
        } else {
            Layers::Read
        },
    };
    if let Place::Layout(path, name) = &args.place
        && name.is_empty()
    {
        return validate_layout(path, &options).map_err(CommandError::caused);
    }
    let opened = args.place.open(ctx, &args.registry)?;
    let content = opened
        .resolve(&Platform::host())
        .map_err(CommandError::caused)?;
    corten_image::validate(&*opened.source, &content, &options).map_err(CommandError::caused)
}

fn as_json(finding: &Finding) -> Found<'_> {
    Found {
        level: finding.level.to_string(),
        requirement: finding.requirement,
        place: finding.place.to_string(),
        message: &finding.message,
        advice: finding.advice,
    }
}

fn as_text(finding: &Finding) -> String {
    let Finding {
        level,
        requirement,
        place,
        message,
        advice,
    } = finding;
    let line = format!("{level} {requirement} {place}: {message}");
    let line = match advice {
        Some(advice) => format!("{line}; {advice}"),
        None => line,
    };
    // Content is what somebody else wrote.
    line.chars().filter(|char| !char.is_control()).collect()
}
