//! Which stages a build needs and what each is built on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Span};
use crate::document::{Dockerfile, Stage};
use crate::graph::EdgeKind;
use crate::instruction::{Instruction, Kind};
use crate::platform::Platform;
use crate::resolve::{BaseConfig, StageState};
use crate::scope::{self, Base, Scope};
use crate::settings;
use crate::suggest;
use crate::words::Word;

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

/// The proxies: usable without ARG, and in neither history nor cache keys.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

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

fn on_build(instructions: &[Instruction]) -> Vec<Instruction> {
    let triggers = instructions
        .iter()
        .filter_map(|instruction| match &instruction.kind {
            Kind::OnBuild(on_build) => Some((*on_build.trigger).clone()),
            _ => None,
        });
    triggers.collect()
}

fn mounted(mount: &crate::instruction::Mount) -> Option<Word> {
    let from = mount.option("from").filter(|from| !from.is_empty())?;
    Some(Word {
        text: from.to_owned(),
        span: mount.span,
    })
}

pub(crate) fn scope_of(
    dockerfile: &Dockerfile,
    options: &PlanOptions<'_>,
) -> Result<Scope, Diagnostic> {
    let mut global_args = predefined(dockerfile, options);
    for instruction in &dockerfile.global_args {
        let Kind::Arg(args) = &instruction.kind else {
            continue;
        };
        for arg in args {
            let name = &arg.name.text;
            let value = match (options.build_args.get(name), &arg.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => {
                    scope::expand_word(default, &global_args, dockerfile.escape)?.text
                }
                (None, None) => continue,
            };
            scope::set(&mut global_args, name, &value);
        }
    }
    Ok(Scope {
        escape: dockerfile.escape,
        build_args: options.build_args.clone(),
        global_args,
        proxy_env: proxies(options.build_args),
        platform: options.platform.clone(),
        stage_names: BTreeMap::new(),
        n_stages: dockerfile.stages.len(),
    })
}

/// The arguments every Dockerfile has, for FROM and for an ARG without a default.
fn predefined(dockerfile: &Dockerfile, options: &PlanOptions<'_>) -> Vec<(String, String)> {
    let (build, target) = (options.build_platform, options.platform);
    let last = dockerfile
        .stages
        .last()
        .and_then(|stage| stage.from.name.as_ref());
    let stage = options
        .target
        .or(last.map(|name| name.text.as_str()))
        .unwrap_or("default");
    let values = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone()),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", target.variant.clone()),
        ("TARGETSTAGE", stage.to_owned()),
    ];
    values
        .into_iter()
        .map(|(name, value)| {
            let value = options.build_args.get(name).cloned().unwrap_or(value);
            (name.to_owned(), value)
        })
        .collect()
}

/// The variables that a RUN gets for the proxies among the build arguments, in both cases.
fn proxies(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for proxy in PROXIES {
        let given = build_args
            .iter()
            .rev()
            .find(|(name, _)| name.eq_ignore_ascii_case(proxy));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            env.push((proxy.to_owned(), value.clone()));
            env.push((proxy.to_ascii_lowercase(), value.clone()));
        }
    }
    env
}

fn planned(
    stage: &Stage,
    earlier: &[PlannedStage],
    scope: &Scope,
    options: &PlanOptions<'_>,
) -> Result<PlannedStage, Diagnostic> {
    let from = &stage.from;
    let name = scope::expand_word(&from.base, &scope.global_args, scope.escape)?;
    if name.text.is_empty() {
        let message = format!("`{}` is empty", from.base.text);
        let diagnostic = Diagnostic::new(message, from.base.span);
        return Err(match name.unset.first() {
            Some(variable) => diagnostic.with_hint(format!(
                "`{variable}` needs an ARG with a value before the first FROM"
            )),
            None => diagnostic,
        });
    }
    let mut platform = match &from.platform {
        None => options.platform.clone(),
        Some(word) => {
            let text = scope::expand_word(word, &scope.global_args, scope.escape)?.text;
            if text.is_empty() {
                let message = format!("the platform `{}` is empty", word.text);
                return Err(Diagnostic::new(message, word.span));
            }
            Platform::parse(&text, options.build_platform)
                .map_err(|error| scope::refused(&error, word))?
        }
    };
    // BuildKit's ONBUILD of the text counts all the same for those built on the context.
    let triggers = on_build(&stage.instructions);
    if let Some(context) = context_of(stage, options) {
        return Ok(PlannedStage {
            name: Some(context.clone()),
            base: Base::Image {
                name: context,
                platform: platform.clone(),
            },
            platform,
            span: stage.span,
            instructions: Vec::new(),
            triggers,
            is_context: true,
        });
    }
    let base = match scope.stage_names.get(&name.text) {
        Some(index) => {
            if let Some(base) = earlier.get(*index) {
                platform = base.platform.clone();
            }
            Base::Stage(*index)
        }
        None if name.text == "scratch" => Base::Scratch,
        None => Base::Image {
            name: name.text,
            platform: platform.clone(),
        },
    };
    Ok(PlannedStage {
        name: from.name.as_ref().map(|name| name.text.clone()),
        base,
        platform,
        span: stage.span,
        instructions: stage.instructions.clone(),
        triggers,
        is_context: false,
    })
}

