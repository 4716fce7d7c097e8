//! Where the result of `corten build` goes.

use std::path::PathBuf;

use clap::Args;
use corten_build::{BuildRequest, Built};
use corten_content::{Sink as _, Store, atomic, load_image};
use corten_spec::Reference;
use corten_transport::Format;

use super::{BuildArgs, caches, metadata};
use crate::context::Context;
use crate::conversion::{self, DocumentFormat};
use crate::error::CommandError;
use crate::outputs::{BuildOutput, OutputSpec};
use crate::places::Place;
use crate::rootfs::{self, TarOptions};
use crate::transfer::{Part, transfer_as};

/// Where the result goes.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// Write the result elsewhere, too: `type=oci|docker|oci-layout|local|tar,dest=PATH`, or
    /// `type=registry`
    #[arg(long, short, value_name = "KIND,dest=PATH")]
    pub(crate) output: Vec<OutputSpec>,
    /// Push the image to the registries of its names
    #[arg(long)]
    pub(crate) push: bool,
    /// Write the image id, the digest of the config, to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,
    /// Write what was built to this file, as JSON with the keys of buildx
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Write documents in this format besides the store, which has the image specification's
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<DocumentFormat>,
}

/// Writes what was built wherever it is to be.
pub(super) fn write(
    args: &BuildArgs,
    ctx: &Context,
    store: &Store,
    (request, built): (&BuildRequest, &Built),
    names: &[Reference],
) -> Result<(), CommandError> {
    let result = Finished {
        args,
        ctx,
        store,
        request,
        built,
    };
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
    request: &'a BuildRequest,
    built: &'a Built,
}

impl Finished<'_> {
    fn write(&self, spec: &OutputSpec, names: &[Reference]) -> Result<(), CommandError> {
        let name = names.first().map(ToString::to_string).unwrap_or_default();
        let format = spec.format.or(self.args.outputs.format);
        let snapshots = self.ctx.snapshots(self.store);
        let load = || {
            let platform = self.args.image.platform();
            load_image(self.store, &self.built.manifest, &platform).map_err(CommandError::caused)
        };
        match &spec.to {
            BuildOutput::Store => match &spec.name {
                Some(name) => call(self.store, name, self.built),
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
            BuildOutput::Directory(path) => rootfs::write_directory(&snapshots, &load()?, path),
            BuildOutput::Tar(path) => {
                rootfs::write_tar(&snapshots, &load()?, path, &TarOptions::PLAIN)
            }
        }
    }

    fn push(
        &self,
        names: &[Reference],
        format: Option<DocumentFormat>,
    ) -> Result<(), CommandError> {
        if names.is_empty() {
            let error = CommandError::usage("an image without a name cannot be pushed");
            return Err(error.hint("name it with `--tag`"));
        }
        names
            .iter()
            .try_for_each(|name| self.send(&Place::Registry(name.clone()), format))
    }

    fn send(&self, place: &Place, format: Option<DocumentFormat>) -> Result<(), CommandError> {
        let (ctx, registry) = (self.ctx, &self.args.registry);
        let send = || {
            // Docker's archives are of images alone.
            let root = match place {
                Place::Archive(Format::Docker, ..) => &self.built.manifest,
                _ => self.built.root(),
            };
            let built = caches::open_built(self.args, ctx, self.request, root)?;
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

/// Writes what was built to the files that were asked for, and prints the digest of what the names stand for.
pub(super) fn report(
    args: &BuildArgs,
    ctx: &Context,
    store: &Store,
    built: &Built,
    names: &[Reference],
) -> Result<(), CommandError> {
    let outputs = &args.outputs;
    let mut files = vec![
        (&outputs.iidfile, built.image_id.to_string()),
        (&outputs.digest_file, built.root().digest.to_string()),
    ];
    if outputs.metadata_file.is_some() {
        let metadata = metadata::of(store, built, names)?;
        files.push((&outputs.metadata_file, format!("{metadata:#}")));
    }
    for (path, text) in files {
        if let Some(path) = path {
            // Without a line break, as other builders write it.
            atomic::write(path, text.as_bytes()).map_err(CommandError::caused)?;
        }
    }
    ctx.output.data(built.root().digest.as_str())
}

/// Gives the image a name in the store.
pub(super) fn call(store: &Store, name: &Reference, built: &Built) -> Result<(), CommandError> {
    let named = store.tag(&name.to_string(), built.root());
    named.map_err(|error| CommandError::doing(format!("cannot call the image `{name}`"), error))
}
