//! Dockerfile text to syntax tree to resolved steps, with positions.
//!
//! Three steps, each a function of values: [`parse()`] reads the text, [`plan()`] finds the stages a
//! target needs, and [`resolve()`] expands the instructions of a stage one after the other. What they
//! mean is what BuildKit makes of them. Nothing here reads a file, a clock or the environment.
//!
//! # Examples
//!
//! ```
//! use std::collections::{BTreeMap, BTreeSet};
//!
//! use corten_dockerfile::{BaseConfig, Platform, PlanOptions, parse, plan, resolve};
//!
//! let dockerfile = parse("FROM debian:12\nARG who=you\nRUN echo hello $who\n").unwrap();
//! let platform = Platform::new("linux", "amd64", "");
//! let plan = plan(
//!     &dockerfile,
//!     &PlanOptions {
//!         target: None,
//!         build_args: &BTreeMap::new(),
//!         platform: &platform,
//!         build_platform: &platform,
//!         contexts: &BTreeSet::new(),
//!     },
//! )
//! .unwrap();
//!
//! let mut state = plan.begin(plan.target, &BaseConfig::default());
//! let mut history = Vec::new();
//! for instruction in &plan.stages[plan.target].instructions {
//!     history.extend(resolve(instruction, &mut state).unwrap().created_by);
//! }
//! assert_eq!(
//!     history,
//!     ["ARG who=you", "RUN |1 who=you /bin/sh -c echo hello $who # buildkit"],
//! );
//! ```

mod address;
mod check;
mod diagnostic;
mod directive;
mod document;
mod duration;
mod error;
mod expand;
mod git_url;
mod glob;
mod graph;
mod heredoc;
mod ignore;
mod instruction;
mod json;
mod lexer;
mod lint;
mod onbuild;
mod path;
mod pattern;
mod plan;
mod platform;
mod resolve;
mod scope;
mod settings;
mod step;
mod suggest;
mod syntax;
mod unsupported;
mod words;

pub use address::without_credentials;
pub use check::Check;
pub use diagnostic::{Diagnostic, Span, render};
pub use directive::{Directive, Directives};
pub use document::{Dockerfile, Stage, parse};
pub use error::Error;
pub use expand::{Expanded, expand, expand_words};
pub use git_url::{GitTimes, GitUrl, is_commit, without_secrets};
pub use glob::glob_match;
pub use graph::{Edge, EdgeKind, Graph, GraphStage, GraphStep};
pub use heredoc::Heredoc;
pub use ignore::{Ignore, IgnorePattern, Verdict};
pub use instruction::{
    Arg, Command, Copy, CopySource, From, Healthcheck, HealthcheckTest, Instruction, Kind, Mount,
    Network, OnBuild, Origin, Pair, Run, Security, Sharing,
};
pub use lint::secrets::sounds_secret;
pub use lint::{Finding, Lint, LintBase, LintOptions, LintScope, Rule, lint};
pub use onbuild::triggers;
pub use plan::{Plan, PlanOptions, PlannedStage, plan, plan_targets};
pub use platform::Platform;
pub use resolve::{BaseConfig, StageState, resolve};
pub use scope::Base;
pub use step::{
    Address, Chmod, CopyStep, GitSource, HealthcheckStep, HttpSource, Ownership, Resolved,
    RunMount, RunMountKind, RunStep, Script, Source, Step,
};
pub use unsupported::{unsupported, unsupported_in};
pub use words::{Flag, Word};
