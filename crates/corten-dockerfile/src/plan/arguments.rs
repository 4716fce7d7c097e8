//! Build arguments as a whole Dockerfile has them: what FROM sees, and what nobody takes.

use std::collections::{BTreeMap, BTreeSet};

use super::PlanOptions;
use crate::diagnostic::Diagnostic;
use crate::document::Dockerfile;
use crate::instruction::Kind;
use crate::scope::{self, Scope};
use crate::settings;

/// The proxies: usable without ARG, and in neither history nor cache keys.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

pub(crate) fn scope_of(
    dockerfile: &Dockerfile,
    options: &PlanOptions<'_>,
) -> Result<Scope, Diagnostic> {
    let mut global_args = predefined(dockerfile, options);
    for instruction in &dockerfile.global_args {
        let Kind::Arg(args) = &instruction.kind else {
            continue;
        };
        for arg in args {
            let name = &arg.name.text;
            let value = match (options.build_args.get(name), &arg.default) {
                (Some(value), _) => value.clone(),
                (None, Some(default)) => {
                    scope::expand_word(default, &global_args, dockerfile.escape)?.text
                }
                (None, None) => continue,
            };
            scope::set(&mut global_args, name, &value);
        }
    }
    Ok(Scope {
        escape: dockerfile.escape,
        build_args: options.build_args.clone(),
        global_args,
        proxy_env: proxies(options.build_args),
        platform: options.platform.clone(),
        stage_names: BTreeMap::new(),
        n_stages: dockerfile.stages.len(),
    })
}

/// The arguments every Dockerfile has, for FROM and for an ARG without a default.
fn predefined(dockerfile: &Dockerfile, options: &PlanOptions<'_>) -> Vec<(String, String)> {
    let (build, target) = (options.build_platform, options.platform);
    let last = dockerfile
        .stages
        .last()
        .and_then(|stage| stage.from.name.as_ref());
    let stage = options
        .target
        .or(last.map(|name| name.text.as_str()))
        .unwrap_or("default");
    let values = [
        ("BUILDPLATFORM", build.to_string()),
        ("BUILDOS", build.os.clone()),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build.architecture.clone()),
        ("BUILDVARIANT", build.variant.clone()),
        ("TARGETPLATFORM", target.to_string()),
        ("TARGETOS", target.os.clone()),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target.architecture.clone()),
        ("TARGETVARIANT", target.variant.clone()),
        ("TARGETSTAGE", stage.to_owned()),
    ];
    values
        .into_iter()
        .map(|(name, value)| {
            let value = options.build_args.get(name).cloned().unwrap_or(value);
            (name.to_owned(), value)
        })
        .collect()
}

/// The variables that a RUN gets for the proxies among the build arguments, in both cases.
fn proxies(build_args: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut env = Vec::new();
    for proxy in PROXIES {
        let given = build_args
            .iter()
            .rev()
            .find(|(name, _)| name.eq_ignore_ascii_case(proxy));
        if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
            env.push((proxy.to_owned(), value.clone()));
            env.push((proxy.to_ascii_lowercase(), value.clone()));
        }
    }
    env
}

pub(super) fn lookup(scope: &Scope, name: &str) -> Option<String> {
    let global = || {
        scope
            .global_args
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, v)| v)
    };
    scope
        .build_args
        .get(name)
        .or_else(global)
        .filter(|value| !value.is_empty())
        .cloned()
}

pub(super) fn unconsumed(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
) -> Vec<String> {
    let in_stages = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    let mut declared = BTreeSet::new();
    for instruction in dockerfile.global_args.iter().chain(in_stages) {
        let kind = match &instruction.kind {
            Kind::OnBuild(on_build) => &on_build.trigger.kind,
            kind => kind,
        };
        if let Kind::Arg(args) = kind {
            declared.extend(args.iter().map(|arg| arg.name.text.as_str()));
        }
    }
    let built_in = |name: &str| {
        PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name))
            || settings::is_known(name)
            || name == "SOURCE_DATE_EPOCH"
            || ["BUILD", "TARGET"].iter().any(|side| {
                name.strip_prefix(side).is_some_and(|rest| {
                    matches!(
                        rest,
                        "PLATFORM" | "OS" | "OSVERSION" | "ARCH" | "VARIANT" | "STAGE"
                    )
                })
            })
    };
    let names = build_args
        .keys()
        .filter(|name| !declared.contains(name.as_str()));
    names.filter(|name| !built_in(name)).cloned().collect()
}
