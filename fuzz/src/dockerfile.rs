//! Dockerfiles and ignore files.

use std::collections::{BTreeMap, BTreeSet};

use corten_dockerfile::{
    BaseConfig, Diagnostic, Error, Graph, Ignore, Instruction, LintOptions, LintScope, PlanOptions,
    Platform, Span, StageState, expand, expand_words, glob_match, lint, parse, plan, render,
    resolve, triggers, unsupported,
};

/// Dockerfiles: parsed, planned, every stage resolved, and what is refused is shown.
pub(crate) fn dockerfile(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let lines: Vec<String> = text.lines().take(4).map(str::to_owned).collect();
    drop(triggers(&lines, Span::default()));
    for escape in ['\\', '`'] {
        let env = [("a".to_owned(), "x/y.z".to_owned())];
        drop(expand(text, &env, escape));
        drop(expand_words(text, &env, escape));
    }
    judged(text);
    let dockerfile = match parse(text) {
        Ok(dockerfile) => dockerfile,
        Err(Error::Syntax { diagnostics }) => {
            assert!(!diagnostics.is_empty());
            for diagnostic in &diagnostics {
                shown(diagnostic, text);
            }
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let platform = Platform::new("linux", "amd64", "");
    let build_args = BTreeMap::from([("x".to_owned(), "$x${".to_owned())]);
    let options = PlanOptions {
        target: None,
        build_args: &build_args,
        platform: &platform,
        build_platform: &platform,
        contexts: &BTreeSet::new(),
    };
    let plan = match plan(&dockerfile, &options) {
        Ok(plan) => plan,
        Err(diagnostic) => return shown(&diagnostic, text),
    };
    let graph = Graph::of(&dockerfile, &plan);
    assert!(!graph.to_text().chars().any(|c| c.is_control() && c != '\n'));
    let svg = graph.to_svg();
    assert_eq!(
        svg.matches("<text ").count(),
        svg.matches("</text>").count()
    );
    for diagnostic in &unsupported(&plan) {
        shown(diagnostic, text);
    }
    for index in &plan.needed {
        let mut state = plan.begin(*index, &BaseConfig::default());
        resolve_all(&plan.stages[*index].instructions, &mut state, text);
    }
}

/// The checks: what they find has a place in the text.
fn judged(text: &str) {
    let platform = Platform::new("linux", "amd64", "");
    let options = LintOptions {
        plan: PlanOptions {
            target: None,
            build_args: &BTreeMap::new(),
            platform: &platform,
            build_platform: &platform,
            contexts: &BTreeSet::new(),
        },
        check: None,
        ignore: &Ignore::default(),
        bases: &BTreeMap::new(),
        scope: LintScope::All,
    };
    for finding in lint(text, &options).findings {
        assert!(finding.span.line <= finding.last_line, "{finding:?}");
        assert!(!finding.render("Dockerfile", text).is_empty());
    }
}

fn resolve_all(instructions: &[Instruction], state: &mut StageState, text: &str) {
    for instruction in instructions {
        if let Err(diagnostic) = resolve(instruction, state) {
            shown(&diagnostic, text);
        }
    }
}

fn shown(diagnostic: &Diagnostic, text: &str) {
    assert!(
        diagnostic.span.start <= diagnostic.span.end,
        "{diagnostic:?}"
    );
    assert!(diagnostic.span.end <= text.len(), "{diagnostic:?}");
    assert!(!render(diagnostic, "Dockerfile", text).is_empty());
}

/// Ignore files: the first line is a path, the rest the file. A walk that leaves out the directories
/// that may be left out still finds everything that is included.
pub(crate) fn dockerignore(data: &[u8]) {
    let (path, text) = crate::parts::cut(data, b"\n");
    let text = text.unwrap_or_default();
    drop(glob_match(text, path));
    let Ok(ignore) = Ignore::parse(text) else {
        return;
    };
    let names: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"." | b".."))
        .collect();
    let path = names.join(&b'/');
    if names.is_empty() || ignore.decide(&path).excluded {
        return;
    }
    for depth in 1..names.len() {
        let directory = names[..depth].join(&b'/');
        assert!(
            !ignore.decide(&directory).excluded || ignore.may_contain_included_children(&directory),
            "`{}` hides `{}`",
            directory.escape_ascii(),
            path.escape_ascii()
        );
    }
}
