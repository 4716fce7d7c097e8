//! `corten inspect`

use std::process::ExitCode;

use clap::Args;
use corten_content::{ImageDocuments, Layout, Source, load_image, read};
use corten_image::outline;
use corten_spec::{ChainId, Descriptor, DocumentLimits, Index, Kind, Platform};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format};
use crate::places::{Opened, Place};
use crate::registry::{RegistryArgs, show_warnings};
use crate::transfer::Part;
use crate::tree::Shown;
use crate::wanted::Wanted;

/// Show what an image is
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Where the image is
    #[arg(value_name = "PLACE")]
    place: Place,
    /// Of an image for several platforms, show this one
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print the manifest or index as it is stored, byte for byte
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Show all that the name stands for, down to the layers and with what refers to it, and where
    /// Docker and containerd would keep each part
    #[arg(long, conflicts_with = "raw")]
    tree: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspected<'a> {
    /// Where the image is.
    place: String,
    /// What its name stands for there: the digest of a manifest or of an index.
    digest: &'a str,
    /// The media type of what `digest` names.
    media_type: &'a str,
    /// The digest of the manifest that is shown.
    manifest_digest: &'a str,
    /// The digest of its config.
    image_id: &'a str,
    /// What it runs on.
    platform: String,
    /// The manifest as it is stored.
    manifest: &'a RawValue,
    /// The config as it is stored.
    config: &'a RawValue,
}

/// What `--tree --format json` prints.
#[derive(Debug, Serialize)]
struct Tree {
    /// Where the image is.
    place: String,
    /// What its name stands for, or all that is in a layout.
    roots: Vec<Shown>,
}

pub(crate) fn run(args: &InspectArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let doing = format!("cannot inspect `{}`", args.place);
    inspect(args, ctx).map_err(|error| error.while_doing(doing))?;
    Ok(ExitCode::SUCCESS)
}

fn inspect(args: &InspectArgs, ctx: &Context) -> Result<(), CommandError> {
    let opened = args.place.open(ctx, &args.registry)?;
    if args.tree {
        return show_tree(args, ctx, &opened);
    }
    let wanted = Wanted::asked(args.platform.as_ref());
    let platform = &wanted.platform;
    let content = opened.resolve(platform).map_err(CommandError::caused)?;
    let source = &*opened.source;
    if wanted.is_asked {
        wanted
            .manifest(source, &content)
            .map_err(CommandError::caused)?;
    }
    if args.raw {
        let bytes = read(source, &content, DocumentLimits::installed().either())
            .map_err(CommandError::caused)?;
        return ctx.output.bytes(&bytes);
    }
    let image = load_image(source, &content, platform).map_err(CommandError::caused)?;
    opened
        .client
        .iter()
        .for_each(|client| show_warnings(ctx, client));
    match args.format {
        Format::Json => show_json(args, ctx, &content, &image),
        Format::Text => ctx
            .output
            .data(&summary(&args.place, source, &content, &image)),
    }
}

/// Shows the graph: of one platform, of the whole image, or, where no name is given, of a layout.
fn show_tree(args: &InspectArgs, ctx: &Context, opened: &Opened) -> Result<(), CommandError> {
    let source = &*opened.source;
    let roots = match &args.place {
        Place::Layout(path, name) if name.is_empty() && args.platform.is_none() => {
            Layout::open(path).and_then(|layout| layout.entries())
        }
        _ => match &args.platform {
            Some(_) => Part::chosen(false, args.platform.as_ref())
                .choose(source, &opened.name)
                .map(|selection| vec![selection.root]),
            None => source.resolve_all(&opened.name),
        },
    };
    let roots = roots.map_err(CommandError::caused)?;
    let shown: Vec<Shown> = roots
        .iter()
        .map(|root| Shown::of(&outline(source, root)))
        .collect();
    opened
        .client
        .iter()
        .for_each(|client| show_warnings(ctx, client));
    match args.format {
        Format::Json => ctx.output.json(&Tree {
            place: args.place.to_string(),
            roots: shown,
        }),
        Format::Text => {
            let width = output::width();
            let lines = shown.iter().flat_map(|root| root.lines(width));
            let lines: Vec<String> = std::iter::once(args.place.to_string())
                .chain(lines)
                .collect();
            ctx.output.data(&lines.join("\n"))
        }
    }
}

