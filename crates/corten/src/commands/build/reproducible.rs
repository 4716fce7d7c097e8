//! `corten build --verify-reproducible`: builds twice apart and tells where the images differ.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use corten_build::reproducible::{Difference, Divergence, compare};
use corten_build::request::CacheUse;
use corten_build::{Bases, BuildRequest, Built, Clamp, Named, Remotes};
use corten_content::{CopyOptions, Durability, Store, copy};
use corten_spec::Platform;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::BuildArgs;
use super::outcome::Image;
use crate::context::Context;
use crate::error::CommandError;
use crate::progress::BuildView;

/// Whether the build is done twice.
#[derive(Debug, Args)]
pub(crate) struct ReproducibleArgs {
    /// Build twice apart without caches, and tell where the images differ first; nothing is kept, and
    /// without `--timestamp` times are clamped to the beginning
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        conflicts_with_all = [
            "check", "print_plan", "tag", "output", "push", "iidfile", "digest_file",
            "metadata_file", "cache_from", "cache_to",
        ]
    )]
    verify_reproducible: Option<ReportFormat>,
}

/// How the result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

impl ReproducibleArgs {
    /// Tells whether nothing but the comparison is wanted.
    pub(crate) fn is_asked(&self) -> bool {
        self.verify_reproducible.is_some()
    }

    /// Refuses what the comparison of one image's builds would leave undone.
    pub(super) fn check(&self, args: &BuildArgs, n_images: usize) -> Result<(), CommandError> {
        if !self.is_asked() {
            return Ok(());
        }
        if n_images > 1 {
            let text = "`--verify-reproducible` compares the builds of one image";
            return Err(CommandError::usage(text).hint("name one target and one platform"));
        }
        if args.attesting.is_asked() {
            let text = "`--verify-reproducible` compares images, and not what is stated about them";
            return Err(CommandError::usage(text).hint("leave out `--provenance` and `--attest`"));
        }
        if args.sourcing.writes_lock(args)? {
            let text = "`--verify-reproducible` keeps nothing, and there is a lock file to write";
            return Err(CommandError::usage(text)
                .hint("write it with a build first, and then name it with `--lock`"));
        }
        Ok(())
    }
}

/// Builds `request` twice and compares what comes of it.
pub(super) fn run(
    args: &BuildArgs,
    request: &BuildRequest,
    bases: &dyn Bases,
    (store, ctx): (&Store, &Context),
) -> Result<ExitCode, CommandError> {
    let request = apart(request);
    let bases = Inputs {
        bases,
        from: store,
        found: Mutex::default(),
    };
    let first = Trial::new(args, &request, &bases, ctx)?;
    wait_for_another_second();
    let second = Trial::new(args, &request, &bases, ctx)?;
    let trials = [&first, &second].map(|trial| (&trial.store, &trial.image.built));
    let found = compare(trials, request.limits).map_err(CommandError::caused)?;
    report(&args.reproducible, &first.image.built, found.as_ref(), ctx)
}

/// Returns the request for builds that share nothing. Without a latest time no two images would be the
/// same, since each says when it was made.
fn apart(request: &BuildRequest) -> BuildRequest {
    let clamp = request.clamp.unwrap_or_else(|| Clamp(seconds_now()));
    BuildRequest {
        cache: CacheUse::Ignore,
        clamp: Some(clamp),
        ..request.clone()
    }
}

fn seconds_now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or_default()
}

/// Waits until clocks that show seconds, such as `date`, show another one: a quick build that writes
/// the time down would otherwise seem to repeat.
fn wait_for_another_second() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let into_second = Duration::from_nanos(now.unwrap_or_default().subsec_nanos().into());
    std::thread::sleep(Duration::from_secs(1).saturating_sub(into_second));
}

/// One of the builds, in a store of its own.
struct Trial {
    image: Image,
    store: Store,
    /// Removed when the images are compared.
    _directory: TempDir,
}

impl Trial {
    fn new(
        args: &BuildArgs,
        request: &BuildRequest,
        inputs: &Inputs<'_>,
        ctx: &Context,
    ) -> Result<Self, CommandError> {
        let directory = TempDir::with_prefix_in("corten-verify-", ctx.scratch());
        let directory = directory.map_err(CommandError::caused)?;
        let store = Store::open_with(&directory.path().join("store"), Durability::None);
        let store = store.map_err(CommandError::caused)?;
        let bases = Copied { inputs, to: &store };
        let view = BuildView::new(ctx.output, args.progress);
        let built = corten_build::build(&store, request, &bases, &|event| view.show(event));
        view.finish();
        let mut image = Image {
            request: request.clone(),
            built: built.map_err(CommandError::caused)?,
        };
        if args.image.squash {
            image.squash(&store)?;
        }
        Ok(Self {
            image,
            store,
            _directory: directory,
        })
    }
}

/// What both builds are based on: names are looked up once, since an image that has changed meanwhile
/// is no fault of the Dockerfile.
struct Inputs<'a> {
    bases: &'a dyn Bases,
    from: &'a Store,
    found: Mutex<BTreeMap<(String, String), Named>>,
}

/// The same in the store of one build.
struct Copied<'a> {
    inputs: &'a Inputs<'a>,
    to: &'a Store,
}

impl Bases for Copied<'_> {
    fn find(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Named, Box<dyn StdError + Send + Sync>> {
        let inputs = self.inputs;
        let key = (name.to_owned(), platform.to_string());
        let mut found = inputs.found.lock().unwrap_or_else(PoisonError::into_inner);
        let named = match found.get(&key) {
            Some(named) => named.clone(),
            None => inputs.bases.find(name, platform)?,
        };
        found.insert(key, named.clone());
        drop(found);
        if let Named::Image(image) = &named {
            let root = &image.documents.manifest.descriptor;
            copy(inputs.from, self.to, root, &CopyOptions::default())?;
        }
        Ok(named)
    }

    fn remotes(&self) -> &dyn Remotes {
        self.inputs.bases.remotes()
    }
}

fn report(
    args: &ReproducibleArgs,
    built: &Built,
    found: Option<&Divergence>,
    ctx: &Context,
) -> Result<ExitCode, CommandError> {
    if args.verify_reproducible == Some(ReportFormat::Json) {
        ctx.output.json(&json!({
            "reproducible": found.is_none(),
            "digest": built.manifest.digest,
            "difference": found.map(describe),
        }))?;
        return Ok(ExitCode::from(u8::from(found.is_some())));
    }
    match found {
        None => {
            ctx.output.note("both builds gave the same image");
            ctx.output.data(built.manifest.digest.as_str())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(found) => Err(CommandError::failed(format!(
            "the builds gave different images\n{found}"
        ))),
    }
}

/// Returns a difference for programs.
fn describe(found: &Divergence) -> Value {
    match found {
        Divergence::Document {
            document,
            pointer,
            values,
        } => json!({ "document": document, "pointer": pointer, "values": values }),
        Divergence::Step { step, found } => {
            let mut value = json!({
                "line": step.line,
                "stage": step.stage,
                "number": step.number,
                "text": step.text,
            });
            if let Some(found) = found {
                value["path"] = json!(found.path.as_str());
                match &found.what {
                    Difference::Only { is_first } => value["onlyInFirst"] = json!(is_first),
                    Difference::Attribute(name, values) => {
                        value["attribute"] = json!(name);
                        value["values"] = json!(values);
                    }
                    Difference::Content(offset) => value["offset"] = json!(offset),
                }
            }
            value
        }
    }
}
