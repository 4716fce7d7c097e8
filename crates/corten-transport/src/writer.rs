//! Writing archives.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use corten_content::unfinished::Unfinished;
use corten_content::{
    Durability, Error as ContentError, Ingest, IngestPlan, Layout, Result as ContentResult, Sink,
    graph,
};
use corten_spec::{Descriptor, Kind, Platform, Reference};
use tempfile::TempDir;

use crate::{Error, Format, Result, pack};

/// An archive of images in the making.
///
/// Content is collected in a directory of its own, which goes with this value; the archive appears
/// as a whole when it is [finished](Self::finish). The same content and tags, in the same order of
/// tags, make the same bytes.
#[derive(Debug)]
pub struct ArchiveWriter {
    layout: Layout,
    spool: TempDir,
    // After the directory, which is removed when it is dropped.
    _unfinished: Unfinished,
    target: Target,
    place: String,
    format: Format,
}

/// Where an archive goes.
enum Target {
    File(PathBuf),
    /// With the name that messages have for it.
    Stream(Box<dyn Write + Send + Sync>, String),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream(_, name) => f.debug_tuple("Stream").field(name).finish_non_exhaustive(),
        }
    }
}

impl ArchiveWriter {
    /// Starts an archive that will be at `path`, whatever file is there now. What it will have is
    /// collected beside it.
    ///
    /// # Errors
    /// Fails at once where the directory of `path` cannot be written to, or where `path` is there
    /// and no regular file: a device or a pipe would be replaced, not written to.
    pub fn create(path: &Path, format: Format) -> Result<Self> {
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::NotAFile {
                path: path.to_owned(),
            });
        }
        let place = format!("{format}:{}", path.display());
        Self::collect(parent(path), Target::File(path.to_owned()), place, format)
    }

    /// Starts an archive that will be written to `stream`, such as standard output, which messages
    /// call `name`. What it will have is collected in a new directory in `scratch`.
    ///
    /// # Errors
    /// Fails at once where `scratch` cannot be written to.
    pub fn to_stream(
        stream: Box<dyn Write + Send + Sync>,
        name: &str,
        scratch: &Path,
        format: Format,
    ) -> Result<Self> {
        let place = format!("{format}:{name}");
        Self::collect(
            scratch,
            Target::Stream(stream, name.to_owned()),
            place,
            format,
        )
    }

    fn collect(scratch: &Path, target: Target, place: String, format: Format) -> Result<Self> {
        // Whoever makes a layout makes its directory: also one that was just removed.
        let create = || {
            let spool = tempfile::Builder::new()
                .prefix(TEMPORARY)
                .tempdir_in(scratch)
                .map_err(Error::system("create a directory in", scratch))?;
            let layout = Layout::create(spool.path(), Durability::None);
            let layout = layout.map_err(Error::content(&place))?;
            Ok((spool.path().to_owned(), (spool, layout)))
        };
        let (unfinished, (spool, layout)) = Unfinished::create(create)?;
        Ok(Self {
            layout,
            spool,
            _unfinished: unfinished,
            target,
            place,
            format,
        })
    }

    /// Lists `content`, which must be here, without a name.
    pub fn add(&self, content: &Descriptor) -> ContentResult<()> {
        self.ensure_fits(content)?;
        self.layout
            .add(content)
            .map_err(|error| self.seen_from_outside(error))
    }

    /// Writes the archive as it is now to `out`, such as a pipe.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        pack::write(
            &self.layout,
            self.spool.path(),
            self.format,
            &self.place,
            out,
        )
    }

    /// Writes the archive to its stream, or to its path, where it appears as a whole; a failure
    /// leaves what was there before. Blocks until a file is on stable storage.
    pub fn finish(mut self) -> Result<()> {
        let write = |out: &mut dyn Write| {
            let root = self.spool.path();
            pack::write(&self.layout, root, self.format, &self.place, out)
        };
        match &mut self.target {
            Target::File(path) => write_file(path, write),
            Target::Stream(stream, name) => write_buffered(stream, Path::new(name), write),
        }
    }

    /// Fails on what `docker load` could not make an image of.
    fn ensure_fits(&self, content: &Descriptor) -> ContentResult<()> {
        match self.format {
            Format::Oci => Ok(()),
            Format::Docker if content.kind() == Kind::Index => Err(Error::Index {
                digest: content.digest.clone(),
                place: self.place.clone(),
            }
            .into()),
            // A manifest is for one platform, whichever is asked for.
            Format::Docker => graph::load_image(&self.layout, content, &Platform::host())
                .map(drop)
                .map_err(|error| self.seen_from_outside(error)),
        }
    }

    /// Names the archive in place of the directory that nobody knows of.
    fn seen_from_outside(&self, error: ContentError) -> ContentError {
        match error {
            ContentError::NotFound { name, .. } => ContentError::NotFound {
                name,
                place: self.place.clone(),
            },
            error => error,
        }
    }
}

impl Sink for ArchiveWriter {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn contains(&self, content: &Descriptor) -> ContentResult<bool> {
        self.layout.contains(content)
    }

    fn ingest(&self, plan: &IngestPlan) -> ContentResult<Box<dyn Ingest + '_>> {
        self.layout.ingest(plan)
    }

    /// Gives `content` the name `tag`: any text in an image layout, a reference for Docker, which
    /// knows no names without a tag.
    fn tag(&self, tag: &str, content: &Descriptor) -> ContentResult<()> {
        self.ensure_fits(content)?;
        let tagged = match self.format {
            Format::Oci => self.layout.tag(tag, content),
            Format::Docker => match docker_name(tag)? {
                Some(name) => self.layout.tag(&name, content),
                None => self.layout.add(content),
            },
        };
        tagged.map_err(|error| self.seen_from_outside(error))
    }
}

/// Returns the full name without a digest; `None` if there is then no tag.
fn docker_name(name: &str) -> ContentResult<Option<String>> {
    let reference: Reference = name.parse().map_err(|source| ContentError::Invalid {
        what: format!("the name `{name}`"),
        source: Box::new(source),
    })?;
    let reference = reference.or_latest();
    let tag = reference.tag();
    Ok(tag.map(|tag| format!("{}:{tag}", reference.name())))
}

/// Writes a file that appears as a whole.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let parent = parent(path);
    // Who may read it is for the umask to say, as with any other file.
    let create = || {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(parent)?;
        Ok((file.path().to_owned(), file))
    };
    let (_unfinished, mut file) =
        Unfinished::create(create).map_err(Error::system("create a file in", parent))?;
    write_buffered(file.as_file_mut(), path, write)?;
    file.as_file()
        .sync_data()
        .map_err(Error::system("sync", path))?;
    file.persist(path)
        .map_err(|error| Error::system("create", path)(error.error))?;
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::system("sync", parent))
}

/// Writes all of it to `out`, which messages call `name`.
fn write_buffered(
    out: impl Write,
    name: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER, out);
    write(&mut out)?;
    out.flush().map_err(Error::system("write", name))
}

const TEMPORARY: &str = ".tmp-";
const BUFFER: usize = 256 << 10;

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
