//! Entries out of a stream.

mod headers;
mod sparse;

use std::io::{self, Read};

use self::headers::Pending;
use crate::assemble::assemble;
use crate::entry::{Entry, EntryKind};
use crate::error::{Error, Problem, Result, at};
use crate::header::{self, BLOCK, Flag, Header};
use crate::input::Input;
use crate::limits::{self, Limits};
use crate::pax::Extended;
use crate::quirk::{Ending, Quirk};
use crate::ustar::padding;

/// An entry, and where its content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// What the archive says about the file.
    pub entry: Entry,
    /// Where its data begins, in bytes of the uncompressed stream.
    pub offset: u64,
    /// Bytes of its data there. For a sparse file these are its segments, one after the other.
    pub stored_size: u64,
}

/// Reads an uncompressed archive from its start to its end, whatever mixture of V7, USTAR, GNU and
/// PAX it is.
///
/// The stream is hostile: nothing is allocated by a size it names, and what two programs would
/// read differently is refused. After an error the position means nothing: read no more.
///
/// ```
/// use std::io::Read as _;
/// use corten_tar::{Entry, EntryKind, Limits, Reader, Writer};
///
/// let mut writer = Writer::new(Vec::new());
/// let entry = Entry { size: 5, ..Entry::new(EntryKind::File, "hello") };
/// writer.entry(&entry, &mut &b"world"[..])?;
/// let archive = writer.finish()?;
///
/// let mut reader = Reader::new(&archive[..], Limits::default());
/// while let Some(located) = reader.next_entry()? {
///     assert_eq!(located.entry, entry);
///     let mut content = String::new();
///     reader.read_body().read_to_string(&mut content).unwrap();
///     assert_eq!(content, "world");
/// }
/// reader.finish()?;
/// # Ok::<(), corten_tar::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<R> {
    input: Input<R>,
    limits: Limits,
    n_entries: u64,
    logical_bytes: u64,
    body_left: u64,
    padding_left: u64,
    ended: bool,
    scratch: Vec<u8>,
    entry_offset: u64,
    quirks: Vec<Quirk>,
    can_resume: bool,
    marker_blocks: u8,
}

