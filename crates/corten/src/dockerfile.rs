//! The files that say what is built: the Dockerfile and the ignore file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Seek, Write as _};
use std::path::{Path, PathBuf};

use corten_dockerfile::{Ignore, Instruction, Kind, Plan, PlanOptions};
use corten_spec::Platform;

use crate::error::CommandError;

/// What is read before a build begins.
#[derive(Debug)]
pub(crate) struct Sources {
    /// What messages call the Dockerfile.
    pub(crate) file_name: String,
    /// Its text.
    pub(crate) text: String,
    /// What is left out of the context.
    pub(crate) ignore: Ignore,
    /// Where that was read.
    pub(crate) ignore_file: String,
}

/// No Dockerfile is longer; a file that was named by mistake is not read to its end.
const LONGEST: u64 = 16 << 20;

impl Sources {
    /// Reads the Dockerfile `file`, or that of `context`, and the ignore file that goes with it.
    pub(crate) fn read(context: &Path, file: Option<&Path>) -> Result<Self, CommandError> {
        check_context(context)?;
        let (file_name, path) = match file {
            Some(file) if file == Path::new("-") => ("<stdin>".to_owned(), None),
            Some(file) => (file.display().to_string(), Some(file.to_owned())),
            None => {
                let name = if has_only_containerfile(context) {
                    "Containerfile"
                } else {
                    "Dockerfile"
                };
                (name.to_owned(), Some(context.join(name)))
            }
        };
        let text = match &path {
            Some(path) => read_file(path)?,
            None => read_stdin()?,
        };
        let (ignore, ignore_file) = read_ignore(context, path.as_deref())?;
        Ok(Self {
            file_name,
            text,
            ignore,
            ignore_file,
        })
    }
}

fn has_only_containerfile(context: &Path) -> bool {
    !context.join("Dockerfile").exists() && context.join("Containerfile").exists()
}

fn check_context(context: &Path) -> Result<(), CommandError> {
    if context == Path::new("-") {
        return Err(
            CommandError::usage("a build context cannot be read from standard input yet").hint(
                "unpack it into a directory and name that; `-f -` reads the Dockerfile alone",
            ),
        );
    }
    let text = context.to_string_lossy();
    if ["https://", "http://", "git@", "git://", "ssh://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
    {
        return Err(
            CommandError::usage(format!("`{text}` cannot be used as a build context yet"))
                .hint("fetch it into a directory and name that"),
        );
    }
    if context.is_dir() {
        return Ok(());
    }
    let problem = if context.exists() {
        "is not a directory"
    } else {
        "does not exist"
    };
    Err(CommandError::failed(format!(
        "the build context `{text}` {problem}"
    )))
}

fn read_file(path: &Path) -> Result<String, CommandError> {
    let failed = |error| CommandError::doing(format!("cannot read `{}`", path.display()), error);
    match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(failed(error)
            .hint("name the Dockerfile with `-f`; a path is taken from the working directory")),
        file => decode(
            read_all(&mut file.map_err(failed)?).map_err(failed)?,
            &path.display().to_string(),
        ),
    }
}

/// Reads standard input, and leaves there what was read: the program may be started again, in a user
/// namespace, and read it again.
fn read_stdin() -> Result<String, CommandError> {
    let failed =
        |error| CommandError::doing("cannot read the Dockerfile from standard input", error);
    let bytes = read_all(&mut std::io::stdin().lock()).map_err(failed)?;
    let again = || {
        let copy = rustix::fs::memfd_create("Dockerfile", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut copy = fs::File::from(copy);
        copy.write_all(&bytes)?;
        copy.rewind()?;
        Ok(rustix::stdio::dup2_stdin(&copy)?)
    };
    again().map_err(failed)?;
    decode(bytes, "standard input")
}

fn read_all(input: &mut dyn Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(std::io::Error::other(format!(
            "it is longer than {LONGEST} bytes"
        )));
    }
    Ok(bytes)
}

fn decode(bytes: Vec<u8>, place: &str) -> Result<String, CommandError> {
    String::from_utf8(bytes)
        .map_err(|_| CommandError::failed(format!("the Dockerfile in {place} is not UTF-8")))
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
        let failed = || format!("cannot use the ignore file `{}`", path.display());
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(CommandError::doing(failed(), error)),
            Ok(bytes) => {
                let ignore =
                    Ignore::parse(&bytes).map_err(|error| CommandError::doing(failed(), error))?;
                return Ok((ignore, shown));
            }
        }
    }
    Ok((Ignore::default(), ".dockerignore".to_owned()))
}

/// Plans the build, or returns `None` if the Dockerfile cannot be built: then the builder says why.
pub(crate) fn plan(
    text: &str,
    target: Option<&str>,
    build_args: &BTreeMap<String, String>,
    platform: &Platform,
) -> Option<Plan> {
    let of = |platform: &Platform| {
        let variant = platform.variant.as_deref().unwrap_or_default();
        corten_dockerfile::Platform::new(&platform.os, &platform.architecture, variant)
    };
    let options = PlanOptions {
        target,
        build_args,
        platform: &of(platform),
        build_platform: &of(&Platform::host()),
    };
    corten_dockerfile::plan(&corten_dockerfile::parse(text).ok()?, &options).ok()
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
