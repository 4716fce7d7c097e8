//! Where the result of `corten build` goes.

use std::path::{Path, PathBuf};

use clap::Args;
use corten_content::{ImageDocuments, Sink as _, Store, atomic, load_image};
use corten_spec::{Descriptor, Reference};
use corten_transport::Format;

use super::outcome::{Image, Outcome};
use super::{BuildArgs, caches, metadata};
use crate::context::Context;
use crate::conversion::{self, DocumentFormat};
use crate::error::CommandError;
use crate::lazy::LazyImages;
use crate::outputs::{BuildOutput, OutputSpec};
use crate::places::{Name, Opened, Place};
use crate::rootfs::{self, TarOptions};
use crate::transfer::{Part, transfer_as};

/// Where the result goes.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the result elsewhere, too: `type=oci|docker|oci-layout|local|tar,dest=PATH`, where `-` is
    /// standard output for what is one file, or `type=registry`
    #[arg(long, short, value_name = "KIND,dest=PATH")]
    pub(crate) output: Vec<OutputSpec>,
    /// Push the image to the registries of its names
    #[arg(long)]
    pub(crate) push: bool,
    /// Write the image id, the digest of the config, to this file; that of the index where there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write the digest of the manifest or index to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,
    /// Write what was built to this file, as JSON with the keys of buildx
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Write documents in this format besides the store, which has the image specification's
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<DocumentFormat>,
}

impl OutputArgs {
    /// Tells whether a result goes to standard output.
    pub(crate) fn has_stdout(&self) -> bool {
        self.output.iter().any(OutputSpec::is_stdout)
    }

    /// Refuses what standard output has no place for.
    pub(super) fn check(&self) -> Result<(), CommandError> {
        let n_there = self.output.iter().filter(|spec| spec.is_stdout()).count();
        match n_there {
            0 => Ok(()),
            1 => rootfs::refuse_terminal(Path::new("-")),
            _ => Err(CommandError::usage(
                "standard output has a place for one output",
            )),
        }
    }
}

/// Writes what was built of one target wherever it is to be.
pub(super) fn write(
    args: &BuildArgs,
    ctx: &Context,
    (store, images): (&Store, &LazyImages),
    outcome: &Outcome,
) -> Result<(), CommandError> {
    let result = Finished {
        args,
        ctx,
        store,
        images,
        outcome,
    };
    let names = &outcome.wanted.names;
    for spec in &args.outputs.output {
        match &spec.name {
            Some(name) => result.write(spec, std::slice::from_ref(name))?,
            None => result.write(spec, names)?,
        }
    }
    if args.outputs.push {
        result.push(names, args.outputs.format)?;
    }
    Ok(())
}

/// A build that is done.
struct Finished<'a> {
    args: &'a BuildArgs,
    ctx: &'a Context,
    store: &'a Store,
    images: &'a LazyImages,
    outcome: &'a Outcome,
}

