//! Which stages a build needs and what each is built on.

pub(crate) mod arguments;
mod stages;
mod targets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Span};
use crate::document::Dockerfile;
use crate::graph::EdgeKind;
use crate::instruction::{Instruction, Kind};
use crate::platform::Platform;
use crate::resolve::{BaseConfig, StageState};
use crate::scope::{Base, Scope};
use crate::settings;
use crate::words::Word;

use arguments::{lookup, scope_of, unconsumed};
use stages::planned;
use targets::{one_target_stage, wanted};

/// What a plan is made for.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions<'a> {
    /// The name of the stage that is wanted; the last one if `None`.
    pub target: Option<&'a str>,
    /// Values for ARG, by name.
    pub build_args: &'a BTreeMap<String, String>,
    /// What the image is for.
    pub platform: &'a Platform,
    /// What the build runs on.
    pub build_platform: &'a Platform,
    /// Names of named contexts, as short as they can be written (`debian`, not
    /// `docker.io/library/debian:latest`): each takes the place of the stage of that name.
    pub contexts: &'a BTreeSet<String>,
}

/// What is to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every stage of the Dockerfile, by its number.
    pub stages: Vec<PlannedStage>,
    /// The numbers of the stages that are needed, in the order of the Dockerfile; no other has to be
    /// looked at.
    pub needed: Vec<usize>,
    /// The number of the stage that is wanted; of several the first.
    pub target: usize,
    /// The numbers of all stages that are wanted, in the order in which they were asked for.
    pub targets: Vec<usize>,
    /// Build arguments that no ARG takes, nor the builder itself.
    pub unconsumed: Vec<String>,
    /// The value of `SOURCE_DATE_EPOCH` from the build arguments or a global ARG, unless empty.
    pub source_date_epoch: Option<String>,
    scope: Arc<Scope>,
}

/// A stage with what it is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStage {
    /// The name after AS, in lower case.
    pub name: Option<String>,
    /// What it begins with.
    pub base: Base,
    /// What it is for.
    pub platform: Platform,
    /// Where its FROM is.
    pub span: Span,
    /// Its instructions, FROM not included; none if a context has its place.
    pub instructions: Vec<Instruction>,
    /// What is triggered where another stage is built on it.
    pub triggers: Vec<Instruction>,
    /// Whether a named context has its place, which is its base then.
    pub is_context: bool,
}

/// Works out the stages of `dockerfile` that `options` ask for.
///
/// # Errors
///
/// A FROM that names nothing, an unknown target, and in the stages that are needed a `--from` that
/// is not an earlier stage.
pub fn plan(dockerfile: &Dockerfile, options: &PlanOptions<'_>) -> Result<Plan, Diagnostic> {
    plan_targets(dockerfile, options, options.target.as_slice())
}

/// Works out what one build of all `targets` needs; `options.target` is not looked at.
///
/// Without any target the last stage is wanted, and a stage that is named twice is wanted once.
///
/// # Errors
///
/// As for [`plan`], and where `TARGETSTAGE` would have to be several targets at once.
pub fn plan_targets(
    dockerfile: &Dockerfile,
    options: &PlanOptions<'_>,
    targets: &[&str],
) -> Result<Plan, Diagnostic> {
    let options = &PlanOptions {
        target: targets.first().copied(),
        ..*options
    };
    settings::check(dockerfile, options.build_args)?;
    let mut scope = scope_of(dockerfile, options)?;
    let mut stages = Vec::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let planned = planned(stage, &stages, &scope, options)?;
        if let Some(name) = &planned.name {
            scope.stage_names.insert(name.clone(), index);
        }
        stages.push(planned);
    }
    let source_date_epoch = lookup(&scope, "SOURCE_DATE_EPOCH");
    let wanted = wanted(targets, &stages, &scope)?;
    if wanted.len() > 1 {
        one_target_stage(dockerfile)?;
    }
    let target = wanted.first().copied().unwrap_or_default();
    let unconsumed = unconsumed(dockerfile, options.build_args);
    let scope = Arc::new(scope);
    let needed = Vec::new();
    let mut plan = Plan {
        stages,
        needed,
        target,
        targets: wanted,
        unconsumed,
        source_date_epoch,
        scope,
    };
    plan.needed = plan.closure(&plan.targets)?;
    Ok(plan)
}

