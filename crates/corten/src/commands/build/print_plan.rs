//! `corten build --print-plan`: what would be built; nothing is, and no registry is asked.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use corten_build::BuildRequest;

use crate::context::Context;
use crate::error::CommandError;

/// Whether the plan is printed instead of built.
#[derive(Debug, Args)]
pub(crate) struct PrintPlanArgs {
    /// Print the graph of stages and build nothing
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text",
        conflicts_with = "check"
    )]
    print_plan: Option<PlanFormat>,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// As a picture
    Svg,
}

impl PrintPlanArgs {
    /// Tells whether nothing but the plan is wanted.
    pub(crate) fn is_asked(&self) -> bool {
        self.print_plan.is_some()
    }
}

/// Prints the plan of `request`.
pub(crate) fn run(
    args: &PrintPlanArgs,
    request: &BuildRequest,
    ctx: &Context,
) -> Result<ExitCode, CommandError> {
    let graph = corten_build::graph(request).map_err(CommandError::caused)?;
    match args.print_plan {
        Some(PlanFormat::Json) => ctx.output.json(&graph)?,
        Some(PlanFormat::Svg) => ctx.output.bytes(graph.to_svg().as_bytes())?,
        Some(PlanFormat::Text) | None => ctx.output.data(&graph.to_text())?,
    }
    Ok(ExitCode::SUCCESS)
}
