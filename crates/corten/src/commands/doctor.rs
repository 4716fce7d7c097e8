//! `corten doctor`

use std::process::ExitCode;

use clap::Args;
use corten_sandbox::{Check, Isolation, Survey, Verdict, survey};
use corten_snapshot::erofs::try_erofs;
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::namespace::describe;
use crate::output::Format;
use crate::roots::explained;

/// Say what this machine allows, and what would help
///
/// Tries every primitive that isolation is made of. Fails if RUN cannot work here.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The directory of the local store.
    store: String,
    /// The isolation that RUN gets by default; `null` if there is none.
    isolation: Option<Isolation>,
    /// The same in words.
    #[serde(skip)]
    how: String,
    /// A line for each way of isolation, the best first.
    isolations: Vec<Verdict>,
    /// A line for each primitive.
    primitives: Vec<Check>,
    /// What a sandbox with namespaces needs, tried in them.
    sandbox: Vec<Check>,
    /// A line for each way to have the files of an image.
    roots: Vec<Root>,
}

/// A way to have the files of an image.
#[derive(Debug, Serialize)]
struct Root {
    kind: &'static str,
    /// Why it cannot be had.
    problem: Option<String>,
}

pub(crate) fn run(args: &DoctorArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let found = survey(&ctx.scratch());
    let report = report(&found, ctx);
    match args.format {
        Format::Json => ctx.output.json(&report)?,
        Format::Text => ctx.output.data(&text(&report, &found))?,
    }
    Ok(if report.isolation.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(found: &Survey, ctx: &Context) -> Report {
    let isolation = found.best();
    let how = match (&found.probe.tier, isolation) {
        (Some(tier), _) => describe(tier),
        (None, Some(isolation)) => {
            format!("by {isolation} alone, in RUN; `corten run` cannot work")
        }
        (None, None) => "not at all".to_owned(),
    };
    Report {
        store: ctx.root().display().to_string(),
        isolation,
        how,
        isolations: found.verdicts.clone(),
        primitives: found.primitives.clone(),
        sandbox: found.probe.checks.clone(),
        roots: roots(found, ctx),
    }
}

fn roots(found: &Survey, ctx: &Context) -> Vec<Root> {
    let scratch = ctx
        .scratch()
        .join(format!("corten-doctor-{}", std::process::id()));
    let erofs = try_erofs(&scratch).err().map(|error| explained(&error));
    let mut checks = found.probe.checks.iter();
    let overlay = match checks.find(|check| check.what == "overlay") {
        Some(check) => check.problem.clone(),
        None => Some("not tried".to_owned()),
    };
    [("erofs", erofs), ("overlay", overlay), ("plain", None)]
        .map(|(kind, problem)| Root { kind, problem })
        .into()
}

fn text(report: &Report, found: &Survey) -> String {
    let isolation = report.isolation.map_or("none", Isolation::name);
    let mut lines = vec![
        format!("store: {}", report.store),
        format!("processes are isolated: {}", report.how),
        found.probe.to_string(),
        format!("isolation of RUN: {isolation}"),
    ];
    for verdict in &report.isolations {
        let problems = match verdict.problems.as_slice() {
            [] => "ok".to_owned(),
            problems => problems.join("; "),
        };
        lines.push(format!("  {}: {problems}", verdict.isolation));
        lines.extend(
            verdict
                .advice
                .iter()
                .map(|advice| format!("    hint: {advice}")),
        );
    }
    lines.push("primitives, each by itself:".to_owned());
    for check in &report.primitives {
        lines.push(line(&check.what, check.problem.as_deref()));
    }
    lines.push("files of images are had by:".to_owned());
    for root in &report.roots {
        lines.push(line(root.kind, root.problem.as_deref()));
    }
    lines.join("\n")
}

fn line(what: &str, problem: Option<&str>) -> String {
    format!("  {what}: {}", problem.unwrap_or("ok"))
}
