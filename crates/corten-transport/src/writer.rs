//! Writing archives.

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
/// Content is collected in a directory of its own beside the archive, which goes with this value;
/// the archive appears as a whole when it is [finished](Self::finish). The same content and tags,
/// in the same order of tags, make the same bytes.
#[derive(Debug)]
pub struct ArchiveWriter {
    layout: Layout,
    spool: TempDir,
    // After the directory, which is removed when it is dropped.
    _unfinished: Unfinished,
    path: PathBuf,
    place: String,
    format: Format,
}

impl ArchiveWriter {
    /// Starts an archive that will be at `path`, whatever file is there now.
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
        let parent = parent(path);
        let place = format!("{format}:{}", path.display());
        // Whoever makes a layout makes its directory: also one that was just removed.
        let create = || {
            let spool = tempfile::Builder::new()
                .prefix(TEMPORARY)
                .tempdir_in(parent)
                .map_err(Error::system("create a directory in", parent))?;
            let layout = Layout::create(spool.path(), Durability::None);
            let layout = layout.map_err(Error::content(&place))?;
            Ok((spool.path().to_owned(), (spool, layout)))
        };
        let (unfinished, (spool, layout)) = Unfinished::create(create)?;
        Ok(Self {
            layout,
            spool,
            _unfinished: unfinished,
            path: path.to_owned(),
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

    /// Writes the archive to its path, where it appears as a whole; a failure leaves what was there
    /// before. Blocks until it is on stable storage.
    pub fn finish(self) -> Result<()> {
        let parent = parent(&self.path);
        let failed = |action| Error::system(action, self.path.clone());
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
        let mut out = BufWriter::with_capacity(BUFFER, file.as_file_mut());
        self.write_to(&mut out)?;
        out.flush().map_err(failed("write"))?;
        drop(out);
        file.as_file().sync_data().map_err(failed("sync"))?;
        file.persist(&self.path)
            .map_err(|error| failed("create")(error.error))?;
        File::open(parent)
            .and_then(|directory| directory.sync_all())
            .map_err(Error::system("sync", parent))
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

const TEMPORARY: &str = ".tmp-";
const BUFFER: usize = 256 << 10;

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
