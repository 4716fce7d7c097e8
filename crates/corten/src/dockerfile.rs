//! The files that say what is built: the Dockerfile and the ignore file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use corten_build::read_context_file;
use corten_dockerfile::{Ignore, Instruction, Kind, Plan, PlanOptions, without_secrets};
use corten_spec::Platform;

use crate::build_context::{
    LONGEST_DOCKERFILE, OpenContext, Origin, fetch, is_http, put_back, read_at_most,
};
use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;

/// What is read before a build begins.
#[derive(Debug)]
pub(crate) struct Sources {
    /// What messages call the Dockerfile.
    pub(crate) file_name: String,
    /// Its text.
    pub(crate) text: String,
    /// What files are copied from.
    pub(crate) context: OpenContext,
    /// What is left out of the context.
    pub(crate) ignore: Ignore,
    /// Where that was read.
    pub(crate) ignore_file: String,
}

/// A Dockerfile that was found.
struct Found {
    name: String,
    bytes: Vec<u8>,
    /// Where it is, if it is a file of this machine: its ignore file may be beside it.
    path: Option<PathBuf>,
}

impl Sources {
    /// Reads the Dockerfile `file`, or that of `context`, and the ignore file that goes with it.
    ///
    /// As for Docker, `file` is a path from the working directory, or in a context that is fetched
    /// one of the context.
    pub(crate) fn read(
        context: OpenContext,
        file: Option<&Path>,
        ctx: &Context,
        registry: &RegistryArgs,
    ) -> Result<Self, CommandError> {
        let found = find(&context, file, ctx, registry)?;
        let Found { name, bytes, path } = found;
        let text = String::from_utf8(bytes)
            .map_err(|_| CommandError::failed(format!("the Dockerfile `{name}` is not UTF-8")))?;
        let (ignore, ignore_file) = match context.origin {
            Origin::Here => read_ignore(&context.path, path.as_deref())?,
            Origin::Elsewhere => {
                warn_of_ignore_file(&context, ctx)?;
                Default::default()
            }
            Origin::Dockerfile(_) => Default::default(),
        };
        Ok(Self {
            file_name: name,
            text,
            context,
            ignore,
            ignore_file,
        })
    }

    /// Takes the ignore file `path`, which must be there, in place of those of the context.
    pub(crate) fn use_ignore_file(&mut self, path: &Path) -> Result<(), CommandError> {
        if self.context.origin != Origin::Here {
            return Err(CommandError::usage(
                "`--ignorefile` is for a context that is a directory here",
            ));
        }
        self.ignore_file = path.display().to_string();
        self.ignore = read_ignore_file(path)?.ok_or_else(|| {
            CommandError::failed(format!(
                "the ignore file `{}` does not exist",
                path.display()
            ))
        })?;
        Ok(())
    }
}

fn find(
    context: &OpenContext,
    file: Option<&Path>,
    ctx: &Context,
    registry: &RegistryArgs,
) -> Result<Found, CommandError> {
    if let Origin::Dockerfile(text) = &context.origin {
        if file.is_some() {
            return Err(CommandError::usage(
                "there are two Dockerfiles: the context is one, and `--file` names another",
            ));
        }
        return Ok(Found {
            name: "Dockerfile".to_owned(),
            bytes: text.clone(),
            path: None,
        });
    }
    let is_here = context.origin == Origin::Here;
    match file {
        Some(file) if file == Path::new("-") => Ok(Found {
            name: "<stdin>".to_owned(),
            bytes: read_stdin()?,
            path: None,
        }),
        Some(file) if is_http(&file.to_string_lossy()) => {
            let url = file.to_string_lossy();
            let scratch = fetch(&url, ctx, registry, LONGEST_DOCKERFILE)?;
            Ok(Found {
                name: without_secrets(&url),
                bytes: read_file(&scratch.path().join("files/context"))?,
                path: None,
            })
        }
        Some(file) if is_here || file.is_absolute() => Ok(Found {
            name: file.display().to_string(),
            bytes: read_file(&in_some_case(file))?,
            path: Some(file.to_owned()),
        }),
        None if is_here => {
            let name = usual_name(&context.path);
            let path = context.path.join(name);
            Ok(Found {
                name: name.to_owned(),
                bytes: read_file(&path)?,
                path: Some(path),
            })
        }
        file => find_in(context, file, ctx),
    }
}

/// Reads the Dockerfile out of a context that was fetched.
fn find_in(
    context: &OpenContext,
    file: Option<&Path>,
    ctx: &Context,
) -> Result<Found, CommandError> {
    let names = match file {
        Some(file) => vec![file],
        None => NAMES.map(Path::new).to_vec(),
    };
    for name in &names {
        let limits = ctx.layer_limits();
        let read = read_context_file(&context.path, name, &limits, LONGEST_DOCKERFILE);
        if let Some(bytes) = read.map_err(CommandError::caused)? {
            return Ok(Found {
                name: name.display().to_string(),
                bytes,
                path: None,
            });
        }
    }
    let name = names
        .first()
        .map_or("Dockerfile".into(), |name| name.display().to_string());
    Err(
        CommandError::failed(format!("`{name}` is not in the build context"))
            .hint("name the Dockerfile with `-f`; a path is taken from the top of the context"),
    )
}

