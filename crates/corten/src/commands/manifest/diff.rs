//! `corten manifest diff`

use std::process::ExitCode;

use clap::Args;
use corten_spec::Platform;
use corten_spec::differences::{Difference, differences};
use serde_json::Value;

use super::manifest;
use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::places::Place;
use crate::registry::RegistryArgs;

/// Which manifests.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// Where the earlier one is
    #[arg(value_name = "BEFORE")]
    before: Place,
    /// Where the later one is
    #[arg(value_name = "AFTER")]
    after: Place,
    /// Of images for several platforms, compare this one's
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// End with 1 if they differ
    #[arg(long)]
    exit_code: bool,
    /// How to print where they differ
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &DiffArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let document = |place: &Place| {
        let (_, bytes) = manifest(ctx, &args.registry, place, args.platform.as_ref(), true)?;
        serde_json::from_slice::<Value>(&bytes).map_err(|error| {
            CommandError::doing(format!("the manifest of `{place}` is no JSON"), error)
        })
    };
    let found = differences(&document(&args.before)?, &document(&args.after)?);
    match args.format {
        Format::Json => ctx.output.json(&found)?,
        Format::Text => found
            .iter()
            .flat_map(lines)
            .try_for_each(|line| ctx.output.data(&line))?,
    }
    Ok(ExitCode::from(u8::from(
        args.exit_code && !found.is_empty(),
    )))
}

/// Draws a difference as people know them: what is gone, and what is there instead.
fn lines(difference: &Difference) -> Vec<String> {
    let sides = [("-", &difference.before), ("+", &difference.after)];
    let shown = sides.into_iter().filter_map(|(sign, value)| {
        // JSON escapes what would change the terminal.
        let line = format!("{sign} {}: {}", difference.path, value.as_ref()?);
        Some(line.chars().filter(|char| !char.is_control()).collect())
    });
    shown.collect()
}
