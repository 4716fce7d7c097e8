//! One COPY or ADD as a step of the build: key, cache, layer.

use corten_dockerfile::{Base, CopyStep, Diagnostic, Ignore, Source, Span};
use corten_layer::bytes::TreeContents;
use corten_layer::tree::Kind;
use corten_layer::users::resolve_owner;
use corten_layer::{Changeset, Shown, Tree, path};
use corten_snapshot::Bytes;
use corten_spec::Digest;
use corten_tar::LayerLimits;

use crate::build::{Builder, Found, spec_platform};
use crate::commit::Made;
use crate::context::HostTree;
use crate::copy::{
    Archive, Attributes, CopiedFiles, Copier, Selected, SourceOwners, SourceTree, select,
};
use crate::digests::add_selected;
use crate::error::{StepError, StepResult};
use crate::reach::Reach;
use crate::stage::Stage;
use crate::{Error, Result};

/// Where the paths of a COPY are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// The context, whose name is empty, or a named directory.
    Host(String),
    Stage(usize),
    Image(String),
    /// There is nothing in it.
    Scratch,
}

/// A source that was found.
enum Item<'a> {
    Selected(Selected),
    Text { name: &'a str, content: &'a str },
}

impl Builder<'_> {
    /// Executes a COPY or ADD.
    pub(crate) fn copy(
        &mut self,
        stage: &mut Stage,
        copy: &CopyStep,
        span: Span,
    ) -> StepResult<Made> {
        let place = self.place(copy)?;
        let mut keys = Vec::new();
        // Files of a stage are named by its layers: a hit on those reads none of them.
        if let Some(chain) = self.chain_of(&place) {
            let mut key = self.copy_key("copy of layers", stage, copy);
            key.text(&chain);
            keys.push(key.finish());
        }
        if let Some(made) = self.first_cached(&keys)? {
            return Ok(made);
        }
        self.examine(&place, &copy.sources)?;
        let bytes = self.bytes_of(&place);
        let contents = self.tree_contents(&place, bytes.as_ref());
        let source = self.source(&place, contents.as_ref());
        let items = self.items(copy, &source, span)?;
        let key = self.content_key(stage, copy, &source, &items)?;
        if let Some(made) = self.first_cached(std::slice::from_ref(&key))? {
            self.record_again(&keys, &made, stage)?;
            return Ok(made);
        }
        keys.push(key);
        let attributes = self.attributes(stage, copy)?;
        stage.tree(&self.snapshots)?;
        let stage = &*stage;
        let lower = stage.computed_tree().expect("it was just computed");
        let (changes, files) = changes(
            lower,
            &attributes,
            copy,
            &source,
            &items,
            span,
            &self.request.limits,
        )?;
        self.commit(stage, &keys, changes, &files)
    }

    fn first_cached(&self, keys: &[Digest]) -> Result<Option<Made>> {
        for key in keys {
            if let Some(made) = self.cached(key)? {
                return Ok(Some(made));
            }
        }
        Ok(None)
    }

    fn record_again(&self, keys: &[Digest], made: &Made, stage: &Stage) -> Result<()> {
        keys.iter()
            .try_for_each(|key| crate::cache::record(self.store, key, &made.outcome, &stage.layers))
    }

    fn place(&mut self, copy: &CopyStep) -> Result<Place> {
        Ok(match &copy.from {
            None => Place::Host(String::new()),
            Some(Base::Scratch) => Place::Scratch,
            Some(Base::Stage(index)) => Place::Stage(*index),
            Some(Base::Image { name, platform }) => {
                match self.find(name, &spec_platform(platform))? {
                    Found::Host => Place::Host(name.clone()),
                    Found::Image => Place::Image(name.clone()),
                }
            }
        })
    }

    fn layered(&self, place: &Place) -> Option<&Stage> {
        match place {
            Place::Stage(index) => self.finished.get(index).map(|finished| &finished.stage),
            Place::Image(name) => self.images.get(name),
            Place::Host(_) | Place::Scratch => None,
        }
    }

    fn chain_of(&self, place: &Place) -> Option<String> {
        self.layered(place).map(Stage::chain)
    }

    /// Makes the tree of `place` if it was not needed before.
    fn examine(&mut self, place: &Place, sources: &[Source]) -> Result<()> {
        let stage = match place {
            Place::Stage(index) => self
                .finished
                .get_mut(index)
                .map(|finished| &mut finished.stage),
            Place::Image(name) => self.images.get_mut(name),
            Place::Host(name) if name.is_empty() => {
                self.examine_context(sources)?;
                None
            }
            Place::Host(_) | Place::Scratch => None,
        };
        if let Some(stage) = stage {
            stage.tree(&self.snapshots)?;
        }
        Ok(())
    }

    /// Examines the part of the context that the build can reach, or all of it if that does not hold
    /// `sources`: a variable or a trigger may name anything.
    fn examine_context(&mut self, sources: &[Source]) -> Result<()> {
        let reach = match self.hosts.get("") {
            Some(host) if host.reach.covers(sources) => return Ok(()),
            Some(_) => Reach::all(),
            None => Some(Reach::of(self.needed_instructions()))
                .filter(|reach| reach.covers(sources))
                .unwrap_or_else(Reach::all),
        };
        let host = HostTree::scan(&self.request.context, &self.request.ignore, reach)?;
        self.hosts.insert(String::new(), host);
        Ok(())
    }

    fn bytes_of(&self, place: &Place) -> Option<Bytes<'_>> {
        self.layered(place)
            .map(|stage| Bytes::new(self.snapshots.clone(), &stage.layers))
    }

    fn tree_contents<'b>(
        &'b self,
        place: &Place,
        bytes: Option<&'b Bytes<'_>>,
    ) -> Option<TreeContents<'b>> {
        let tree = self.layered(place)?.computed_tree()?;
        Some(TreeContents {
            tree,
            bytes: bytes?,
        })
    }

    fn source<'b>(
        &'b self,
        place: &Place,
        contents: Option<&'b TreeContents<'b>>,
    ) -> SourceTree<'b> {
        if let Some(contents) = contents {
            return SourceTree {
                tree: contents.tree,
                contents,
                owners: SourceOwners::Keep,
            };
        }
        let host = match place {
            Place::Host(name) => self.hosts.get(name),
            Place::Stage(_) | Place::Image(_) | Place::Scratch => None,
        };
        match host {
            Some(host) => SourceTree {
                tree: &host.tree,
                contents: &host.files,
                owners: SourceOwners::Root,
            },
            None => SourceTree {
                tree: empty_tree(),
                contents: &NOTHING,
                owners: SourceOwners::Keep,
            },
        }
    }

    /// Finds every source, or says why it is not there.
    fn items<'b>(
        &self,
        copy: &'b CopyStep,
        source: &SourceTree<'_>,
        span: Span,
    ) -> StepResult<Vec<Item<'b>>> {
        let mut items = Vec::new();
        for wanted in &copy.sources {
            match wanted {
                Source::Inline { name, content } => items.push(Item::Text { name, content }),
                Source::Path(pattern) => {
                    let found = select(source.tree, pattern, span)?;
                    if found.is_empty() {
                        return Err(self.missing(copy, pattern, span));
                    }
                    items.extend(found.into_iter().map(Item::Selected));
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
        key.text(&copy.dest);
        key.optional(copy.chown.as_deref());
        key.optional(
            copy.chmod
                .as_ref()
                .map(|mode| format!("{mode:?}"))
                .as_deref(),
        );
        key.number(i64::from(copy.add));
        for source in &copy.sources {
            match source {
                Source::Path(path) => key.list(&["path", path]),
                Source::Inline { name, content } => key.list(&["text", name, content]),
            }
        }
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
        let selected = items.iter().filter_map(|item| match item {
            Item::Selected(selected) => Some(selected),
            Item::Text { .. } => None,
        });
        add_selected(&mut key, source, selected)?;
        Ok(key.finish())
    }

    fn attributes(&self, stage: &mut Stage, copy: &CopyStep) -> Result<Attributes> {
        let owner = match &copy.chown {
            None => None,
            Some(text) => Some(self.with_contents(stage, |tree, contents| {
                let owner = resolve_owner(tree, contents, text)?;
                Ok((owner.uid, owner.gid))
            })?),
        };
        Ok(Attributes {
            owner,
            mode: copy.chmod.clone(),
            now: self.now,
        })
    }
}

fn changes<'a>(
    lower: &'a Tree,
    attributes: &'a Attributes,
    copy: &CopyStep,
    source: &SourceTree<'a>,
    items: &[Item<'_>],
    span: Span,
    limits: &LayerLimits,
) -> StepResult<(Changeset, CopiedFiles<'a>)> {
    let mut copier = Copier::new(lower, attributes, span);
    let dest = copier.real(copy.dest.as_bytes())?;
    let into = copy.dest.ends_with('/') || copier.is_directory(&dest);
    if items.len() > 1 && !into {
        return Err(StepError::at(
            span,
            format!(
                "several files are copied, but `{}` is not a directory: end it with `/`",
                copy.dest
            ),
        ));
    }
    let target = |name: &[u8]| {
        if into {
            path::join(&dest, name)
        } else {
            dest.clone()
        }
    };
    for item in items {
        copier.next_source();
        match item {
            Item::Text { name, content } => copier.put_text(&target(name.as_bytes()), content)?,
            Item::Selected(one) if is_directory(source.tree, one.node) => {
                copier.put_content(source, one.node, &dest)?;
            }
            Item::Selected(one) => match archive(copy, source, one, limits)? {
                Some(archive) => copier.put_archive(archive, &dest)?,
                None => copier.put_node(source, one.node, &target(one.name()))?,
            },
        }
    }
    Ok(copier.finish())
}

/// Returns the archive that ADD unpacks, if the file is one.
fn archive(
    copy: &CopyStep,
    source: &SourceTree<'_>,
    selected: &Selected,
    limits: &LayerLimits,
) -> StepResult<Option<Archive>> {
    let Kind::File(file) = &source.tree.node(selected.node).kind else {
        return Ok(None);
    };
    if !copy.add || copy.from.is_some() {
        return Ok(None);
    }
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

/// Returns where the path `wanted` stands as a word of the instruction at `span`; `None` where it is
/// written in another way, such as with a variable.
fn find_word(text: &str, span: Span, wanted: &str) -> Option<Span> {
    let is_around = |letter: char| letter.is_ascii_whitespace() || "\"',[]".contains(letter);
    let mut start = span.start;
    for (line_idx, line) in text
        .get(span.start..span.end)?
        .split_inclusive('\n')
        .enumerate()
    {
        let mut at = 0;
        for word in line.split(is_around) {
            let path = word.trim_start_matches("./").trim_matches('/');
            if !path.is_empty() && path == wanted {
                let before = line.get(..at)?.chars().count();
                let first_column = if line_idx == 0 { span.column } else { 1 };
                return Some(Span {
                    line: span.line + line_idx,
                    column: first_column + before,
                    start: start + at,
                    end: start + at + word.len(),
                });
            }
            at += word.len() + 1;
        }
        start += line.len();
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_path_is_written() {
        #[track_caller]
        fn check(text: &str, wanted: &str, expected: Option<(usize, usize, &str)>) {
            let text = format!("FROM x\n  {text}\n");
            let span = Span {
                line: 2,
                column: 3,
                start: 9,
                end: text.len(),
            };
            let found = find_word(&text, span, wanted);
            let found = found.map(|found| {
                let word = text.get(found.start..found.end).unwrap_or_default();
                (found.line, found.column, word)
            });
            assert_eq!(found, expected, "{text}");
        }
        check("COPY a /b", "a", Some((2, 8, "a")));
        check("copy --from=o o /b", "o", Some((2, 17, "o")));
        check("COPY ./a/ /b", "a", Some((2, 8, "./a/")));
        check("COPY é \\\n x/y b", "x/y", Some((3, 2, "x/y")));
        check("COPY [\"ä\",\"a b\", \"c\"]", "c", Some((2, 21, "c")));
        check("COPY $a b", "a", None);
    }
}
