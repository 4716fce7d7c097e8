//! Where the files of `--mount=type=bind` come from, and what of them is in a key.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use corten_dockerfile::{Base, Diagnostic, Source, Span};
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, DirectoryOptions, write_tree};
use corten_layer::tree::{File, Kind};
use corten_layer::{Contents, Put, Tree, TreeBuilder, path};
use corten_sandbox::RootKind;

use crate::build::{Builder, spec_platform};
use crate::context::HostTree;
use crate::copy::{Filter, Selected, SourceOwners, SourceTree};
use crate::digests::{add_directory_itself, add_selected};
use crate::error::{StepError, StepResult};
use crate::key::Key;
use crate::run::{Workspace, owners};
use crate::sources::Origin;
use crate::stage::Shared;
use crate::{Error, Result};

/// Where files are.
#[derive(Debug, Clone)]
enum Place<'a> {
    /// The context, or a named directory.
    Host(Arc<HostTree>),
    /// An image, or a stage.
    Layers(Layers<'a>),
    Nothing,
}

#[derive(Debug, Clone)]
enum Layers<'a> {
    Image(Arc<Shared>),
    Stage(&'a Shared),
}

impl Layers<'_> {
    fn shared(&self) -> &Shared {
        match self {
            Self::Image(image) => image,
            Self::Stage(stage) => stage,
        }
    }
}

/// What a mount takes from somewhere: it is there.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    place: Place<'a>,
    tree: Arc<Tree>,
    selected: Selected,
    is_whole: bool,
}

/// Where a host's files come from, and the directories that a part of them was copied to.
pub(crate) type Copied = (Arc<HostTree>, Arc<Workspace>);

/// What names files in a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// The layers that they are in, where they are in layers: nothing has to be read.
    Layers,
    /// Their contents and attributes, which are the same on every machine.
    Contents,
}

