//! What comes of a build: an image, or an index of images and of what is stated about them.

use corten_build::{BuildRequest, Built, put_index};
use corten_content::{Store, load_image};
use corten_image::{SquashOptions, squash};
use corten_spec::{Descriptor, ImageId, Platform};

use super::BuildArgs;
use super::annotations::{self, Annotated};
use super::attesting::AttestingArgs;
use super::several::Wanted;
use crate::error::CommandError;

/// The image of one platform, and what was asked for.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) request: BuildRequest,
    pub(super) built: Built,
}

impl Image {
    /// Makes one layer of those that came after the base image's; empty steps stay in the history.
    pub(super) fn squash(&mut self, store: &Store) -> Result<(), CommandError> {
        let n_kept = self.built.n_base_layers;
        if self.built.layers.len() <= n_kept + 1 {
            return Ok(());
        }
        let load = |manifest: &Descriptor| {
            load_image(store, manifest, &self.request.platform).map_err(CommandError::caused)
        };
        let options = SquashOptions {
            n_kept,
            created_by: "corten build --squash".to_owned(),
            pack: self.request.pack,
        };
        let image = load(&self.built.manifest)?;
        let manifest = squash(store, &image, &options).map_err(CommandError::caused)?;
        let config = load(&manifest)?.manifest.value.config;
        self.built.image_id = ImageId(config.digest);
        self.built.manifest = manifest;
        self.built.is_squashed = true;
        Ok(())
    }
}

/// What was built of one target.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) wanted: Wanted,
    /// What its names stand for: the image, or the index.
    pub(super) root: Descriptor,
    /// The image of each platform, in the order in which they were asked for; there is at least one.
    pub(super) images: Vec<Image>,
}

impl Outcome {
    /// Stores what holds `images` together and what is to be stated about them.
    pub(super) fn new(
        args: &BuildArgs,
        store: &Store,
        wanted: Wanted,
        images: Vec<Image>,
    ) -> Result<Self, CommandError> {
        let entries = images.iter().map(|image| entry(args, image));
        let mut entries: Vec<Descriptor> = entries.collect();
        if args.attesting.is_asked() {
            // They come after all images, as BuildKit has it.
            let form = AttestingArgs::form(args)?;
            for image in &images {
                let entry = args.attesting.attest(store, image, form, &wanted.names);
                entries.push(entry?);
            }
        }
        let root = match <[Descriptor; 1]>::try_from(entries) {
            Ok([only]) => only,
            Err(entries) => {
                let annotations = annotations::of(&args.image.annotation, Annotated::Index, None);
                put_index(store, entries, &annotations).map_err(CommandError::caused)?
            }
        };
        Ok(Self {
            wanted,
            root,
            images,
        })
    }

    /// Returns the only image; `None` if there is one for each of several platforms.
    pub(super) fn only_image(&self) -> Option<&Image> {
        match self.images.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }
}

/// Returns what an index says of an image.
fn entry(args: &BuildArgs, image: &Image) -> Descriptor {
    let mut entry = image.built.manifest.clone();
    // The config says it, too; the names are those that were asked for.
    entry.platform = Some(Platform::clone(&image.request.platform));
    let platform = Some(&image.request.platform);
    let kind = Annotated::ManifestDescriptor;
    let annotations = annotations::of(&args.image.annotation, kind, platform);
    entry.annotations.extend(annotations);
    entry
}