/// Returns the name of the context that has the place of `stage`. What BuildKit itself calls by a name
/// is not replaced.
fn context_of(stage: &Stage, options: &PlanOptions<'_>) -> Option<String> {
    let name = &stage.from.name.as_ref()?.text;
    let is_own = ["scratch", "context"].contains(&name.as_str());
    (!is_own && options.contexts.contains(name)).then(|| name.clone())
}

fn wanted(
    targets: &[&str],
    stages: &[PlannedStage],
    scope: &Scope,
) -> Result<Vec<usize>, Diagnostic> {
    let mut wanted = Vec::new();
    for target in targets {
        let index = find(Some(target), stages, scope)?;
        if !wanted.contains(&index) {
            wanted.push(index);
        }
    }
    if wanted.is_empty() {
        wanted.push(find(None, stages, scope)?);
    }
    Ok(wanted)
}

/// Refuses `TARGETSTAGE`, which has one value in a build, where there are several targets.
fn one_target_stage(dockerfile: &Dockerfile) -> Result<(), Diagnostic> {
    const NAME: &str = "TARGETSTAGE";
    let froms = dockerfile.stages.iter().flat_map(|stage| {
        let words = [Some(&stage.from.base), stage.from.platform.as_ref()];
        words.into_iter().flatten()
    });
    let in_stages = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    let args = dockerfile.global_args.iter().chain(in_stages);
    let args = args.filter_map(|instruction| match &instruction.kind {
        Kind::Arg(args) => Some(args),
        _ => None,
    });
    let args = args
        .flatten()
        .flat_map(|arg| [Some(&arg.name), arg.default.as_ref()]);
    let found = froms
        .chain(args.flatten())
        .find(|word| word.text.contains(NAME));
    let Some(word) = found else {
        return Ok(());
    };
    let message = format!("`{NAME}` cannot be several targets at once");
    Err(Diagnostic::new(message, word.span).with_hint("build the targets one after the other"))
}

fn find(wanted: Option<&str>, stages: &[PlannedStage], scope: &Scope) -> Result<usize, Diagnostic> {
    let last = stages.len().saturating_sub(1);
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Ok(last);
    };
    if let Some(index) = scope.stage_names.get(&wanted.to_lowercase()) {
        return Ok(*index);
    }
    let span = stages.last().map(|stage| stage.span).unwrap_or_default();
    let names: Vec<&str> = stages
        .iter()
        .filter_map(|stage| stage.name.as_deref())
        .collect();
    let diagnostic = Diagnostic::new(format!("there is no stage `{wanted}`"), span);
    let diagnostic = match suggest::nearest(wanted, names.iter().copied()) {
        Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
        None => diagnostic.with_label("the last stage"),
    };
    Err(diagnostic.with_hint(if names.is_empty() {
        "no stage has a name; give one with `FROM … AS name`".to_owned()
    } else {
        format!("the stages are `{}`", names.join("`, `"))
    }))
}

fn lookup(scope: &Scope, name: &str) -> Option<String> {
    let global = || {
        scope
            .global_args
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, v)| v)
    };
    scope
        .build_args
        .get(name)
        .or_else(global)
        .filter(|value| !value.is_empty())
        .cloned()
}

fn unconsumed(dockerfile: &Dockerfile, build_args: &BTreeMap<String, String>) -> Vec<String> {
    let in_stages = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    let mut declared = BTreeSet::new();
    for instruction in dockerfile.global_args.iter().chain(in_stages) {
        let kind = match &instruction.kind {
            Kind::OnBuild(on_build) => &on_build.trigger.kind,
            kind => kind,
        };
        if let Kind::Arg(args) = kind {
            declared.extend(args.iter().map(|arg| arg.name.text.as_str()));
        }
    }
    let built_in = |name: &str| {
        PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
            || settings::is_known(name)
            || name == "SOURCE_DATE_EPOCH"
            || ["BUILD", "TARGET"].iter().any(|side| {
                name.strip_prefix(side).is_some_and(|rest| {
                    matches!(
                        rest,
                        "PLATFORM" | "OS" | "OSVERSION" | "ARCH" | "VARIANT" | "STAGE"
                    )
                })
            })
    };
    let names = build_args
        .keys()
        .filter(|name| !declared.contains(name.as_str()));
    names.filter(|name| !built_in(name)).cloned().collect()
}
