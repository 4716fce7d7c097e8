//! Build arguments that BuildKit takes as settings: `BUILDKIT_…`.

use std::collections::BTreeMap;

use crate::check::Check;
use crate::diagnostic::{Diagnostic, Span};
use crate::document::Dockerfile;
use crate::syntax::{self, Grammar};

/// Chooses the checks.
pub(crate) const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// Chooses the grammar.
const SYNTAX: &str = "BUILDKIT_SYNTAX";

/// Names the host that commands see.
const HOST_NAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// The longest name that sethostname(2) takes.
const LONGEST_HOST_NAME: usize = 64;

/// What a setting comes to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// What it says is done.
    Honoured,
    /// It would make no difference to the result.
    Indifferent,
    /// It would make a difference that cannot be made; what to do instead.
    Refused(&'static str),
}

/// A line changes when the builder learns it. `BUILDKIT_INLINE_CACHE` is none: pipelines set it
/// everywhere, the image is as good without, and the warning that nothing takes it says so.
const SETTINGS: [(&str, Setting); 11] = [
    ("BUILDKIT_BUILD_NAME", Setting::Indifferent),
    ("BUILDKIT_CACHE_MOUNT_NS", Setting::Honoured),
    ("BUILDKIT_CONTEXT_KEEP_GIT_DIR", Setting::Honoured),
    // What BuildKit 0.11 took away, it refuses too.
    (
        "BUILDKIT_DISABLE_FILEOP",
        Setting::Refused("files are always copied by the builder itself"),
    ),
    (CHECK, Setting::Honoured),
    ("BUILDKIT_GIT_ADVICE", Setting::Indifferent),
    (
        "BUILDKIT_MULTI_PLATFORM",
        Setting::Refused("several platforms make an index, and one does not"),
    ),
    (HOST_NAME, Setting::Honoured),
    // Messages to a scanner that is started when a list of contents is asked for.
    ("BUILDKIT_SBOM_SCAN_CONTEXT", Setting::Indifferent),
    ("BUILDKIT_SBOM_SCAN_STAGE", Setting::Indifferent),
    (SYNTAX, Setting::Honoured),
];

/// Refuses a grammar that is not the built-in one, and settings that cannot be honoured.
pub(crate) fn check(
    dockerfile: &Dockerfile,
    build_args: &BTreeMap<String, String>,
) -> Result<(), Diagnostic> {
    let directive = dockerfile.directives.syntax.as_ref();
    let place = || directive.map_or_else(|| first_from(dockerfile), |asked| asked.span);
    // The argument wins over the directive; its first word is the image, as there.
    let asked = match (build_args.get(SYNTAX), directive) {
        (Some(argument), _) => argument.split_whitespace().next(),
        (None, Some(directive)) => Some(directive.value.as_str()),
        (None, None) => None,
    };
    if let Some(image) = asked.filter(|image| syntax::grammar(image) == Grammar::Foreign) {
        return Err(syntax::refused(image, place()));
    }
    if let Some(Err(message)) = build_args.get(CHECK).map(|text| Check::parse(text)) {
        let label = format!("in the build argument `{CHECK}`");
        return Err(Diagnostic::new(message, first_from(dockerfile)).with_label(label));
    }
    if build_args
        .get(HOST_NAME)
        .is_some_and(|name| !may_name_host(name))
    {
        let message = format!("the build argument `{HOST_NAME}` is no name of a host");
        return Err(Diagnostic::new(message, first_from(dockerfile))
            .with_hint("letters, digits, `-`, `_` and `.` may be in it, and 64 of them at most"));
    }
    for (name, value) in build_args {
        // `false` asks for what is done anyway.
        if matches!(
            value.as_str(),
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE"
        ) {
            continue;
        }
        if let Some(Setting::Refused(instead)) = find(name) {
            let message = format!("the build argument `{name}` is not supported");
            return Err(Diagnostic::new(message, first_from(dockerfile)).with_hint(instead));
        }
    }
    Ok(())
}

/// Tells whether `name` may be in a line of `/etc/hosts`, and be the name of a machine.
fn may_name_host(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.len() <= LONGEST_HOST_NAME && name.bytes().all(is_part)
}

/// Tells whether a build argument is a setting that is honoured or makes no difference.
///
/// Of others with such a name it is said that nothing takes them.
pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<Setting> {
    let known = SETTINGS.iter().find(|(known, _)| *known == name);
    known.map(|(_, setting)| *setting)
}

fn first_from(dockerfile: &Dockerfile) -> Span {
    let first = dockerfile.stages.first();
    first.map(|stage| stage.span).unwrap_or_default()
}