impl Plan {
    /// Returns `roots` and every stage they need, ascending.
    ///
    /// # Errors
    ///
    /// A `--from` of one of them that is not an earlier stage.
    pub fn closure(&self, roots: &[usize]) -> Result<Vec<usize>, Diagnostic> {
        let mut needed = BTreeSet::new();
        let mut waiting = roots.to_vec();
        while let Some(index) = waiting.pop() {
            let Some(stage) = self.stages.get(index) else {
                continue;
            };
            if !needed.insert(index) {
                continue;
            }
            if let Base::Stage(base) = stage.base {
                waiting.push(base);
                // Triggers of a stage run in the stages built on it.
                if let Some(base) = self.stages.get(base) {
                    waiting.extend(self.stages_of(&base.triggers, index)?);
                }
            }
            waiting.extend(self.stages_of(&stage.instructions, index)?);
        }
        Ok(needed.into_iter().collect())
    }

    /// Returns the stages that instructions of stage `index` copy from or mount.
    ///
    /// Call it for the triggers of a base image, which are not known when the plan is made, and pass
    /// the result to [`Plan::closure`].
    ///
    /// # Errors
    ///
    /// A `--from` that is not an earlier stage.
    pub fn stages_of(
        &self,
        instructions: &[Instruction],
        index: usize,
    ) -> Result<Vec<usize>, Diagnostic> {
        let mut found = Vec::new();
        for instruction in instructions {
            let scope = &self.scope;
            let bases: Vec<Base> = match &instruction.kind {
                Kind::Copy(copy) => {
                    let from = copy.from.iter();
                    from.map(|from| scope.copy_from(from, index))
                        .collect::<Result<_, _>>()?
                }
                Kind::Run(run) => {
                    let from = run.mounts.iter().filter_map(mounted);
                    from.map(|from| scope.mount_from(&from, index))
                        .collect::<Result<_, _>>()?
                }
                _ => Vec::new(),
            };
            found.extend(bases.into_iter().filter_map(|base| match base {
                Base::Stage(stage) => Some(stage),
                Base::Scratch | Base::Image { .. } => None,
            }));
        }
        Ok(found)
    }

    /// Returns what one instruction of stage `index` copies from or mounts, and how; what cannot be
    /// had is left out.
    pub(crate) fn sources_of(
        &self,
        instruction: &Instruction,
        index: usize,
    ) -> Vec<(EdgeKind, Base)> {
        let (kind, words): (_, Vec<Word>) = match &instruction.kind {
            Kind::Copy(copy) => (EdgeKind::Copy, copy.from.iter().cloned().collect()),
            Kind::Run(run) => (
                EdgeKind::Mount,
                run.mounts.iter().filter_map(mounted).collect(),
            ),
            _ => return Vec::new(),
        };
        let bases = words
            .iter()
            .filter_map(|word| self.scope.copy_from(word, index).ok());
        bases.map(|base| (kind, base)).collect()
    }

    /// Returns the triggers that stage `index` runs first because it is built on a stage with
    /// ONBUILD.
    pub fn stage_triggers(&self, index: usize) -> Vec<Instruction> {
        match self.stages.get(index).map(|stage| &stage.base) {
            Some(Base::Stage(base)) => {
                let base = self.stages.get(*base);
                base.map(|base| base.triggers.clone()).unwrap_or_default()
            }
            Some(Base::Scratch | Base::Image { .. }) | None => Vec::new(),
        }
    }

    /// Returns the state in which stage `index` begins, on an image with `config`.
    pub fn begin(&self, index: usize, config: &BaseConfig) -> StageState {
        StageState::on_image(Arc::clone(&self.scope), index, config)
    }

    /// Returns the state in which stage `index` begins, on the stage that ended in `base`.
    pub fn begin_on(&self, index: usize, base: &StageState) -> StageState {
        StageState::on_stage(index, base)
    }
}

fn mounted(mount: &crate::instruction::Mount) -> Option<Word> {
    let from = mount.option("from").filter(|from| !from.is_empty())?;
    Some(Word {
        text: from.to_owned(),
        span: mount.span,
    })
}
