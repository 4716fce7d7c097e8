//! From files, the environment and the command line to targets.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use crate::eval::Evaluator;
use crate::list::{self, ListedTarget, ListedVariable};
use crate::read::Source;
use crate::stated::Stated;
use crate::variables::Known;
use crate::{Error, Override, Result, compose, interpolate, matrix, targets};

/// A bake file or a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What messages call it; its ending says what it is written in.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl File {
    /// Returns a file.
    pub fn new(name: &str, text: &str) -> Self {
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// Looks up a variable of the environment.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + Sync + 'a;

/// Reads a file that a compose file names, by its path from the working directory, or says why it cannot.
pub type Opener<'a> = dyn Fn(&str) -> Result<String, String> + Sync + 'a;

/// What is to be worked out.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The files: a later one changes what an earlier one says, and bake files what compose files say.
    pub files: &'a [File],
    /// The variables that files may ask for: those of the command line before those of the environment.
    pub environment: &'a Lookup<'a>,
    /// What reads the files that compose files include, and those of services that theirs extend.
    pub open: &'a Opener<'a>,
    /// The text of `.env`, which compose files take variables from that the environment does not have.
    pub env_file: &'a str,
    /// `BAKE_LOCAL_PLATFORM`: what this machine is.
    pub platform: &'a str,
    /// What `timestamp()` returns, as in RFC 3339; empty where that is an error.
    pub now: &'a str,
    /// Targets and groups, or patterns of them; without one `default`.
    pub names: &'a [String],
    /// Changes of targets.
    pub overrides: &'a [Override],
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("files", &self.files)
            .field("names", &self.names)
            .field("overrides", &self.overrides)
            .finish_non_exhaustive()
    }
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            files: &[],
            environment: &|_| None,
            open: &|_| Err("it is not read here".to_owned()),
            env_file: "",
            platform: "",
            now: "",
            names: &[],
            overrides: &[],
        }
    }
}

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baked {
    /// The groups that were asked for.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Targets by name, everything inherited; attributes are called as in buildx.
    pub targets: BTreeMap<String, Map<String, Value>>,
    /// Their names, each after those that it needs.
    pub order: Vec<String>,
    /// The names of those that were asked for; the others are only needed by them.
    pub asked: BTreeSet<String>,
}

impl Baked {
    /// Returns what `docker buildx bake --print` prints.
    pub fn to_json(&self) -> Value {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, targets)| (name.clone(), json!({ "targets": targets })));
        let targets = self.targets.iter();
        let targets = targets.map(|(name, target)| (name.clone(), escaped(target)));
        json!({
            "group": groups.collect::<Map<_, _>>(),
            "target": targets.collect::<Map<_, _>>(),
        })
    }
}

/// What is printed can be read again: texts that would be templates are escaped, in the attributes that
/// buildx escapes.
fn escaped(target: &Map<String, Value>) -> Value {
    fn escape(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace("${", "$${").replace("%{", "%%{"),
            Value::Array(all) => all.iter_mut().for_each(escape),
            Value::Object(all) => all.values_mut().for_each(escape),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    let mut target = target.clone();
    for key in [
        "annotations",
        "args",
        "dockerfile-inline",
        "extra-hosts",
        "labels",
    ] {
        if let Some(value) = target.get_mut(key) {
            escape(value);
        }
    }
    Value::Object(target)
}

/// Parsers and expressions recurse no deeper than this has a place for.
const STACK: usize = 256 << 20;

/// Works out what is to be built.
///
/// # Errors
///
/// Whatever is not known, or cannot be honoured, or is more than a bake file is worth.
pub fn bake(request: &Request<'_>) -> Result<Baked> {
    with_stack(|| {
        worked_out(request, |stated, _, _| {
            targets::resolve(stated, request.names, request.overrides)
        })
    })
}

/// Returns the targets and groups that `request` could name, in the order of their names.
///
/// # Errors
///
/// As for [`bake`], as far as files can be told wrong before anything is asked for.
pub fn list_targets(request: &Request<'_>) -> Result<Vec<ListedTarget>> {
    with_stack(|| worked_out(request, |stated, _, _| Ok(list::targets(stated))))
}

/// Returns the variables of bake files, in the order of their names.
///
/// # Errors
///
/// As for [`list_targets`].
pub fn list_variables(request: &Request<'_>) -> Result<Vec<ListedVariable>> {
    with_stack(|| worked_out(request, |_, known, evaluator| known.listed(evaluator)))
}

fn with_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        match thread.spawn_scoped(scope, work) {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(Error::Syntax {
                file: "the files".to_owned(),
                reason: error.to_string(),
            }),
        }
    })
}

/// Reads all files, and does `then` with what they say.
fn worked_out<T>(
    request: &Request<'_>,
    then: impl FnOnce(&Stated, &Known<'_>, &Evaluator<'_>) -> Result<T>,
) -> Result<T> {
    let (composed, own): (Vec<_>, Vec<_>) = request
        .files
        .iter()
        .partition(|file| compose::is_compose(&file.name));
    let mut stated = Stated::default();
    let defaults = interpolate::env_file(request.env_file);
    let of_compose = |name: &str| {
        let set = (request.environment)(name);
        set.or_else(|| defaults.get(name).cloned())
    };
    compose::read(&composed, (&of_compose, request.open), &mut stated)?;
    let mut source = Source::default();
    own.iter().try_for_each(|file| source.read(file))?;
    let known = Known::new(&source, request.environment, request.platform);
    let evaluator = Evaluator::new(&known, request.now);
    known.check(&evaluator)?;
    let expanded = matrix::expand(&source, &evaluator)?;
    stated.add(known.expanded.get_or_init(|| expanded), &evaluator)?;
    then(&stated, &known, &evaluator)
}
