//! The loader that an executable asks for, and a copy that asks for it by another path.
//!
//! The kernel opens the loader itself, in its own root. Only the program header that leads to the path is
//! changed; what is loaded, and so what the loader and the process see, stays as it is.

use rustix::io::Errno;

/// What the kernel would make of an executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Executable {
    /// It needs nothing else.
    Static,
    /// It is of another machine, or no executable: the kernel has the say.
    Other,
    /// It asks for a loader.
    Dynamic {
        /// The path of the loader.
        loader: Vec<u8>,
        /// Where the program header is that says so.
        header: u64,
    },
}

/// Reads bytes of a file at an offset; fewer only at the end.
pub(crate) type ReadAt<'a> = dyn FnMut(u64, &mut [u8]) -> Result<usize, Errno> + 'a;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_INTERP: u32 = 3;
/// The kernel reads no more program headers than fit.
const MOST_HEADERS: usize = 65536;
const PATH_MAX: u64 = 4096;

#[cfg(target_arch = "x86_64")]
const OWN_MACHINE: u16 = 62;
/// A 32-bit x86, whose system calls are refused.
const I386: u16 = 3;

/// Looks at what begins with `head`, as many bytes as there are up to 64 or more.
///
/// # Errors
/// `ENOEXEC` for what the kernel would refuse so, and for 32-bit x86.
pub(crate) fn examine(head: &[u8], read: &mut ReadAt<'_>) -> Result<Executable, Errno> {
    let Some(head) = head
        .get(..HEADER)
        .filter(|head| head.starts_with(b"\x7fELF"))
    else {
        return Ok(Executable::Other);
    };
    let machine = u16_at(head, 18);
    if machine == I386 {
        return Err(Errno::NOEXEC);
    }
    // 64 bits, the least byte first.
    if machine != OWN_MACHINE || head.get(4..6) != Some(&[2, 1]) {
        return Ok(Executable::Other);
    }
    let offset = u64_at(head, 32);
    let n_headers = usize::from(u16_at(head, 56));
    let length = n_headers * PROGRAM_HEADER;
    if usize::from(u16_at(head, 54)) != PROGRAM_HEADER || length == 0 || length > MOST_HEADERS {
        return Err(Errno::NOEXEC);
    }
    let mut headers = vec![0; length];
    if read(offset, &mut headers)? != length {
        return Err(Errno::NOEXEC);
    }
    let found = headers.chunks_exact(PROGRAM_HEADER).enumerate();
    let found = found
        .into_iter()
        .find(|(_, one)| u32_at(one, 0) == PT_INTERP);
    let Some((idx, one)) = found else {
        return Ok(Executable::Static);
    };
    let (at, length) = (u64_at(one, 8), u64_at(one, 32));
    if !(2..=PATH_MAX).contains(&length) {
        return Err(Errno::NOEXEC);
    }
    let mut loader = vec![0; usize::try_from(length).unwrap_or(0)];
    if read(at, &mut loader)? != loader.len() || loader.pop() != Some(0) {
        return Err(Errno::NOEXEC);
    }
    // The kernel takes it as a string.
    if let Some(end) = loader.iter().position(|&byte| byte == 0) {
        loader.truncate(end);
    }
    let header = offset
        .checked_add((idx * PROGRAM_HEADER) as u64)
        .ok_or(Errno::NOEXEC)?;
    Ok(Executable::Dynamic { loader, header })
}

/// Returns what to write where, so that a copy of an executable, `length` bytes long, asks for `loader`.
pub(crate) fn asking_for(loader: &[u8], header: u64, length: u64) -> [(u64, Vec<u8>); 3] {
    let mut path = loader.to_vec();
    path.push(0);
    let path_length = (path.len() as u64).to_le_bytes().to_vec();
    [
        (length, path),
        (header.saturating_add(8), length.to_le_bytes().to_vec()),
        (header.saturating_add(32), path_length),
    ]
}

/// The interpreter of a script, and the argument it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) interpreter: Vec<u8>,
    pub(crate) argument: Option<Vec<u8>>,
}

/// As many bytes of a script as the kernel looks at.
pub(crate) const SCRIPT_HEAD: usize = 256;

/// Reads the first line of a script; `None` if it is none.
///
/// # Errors
/// `ENOEXEC` where the line names no interpreter, or not all of it.
pub(crate) fn script(head: &[u8]) -> Result<Option<Script>, Errno> {
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(|&byte| matches!(byte, b'\n' | 0));
    let whole = line.get(..end.unwrap_or(line.len())).unwrap_or_default();
    let start = whole.iter().position(|byte| !is_blank(byte));
    let text = start
        .and_then(|start| whole.get(start..))
        .unwrap_or_default();
    let stop = text.iter().position(is_blank);
    // A path that goes on behind what was read is not known.
    if end.is_none() && stop.is_none() && head.len() >= SCRIPT_HEAD {
        return Err(Errno::NOEXEC);
    }
    let (interpreter, rest) = text.split_at(stop.unwrap_or(text.len()));
    if interpreter.is_empty() {
        return Err(Errno::NOEXEC);
    }
    let rest = trim(rest, &is_blank);
    Ok(Some(Script {
        interpreter: interpreter.to_vec(),
        argument: (!rest.is_empty()).then(|| rest.to_vec()),
    }))
}

