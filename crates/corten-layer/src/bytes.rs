//! Where the bytes of files come from.

use std::io::{self, Read};

use corten_spec::DiffId;
use corten_tar::Segment;

use crate::tree::{Data, File};
use crate::{Error, Result, Tree};

/// The uncompressed bytes of layers, wherever they are kept.
pub trait LayerBytes: Send + Sync {
    /// Fills `buf` with the bytes of the tar of `layer` from `offset` on.
    fn read_at(&self, layer: &DiffId, offset: u64, buf: &mut [u8]) -> Result<()>;
}

/// Opens the content of files.
pub trait Contents: Send + Sync {
    /// Opens the whole content of `file`, `file.size` bytes of it: holes are read as zeros.
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>>;

    /// Opens the stored content of `file`: its runs of data one after the other, without the holes.
    ///
    /// What is provided reads the holes and drops them; where the runs are stored so, do better.
    fn open_stored<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        let whole = self.open(file)?;
        Ok(match file.sparse.as_deref() {
            None => whole,
            Some(segments) => Box::new(WithoutHoles {
                whole,
                position: 0,
                segments,
            }),
        })
    }
}

/// The content of the files of a tree whose layers are all to be had.
#[derive(Clone, Copy)]
pub struct TreeContents<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// Its layers.
    pub bytes: &'a dyn LayerBytes,
}

impl std::fmt::Debug for TreeContents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeContents").finish_non_exhaustive()
    }
}

/// Opens the content of `file`, a file of `tree`, whole: holes are read as zeros.
pub fn open_file<'a>(
    tree: &'a Tree,
    bytes: &'a dyn LayerBytes,
    file: &'a File,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    open_in(tree, bytes, file, Holes::Read)
}

fn open_in<'a>(
    tree: &'a Tree,
    bytes: &'a dyn LayerBytes,
    file: &'a File,
    holes: Holes,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let Data::Layer { layer, offset } = file.data else {
        return Err(io::Error::other("the file's content is not in a layer"));
    };
    let layer = tree
        .layer(layer)
        .ok_or_else(|| io::Error::other("no such layer"))?;
    let segments = file.sparse.as_deref();
    let (size, segments) = match (holes, segments) {
        (Holes::LeaveOut, Some(segments)) => (stored_size(segments), None),
        (Holes::Read | Holes::LeaveOut, segments) => (file.size, segments),
    };
    Ok(Box::new(FileReader {
        bytes,
        layer,
        stored_at: offset,
        size,
        segments,
        position: 0,
    }))
}

impl TreeContents<'_> {
    fn reader<'a>(&'a self, file: &'a File, holes: Holes) -> io::Result<Box<dyn Read + Send + 'a>> {
        open_in(self.tree, self.bytes, file, holes)
    }
}

impl Contents for TreeContents<'_> {
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        self.reader(file, Holes::Read)
    }

    fn open_stored<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        self.reader(file, Holes::LeaveOut)
    }
}

#[derive(Clone, Copy)]
enum Holes {
    Read,
    LeaveOut,
}

fn stored_size(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .fold(0, |sum, segment| segment.length.saturating_add(sum))
}

/// The content of one file in a layer.
struct FileReader<'a> {
    bytes: &'a dyn LayerBytes,
    layer: &'a DiffId,
    /// Where the data of the first of `segments` lies, or of the whole file.
    stored_at: u64,
    size: u64,
    /// The runs of data that have not been passed yet; `None` if everything is data.
    segments: Option<&'a [Segment]>,
    position: u64,
}

/// What lies at a position of a file.
enum Run {
    /// Stored bytes: where in the layer, and how many from here on.
    Data(u64, u64),
    /// That many zeros.
    Hole(u64),
}

impl FileReader<'_> {
    /// Returns what lies at the position. Positions only grow, so every segment is passed once.
    fn run(&mut self) -> Run {
        let left = self.size - self.position;
        let Some(segments) = &mut self.segments else {
            return Run::Data(self.stored_at.saturating_add(self.position), left);
        };
        while let Some((segment, rest)) = segments.split_first() {
            let Some(inside) = self.position.checked_sub(segment.offset) else {
                return Run::Hole((segment.offset - self.position).min(left));
            };
            if inside < segment.length {
                let stored_at = self.stored_at.saturating_add(inside);
                return Run::Data(stored_at, (segment.length - inside).min(left));
            }
            self.stored_at = self.stored_at.saturating_add(segment.length);
            *segments = rest;
        }
        Run::Hole(left)
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.size || buf.is_empty() {
            return Ok(0);
        }
        let run = self.run();
        let (Run::Data(_, available) | Run::Hole(available)) = run;
        let wanted = usize::try_from(available)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let part = buf.get_mut(..wanted).unwrap_or_default();
        match run {
            Run::Hole(_) => part.fill(0),
            Run::Data(offset, _) => {
                self.bytes
                    .read_at(self.layer, offset, part)
                    .map_err(io::Error::other)?;
            }
        }
        self.position += wanted as u64;
        Ok(wanted)
    }
}

/// What [`Contents::open_stored`] does without knowing better: it reads the holes and drops them.
struct WithoutHoles<'a> {
    whole: Box<dyn Read + Send + 'a>,
    position: u64,
    segments: &'a [Segment],
}

impl Read for WithoutHoles<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while let Some((segment, rest)) = self.segments.split_first() {
            if let Some(hole) = segment
                .offset
                .checked_sub(self.position)
                .filter(|&len| len > 0)
            {
                self.position += io::copy(&mut (&mut self.whole).take(hole), &mut io::sink())?;
                if self.position < segment.offset {
                    return Ok(0);
                }
            }
            let left = segment.length - (self.position - segment.offset);
            if left > 0 {
                let n_read = (&mut self.whole).take(left).read(buf)?;
                self.position += n_read as u64;
                return Ok(n_read);
            }
            self.segments = rest;
        }
        Ok(0)
    }
}

/// Layers whose tars are in memory, for tests and examples.
#[derive(Debug, Default)]
pub struct MemoryLayers(pub std::collections::HashMap<DiffId, Vec<u8>>);

impl LayerBytes for MemoryLayers {
    fn read_at(&self, layer: &DiffId, offset: u64, buf: &mut [u8]) -> Result<()> {
        let none = || Error::NoBytes {
            diff_id: layer.clone(),
        };
        let bytes = self.0.get(layer).ok_or_else(none)?;
        let start = usize::try_from(offset).map_err(|_| none())?;
        let part = start
            .checked_add(buf.len())
            .and_then(|end| bytes.get(start..end));
        buf.copy_from_slice(part.ok_or_else(none)?);
        Ok(())
    }
}
