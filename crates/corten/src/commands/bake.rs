//! `corten bake`

mod allow;
mod list;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser};
use corten_bake::{Baked, Definition, File, Override, Request, bake, definition};
use corten_content::atomic;
use corten_spec::{Digest, Platform};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::build::{self, BuildArgs};
use crate::bases::{NamedContext, short_name};
use crate::context::Context;
use crate::env;
use crate::error::CommandError;
use crate::places::{Name, Place};
use crate::progress::Style;
use allow::Allowed;
use list::Listing;

/// Build what a bake file or a compose file defines
///
/// Files are read in order, and a later one changes what an earlier one says; paths in them are taken
/// from the working directory. Everything is checked before anything is built. Prints the digest of
/// each target that was asked for.
#[derive(Debug, Args)]
pub(crate) struct BakeArgs {
    /// Targets and groups [default: default]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Read this file: HCL, JSON or, by its ending, YAML of compose, or `-` for HCL on standard input; may be
    /// repeated [default: those that are there of compose.yaml, compose.yml, docker-compose.yml,
    /// docker-compose.yaml, docker-bake.json, docker-bake.hcl, docker-bake.override.json and
    /// docker-bake.override.hcl]
    #[arg(long, short, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Print what would be built, as JSON of buildx
    #[arg(long)]
    print: bool,
    /// List what could be asked for, and build nothing: `targets` or `variables`, or `type=targets,format=json`
    #[arg(long, value_name = "WHAT", conflicts_with = "print")]
    list: Option<Listing>,
    /// Let targets use `network.host`, `security.insecure`, `ssh`, or paths outside of the working directory:
    /// `fs.read=PATH`, `fs.write=PATH` or `fs=PATH`; may be repeated
    #[arg(long, value_name = "WHAT")]
    allow: Vec<Allowed>,
    #[command(flatten)]
    changes: ChangeArgs,
    /// Set a variable of the files, before the environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    var: Vec<(String, String)>,
    /// Put the images into the local store, as is always done
    #[arg(long, hide = true)]
    load: bool,
    /// Write what was built of each target to this file, as JSON with the keys of buildx
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// How to show what happens
    #[arg(long, value_enum, default_value_t)]
    progress: Style,
}

/// What is changed of the targets.
#[derive(Debug, Args)]
struct ChangeArgs {
    /// Change an attribute of targets: `TARGET.KEY=VALUE`, or `+=` to add to a list; `*` in TARGET stands
    /// for any text
    #[arg(long, value_name = "TARGET.KEY=VALUE")]
    set: Vec<Override>,
    /// Push each target to the registries of its names
    #[arg(long)]
    push: bool,
    /// Run every step
    #[arg(long)]
    no_cache: bool,
    /// Ask registries for base images
    #[arg(long)]
    pull: bool,
    /// State how each target was built: `true`, `false`, or its options, such as `mode=max`
    #[arg(long, value_name = "VALUE")]
    provenance: Option<String>,
    /// Bills of materials are not made: only `false`
    #[arg(long, value_name = "VALUE", value_parser = no_bill)]
    sbom: Option<String>,
}

impl ChangeArgs {
    /// Returns all changes as those of `--set`.
    fn overrides(&self) -> Result<Vec<Override>, String> {
        let flags = [
            (self.push, "*.push=true"),
            (self.no_cache, "*.no-cache=true"),
            (self.pull, "*.pull=true"),
        ];
        let flags = flags.iter().filter(|(is_given, _)| *is_given);
        let flags = flags.map(|(_, text)| (*text).to_owned());
        let provenance = self.provenance.iter().map(|value| match value.as_str() {
            "true" => "*.attest=type=provenance".to_owned(),
            "false" => "*.attest=type=provenance,disabled=true".to_owned(),
            options => format!("*.attest=type=provenance,{options}"),
        });
        let more = flags.chain(provenance).map(|text| text.parse());
        let mut all = self.set.clone();
        all.extend(more.collect::<Result<Vec<_>, _>>()?);
        Ok(all)
    }
}

