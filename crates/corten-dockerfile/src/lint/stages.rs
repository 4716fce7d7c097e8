//! The steps of stages, judged in the order in which they would be run.

use std::collections::BTreeMap;

use super::casing::first_word;
use super::findings::{Findings, Local, Place};
use super::rule::Rule;
use super::{LintOptions, LintScope, copies, expose, from, secrets, variables};
use crate::diagnostic::Diagnostic;
use crate::document::Dockerfile;
use crate::instruction::{Arg, Command, Instruction, Kind, Pair};
use crate::onbuild;
use crate::plan::Plan;
use crate::resolve::{BaseConfig, StageState, resolve, show};
use crate::scope::Base;
use crate::step::Step;

/// Where a stage ended.
#[derive(Debug, Clone)]
struct Stand {
    state: StageState,
    /// Whether it is known what the first image sets.
    is_known: bool,
    has_shell: bool,
    has_workdir: bool,
    /// What only the last one of a stage counts of.
    once: BTreeMap<&'static str, Place>,
}

pub(super) fn judge(
    dockerfile: &Dockerfile,
    plan: &Plan,
    options: &LintOptions<'_>,
    findings: &mut Findings,
) -> Result<(), Diagnostic> {
    let all = options.scope == LintScope::All && options.plan.target.is_none_or(str::is_empty);
    let indexes = if all {
        plan.closure(&(0..plan.stages.len()).collect::<Vec<_>>())?
    } else {
        plan.needed.clone()
    };
    let mut ended: BTreeMap<usize, Stand> = BTreeMap::new();
    for index in indexes {
        let (Some(planned), Some(stage)) = (plan.stages.get(index), dockerfile.stages.get(index))
        else {
            continue;
        };
        let mut triggers = plan.stage_triggers(index);
        let known = options.bases.get(&index);
        if let Some(base) = known {
            from::platform(stage, planned, base, findings);
            triggers.extend(onbuild::triggers(&base.on_build, planned.span)?);
        }
        let mut stand = match &planned.base {
            Base::Stage(base) => match ended.get(base) {
                Some(base) => base.begin_on(plan, index),
                // A base has a smaller number and is needed wherever this is.
                None => continue,
            },
            Base::Scratch => Stand::begin(plan, index, Some(&BaseConfig::default())),
            Base::Image { .. } => Stand::begin(plan, index, known.map(|base| &base.config)),
        };
        let place = Place::from(stage);
        for trigger in &triggers {
            stand.step(trigger, place, options, findings)?;
        }
        for instruction in &planned.instructions {
            stand.step(instruction, Place::of(instruction), options, findings)?;
        }
        ended.insert(index, stand);
    }
    Ok(())
}

impl Stand {
    fn begin(plan: &Plan, index: usize, config: Option<&BaseConfig>) -> Self {
        let unknown = BaseConfig::default();
        Self {
            state: plan.begin(index, config.unwrap_or(&unknown)),
            is_known: config.is_some(),
            has_shell: config.is_some_and(|config| !config.shell.is_empty()),
            has_workdir: false,
            once: BTreeMap::new(),
        }
    }

    fn begin_on(&self, plan: &Plan, index: usize) -> Self {
        Self {
            state: plan.begin_on(index, &self.state),
            once: BTreeMap::new(),
            ..self.clone()
        }
    }

