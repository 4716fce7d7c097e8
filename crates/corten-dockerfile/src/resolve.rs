//! Instructions to steps: the state of a stage as it goes.

mod copy;
mod mounts;
mod ports;
mod run;
pub(crate) mod show;
mod signal;

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::instruction::{
    Arg, Command, Healthcheck, HealthcheckTest, Instruction, Kind, Origin, Pair,
};
use crate::onbuild;
use crate::path;
use crate::scope::{self, Scope};
use crate::step::{HealthcheckStep, Resolved, Step};
use crate::words::Word;

/// `PATH` where the base image has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage takes over from the config of its base image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseConfig {
    /// `Env`, cut at the first equals sign.
    pub env: Vec<(String, String)>,
    /// `Shell`; empty if the image has none.
    pub shell: Vec<String>,
    /// `WorkingDir`.
    pub workdir: String,
    /// `User`.
    pub user: String,
}

/// What the instructions of a stage have said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageState {
    /// Every variable, build arguments included; the newest last, each name once.
    pub env: Vec<(String, String)>,
    /// `Env` of the config.
    pub config_env: Vec<(String, String)>,
    /// The build arguments that were declared, in order.
    pub args: Vec<(String, Option<String>)>,
    /// The shell of the shell form.
    pub shell: Vec<String>,
    /// The working directory; empty if there is none.
    pub workdir: String,
    /// The user; empty if there is none.
    pub user: String,
    cmd_set: bool,
    index: usize,
    scope: Arc<Scope>,
}

impl StageState {
    pub(crate) fn on_image(scope: Arc<Scope>, index: usize, config: &BaseConfig) -> Self {
        let mut config_env = config.env.clone();
        if scope.platform.os != "windows" && !config_env.iter().any(|(name, _)| name == "PATH") {
            config_env.push(("PATH".to_owned(), DEFAULT_PATH.to_owned()));
        }
        let mut env = Vec::new();
        scope::set_all(&mut env, &config_env);
        let default_shell = || match scope.platform.os.as_str() {
            "windows" => vec!["cmd".to_owned(), "/S".to_owned(), "/C".to_owned()],
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        };
        let shell = if config.shell.is_empty() {
            default_shell()
        } else {
            config.shell.clone()
        };
        let workdir = match config.workdir.as_str() {
            "" => String::new(),
            workdir => path::join("/", workdir),
        };
        let user = config.user.clone();
        Self {
            env,
            config_env,
            args: Vec::new(),
            shell,
            workdir,
            user,
            cmd_set: false,
            index,
            scope,
        }
    }

    /// Returns the character that escapes.
    pub(crate) fn escape(&self) -> char {
        self.scope.escape
    }

    /// Build arguments of the base stage stay visible, but its ENV wins over them again.
    pub(crate) fn on_stage(index: usize, base: &Self) -> Self {
        let mut state = Self {
            index,
            cmd_set: false,
            ..base.clone()
        };
        scope::set_all(&mut state.env, &base.config_env);
        state
    }
}

