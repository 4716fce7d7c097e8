//! From a target to the arguments of `corten build`.

use serde_json::{Map, Value};

use crate::attribute::{ATTRIBUTES, Form};
use crate::entry::to_text;
use crate::targets::needs;
use crate::{Error, Result};

/// One build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The arguments of `corten build`.
    pub args: Vec<String>,
    /// The Dockerfile, where the target itself has it.
    pub inline: Option<String>,
    /// Contexts that are images of other targets: the context's name, and the target's.
    pub needs: Vec<(String, String)>,
}

/// Returns the build that `target`, called `name`, asks for.
///
/// # Errors
///
/// A `call` of another kind than a build, and files on standard input.
pub fn definition(name: &str, target: &Map<String, Value>) -> Result<Definition> {
    let place = || format!("the target `{name}`");
    let text = |key: &str| target.get(key).and_then(Value::as_str);
    if text("call").is_some_and(|call| !matches!(call, "" | "build")) {
        return Err(Error::Unsupported {
            place: place(),
            name: "call".to_owned(),
            reason: ": targets are built; `corten build --check` judges a Dockerfile",
        });
    }
    let context = text("context").unwrap_or(".");
    let inline = text("dockerfile-inline").filter(|inline| !inline.is_empty());
    let file = text("dockerfile").unwrap_or("Dockerfile");
    if context == "-" || (inline.is_none() && file == "-") {
        return Err(Error::Unsupported {
            place: place(),
            name: "-".to_owned(),
            reason: ": targets share standard input, which none of them has",
        });
    }
    let mut args = Vec::new();
    if inline.is_none() && (file != "Dockerfile" || !is_remote(context)) {
        args.push(format!("--file={}", in_context(context, file)));
    }
    // Such an image is only needed by others, or not at all.
    let outputs = target.get("output").and_then(Value::as_array);
    let outputs: Vec<_> = outputs
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .collect();
    let is_kept = outputs.is_empty() || outputs.iter().any(|output| !is_nothing(output));
    for attribute in ATTRIBUTES {
        let (Some(flag), Some(value)) = (attribute.flag, target.get(attribute.name)) else {
            continue;
        };
        if attribute.name == "tags" && !is_kept {
            continue;
        }
        match (attribute.form, value) {
            (Form::Entries(kind), Value::Array(entries)) => {
                let entries = entries.iter().filter_map(Value::as_object);
                let entries = entries.filter(|one| !(flag == "--output" && is_nothing(one)));
                args.extend(entries.map(|one| format!("{flag}={}", to_text(kind, one))));
            }
            (_, Value::Array(values)) => {
                let values = values.iter().filter_map(Value::as_str);
                args.extend(values.map(|value| format!("{flag}={value}")));
            }
            (_, Value::Object(map)) => {
                let pairs = map.iter();
                let pairs = pairs.filter_map(|(name, value)| Some((name, value.as_str()?)));
                args.extend(pairs.map(|(name, value)| format!("{flag}={name}={value}")));
            }
            (_, Value::String(value)) if !value.is_empty() => args.push(format!("{flag}={value}")),
            (_, Value::Bool(true)) => args.push(flag.to_owned()),
            _ => {}
        }
    }
    args.extend(hosts(target));
    let contexts = target.get("contexts").and_then(Value::as_object);
    for (name, place) in contexts.into_iter().flatten() {
        if let Some(place) = place.as_str().filter(|place| !place.starts_with("target:")) {
            args.push(format!("--build-context={name}={}", local(place)));
        }
    }
    args.push("--".to_owned());
    args.push(local(context).to_owned());
    Ok(Definition {
        args,
        inline: inline.map(str::to_owned),
        needs: needs(target)
            .map(|(context, target)| (context.to_owned(), target.to_owned()))
            .collect(),
    })
}

/// Tells whether an output has nothing written: the image is in the store anyway, which is what `docker`
/// without a destination asks for.
fn is_nothing(output: &Map<String, Value>) -> bool {
    output.get("type").and_then(Value::as_str) == Some("cacheonly") || is_load(output)
}

fn is_load(output: &Map<String, Value>) -> bool {
    output.get("type").and_then(Value::as_str) == Some("docker") && !output.contains_key("dest")
}

/// Names with their addresses.
fn hosts(target: &Map<String, Value>) -> impl Iterator<Item = String> {
    let hosts = target.get("extra-hosts").and_then(Value::as_object);
    let hosts = hosts.into_iter().flatten();
    hosts.flat_map(|(name, addresses)| {
        let addresses = addresses.as_str().unwrap_or_default().split(',');
        addresses.map(move |address| format!("--add-host={name}:{address}"))
    })
}

fn is_remote(context: &str) -> bool {
    !context.starts_with("cwd://") && (context.contains("://") || context.starts_with("git@"))
}

/// Paths of the working directory are paths.
fn local(place: &str) -> &str {
    match place.strip_prefix("cwd://") {
        Some("") => ".",
        Some(path) => path,
        None => place,
    }
}

/// A Dockerfile is named from its context, where that is a directory here.
fn in_context(context: &str, file: &str) -> String {
    if let Some(path) = file.strip_prefix("cwd://") {
        return path.to_owned();
    }
    let context_here = local(context).trim_end_matches('/');
    let is_alone = is_remote(context) || file.starts_with('/') || file.contains("://");
    match context_here {
        "." => file.to_owned(),
        _ if is_alone => file.to_owned(),
        "" => format!("/{file}"),
        context => format!("{context}/{file}"),
    }
}
