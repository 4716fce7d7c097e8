//! A stage from its base to its end.

use std::sync::atomic::Ordering;

use corten_dockerfile::{
    Base, BaseConfig, CopyStep, Diagnostic, Instruction, PlannedStage, Platform, Source, Span,
    StageState, triggers, unsupported_in,
};
use corten_snapshot::layers_of;
use corten_spec::ImageConfig;

use crate::Result;
use crate::base::{BaseImage, Named};
use crate::board::Board;
use crate::build::{Builder, refused, spec_platform};
use crate::image::{base_config, history};
use crate::request::CacheUse;
use crate::schedule::Next;
use crate::stage::{Finished, Origin, Shared, Stage};
use crate::steps::Task;

/// A stage that can be built as soon as those that it needs are.
#[derive(Debug)]
pub(crate) struct Prepared {
    base: Beginning,
    /// The named context whose files are the first layer.
    files: Option<Files>,
    /// Triggers of the base image first.
    instructions: Vec<Instruction>,
}

/// A named context that is a directory, where an image is asked for.
#[derive(Debug)]
struct Files {
    name: String,
    platform: Platform,
}

/// What a stage begins with.
#[derive(Debug)]
enum Beginning {
    /// Another stage, which is built by then.
    Stage(usize),
    /// An image, or nothing.
    Image(Box<(Stage, StageState)>),
}

