//! The maps of sparse files that are in the stream.

use std::io::Read;

use super::Reader;
use crate::entry::{Entry, EntryKind};
use crate::error::{Error, Result, at};
use crate::header::{BLOCK, Flag, Header};
use crate::sparse::{BodyMap, Map, PaxForm};

impl<R: Read> Reader<R> {
    /// Sets size and segments of the entry, reads a map that is in the stream, and returns the
    /// bytes of data that then follow.
    pub(super) fn apply_sparse(
        &mut self,
        offset: u64,
        header: &Header<'_>,
        form: PaxForm,
        entry: &mut Entry,
        stored: u64,
    ) -> Result<u64> {
        let old = header.flag() == Flag::GnuSparse;
        let (map, real_size, stored) = match form {
            PaxForm::Whole if !old => {
                entry.size = stored;
                return Ok(stored);
            }
            PaxForm::Whole => {
                let real_size = header.gnu_real_size().map_err(at(offset, "sparse map"))?;
                (self.old_map(offset, header)?, real_size, stored)
            }
            PaxForm::Mapped { .. } | PaxForm::InBody { .. }
                if old || entry.kind != EntryKind::File =>
            {
                return Err(at(offset, "sparse map")("its entry is not a plain file"));
            }
            PaxForm::Mapped { map, real_size } => (map, real_size, stored),
            PaxForm::InBody { map, real_size } => {
                let (map, len) = self.body_map(offset, map, stored)?;
                (map, real_size, stored - len)
            }
        };
        entry.size = real_size;
        entry.sparse = Some(
            map.finish(real_size, stored)
                .map_err(at(offset, "sparse map"))?,
        );
        Ok(stored)
    }

    fn old_map(&mut self, offset: u64, header: &Header<'_>) -> Result<Map> {
        let mut map = Map::new(self.limits.sparse_segments);
        let (pairs, mut more) = header.gnu_sparse();
        map.push_old(pairs).map_err(at(offset, "sparse map"))?;
        while more {
            let block = self.input.block()?;
            let block = block.ok_or(Error::Truncated {
                offset: self.input.position(),
            })?;
            more = map
                .push_extension(&block)
                .map_err(at(offset, "sparse map"))?;
        }
        Ok(map)
    }

    /// Reads the map in a body of `stored` bytes and returns it with its own length.
    fn body_map(&mut self, offset: u64, map: Map, stored: u64) -> Result<(Map, u64)> {
        let mut parser = BodyMap::new(map);
        let mut len = 0;
        loop {
            len += BLOCK as u64;
            if len > stored {
                return Err(at(offset, "sparse map")("it is longer than the body"));
            }
            let block = self.input.block()?;
            let block = block.ok_or(Error::Truncated {
                offset: self.input.position(),
            })?;
            if parser
                .push_block(&block)
                .map_err(at(offset, "sparse map"))?
            {
                return Ok((parser.into_map(), len));
            }
        }
    }
}
