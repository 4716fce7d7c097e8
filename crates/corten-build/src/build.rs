//! The build: stage by stage, step by step.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use corten_content::Store;
use corten_dockerfile::{
    Base, Diagnostic, Instruction, Plan, PlanOptions, Span, Step, parse, plan, render, resolve,
    triggers, unsupported, unsupported_in,
};
use corten_layer::Contents;
use corten_snapshot::{Snapshots, layers_of};
use corten_spec::{Descriptor, ImageConfig, ImageId};
use corten_tar::Timestamp;

use crate::base::{BaseImage, Bases, Named};
use crate::commit::Made;
use crate::context::HostTree;
use crate::error::{StepError, StepResult};
use crate::event::{Event, Listener};
use crate::image::{apply, base_config, history};
use crate::reach::Reach;
use crate::stage::{Finished, Origin, Stage};
use crate::{BuildRequest, Error, Result, finish};

/// The image that was built. It is in the store, and nothing names it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its manifest, with the platform.
    pub manifest: Descriptor,
    /// The digest of its config.
    pub image_id: ImageId,
}

/// Builds what `request` asks for into `store`.
///
/// Steps whose inputs were seen before are taken from the cache. On failure, what earlier steps made
/// stays there, and nothing else is left behind.
pub fn build(
    store: &Store,
    request: &BuildRequest,
    bases: &dyn Bases,
    listener: &Listener<'_>,
) -> Result<Built> {
    let dockerfile = parse(&request.text).map_err(|error| match error {
        corten_dockerfile::Error::Syntax { diagnostics } => refused(request, &diagnostics),
        other => refused(
            request,
            &[Diagnostic::new(other.to_string(), Span::default())],
        ),
    })?;
    let (platform, host) = (
        platform_of(&request.platform),
        corten_spec::Platform::host(),
    );
    let options = PlanOptions {
        target: request.target.as_deref(),
        build_args: &request.build_args,
        platform: &platform,
        build_platform: &platform_of(&host),
    };
    let plan = plan(&dockerfile, &options).map_err(|one| refused(request, &[one]))?;
    let problems = unsupported(&plan);
    if !problems.is_empty() {
        return Err(refused(request, &problems));
    }
    if !plan.unconsumed.is_empty() {
        let names = plan.unconsumed.join("`, `");
        listener(Event::Warning(&format!(
            "no ARG takes the build argument `{names}`"
        )));
    }
    let clamp = request.clamp.map(|clamp| Timestamp::from_seconds(clamp.0));
    let now = clamp.unwrap_or_else(now);
    let n_steps = plan
        .needed
        .iter()
        .filter_map(|&index| plan.stages.get(index));
    let n_steps = n_steps.map(|stage| stage.instructions.len()).sum();
    let mut builder = Builder {
        store,
        snapshots: Snapshots::new(store).with_limits(request.limits),
        request,
        bases,
        listener,
        plan: &plan,
        clamp,
        now,
        created: rfc3339(now),
        finished: HashMap::new(),
        images: HashMap::new(),
        hosts: HashMap::new(),
        userxattr: None,
        n_steps,
        step_number: 0,
    };
    for &index in &plan.needed {
        builder.ensure(index)?;
    }
    let Some(target) = builder.finished.get(&plan.target) else {
        return Err(refused(
            request,
            &[Diagnostic::new("there is no stage", Span::default())],
        ));
    };
    let created = builder.created_of(&target.stage);
    finish::finish(store, request, &target.stage, &created)
}

pub(crate) struct Builder<'a> {
    pub(crate) store: &'a Store,
    pub(crate) snapshots: Snapshots<'a>,
    pub(crate) request: &'a BuildRequest,
    bases: &'a dyn Bases,
    pub(crate) listener: &'a Listener<'a>,
    plan: &'a Plan,
    pub(crate) clamp: Option<Timestamp>,
    pub(crate) now: Timestamp,
    pub(crate) created: String,
    pub(crate) finished: HashMap<usize, Finished>,
    /// Images that files are copied from, by name.
    pub(crate) images: HashMap<String, Stage>,
    /// Directories that files are copied from: the context, whose name is empty, and named ones.
    pub(crate) hosts: HashMap<String, HostTree>,
    /// Which attributes overlayfs uses, once it was found out.
    pub(crate) userxattr: Option<bool>,
    n_steps: usize,
    step_number: usize,
}

