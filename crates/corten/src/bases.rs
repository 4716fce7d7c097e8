//! What names in a Dockerfile stand for: named contexts, then the local store, then the registry.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use corten_build::rules::{RuledImage, SourceRules};
use corten_build::{BaseImage, Bases, Named, Remotes};
use corten_content::Store;
use corten_dockerfile::Ignore;
use corten_snapshot::LayerSource;
use corten_spec::{Digest, Platform, Reference};

use crate::build_context::{ContextPlace, OpenContext, open_named};
use crate::context::Context;
use crate::dockerfile;
use crate::error::CommandError;
use crate::images::{Found, Pull, Pulling, find};
use crate::lazy::Bringing;
use crate::places::{Name, Place};
use crate::registry::RegistryArgs;
use crate::remotes::Fetcher;
use crate::wanted::Wanted;

/// What `--build-context` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedContext {
    /// An image.
    Image(Place),
    /// Nothing: an image without files and without a name.
    Scratch,
    /// A directory.
    Directory(PathBuf),
    /// A git repository, or a file by HTTP.
    Remote(ContextPlace),
}

/// Reads `NAME=PLACE`; what names no kind of place is a directory.
pub(crate) fn parse_context(text: &str) -> Result<(String, NamedContext), String> {
    let Some((name, place)) = text
        .split_once('=')
        .filter(|(name, place)| !name.is_empty() && !place.is_empty())
    else {
        return Err("expected `NAME=PLACE`".to_owned());
    };
    let name = context_name(name)?;
    if let Some(reference) = place.strip_prefix("docker-image://") {
        if reference == "scratch" {
            return Ok((name, NamedContext::Scratch));
        }
        return Ok((name, NamedContext::Image(Place::Store(reference.parse()?))));
    }
    if let Some(remote) = remote(place)? {
        return Ok((name, NamedContext::Remote(remote)));
    }
    let scheme = place.split_once(':').map(|(scheme, _)| scheme);
    let context = match scheme {
        Some("target") => {
            return Err(format!(
                "`{place}` is a target of a bake file; name it there, in `contexts`"
            ));
        }
        // buildx writes `oci-layout://DIR`.
        Some("oci-layout") => {
            let path = place
                .trim_start_matches("oci-layout:")
                .trim_start_matches("//");
            NamedContext::Image(format!("oci:{path}").parse()?)
        }
        Some("docker" | "oci" | "oci-archive" | "docker-archive") => {
            NamedContext::Image(place.parse()?)
        }
        _ => NamedContext::Directory(place.into()),
    };
    Ok((name, context))
}

/// Reads the name of a context, as short as it can be written: whoever names the same twice means the last, as
/// for buildx, which takes no other names either.
fn context_name(name: &str) -> Result<String, String> {
    if name.contains("::") {
        return Err(format!(
            "`{name}` is for one platform, and contexts are for all; build the platforms in a run each"
        ));
    }
    name.parse::<Reference>()
        .map_err(|error| format!("no image and no stage can be called `{name}`: {error}"))?;
    Ok(short_name(name))
}

/// A text that could be a path is one here, if there is something at it.
fn remote(place: &str) -> Result<Option<ContextPlace>, String> {
    if Path::new(place).exists() {
        return Ok(None);
    }
    ContextPlace::remote(place).map_err(|error| error.into_cause().to_string())
}

/// Finds images for one build.
#[derive(Debug)]
pub(crate) struct StoreBases<'a> {
    /// What the command works with.
    pub(crate) ctx: &'a Context,
    /// Where images are, and where they are pulled to.
    pub(crate) store: &'a Store,
    /// Named contexts, by name.
    pub(crate) contexts: &'a BTreeMap<String, NamedContext>,
    /// When registries are asked.
    pub(crate) pull: Pull,
    /// Brings layers when they are needed; without it images are pulled whole at once.
    pub(crate) lazily: Option<&'a Bringing<'a>>,
    /// How registries are reached.
    pub(crate) registry: &'a RegistryArgs,
    /// Keeps what was fetched for named contexts until the build is done.
    pub(crate) fetched: Mutex<Vec<OpenContext>>,
    /// What was found, by name and platform: builds for several platforms ask for it again.
    pub(crate) found: Mutex<BTreeMap<(String, String), Named>>,
    /// What may be used, and what is used instead.
    pub(crate) rules: &'a SourceRules,
    /// What `ADD` fetches with.
    pub(crate) fetcher: Fetcher<'a>,
}

