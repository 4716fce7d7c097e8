//! What a step made: looked up, or written as a layer and recorded.

use std::collections::HashSet;
use std::sync::Arc;

use corten_layer::bytes::TreeContents;
use corten_layer::users::{Owner, UserProblem, resolve_owner};
use corten_layer::{Change, Changeset, Contents, Item, Tree};
use corten_snapshot::Excerpts;
use corten_spec::Digest;
use corten_tar::Located;

use crate::Result;
use crate::build::Builder;
use crate::cache::{self, Outcome};
use crate::error::StepResult;
use crate::event::Event;
use crate::key::Key;
use crate::packing::{Layer, Layers};
use crate::request::CacheUse;
use crate::stage::Stage;

/// What a step left, with the layer's entries if it was made just now.
pub(crate) struct Made {
    pub(crate) outcome: Outcome<Layer>,
    pub(crate) entries: Option<Vec<Located>>,
    /// Whether it was made before.
    pub(crate) is_cached: bool,
}

impl Made {
    /// Returns what was made by an earlier step.
    fn before(outcome: Outcome<Layer>) -> Self {
        Self {
            outcome,
            entries: None,
            is_cached: true,
        }
    }
}

impl Builder<'_> {
    /// Starts a key with what every step depends on.
    pub(crate) fn key(&self, kind: &str, stage: &Stage) -> Key {
        let mut key = Key::new(kind, &stage.ledger);
        let chain = stage.chain();
        let clamp = self.clamp.map(|clamp| clamp.seconds.to_string());
        let pack = &self.request.pack;
        let compression = format!("{:?} {:?}", pack.compression, pack.level);
        key.text(&chain);
        key.optional(clamp.as_deref());
        key.text(&compression);
        key.list(&[corten_tar::GZIP_NAME, corten_tar::ZSTD_NAME]);
        let account = key.account();
        account.input("layers beneath", &chain);
        account.input("latest time", clamp.as_deref().unwrap_or("none"));
        account.input("compression", &compression);
        key
    }

    /// Returns what an earlier build recorded for `key`, if `cache` has it looked up.
    pub(crate) fn cached(&self, cache: CacheUse, key: &Digest) -> Result<Option<Made>> {
        if cache == CacheUse::Ignore {
            return Ok(None);
        }
        if let Some(outcome) = self.packing.recorded(key) {
            return Ok(Some(Made::before(outcome)));
        }
        let here = cache::look_up(self.store, key)?;
        let caches = self.request.caches.as_ref();
        let outcome = here.or_else(|| caches?.look_up(self.store, key));
        if let Some(outcome) = &outcome {
            self.note(key, outcome);
        }
        Ok(outcome.map(|outcome| {
            Made::before(Outcome {
                layer: outcome.layer.map(Layer::from),
                created: outcome.created,
                also: outcome.also,
            })
        }))
    }

    /// Notes that the step of `key` made `outcome`, for who gives the cache to others.
    pub(crate) fn note(&self, key: &Digest, outcome: &Outcome) {
        let Some(caches) = &self.request.caches else {
            return;
        };
        caches.note(key, outcome);
        for key in &outcome.also {
            let also = Vec::new();
            let outcome = outcome.clone();
            caches.note(key, &Outcome { also, ..outcome });
        }
    }

    /// Returns what is recorded for `key`, else what `make` makes. Of several stages with the same
    /// step one makes it, and the others wait.
    pub(crate) fn once(
        &self,
        cache: CacheUse,
        key: &Digest,
        make: impl FnOnce() -> StepResult<Made>,
    ) -> StepResult<Made> {
        if cache == CacheUse::Ignore {
            return make();
        }
        let mut just_now = None;
        let outcome = self.made.get(key.clone(), || {
            if let Some(before) = self.cached(cache, key)? {
                return Ok(before.outcome);
            }
            let made = make()?;
            let outcome = made.outcome.clone();
            just_now = Some(made);
            StepResult::Ok(outcome)
        })?;
        Ok(just_now.unwrap_or_else(|| Made::before(outcome)))
    }

    /// Writes `changes` to `stage` as a layer, which is packed while other steps go on, and has it
    /// recorded under every one of `keys`.
    ///
    /// No changes are a layer, too, as for BuildKit: which layers an image has is a matter of its Dockerfile
    /// alone.
    pub(crate) fn commit(
        &self,
        stage: &mut Stage,
        keys: &[Digest],
        mut changes: Changeset,
        contents: &dyn Contents,
    ) -> StepResult<Made> {
        if let Some(clamp) = self.clamp {
            changes.clamp(clamp);
        }
        let lower = stage.tree(&self.snapshots)?;
        let (layer, entries) = self.write_layer(&lower, &changes, contents)?;
        let outcome = Outcome {
            layer: Some(layer),
            created: self.created.clone(),
            also: Vec::new(),
        };
        let made = Made {
            outcome,
            entries: Some(entries),
            is_cached: false,
        };
        for key in keys {
            self.record(key, &made.outcome, stage.diff_ids())?;
        }
        Ok(made)
    }

    /// Returns whose files are that are made for `text`, and warns of names that nobody in the image has.
    pub(crate) fn owner(&self, stage: &mut Stage, text: &str) -> Result<Owner> {
        let (owner, problems) =
            self.with_contents(stage, |tree, contents| resolve_owner(tree, contents, text))?;
        for problem in problems {
            let becomes = match problem {
                UserProblem::NoUser(_) => "it is taken for root",
                _ => "the group is left to the user",
            };
            (self.listener)(Event::Warning(&format!("`{text}`: {problem}: {becomes}")));
        }
        Ok(owner)
    }

    fn write_layer(
        &self,
        lower: &Tree,
        changes: &Changeset,
        contents: &dyn Contents,
    ) -> Result<(Layer, Vec<Located>)> {
        check_sizes(sizes(changes), self.request.pack.max_bytes)?;
        let (mut tar, started) = self.start_layer()?;
        let entries = corten_layer::emit::write_changeset(lower, changes, contents, &mut tar)?;
        let diff_id = tar.finish()?;
        self.snapshots.put_entries(&diff_id, &entries)?;
        Ok((started.written(diff_id), entries))
    }

    /// Calls `read` with the tree of `stage` and the contents of its files, of which it wants few.
    pub(crate) fn with_contents<T>(
        &self,
        stage: &mut Stage,
        read: impl FnOnce(&Tree, &dyn Contents) -> corten_layer::Result<T>,
    ) -> Result<T> {
        let layers = Arc::new(Layers(stage.layers.clone()));
        let bytes = Excerpts::of_coming(self.snapshots.clone(), layers);
        let tree = stage.tree(&self.snapshots)?;
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        Ok(read(&tree, &contents)?)
    }
}

