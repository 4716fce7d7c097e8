//! The headers that stand before an entry's own.

use std::io::Read;

use super::Reader;
use crate::error::{Error, Result, at};
use crate::header::{self, Header};
use crate::limits::{self, Limits};
use crate::pax::{self, Extended};
use crate::quirk::Quirk;
use crate::sparse::Map;
use crate::ustar::padding;

/// What the headers before an entry's own say about it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) extended: Option<Extended>,
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.extended.is_none() && self.path.is_none() && self.link.is_none()
    }
}

impl<R: Read> Reader<R> {
    pub(super) fn extended(
        &mut self,
        offset: u64,
        header: &Header<'_>,
        pending: &mut Pending,
    ) -> Result<()> {
        self.body(offset, header, Bound::pax(&self.limits))?;
        let segments = self.limits.sparse_segments;
        let extended = Extended::parse(&self.scratch, Map::new(segments))
            .map_err(at(offset, "extended header"))?;
        if pending.extended.replace(extended).is_some() {
            return Err(at(offset, "extended header")("its entry has another one"));
        }
        Ok(())
    }

    /// Checks a global header and forgets it: layers have none, except those of `git archive`.
    pub(super) fn global(&mut self, offset: u64, header: &Header<'_>) -> Result<()> {
        self.body(offset, header, Bound::pax(&self.limits))?;
        let mut has_meaning = false;
        for record in pax::records(&self.scratch) {
            let (key, _) = record.map_err(at(offset, "global header"))?;
            has_meaning |= key != b"comment";
        }
        self.quirks.push(Quirk::GlobalHeader { has_meaning });
        Ok(())
    }

    pub(super) fn long_name(
        &mut self,
        offset: u64,
        header: &Header<'_>,
        name: &mut Option<Vec<u8>>,
    ) -> Result<()> {
        // The NUL at the end is counted in the size.
        let maximum = self.limits.path_bytes.saturating_add(1);
        self.body(
            offset,
            header,
            Bound {
                name: "path_bytes",
                maximum,
            },
        )?;
        if name.replace(header::text(&self.scratch).to_vec()).is_some() {
            return Err(at(offset, "long name")("its entry has another one"));
        }
        Ok(())
    }

    pub(super) fn volume(
        &mut self,
        offset: u64,
        header: &Header<'_>,
        pending: &Pending,
    ) -> Result<()> {
        if !pending.is_empty() {
            return Err(at(offset, "volume header")(
                "an extended header precedes it",
            ));
        }
        let size = header.size().map_err(at(offset, "header"))?;
        self.quirks.push(Quirk::VolumeLabel);
        self.input.skip(size)?;
        self.input.skip(padding(size) as u64)
    }

    /// Reads the body of an extended header into `self.scratch`.
    fn body(&mut self, offset: u64, header: &Header<'_>, limit: Bound) -> Result<()> {
        let size = header.size().map_err(at(offset, "header"))?;
        limits::check(limit.name, size, limit.maximum)?;
        let len = usize::try_from(size).map_err(|_| Error::Limit {
            limit: limit.name,
            maximum: limit.maximum,
        })?;
        self.input.bytes(len, &mut self.scratch)?;
        self.input.skip(padding(size) as u64)
    }
}

/// A limit and its name.
#[derive(Debug, Clone, Copy)]
struct Bound {
    name: &'static str,
    maximum: u64,
}

impl Bound {
    fn pax(limits: &Limits) -> Self {
        Self {
            name: "pax_bytes",
            maximum: limits.pax_bytes,
        }
    }
}