impl Bases for StoreBases<'_> {
    fn find(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<Named, Box<dyn StdError + Send + Sync>> {
        let key = (name.to_owned(), platform.to_string());
        if let Some(found) = self.found().get(&key) {
            return Ok(found.clone());
        }
        let named = self.named(name, platform);
        let named = named.map_err(CommandError::into_cause)?;
        self.found().insert(key, named.clone());
        Ok(named)
    }

    fn layers(&self) -> Option<&dyn LayerSource> {
        self.lazily.map(|bringing| bringing as &dyn LayerSource)
    }

    fn remotes(&self) -> &dyn Remotes {
        &self.fetcher
    }
}

impl StoreBases<'_> {
    fn found(&self) -> MutexGuard<'_, BTreeMap<(String, String), Named>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulling(&self, when: Pull) -> Pulling<'_> {
        let lazily = self.lazily.map(|bringing| bringing.images);
        Pulling { when, lazily }
    }

    fn named(&self, name: &str, platform: &Platform) -> Result<Named, CommandError> {
        let place = match self.context(name) {
            Some(NamedContext::Directory(path)) => return directory(name, path),
            Some(NamedContext::Remote(place)) => return self.fetch(place),
            Some(NamedContext::Scratch) => return Ok(Named::Scratch),
            Some(NamedContext::Image(place)) => place.clone(),
            // A digest alone names an image too, the one that an earlier build printed.
            None => Place::Store(name.parse::<Name>().map_err(CommandError::failed)?),
        };
        let (place, digest) = self.ruled(place)?;
        let wanted = Wanted::preferred(platform);
        let Found { content, documents } = match digest {
            Some(digest) => self.find_exactly(&place, &digest, &wanted)?,
            None => find(
                self.ctx,
                self.store,
                self.registry,
                &place,
                &wanted,
                self.pulling(self.pull),
            )?,
        };
        let reference = match &place {
            Place::Store(Name::Reference(reference)) | Place::Registry(reference) => {
                Some(reference.to_string())
            }
            Place::Store(Name::Digest(_)) | Place::Layout(..) | Place::Archive(..) => None,
        };
        Ok(Named::Image(Box::new(BaseImage {
            documents,
            reference,
            digest: content.digest,
        })))
    }

    /// Returns what is used where an image of `place` is asked for, and the digest that it has to have.
    fn ruled(&self, place: Place) -> Result<(Place, Option<Digest>), CommandError> {
        let ruled = match &place {
            Place::Store(Name::Reference(reference)) | Place::Registry(reference) => {
                self.rules.image(reference).map_err(CommandError::caused)?
            }
            Place::Store(Name::Digest(_)) => return Ok((place, None)),
            Place::Layout(path, _) | Place::Archive(_, path, _) => {
                let name = format!("oci-layout://{}", path.display());
                self.rules.local(&name).map_err(CommandError::caused)?;
                return Ok((place, None));
            }
        };
        let RuledImage { reference, digest } = ruled;
        let place = match place {
            Place::Registry(_) => Place::Registry(reference),
            _ => Place::Store(Name::Reference(reference)),
        };
        Ok((place, digest))
    }

    /// Finds what `place` named when it was locked: here by its digest, else in the registry.
    fn find_exactly(
        &self,
        place: &Place,
        digest: &Digest,
        wanted: &Wanted,
    ) -> Result<Found, CommandError> {
        let (Place::Store(Name::Reference(reference)) | Place::Registry(reference)) = place else {
            return Err(CommandError::failed(format!("`{place}` has no tag")));
        };
        let find = |name: Name| {
            let place = Place::Store(name);
            let pulling = self.pulling(Pull::Missing);
            find(self.ctx, self.store, self.registry, &place, wanted, pulling)
        };
        if let Ok(found) = find(Name::Digest(digest.clone())) {
            return Ok(found);
        }
        let name = format!("{}@{digest}", reference.name());
        let pinned: Reference = name.parse().map_err(CommandError::caused)?;
        find(Name::Reference(pinned))
    }

    fn fetch(&self, place: &ContextPlace) -> Result<Named, CommandError> {
        let context = open_named(place, self.ctx, self.registry)?;
        let path = context.path.clone();
        let mut kept = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(context);
        Ok(Named::Directory {
            path,
            ignore: Ignore::default(),
        })
    }

    /// The Dockerfile may name it in full.
    pub(crate) fn context(&self, name: &str) -> Option<&NamedContext> {
        self.contexts.get(&short_name(name))
    }
}

