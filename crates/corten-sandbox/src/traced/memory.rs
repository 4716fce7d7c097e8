//! What a traced process says by address: read once, and only the copy is used.

use rustix::io::Errno;

use crate::sys::ptrace::{read_memory, write_memory};

/// The longest path that the kernel takes, with its NUL.
pub(crate) const PATH_MAX: usize = 4096;

const PAGE: u64 = 4096;

/// The memory of a thread's process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory(pub(crate) i32);

impl Memory {
    /// Reads `length` bytes, all of them.
    pub(crate) fn bytes(self, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        if length > 0 && read_memory(self.0, address, &mut bytes)? != length {
            return Err(Errno::FAULT);
        }
        Ok(bytes)
    }

    /// Reads a number of eight bytes.
    pub(crate) fn word(self, address: u64) -> Result<u64, Errno> {
        let mut word = [0; 8];
        if read_memory(self.0, address, &mut word)? != word.len() {
            return Err(Errno::FAULT);
        }
        Ok(u64::from_ne_bytes(word))
    }

    /// Reads a number of four bytes.
    pub(crate) fn half(self, address: u64) -> Result<u32, Errno> {
        let mut half = [0; 4];
        if read_memory(self.0, address, &mut half)? != half.len() {
            return Err(Errno::FAULT);
        }
        Ok(u32::from_ne_bytes(half))
    }

    /// Reads a path: bytes before a NUL.
    pub(crate) fn path(self, address: u64) -> Result<Vec<u8>, Errno> {
        self.string(address, PATH_MAX).map_err(|errno| {
            if errno == Errno::TOOBIG {
                Errno::NAMETOOLONG
            } else {
                errno
            }
        })
    }

    /// Reads bytes before a NUL, which is among the first `limit`; otherwise it fails with `E2BIG`.
    pub(crate) fn string(self, address: u64, limit: usize) -> Result<Vec<u8>, Errno> {
        let mut string = Vec::new();
        let mut here = address;
        // No read crosses more than one border: what is mapped behind may be nothing.
        let mut chunk = [0; 256];
        while string.len() < limit {
            let to_border = usize::try_from(PAGE - here % PAGE).unwrap_or(1);
            let length = to_border.min(chunk.len()).min(limit - string.len());
            let into = chunk.get_mut(..length).ok_or(Errno::FAULT)?;
            if read_memory(self.0, here, into)? != length {
                return Err(Errno::FAULT);
            }
            if let Some(end) = into.iter().position(|&byte| byte == 0) {
                string.extend_from_slice(into.get(..end).unwrap_or_default());
                return Ok(string);
            }
            string.extend_from_slice(into);
            here = here.wrapping_add(length as u64);
        }
        Err(Errno::TOOBIG)
    }

    /// Writes `bytes`, all of them.
    pub(crate) fn write(self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        write_memory(self.0, address, bytes)
    }
}
