//! One COPY or ADD as a step of the build: key, cache, layer.

use std::sync::Arc;

use corten_dockerfile::{Base, CopyStep, Diagnostic, GitSource, HttpSource, Ignore, Source, Span};
use corten_layer::bytes::TreeContents;
use corten_layer::tree::Kind;
use corten_layer::{Changeset, Shown, Tree, path};
use corten_snapshot::Bytes;
use corten_spec::Digest;
use corten_tar::LayerLimits;

use crate::build::{Builder, spec_platform};
use crate::cache::Outcome;
use crate::commit::Made;
use crate::context::HostTree;
use crate::copy::remote::Fetched;
use crate::copy::words::find_word;
use crate::copy::{
    Archive, Attributes, CopiedFiles, Copier, Filter, Selected, SourceOwners, SourceTree,
    is_optional, select,
};
use crate::digests::add_selected;
use crate::downloads::Download;
use crate::error::{StepError, StepResult};
use crate::remote::GitCommit;
use crate::sources::Origin;
use crate::stage::{Shared, Stage};
use crate::{Error, Result};

/// Where the paths of a COPY are.
#[derive(Debug, Clone)]
enum Place {
    /// The context, or a named directory.
    Host(Arc<HostTree>),
    Image(Arc<Shared>),
    Stage(usize),
    /// There is nothing in it.
    Scratch,
}

/// A [`Place`] whose tree is known.
enum Examined<'a> {
    Host(&'a HostTree),
    Layers {
        tree: Arc<Tree>,
        bytes: Box<Bytes<'a>>,
    },
    Nothing,
}

/// A source that was found.
enum Item<'a> {
    Selected(Selected, Arc<Filter>),
    Text { name: &'a str, content: &'a str },
    File(&'a HttpSource, Download),
    Checkout(&'a GitSource, GitCommit, Arc<Filter>),
}

impl Examined<'_> {
    fn contents(&self) -> Option<TreeContents<'_>> {
        match self {
            Self::Layers { tree, bytes } => Some(TreeContents {
                tree,
                bytes: &**bytes,
            }),
            Self::Host(_) | Self::Nothing => None,
        }
    }

    fn source<'b>(&'b self, contents: Option<&'b TreeContents<'b>>) -> SourceTree<'b> {
        match (self, contents) {
            (Self::Layers { tree, .. }, Some(contents)) => SourceTree {
                tree,
                contents,
                owners: SourceOwners::Keep,
                host: None,
            },
            (Self::Host(host), _) => SourceTree {
                tree: &host.tree,
                contents: &host.files,
                owners: host.owners(),
                host: host.files.directory(),
            },
            (Self::Layers { .. } | Self::Nothing, _) => SourceTree {
                tree: empty_tree(),
                contents: &NOTHING,
                owners: SourceOwners::Keep,
                host: None,
            },
        }
    }
}

