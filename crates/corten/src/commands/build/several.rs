//! Several targets and several platforms in one run: which images are built, and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use corten_spec::{Platform, Reference};

use super::BuildArgs;
use super::annotations::Annotation;
use crate::error::CommandError;
use crate::outputs::BuildOutput;
use crate::places::{Name, store_name};

/// One `--target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The stage.
    pub(crate) stage: String,
    /// What its image is called.
    name: Option<Name>,
}

impl FromStr for Target {
    type Err = String;

    /// Reads `STAGE[=NAME]`: no stage has a `=` in its name.
    fn from_str(text: &str) -> Result<Self, String> {
        let (stage, name) = match text.split_once('=') {
            Some((stage, name)) => (stage, Some(store_name(name)?)),
            None => (text, None),
        };
        if name.is_some() && stage.is_empty() {
            return Err("expected `STAGE=NAME`".to_owned());
        }
        let stage = stage.to_owned();
        Ok(Self { stage, name })
    }
}

/// A stage that is built, and what its image is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// `None` for the last stage.
    pub(super) stage: Option<String>,
    pub(super) names: Vec<Reference>,
}

/// Returns the stages that are wanted, each once, in the order in which they were asked for.
pub(super) fn wanted(args: &BuildArgs) -> Result<Vec<Wanted>, CommandError> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for target in &args.image.target {
        let names = references(target.name.iter())?;
        // Names of stages are the same in any case.
        let same = |one: &&mut Wanted| {
            let stage = one.stage.as_deref().unwrap_or_default();
            stage.eq_ignore_ascii_case(&target.stage)
        };
        match wanted.iter_mut().find(same) {
            Some(one) => one.names.extend(names),
            None => wanted.push(Wanted {
                stage: Some(target.stage.clone()),
                names,
            }),
        }
    }
    let tags = args.image.names()?;
    match wanted.as_mut_slice() {
        [] => wanted.push(Wanted {
            stage: None,
            names: tags,
        }),
        [one] => one.names.extend(tags),
        _ if tags.is_empty() => {}
        _ => {
            return Err(CommandError::usage(
                "`--tag` does not say which of several targets is to have the name",
            )
            .hint("use `--target STAGE=NAME`"));
        }
    }
    Ok(wanted)
}

/// Refuses a name for more than one image: the last of them would take it from the others.
fn check_names(wanted: &[Wanted]) -> Result<(), CommandError> {
    let mut of: BTreeMap<String, usize> = BTreeMap::new();
    for (number, one) in wanted.iter().enumerate() {
        for name in &one.names {
            let first = *of.entry(name.to_string()).or_insert(number);
            if first != number {
                return Err(CommandError::usage(format!(
                    "`{name}` cannot be the name of two targets"
                ))
                .hint("give each a name of its own with `--target STAGE=NAME`"));
            }
        }
    }
    Ok(())
}

/// Returns names that an image is to have.
pub(super) fn references<'a>(
    names: impl Iterator<Item = &'a Name>,
) -> Result<Vec<Reference>, CommandError> {
    let names = names.map(|name| match name {
        Name::Reference(reference) if reference.digest().is_none() => Ok(reference.clone()),
        Name::Reference(_) | Name::Digest(_) => Err(CommandError::usage(format!(
            "`{name}` has a digest, and the image's own is not known yet"
        ))),
    });
    names.collect()
}

/// Refuses, before anything is built, what several results cannot be written as.
pub(super) fn check(
    args: &BuildArgs,
    wanted: &[Wanted],
    platforms: &[Platform],
) -> Result<(), CommandError> {
    check_names(wanted)?;
    let outputs = &args.outputs;
    let annotations = &args.image.annotation;
    let has_index = platforms.len() > 1 || args.attesting.is_asked();
    if !has_index && annotations.iter().any(Annotation::needs_index) {
        return Err(CommandError::usage(
            "there is no index to annotate: the image is for one platform",
        ));
    }
    if let Some(absent) = annotations.iter().find_map(|one| one.absent(platforms)) {
        return Err(CommandError::usage(format!(
            "nothing is built for {absent}, which is to be annotated"
        )));
    }
    if args.print_plan.is_asked() && platforms.len() > 1 {
        return Err(
            CommandError::usage("a plan is of the build for one platform")
                .hint("name one with `--platform`"),
        );
    }
    let n_images = platforms.len() * wanted.len();
    args.reproducible.check(args, n_images)?;
    let is_pushed = outputs.push
        || outputs
            .output
            .iter()
            .any(|spec| spec.to == BuildOutput::Registry && spec.name.is_none());
    if is_pushed && wanted.iter().any(|one| one.names.is_empty()) {
        return Err(
            CommandError::usage("an image without a name cannot be pushed")
                .hint("name it with `--tag`"),
        );
    }
    if platforms.len() > 1 {
        for spec in &outputs.output {
            let (kind, instead) = match spec.to {
                BuildOutput::DockerArchive(_) => ("docker", "use `type=oci`, which has a place"),
                BuildOutput::Tar(_) => ("tar", "use `type=local`, a directory for each platform"),
                BuildOutput::Store
                | BuildOutput::Registry
                | BuildOutput::OciArchive(_)
                | BuildOutput::Layout(_)
                | BuildOutput::Directory(_) => continue,
            };
            return Err(CommandError::usage(format!(
                "`type={kind}` has no place for images of several platforms"
            ))
            .hint(format!("{instead}, or name one platform")));
        }
    }
    if wanted.len() > 1 {
        if args.attesting.is_asked() {
            let text = "a provenance is of one target: what the others are made of is not its own";
            return Err(CommandError::usage(text).hint("build the targets in a run each"));
        }
        let one_only = |what: &str, instead: &str| {
            let text = format!("{what} is for one image, and there are {}", wanted.len());
            Err(CommandError::usage(text).hint(instead))
        };
        if outputs.iidfile.is_some() || outputs.digest_file.is_some() {
            return one_only(
                "a file with one digest",
                "use `--metadata-file`, which has all of them by target",
            );
        }
        let is_for_one = |spec: &&crate::outputs::OutputSpec| {
            let is_shared = matches!(spec.to, BuildOutput::Store | BuildOutput::Registry);
            !is_shared || spec.name.is_some()
        };
        if outputs.output.iter().any(|spec| is_for_one(&spec)) {
            return one_only(
                "an output with a place or a name of its own",
                "build one target, or write the others out with `corten save`",
            );
        }
    }
    Ok(())
}

/// Returns the platforms, each once, in the order in which they were asked for.
pub(super) fn distinct(platforms: &[Platform]) -> Vec<Platform> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<Platform> = platforms
        .iter()
        .filter(|platform| seen.insert(platform.normalized().to_string()))
        .cloned()
        .collect();
    if all.is_empty() {
        all.push(Platform::host());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, Option<&str>)>) {
            let found = text.parse::<Target>().ok();
            let found = found.map(|one| (one.stage, one.name.map(|name| name.to_string())));
            let expected = expected.map(|(stage, name)| (stage.into(), name.map(str::to_owned)));
            assert_eq!(found, expected, "{text:?}");
        }
        check("app", Some(("app", None)));
        check("app=x.io/a:1", Some(("app", Some("x.io/a:1"))));
        check("app=", None);
        check("=x", None);
    }

    #[test]
    fn platforms_are_built_once_each() {
        let platforms = ["linux/arm64", "linux/amd64", "linux/arm64/v8"];
        let platforms = platforms.map(|text| text.parse().unwrap());
        let found = distinct(&platforms);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["linux/arm64", "linux/amd64"]);
        assert_eq!(distinct(&[]), [Platform::host()]);
    }
}