impl Finished<'_> {
    fn write(&self, spec: &OutputSpec, names: &[Reference]) -> Result<(), CommandError> {
        let name = names.first().map(ToString::to_string).unwrap_or_default();
        let format = spec.format.or(self.args.outputs.format);
        match &spec.to {
            BuildOutput::Store => match &spec.name {
                Some(name) => call(self.store, name, &self.outcome.root),
                None => Ok(()),
            },
            BuildOutput::Registry => self.push(names, format),
            BuildOutput::OciArchive(path) => {
                self.send(&Place::Archive(Format::Oci, path.clone(), name), format)
            }
            BuildOutput::DockerArchive(path) => {
                self.send(&Place::Archive(Format::Docker, path.clone(), name), format)
            }
            BuildOutput::Layout(path) => self.send(&Place::Layout(path.clone(), name), format),
            BuildOutput::Directory(path) => self.write_directories(path),
            BuildOutput::Tar(path) => self.outcome.images.iter().try_for_each(|image| {
                let snapshots = self.ctx.snapshots(self.store);
                rootfs::write_tar(&snapshots, &self.load(image)?, path, &TarOptions::PLAIN)
            }),
        }
    }

    /// Each of several platforms has a directory of its own, called as buildx does.
    fn write_directories(&self, path: &Path) -> Result<(), CommandError> {
        let snapshots = self.ctx.snapshots(self.store);
        for image in &self.outcome.images {
            let documents = self.load(image)?;
            let path = match self.outcome.only_image() {
                Some(_) => path.to_owned(),
                None => path.join(image.request.platform.to_string().replace('/', "_")),
            };
            rootfs::write_directory(&snapshots, &documents, &path)?;
        }
        Ok(())
    }

    fn load(&self, image: &Image) -> Result<ImageDocuments, CommandError> {
        let documents = load_image(self.store, &image.built.manifest, &image.request.platform);
        documents.map_err(CommandError::caused)
    }

    fn push(
        &self,
        names: &[Reference],
        format: Option<DocumentFormat>,
    ) -> Result<(), CommandError> {
        names
            .iter()
            .try_for_each(|name| self.send(&Place::Registry(name.clone()), format))
    }

    fn open(&self, root: &Descriptor) -> Result<Opened, CommandError> {
        let (args, ctx) = (self.args, self.ctx);
        match self.outcome.only_image() {
            Some(image) => caches::open_built((args, ctx), &image.request, self.images, root),
            // The layers of several are all in the store.
            None => Place::Store(Name::Digest(root.digest.clone())).open(ctx, &args.registry),
        }
    }

    fn send(&self, place: &Place, format: Option<DocumentFormat>) -> Result<(), CommandError> {
        let (ctx, registry) = (self.ctx, &self.args.registry);
        let send = || {
            // Docker's archives are of images alone.
            let root = match (place, self.outcome.only_image()) {
                (Place::Archive(Format::Docker, ..), Some(image)) => &image.built.manifest,
                _ => &self.outcome.root,
            };
            let built = self.open(root)?;
            let destination = place.create(ctx, registry)?;
            // Docker's documents have no place for annotations, and who asks for them knows.
            let conversion = format.map(|format| conversion::options(format, true));
            transfer_as(
                ctx,
                &built,
                destination,
                &Part::All,
                registry.jobs,
                conversion,
            )
        };
        let sent = send().map(drop);
        sent.map_err(|error| error.while_doing(format!("cannot write the image to `{place}`")))
    }
}

/// Writes what was built to the files that were asked for, and prints the digest of what the names of each
/// target stand for.
pub(super) fn report(
    args: &BuildArgs,
    ctx: &Context,
    outcomes: &[Outcome],
) -> Result<(), CommandError> {
    let outputs = &args.outputs;
    let mut files = Vec::new();
    for outcome in outcomes {
        let digest = outcome.root.digest.to_string();
        let image = outcome.only_image();
        let image_id =
            image.map_or_else(|| digest.clone(), |image| image.built.image_id.to_string());
        files.push((&outputs.iidfile, image_id));
        files.push((&outputs.digest_file, digest));
    }
    if outputs.metadata_file.is_some() {
        let metadata = metadata::of(outcomes, metadata::provenance(ctx)?);
        files.push((&outputs.metadata_file, format!("{metadata:#}")));
    }
    for (path, text) in files {
        if let Some(path) = path {
            // Without a line break, as other builders write it.
            atomic::write(path, text.as_bytes()).map_err(CommandError::caused)?;
        }
    }
    let mut roots = outcomes.iter().map(|outcome| &outcome.root);
    let is_taken = outputs.has_stdout();
    roots.try_for_each(|root| ctx.output.digest(&root.digest, is_taken))
}

/// Gives the image a name in the store.
pub(super) fn call(store: &Store, name: &Reference, root: &Descriptor) -> Result<(), CommandError> {
    let named = store.tag(&name.to_string(), root);
    named.map_err(|error| CommandError::doing(format!("cannot call the image `{name}`"), error))
}
