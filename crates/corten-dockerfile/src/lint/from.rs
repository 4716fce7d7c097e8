//! The arguments and platforms of FROM.

use std::collections::BTreeMap;

use super::LintBase;
use super::findings::{Findings, Local, Place};
use super::reference::is_reference;
use super::rule::Rule;
use crate::document::{Dockerfile, Stage};
use crate::expand::{Expanded, expand};
use crate::instruction::Kind;
use crate::plan::arguments::scope_of;
use crate::plan::{PlanOptions, PlannedStage};
use crate::platform::Platform;
use crate::resolve::show;
use crate::scope::Base;
use crate::suggest;

/// Judges what base images are called where no build argument is given.
pub(super) fn defaults(
    dockerfile: &Dockerfile,
    options: &PlanOptions<'_>,
    findings: &mut Findings,
) {
    let without = PlanOptions {
        build_args: &BTreeMap::new(),
        ..*options
    };
    // What cannot be expanded is an error of the build, reported as such.
    let Ok(scope) = scope_of(dockerfile, &without) else {
        return;
    };
    for stage in &dockerfile.stages {
        let base = &stage.from.base.text;
        let Ok(name) = expand(base, &scope.global_args, scope.escape) else {
            return;
        };
        if !is_reference(&name.text) {
            findings.report(
                Rule::InvalidDefaultArgInFrom,
                Place::from(stage),
                format!("Default value for ARG {base} results in empty or invalid base image name"),
            );
        }
    }
}

/// Judges the variables and the platform of every FROM, up to one that is in error.
pub(super) fn arguments(
    dockerfile: &Dockerfile,
    options: &PlanOptions<'_>,
    findings: &mut Findings,
) {
    let Ok(scope) = scope_of(dockerfile, options) else {
        return;
    };
    let declared = dockerfile
        .global_args
        .iter()
        .filter_map(|one| match &one.kind {
            Kind::Arg(args) => Some(args.iter().map(|arg| arg.name.text.as_str())),
            _ => None,
        });
    let set = scope.global_args.iter().map(|(name, _)| name.as_str());
    let known: Vec<&str> = declared.flatten().chain(set).collect();
    for stage in &dockerfile.stages {
        let mut findings = findings.local(&stage.comments);
        let expand = |text: &str| expand(text, &scope.global_args, scope.escape).ok();
        let Some(name) = expand(&stage.from.base.text) else {
            return;
        };
        undeclared(&name, &known, stage, &mut findings);
        if name.text.is_empty() {
            return;
        }
        let Some(written) = &stage.from.platform else {
            continue;
        };
        let Some(platform) = expand(&written.text) else {
            return;
        };
        undeclared(&platform, &known, stage, &mut findings);
        redundant(
            &written.text,
            &platform,
            &scope.global_args,
            stage,
            &mut findings,
        );
        let Ok(parsed) = Platform::parse(&platform.text, options.build_platform) else {
            return;
        };
        constant(&platform, &parsed, stage, &mut findings);
    }
}

fn undeclared(expanded: &Expanded, known: &[&str], stage: &Stage, findings: &mut Local<'_>) {
    for name in &expanded.unset {
        if known.contains(&name.as_str()) {
            continue;
        }
        let hint = match suggest::exact(name, known.iter().copied()) {
            Some(near) => format!(" (did you mean {near}?)"),
            None => String::new(),
        };
        findings.report(
            Rule::UndefinedArgInFrom,
            Place::from(stage),
            format!("FROM argument '{name}' is not declared{hint}"),
        );
    }
}

/// `--platform=$TARGETPLATFORM` and nothing else is what would be taken anyway.
fn redundant(
    written: &str,
    platform: &Expanded,
    args: &[(String, String)],
    stage: &Stage,
    findings: &mut Local<'_>,
) {
    const NAME: &str = "TARGETPLATFORM";
    let is_alone = platform.used.len() == 1 && platform.unset.is_empty();
    let target = args.iter().rev().find(|(name, _)| name == NAME);
    if is_alone
        && platform.used.contains(NAME)
        && target.is_some_and(|(_, target)| *target == platform.text)
    {
        findings.report(
            Rule::RedundantTargetPlatform,
            Place::from(stage),
            format!(
                "Setting platform to predefined {written} in FROM is redundant as this is the \
                 default behavior"
            ),
        );
    }
}

/// A platform that is written out belongs into the name of the stage as well.
fn constant(platform: &Expanded, parsed: &Platform, stage: &Stage, findings: &mut Local<'_>) {
    let name = stage.from.name.as_ref();
    let name = name.map(|name| name.text.as_str()).unwrap_or_default();
    let is_named = name.contains(&parsed.os) || name.contains(&parsed.architecture);
    if is_named || !platform.used.is_empty() || !platform.unset.is_empty() {
        return;
    }
    findings.report(
        Rule::FromPlatformFlagConstDisallowed,
        Place::from(stage),
        format!(
            "FROM --platform flag should not use constant value {}",
            show::quote(&platform.text)
        ),
    );
}

/// Judges what the image of a stage runs on.
pub(super) fn platform(
    stage: &Stage,
    planned: &PlannedStage,
    base: &LintBase,
    findings: &mut Findings,
) {
    let (Base::Image { name, platform }, Some(actual)) = (&planned.base, &base.platform) else {
        return;
    };
    if (&platform.os, &platform.architecture) == (&actual.os, &actual.architecture) {
        return;
    }
    findings.report(
        Rule::InvalidBaseImagePlatform,
        Place::from(stage),
        format!(
            "Base image {name} was pulled with platform \"{actual}\", expected \"{platform}\" for \
             current build"
        ),
    );
}
