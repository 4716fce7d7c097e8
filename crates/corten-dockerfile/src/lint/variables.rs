//! Variables that are used and have no value.

use std::collections::BTreeSet;

use super::findings::{Local, Place};
use super::rule::Rule;
use crate::resolve::StageState;
use crate::suggest;

/// Arguments that never become variables.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Reports the names in `unset` that no ARG declares; `state` is that before the instruction.
pub(super) fn judge(
    unset: &BTreeSet<String>,
    state: &StageState,
    place: Place,
    findings: &mut Local<'_>,
) {
    for name in unset {
        let is_declared = state.args.iter().any(|(declared, _)| declared == name);
        if is_declared || NO_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        let known = state.env.iter().map(|(name, _)| name.as_str());
        let hint = match suggest::exact(name, known) {
            Some(near) => format!(" (did you mean ${near}?)"),
            None => String::new(),
        };
        findings.report(
            Rule::UndefinedVar,
            place,
            format!("Usage of undefined variable '${name}'{hint}"),
        );
    }
}