impl Builder<'_> {
    /// Executes a COPY or ADD.
    pub(crate) fn copy(&self, stage: &mut Stage, copy: &CopyStep, span: Span) -> StepResult<Made> {
        if copy.link {
            // The layer is the one that the step makes on nothing, in every stage and on every base.
            let mut nothing = Stage::new(Vec::new(), stage.config.clone(), None);
            nothing.ledger = stage.ledger.clone();
            nothing.cache = stage.cache;
            return self.copy_onto(&mut nothing, copy, span);
        }
        self.copy_onto(stage, copy, span)
    }

    fn copy_onto(&self, stage: &mut Stage, copy: &CopyStep, span: Span) -> StepResult<Made> {
        let place = self.place(copy)?;
        let mut keys = Vec::new();
        // Files of a stage are named by its layers: a hit on those reads none of them.
        if let Some(layered) = self.layered(&place) {
            let mut key = self.copy_key("copy of layers", stage, copy);
            key.text(&layered.chain());
            key.account().input("source's layers", &layered.chain());
            keys.push(key.finish());
        }
        for key in &keys {
            if let Some(made) = self.cached(stage.cache, key)? {
                return Ok(made);
            }
        }
        let examined = self.examine(&place)?;
        let contents = examined.contents();
        let source = examined.source(contents.as_ref());
        let items = self.items(copy, &source, span)?;
        let key = self.content_key(stage, copy, &source, &items)?;
        let made = self.once(stage.cache, &key, || {
            let attributes = self.attributes(stage, copy)?;
            let lower = stage.tree(&self.snapshots)?;
            let fetched = self.fetched(&items)?;
            let copying = Copying {
                copy,
                span,
                limits: &self.request.limits,
                source,
                fetched: &fetched,
            };
            let (changes, files) = copying.changes(&lower, &attributes, &items)?;
            self.commit(stage, std::slice::from_ref(&key), changes, &files)
        })?;
        self.record_again(&keys, &key, &made, stage)?;
        Ok(made)
    }

    /// Fetches what has to be fetched for each of `items`.
    fn fetched<'b>(&'b self, items: &[Item<'_>]) -> Result<Vec<Option<Fetched<'b>>>> {
        let fetch = |item: &Item<'_>| match item {
            Item::Selected(..) | Item::Text { .. } => Ok(None),
            Item::File(source, download) => self.fetched_file(source, download).map(Some),
            Item::Checkout(source, commit, _) => self.checked_out(source, commit).map(Some),
        };
        items.iter().map(fetch).collect()
    }

    /// Records what was made under the quicker `keys`, too.
    fn record_again(
        &self,
        keys: &[Digest],
        content_key: &Digest,
        made: &Made,
        stage: &Stage,
    ) -> Result<()> {
        let outcome = Outcome {
            also: vec![content_key.clone()],
            ..made.outcome.clone()
        };
        let mut keys = keys.iter();
        keys.try_for_each(|key| self.record(key, &outcome, stage.diff_ids()))
    }

    fn place(&self, copy: &CopyStep) -> Result<Place> {
        Ok(match &copy.from {
            None if !copy.sources.iter().any(is_of_place) => Place::Scratch,
            None => {
                let instructions = self.needed_instructions();
                Place::Host(self.sources.context(instructions, &copy.sources)?)
            }
            Some(Base::Scratch) => Place::Scratch,
            Some(Base::Stage(index)) => Place::Stage(*index),
            Some(Base::Image { name, platform }) => {
                match self.sources.named(name, &spec_platform(platform))? {
                    Origin::Host(host) => Place::Host(host),
                    Origin::Nothing => Place::Scratch,
                    Origin::Image(image) => Place::Image(image),
                }
            }
        })
    }

    fn layered<'b>(&'b self, place: &'b Place) -> Option<&'b Shared> {
        match place {
            Place::Stage(index) => self.finished(*index).map(|finished| &finished.stage),
            Place::Image(image) => Some(image),
            Place::Host(_) | Place::Scratch => None,
        }
    }

    fn examine<'b>(&'b self, place: &'b Place) -> Result<Examined<'b>> {
        if let Some(layered) = self.layered(place) {
            return Ok(Examined::Layers {
                tree: layered.tree(&self.snapshots)?,
                bytes: Box::new(layered.bytes(&self.snapshots)),
            });
        }
        Ok(match place {
            Place::Host(host) => Examined::Host(host),
            Place::Stage(_) | Place::Image(_) | Place::Scratch => Examined::Nothing,
        })
    }

    /// Finds every source, or says why it is not there.
    fn items<'b>(
        &self,
        copy: &'b CopyStep,
        source: &SourceTree<'_>,
        span: Span,
    ) -> StepResult<Vec<Item<'b>>> {
        let all = Arc::new(Filter::new(None, &copy.excludes, span)?);
        let mut items = Vec::new();
        for wanted in &copy.sources {
            match wanted {
                Source::Inline { name, content } => items.push(Item::Text { name, content }),
                Source::Http(file) => items.push(Item::File(file, self.download(file)?)),
                Source::Git(tree) => {
                    items.push(Item::Checkout(
                        tree,
                        self.commit_of(tree)?,
                        Arc::clone(&all),
                    ));
                }
                Source::Path(pattern) => {
                    let found = select(source.tree, pattern, span)?;
                    // A pattern may match nothing, as for BuildKit: `COPY go.mod go.su[m] /src/`.
                    if found.is_empty() && !is_optional(pattern) {
                        return Err(self.missing(copy, pattern, span));
                    }
                    let found = found.into_iter();
                    items.extend(found.map(|one| Item::Selected(one, Arc::clone(&all))));
                }
                Source::Parents {
                    pivot,
                    pattern,
                    required,
                } => {
                    let filter = Arc::new(Filter::new(Some(pattern), &copy.excludes, span)?);
                    let mut found = select(source.tree, pivot, span)?;
                    found.retain(|one| is_directory(source.tree, one.node));
                    if *required && pattern.is_empty() {
                        let message = "`--parents` takes nothing of a whole directory";
                        let hint = "name what is in it: `*` is everything";
                        let diagnostic = Diagnostic::new(message, span).with_hint(hint);
                        return Err(StepError::Diagnostic(diagnostic));
                    }
                    let takes = |one: &Selected| !filter.below(source.tree, one.node).is_empty();
                    if *required && !found.iter().any(takes) {
                        let path = format!("{}/{pattern}", pivot.trim_end_matches('/'));
                        return Err(self.missing(copy, &path, span));
                    }
                    let found = found.into_iter();
                    items.extend(found.map(|one| Item::Selected(one, Arc::clone(&filter))));
                }
            }
        }
        Ok(items)
    }

    fn missing(&self, copy: &CopyStep, pattern: &str, span: Span) -> StepError {
        let shown = pattern.trim_start_matches('/');
        let place = match &copy.from {
            None => "the build context".to_owned(),
            Some(Base::Image { name, .. }) => format!("`{name}`"),
            Some(Base::Stage(index)) => match self.stage_name(*index) {
                Some(name) => format!("the stage `{name}`"),
                None => format!("stage {index}"),
            },
            Some(Base::Scratch) => "`scratch`".to_owned(),
        };
        let mut diagnostic = Diagnostic::new(
            format!("`{shown}` is not in {place}"),
            find_word(&self.request.text, span, shown).unwrap_or(span),
        );
        let is_left_out =
            copy.from.is_none() && self.request.context.join(shown).symlink_metadata().is_ok();
        if let (true, Some(hint)) = (is_left_out, left_out(&self.request.ignore, shown)) {
            diagnostic = diagnostic.with_hint(format!("`{}` {hint}", self.request.ignore_file));
        }
        StepError::Diagnostic(diagnostic)
    }

    fn copy_key(&self, kind: &str, stage: &Stage, copy: &CopyStep) -> crate::key::Key {
        let mut key = self.key(kind, stage);
        key.copy(copy);
        key
    }

    /// Returns the key that names the files by their content, so that it is the same on every machine
    /// and whatever times they have.
    fn content_key(
        &self,
        stage: &Stage,
        copy: &CopyStep,
        source: &SourceTree<'_>,
        items: &[Item<'_>],
    ) -> StepResult<Digest> {
        let mut key = self.copy_key("copy of files", stage, copy);
        for item in items {
            match item {
                Item::Selected(..) | Item::Text { .. } => {}
                Item::File(file, download) => key.file(file, &download.digest),
                Item::Checkout(tree, commit, _) => key.commit(tree, commit),
            }
        }
        let selected = items.iter().filter_map(|item| match item {
            Item::Selected(selected, filter) => Some((selected, &**filter)),
            Item::Text { .. } | Item::File(..) | Item::Checkout(..) => None,
        });
        let max_bytes = self.request.pack.max_bytes;
        add_selected(&mut key, self.store, source, selected, max_bytes)?;
        Ok(key.finish())
    }

    fn attributes(&self, stage: &mut Stage, copy: &CopyStep) -> Result<Attributes> {
        let owner = match &copy.chown {
            None => None,
            Some(text) => {
                let owner = self.owner(stage, text)?;
                Some((owner.uid, owner.gid))
            }
        };
        Ok(Attributes {
            owner,
            mode: copy.chmod.clone(),
            now: self.now,
        })
    }
}