    fn step(
        &mut self,
        instruction: &Instruction,
        place: Place,
        options: &LintOptions<'_>,
        findings: &mut Findings,
    ) -> Result<(), Diagnostic> {
        let findings = &mut findings.local(&instruction.comments);
        let name = first_word(&instruction.original);
        match &instruction.kind {
            Kind::Arg(args) => return self.args(args, instruction, place, findings),
            Kind::Cmd(command) | Kind::Entrypoint(command) => {
                self.once(instruction.name, name, place, findings);
                self.command(command, name, place, findings);
            }
            Kind::Healthcheck(_) => self.once(instruction.name, name, place, findings),
            Kind::Copy(copy) => {
                let escape = self.state.escape();
                copies::judge(
                    copy,
                    options.ignore,
                    &self.state.env,
                    escape,
                    place,
                    findings,
                );
            }
            Kind::Expose(ports) => {
                let mut ports = ports.clone();
                ports.sort_by(|a, b| a.text.cmp(&b.text));
                let escape = self.state.escape();
                expose::judge(&ports, &self.state.env, escape, place, findings);
            }
            Kind::Env(pairs) | Kind::Label(pairs) => legacy(pairs, name, place, findings),
            Kind::Shell(_) => self.has_shell = true,
            Kind::From(_)
            | Kind::Maintainer(_)
            | Kind::OnBuild(_)
            | Kind::Run(_)
            | Kind::StopSignal(_)
            | Kind::User(_)
            | Kind::Volume(_)
            | Kind::Workdir(_) => {}
        }
        self.resolve(instruction, place, findings)
    }

    fn resolve(
        &mut self,
        instruction: &Instruction,
        place: Place,
        findings: &mut Local<'_>,
    ) -> Result<(), Diagnostic> {
        let before = self.state.clone();
        let resolved = resolve(instruction, &mut self.state)?;
        if self.is_known && !matches!(instruction.kind, Kind::Expose(_)) {
            variables::judge(&resolved.unset, &before, place, findings);
        }
        match (&instruction.kind, &resolved.step) {
            (Kind::Env(_), Step::Env(pairs)) => {
                let keys = pairs.iter().map(|(key, _)| key.as_str());
                keys.for_each(|key| secret("ENV", key, place, findings));
            }
            (Kind::Workdir(word), _) => {
                let path = crate::expand(&word.text, &before.env, before.escape());
                let path = path.map(|path| path.text).unwrap_or_default();
                if !self.has_workdir && !path.starts_with('/') {
                    let detail = format!(
                        "Relative workdir {} can have unexpected results if the base image changes",
                        show::quote(&path)
                    );
                    findings.report(Rule::WorkdirRelativePath, place, detail);
                }
                self.has_workdir = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the arguments of one line one by one: each is known to those behind it.
    fn args(
        &mut self,
        args: &[Arg],
        instruction: &Instruction,
        place: Place,
        findings: &mut Local<'_>,
    ) -> Result<(), Diagnostic> {
        for arg in args {
            secret("ARG", &arg.name.text, place, findings);
            let one = Instruction {
                kind: Kind::Arg(vec![arg.clone()]),
                ..instruction.clone()
            };
            self.resolve(&one, place, findings)?;
        }
        Ok(())
    }

    /// The one that does not count is the earlier, so it is reported.
    fn once(&mut self, kind: &'static str, name: &str, place: Place, findings: &mut Local<'_>) {
        if let Some(earlier) = self.once.insert(kind, place) {
            let detail = format!(
                "Multiple {name} instructions should not be used in the same stage because only \
                 the last one will be used"
            );
            findings.report(Rule::MultipleInstructionsDisallowed, earlier, detail);
        }
    }

    fn command(&self, command: &Command, name: &str, place: Place, findings: &mut Local<'_>) {
        if matches!(command, Command::Shell(_)) && !self.has_shell {
            let detail = format!(
                "JSON arguments recommended for {name} to prevent unintended behavior related to \
                 OS signals"
            );
            findings.report(Rule::JsonArgsRecommended, place, detail);
        }
    }
}

fn legacy(pairs: &[Pair], name: &str, place: Place, findings: &mut Local<'_>) {
    if pairs.iter().any(|pair| pair.legacy) {
        let detail = format!(
            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
        );
        findings.report(Rule::LegacyKeyValueFormat, place, detail);
    }
}

fn secret(instruction: &str, key: &str, place: Place, findings: &mut Local<'_>) {
    if secrets::sounds_secret(key) {
        let detail = format!(
            "Do not use ARG or ENV instructions for sensitive data ({instruction} {})",
            show::quote(key)
        );
        findings.report(Rule::SecretsUsedInArgOrEnv, place, detail);
    }
}