/// Returns each file that `changes` put into the layer, with its size; a file of several names once.
fn sizes(changes: &Changeset) -> impl Iterator<Item = (&[u8], u64)> {
    let mut groups = HashSet::new();
    changes.iter().filter_map(move |(path, change)| {
        let Change::Put(put) = change else {
            return None;
        };
        let Item::File(file) = &put.item else {
            return None;
        };
        let is_new = put.group.is_none_or(|group| groups.insert(group));
        is_new.then_some((path, file.size))
    })
}

/// Refuses files that no layer has room for before any of them is read: a hole takes no space where it is,
/// but hours to be read.
///
/// # Errors
/// The limit, with the file that exceeds it.
pub(crate) fn check_sizes<'a>(
    files: impl Iterator<Item = (&'a [u8], u64)>,
    max_bytes: u64,
) -> Result<()> {
    let mut total: u64 = 0;
    for (path, size) in files {
        total = total.saturating_add(size);
        if total > max_bytes {
            let limit = corten_tar::Error::Limit {
                limit: "total_bytes",
                maximum: max_bytes,
            };
            let path = path.into();
            let source = limit.into();
            return Err(corten_layer::Error::Content { path, source }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_layer_has_room_for_is_refused() {
        #[track_caller]
        fn check(sizes: &[u64], expected: Option<&str>) {
            let names = [&b"a"[..], b"b", b"c"];
            let files = names.into_iter().zip(sizes.iter().copied());
            let found = check_sizes(files, 100).err().map(|error| error.to_string());
            let expected = expected.map(|name| format!("cannot read the content of `{name}`"));
            assert_eq!(found, expected, "{sizes:?}");
        }
        check(&[], None);
        check(&[100], None);
        check(&[60, 40, 0], None);
        check(&[101], Some("a"));
        check(&[60, 41], Some("b"));
        check(&[1, u64::MAX, u64::MAX], Some("b"));
    }
}