/// One COPY or ADD whose sources are at hand.
struct Copying<'a, 'b> {
    copy: &'b CopyStep,
    span: Span,
    limits: &'b LayerLimits,
    source: SourceTree<'a>,
    /// What was fetched, by the number of the item.
    fetched: &'a [Option<Fetched<'a>>],
}

impl<'a> Copying<'a, '_> {
    fn changes(
        &self,
        lower: &'a Tree,
        attributes: &'a Attributes,
        items: &[Item<'_>],
    ) -> StepResult<(Changeset, CopiedFiles<'a>)> {
        let mut copier = Copier::new(lower, attributes, self.span);
        let dest = copier.real(self.copy.dest.as_bytes())?;
        for (item, fetched) in items.iter().zip(self.fetched) {
            copier.next_source();
            let fetched = fetched.as_ref().map(Fetched::source);
            let source = fetched.as_ref().unwrap_or(&self.source);
            match item {
                Item::Text { name, content } => {
                    let dest = self.target(&copier, &dest, name.as_bytes());
                    copier.put_text(&dest, content)?;
                }
                Item::Checkout(_, _, filter) => {
                    copier.put_content(source, Tree::ROOT, &dest, filter)?;
                }
                Item::Selected(one, filter) if is_directory(source.tree, one.node) => {
                    copier.put_content(source, one.node, &dest, filter)?;
                }
                Item::Selected(one, _) => {
                    self.put_file(&mut copier, source, one, &dest, self.copy.unpack_paths)?;
                }
                Item::File(file, _) => {
                    let path = file.name.clone().into_bytes();
                    if let Some(node) = source.tree.exact(&path) {
                        let one = Selected { path, node };
                        let unpack = self.copy.unpack_addresses;
                        self.put_file(&mut copier, source, &one, &dest, unpack)?;
                    }
                }
            }
        }
        Ok(copier.finish())
    }

    /// Returns where a file called `name` goes. What an earlier source made counts.
    fn target(&self, copier: &Copier<'_>, dest: &[u8], name: &[u8]) -> Vec<u8> {
        if self.copy.dest.ends_with('/')
            || self.copy.dest.ends_with("/.")
            || copier.is_directory(dest)
        {
            path::join(dest, name)
        } else {
            dest.to_vec()
        }
    }

    /// Puts a file at or into `dest`, or what is in it if it is an archive to be unpacked.
    fn put_file(
        &self,
        copier: &mut Copier<'a>,
        source: &SourceTree<'a>,
        one: &Selected,
        dest: &[u8],
        unpack: bool,
    ) -> StepResult<()> {
        let archive = if unpack {
            archive(source, one, self.limits)?
        } else {
            None
        };
        match archive {
            Some(archive) => copier.put_archive(archive, dest),
            None => copier.put_node(source, one.node, &self.target(copier, dest, one.name())),
        }
    }
}