impl Builder<'_> {
    /// Finds `source` in `from`.
    pub(crate) fn take_from(
        &self,
        from: Option<&Base>,
        source: &str,
        span: Span,
    ) -> StepResult<Taken<'_>> {
        let place = match from {
            None => {
                let wanted = [Source::Path(source.to_owned())];
                Place::Host(self.sources.context(self.needed_instructions(), &wanted)?)
            }
            Some(Base::Scratch) => Place::Nothing,
            Some(Base::Stage(index)) => match self.finished(*index) {
                Some(finished) => Place::Layers(Layers::Stage(&finished.stage)),
                None => Place::Nothing,
            },
            Some(Base::Image { name, platform }) => {
                match self.sources.named(name, &spec_platform(platform))? {
                    Origin::Host(host) => Place::Host(host),
                    Origin::Nothing => Place::Nothing,
                    Origin::Image(image) => Place::Layers(Layers::Image(image)),
                }
            }
        };
        let tree = match &place {
            // A host's tree is behind its own pointer.
            Place::Host(_) | Place::Nothing => Arc::default(),
            Place::Layers(layers) => layers.shared().tree(&self.snapshots)?,
        };
        let path = source.trim_matches('/').as_bytes();
        let looked_in = match &place {
            Place::Host(host) => &host.tree,
            Place::Layers(_) | Place::Nothing => &*tree,
        };
        let (Some(node), Some(real)) = (looked_in.follow(path)?, looked_in.real_path(path)?) else {
            return Err(self.not_there(from, source, span));
        };
        let selected = Selected { path: real, node };
        Ok(Taken {
            place,
            tree,
            selected,
            is_whole: path.is_empty(),
        })
    }

    fn not_there(&self, from: Option<&Base>, source: &str, span: Span) -> StepError {
        let shown = source.trim_start_matches('/');
        let place = match from {
            None => "the build context".to_owned(),
            Some(Base::Image { name, .. }) => format!("`{name}`"),
            Some(Base::Stage(index)) => match self.stage_name(*index) {
                Some(name) => format!("the stage `{name}`"),
                None => format!("stage {index}"),
            },
            Some(Base::Scratch) => "`scratch`".to_owned(),
        };
        let diagnostic = Diagnostic::new(format!("`{shown}` is not in {place}"), span);
        let is_left_out =
            from.is_none() && self.request.context.join(shown).symlink_metadata().is_ok();
        StepError::Diagnostic(if is_left_out {
            diagnostic.with_hint(format!("`{}` leaves it out", self.request.ignore_file))
        } else {
            diagnostic
        })
    }

    /// Adds what is taken to a key.
    pub(crate) fn add_taken(&self, key: &mut Key, taken: &Taken<'_>, naming: Naming) -> Result<()> {
        match &taken.place {
            Place::Nothing => {
                key.text("nothing");
                Ok(())
            }
            Place::Layers(layers)
                if naming == Naming::Layers
                    || (taken.is_whole && matches!(layers, Layers::Image(_))) =>
            {
                key.text("layers");
                key.text(&layers.shared().chain());
                key.bytes(&taken.selected.path);
                Ok(())
            }
            Place::Layers(_) | Place::Host(_) => {
                key.text("files");
                self.with_source(taken, |source| {
                    let all = Filter::default();
                    let top = source.tree.node(taken.selected.node);
                    if matches!(top.kind, Kind::Directory(_)) {
                        add_directory_itself(key, top);
                    }
                    add_selected(
                        key,
                        self.store,
                        source,
                        std::iter::once((&taken.selected, &all)),
                        // What is mounted gets into no layer.
                        u64::MAX,
                    )
                })
            }
        }
    }

    fn with_source<T>(
        &self,
        taken: &Taken<'_>,
        read: impl FnOnce(&SourceTree<'_>) -> Result<T>,
    ) -> Result<T> {
        match &taken.place {
            Place::Host(host) => read(&SourceTree {
                tree: &host.tree,
                contents: &host.files,
                owners: host.owners(),
                host: host.files.directory(),
            }),
            Place::Layers(layers) => {
                let bytes = layers.shared().bytes(&self.snapshots);
                let contents = TreeContents {
                    tree: &taken.tree,
                    bytes: &bytes,
                };
                read(&SourceTree {
                    tree: &taken.tree,
                    contents: &contents,
                    owners: SourceOwners::Keep,
                    host: None,
                })
            }
            Place::Nothing => read(&SourceTree {
                tree: &taken.tree,
                contents: &NoFiles,
                owners: SourceOwners::Keep,
                host: None,
            }),
        }
    }

    /// Returns the file tree that holds what is taken, with changes going to directories of their own
    /// in `work`, and the path of it there.
    pub(crate) fn overlay(
        &self,
        taken: &Taken<'_>,
        work: &Workspace,
        name: &str,
        userxattr: bool,
    ) -> Result<(RootKind, PathBuf)> {
        let (lower, path) = match &taken.place {
            Place::Layers(layers) => {
                let lower = self.directories(&layers.shared().layers())?;
                (lower, os_path(&taken.selected.path))
            }
            Place::Host(_) => self.copied(taken)?,
            Place::Nothing => (Vec::new(), PathBuf::new()),
        };
        let lower = if lower.is_empty() {
            vec![work.empty.clone()]
        } else {
            lower
        };
        let kind = RootKind::Overlay {
            lower,
            upper: work.directory(&format!("{name}.upper"))?,
            work: work.directory(&format!("{name}.work"))?,
            userxattr,
        };
        Ok((kind, path))
    }

    /// Returns a directory with a copy of what is taken from the host, made once a build, and the path
    /// of it there.
    ///
    /// The directory of the host is not mounted itself: what `.dockerignore` leaves out must not be
    /// seen, owners and modes are those that a COPY would give, files must not change while the
    /// command runs, and a socket in it would be a way out.
    fn copied(&self, taken: &Taken<'_>) -> Result<(Vec<PathBuf>, PathBuf)> {
        let Place::Host(host) = &taken.place else {
            return Ok((Vec::new(), PathBuf::new()));
        };
        let key = (Arc::as_ptr(host).addr(), taken.selected.path.clone());
        let (_, copied) = self.copies.get(key, || {
            let copy = Arc::new(self.workspace()?);
            let root = Root::open(&copy.upper)?;
            let tree = cut(&host.tree, &taken.selected)?;
            write(&tree, &host.files, &root)?;
            Result::Ok((Arc::clone(host), copy))
        })?;
        let is_directory = taken.is_directory();
        let name = path::split(&taken.selected.path).1;
        let path = if is_directory {
            PathBuf::new()
        } else {
            os_path(name)
        };
        Ok((vec![copied.upper.clone()], path))
    }

    /// Writes what is taken to `directory`, which is there and empty, and returns where it is.
    pub(crate) fn placed(&self, taken: &Taken<'_>, directory: &Path) -> Result<PathBuf> {
        let place = directory.join("place");
        std::fs::create_dir(&place).map_err(Error::system("create", &place))?;
        let root = Root::open(&place)?;
        self.with_source(taken, |source| {
            write(&cut(source.tree, &taken.selected)?, source.contents, &root)
        })?;
        Ok(if taken.is_directory() {
            place
        } else {
            place.join(os_path(path::split(&taken.selected.path).1))
        })
    }

    /// Writes everything of the place that `taken` is in to `directory`, which is not there yet.
    pub(crate) fn write_place(&self, taken: &Taken<'_>, directory: &Path) -> Result<()> {
        std::fs::create_dir(directory).map_err(Error::system("create", directory))?;
        let root = Root::open(directory)?;
        self.with_source(taken, |source| write(source.tree, source.contents, &root))
    }
}

