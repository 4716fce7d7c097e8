//! `corten delete`

use std::process::ExitCode;

use clap::Args;
use corten_content::Source as _;
use corten_registry::Repository;
use corten_spec::{Digest, Reference};
use serde::Serialize;

use crate::context::Context;
use crate::error::CommandError;
use crate::output::Format;
use crate::registry::{RegistryArgs, in_registry, show_warnings};

/// Delete tags, manifests and blobs of registries
///
/// NAME:TAG deletes the tag and nothing else, also on registries that delete manifests only. Where
/// that is not possible, nothing is deleted. NAME@DIGEST deletes a manifest that no tag names.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// What to delete: NAME:TAG or NAME@DIGEST
    #[arg(value_name = "NAME", required = true, value_parser = in_registry)]
    names: Vec<Reference>,
    /// Delete a manifest although tags name it; they go, too
    #[arg(long, conflicts_with = "blob")]
    with_tags: bool,
    /// Delete blobs: the digests are theirs
    #[arg(long)]
    blob: bool,
    /// Tell what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print what was deleted
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// What `--format json` prints of each name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    /// What was named.
    name: String,
    /// `tag`, `manifest` or `blob`.
    kind: &'static str,
    /// The digest of what it was.
    digest: Digest,
    /// The tags that are gone.
    tags: Vec<String>,
    /// Whether it is still there, since nothing was to be deleted.
    dry_run: bool,
}

pub(crate) fn run(args: &DeleteArgs, ctx: &Context) -> Result<ExitCode, CommandError> {
    let mut deleted = Vec::new();
    for name in &args.names {
        let doing = format!("cannot delete `{name}`");
        let one = delete(args, ctx, name).map_err(|error| error.while_doing(doing))?;
        if args.format == Format::Text {
            ctx.output.data(&one.line())?;
        }
        deleted.push(one);
    }
    if args.format == Format::Json {
        ctx.output.json(&deleted)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn delete(args: &DeleteArgs, ctx: &Context, name: &Reference) -> Result<Deleted, CommandError> {
    let (repository, client) = args.registry.repository(ctx, name)?;
    let deleted = match (name.tag(), name.digest()) {
        (Some(tag), None) if !args.blob => delete_tag(args, &repository, name, tag),
        (None, Some(digest)) if args.blob => delete_blob(args, &repository, name, digest),
        (None, Some(digest)) => delete_manifest(args, &repository, name, digest),
        _ if args.blob => Err(CommandError::usage(format!("`{name}` is no digest"))
            .hint("name a blob by its digest, as in `NAME@sha256:…`")),
        _ => Err(CommandError::usage(format!(
            "`{name}` says neither which tag nor which manifest"
        ))
        .hint("name a tag, as in `NAME:TAG`, or a digest, as in `NAME@sha256:…`")),
    };
    show_warnings(ctx, &client);
    deleted
}

fn delete_tag(
    args: &DeleteArgs,
    repository: &Repository,
    name: &Reference,
    tag: &str,
) -> Result<Deleted, CommandError> {
    let content = repository.resolve(tag).map_err(CommandError::caused)?;
    let is_gone = args.dry_run
        || repository
            .delete_tag(tag)
            .map_err(CommandError::caused)?
            .is_some();
    if !is_gone {
        let on_it = repository
            .tags_on(&content.digest, args.registry.jobs)
            .map_err(CommandError::caused)?;
        return Err(CommandError::failed(format!(
            "{} deletes no tags\n  its manifest is `{}`, with which would go: {}",
            name.registry(),
            content.digest,
            on_it.join(", ")
        ))
        .hint(format!(
            "if the registry deletes manifests, `corten delete --with-tags {}@{}` deletes all of them",
            name.name(),
            content.digest
        )));
    }
    Ok(Deleted {
        name: name.to_string(),
        kind: "tag",
        digest: content.digest,
        tags: vec![tag.to_owned()],
        dry_run: args.dry_run,
    })
}

fn delete_manifest(
    args: &DeleteArgs,
    repository: &Repository,
    name: &Reference,
    digest: &Digest,
) -> Result<Deleted, CommandError> {
    let content = repository
        .resolve(digest.as_str())
        .map_err(CommandError::caused)?;
    let tags = repository
        .tags_on(&content.digest, args.registry.jobs)
        .map_err(CommandError::caused)?;
    if !tags.is_empty() && !args.with_tags {
        return Err(CommandError::failed(format!(
            "tags name it, which would go with it: {}",
            tags.join(", ")
        ))
        .hint("`--with-tags` deletes them, too"));
    }
    if !args.dry_run {
        repository
            .delete_manifest(digest)
            .map_err(CommandError::caused)?;
    }
    Ok(Deleted {
        name: name.to_string(),
        kind: "manifest",
        digest: digest.clone(),
        tags,
        dry_run: args.dry_run,
    })
}

fn delete_blob(
    args: &DeleteArgs,
    repository: &Repository,
    name: &Reference,
    digest: &Digest,
) -> Result<Deleted, CommandError> {
    repository.blob(digest).map_err(CommandError::caused)?;
    if !args.dry_run {
        repository
            .delete_blob(digest)
            .map_err(CommandError::caused)?;
    }
    Ok(Deleted {
        name: name.to_string(),
        kind: "blob",
        digest: digest.clone(),
        tags: Vec::new(),
        dry_run: args.dry_run,
    })
}

impl Deleted {
    fn line(&self) -> String {
        let would = if self.dry_run { "would be " } else { "" };
        let tags = match self.tags.as_slice() {
            [] => String::new(),
            _ if self.kind == "tag" => format!(", which named `{}`", self.digest),
            tags => format!(", with its tags {}", tags.join(", ")),
        };
        format!("{would}deleted: {} `{}`{tags}", self.kind, self.name)
    }
}
