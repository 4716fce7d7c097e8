//! Moving an image from one place to another: what pull, push, copy, save and load have in common.

use corten_content::fsck::Doubting;
use corten_content::{CopyOptions, CopyReport, Sink, Source, Sparse, copy};
use corten_image::ConvertOptions;
use corten_snapshot::Receiving;
use corten_spec::{Descriptor, Platform};

use crate::context::Context;
use crate::conversion::converted;
use crate::error::CommandError;
use crate::output;
use crate::places::{Destination, Name, Opened, Place};
use crate::progress::Transfers;
use crate::registry::{RegistryArgs, show_warnings};
use crate::selection::Selection;
use crate::wanted::Wanted;

/// Which part of an image with several platforms is moved.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// All of it.
    All,
    /// What is for one platform.
    Platform(Wanted),
}

impl Part {
    /// Returns the part that the usual options ask for: what is for this machine, if they are silent.
    pub(crate) fn chosen(all: bool, platform: Option<&Platform>) -> Self {
        if all {
            return Self::All;
        }
        Self::Platform(Wanted::asked(platform))
    }

    /// Returns the part for the platform, if one is named, and all of it otherwise.
    pub(crate) fn named(platform: Option<&Platform>) -> Self {
        Self::chosen(platform.is_none(), platform)
    }

    /// Chooses the part of what `name` stands for in `source`.
    pub(crate) fn choose<'a>(
        &self,
        source: &'a dyn Source,
        name: &str,
    ) -> corten_content::Result<Selection<'a>> {
        let wanted = match self {
            Self::All => return Selection::whole(source, name),
            Self::Platform(wanted) => wanted,
        };
        let content = source.resolve_for(name, &wanted.platform)?;
        let chosen = wanted.manifest(source, &content)?.descriptor;
        let platform = chosen.platform.clone().or(content.platform);
        let chosen = Descriptor {
            platform,
            ..chosen.bare()
        };
        Ok(Selection::of(source, chosen))
    }
}

/// What an image is copied for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be there.
    Keep,
    /// To be there for certain: what is there already is hashed, and replaced where it is damaged.
    Replace,
    /// To be used at once: its layers are decompressed while they arrive in the store.
    Use,
}

/// Copies `part` of what is opened to `destination`, names it there, and returns what it is; converts
/// the documents on the way if that is asked for.
pub(crate) fn transfer_as(
    ctx: &Context,
    opened: &Opened,
    destination: Destination,
    part: &Part,
    jobs: usize,
    conversion: Option<ConvertOptions>,
) -> Result<Descriptor, CommandError> {
    transfer_for(
        Purpose::Keep,
        ctx,
        opened,
        destination,
        part,
        jobs,
        conversion,
    )
}

fn transfer_for(
    purpose: Purpose,
    ctx: &Context,
    opened: &Opened,
    destination: Destination,
    part: &Part,
    jobs: usize,
    conversion: Option<ConvertOptions>,
) -> Result<Descriptor, CommandError> {
    let chosen = part
        .choose(&*opened.source, &opened.name)
        .map_err(|error| {
            // A mirror that failed may be what there is to mend.
            let clients = opened.client.iter();
            clients.for_each(|client| show_warnings(ctx, client));
            CommandError::caused(error)
        })?;
    let converted = conversion
        .map(|options| converted(ctx, &chosen, &chosen.root, options))
        .transpose()?;
    let (source, content): (&dyn Source, _) = match &converted {
        Some(converted) => (converted, converted.root.clone()),
        None => (&chosen, chosen.root.clone()),
    };
    let progress = Transfers::new(ctx.output);
    let options = CopyOptions {
        jobs,
        progress: &progress,
        ..CopyOptions::default()
    };
    let receiving = destination
        .store()
        .map(|store| Receiving::new(ctx.snapshots(store)));
    let doubting = destination.store().map(Doubting);
    let sink: &dyn Sink = match (purpose, &receiving, &doubting) {
        (Purpose::Use, Some(receiving), _) => receiving,
        (Purpose::Replace, _, Some(doubting)) => doubting,
        (Purpose::Use | Purpose::Replace | Purpose::Keep, _, _) => destination.sink(),
    };
    let copied = copy(source, sink, &content, &options);
    progress.finish();
    let clients = opened.client.iter().chain(destination.client());
    clients.for_each(|client| show_warnings(ctx, client));
    show_report(ctx, &copied.map_err(CommandError::caused)?);
    destination.finish(&content)?;
    Ok(content)
}

/// Copies `content` into the local store without naming it.
pub(crate) fn fetch(
    ctx: &Context,
    source: &dyn Source,
    destination: &dyn Sink,
    content: &Descriptor,
    jobs: usize,
) -> Result<(), corten_content::Error> {
    let progress = Transfers::new(ctx.output);
    let options = CopyOptions {
        jobs,
        progress: &progress,
        sparse: Sparse::Allow,
        ..CopyOptions::default()
    };
    let copied = copy(source, destination, content, &options);
    progress.finish();
    show_report(ctx, &copied?);
    Ok(())
}

fn show_report(ctx: &Context, report: &CopyReport) {
    let CopyReport {
        sent,
        present,
        skipped,
        absent,
        bytes,
    } = report;
    ctx.output.detail(&format!(
        "{sent} blobs ({}) sent, {present} were there, {skipped} skipped, {absent} absent",
        output::size(*bytes)
    ));
}

/// Pulls `name` from its registry into the local store.
pub(crate) fn pull(
    ctx: &Context,
    registry: &RegistryArgs,
    name: &Name,
    part: &Part,
    purpose: Purpose,
) -> Result<Descriptor, CommandError> {
    let Name::Reference(reference) = name else {
        return Err(CommandError::usage(format!(
            "`{name}` is a digest alone, and no registry is known for it"
        ))
        .hint("name the repository too, as in `REPOSITORY@DIGEST`"));
    };
    let opened = Place::Registry(reference.clone()).open(ctx, registry)?;
    let destination = Place::Store(name.clone()).create(ctx, registry)?;
    transfer_for(
        purpose,
        ctx,
        &opened,
        destination,
        part,
        registry.jobs,
        None,
    )
}