/// The stored data of the entry that [`Reader::next_entry`] returned last.
#[derive(Debug)]
pub struct Body<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Reader<R> {
    /// Starts to read; `inner` needs no buffer of its own.
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            input: Input::new(inner, limits.total_bytes),
            limits,
            n_entries: 0,
            logical_bytes: 0,
            body_left: 0,
            padding_left: 0,
            ended: false,
            scratch: Vec::new(),
            entry_offset: 0,
            quirks: Vec::new(),
            can_resume: false,
            marker_blocks: 0,
        }
    }

    /// Returns the next entry, having passed over what was not read of the last one's body.
    ///
    /// `None` at the end of the archive; what follows the end marker is for [`Reader::finish`].
    ///
    /// # Errors
    /// After most errors nobody knows where the next entry begins; [`Reader::can_resume`] says when
    /// it is known.
    pub fn next_entry(&mut self) -> Result<Option<Located>> {
        self.quirks.clear();
        self.can_resume = false;
        self.input.skip(std::mem::take(&mut self.body_left))?;
        // umoci 0.4 ends a layer without the padding of its last file. Nothing is lost by that, and
        // Go's reader and GNU tar take it for the end, too.
        if self
            .input
            .skip_some(std::mem::take(&mut self.padding_left))?
        {
            self.marker_blocks = 0;
            self.ended = true;
        }
        let mut pending = Pending::default();
        while !self.ended {
            let offset = self.input.position();
            if pending.is_empty() {
                self.entry_offset = offset;
            }
            let block = self.input.block()?;
            self.marker_blocks = block.is_some().into();
            let block = block.filter(|block| !is_zero(block));
            let Some(block) = block else {
                self.end(offset, &pending)?;
                break;
            };
            let header = Header::parse(&block).map_err(at(offset, "header"))?;
            match header.flag() {
                Flag::Entry(kind) => return self.locate(offset, &header, kind, pending).map(Some),
                Flag::GnuSparse => {
                    return self
                        .locate(offset, &header, EntryKind::File, pending)
                        .map(Some);
                }
                Flag::Extended => self.extended(offset, &header, &mut pending)?,
                Flag::Global => self.global(offset, &header)?,
                Flag::LongName => self.long_name(offset, &header, &mut pending.path)?,
                Flag::LongLink => self.long_name(offset, &header, &mut pending.link)?,
                Flag::Volume => self.volume(offset, &header, &pending)?,
                Flag::Unknown(flag) => {
                    self.pass_over(&header, pending.extended.and_then(|pax| pax.size));
                    return Err(Error::UnknownType {
                        offset,
                        path: header.path(),
                        flag,
                    });
                }
            }
        }
        Ok(None)
    }

    /// Returns what has not been read yet of the current entry's data.
    pub fn read_body(&mut self) -> Body<'_, R> {
        Body { reader: self }
    }

    /// Returns the bytes read of the stream so far.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// Returns where the headers of the entry begin that [`Reader::next_entry`] returned, or failed
    /// at, last.
    pub fn entry_offset(&self) -> u64 {
        self.entry_offset
    }

    /// Returns what is unusual about how that entry is written.
    pub fn quirks(&self) -> &[Quirk] {
        &self.quirks
    }

    /// Says whether [`Reader::next_entry`] can be called after it has failed: an entry that cannot
    /// be, such as one with an owner out of range, still says where the next one begins.
    pub fn can_resume(&self) -> bool {
        self.can_resume
    }

    /// Reads the stream to its end, once there are no more entries, and says how it ends.
    pub fn read_ending(&mut self) -> Result<Ending> {
        let (trailing_bytes, trailing_is_zero) = self.input.drain_and_look()?;
        Ok(Ending {
            marker_blocks: self.marker_blocks,
            trailing_bytes,
            trailing_is_zero,
        })
    }

    /// Reads the stream to its end, so that a reader beneath that hashes has seen every byte, and
    /// returns that reader.
    ///
    /// What follows the end marker belongs to the digest of the archive but not to its meaning.
    /// Entries that have not been asked for are passed over unchecked.
    pub fn finish(mut self) -> Result<R> {
        self.input.drain()?;
        Ok(self.input.into_inner())
    }

    /// Judges the end of the archive: no block, or a block of zeros at `offset`.
    fn end(&mut self, offset: u64, pending: &Pending) -> Result<()> {
        if !pending.is_empty() {
            return Err(at(offset, "extended header")("it has no entry"));
        }
        // One block of zeros, then more entries: some readers stop here, and some do not.
        let second = self.input.block()?;
        if second.is_some_and(|block| !is_zero(&block)) {
            return Err(at(offset, "end marker")("a header follows its first block"));
        }
        self.marker_blocks += u8::from(second.is_some());
        self.ended = true;
        Ok(())
    }

    /// Makes the next entry follow the body of one that is refused. A body that does not say how
    /// long it is cannot be passed over.
    fn pass_over(&mut self, header: &Header<'_>, extended: Option<u64>) {
        if let Some(stored) = extended.or_else(|| header.size().ok()) {
            self.body_left = stored;
            self.padding_left = padding(stored) as u64;
            self.can_resume = true;
        }
    }

    fn note_quirks(&mut self, header: &Header<'_>, kind: EntryKind, extended: &Extended) {
        if header.is_contiguous() {
            self.quirks.push(Quirk::Contiguous);
        }
        if extended.has_libarchive_alone() {
            self.quirks.push(Quirk::LibarchiveXattr);
        }
        let Ok(size) = header.size() else { return };
        match extended.size {
            // A size that the field cannot hold is 0 there, or whatever the writer thought of.
            Some(extended) if size != extended && extended <= header::MAX_SIZE => {
                self.quirks.push(Quirk::SizeDiffers {
                    header: size,
                    extended,
                });
            }
            _ => {}
        }
        // A hard link's size is often that of its target, and no reader looks for a body there.
        if size > 0 && !matches!(kind, EntryKind::File | EntryKind::HardLink) {
            self.quirks.push(Quirk::SizeWithoutBody(size));
        }
    }

    fn locate(
        &mut self,
        offset: u64,
        header: &Header<'_>,
        kind: EntryKind,
        pending: Pending,
    ) -> Result<Located> {
        let Pending {
            extended,
            path,
            link,
        } = pending;
        let mut extended = extended.unwrap_or_default();
        let mut sparse = std::mem::take(&mut extended.sparse);
        if (path.is_some() && extended.path.is_some())
            || (link.is_some() && extended.link.is_some())
        {
            return Err(at(offset, "extended header")(
                "its entry has a GNU long name too",
            ));
        }
        let pax_path = sparse.name.take().or(extended.path.take());
        extended.path = pax_path.or(path);
        extended.link = extended.link.take().or(link);
        let stored = extended.size;
        self.note_quirks(header, kind, &extended);
        let mut entry = match assemble(header, kind, extended) {
            Ok(entry) => entry,
            Err(problem) => {
                // The map of an old sparse file may go on behind the header.
                let has_body = matches!(kind, EntryKind::File);
                if matches!(problem, Problem::OutOfRange { .. }) && header.flag() != Flag::GnuSparse
                {
                    self.pass_over(
                        header,
                        stored.filter(|_| has_body).or((!has_body).then_some(0)),
                    );
                }
                return Err(at(offset, "header")(problem));
            }
        };

        // What is no number is refused where there is no body, too: readers that pass over one would
        // go on elsewhere.
        let named = header.size().map_err(at(offset, "header"))?;
        // The PAX size counts, in both directions, before the body is located (CVE-2025-62518).
        let stored = match entry.kind {
            EntryKind::File => stored.unwrap_or(named),
            EntryKind::HardLink
            | EntryKind::Symlink
            | EntryKind::CharDevice
            | EntryKind::BlockDevice
            | EntryKind::Directory
            | EntryKind::Fifo => 0,
        };
        let form = sparse.form().map_err(at(offset, "sparse map"))?;
        let stored = self.apply_sparse(offset, header, form, &mut entry, stored)?;
        self.check_limits(&entry)?;
        self.body_left = stored;
        self.padding_left = padding(stored) as u64;
        Ok(Located {
            entry,
            offset: self.input.position(),
            stored_size: stored,
        })
    }

    fn check_limits(&mut self, entry: &Entry) -> Result<()> {
        self.n_entries += 1;
        self.logical_bytes = self.logical_bytes.saturating_add(entry.size);
        let limits = &self.limits;
        limits::check("entries", self.n_entries, limits.entries)?;
        limits::check("file_bytes", entry.size, limits.file_bytes)?;
        limits::check("total_bytes", self.logical_bytes, limits.total_bytes)?;
        limits::check("path_bytes", entry.path.len() as u64, limits.path_bytes)?;
        limits::check("path_bytes", entry.link.len() as u64, limits.path_bytes)?;
        limits::check("path_depth", depth(&entry.path), limits.path_depth)
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Reader {
            input, body_left, ..
        } = &mut *self.reader;
        let len = usize::try_from(*body_left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        if len == 0 {
            return Ok(0);
        }
        let read = input.read(&mut buf[..len])?;
        if read == 0 {
            return Err(Error::Truncated {
                offset: input.position(),
            }
            .into());
        }
        *body_left -= read as u64;
        Ok(read)
    }
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

fn depth(path: &[u8]) -> u64 {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .count() as u64
}
