//! `corten validate`

use std::process::ExitCode;

use clap::Args;
use corten_image::{
    Finding, Layers, Level, ValidateOptions, Within, requirement, validate_all, validate_layout,
};
use corten_spec::Digest;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::places::{Place, open_archive};
use crate::registry::RegistryArgs;

/// Check an image, or a whole image layout, against the specification
///
/// Prints a line for each finding, with the requirement it is about. Ends with 3 if something is
/// there that the specification forbids; what it advises against is a warning.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Where the image is; a layout or an archive without a name is checked with all that is in it
    #[arg(value_name = "PLACE")]
    place: Place,
    /// Check the documents alone, and read no layer
    #[arg(long)]
    no_layers: bool,
    /// End with 3 at what the specification advises against, too
    #[arg(long)]
    strict: bool,
    /// How to print what is found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints; docs/reference/validate.md describes it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    /// The place, as it was given.
    place: String,
    /// Whether the exit code is 0.
    valid: bool,
    /// How many findings there are of each level, those that are not listed counted.
    counts: Counts,
    findings: Vec<Found<'a>>,
}

#[derive(Debug, Default, Serialize)]
struct Counts {
    must: u64,
    should: u64,
    note: u64,
}

#[derive(Debug, Serialize)]
struct Found<'a> {
    /// `must`, `should` or `note`.
    level: String,
    /// The requirement, such as `CFG-02`.
    requirement: &'a str,
    /// What the requirement asks for.
    statement: Option<&'a str>,
    #[serde(rename = "where")]
    place: Where<'a>,
    /// What is wrong.
    message: &'a str,
    expected: Option<&'a str>,
    received: Option<&'a str>,
    /// What to do about it.
    advice: Option<&'a str>,
    /// How many more of the kind there are that are not listed.
    more: u64,
}

/// The content, and where in it; fields that do not apply are null.
#[derive(Debug, Default, Serialize)]
struct Where<'a> {
    digest: Option<&'a str>,
    file: Option<&'a str>,
    pointer: Option<&'a str>,
    entry: Option<&'a str>,
    offset: Option<u64>,
}

/// What the program ends with when something does not hold.
const NOT_VALID: u8 = 3;

pub(crate) fn run(args: &ValidateArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot validate `{}`", args.place);
    let findings = find(args, ctx).map_err(|error| error.while_doing(doing))?;
    let counts = count(&findings);
    let valid = counts.must == 0 && (counts.should == 0 || !args.strict);
    let summary = format!(
        "`{}` is {}valid{}",
        args.place,
        if valid { "" } else { "not " },
        match counts.should {
            0 => String::new(),
            1 => "; 1 warning".to_owned(),
            more => format!("; {more} warnings"),
        }
    );
    match args.format {
        Format::Json => ctx.output.json(&Report {
            place: args.place.to_string(),
            valid,
            counts,
            findings: findings.iter().map(as_json).collect(),
        })?,
        Format::Text => {
            for finding in &findings {
                ctx.output.data(&as_text(finding))?;
            }
        }
    }
    ctx.output.note(&summary);
    Ok(if valid {
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
        limits: ctx.layer_limits(),
    };
    match &args.place {
        Place::Layout(path, name) if name.is_empty() => {
            return validate_layout(path, &options).map_err(CommandError::caused);
        }
        Place::Archive(format, path, name) if name.is_empty() => {
            let archive = open_archive(ctx, path, *format)?;
            return validate_all(&archive, archive.entries(), &options)
                .map_err(CommandError::caused);
        }
        _ => {}
    }
    let opened = args.place.open(ctx, &args.registry)?;
    let source = &*opened.source;
    let roots = source
        .resolve_all(&opened.name)
        .map_err(CommandError::caused)?;
    validate_all(source, &roots, &options).map_err(CommandError::caused)
}

fn count(findings: &[Finding]) -> Counts {
    let mut counts = Counts::default();
    for finding in findings {
        let counted = match finding.level {
            Level::Must => &mut counts.must,
            Level::Should => &mut counts.should,
            Level::Note => &mut counts.note,
        };
        *counted += 1 + finding.n_more;
    }
    counts
}

fn as_json(finding: &Finding) -> Found<'_> {
    let mut place = Where {
        digest: finding.place.digest.as_ref().map(Digest::as_str),
        ..Where::default()
    };
    match &finding.place.within {
        Within::Whole => {}
        Within::Pointer(pointer) => place.pointer = Some(pointer),
        Within::Entry { path, offset } => {
            (place.entry, place.offset) = (Some(path.as_str()), Some(*offset));
        }
        Within::Byte(offset) => place.offset = Some(*offset),
        Within::File { path, pointer } => {
            place.file = Some(path);
            place.pointer = Some(pointer)
                .filter(|it| !it.is_empty())
                .map(String::as_str);
        }
    }
    Found {
        level: finding.level.to_string(),
        requirement: finding.requirement,
        statement: requirement(finding.requirement).map(|found| found.statement),
        place,
        message: &finding.message,
        expected: finding.expected.as_deref(),
        received: finding.received.as_deref(),
        advice: finding.advice,
        more: finding.n_more,
    }
}

fn as_text(finding: &Finding) -> String {
    let Finding {
        level,
        requirement,
        place,
        message,
        advice,
        n_more,
        ..
    } = finding;
    let mut line = format!("{level} {requirement} {place}: {message}");
    if let Some(advice) = advice {
        line = format!("{line}; {advice}");
    }
    if *n_more > 0 {
        line = format!("{line} (and {n_more} more of {level} {requirement})");
    }
    // Content is what somebody else wrote.
    line.chars().filter(|char| !char.is_control()).collect()
}