/// What the Dockerfile of a context may be called, first come, first served.
const NAMES: [&str; 3] = ["Dockerfile", "dockerfile", "Containerfile"];

fn usual_name(context: &Path) -> &'static str {
    let is_there = |name: &&str| context.join(name).exists();
    NAMES.into_iter().find(is_there).unwrap_or("Dockerfile")
}

/// What is called `Dockerfile` may be written in small letters, as everywhere.
fn in_some_case(file: &Path) -> PathBuf {
    let small = file.with_file_name("dockerfile");
    let is_small = file.file_name() == Some("Dockerfile".as_ref()) && !file.exists();
    if is_small && small.exists() {
        return small;
    }
    file.to_owned()
}

fn warn_of_ignore_file(context: &OpenContext, ctx: &Context) -> Result<(), CommandError> {
    let name = Path::new(".dockerignore");
    let limits = ctx.layer_limits();
    let found = read_context_file(&context.path, name, &limits, LONGEST_DOCKERFILE);
    if found.map_err(CommandError::caused)?.is_some() {
        ctx.output.warn(
            "the `.dockerignore` of the context is not used: as for BuildKit, only contexts that are \
             directories here have one",
        );
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<Vec<u8>, CommandError> {
    let failed = |error| CommandError::doing(format!("cannot read `{}`", path.display()), error);
    match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(failed(error)
            .hint("name the Dockerfile with `-f`; a path is taken from the working directory")),
        file => read_at_most(&mut file.map_err(failed)?, LONGEST_DOCKERFILE).map_err(failed),
    }
}

/// Reads standard input, and leaves there what was read: the program may be started again, in a user
/// namespace, and read it again.
fn read_stdin() -> Result<Vec<u8>, CommandError> {
    let failed =
        |error| CommandError::doing("cannot read the Dockerfile from standard input", error);
    let bytes = read_at_most(&mut std::io::stdin().lock(), LONGEST_DOCKERFILE).map_err(failed)?;
    put_back(&bytes).map_err(failed)?;
    Ok(bytes)
}

/// An ignore file that is named after its Dockerfile wins over that of the context.
fn read_ignore(
    context: &Path,
    dockerfile: Option<&Path>,
) -> Result<(Ignore, String), CommandError> {
    let own = dockerfile.map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(".dockerignore");
        PathBuf::from(name)
    });
    for path in own.into_iter().chain([context.join(".dockerignore")]) {
        let shown = path
            .strip_prefix(context)
            .unwrap_or(&path)
            .display()
            .to_string();
        if let Some(ignore) = read_ignore_file(&path)? {
            return Ok((ignore, shown));
        }
    }
    Ok((Ignore::default(), ".dockerignore".to_owned()))
}

/// Reads the `.dockerignore` of a directory that is a named context.
pub(crate) fn read_context_ignore(context: &Path) -> Result<Ignore, CommandError> {
    Ok(read_ignore_file(&context.join(".dockerignore"))?.unwrap_or_default())
}

fn read_ignore_file(path: &Path) -> Result<Option<Ignore>, CommandError> {
    let failed = || format!("cannot use the ignore file `{}`", path.display());
    let read =
        fs::File::open(path).and_then(|mut file| read_at_most(&mut file, LONGEST_DOCKERFILE));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::doing(failed(), error)),
        Ok(bytes) => Ignore::parse(&bytes)
            .map(Some)
            .map_err(|error| CommandError::doing(failed(), error)),
    }
}

/// Plans the build, or returns `None` if the Dockerfile cannot be built: then the builder says why.
pub(crate) fn plan(
    text: &str,
    targets: &[&str],
    build_args: &BTreeMap<String, String>,
    platform: &Platform,
    contexts: &BTreeSet<String>,
) -> Option<Plan> {
    let of = |platform: &Platform| {
        let variant = platform.variant.as_deref().unwrap_or_default();
        corten_dockerfile::Platform::new(&platform.os, &platform.architecture, variant)
    };
    let options = PlanOptions {
        target: None,
        build_args,
        platform: &of(platform),
        build_platform: &of(&Platform::host()),
        contexts,
    };
    corten_dockerfile::plan_targets(&corten_dockerfile::parse(text).ok()?, &options, targets).ok()
}

/// Tells whether a stage that is needed runs anything.
pub(crate) fn has_run(plan: &Plan) -> bool {
    let is_run = |instruction: &Instruction| matches!(instruction.kind, Kind::Run(_));
    let triggers = |index: usize| plan.stage_triggers(index).iter().any(is_run);
    plan.needed.iter().any(|&index| {
        let stage = plan.stages.get(index);
        stage.is_some_and(|stage| stage.instructions.iter().any(is_run)) || triggers(index)
    })
}
