//! What the grammar has and the builder cannot do yet: refused before anything runs.

use crate::diagnostic::Diagnostic;
use crate::instruction::Instruction;
use crate::plan::Plan;

/// Flags by instruction. A line goes when the builder learns it.
const FLAGS: &[(&str, &str)] = &[("RUN", "device")];

/// Returns what the stages that `plan` needs ask for and the builder cannot do.
pub fn unsupported(plan: &Plan) -> Vec<Diagnostic> {
    let stages = plan
        .needed
        .iter()
        .filter_map(|index| plan.stages.get(*index));
    let mut found: Vec<_> = stages
        .flat_map(|stage| unsupported_in(&stage.instructions))
        .collect();
    found.sort_by_key(|diagnostic| diagnostic.span);
    found
}

/// Returns what `instructions`, such as the triggers of a base image, ask for and the builder cannot
/// do. ONBUILD itself is only kept, so anything may be inside.
pub fn unsupported_in(instructions: &[Instruction]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for instruction in instructions {
        let name = instruction.name;
        for flag in &instruction.flags {
            // `--link=false` asks for nothing.
            let asked = !flag
                .value
                .as_deref()
                .is_some_and(|v| v.eq_ignore_ascii_case("false"));
            if asked && FLAGS.contains(&(name, flag.name.as_str())) {
                let message = format!("{name} --{} is not supported yet", flag.name);
                found.push(Diagnostic::new(message, flag.span));
            }
        }
    }
    found
}
