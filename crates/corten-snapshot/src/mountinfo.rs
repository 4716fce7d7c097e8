//! What is mounted, as `/proc/self/mountinfo` tells it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// The numbers of the file system's device, as `0:45`.
    pub(crate) device: String,
    /// Which directory of the file system is mounted.
    pub(crate) root: PathBuf,
    /// Where.
    pub(crate) at: PathBuf,
    /// The type of the file system, as `overlay`.
    pub(crate) fs_type: String,
    /// What whoever mounted the file system said that it comes from.
    pub(crate) source: PathBuf,
}

impl MountLine {
    /// Tells whether both are mounts of the same directory of the same file system. The numbers of devices
    /// alone do not tell, for those without a disk are given out again at once.
    pub(crate) fn shows_same(&self, other: &Self) -> bool {
        self.is_in_place_of(other) && self.fs_type == other.fs_type && self.source == other.source
    }

    /// Tells whether there cannot be both at the same time, unless they are the same.
    pub(crate) fn is_in_place_of(&self, other: &Self) -> bool {
        self.device == other.device && self.root == other.root
    }
}

/// Reads all lines; later ones lie over earlier ones. What is no line of mountinfo is passed over.
pub(crate) fn parse(text: &[u8]) -> Vec<MountLine> {
    let lines = with_ids(text).into_iter();
    lines.map(|(_, line)| line).collect()
}

/// Reads all lines with the ids of the mounts, which statx(2) has, too.
pub(crate) fn with_ids(text: &[u8]) -> Vec<(u64, MountLine)> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        // The id of the mount above it.
        fields.next()?;
        let device = String::from_utf8(fields.next()?.to_vec()).ok()?;
        let (root, at) = (unescape(fields.next()?), unescape(fields.next()?));
        // Before the hyphen are as many optional fields as there happen to be.
        let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
        let fs_type = String::from_utf8(fields.next()?.to_vec()).ok()?;
        let source = unescape(fields.next()?);
        let line = MountLine {
            device,
            root,
            at,
            fs_type,
            source,
        };
        Some((id, line))
    };
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

/// Writes a path as mountinfo does: blanks, line breaks and backslashes as octal numbers.
pub(crate) fn escape(path: &Path) -> String {
    let digit = |byte: u8| char::from(b'0' + (byte & 7));
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'\\' {
            text.push(char::from(byte));
        } else {
            text.extend(['\\', digit(byte >> 6), digit(byte >> 3), digit(byte)]);
        }
    }
    text
}

/// Reads a path that [`escape`] or the kernel wrote.
pub(crate) fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.first_chunk::<3>().filter(|_| byte == b'\\');
        let value = octal
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(value.unwrap_or(byte));
        rest = after
            .get(if value.is_some() { 3 } else { 0 }..)
            .unwrap_or_default();
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = b"22 28 0:21 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n\
            36 28 98:0 /mnt\\0401 /a\\134b rw - ext4 /dev/sda\\040x rw\n\nnonsense\n";
        let lines = parse(text);
        assert_eq!(lines.len(), 2);
        assert_eq!(with_ids(text)[1], (36, lines[1].clone()));
        assert_eq!(lines[0].at, Path::new("/sys"));
        assert_eq!(lines[1].device, "98:0");
        assert_eq!(lines[1].root, Path::new("/mnt 1"));
        assert_eq!(lines[1].at, Path::new("/a\\b"));
        assert_eq!(lines[0].fs_type, "sysfs");
        assert_eq!(lines[1].source, Path::new("/dev/sda x"));
    }

    #[test]
    fn paths_survive() {
        #[track_caller]
        fn check(path: &[u8]) {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            assert_eq!(unescape(escape(&path).as_bytes()), path);
        }
        check(b"/a b\n\\040\xff");
        check(b"/\\");
        check("/ä".as_bytes());
    }
}