fn no_bill(text: &str) -> Result<String, String> {
    if text == "false" {
        return Ok(text.to_owned());
    }
    Err("bills of materials are not made; run a scanner on the image".to_owned())
}

/// Reads `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The arguments of a build, without a program before them.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Build {
    #[command(flatten)]
    args: BuildArgs,
}

/// Tells whether something may be run. What that is, is not known before it is built.
pub(crate) fn needs_root(args: &BakeArgs) -> bool {
    !args.print && args.list.is_none() && super::kaniko::needs_root()
}

/// A build that is ready to begin.
struct Ready {
    name: String,
    args: BuildArgs,
    needs: Vec<(String, String)>,
    /// Keeps the Dockerfile that the target itself has.
    _inline: Option<NamedTempFile>,
}

pub(crate) fn run(args: &BakeArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    if let Some(listing) = args.list {
        with_request(args, |request| list::run(listing, request, ctx))?;
        return Ok(ExitCode::SUCCESS);
    }
    let baked = with_request(args, |request| bake(request).map_err(CommandError::caused))?;
    if args.print {
        ctx.output.json(&baked.to_json())?;
        return Ok(ExitCode::SUCCESS);
    }
    let with_paths = ctx.env.bake_checks_paths.as_deref().is_none_or(is_true);
    allow::check(&baked, &args.allow, with_paths)?;
    let ready = baked.order.iter().map(|name| ready(args, &baked, name));
    let ready: Vec<Ready> = ready.collect::<Result<_, _>>()?;
    let mut built: BTreeMap<String, Digest> = BTreeMap::new();
    let mut metadata = Map::new();
    // Images have no names while they wait for those that need them; these keep `gc` from taking them.
    let mut stores = Vec::new();
    for mut one in ready {
        for (context, target) in &one.needs {
            if let Some(digest) = built.get(target) {
                let place = Place::Store(Name::Digest(digest.clone()));
                let context = (short_name(context), NamedContext::Image(place));
                one.args.sources.build_context.push(context);
            }
        }
        ctx.output
            .note(&format!("building the target {}", one.name));
        let doing = |error: CommandError| {
            error.while_doing(format!("cannot build the target `{}`", one.name))
        };
        let done = build::one(&one.args, ctx).map_err(doing)?;
        metadata.insert(one.name.clone(), done.metadata);
        built.insert(one.name, done.digest);
        stores.push(done.store);
    }
    if let Some(path) = &args.metadata_file {
        let text = format!("{:#}", Value::Object(metadata));
        atomic::write(path, text.as_bytes()).map_err(CommandError::caused)?;
    }
    let asked = baked.asked.iter().filter_map(|name| built.get(name));
    for digest in asked {
        ctx.output.data(digest.as_str())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells whether a variable of Go's programs says yes; what is none of their words is none for no.
fn is_true(text: &str) -> bool {
    !matches!(text, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

/// Does `work` with what the files and the arguments ask for.
fn with_request<T>(
    args: &BakeArgs,
    work: impl FnOnce(&Request<'_>) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    if let Some(url) = args.targets.iter().find(|name| name.contains("://")) {
        let text = format!("`{url}` is no target, and bake files are not fetched");
        return Err(CommandError::usage(text).hint("clone the repository, and name its file"));
    }
    let files = files(&args.file)?;
    let given: BTreeMap<_, _> = args.var.iter().cloned().collect();
    let lookup = |name: &str| {
        let given = given.get(name).cloned();
        given.or_else(|| env::lookup_even_empty(name))
    };
    let env_file = match fs::exists(".env") {
        Ok(true) => read(Path::new(".env"))?.text,
        Ok(false) | Err(_) => String::new(),
    };
    let overrides = args.changes.overrides().map_err(CommandError::usage)?;
    let request = Request {
        files: &files,
        environment: &lookup,
        open: &|name| {
            let file = read(Path::new(name)).map_err(|error| error.into_cause().to_string())?;
            Ok(file.text)
        },
        env_file: &env_file,
        platform: &Platform::host().to_string(),
        now: &now(),
        names: &args.targets,
        overrides: &overrides,
    };
    work(&request)
}

/// Returns the time to the second.
fn now() -> String {
    let now = jiff::Timestamp::now().as_second();
    let now = jiff::Timestamp::from_second(now);
    now.map_or_else(|_| String::new(), |now| now.to_string())
}

fn ready(args: &BakeArgs, baked: &Baked, name: &str) -> Result<Ready, CommandError> {
    let nothing = Map::new();
    let target = baked.targets.get(name).unwrap_or(&nothing);
    let definition = definition(name, target).map_err(CommandError::caused)?;
    let inline = definition.inline.as_deref().map(inline).transpose()?;
    let mut args = parsed(args, name, &definition, inline.as_ref())?;
    if args.outputs.has_stdout() {
        let text = format!("the target `{name}` cannot be written to standard output");
        return Err(CommandError::usage(text)
            .hint("the digests of all targets are printed there; name a file"));
    }
    let mut targets = baked.targets.values();
    if targets.any(|other| needs(other, name)) {
        // The layers of what others are built on have to be here, and not only in a registry.
        let here = "type=image".parse().map_err(CommandError::usage)?;
        args.outputs.output.push(here);
    }
    Ok(Ready {
        name: name.to_owned(),
        args,
        needs: definition.needs,
        _inline: inline,
    })
}

fn needs(target: &Map<String, Value>, name: &str) -> bool {
    let contexts = target.get("contexts").and_then(Value::as_object);
    let mut places = contexts
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_str);
    places.any(|place| place.strip_prefix("target:") == Some(name))
}

fn parsed(
    bake: &BakeArgs,
    name: &str,
    definition: &Definition,
    inline: Option<&NamedTempFile>,
) -> Result<BuildArgs, CommandError> {
    let refused = |error: clap::Error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let first = first.strip_prefix("error: ").unwrap_or(first);
        CommandError::usage(format!("the target `{name}` cannot be built: {first}"))
    };
    let mut args = Build::try_parse_from(&definition.args)
        .map_err(refused)?
        .args;
    args.progress = bake.progress;
    if let Some(file) = inline {
        args.sources.file = Some(file.path().to_owned());
    }
    build::check(&args)?;
    Ok(args)
}

fn inline(text: &str) -> Result<NamedTempFile, CommandError> {
    let write = || {
        let mut file = NamedTempFile::with_prefix("Dockerfile-")?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| CommandError::doing("cannot keep a Dockerfile", error))
}

/// Those that are there are read, in this order.
const USUAL: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

fn files(named: &[PathBuf]) -> Result<Vec<File>, CommandError> {
    let is_there = |name: &&&str| fs::exists(name).unwrap_or_default();
    let usual = USUAL.iter().filter(is_there).map(PathBuf::from);
    let paths: Vec<_> = if named.is_empty() {
        usual.collect()
    } else {
        named.to_vec()
    };
    if paths.is_empty() {
        return Err(CommandError::usage("there is no bake file here").hint("name it with `--file`"));
    }
    paths.iter().map(|path| read(path)).collect()
}

/// No bake file is larger.
const MOST_BYTES: u64 = 1 << 20;

/// Reads a file, or standard input for `-`.
fn read(path: &Path) -> Result<File, CommandError> {
    let name = path.display().to_string();
    let open = || -> std::io::Result<String> {
        let reader: Box<dyn Read> = if path == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(fs::File::open(path)?)
        };
        let mut text = String::new();
        reader.take(MOST_BYTES + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text =
        open().map_err(|error| CommandError::doing(format!("cannot read `{name}`"), error))?;
    Ok(File { name, text })
}
