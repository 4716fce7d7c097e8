//! What a Dockerfile should not do though it can be built: BuildKit's rules, by name.
//!
//! The text is judged as BuildKit judges it: first the words of the file, then its FROMs, then the
//! steps of its stages, one after the other as they would be run.

mod casing;
mod copies;
mod description;
mod expose;
mod findings;
mod from;
mod names;
mod reference;
mod rule;
pub(crate) mod secrets;
mod stages;
mod variables;

use std::collections::BTreeMap;

pub use findings::Finding;
pub use rule::Rule;

use crate::check::Check;
use crate::diagnostic::Diagnostic;
use crate::document::{self, Dockerfile};
use crate::ignore::Ignore;
use crate::instruction::Kind;
use crate::plan::{self, PlanOptions};
use crate::platform::Platform;
use crate::resolve::BaseConfig;
use crate::settings::CHECK;

use findings::{Findings, Place};

/// What a Dockerfile is judged with.
#[derive(Debug, Clone, Copy)]
pub struct LintOptions<'a> {
    /// Target, arguments and platforms.
    pub plan: PlanOptions<'a>,
    /// Which rules are applied; `None` for what the build argument `BUILDKIT_DOCKERFILE_CHECK` says,
    /// or else the Dockerfile itself.
    pub check: Option<&'a Check>,
    /// What is left out of the build context.
    pub ignore: &'a Ignore,
    /// What is known of the images that stages begin with, by the number of the stage.
    pub bases: &'a BTreeMap<usize, LintBase>,
    /// Whose steps are looked at.
    pub scope: LintScope,
}

/// What is known of the image that a stage begins with.
///
/// Of one that is not known it is taken that it sets every variable, and no shell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LintBase {
    /// What the stage takes over.
    pub config: BaseConfig,
    /// What the image runs on, if its config says.
    pub platform: Option<Platform>,
    /// Its triggers.
    pub on_build: Vec<String>,
}

/// Whose steps are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LintScope {
    /// Those of every stage, unless a target is named: a check alone.
    All,
    /// Those of the stages that are built.
    Needed,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// In the order of the lines.
    pub findings: Vec<Finding>,
    /// What keeps the Dockerfile from being built, and the rest of it from being judged.
    pub error: Option<Diagnostic>,
    /// Whether a finding is to fail the build.
    pub is_strict: bool,
}

impl Lint {
    /// Tells whether the build is to fail.
    pub fn is_error(&self) -> bool {
        self.is_strict && !self.findings.is_empty()
    }
}

/// Judges the text of a Dockerfile.
///
/// # Examples
///
/// ```
/// use std::collections::{BTreeMap, BTreeSet};
///
/// use corten_dockerfile::{
///     Ignore, LintOptions, LintScope, PlanOptions, Platform, Rule, lint,
/// };
///
/// let platform = Platform::new("linux", "amd64", "");
/// let options = LintOptions {
///     plan: PlanOptions {
///         target: None,
///         build_args: &BTreeMap::new(),
///         platform: &platform,
///         build_platform: &platform,
///         contexts: &BTreeSet::new(),
///     },
///     check: None,
///     ignore: &Ignore::default(),
///     bases: &BTreeMap::new(),
///     scope: LintScope::All,
/// };
/// let found = lint("FROM debian AS Base\n", &options).findings;
/// assert_eq!(found[0].rule, Rule::StageNameCasing);
/// assert_eq!(found[0].detail, "Stage name 'Base' should be lowercase");
/// ```
pub fn lint(text: &str, options: &LintOptions<'_>) -> Lint {
    let (dockerfile, errors) = document::parse_partly(text);
    let (check, wrong) = match chosen(&dockerfile, options) {
        Ok(check) => (check, None),
        Err(wrong) => (Check::default(), Some(wrong)),
    };
    let is_strict = check.error;
    let mut findings = Findings::new(check);
    let error = match wrong.or_else(|| errors.into_iter().next()) {
        Some(error) => {
            read(&dockerfile, &mut findings);
            findings.keep_before(error.span);
            Some(error)
        }
        None => judge(&dockerfile, options, &mut findings).err(),
    };
    Lint {
        findings: findings.finish(),
        error,
        is_strict,
    }
}

/// Returns the options that count: of several sources the nearest to who builds.
fn chosen(dockerfile: &Dockerfile, options: &LintOptions<'_>) -> Result<Check, Diagnostic> {
    let own = dockerfile.directives.check.as_ref();
    match (options.check, options.plan.build_args.get(CHECK)) {
        (Some(given), _) => Ok(given.clone()),
        (None, Some(text)) => Check::parse(text).map_err(|message| {
            let first = dockerfile.stages.first();
            let place = first.map(|stage| stage.span).unwrap_or_default();
            Diagnostic::new(message, place).with_label(format!("in the build argument `{CHECK}`"))
        }),
        (None, None) => Ok(own.map(|own| own.value.clone()).unwrap_or_default()),
    }
}

fn judge(
    dockerfile: &Dockerfile,
    options: &LintOptions<'_>,
    findings: &mut Findings,
) -> Result<(), Diagnostic> {
    read(dockerfile, findings);
    names::stages(dockerfile, findings);
    casing::commands(dockerfile, findings);
    from::defaults(dockerfile, &options.plan, findings);
    from::arguments(dockerfile, &options.plan, findings);
    let plan = plan::plan(dockerfile, &options.plan)?;
    stages::judge(dockerfile, &plan, options, findings)
}

/// Applies the rules about instructions as they are read.
fn read(dockerfile: &Dockerfile, findings: &mut Findings) {
    for span in &dockerfile.interrupted {
        findings.report(
            Rule::NoEmptyContinuation,
            Place::line(*span),
            "Empty continuation line",
        );
    }
    let args = |instruction: &crate::Instruction, findings: &mut Findings| {
        if let Kind::Arg(args) = &instruction.kind {
            description::args(args, instruction, findings);
        }
    };
    for instruction in &dockerfile.global_args {
        args(instruction, findings);
    }
    for stage in &dockerfile.stages {
        names::from(stage, findings);
        description::stage(stage, findings);
        for instruction in &stage.instructions {
            args(instruction, findings);
            if matches!(instruction.kind, Kind::Maintainer(_)) {
                findings.local(&instruction.comments).report(
                    Rule::MaintainerDeprecated,
                    Place::of(instruction),
                    "Maintainer instruction is deprecated in favor of using label",
                );
            }
        }
    }
}
