//! `corten blob`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use corten_content::{IngestPlan, Sink, open};
use corten_registry::Repository;
use corten_spec::{Algorithm, Descriptor, Digest, Hasher, Reference};

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::registry::{RegistryArgs, in_registry, show_warnings};

/// Read and write blobs of registries
#[derive(Debug, Args)]
pub(crate) struct BlobArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print a blob, byte for byte
    Get(BlobNameArgs),
    /// Put a file into a registry as a blob, and print its digest
    Put(PutArgs),
    /// Print the digest and the size of a blob
    Head(HeadArgs),
}

/// Which blob.
#[derive(Debug, Args)]
struct BlobNameArgs {
    /// Which blob: NAME@DIGEST
    #[arg(value_name = "NAME", value_parser = in_registry)]
    name: Reference,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Which blob, and how to print what it is.
#[derive(Debug, Args)]
struct HeadArgs {
    #[command(flatten)]
    blob: BlobNameArgs,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What goes where.
#[derive(Debug, Args)]
struct PutArgs {
    /// The repository that it goes to
    #[arg(value_name = "NAME", value_parser = in_registry)]
    name: Reference,
    /// The file, or `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The algorithm of its digest
    #[arg(long, value_name = "NAME", default_value = "sha256", value_parser = algorithm)]
    algorithm: Algorithm,
    /// Hash the file, tell whether the registry has it, and put nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print what was put
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::named(text).ok_or_else(|| "expected `sha256`, `sha384`, `sha512` or `blake3`".into())
}

pub(crate) fn run(args: &BlobArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    match &args.verb {
        Verb::Get(args) => get(args, ctx)?,
        Verb::Put(args) => put(args, ctx)?,
        Verb::Head(args) => head(args, ctx)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl BlobNameArgs {
    /// Does `work` with the blob that is named.
    fn with_blob<T>(
        &self,
        ctx: &Context,
        work: impl FnOnce(&Repository, Descriptor) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let digest = self.name.digest().ok_or_else(|| {
            CommandError::usage(format!("`{}` is no blob", self.name))
                .hint("name it by its digest, as in `NAME@sha256:…`")
        })?;
        let (repository, client) = self.registry.repository(ctx, &self.name)?;
        let blob = repository.blob(digest).map_err(CommandError::caused);
        let done = blob.and_then(|blob| work(&repository, blob));
        show_warnings(ctx, &client);
        done.map_err(|error| error.while_doing(format!("cannot read the blob `{}`", self.name)))
    }
}

fn get(args: &BlobNameArgs, ctx: &Context) -> Result<(), CommandError> {
    args.with_blob(ctx, |repository, blob| {
        let mut content = open(repository, &blob).map_err(CommandError::caused)?;
        ctx.output.copy(&mut content)
    })
}

fn head(args: &HeadArgs, ctx: &Context) -> Result<(), CommandError> {
    let blob = args.blob.with_blob(ctx, |_, blob| Ok(blob))?;
    show(ctx, args.format, &blob)
}

fn show(ctx: &Context, format: Format, blob: &Descriptor) -> Result<(), CommandError> {
    match format {
        Format::Json => ctx.output.json(blob),
        Format::Text => ctx.output.data(&format!("{} {}", blob.digest, blob.size)),
    }
}

fn put(args: &PutArgs, ctx: &Context) -> Result<(), CommandError> {
    let doing = format!("cannot put a blob to `{}`", args.name.name());
    let blob = put_blob(args, ctx).map_err(|error| error.while_doing(doing))?;
    match args.format {
        Format::Json => ctx.output.json(&blob),
        Format::Text => ctx.output.data(blob.digest.as_str()),
    }
}

fn put_blob(args: &PutArgs, ctx: &Context) -> Result<Descriptor, CommandError> {
    // A stream is read once: what it is, is known at its end.
    let known = if args.file.as_os_str() == "-" && !args.dry_run {
        None
    } else {
        Some(describe(&args.file, args.algorithm)?)
    };
    let (repository, client) = args.registry.repository(ctx, &args.name)?;
    let sent = send(args, ctx, &repository, known.as_ref());
    show_warnings(ctx, &client);
    sent
}

fn send(
    args: &PutArgs,
    ctx: &Context,
    repository: &Repository,
    known: Option<&Descriptor>,
) -> Result<Descriptor, CommandError> {
    if let Some(content) = known {
        let is_there = repository.contains(content).map_err(CommandError::caused)?;
        if args.dry_run && !is_there {
            ctx.output.note("it is not there");
        }
        if args.dry_run || is_there {
            return Ok(content.clone());
        }
    }
    let plan = match known {
        Some(content) => IngestPlan::of(content).map_err(CommandError::caused)?,
        None => IngestPlan {
            algorithm: args.algorithm,
            ..IngestPlan::unknown()
        },
    };
    let mut ingest = repository.ingest(&plan).map_err(CommandError::caused)?;
    // All of it may be there already, mounted from another repository.
    let is_whole = known.is_some_and(|content| content.size > 0 && ingest.offset() == content.size);
    if !is_whole {
        io::copy(&mut open_input(&args.file)?, &mut ingest).map_err(CommandError::caused)?;
    }
    let (digest, size) = ingest.commit(known).map_err(CommandError::caused)?;
    Ok(Descriptor::new(OCTETS, digest, size))
}

const OCTETS: &str = "application/octet-stream";

fn describe(path: &Path, algorithm: Algorithm) -> Result<Descriptor, CommandError> {
    let (mut hasher, mut input) = (Hasher::new(algorithm), open_input(path)?);
    let size = io::copy(&mut input, &mut Hashing(&mut hasher)).map_err(CommandError::caused)?;
    let digest: Digest = hasher.finish();
    Ok(Descriptor::new(OCTETS, digest, size))
}

struct Hashing<'a>(&'a mut Hasher);

impl io::Write for Hashing<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a file to read; `-` is standard input.
pub(super) fn open_input(path: &Path) -> Result<Box<dyn Read>, CommandError> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path);
    let file = file
        .map_err(|error| CommandError::doing(format!("cannot open `{}`", path.display()), error))?;
    Ok(Box::new(file))
}
