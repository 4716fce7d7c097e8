//! Images of which only the documents were read: their layers come when they are needed.
//!
//! Nothing of such an image is in the store, so nothing there names what is not there. Once a layer is
//! needed all of them come, side by side, and the image gets its name, as if it had been pulled at once.

use std::fmt;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corten_build::caches::WithCaches;
use corten_build::{recall_base, remember_base};
use corten_content::{ImageDocuments, MountSource, Sink as _, Source, Store, load_image};
use corten_snapshot::{LayerSource, Receiving};
use corten_spec::{Descriptor, Digest, Platform, Reference};

use crate::context::Context;
use crate::error::CommandError;
use crate::images::{Found, Pull};
use crate::places::{Opened, Place};
use crate::registry::{RegistryArgs, show_warnings};
use crate::transfer::{Part, fetch};
use crate::wanted::Wanted;

/// The images of one build whose layers may not be in the store.
#[derive(Debug, Default)]
pub(crate) struct LazyImages(Mutex<Vec<Arc<LazyImage>>>);

/// An image in a registry.
struct LazyImage {
    name: Reference,
    root: Descriptor,
    layers: Vec<Descriptor>,
    opened: Opened,
    /// Held while its layers come.
    is_here: Mutex<bool>,
}

/// Layers of a base image that a step or the image needs, and that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("the layers of `{name}` are needed, and are not in the local store")]
pub(crate) struct LayersNeeded {
    /// The image.
    pub(crate) name: String,
    /// Why they could not be had.
    pub(crate) source: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Debug for LazyImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyImage")
            .field("name", &self.name)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl LazyImages {
    /// Finds the `wanted` image that a registry has as `name`, and reads its documents alone.
    ///
    /// Where the registry is out of reach, what it had when it was last asked is taken, unless it is to be
    /// asked every time.
    pub(crate) fn find(
        &self,
        (ctx, registry): (&Context, &RegistryArgs),
        store: &Store,
        name: &Reference,
        (wanted, pull): (&Wanted, Pull),
    ) -> Result<Found, CommandError> {
        let opened = Place::Registry(name.clone()).open(ctx, registry)?;
        let found = ask(&opened, name, wanted);
        if let Some(client) = &opened.client {
            show_warnings(ctx, client);
        }
        let text = name.to_string();
        let (root, documents) = match found {
            Ok((root, documents)) => {
                remember_base(store, (&text, &wanted.platform), &root, &documents);
                (root, documents)
            }
            Err(error) => {
                let known = is_out_of_reach(&error) && pull != Pull::Always;
                let known = known.then(|| recall_base(store, &text, &wanted.platform));
                let Some(known) = known.flatten() else {
                    return Err(CommandError::caused(error));
                };
                ctx.output.warn(&format!(
                    "{} cannot be reached: `{name}` is taken to be what it was the last time, `{}`",
                    opened.source.place(),
                    known.root.digest
                ));
                (known.root, known.documents)
            }
        };
        let image = LazyImage {
            name: name.clone(),
            root: root.clone(),
            layers: documents.manifest.value.layers.clone(),
            opened,
            is_here: Mutex::default(),
        };
        // What is there only has to get its name. What another image has the name of comes at once, lest the
        // next build goes back to that.
        let is_other = |other: Descriptor| other.digest != image.root.digest;
        let named = store.resolve_for(&name.to_string(), &wanted.platform);
        if named.is_ok_and(is_other) || image.is_whole(store).map_err(CommandError::caused)? {
            let named = image.bring(ctx, store, registry.jobs);
            named.map_err(CommandError::caused)?;
        }
        self.lock().push(Arc::new(image));
        Ok(Found {
            content: root,
            documents,
        })
    }

    /// Names the images whose layers came another way: with another image, or from a cache.
    pub(crate) fn name_whole(
        &self,
        ctx: &Context,
        store: &Store,
        jobs: usize,
    ) -> corten_content::Result<()> {
        let images = self.lock().clone();
        for image in images {
            if image.is_whole(store)? {
                image.bring(ctx, store, jobs)?;
            }
        }
        Ok(())
    }

    /// Returns `here` with the layers of the images found so far beside it.
    pub(crate) fn beside(&self, here: WithCaches) -> Box<dyn Source> {
        let images = self.lock().clone();
        Box::new(WithLazyImages { here, images })
    }

    fn holders(&self, blob: &Digest) -> Vec<Arc<LazyImage>> {
        let images = self.lock();
        let holders = images.iter().filter(|image| image.has(blob));
        holders.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<LazyImage>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the documents of the `wanted` image.
fn ask(
    opened: &Opened,
    name: &Reference,
    wanted: &Wanted,
) -> corten_content::Result<(Descriptor, ImageDocuments)> {
    let part = Part::Platform(wanted.clone());
    let root = part.choose(&*opened.source, &opened.name)?.root;
    let documents = load_image(&*opened.source, &root, &wanted.platform)?;
    if wanted.is_asked || name.digest().is_none() {
        wanted.require(&documents.config.value, &name.to_string())?;
    }
    Ok((root, documents))
}

fn is_out_of_reach(error: &corten_content::Error) -> bool {
    let corten_content::Error::Place { source, .. } = error else {
        return false;
    };
    let error = source.downcast_ref::<corten_registry::Error>();
    error.is_some_and(corten_registry::Error::is_out_of_reach)
}

impl LazyImage {
    fn has(&self, blob: &Digest) -> bool {
        self.layers.iter().any(|layer| layer.digest == *blob)
    }

    fn is_whole(&self, store: &Store) -> corten_content::Result<bool> {
        for layer in &self.layers {
            if !store.contains(layer)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies the image into `store` and names it there. Of several threads one does it.
    fn bring(&self, ctx: &Context, store: &Store, jobs: usize) -> corten_content::Result<()> {
        let mut is_here = self.is_here.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_here {
            return Ok(());
        }
        ctx.output.note(&format!("pulling {}", self.name));
        let receiving = Receiving::new(ctx.snapshots(store));
        let fetched = fetch(ctx, &*self.opened.source, &receiving, &self.root, jobs);
        if let Some(client) = &self.opened.client {
            show_warnings(ctx, client);
        }
        fetched.map_err(|error| match error {
            corten_content::Error::Place { place, source } => corten_content::Error::Place {
                place,
                source: Box::new(LayersNeeded {
                    name: self.name.to_string(),
                    source,
                }),
            },
            other => other,
        })?;
        store.tag(&self.name.to_string(), &self.root)?;
        *is_here = true;
        Ok(())
    }
}

/// What brings the layers of lazy images into the store of a command.
#[derive(Debug)]
pub(crate) struct Bringing<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) images: &'a LazyImages,
    /// How many blobs are on their way at once.
    pub(crate) jobs: usize,
}

impl LayerSource for Bringing<'_> {
    fn bring(&self, store: &Store, blob: &Descriptor) -> corten_content::Result<()> {
        let mut failed = None;
        for image in self.images.holders(&blob.digest) {
            match image.bring(self.ctx, store, self.jobs) {
                Err(error) => failed = Some(error),
                Ok(()) if store.contains(blob)? => return Ok(()),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// The store and the caches, with the layers of lazy images beside them.
struct WithLazyImages {
    here: WithCaches,
    images: Vec<Arc<LazyImage>>,
}

impl WithLazyImages {
    fn holders(&self, blob: &Digest) -> impl Iterator<Item = &LazyImage> {
        let images = self.images.iter().map(|image| &**image);
        images.filter(move |image| image.has(blob))
    }
}

impl Source for WithLazyImages {
    fn place(&self) -> String {
        self.here.place()
    }

    fn resolve(&self, name: &str) -> corten_content::Result<Descriptor> {
        self.here.resolve(name)
    }

    fn resolve_for(&self, name: &str, platform: &Platform) -> corten_content::Result<Descriptor> {
        self.here.resolve_for(name, platform)
    }

    fn fetch(
        &self,
        content: &Descriptor,
        offset: u64,
    ) -> corten_content::Result<Box<dyn Read + Send + '_>> {
        let mut missing = match self.here.fetch(content, offset) {
            // A cache that refuses is not the last that may have it.
            Err(error) => error,
            found => return found,
        };
        for image in self.holders(&content.digest) {
            match image.opened.source.fetch(content, offset) {
                Err(error) if error.is_not_found() => {}
                Err(error) => missing = error,
                found => return found,
            }
        }
        Err(missing)
    }

    fn referrers(&self, subject: &Digest) -> corten_content::Result<Vec<Descriptor>> {
        self.here.referrers(subject)
    }

    fn mountable_for(&self, content: &Descriptor) -> Option<MountSource> {
        if self.here.store.contains(content).unwrap_or_default() {
            return self.here.mountable_for(content);
        }
        let mut holders = self.holders(&content.digest);
        let mountable = holders.find_map(|image| image.opened.source.mountable());
        mountable.or_else(|| self.here.mountable_for(content))
    }
}

#[cfg(test)]
mod tests {
    use corten_build::caches::Caches;
    use corten_content::{Error, IngestPlan, Memory};

    use super::*;

    /// A registry that lets nobody in.
    struct Refusing;

    impl Source for Refusing {
        fn place(&self) -> String {
            "registry".to_owned()
        }

        fn resolve(&self, _: &str) -> corten_content::Result<Descriptor> {
            Err(refusal())
        }

        fn fetch(
            &self,
            _: &Descriptor,
            _: u64,
        ) -> corten_content::Result<Box<dyn Read + Send + '_>> {
            Err(refusal())
        }

        fn referrers(&self, _: &Digest) -> corten_content::Result<Vec<Descriptor>> {
            Err(refusal())
        }
    }

    fn refusal() -> Error {
        Error::Place {
            place: "registry".to_owned(),
            source: "401".into(),
        }
    }

    #[test]
    fn layers_are_asked_for_wherever_they_may_be() {
        let layer = Descriptor::of("", b"layer");
        let full = || -> Box<dyn Source> {
            let full = Memory::new();
            let mut ingest = full.ingest(&IngestPlan::of(&layer).unwrap()).unwrap();
            std::io::Write::write_all(&mut ingest, b"layer").unwrap();
            ingest.commit(None).unwrap();
            Box::new(full)
        };
        let refusing = || -> Box<dyn Source> { Box::new(Refusing) };
        let empty = || -> Box<dyn Source> { Box::new(Memory::new()) };
        let check = |holders: Vec<Box<dyn Source>>, expected: &str| {
            let images = holders.into_iter().map(|source| {
                Arc::new(LazyImage {
                    name: "registry/a".parse().unwrap(),
                    root: layer.clone(),
                    layers: vec![layer.clone()],
                    opened: Opened {
                        source,
                        name: String::new(),
                        client: None,
                    },
                    is_here: Mutex::default(),
                })
            });
            let dir = tempfile::tempdir().unwrap();
            let images = WithLazyImages {
                here: WithCaches {
                    store: Store::open(dir.path()).unwrap(),
                    caches: Arc::new(Caches::default()),
                    pushed_to: None,
                },
                images: images.collect(),
            };
            let found = match images.fetch(&layer, 0) {
                Ok(mut reader) => std::io::read_to_string(&mut reader).unwrap(),
                Err(error) if error.is_not_found() => "not found".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected);
        };
        check(vec![], "not found");
        check(vec![empty()], "not found");
        check(vec![refusing(), empty()], "registry failed");
        check(vec![empty(), refusing()], "registry failed");
        check(vec![refusing(), full()], "layer");
    }
}
