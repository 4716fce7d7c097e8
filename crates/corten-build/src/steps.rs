//! One step: an instruction resolved, done or found in the cache, and written into the history.

use std::time::Instant;

use corten_dockerfile::{
    Instruction, Platform, Span, StageState, Step, resolve, without_credentials,
};
use corten_layer::Contents;

use crate::build::Builder;
use crate::commit::Made;
use crate::error::{StepError, StepResult};
use crate::event::Event;
use crate::explain::Ending;
use crate::image::{apply, history};
use crate::stage::Stage;
use crate::{Error, Result};

/// A step on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task<'a> {
    /// Its number in the whole build, from 1, which events carry.
    pub(crate) step: usize,
    /// The name of its stage.
    pub(crate) stage: &'a str,
    /// Its number in the stage, from 1, of so many.
    pub(crate) number: usize,
    pub(crate) total: usize,
    /// What its stage is for.
    pub(crate) platform: &'a Platform,
    pub(crate) instruction: &'a Instruction,
}

impl Task<'_> {
    /// Where the instruction is, for messages.
    pub(crate) fn span(&self) -> Span {
        self.instruction.span
    }
}

impl Builder<'_> {
    pub(crate) fn step(
        &self,
        stage: &mut Stage,
        state: &mut StageState,
        task: &Task<'_>,
    ) -> Result<()> {
        (self.listener)(Event::Step {
            step: task.step,
            stage: task.stage,
            number: task.number,
            total: task.total,
            text: &without_credentials(&task.instruction.original),
            line: task.span().line,
        });
        let started = Instant::now();
        let done = self.take(stage, state, task);
        let (step, took) = (task.step, started.elapsed());
        (self.listener)(match done {
            Ok(()) => Event::Done { step, took },
            Err(_) => Event::Failed { step, took },
        });
        done
    }

    /// Takes a step: does it, and applies it to `stage` and `state`.
    fn take(&self, stage: &mut Stage, state: &mut StageState, task: &Task<'_>) -> Result<()> {
        let resolved = resolve(task.instruction, state).map_err(|one| self.refused(&one))?;
        let shown = resolved.created_by.as_deref();
        let made = self.execute(stage, &resolved.step, shown, task);
        let ending = match &made {
            Ok(made) if made.as_ref().is_some_and(|made| made.is_cached) => Ending::Hit,
            Ok(_) => Ending::Made,
            Err(_) => Ending::Failed,
        };
        self.account_for(stage, task, ending);
        let made = made.map_err(|error| self.located(error, task.instruction))?;
        apply(&mut stage.config, &resolved.step);
        let mut is_empty = true;
        if let Some(made) = made {
            if made.is_cached {
                (self.listener)(Event::Cached { step: task.step });
            }
            stage.created = Some(made.outcome.created);
            if let Some(layer) = made.outcome.layer {
                is_empty = false;
                layer.is_of(|| self.location(task.span(), &task.instruction.original));
                stage.push(layer, made.entries.as_deref())?;
            }
        }
        if let Some(created_by) = resolved.created_by {
            let created = self.created_of(stage);
            let entry = history(&created, created_by, is_empty);
            stage.config.history.push(entry);
        }
        self.note_step(stage, task);
        Ok(())
    }

    /// Returns when the latest step of `stage` was made that made anything, or now: steps about the
    /// config alone have no time of their own, so that building again gives the same image.
    pub(crate) fn created_of(&self, stage: &Stage) -> String {
        let latest = stage.created.clone().filter(|_| self.clamp.is_none());
        latest.unwrap_or_else(|| self.created.clone())
    }

    /// Does what a step does to the files; `None` if it is about the config alone.
    fn execute(
        &self,
        stage: &mut Stage,
        step: &Step,
        shown: Option<&str>,
        task: &Task<'_>,
    ) -> StepResult<Option<Made>> {
        match step {
            Step::Copy(copy) => self.copy(stage, copy, task.span()).map(Some),
            Step::Run(run) => self.run(stage, run, shown.unwrap_or("RUN"), task).map(Some),
            // The root is always there: BuildKit makes no layer to say so.
            Step::Workdir { path } if path == "/" => Ok(None),
            Step::Workdir { path } => self.workdir(stage, path, task.span()).map(Some),
            Step::Arg(_)
            | Step::Cmd(_)
            | Step::Entrypoint { .. }
            | Step::Env(_)
            | Step::Expose(_)
            | Step::Healthcheck(_)
            | Step::Label(_)
            | Step::Maintainer(_)
            | Step::OnBuild(_)
            | Step::Shell(_)
            | Step::StopSignal(_)
            | Step::User(_)
            | Step::Volume(_) => Ok(None),
        }
    }

    fn workdir(&self, stage: &mut Stage, path: &str, span: Span) -> StepResult<Made> {
        let user = stage.config.config.user.clone();
        let mut key = self.key("workdir", stage);
        key.text(path);
        key.text(&user);
        key.account().input("directory", path);
        key.account().input("user", &user);
        let key = key.finish();
        self.once(stage.cache, &key, || {
            let owner = self.owner(stage, &user)?;
            let tree = stage.tree(&self.snapshots)?;
            let changes = crate::workdir::directories(&tree, path, owner, self.now, span)?;
            self.commit(stage, std::slice::from_ref(&key), changes, &NoFiles)
        })
    }

    fn located(&self, error: StepError, instruction: &Instruction) -> Error {
        self.located_at(error, instruction.span, &instruction.original)
    }

    /// Says where an error is: at `span`, in what begins with the line `shown`.
    pub(crate) fn located_at(&self, error: StepError, span: Span, shown: &str) -> Error {
        match error {
            StepError::Diagnostic(diagnostic) => self.refused(&diagnostic),
            StepError::Failed(source) => Error::At {
                location: self.location(span, shown),
                source: Box::new(source),
            },
        }
    }

    pub(crate) fn location(&self, span: Span, shown: &str) -> String {
        format!(
            "{}:{}: `{}` failed",
            self.request.file_name,
            span.line,
            without_credentials(shown.lines().next().unwrap_or_default()),
        )
    }
}

/// The contents of a changeset without files.
struct NoFiles;

impl Contents for NoFiles {
    fn open<'a>(
        &'a self,
        _file: &'a corten_layer::tree::File,
    ) -> std::io::Result<Box<dyn std::io::Read + Send + 'a>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
