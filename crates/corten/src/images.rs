//! Finding an image that a command works on: in the local store, and in its registry if need be.

use clap::ValueEnum;
use corten_content::{ImageDocuments, Source, Store, load_image};
use corten_snapshot::Receiving;
use corten_spec::{Descriptor, Platform};

use crate::context::Context;
use crate::error::CommandError;
use crate::places::{Name, Place};
use crate::registry::RegistryArgs;
use crate::transfer::{self, Part, Purpose, fetch};

/// When a registry is asked for an image that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Pull {
    /// If it is not in the local store
    #[default]
    Missing,
    /// Every time
    Always,
    /// Never
    Never,
}

/// An image that is in the local store, whole.
#[derive(Debug)]
pub(crate) struct Found {
    /// What its name stands for.
    pub(crate) content: Descriptor,
    /// Its documents.
    pub(crate) documents: ImageDocuments,
}

/// Finds the image for `platform` in `place`, and copies it into `store` unless it is there.
pub(crate) fn find(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
    platform: &Platform,
    pull: Pull,
) -> Result<Found, CommandError> {
    let name = match place {
        Place::Store(name) => return find_named(ctx, store, registry, name, platform, pull),
        Place::Registry(reference) => Name::Reference(reference.clone()),
        Place::Layout(..) | Place::Archive(..) => {
            return bring(ctx, store, registry, place, platform);
        }
    };
    find_named(ctx, store, registry, &name, platform, Pull::Always)
}

/// Finds the image for `platform` in `place` to read its files. What is in no store of ours is copied
/// into it and gets no name there, so that the next look is cheap and `gc` takes it.
pub(crate) fn find_to_read(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
    platform: &Platform,
) -> Result<Found, CommandError> {
    match place {
        Place::Store(name) => find_named(ctx, store, registry, name, platform, Pull::Missing),
        Place::Registry(_) | Place::Layout(..) | Place::Archive(..) => {
            bring(ctx, store, registry, place, platform)
        }
    }
}

/// Copies what `place` has for all platforms into `store`, and returns what it is.
pub(crate) fn bring_all(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
) -> Result<Descriptor, CommandError> {
    let opened = place.open(ctx, registry)?;
    let bring = || {
        let content = opened.resolve(&Platform::host())?;
        if !matches!(place, Place::Store(_)) {
            fetch(ctx, &*opened.source, store, &content, registry.jobs)?;
        }
        Ok(content)
    };
    bring().map_err(|error: corten_content::Error| {
        CommandError::doing(format!("cannot use `{place}`"), error)
    })
}

fn find_named(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    name: &Name,
    platform: &Platform,
    pull: Pull,
) -> Result<Found, CommandError> {
    if pull != Pull::Always || matches!(name, Name::Digest(_)) {
        match look_up(store, name, platform) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if pull == Pull::Missing => {}
            Ok(None) => {
                let text = format!("`{name}` is there, but not for {platform}");
                return Err(
                    CommandError::failed(text).hint("let it be pulled with `--pull missing`")
                );
            }
            Err(error) if error.is_not_found() && may_pull(name, pull) => {}
            Err(error) => return Err(CommandError::caused(error)),
        }
    }
    ctx.output.note(&format!("pulling {name}"));
    transfer::pull(
        ctx,
        registry,
        name,
        &Part::Platform(platform.clone()),
        Purpose::Use,
    )
    .map_err(|error| error.while_doing(format!("cannot pull `{name}`")))?;
    match look_up(store, name, platform).map_err(CommandError::caused)? {
        Some(found) => Ok(found),
        None => Err(CommandError::failed(format!(
            "what `{name}` stands for is not for {platform}"
        ))),
    }
}

fn may_pull(name: &Name, pull: Pull) -> bool {
    match name {
        Name::Reference(_) => pull == Pull::Missing,
        Name::Digest(_) => false,
    }
}

/// Returns what `name` stands for in the store; `None` if that is for another platform.
fn look_up(
    store: &Store,
    name: &Name,
    platform: &Platform,
) -> corten_content::Result<Option<Found>> {
    let content = store.resolve_for(&name.to_string(), platform)?;
    let documents = match load_image(store, &content, platform) {
        Err(corten_content::Error::NoPlatform { .. }) => return Ok(None),
        other => other?,
    };
    // Whoever gives a digest has chosen.
    let is_chosen = match name {
        Name::Digest(_) => true,
        Name::Reference(reference) => reference.digest().is_some(),
    };
    let fits = is_chosen || runs_on(platform, &documents.config.value.platform());
    Ok(fits.then_some(Found { content, documents }))
}

/// Tells whether a single image that was named may be used: one for a higher variant than is usual is,
/// unless a variant was asked for.
fn runs_on(wanted: &Platform, offered: &Platform) -> bool {
    let wanted = wanted.normalized();
    let any_variant = Platform {
        variant: wanted.variant.clone(),
        ..offered.clone()
    };
    wanted.runs(offered) || (wanted.variant.is_none() && wanted.runs(&any_variant))
}

/// Copies an image from a place outside into the store, where nothing names it.
fn bring(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
    platform: &Platform,
) -> Result<Found, CommandError> {
    let opened = place.open(ctx, registry)?;
    let bring = || {
        let part = Part::Platform(platform.clone());
        let content = part.of(&*opened.source, opened.resolve(platform)?)?;
        let receiving = Receiving::new(ctx.snapshots(store));
        fetch(ctx, &*opened.source, &receiving, &content, registry.jobs)?;
        let documents = load_image(store, &content, platform)?;
        Ok(Found { content, documents })
    };
    bring().map_err(|error: corten_content::Error| {
        CommandError::doing(format!("cannot use `{place}`"), error)
    })
}