/// Returns the name of a named context as BuildKit compares it: as short as it can be written.
pub(crate) fn short_name(name: &str) -> String {
    let short = name.parse().map(|name: Reference| name.familiar());
    let short = short.unwrap_or_else(|_| name.to_owned());
    match short.strip_suffix(":latest") {
        Some(untagged) => untagged.to_owned(),
        None => short,
    }
}

fn directory(name: &str, path: &Path) -> Result<Named, CommandError> {
    if !path.is_dir() {
        let text = format!(
            "the build context `{name}` is to be `{}`, which is not a directory",
            path.display()
        );
        return Err(CommandError::failed(text));
    }
    let ignore = dockerfile::read_context_ignore(path)?;
    Ok(Named::Directory {
        path: path.to_owned(),
        ignore,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_contexts() {
        for name in [
            "a",
            "a:latest",
            "docker.io/library/a",
            "index.docker.io/library/a:latest",
        ] {
            assert_eq!(short_name(name), "a", "{name}");
        }
        assert_eq!(short_name("e.com/a:1"), "e.com/a:1");
        assert_eq!(short_name("Not:A:Name"), "Not:A:Name");
    }

    #[test]
    fn named_contexts() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, &str)>) {
            let found = parse_context(text)
                .ok()
                .map(|(name, context)| match context {
                    NamedContext::Image(place) => (name, format!("image {place}")),
                    NamedContext::Directory(path) => {
                        (name, format!("directory {}", path.display()))
                    }
                    NamedContext::Remote(_) => (name, "remote".to_owned()),
                    NamedContext::Scratch => (name, "scratch".to_owned()),
                });
            let expected = expected.map(|(name, context)| (name.to_owned(), context.to_owned()));
            assert_eq!(found, expected, "{text:?}");
        }
        check("src=../src", Some(("src", "directory ../src")));
        check(
            "a=docker-image://debian:12",
            Some(("a", "image docker.io/library/debian:12")),
        );
        check("a:1=oci:dir:v1", Some(("a:1", "image oci:dir:v1")));
        check("a=oci-layout:///dir:v1", Some(("a", "image oci:/dir:v1")));
        check(
            "a=docker://x.io/a",
            Some(("a", "image docker://x.io/a:latest")),
        );
        check("a=https://x.io/a.git#v1", Some(("a", "remote")));
        check("a=git@x.io:a", Some(("a", "remote")));
        check("a=docker-image://scratch", Some(("a", "scratch")));
        check("a=https://x.io/file", Some(("a", "remote")));
        check("a=https://x.io/a.git?x=y", None);
        check("a=target:base", None);
        for name in ["a:latest", "docker.io/library/a", "a"] {
            check(&format!("{name}=b"), Some(("a", "directory b")));
        }
        check("e.com/a:1=b", Some(("e.com/a:1", "directory b")));
        check("a::linux/amd64=b", None);
        check("A=b", None);
        check("a=", None);
        check("a", None);
    }
}
