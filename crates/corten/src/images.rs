//! Finding an image that a command works on: in the local store, and in its registry if need be.

use clap::ValueEnum;
use corten_content::{Error, ImageDocuments, Source, Store, load_image};
use corten_snapshot::Receiving;
use corten_spec::Descriptor;

use crate::context::Context;
use crate::error::CommandError;
use crate::lazy::LazyImages;
use crate::places::{Name, Place};
use crate::registry::RegistryArgs;
use crate::selection::Selection;
use crate::transfer::{self, Part, Purpose, fetch};
use crate::wanted::Wanted;

/// When a registry is asked for an image that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Pull {
    /// If it is not in the local store
    #[default]
    #[value(alias = "false")]
    Missing,
    /// Every time
    #[value(alias = "true")]
    Always,
    /// Never
    Never,
}

/// An image that is in the local store, whole, or whose layers come when they are needed.
#[derive(Debug)]
pub(crate) struct Found {
    /// What its name stands for.
    pub(crate) content: Descriptor,
    /// Its documents.
    pub(crate) documents: ImageDocuments,
}

/// How images of registries are had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pulling<'a> {
    /// When registries are asked.
    pub(crate) when: Pull,
    /// Takes images whose layers are to come later, if they may; else they are pulled at once.
    pub(crate) lazily: Option<&'a LazyImages>,
}

impl From<Pull> for Pulling<'_> {
    fn from(when: Pull) -> Self {
        Self { when, lazily: None }
    }
}

/// Finds the `wanted` image in `place`, and copies it into `store` unless it is there or may come later.
pub(crate) fn find(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
    wanted: &Wanted,
    pulling: Pulling<'_>,
) -> Result<Found, CommandError> {
    let name = match place {
        Place::Store(name) => return find_named(ctx, store, registry, name, wanted, pulling),
        Place::Registry(reference) => Name::Reference(reference.clone()),
        Place::Layout(..) | Place::Archive(..) => {
            return bring(ctx, store, registry, place, wanted);
        }
    };
    let pulling = Pulling {
        when: Pull::Always,
        ..pulling
    };
    find_named(ctx, store, registry, &name, wanted, pulling)
}

/// Finds the `wanted` image in `place` to read its files. What is in no store of ours is copied
/// into it and gets no name there, so that the next look is cheap and `gc` takes it.
pub(crate) fn find_to_read(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
    wanted: &Wanted,
) -> Result<Found, CommandError> {
    match place {
        Place::Store(name) => find_named(ctx, store, registry, name, wanted, Pull::Missing.into()),
        Place::Registry(_) | Place::Layout(..) | Place::Archive(..) => {
            bring(ctx, store, registry, place, wanted)
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
        let whole = Selection::whole(&*opened.source, &opened.name)?;
        if !matches!(place, Place::Store(_)) {
            fetch(ctx, &whole, store, &whole.root, registry.jobs)?;
        }
        Ok(whole.root)
    };
    bring().map_err(|error: Error| CommandError::doing(format!("cannot use `{place}`"), error))
}

fn find_named(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    name: &Name,
    wanted: &Wanted,
    pulling: Pulling<'_>,
) -> Result<Found, CommandError> {
    let pull = pulling.when;
    let mut doing = format!("cannot pull `{name}`");
    if pull != Pull::Always || matches!(name, Name::Digest(_)) {
        match look_up(store, name, wanted) {
            Ok(found) => return Ok(found),
            Err(error) if may_pull(name, pull) && error.is_not_found() => {
                doing = format!("cannot pull `{name}`, which is not in the local store");
            }
            Err(Error::NoPlatform { offered, .. }) if may_pull(name, pull) && !has_digest(name) => {
                let (wanted, there) = (&wanted.platform, offered.join(", "));
                doing = format!(
                    "cannot pull `{name}` for {wanted}; in the local store it is for {there}"
                );
            }
            Err(error @ Error::NoPlatform { .. }) if !has_digest(name) => {
                return Err(
                    CommandError::caused(error).hint("let it be pulled with `--pull missing`")
                );
            }
            Err(error) => return Err(CommandError::caused(error)),
        }
    }
    if let (Some(lazy), Name::Reference(reference)) = (pulling.lazily, name) {
        let found = lazy.find((ctx, registry), store, reference, (wanted, pull));
        return found.map_err(|error| error.while_doing(doing));
    }
    ctx.output.note(&format!("pulling {name}"));
    let part = Part::Platform(wanted.clone());
    transfer::pull(ctx, registry, name, &part, Purpose::Use)
        .map_err(|error| error.while_doing(doing))?;
    look_up(store, name, wanted).map_err(CommandError::caused)
}

fn may_pull(name: &Name, pull: Pull) -> bool {
    match name {
        Name::Reference(_) => pull == Pull::Missing,
        Name::Digest(_) => false,
    }
}

/// Tells whether `name` can never stand for anything else.
fn has_digest(name: &Name) -> bool {
    match name {
        Name::Digest(_) => true,
        Name::Reference(reference) => reference.digest().is_some(),
    }
}

/// Returns what `name` stands for in the store.
fn look_up(store: &Store, name: &Name, wanted: &Wanted) -> corten_content::Result<Found> {
    let place = name.to_string();
    let content = store.resolve_for(&place, &wanted.platform)?;
    let documents = load_image(store, &content, &wanted.platform)?;
    // Whoever gives a digest has chosen, unless a platform is named, too.
    if wanted.is_asked || !has_digest(name) {
        wanted.require(&documents.config.value, &place)?;
    }
    Ok(Found { content, documents })
}

/// Copies an image from a place outside into the store, where nothing names it.
fn bring(
    ctx: &Context,
    store: &Store,
    registry: &RegistryArgs,
    place: &Place,
    wanted: &Wanted,
) -> Result<Found, CommandError> {
    let opened = place.open(ctx, registry)?;
    let bring = || {
        let part = Part::Platform(wanted.clone());
        let content = part.choose(&*opened.source, &opened.name)?.root;
        let receiving = Receiving::new(ctx.snapshots(store));
        fetch(ctx, &*opened.source, &receiving, &content, registry.jobs)?;
        let documents = load_image(store, &content, &wanted.platform)?;
        Ok(Found { content, documents })
    };
    bring().map_err(|error: Error| CommandError::doing(format!("cannot use `{place}`"), error))
}