fn trim<'a>(text: &'a [u8], is_blank: &dyn Fn(&u8) -> bool) -> &'a [u8] {
    let Some(start) = text.iter().position(|byte| !is_blank(byte)) else {
        return &[];
    };
    let end = text
        .iter()
        .rposition(|byte| !is_blank(byte))
        .unwrap_or(start);
    text.get(start..=end).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    number(bytes, at).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    number(bytes, at).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number(bytes, at).map_or(0, u64::from_le_bytes)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOADER: &[u8] = b"/lib/loader";

    /// An executable with one program header of another type, and one that names a loader.
    fn executable() -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&OWN_MACHINE.to_le_bytes());
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&2_u16.to_le_bytes());
        let mut headers = vec![0; 112];
        headers[0] = 1;
        headers[56] = 3;
        headers[64..72].copy_from_slice(&176_u64.to_le_bytes());
        headers[88..96].copy_from_slice(&(LOADER.len() as u64 + 1).to_le_bytes());
        file.extend(headers);
        file.extend(LOADER);
        file.push(0);
        file
    }

    fn examined(file: &[u8]) -> Result<Executable, Errno> {
        let mut read = |at: u64, into: &mut [u8]| {
            let rest = usize::try_from(at).ok().and_then(|at| file.get(at..));
            let rest = rest.unwrap_or_default();
            let n_read = rest.len().min(into.len());
            into[..n_read].copy_from_slice(&rest[..n_read]);
            Ok(n_read)
        };
        examine(&file[..file.len().min(SCRIPT_HEAD)], &mut read)
    }

    fn changed(mut file: Vec<u8>, loader: &[u8]) -> Vec<u8> {
        let Ok(Executable::Dynamic { header, .. }) = examined(&file) else {
            panic!("it names a loader")
        };
        for (at, bytes) in asking_for(loader, header, file.len() as u64) {
            let at = usize::try_from(at).unwrap();
            file.resize(file.len().max(at + bytes.len()), 0);
            file[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        file
    }

    #[test]
    fn a_copy_asks_for_another_loader() {
        let file = executable();
        let loader = LOADER.to_vec();
        let header = 120;
        assert_eq!(examined(&file), Ok(Executable::Dynamic { loader, header }));
        let copy = changed(file.clone(), b"usr/lib/a longer one");
        let loader = b"usr/lib/a longer one".to_vec();
        assert_eq!(examined(&copy), Ok(Executable::Dynamic { loader, header }));
        // What is loaded stays as it is.
        assert_eq!(copy[176..file.len()], file[176..]);
    }

    #[test]
    fn what_else_there_is() {
        #[track_caller]
        fn check(at: usize, byte: u8, expected: &Result<Executable, Errno>) {
            let mut file = executable();
            file[at] = byte;
            assert_eq!(examined(&file), *expected, "{byte} at {at}");
        }
        check(120, 1, &Ok(Executable::Static));
        check(18, 183, &Ok(Executable::Other));
        check(4, 1, &Ok(Executable::Other));
        check(18, 3, &Err(Errno::NOEXEC));
        // Its path does not end, is longer than a path, or lies nowhere.
        check(152, 3, &Err(Errno::NOEXEC));
        check(154, 1, &Err(Errno::NOEXEC));
        check(134, 1, &Err(Errno::NOEXEC));
        check(54, 55, &Err(Errno::NOEXEC));
        check(56, 0, &Err(Errno::NOEXEC));
        check(57, 255, &Err(Errno::NOEXEC));
    }

    #[test]
    fn the_first_line_of_a_script() {
        #[track_caller]
        fn check(head: &[u8], expected: Result<Option<(&str, Option<&str>)>, Errno>) {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let found = script(head).map(|script| {
                script.map(|script| (text(script.interpreter), script.argument.map(text)))
            });
            let expected = expected.map(|script| {
                script.map(|(path, argument)| (path.to_owned(), argument.map(str::to_owned)))
            });
            assert_eq!(found, expected, "{head:?}");
        }
        check(b"#!/bin/sh\n", Ok(Some(("/bin/sh", None))));
        check(
            b"#! \t/bin/sh  -e x \nrest",
            Ok(Some(("/bin/sh", Some("-e x")))),
        );
        check(b"#!/bin/sh", Ok(Some(("/bin/sh", None))));
        check(b"#/bin/sh", Ok(None));
        check(b"#! \n", Err(Errno::NOEXEC));
        check(
            &[b"#!/".as_slice(), &[b'a'; 253]].concat(),
            Err(Errno::NOEXEC),
        );
    }

    proptest! {
        #[test]
        fn hostile_headers_are_refused_or_read(
            changes in prop::collection::vec((0_usize..188, any::<u8>()), 0..12),
            length in 0_usize..=188,
        ) {
            let mut file = executable();
            for (at, byte) in changes {
                file[at] = byte;
            }
            file.truncate(length);
            if let Ok(Executable::Dynamic { loader, header }) = examined(&file) {
                prop_assert!(loader.len() < 4096);
                let copy = asking_for(b"x", header, length as u64);
                prop_assert_eq!(copy[0].0, length as u64);
            }
        }

        #[test]
        fn any_bytes_can_be_examined(file in prop::collection::vec(any::<u8>(), 0..300)) {
            examined(&file).ok();
            script(&file).ok();
        }
    }
}
