//! What instructions about the config do to it: values in, values out.

use corten_dockerfile::{BaseConfig, Step};
use corten_spec::config::Healthcheck;
use corten_spec::{History, ImageConfig, RunConfig};

/// Applies the part of `step` that is about the config.
pub(crate) fn apply(config: &mut ImageConfig, step: &Step) {
    let run = &mut config.config;
    match step {
        Step::Env(pairs) => pairs
            .iter()
            .for_each(|(name, value)| set_env(&mut run.env, name, value)),
        Step::Label(pairs) => run.labels.extend(pairs.iter().cloned()),
        Step::Cmd(command) => {
            run.cmd = (!command.is_empty()).then(|| command.clone());
            // It means something on Windows only, and BuildKit says it everywhere.
            run.extra.insert("ArgsEscaped".to_owned(), true.into());
        }
        Step::Entrypoint { command, clear_cmd } => {
            run.entrypoint = (!command.is_empty()).then(|| command.clone());
            if *clear_cmd {
                run.cmd = None;
            }
        }
        Step::Expose(ports) => run.exposed_ports.0.extend(ports.iter().cloned()),
        Step::Volume(paths) => run.volumes.0.extend(paths.iter().cloned()),
        Step::User(user) => run.user.clone_from(user),
        Step::Workdir { path } => run.working_dir.clone_from(path),
        Step::StopSignal(signal) => run.stop_signal.clone_from(signal),
        Step::Shell(shell) => run.shell.clone_from(shell),
        Step::OnBuild(text) => run.on_build.push(text.clone()),
        Step::Maintainer(author) => config.author = Some(author.clone()),
        Step::Healthcheck(check) => {
            run.healthcheck = Some(Healthcheck {
                test: check.test.clone(),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: i64::from(check.retries),
                ..Healthcheck::default()
            });
        }
        Step::Arg(_) | Step::Copy(_) | Step::Run(_) => {}
    }
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match env
        .iter_mut()
        .find(|old| old.split('=').next() == Some(name))
    {
        Some(old) => *old = entry,
        None => env.push(entry),
    }
}

/// Returns what a stage takes over from the config of its base.
pub(crate) fn base_config(config: &RunConfig) -> BaseConfig {
    let pair = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    };
    BaseConfig {
        env: config.env.iter().map(pair).collect(),
        shell: config.shell.clone(),
        workdir: config.working_dir.clone(),
        user: config.user.clone(),
    }
}

/// Returns a history entry.
pub(crate) fn history(created: &str, created_by: String, empty_layer: bool) -> History {
    History {
        created: Some(created.to_owned()),
        created_by: Some(created_by),
        comment: Some("corten".to_owned()),
        empty_layer,
        ..History::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_is_replaced_in_place() {
        let mut env = vec!["A=1".to_owned(), "AB=2".to_owned()];
        set_env(&mut env, "A", "x=y");
        set_env(&mut env, "C", "");
        assert_eq!(env, ["A=x=y", "AB=2", "C="]);
    }
}
