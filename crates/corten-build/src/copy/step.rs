//! One COPY or ADD as a step of the build: key, cache, layer.

use std::sync::Arc;

use corten_dockerfile::{Base, CopyStep, Diagnostic, Ignore, Source, Span};
use corten_layer::bytes::TreeContents;
use corten_layer::tree::Kind;
use corten_layer::users::resolve_owner;
use corten_layer::{Changeset, Shown, Tree, path};
use corten_snapshot::Bytes;
use corten_spec::Digest;
use corten_tar::LayerLimits;

use crate::build::{Builder, spec_platform};
use crate::commit::Made;
use crate::context::HostTree;
use crate::copy::{
    Archive, Attributes, CopiedFiles, Copier, Selected, SourceOwners, SourceTree, select,
};
use crate::digests::add_selected;
use crate::error::{StepError, StepResult};
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
    Layers { tree: Arc<Tree>, bytes: Bytes<'a> },
    Nothing,
}

/// A source that was found.
enum Item<'a> {
    Selected(Selected),
    Text { name: &'a str, content: &'a str },
}

impl Examined<'_> {
    fn contents(&self) -> Option<TreeContents<'_>> {
        match self {
            Self::Layers { tree, bytes } => Some(TreeContents { tree, bytes }),
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
            if let Some(made) = self.cached(key)? {
                return Ok(made);
            }
        }
        let examined = self.examine(&place)?;
        let contents = examined.contents();
        let source = examined.source(contents.as_ref());
        let items = self.items(copy, &source, span)?;
        let key = self.content_key(stage, copy, &source, &items)?;
        let made = self.once(&key, || {
            let attributes = self.attributes(stage, copy)?;
            let lower = stage.tree(&self.snapshots)?;
            let limits = &self.request.limits;
            let (changes, files) =
                changes(&lower, &attributes, copy, &source, &items, span, limits)?;
            self.commit(stage, std::slice::from_ref(&key), changes, &files)
        })?;
        self.record_again(&keys, &made, stage)?;
        Ok(made)
    }

    fn record_again(&self, keys: &[Digest], made: &Made, stage: &Stage) -> Result<()> {
        keys.iter()
            .try_for_each(|key| crate::cache::record(self.store, key, &made.outcome, &stage.layers))
    }

    fn place(&self, copy: &CopyStep) -> Result<Place> {
        Ok(match &copy.from {
            None => {
                let instructions = self.needed_instructions();
                Place::Host(self.sources.context(instructions, &copy.sources)?)
            }
            Some(Base::Scratch) => Place::Scratch,
            Some(Base::Stage(index)) => Place::Stage(*index),
            Some(Base::Image { name, platform }) => {
                match self.sources.named(name, &spec_platform(platform))? {
                    Origin::Host(host) => Place::Host(host),
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
                bytes: Bytes::new(self.snapshots.clone(), &layered.layers()),
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
        let selected = items.iter().filter_map(|item| match item {
            Item::Selected(selected) => Some(selected),
            Item::Text { .. } => None,
        });
        add_selected(&mut key, self.store, source, selected)?;
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