/// Expands `instruction` and takes what it says into `state`.
///
/// On an error `state` is unchanged.
///
/// # Errors
///
/// A variable that cannot be expanded or whose value cannot be used at this place.
pub fn resolve(instruction: &Instruction, state: &mut StageState) -> Result<Resolved, Diagnostic> {
    let mut names = Names::default();
    let resolved = match &instruction.kind {
        Kind::Arg(args) => arg(args, state, &mut names),
        Kind::Cmd(command) => Ok(cmd(command, state)),
        Kind::Copy(copy) => copy::resolve(copy, state, &mut names),
        Kind::Entrypoint(command) => Ok(entrypoint(command, state)),
        Kind::Env(pairs) => env(pairs, state, &mut names),
        Kind::Expose(ports) => ports::resolve(ports, state, &mut names),
        // A stage is begun by its plan.
        Kind::From(from) => Err(Diagnostic::new("FROM is not a step", from.base.span)),
        Kind::Healthcheck(check) => Ok(healthcheck(check)),
        Kind::Label(pairs) => label(pairs, state, &mut names),
        Kind::Maintainer(name) => Ok((
            Step::Maintainer(name.text.clone()),
            Some(format!("MAINTAINER {}", name.text)),
        )),
        Kind::OnBuild(on_build) => Ok((Step::OnBuild(on_build.expression.clone()), None)),
        Kind::Run(run) => run::resolve(run, state, &mut names),
        Kind::Shell(words) => Ok(shell(words, state)),
        Kind::StopSignal(word) => stop_signal(word, state, &mut names),
        Kind::User(word) => user(word, state, &mut names),
        Kind::Volume(words) => volume(words, state, &mut names),
        Kind::Workdir(word) => workdir(word, state, &mut names),
    };
    match resolved {
        Ok((step, created_by)) => Ok(Resolved {
            step,
            created_by,
            used: names.used,
            unset: names.unset,
        }),
        Err(diagnostic) if instruction.origin == Origin::OnBuild => {
            Err(diagnostic.with_label(onbuild::label(&instruction.original)))
        }
        Err(diagnostic) => Err(diagnostic),
    }
}

type Outcome = (Step, Option<String>);

/// The variables that an instruction named.
#[derive(Debug, Default)]
struct Names {
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
}

impl Names {
    fn expand(&mut self, word: &Word, state: &StageState) -> Result<String, Diagnostic> {
        self.expand_in(word, &state.env, state.scope.escape)
    }

    fn expand_in(
        &mut self,
        word: &Word,
        env: &[(String, String)],
        escape: char,
    ) -> Result<String, Diagnostic> {
        let expanded = scope::expand_word(word, env, escape)?;
        self.used.extend(expanded.used);
        self.unset.extend(expanded.unset);
        Ok(expanded.text)
    }
}

fn arg(args: &[Arg], state: &mut StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    let scope = Arc::clone(&state.scope);
    let mut env = state.env.clone();
    let mut declared = Vec::new();
    let mut created_by = "ARG".to_owned();
    for arg in args {
        let name = &arg.name.text;
        let global = || scope.global_args.iter().rev().find(|(key, _)| key == name);
        let value = match (scope.build_args.get(name), &arg.default) {
            (Some(value), _) => Some(value.clone()),
            // The arguments before it on the line are in effect already, unlike in ENV.
            (None, Some(default)) => Some(names.expand_in(default, &env, scope.escape)?),
            (None, None) => global().map(|(_, value)| value.clone()),
        };
        created_by.push(' ');
        created_by.push_str(name);
        if let Some(value) = &value {
            created_by.push('=');
            created_by.push_str(value);
            // The two are messages to BuildKit's SBOM scanner and no variables.
            if !matches!(
                name.as_str(),
                "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE"
            ) {
                scope::set(&mut env, name, value);
            }
        }
        declared.push((name.clone(), value));
    }
    state.env = env;
    state.args.extend(declared.iter().cloned());
    Ok((Step::Arg(declared), Some(created_by)))
}

fn env(pairs: &[Pair], state: &mut StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    let expanded = expand_pairs(pairs, state, names)?;
    for (name, value) in &expanded {
        scope::set(&mut state.env, name, value);
        match state.config_env.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => old.clone_from(value),
            None => state.config_env.push((name.clone(), value.clone())),
        }
    }
    let created_by = show::pairs("ENV", &expanded);
    Ok((Step::Env(expanded), Some(created_by)))
}

fn label(pairs: &[Pair], state: &StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    let expanded = expand_pairs(pairs, state, names)?;
    let created_by = show::pairs("LABEL", &expanded);
    Ok((Step::Label(expanded), Some(created_by)))
}

