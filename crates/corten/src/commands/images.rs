//! `corten images`

use std::process::ExitCode;

use clap::Args;
use corten_content::{NamedImage, Source, load_image};
use corten_spec::{Kind, Platform};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::{self, Format};

/// List the images of the local store
#[derive(Debug, Args)]
pub(crate) struct ImagesArgs {
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print whole digests
    #[arg(long)]
    no_trunc: bool,
}

/// What `--format json` prints of each image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// The full normalised reference.
    name: String,
    /// The digest of the manifest or index.
    digest: String,
    /// The media type of what the digest names.
    media_type: String,
    /// What it runs on; `null` where that cannot be read. Of an index, what is for this machine.
    platform: Option<String>,
    /// When it was made, as the image says.
    created: Option<String>,
    /// The bytes of its blobs, compressed as they are.
    size: Option<u64>,
}

pub(crate) fn run(args: &ImagesArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let store = ctx.store()?;
    let images = store
        .list()
        .map_err(|error| CommandError::doing("cannot list the images", error))?;
    let mut listed: Vec<Listed> = images.iter().map(|image| describe(&store, image)).collect();
    listed.sort_by(|left, right| left.name.cmp(&right.name));
    match args.format {
        Format::Json => ctx.output.json(&listed)?,
        Format::Text if ctx.output.verbosity == output::Verbosity::Quiet => {
            for image in &listed {
                ctx.output.data(&image.digest)?;
            }
        }
        Format::Text => ctx.output.data(&as_table(&listed, args.no_trunc))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// An image that cannot be read is listed all the same, so that it can be removed.
fn describe(source: &dyn Source, image: &NamedImage) -> Listed {
    let content = &image.descriptor;
    let documents = load_image(source, content, &Platform::host()).ok();
    let size = documents.as_ref().map(|documents| {
        let manifest = &documents.manifest;
        let layers = manifest.value.layers.iter().map(|layer| layer.size);
        let documents = [manifest.descriptor.size, manifest.value.config.size];
        layers.chain(documents).fold(0u64, u64::saturating_add)
    });
    let config = documents.as_ref().map(|documents| &documents.config.value);
    Listed {
        name: image.name.clone(),
        digest: content.digest.to_string(),
        media_type: content.media_type.clone(),
        platform: config.map(|config| config.platform().to_string()),
        created: config.and_then(|config| config.created.clone()),
        size,
    }
}

fn as_table(listed: &[Listed], no_trunc: bool) -> String {
    let heading = ["NAME", "DIGEST", "PLATFORM", "CREATED", "SIZE"]
        .map(str::to_owned)
        .to_vec();
    let row = |image: &Listed| {
        let n_chars = if no_trunc {
            usize::MAX
        } else {
            "sha256:".len() + 12
        };
        let platform = match Kind::of(&image.media_type) {
            Kind::Index => "(index)".to_owned(),
            _ => image.platform.clone().unwrap_or_else(|| "?".to_owned()),
        };
        let name = image
            .name
            .parse()
            .map(|name: corten_spec::Reference| name.familiar());
        vec![
            name.unwrap_or_else(|_| image.name.clone()),
            image.digest.chars().take(n_chars).collect(),
            platform,
            image
                .created
                .clone()
                .unwrap_or_default()
                .chars()
                .take("2024-01-31T12:00:00".len())
                .collect(),
            image.size.map(output::size).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = std::iter::once(heading)
        .chain(listed.iter().map(row))
        .collect();
    output::table(&rows)
}