/// Tells whether `source` is looked for in the context, a stage or an image.
fn is_of_place(source: &Source) -> bool {
    match source {
        Source::Path(_) | Source::Parents { .. } => true,
        Source::Inline { .. } | Source::Http(_) | Source::Git(_) => false,
    }
}

/// Returns the archive that a file is, if it is one.
fn archive(
    source: &SourceTree<'_>,
    selected: &Selected,
    limits: &LayerLimits,
) -> StepResult<Option<Archive>> {
    let Kind::File(file) = &source.tree.node(selected.node).kind else {
        return Ok(None);
    };
    let path = Shown::from(selected.path.as_slice());
    let content = source.contents.open(file).map_err(|source| {
        let path = path.clone();
        corten_layer::Error::Content { path, source }
    })?;
    let archive = Archive::read(content, limits);
    archive.map_err(|source| Error::Archive { path, source }.into())
}

fn is_directory(tree: &Tree, node: corten_layer::NodeId) -> bool {
    matches!(tree.node(node).kind, Kind::Directory(_))
}

fn left_out(ignore: &Ignore, path: &str) -> Option<String> {
    let verdict = ignore.decide(path.as_bytes());
    let (line, pattern) = (verdict.line?, verdict.pattern?);
    verdict
        .excluded
        .then(|| format!("line {line}, `{pattern}`, leaves it out"))
}

fn empty_tree() -> &'static Tree {
    static EMPTY: std::sync::OnceLock<Tree> = std::sync::OnceLock::new();
    EMPTY.get_or_init(Tree::new)
}

static NOTHING: Nothing = Nothing;

struct Nothing;

impl corten_layer::Contents for Nothing {
    fn open<'a>(
        &'a self,
        _file: &'a corten_layer::tree::File,
    ) -> std::io::Result<Box<dyn std::io::Read + Send + 'a>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