/// Expands with the values from before the line, so that `ENV a=1 b=$a` takes the old `a`.
fn expand_pairs(
    pairs: &[Pair],
    state: &StageState,
    names: &mut Names,
) -> Result<Vec<(String, String)>, Diagnostic> {
    let expand = |pair: &Pair| {
        Ok((
            names.expand(&pair.key, state)?,
            names.expand(&pair.value, state)?,
        ))
    };
    pairs.iter().map(expand).collect()
}

/// Returns the arguments of a command, the shell included in the shell form.
fn argv(command: &Command, state: &StageState) -> Vec<String> {
    match command {
        Command::Exec(words) => words.iter().map(|word| word.text.clone()).collect(),
        Command::Shell(word) => in_shell(&word.text, state),
    }
}

fn in_shell(text: &str, state: &StageState) -> Vec<String> {
    state
        .shell
        .iter()
        .cloned()
        .chain([text.to_owned()])
        .collect()
}

fn cmd(command: &Command, state: &mut StageState) -> Outcome {
    let command = argv(command, state);
    state.cmd_set = true;
    let created_by = format!("CMD {}", show::quoted(&command));
    (Step::Cmd(command), Some(created_by))
}

fn entrypoint(command: &Command, state: &StageState) -> Outcome {
    let command = argv(command, state);
    let created_by = format!("ENTRYPOINT {}", show::quoted(&command));
    (
        Step::Entrypoint {
            command,
            clear_cmd: !state.cmd_set,
        },
        Some(created_by),
    )
}

fn shell(words: &[Word], state: &mut StageState) -> Outcome {
    state.shell = words.iter().map(|word| word.text.clone()).collect();
    (
        Step::Shell(state.shell.clone()),
        Some(format!("SHELL {}", show::list(&state.shell))),
    )
}

fn healthcheck(check: &Healthcheck) -> Outcome {
    let test = match &check.test {
        HealthcheckTest::None => vec!["NONE".to_owned()],
        HealthcheckTest::Command(Command::Shell(word)) => {
            vec!["CMD-SHELL".to_owned(), word.text.clone()]
        }
        HealthcheckTest::Command(Command::Exec(words)) => std::iter::once("CMD".to_owned())
            .chain(words.iter().map(|w| w.text.clone()))
            .collect(),
    };
    let step = HealthcheckStep {
        test,
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    };
    let created_by = show::healthcheck(&step);
    (Step::Healthcheck(step), Some(created_by))
}

fn stop_signal(word: &Word, state: &StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    let signal = names.expand(word, state)?;
    if !signal::is_known(&signal) {
        return Err(Diagnostic::new(
            format!("`{signal}` is not a signal"),
            word.span,
        ));
    }
    let created_by = format!("STOPSIGNAL {signal}");
    Ok((Step::StopSignal(signal), Some(created_by)))
}

fn user(word: &Word, state: &mut StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    state.user = names.expand(word, state)?;
    Ok((
        Step::User(state.user.clone()),
        Some(format!("USER {}", state.user)),
    ))
}

fn volume(words: &[Word], state: &StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    let mut volumes = Vec::new();
    for word in words {
        let volume = names.expand(word, state)?;
        if volume.is_empty() {
            return Err(Diagnostic::new(
                format!("`{}` is empty", word.text),
                word.span,
            ));
        }
        volumes.push(volume);
    }
    let created_by = format!("VOLUME {}", show::list(&volumes));
    Ok((Step::Volume(volumes), Some(created_by)))
}

fn workdir(word: &Word, state: &mut StageState, names: &mut Names) -> Result<Outcome, Diagnostic> {
    let written = names.expand(word, state)?;
    state.workdir = match written.as_str() {
        "" if state.workdir.is_empty() => "/".to_owned(),
        "" => state.workdir.clone(),
        written => path::join(&state.workdir, written),
    };
    let path = state.workdir.clone();
    let created_by = format!("WORKDIR {path}");
    Ok((Step::Workdir { path }, Some(created_by)))
}
