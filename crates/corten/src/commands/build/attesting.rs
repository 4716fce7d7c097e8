//! `--provenance` and `--attest`: what is stated about the image, beside it.

use clap::Args;
use corten_build::provenance::{Detail, Form, attest};
use corten_content::Store;
use corten_spec::{Descriptor, Reference};

use super::BuildArgs;
use super::outcome::Image;
use crate::conversion::DocumentFormat;
use crate::error::CommandError;
use crate::outputs::BuildOutput;

#[derive(Debug, Args)]
pub(crate) struct AttestingArgs {
    /// State what the image was made of, in an index with it: `true`, `false`, `mode=min`, or `mode=max`
    /// with build arguments, labels and the Dockerfile [default: false]
    #[arg(
        long,
        value_name = "CHOICE",
        value_parser = provenance,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    provenance: Option<Choice>,
    /// The same as buildx writes it: `type=provenance,mode=max`
    #[arg(long, value_name = "type=provenance[,mode=MODE]", value_parser = statement)]
    attest: Vec<Choice>,
}

/// Whether there is a provenance, and how much it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice(Option<Detail>);

fn provenance(text: &str) -> Result<Choice, String> {
    choice(text.split(','))
}

fn statement(text: &str) -> Result<Choice, String> {
    let (kinds, rest): (Vec<_>, Vec<_>) = text
        .split(',')
        .partition(|field| field.starts_with("type="));
    match kinds[..] {
        ["type=provenance"] => choice(rest.into_iter()),
        ["type=sbom"] => {
            Err("bills of materials are not made; run a scanner on the image".to_owned())
        }
        _ => Err("expected `type=provenance`".to_owned()),
    }
}

fn choice<'a>(fields: impl Iterator<Item = &'a str>) -> Result<Choice, String> {
    let mut detail = Some(Detail::Min);
    for field in fields {
        detail = match field {
            "true" | "1" | "disabled=false" | "mode=min" => Some(Detail::Min),
            "mode=max" => Some(Detail::Max),
            "false" | "0" | "disabled=true" => return Ok(Choice(None)),
            "version=v1" => detail,
            "version=v0.2" => return Err("version 0.2 of SLSA is not written; v1 is".to_owned()),
            _ => {
                return Err(format!(
                    "`{field}` is not known; expected true, false, mode=min or mode=max"
                ));
            }
        };
    }
    Ok(Choice(detail))
}

impl AttestingArgs {
    fn detail(&self) -> Option<Detail> {
        let last = self.provenance.as_ref().or(self.attest.last());
        last.and_then(|choice| choice.0)
    }

    /// Refuses documents that have no place for statements.
    pub(super) fn check(&self, args: &BuildArgs) -> Result<(), CommandError> {
        Self::form(args)?;
        let outputs = &args.outputs;
        let mut formats = outputs
            .output
            .iter()
            .filter(|spec| !matches!(spec.to, BuildOutput::DockerArchive(_)));
        let is_docker = |format: Option<DocumentFormat>| format == Some(DocumentFormat::Docker);
        let has_docker = is_docker(outputs.format) || formats.any(|spec| is_docker(spec.format));
        if self.is_asked() && has_docker {
            let text = "Docker's documents have no place for a provenance";
            return Err(CommandError::usage(text).hint("leave out `--format` or `--provenance`"));
        }
        Ok(())
    }

    /// Returns what the manifests of statements are, which is the same for all outputs.
    pub(super) fn form(args: &BuildArgs) -> Result<Form, CommandError> {
        let outputs = args.outputs.output.iter();
        let mut asked = outputs.filter_map(|output| output.oci_artifact);
        let first = asked.next().unwrap_or(true);
        if asked.any(|other| other != first) {
            let text = "`oci-artifact` is different for several outputs, which get the same index";
            return Err(CommandError::usage(text));
        }
        Ok(if first { Form::Artifact } else { Form::Image })
    }

    /// Tells whether something is to be stated.
    pub(super) fn is_asked(&self) -> bool {
        self.detail().is_some()
    }

    /// States what is to be stated about `image`, and returns the manifest that has it.
    pub(super) fn attest(
        &self,
        store: &Store,
        image: &Image,
        form: Form,
        names: &[Reference],
    ) -> Result<Descriptor, CommandError> {
        let how = (self.detail().unwrap_or(Detail::Min), form);
        attest(store, &image.request, &image.built, how, names).map_err(CommandError::caused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices() {
        #[track_caller]
        fn check(found: Result<Choice, String>, expected: Option<Choice>) {
            assert_eq!(found.ok(), expected);
        }
        check(provenance("true"), Some(Choice(Some(Detail::Min))));
        check(provenance("mode=max"), Some(Choice(Some(Detail::Max))));
        check(provenance("false"), Some(Choice(None)));
        check(provenance("mode=some"), None);
        check(
            statement("type=provenance"),
            Some(Choice(Some(Detail::Min))),
        );
        check(
            statement("type=provenance,mode=max"),
            Some(Choice(Some(Detail::Max))),
        );
        check(
            statement("type=provenance,disabled=true"),
            Some(Choice(None)),
        );
        check(statement("type=sbom"), None);
        check(statement("mode=max"), None);
    }
}