impl Builder<'_> {
    /// Builds stage `index` unless it is built, and what it needs before it.
    fn ensure(&mut self, index: usize) -> Result<()> {
        if self.finished.contains_key(&index) {
            return Ok(());
        }
        let Some(planned) = self.plan.stages.get(index) else {
            return Ok(());
        };
        let (mut stage, mut state, mut instructions) = match &planned.base {
            Base::Stage(base) => {
                self.ensure(*base)?;
                self.on_stage(*base, index)?
            }
            Base::Scratch => {
                let platform = spec_platform(&planned.platform);
                let stage = Stage::new(Vec::new(), ImageConfig::scratch(&platform), None);
                (
                    stage,
                    self.plan
                        .begin(index, &corten_dockerfile::BaseConfig::default()),
                    Vec::new(),
                )
            }
            Base::Image { name, platform } => {
                let image = self.base_image(name, &spec_platform(platform))?;
                self.on_image(&image, index, planned.span)?
            }
        };
        set_default_environment(&mut stage.config, &state.config_env);
        self.n_steps += instructions.len();
        instructions.extend(planned.instructions.iter().cloned());
        for other in self
            .plan
            .stages_of(&instructions, index)
            .map_err(|one| self.refused(&one))?
        {
            self.ensure(other)?;
        }
        let name = planned.name.clone().unwrap_or_else(|| index.to_string());
        for instruction in &instructions {
            self.step(&mut stage, &mut state, &name, instruction)?;
        }
        self.finished.insert(index, Finished { stage, state });
        Ok(())
    }

    fn on_stage(
        &self,
        base: usize,
        index: usize,
    ) -> Result<(Stage, corten_dockerfile::StageState, Vec<Instruction>)> {
        let triggers = self.plan.stage_triggers(index);
        let Some(finished) = self.finished.get(&base) else {
            return Err(self.refused(&Diagnostic::new("the stage is not built", Span::default())));
        };
        let mut stage = finished.stage.begin_on();
        // Triggers are for those who build on an image, once.
        stage.config.config.on_build.clear();
        Ok((stage, self.plan.begin_on(index, &finished.state), triggers))
    }

    fn on_image(
        &self,
        image: &BaseImage,
        index: usize,
        span: Span,
    ) -> Result<(Stage, corten_dockerfile::StageState, Vec<Instruction>)> {
        let mut config = image.documents.config.value.clone();
        let on_build = std::mem::take(&mut config.config.on_build);
        let triggers = triggers(&on_build, span).map_err(|one| self.refused(&one))?;
        let problems = unsupported_in(&triggers);
        if !problems.is_empty() {
            return Err(refused(self.request, &problems));
        }
        let state = self.plan.begin(index, &base_config(&config.config));
        let origin = Origin {
            reference: image.reference.clone(),
            digest: image.digest.clone(),
        };
        let stage = Stage::new(layers_of(&image.documents)?, config, Some(origin));
        Ok((stage, state, triggers))
    }

    fn base_image(&self, name: &str, platform: &corten_spec::Platform) -> Result<Box<BaseImage>> {
        let failed = |source| Error::Base {
            name: name.to_owned(),
            source,
        };
        match self.bases.find(name, platform).map_err(failed)? {
            Named::Image(image) => Ok(image),
            Named::Directory(path) => Err(failed(
                format!(
                    "`{}` is a directory, and FROM needs an image",
                    path.display()
                )
                .into(),
            )),
        }
    }

    fn step(
        &mut self,
        stage: &mut Stage,
        state: &mut corten_dockerfile::StageState,
        name: &str,
        instruction: &Instruction,
    ) -> Result<()> {
        self.step_number += 1;
        (self.listener)(Event::Step {
            stage: name,
            number: self.step_number,
            total: self.n_steps,
            text: &instruction.original,
        });
        let started = Instant::now();
        let resolved = resolve(instruction, state).map_err(|one| self.refused(&one))?;
        let made = self
            .execute(
                stage,
                &resolved.step,
                resolved.created_by.as_deref(),
                instruction.span,
            )
            .map_err(|error| self.located(error, instruction))?;
        apply(&mut stage.config, &resolved.step);
        let mut is_empty = true;
        if let Some(Made { outcome, entries }) = made {
            stage.created = Some(outcome.created);
            if let Some(layer) = outcome.layer {
                is_empty = false;
                stage.push(layer, entries.as_deref())?;
            }
        }
        if let Some(created_by) = resolved.created_by {
            let created = self.created_of(stage);
            stage
                .config
                .history
                .push(history(&created, created_by, is_empty));
        }
        (self.listener)(Event::Done {
            took: started.elapsed(),
        });
        Ok(())
    }

    /// Returns when the latest step of `stage` was made that made anything, or now: steps about the
    /// config alone have no time of their own, so that building again gives the same image.
    fn created_of(&self, stage: &Stage) -> String {
        let latest = stage.created.clone().filter(|_| self.clamp.is_none());
        latest.unwrap_or_else(|| self.created.clone())
    }

    /// Does what a step does to the files; `None` if it is about the config alone.
    fn execute(
        &mut self,
        stage: &mut Stage,
        step: &Step,
        shown: Option<&str>,
        span: Span,
    ) -> StepResult<Option<Made>> {
        match step {
            Step::Copy(copy) => self.copy(stage, copy, span).map(Some),
            Step::Run(run) => self.run(stage, run, shown.unwrap_or("RUN")).map(Some),
            Step::Workdir { path } => self.workdir(stage, path, span).map(Some),
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

    fn workdir(&mut self, stage: &mut Stage, path: &str, span: Span) -> StepResult<Made> {
        let user = stage.config.config.user.clone();
        let mut key = self.key("workdir", stage);
        key.text(path);
        key.text(&user);
        let key = key.finish();
        if let Some(made) = self.cached(&key)? {
            return Ok(made);
        }
        let owner = self.with_contents(stage, |tree, contents| {
            let user = corten_layer::users::resolve_user(tree, contents, &user)?;
            Ok((user.uid, user.gid))
        })?;
        let tree = stage.tree(&self.snapshots)?;
        let changes = crate::workdir::directories(tree, path, owner, self.now, span)?;
        self.commit(stage, &[key], changes, &NoFiles)
    }

    /// Returns what a name that is no stage stands for, with its tree or directory examined.
    pub(crate) fn find(&mut self, name: &str, platform: &corten_spec::Platform) -> Result<Found> {
        if self.hosts.contains_key(name) {
            return Ok(Found::Host);
        }
        if self.images.contains_key(name) {
            return Ok(Found::Image);
        }
        let failed = |source| Error::Base {
            name: name.to_owned(),
            source,
        };
        match self.bases.find(name, platform).map_err(failed)? {
            Named::Directory(path) => {
                let host =
                    HostTree::scan(&path, &corten_dockerfile::Ignore::default(), Reach::all())?;
                self.hosts.insert(name.to_owned(), host);
                Ok(Found::Host)
            }
            Named::Image(image) => {
                let layers = layers_of(&image.documents)?;
                let stage = Stage::new(layers, image.documents.config.value, None);
                self.images.insert(name.to_owned(), stage);
                Ok(Found::Image)
            }
        }
    }

    /// Returns the instructions of all stages that are needed.
    pub(crate) fn needed_instructions(&self) -> impl Iterator<Item = &Instruction> {
        let stages = self.plan.needed.iter();
        stages
            .filter_map(|&index| self.plan.stages.get(index))
            .flat_map(|stage| &stage.instructions)
    }

    /// Returns the name of a stage, if it has one.
    pub(crate) fn stage_name(&self, index: usize) -> Option<&str> {
        self.plan.stages.get(index)?.name.as_deref()
    }

    fn refused(&self, diagnostic: &Diagnostic) -> Error {
        refused(self.request, std::slice::from_ref(diagnostic))
    }

    fn located(&self, error: StepError, instruction: &Instruction) -> Error {
        match error {
            StepError::Diagnostic(diagnostic) => self.refused(&diagnostic),
            StepError::Failed(source) => Error::At {
                location: format!(
                    "{}:{}: `{}` failed",
                    self.request.file_name,
                    instruction.span.line,
                    instruction.original.lines().next().unwrap_or_default(),
                ),
                source: Box::new(source),
            },
        }
    }
}

/// Where [`Builder::find`] put what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Host,
    Image,
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

fn refused(request: &BuildRequest, diagnostics: &[Diagnostic]) -> Error {
    let draw = |one: &Diagnostic| render(one, &request.file_name, &request.text);
    Error::Dockerfile {
        rendered: diagnostics.iter().map(draw).collect(),
    }
}

/// A base without `PATH` gets the usual one, as BuildKit writes it.
fn set_default_environment(config: &mut ImageConfig, env: &[(String, String)]) {
    let has_path = config
        .config
        .env
        .iter()
        .any(|entry| entry.starts_with("PATH="));
    if let Some((name, value)) = env.iter().find(|(name, _)| name == "PATH" && !has_path) {
        config.config.env.push(format!("{name}={value}"));
    }
}

fn platform_of(platform: &corten_spec::Platform) -> corten_dockerfile::Platform {
    let variant = platform.variant.as_deref().unwrap_or_default();
    corten_dockerfile::Platform::new(&platform.os, &platform.architecture, variant)
}

pub(crate) fn spec_platform(platform: &corten_dockerfile::Platform) -> corten_spec::Platform {
    let variant = (!platform.variant.is_empty()).then(|| platform.variant.clone());
    let named = corten_spec::Platform::new(&platform.os, &platform.architecture);
    corten_spec::Platform { variant, ..named }
}

fn now() -> Timestamp {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    Timestamp {
        seconds,
        nanoseconds: now.subsec_nanos(),
    }
}

fn rfc3339(time: Timestamp) -> String {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or_default();
    jiff::Timestamp::new(time.seconds, nanoseconds)
        .unwrap_or_default()
        .to_string()
}