impl Taken<'_> {
    pub(crate) fn is_directory(&self) -> bool {
        let tree = match &self.place {
            Place::Host(host) => &host.tree,
            Place::Layers(_) | Place::Nothing => &*self.tree,
        };
        matches!(tree.node(self.selected.node).kind, Kind::Directory(_))
    }

    /// Tells whether its layers can name it.
    pub(crate) fn is_layered(&self) -> bool {
        matches!(self.place, Place::Layers(_))
    }
}

/// Returns what is selected as a tree of its own: a directory becomes its root, anything else is in it.
fn cut(tree: &Tree, selected: &Selected) -> Result<Tree> {
    let top = tree.node(selected.node);
    let is_directory = matches!(top.kind, Kind::Directory(_));
    let root = if is_directory {
        selected.node
    } else {
        Tree::ROOT
    };
    let mut builder = TreeBuilder::new(tree.node(root).meta.clone());
    if !is_directory {
        builder.add(path::split(&selected.path).1, Put::of_node(top, 0))?;
        return Ok(builder.finish());
    }
    let mut groups = HashMap::new();
    let mut todo = vec![(Vec::new(), selected.node)];
    while let Some((above, directory)) = todo.pop() {
        for (name, id) in tree.children(directory) {
            let path = path::join(&above, name);
            let next = groups.len() as u64;
            let group = *groups.entry(id).or_insert(next);
            builder.add(&path, Put::of_node(tree.node(id), group))?;
            if matches!(tree.node(id).kind, Kind::Directory(_)) {
                todo.push((path, id));
            }
        }
    }
    Ok(builder.finish())
}

/// Device nodes are left out: where nothing can be mounted they would be live.
fn write(tree: &Tree, contents: &dyn Contents, root: &Root) -> Result<()> {
    let options = DirectoryOptions {
        owners: owners::of_written(),
        devices: Devices::Skip,
        threads: 2,
    };
    write_tree(tree, contents, root, &options)?;
    Ok(())
}

fn os_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// The contents of an empty tree.
struct NoFiles;

impl Contents for NoFiles {
    fn open<'a>(&'a self, _file: &'a File) -> std::io::Result<Box<dyn std::io::Read + Send + 'a>> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}