fn show_json(
    args: &InspectArgs,
    ctx: &Context,
    content: &Descriptor,
    image: &ImageDocuments,
) -> Result<(), CommandError> {
    ctx.output.json(&Inspected {
        place: args.place.to_string(),
        digest: content.digest.as_str(),
        media_type: &content.media_type,
        manifest_digest: image.manifest.descriptor.digest.as_str(),
        image_id: image.manifest.value.config.digest.as_str(),
        platform: image.config.value.platform().to_string(),
        manifest: raw(&image.manifest.bytes)?,
        config: raw(&image.config.bytes)?,
    })
}

fn raw(bytes: &[u8]) -> Result<&RawValue, CommandError> {
    serde_json::from_slice(bytes)
        .map_err(|error| CommandError::doing("cannot show the document", error))
}

fn summary(
    place: &Place,
    source: &dyn Source,
    content: &Descriptor,
    image: &ImageDocuments,
) -> String {
    let mut lines = vec![format!("{place}")];
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("  {name:<12}{value}"));
        }
    };
    let (manifest, config) = (&image.manifest, &image.config.value);
    if content.kind() == Kind::Index {
        line("index", content.digest.as_str());
        line("platforms", &platforms(source, content).join(", "));
    }
    line("manifest", manifest.descriptor.digest.as_str());
    line("type", &manifest.descriptor.media_type);
    line("image id", manifest.value.config.digest.as_str());
    line("platform", &config.platform().to_string());
    line("created", config.created.as_deref().unwrap_or_default());
    line("author", config.author.as_deref().unwrap_or_default());
    let run = &config.config;
    line("user", &run.user);
    line("workdir", &run.working_dir);
    line(
        "entrypoint",
        &run.entrypoint
            .as_ref()
            .map(|words| as_json(words))
            .unwrap_or_default(),
    );
    line(
        "command",
        &run.cmd
            .as_ref()
            .map(|words| as_json(words))
            .unwrap_or_default(),
    );
    run.env.iter().for_each(|entry| line("env", entry));
    run.exposed_ports
        .0
        .iter()
        .for_each(|port| line("port", port));
    run.volumes.0.iter().for_each(|path| line("volume", path));
    run.labels
        .iter()
        .for_each(|(key, value)| line("label", &format!("{key}={value}")));
    let annotations = &manifest.value.annotations;
    for (key, value) in annotations {
        line("annotation", &format!("{key}={value}"));
    }
    let chain = ChainId::of(&config.rootfs.diff_ids).map(|chain| chain.to_string());
    line("chain id", &chain.unwrap_or_default());
    for (number, (layer, diff_id)) in manifest
        .value
        .layers
        .iter()
        .zip(&config.rootfs.diff_ids)
        .enumerate()
    {
        line(
            &format!("layer {}", number + 1),
            &format!("{} {}", layer.digest, output::size(layer.size)),
        );
        line("  diff id", &diff_id.to_string());
    }
    // Everything here is what somebody else wrote.
    let is_shown = |char: &char| *char == '\n' || !char.is_control();
    lines.join("\n").chars().filter(is_shown).collect()
}

fn as_json(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

/// Lists what an index offers; one that cannot be read offers nothing to name.
fn platforms(source: &dyn Source, index: &Descriptor) -> Vec<String> {
    let index = corten_content::load::<Index>(source, index);
    let entries = index.map(|index| index.value.manifests).unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| entry.platform.as_ref())
        .map(ToString::to_string)
        .collect()
}
