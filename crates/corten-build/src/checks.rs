//! What is found in a Dockerfile that can be built all the same.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{
    Base, Diagnostic, Finding, Lint, LintBase, LintOptions, LintScope, PlanOptions, lint, parse,
    plan,
};
use corten_spec::{ImageConfig, Platform};

use crate::build::{Builder, platform_of, refused, spec_platform};
use crate::event::Event;
use crate::image::base_config;
use crate::{BuildRequest, Result};

/// Returns the config of the image that FROM names, if it can be had.
pub type KnownConfig<'a> = dyn Fn(&str, &Platform) -> Option<ImageConfig> + 'a;

/// Judges the Dockerfile of `request`, and builds nothing.
///
/// `known` is asked for the image of each stage that is looked at: what its config says counts, too.
pub fn check(request: &BuildRequest, scope: LintScope, known: &KnownConfig<'_>) -> Lint {
    let (platform, host) = (
        platform_of(&request.platform),
        platform_of(&Platform::host()),
    );
    let options = PlanOptions {
        target: request.target.as_deref(),
        build_args: &request.build_args,
        platform: &platform,
        build_platform: &host,
        contexts: &request.contexts,
    };
    lint(
        &request.text,
        &LintOptions {
            plan: options,
            check: request.check.as_ref(),
            ignore: &request.ignore,
            bases: &bases(request, &options, scope, known),
            scope,
        },
    )
}

fn bases(
    request: &BuildRequest,
    options: &PlanOptions<'_>,
    scope: LintScope,
    known: &KnownConfig<'_>,
) -> BTreeMap<usize, LintBase> {
    // What cannot be planned is reported by the check itself.
    let Some(plan) = parse(&request.text)
        .ok()
        .and_then(|dockerfile| plan(&dockerfile, options).ok())
    else {
        return BTreeMap::new();
    };
    let all = scope == LintScope::All && options.target.is_none_or(str::is_empty);
    let wanted = plan.stages.iter().enumerate();
    let wanted = wanted.filter(|(index, _)| all || plan.needed.contains(index));
    let known = |(index, stage): (usize, &corten_dockerfile::PlannedStage)| match &stage.base {
        Base::Image { name, platform } => {
            Some((index, base(&known(name, &spec_platform(platform))?)))
        }
        Base::Scratch | Base::Stage(_) => None,
    };
    wanted.filter_map(known).collect()
}

fn base(config: &ImageConfig) -> LintBase {
    let says = !config.os.is_empty() && !config.architecture.is_empty();
    let variant = config.variant.as_deref().unwrap_or_default();
    let platform = || corten_dockerfile::Platform::new(&config.os, &config.architecture, variant);
    LintBase {
        config: base_config(&config.config),
        platform: says.then(platform),
        on_build: config.config.on_build.clone(),
    }
}

/// Refuses the build where a finding is an error, before anything runs; tells whether that was
/// asked, and so everything found.
pub(crate) fn refuse(builder: &Builder<'_>) -> Result<bool> {
    let request = builder.request;
    let first = check(request, LintScope::Needed, &|_, _| None);
    if !first.is_strict {
        return Ok(false);
    }
    let lints = for_each_target(request, &|name, platform| {
        builder.sources.find(name, platform).ok()?;
        let image = builder.sources.known_image(name, platform)?;
        Some(image.documents.config.value)
    });
    if lints.iter().any(Lint::is_error) {
        let found: Vec<Diagnostic> = distinct(&lints).into_iter().map(diagnostic).collect();
        return Err(refused(request, &found));
    }
    Ok(true)
}

/// Judges what each target needs.
fn for_each_target(request: &BuildRequest, known: &KnownConfig<'_>) -> Vec<Lint> {
    let mut lints = vec![check(request, LintScope::Needed, known)];
    for target in &request.more_targets {
        let request = BuildRequest {
            target: Some(target.clone()),
            ..request.clone()
        };
        lints.push(check(&request, LintScope::Needed, known));
    }
    lints
}

/// What is found in a stage that several targets share is told once.
fn distinct(lints: &[Lint]) -> Vec<&Finding> {
    let mut told = BTreeSet::new();
    let all = lints.iter().flat_map(|lint| &lint.findings);
    all.filter(|finding| told.insert(finding.line())).collect()
}

/// Warns of what is found, with what is known of the images that the build has used.
pub(crate) fn warn(builder: &Builder<'_>) {
    let lints = for_each_target(builder.request, &|name, platform| {
        let image = builder.sources.known_image(name, platform)?;
        Some(image.documents.config.value)
    });
    for finding in distinct(&lints) {
        (builder.listener)(Event::Warning(&finding.line()));
    }
}

fn diagnostic(finding: &Finding) -> Diagnostic {
    let message = format!("{}: {}", finding.rule.name(), finding.detail);
    let hint = "the check option `error=true` makes this an error";
    let diagnostic = Diagnostic::new(message, finding.span);
    match finding.rule.url() {
        Some(url) => diagnostic.with_hint(format!("{hint}; see {url}")),
        None => diagnostic.with_hint(hint),
    }
}