impl Builder<'_> {
    /// Does what the board hands out.
    pub(crate) fn perform(&self, board: &Board<Prepared>, next: Next<Prepared>) -> Result<()> {
        match next {
            Next::Prepare(index) => {
                if let Some(planned) = self.plan.stages.get(index) {
                    let (prepared, needs) = self.prepare(index, planned)?;
                    board.prepared(index, prepared, needs);
                }
            }
            Next::Build(index, prepared) => {
                if let Some(finished) = self.build_stage(index, prepared, board)?
                    && let Some(slot) = self.finished.get(index)
                {
                    slot.get_or_init(|| finished);
                    board.done(index);
                }
            }
            Next::Wait | Next::End => {}
        }
        Ok(())
    }

    /// Finds what stage `index` is based on, and returns it with all stages that it needs, those of
    /// its base image's triggers included.
    fn prepare(&self, index: usize, planned: &PlannedStage) -> Result<(Prepared, Vec<usize>)> {
        let mut needs = Vec::new();
        let mut files = None;
        let (base, mut instructions) = match &planned.base {
            Base::Stage(base) => {
                needs.push(*base);
                (Beginning::Stage(*base), self.plan.stage_triggers(index))
            }
            Base::Scratch => (self.on_nothing(index, planned), Vec::new()),
            Base::Image { name, platform } => {
                match self.sources.find(name, &spec_platform(platform))? {
                    Named::Image(image) => self.on_image(&image, index, planned)?,
                    Named::Scratch => (self.on_nothing(index, planned), Vec::new()),
                    Named::Directory { .. } => {
                        files = Some(Files {
                            name: name.clone(),
                            platform: platform.clone(),
                        });
                        (self.on_nothing(index, planned), Vec::new())
                    }
                }
            }
        };
        instructions.extend(planned.instructions.iter().cloned());
        let others = self.plan.stages_of(&instructions, index);
        needs.extend(others.map_err(|one| self.refused(&one))?);
        let prepared = Prepared {
            base,
            files,
            instructions,
        };
        Ok((prepared, needs))
    }

    fn on_nothing(&self, index: usize, planned: &PlannedStage) -> Beginning {
        let mut config = ImageConfig::scratch(&spec_platform(&planned.platform));
        "/".clone_into(&mut config.config.working_dir);
        let stage = Stage::new(Vec::new(), config, None);
        let state = self.plan.begin(index, &BaseConfig::default());
        Beginning::Image(Box::new((stage, state)))
    }

    fn on_image(
        &self,
        image: &BaseImage,
        index: usize,
        planned: &PlannedStage,
    ) -> Result<(Beginning, Vec<Instruction>)> {
        let mut config = image.documents.config.value.clone();
        let mut on_build = std::mem::take(&mut config.config.on_build);
        if planned.is_context {
            // As for BuildKit, for which the stage is done before anything could be triggered.
            on_build.clear();
        }
        let triggers = triggers(&on_build, planned.span).map_err(|one| self.refused(&one))?;
        let mut problems = unsupported_in(&triggers);
        problems.extend(crate::run::refused(&triggers, &self.request.run));
        if !problems.is_empty() {
            return Err(refused(self.request, &problems));
        }
        let state = self.plan.begin(index, &base_config(&config.config));
        let origin = Origin {
            reference: image.reference.clone(),
            digest: image.digest.clone(),
        };
        let stage = Stage::new(layers_of(&image.documents)?, config, Some(origin));
        Ok((Beginning::Image(Box::new((stage, state))), triggers))
    }

    fn begin(&self, index: usize, base: Beginning) -> Result<(Stage, StageState)> {
        let (mut stage, state) = match base {
            Beginning::Image(begun) => *begun,
            Beginning::Stage(base) => {
                let Some(finished) = self.finished(base) else {
                    let message = "the stage that it is based on is not built";
                    return Err(self.refused(&Diagnostic::new(message, Span::default())));
                };
                let mut stage = finished.stage.begin_on();
                // Triggers are for those who build on an image, once.
                stage.config.config.on_build.clear();
                (stage, self.plan.begin_on(index, &finished.state))
            }
        };
        let is_context = |stage: &PlannedStage| stage.is_context;
        if !self.plan.stages.get(index).is_some_and(is_context) {
            set_default_environment(&mut stage.config, &state.config_env);
        }
        Ok((stage, state))
    }

    /// Tells whether steps of the stage called `name` are looked up.
    fn cache_of(&self, name: &str) -> CacheUse {
        let mut uncached = self.request.uncached_stages.iter();
        if uncached.any(|uncached| uncached.eq_ignore_ascii_case(name)) {
            return CacheUse::Ignore;
        }
        self.request.cache
    }

    /// Returns `None` if another stage failed meanwhile.
    fn build_stage(
        &self,
        index: usize,
        prepared: Prepared,
        board: &Board<Prepared>,
    ) -> Result<Option<Finished>> {
        let Prepared {
            base,
            files,
            instructions,
        } = prepared;
        let Some(planned) = self.plan.stages.get(index) else {
            return Ok(None);
        };
        let (mut stage, mut state) = self.begin(index, base)?;
        let name = self.stage_name(index);
        let name = name.map_or_else(|| index.to_string(), str::to_owned);
        stage.cache = self.cache_of(&name);
        if let Some(files) = files {
            self.begin_with_files(&mut stage, files, index)?;
            stage.n_base = stage.layers.len();
        }
        for (number, instruction) in instructions.iter().enumerate() {
            if board.is_stopped() {
                return Ok(None);
            }
            let task = Task {
                step: self.n_steps.fetch_add(1, Ordering::Relaxed) + 1,
                stage: &name,
                number: number + 1,
                total: instructions.len(),
                platform: &planned.platform,
                instruction,
            };
            self.step(&mut stage, &mut state, &task)?;
        }
        let stage = Shared::new(stage);
        Ok(Some(Finished { stage, state }))
    }
}

impl Builder<'_> {
    /// Makes the first layer of what a named context holds.
    fn begin_with_files(&self, stage: &mut Stage, files: Files, index: usize) -> Result<()> {
        let planned = self.plan.stages.get(index);
        let span = planned.map(|planned| planned.span).unwrap_or_default();
        let shown = format!("FROM {}", files.name);
        let copy = CopyStep {
            from: Some(Base::Image {
                name: files.name,
                platform: files.platform,
            }),
            sources: vec![Source::Path("/".to_owned())],
            dest: "/".to_owned(),
            chown: None,
            chmod: None,
            unpack_paths: false,
            unpack_addresses: false,
            link: false,
            excludes: Vec::new(),
        };
        let made = self.copy(stage, &copy, span);
        let made = made.map_err(|error| self.located_at(error, span, &shown))?;
        stage.created = Some(made.outcome.created);
        let mut is_empty = true;
        if let Some(layer) = made.outcome.layer {
            is_empty = false;
            layer.is_of(|| self.location(span, &shown));
            stage.push(layer, made.entries.as_deref())?;
        }
        let entry = history(&self.created_of(stage), shown, is_empty);
        stage.config.history.push(entry);
        Ok(())
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
