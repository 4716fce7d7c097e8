//! Reading mounts of a cache elsewhere: documents first, a layer when a command wants it.

use std::collections::BTreeMap;
use std::path::Path;

use corten_content::{CopyOptions, Error, Sink as _, Store, copy, load, read as read_content};
use corten_spec::{Digest, Manifest};
use corten_tar::LayerLimits;

use super::carry;
use super::format::{self, CONFIG_TYPE, KnownMount};
use crate::Result;
use crate::caches::import::{MOST_CONFIG_BYTES, chain};
use crate::caches::{CacheSource, Caches};
use crate::run::caches::{self, Put};

/// A mount that was to be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedMount {
    /// What names its cache.
    pub name: Digest,
    /// The id, behind the namespace and a slash.
    pub id: String,
    /// What was done.
    pub put: Put,
}

impl Caches {
    /// Reads which mounts `sources` have, of which commands that find nothing begin with what is there.
    ///
    /// Returns warnings, too: what cannot be used is as good as nothing.
    #[must_use]
    pub fn with_mounts(mut self, sources: Vec<CacheSource>) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        for (source_idx, source) in sources.iter().enumerate() {
            match find(source) {
                Ok(Some(known)) => {
                    for (name, mount) in known {
                        let known = self.mounts.known.entry(name);
                        known.or_insert((source_idx, mount));
                    }
                }
                Ok(None) => warnings.push(format!("there are no mounts in `{}` yet", source.name)),
                Err(error) => {
                    let (name, reason) = (&source.name, chain(&error));
                    warnings.push(format!("the mounts of `{name}` are not used: {reason}"));
                }
            }
        }
        self.mounts.sources = sources;
        (self, warnings)
    }

    /// Brings the layer of the mount `name` into `store`, if a source has one.
    pub(crate) fn bring_mount(
        &self,
        store: &Store,
        name: &Digest,
    ) -> Option<corten_content::Result<()>> {
        let (source_idx, mount) = self.mounts.known.get(name)?;
        let source = self.mounts.sources.get(*source_idx)?;
        let options = CopyOptions {
            jobs: 1,
            ..CopyOptions::default()
        };
        let copied = copy(source.place.as_source(), store, &mount.layer.blob, &options);
        Some(copied.map(drop))
    }

    /// Writes the mount `name`, whose layer was brought, to the directory `path`, which is not there.
    pub(crate) fn unpack_mount(
        &self,
        store: &Store,
        name: &Digest,
        path: &Path,
        limits: &LayerLimits,
    ) -> Option<Result<()>> {
        let (_, mount) = self.mounts.known.get(name)?;
        // Where it could not be brought, that was told.
        if !store.contains(&mount.layer.blob).unwrap_or_default() {
            return None;
        }
        Some(carry::unpack(store, &mount.layer, path, limits))
    }
}

/// Reads what is at `source`; `None` if there is nothing.
pub(super) fn find(
    source: &CacheSource,
) -> corten_content::Result<Option<BTreeMap<Digest, KnownMount>>> {
    let place = source.place.as_source();
    let content = match place.resolve(&source.tag) {
        Err(error) if error.is_not_found() => return Ok(None),
        content => content?,
    };
    let manifest: Manifest = load(place, &content)?.value;
    if manifest.config.media_type != CONFIG_TYPE {
        return Err(Error::Unusable {
            place: format!("`{}`", source.name),
            reason: "it is something else than directories of RUN; choose another name".into(),
        });
    }
    let bytes = read_content(place, &manifest.config, MOST_CONFIG_BYTES)?;
    let document = serde_json::from_slice(&bytes).ok();
    let known =
        document.and_then(|document| format::read(document, &manifest.layers, format::today()));
    known.map(Some).ok_or_else(|| Error::Unusable {
        place: format!("`{}`", source.name),
        reason: "its records are damaged or of another version".into(),
    })
}

/// Puts those mounts of `source` that are `wanted`, by name and id, where commands find them, and
/// returns them with what was done. One that is there already is replaced if that is wanted, but
/// not while a command uses it.
///
/// What is in a mount is believed, like a base image; it is written below its directory, whatever it
/// names, and no device nodes are made.
///
/// # Errors
/// Nothing is there, or what is there does not verify. What was done before stays.
pub fn import_mounts(
    store: &Store,
    source: &CacheSource,
    wanted: &dyn Fn(&Digest, &str) -> bool,
    replace: bool,
    limits: &LayerLimits,
) -> Result<Vec<ImportedMount>> {
    let known = find(source)?.ok_or_else(|| Error::Unusable {
        place: format!("`{}`", source.name),
        reason: "there are no mounts yet".into(),
    })?;
    let mut done = Vec::new();
    for (name, mount) in known {
        if !wanted(&name, &mount.id) {
            continue;
        }
        // Commands can choose from the cache while its layer comes.
        if replace || !caches::is_there(store, &name)? {
            let place = source.place.as_source();
            copy(place, store, &mount.layer.blob, &CopyOptions::default())?;
        }
        let fill = |path: &Path| carry::unpack(store, &mount.layer, path, limits);
        let put = caches::put(store, &name, &mount.id, replace, &fill)?;
        done.push(ImportedMount {
            name,
            id: mount.id,
            put,
        });
    }
    Ok(done)
}
