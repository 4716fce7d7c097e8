//! What users say about the format of documents: Docker's or OCI's.

use clap::{Args, ValueEnum};
use corten_content::Source;
use corten_image::{ConvertOptions, Converted, Error, Unplaced, convert};
use corten_spec::{Descriptor, Family};

use crate::context::Context;
use crate::error::CommandError;

/// A format of manifests, indexes and configs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentFormat {
    /// The image specification's
    Oci,
    /// Docker's manifest schema 2 and manifest list
    Docker,
}

/// The options of commands that convert if they are asked to.
#[derive(Debug, Args)]
pub(crate) struct ConversionArgs {
    /// Convert manifests and indexes to this format; layers and configs keep their bytes
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<DocumentFormat>,
    /// Leave out what the format has no place for, and say what that was
    #[arg(long, requires = "format")]
    lossy: bool,
}

impl ConversionArgs {
    /// Returns what is asked for.
    pub(crate) fn options(&self) -> Option<ConvertOptions> {
        self.format.map(|format| options(format, self.lossy))
    }
}

/// Returns how to convert to `format`.
pub(crate) fn options(format: DocumentFormat, is_lossy: bool) -> ConvertOptions {
    ConvertOptions {
        to: match format {
            DocumentFormat::Oci => Family::Oci,
            DocumentFormat::Docker => Family::Docker,
        },
        unplaced: if is_lossy {
            Unplaced::LeaveOut
        } else {
            Unplaced::Refuse
        },
    }
}

/// Converts `content`, and tells what was left out.
pub(crate) fn converted<'a>(
    ctx: &Context,
    source: &'a dyn Source,
    content: &Descriptor,
    options: ConvertOptions,
) -> Result<Converted<'a>, CommandError> {
    let converted = convert(source, content, &options).map_err(explain)?;
    for loss in &converted.losses {
        ctx.output.warn(&format!("left out: {loss}"));
    }
    Ok(converted)
}

fn explain(error: Error) -> CommandError {
    let hint = match &error {
        Error::Unplaced { .. } => Some("`--lossy` leaves these out"),
        Error::NoCounterpart { media_type, .. } if media_type.ends_with("zstd") => {
            Some("what compresses with gzip instead makes another image: build it again so")
        }
        Error::Artifact { .. } | Error::NoCounterpart { .. } => {
            Some("in an index, `--lossy` leaves it out; `--platform` chooses one image")
        }
        _ => None,
    };
    let error = CommandError::caused(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
