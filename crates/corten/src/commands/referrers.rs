//! `corten referrers`

use std::process::ExitCode;

use clap::Args;
use corten_content::{Referrer, referrers};
use corten_spec::{Descriptor, Platform};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::places::Place;
use crate::registry::{RegistryArgs, show_warnings};
use crate::transfer::Part;

/// Show what refers to an image, such as its signatures and SBOMs, and what refers to that
#[derive(Debug, Args)]
pub(crate) struct ReferrersArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// Of an image for several platforms, show what refers to this one's manifest
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Show this type only, and what refers to those
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
    /// Follow them so many levels deep
    #[arg(long, value_name = "N", default_value_t = 32)]
    depth: usize,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
struct Subject {
    /// Where it is.
    place: String,
    /// Its digest.
    digest: String,
    /// What refers to it.
    referrers: Vec<Shown>,
}

/// A referrer, as its list describes it.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    content: Descriptor,
    referrers: Vec<Self>,
}

impl Shown {
    fn of(referrer: Referrer) -> Self {
        Self {
            content: referrer.content,
            referrers: referrer.referrers.into_iter().map(Self::of).collect(),
        }
    }
}

pub(crate) fn run(args: &ReferrersArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot show what refers to `{}`", args.place);
    let subject = find(args, ctx).map_err(|error| error.while_doing(doing))?;
    match args.format {
        Format::Json => ctx.output.json(&subject)?,
        Format::Text => {
            let mut lines = vec![format!("{}  {}", subject.place, subject.digest)];
            draw(&subject.referrers, "", &mut lines);
            // Types and annotations are what somebody else wrote.
            let is_shown = |char: &char| *char == '\n' || !char.is_control();
            let text: String = lines.join("\n").chars().filter(is_shown).collect();
            ctx.output.data(&text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn find(args: &ReferrersArgs, ctx: &Context) -> Result<Subject, CommandError> {
    let opened = args.place.open(ctx, &args.registry)?;
    let part = Part::named(args.platform.as_ref());
    let found = part.choose(&*opened.source, &opened.name);
    let found = found.and_then(|selection| {
        let digest = selection.root.digest;
        Ok((referrers(&*opened.source, &digest, args.depth)?, digest))
    });
    opened
        .client
        .iter()
        .for_each(|client| show_warnings(ctx, client));
    let (mut found, digest) = found.map_err(CommandError::caused)?;
    if let Some(wanted) = &args.artifact_type {
        found.retain(|referrer| referrer.content.artifact_type.as_ref() == Some(wanted));
    }
    Ok(Subject {
        place: args.place.to_string(),
        digest: digest.to_string(),
        referrers: found.into_iter().map(Shown::of).collect(),
    })
}

fn draw(shown: &[Shown], indent: &str, lines: &mut Vec<String>) {
    let Some((last, others)) = shown.split_last() else {
        return;
    };
    let others = others.iter().map(|shown| (shown, "├── ", "│   "));
    for (shown, branch, below) in others.chain([(last, "└── ", "    ")]) {
        let Shown { content, referrers } = shown;
        let kind = content.artifact_type.as_ref();
        let kind = kind.unwrap_or(&content.media_type);
        lines.push(format!("{indent}{branch}{}  {kind}", content.digest));
        draw(referrers, &format!("{indent}{below}"), lines);
    }
}
