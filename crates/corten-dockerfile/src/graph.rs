//! The stages of a plan and what they need of each other, to be shown.

mod svg;
mod text;

use serde::Serialize;

use crate::address::without_credentials;
use crate::document::Dockerfile;
use crate::instruction::{Instruction, Kind};
use crate::plan::Plan;
use crate::scope::Base;

/// The stages of a Dockerfile, their steps and their edges.
///
/// As JSON it has the same fields, in camel case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// The numbers of the stages that are wanted.
    pub targets: Vec<usize>,
    /// Every stage, by its number.
    pub stages: Vec<GraphStage>,
    /// What stages take from each other and from images.
    pub edges: Vec<Edge>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphStage {
    /// Its number.
    pub index: usize,
    /// Its name.
    pub name: Option<String>,
    /// What it begins with: the name of an image, of a stage, or `scratch`.
    pub base: String,
    /// What it is for.
    pub platform: String,
    /// The line of its FROM.
    pub line: usize,
    /// Whether a target needs it.
    pub needed: bool,
    /// The arguments that it declares, in order.
    pub args: Vec<String>,
    /// Its instructions, FROM not included.
    pub steps: Vec<GraphStep>,
}

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphStep {
    /// Its first line.
    pub line: usize,
    /// Its last line.
    pub last_line: usize,
    /// Its text, continuations joined, here-documents and passwords of addresses left out.
    pub text: String,
}

/// Something that a stage takes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The stage that is taken from; `None` for an image or a named context.
    pub from: Option<usize>,
    /// The name of what is taken from, if it is no stage.
    pub image: Option<String>,
    /// The stage that takes.
    pub to: usize,
    /// How.
    pub kind: EdgeKind,
    /// The line that says so.
    pub line: usize,
}

/// How a stage takes from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EdgeKind {
    /// It begins with it.
    From,
    /// It copies files.
    Copy,
    /// It mounts it while a command runs.
    Mount,
}

impl Graph {
    /// Returns the graph of `plan`, which was made of `dockerfile`.
    ///
    /// Triggers of base images are not in it: they are not known before those are read.
    pub fn of(dockerfile: &Dockerfile, plan: &Plan) -> Self {
        let stages: Vec<_> = (0..plan.stages.len())
            .filter_map(|index| stage(dockerfile, plan, index))
            .collect();
        let mut edges = Vec::new();
        for (index, planned) in plan.stages.iter().enumerate() {
            let line = planned.span.line;
            edges.extend(edge(&planned.base, index, EdgeKind::From, line));
            let triggers = plan.stage_triggers(index);
            for instruction in triggers.iter().chain(&planned.instructions) {
                let line = instruction.span.line;
                // What no stage can give is an error only where the stage is needed.
                for (kind, base) in plan.sources_of(instruction, index) {
                    edges.extend(edge(&base, index, kind, line));
                }
            }
        }
        Self {
            targets: plan.targets.clone(),
            stages,
            edges,
        }
    }

    /// Returns what a stage is called: its name, or its number.
    fn label(&self, index: usize) -> String {
        let name = self.stages.get(index).and_then(|stage| stage.name.clone());
        name.unwrap_or_else(|| format!("stage-{index}"))
    }
}

fn stage(dockerfile: &Dockerfile, plan: &Plan, index: usize) -> Option<GraphStage> {
    let (planned, written) = (plan.stages.get(index)?, dockerfile.stages.get(index)?);
    let step = |one: &Instruction| GraphStep {
        line: one.span.line,
        last_line: one.last_line,
        text: without_credentials(&one.original),
    };
    let args = planned
        .instructions
        .iter()
        .filter_map(|one| match &one.kind {
            Kind::Arg(args) => Some(args.iter().map(|arg| arg.name.text.clone())),
            _ => None,
        });
    let base = match &planned.base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(_) => written.from.base.text.clone(),
        Base::Image { name, .. } => name.clone(),
    };
    Some(GraphStage {
        index,
        name: planned.name.clone(),
        base,
        platform: planned.platform.to_string(),
        line: planned.span.line,
        needed: plan.needed.contains(&index),
        args: args.flatten().collect(),
        steps: planned.instructions.iter().map(step).collect(),
    })
}

fn edge(base: &Base, to: usize, kind: EdgeKind, line: usize) -> Option<Edge> {
    let (from, image) = match base {
        Base::Scratch => return None,
        Base::Stage(stage) => (Some(*stage), None),
        Base::Image { name, .. } => (None, Some(name.clone())),
    };
    Some(Edge {
        from,
        image,
        to,
        kind,
        line,
    })
}
