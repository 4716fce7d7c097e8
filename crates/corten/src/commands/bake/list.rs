//! `corten bake --list`

use std::str::FromStr;

use corten_bake::{Request, list_targets, list_variables};

use crate::context::Context;
use crate::error::CommandError;
use crate::output::{Format, table};

/// What is listed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing {
    what: What,
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Targets,
    Variables,
}

impl FromStr for Listing {
    type Err = String;

    /// Reads `targets`, `variables`, or `type=targets,format=json`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected `targets` or `variables`, or `type=targets,format=json`";
        let (mut what, mut format) = (None, Format::Text);
        for part in text.split(',') {
            match part.strip_prefix("type=").unwrap_or(part) {
                "targets" => what = Some(What::Targets),
                "variables" => what = Some(What::Variables),
                "format=json" => format = Format::Json,
                "format=table" => format = Format::Text,
                _ => return Err(expected.to_owned()),
            }
        }
        let what = what.ok_or(expected)?;
        Ok(Self { what, format })
    }
}

pub(super) fn run(
    listing: Listing,
    request: &Request<'_>,
    ctx: &Context,
) -> Result<(), CommandError> {
    let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
    let or_nothing = |text: Option<String>| text.unwrap_or_default();
    let rows = match listing.what {
        What::Targets => {
            let all = list_targets(request).map_err(CommandError::caused)?;
            if listing.format == Format::Json {
                return ctx.output.json(&all);
            }
            let rows = all.into_iter();
            let rows = rows.map(|one| vec![one.name, or_nothing(one.description)]);
            std::iter::once(row(&["TARGET", "DESCRIPTION"]))
                .chain(rows)
                .collect::<Vec<_>>()
        }
        What::Variables => {
            let all = list_variables(request).map_err(CommandError::caused)?;
            if listing.format == Format::Json {
                return ctx.output.json(&all);
            }
            let rows = all.into_iter().map(|one| {
                let value = one.value.unwrap_or_else(|| "<null>".to_owned());
                vec![
                    one.name,
                    or_nothing(one.kind),
                    value,
                    or_nothing(one.description),
                ]
            });
            std::iter::once(row(&["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"]))
                .chain(rows)
                .collect()
        }
    };
    ctx.output.data(&table(&rows))
}
