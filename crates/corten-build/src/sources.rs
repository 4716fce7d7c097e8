//! What stages are based on and copy from besides each other: images, the context, directories.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use corten_content::Store;
use corten_dockerfile::{Base, Instruction, Plan, Source};
use corten_snapshot::layers_of;
use corten_spec::{Digest, Platform};

use crate::base::{BaseImage, Bases, Named};
use crate::build::spec_platform;
use crate::context::HostTree;
use crate::downloads::Download;
use crate::memo::Memo;
use crate::reach::Reach;
use crate::remote::{GitCommit, Remotes};
use crate::stage::{Shared, Stage};
use crate::{BuildRequest, Error, Result};

/// The sources of one build, each found and examined once.
pub(crate) struct Sources<'a> {
    request: &'a BuildRequest,
    bases: &'a dyn Bases,
    /// Remembers files that were examined before.
    store: &'a Store,
    /// `None` where there is nothing: registries are not asked again for each stage.
    pub(crate) found: Memo<(String, Platform), Option<Named>>,
    named: Memo<(String, Platform), Origin>,
    context: Mutex<Option<Arc<HostTree>>>,
    /// What is at addresses.
    pub(crate) downloads: Memo<String, Download>,
    /// Addresses whose digests were known before.
    pub(crate) checked: Memo<(String, Digest), ()>,
    /// What repositories, references and checksums name.
    pub(crate) commits: Memo<[String; 3], GitCommit>,
}

/// Where files are copied from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A directory of the host.
    Host(Arc<HostTree>),
    /// An image.
    Image(Arc<Shared>),
    /// Nowhere: there are no files.
    Nothing,
}

/// How many registries are asked at once.
const ASKED_AT_ONCE: usize = 8;

impl<'a> Sources<'a> {
    pub(crate) fn new(request: &'a BuildRequest, bases: &'a dyn Bases, store: &'a Store) -> Self {
        Self {
            request,
            bases,
            store,
            found: Memo::default(),
            named: Memo::default(),
            context: Mutex::default(),
            downloads: Memo::default(),
            checked: Memo::default(),
            commits: Memo::default(),
        }
    }

    /// Returns what fetches addresses.
    pub(crate) fn remotes(&self) -> &dyn Remotes {
        self.bases.remotes()
    }

    /// Returns the image that FROM names if a stage has asked for it.
    pub(crate) fn known_image(&self, name: &str, platform: &Platform) -> Option<Box<BaseImage>> {
        match self.found.made(&(name.to_owned(), platform.clone()))?? {
            Named::Image(image) => Some(image),
            Named::Directory { .. } | Named::Scratch => None,
        }
    }

    /// Returns what a name that is no stage stands for in `--from`.
    pub(crate) fn named(&self, name: &str, platform: &Platform) -> Result<Origin> {
        let key = (name.to_owned(), platform.clone());
        self.named.get(key, || match self.find(name, platform)? {
            Named::Scratch => Ok(Origin::Nothing),
            Named::Directory { path, ignore } => {
                let limits = &self.request.limits;
                let host = HostTree::open(&path, &ignore, Reach::all(), limits, Some(self.store))?;
                Ok(Origin::Host(Arc::new(host)))
            }
            Named::Image(image) => {
                let layers = layers_of(&image.documents)?;
                let stage = Stage::new(layers, image.documents.config.value, None);
                Ok(Origin::Image(Arc::new(Shared::new(stage))))
            }
        })
    }

    /// Returns the part of the context that `instructions` can reach, or all of it if that does not
    /// hold `wanted`: a variable or a trigger may name anything.
    pub(crate) fn context<'i>(
        &self,
        instructions: impl Iterator<Item = &'i Instruction>,
        wanted: &[Source],
    ) -> Result<Arc<HostTree>> {
        let mut context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = match &*context {
            Some(host) if host.reach.covers(wanted) => return Ok(Arc::clone(host)),
            Some(_) => Reach::all(),
            None => Some(Reach::of(instructions))
                .filter(|reach| reach.covers(wanted))
                .unwrap_or_else(Reach::all),
        };
        let request = self.request;
        let host = HostTree::open(
            &request.context,
            &request.ignore,
            reach,
            &request.limits,
            Some(self.store),
        )?;
        Ok(Arc::clone(context.insert(Arc::new(host))))
    }

    /// Finds the images that the stages of `plan` are based on, side by side: one that is not to be had is an
    /// error before anything is built, as for BuildKit.
    pub(crate) fn find_bases(&self, plan: &Plan) -> Result<()> {
        let needed = plan
            .needed
            .iter()
            .filter_map(|&stage| plan.stages.get(stage));
        let images: BTreeSet<_> = needed
            .filter_map(|stage| match &stage.base {
                Base::Image { name, platform } => Some((name, platform)),
                Base::Stage(_) | Base::Scratch => None,
            })
            .collect();
        let images: Vec<_> = images.into_iter().collect();
        let find = |(name, platform): &(&String, &corten_dockerfile::Platform)| {
            self.find(name, &spec_platform(platform)).map(drop)
        };
        for some in images.chunks(ASKED_AT_ONCE) {
            std::thread::scope(|scope| {
                let others = some.iter().skip(1);
                let others: Vec<_> = others.map(|image| scope.spawn(|| find(image))).collect();
                let first = some.first().map_or(Ok(()), find);
                let others = others.into_iter().map(|thread| match thread.join() {
                    Ok(found) => found,
                    Err(panic) => std::panic::resume_unwind(panic),
                });
                std::iter::once(first).chain(others).collect::<Result<()>>()
            })?;
        }
        Ok(())
    }

    /// Returns what a name that is no stage stands for.
    pub(crate) fn find(&self, name: &str, platform: &Platform) -> Result<Named> {
        let key = (name.to_owned(), platform.clone());
        let mut failure = None;
        let found = self.found.get(key, || {
            let found = self.bases.find(name, platform);
            Result::Ok(found.map_err(|error| failure = Some(error)).ok())
        })?;
        let again = || "it was not to be had when another stage asked".into();
        found.ok_or_else(|| Error::Base {
            name: name.to_owned(),
            source: failure.unwrap_or_else(again),
        })
    }
}
