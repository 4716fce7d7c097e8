//! Another reader says the same as we do about every archive that we accept, odd and damaged ones, too.
//!
//! What we refuse it may read: it guesses where we do not. Where it differs on what we accept, the
//! difference is one of `explained`, which says why.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use corten_tar::{Entry, EntryKind, Limits, Reader};

use crate::archive::{Archive, GNU, USTAR, V7};
use crate::hostile::{archive, repair};

/// What two readers must agree on: type, name, target, mode, owner, group, size, seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    kind: char,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    uid: i128,
    gid: i128,
    size: u64,
    mtime: i128,
}

/// Prints `kind name link mode uid gid size mtime` for every entry, then `end` or `error`.
const PYTHON: &str = r#"
import sys, tarfile, math
kinds = {b"0": "f", b"\0": "f", b"S": "f", b"7": "f", b"1": "h", b"2": "l", b"3": "c", b"4": "b", b"5": "d", b"6": "p"}
def text(s): return s.encode("utf-8", "surrogateescape").hex() or "-"
for path in sys.argv[1:]:
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as archive:
            for m in archive:
                print(kinds.get(m.type, "?"), text(m.name), text(m.linkname), m.mode, m.uid, m.gid,
                      m.size, math.floor(m.mtime))
        print("end")
    except Exception as error:
        print("error", repr(error).replace(" ", "_"))
"#;

/// Lists `archives` with Python; `None`, and a line that says so, if it is not there.
fn python(archives: &[PathBuf]) -> Option<Vec<Option<Vec<Seen>>>> {
    let output = Command::new("python3")
        .args(["-c", PYTHON])
        .args(archives)
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            println!("not run: corten-tar other_readers: python3: {error}");
            return None;
        }
    };
    let mut all = Vec::new();
    let mut entries = Vec::new();
    for line in String::from_utf8(output).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["end"] => all.push(Some(std::mem::take(&mut entries))),
            ["error", _] => {
                entries.clear();
                all.push(None);
            }
            [kind, name, link, mode, uid, gid, size, mtime] => entries.push(Seen {
                kind: kind.chars().next().unwrap(),
                name: unhex(name),
                link: unhex(link),
                mode: mode.parse::<u32>().unwrap() & 0o7777,
                uid: uid.parse().unwrap(),
                gid: gid.parse().unwrap(),
                size: size.parse().unwrap(),
                mtime: mtime.parse().unwrap(),
            }),
            _ => panic!("{line}"),
        }
    }
    assert_eq!(all.len(), archives.len());
    Some(all)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Reads an archive; `None` if we refuse it.
fn ours(archive: &[u8]) -> Option<Vec<Entry>> {
    let mut reader = Reader::new(archive, Limits::default());
    let mut entries = Vec::new();
    while let Some(located) = reader.next_entry().ok()? {
        std::io::copy(&mut reader.read_body(), &mut std::io::sink()).ok()?;
        entries.push(located.entry);
    }
    reader.finish().ok()?;
    Some(entries)
}

fn seen(entry: &Entry) -> Seen {
    let kind = match entry.kind {
        EntryKind::File => 'f',
        EntryKind::HardLink => 'h',
        EntryKind::Symlink => 'l',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
        EntryKind::Directory => 'd',
        EntryKind::Fifo => 'p',
    };
    Seen {
        kind,
        name: entry.path.clone(),
        link: entry.link.clone(),
        mode: entry.mode,
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        size: entry.size,
        mtime: entry.mtime.seconds.into(),
    }
}

/// Archives of every dialect, each odd in one way.
fn odd() -> Vec<Vec<u8>> {
    let file = |magic| Archive::new().file(magic, b'0', b"name", b"text");
    vec![
        archive(),
        file(V7).end(),
        file(USTAR).end(),
        file(GNU).end(),
        Archive::new()
            .file(USTAR, b'7', b"contiguous", b"text")
            .end(),
        Archive::new().file(V7, 0, b"directory/", b"").end(),
        Archive::new().file(USTAR, b'5', b"directory", b"").end(),
        Archive::new()
            .header(
                USTAR,
                b'0',
                &[(345, b"prefix"), (108, b"   1750 "), (116, b"1751 \0\0\0")],
            )
            .end(),
        Archive::new()
            .header(GNU, b'3', &[(329, b"0000005\0"), (337, b"0000001\0")])
            .header(GNU, b'6', &[(0, b"fifo")])
            .header(GNU, b'2', &[(0, b"link"), (157, b"target")])
            .header(GNU, b'1', &[(0, b"hard"), (157, b"name")])
            .end(),
        Archive::new()
            .header(GNU, b'0', &[(136, &[0xff; 12])])
            .end(),
        Archive::new()
            .header(GNU, b'0', &[(108, b"\x80\0\0\0\0\x2d\xc6\xc0")])
            .end(),
        Archive::new()
            .pax(b'x', &[("mtime", b"-1.5"), ("uid", b"3000000")])
            .header(USTAR, b'0', &[])
            .end(),
        Archive::new()
            .pax(b'x', &[("size", b"4")])
            .header(USTAR, b'0', &[])
            .body(b"text")
            .end(),
        Archive::new()
            .pax(b'x', &[("path", "\u{fc}".as_bytes()), ("linkpath", b"t")])
            .header(USTAR, b'2', &[])
            .end(),
        Archive::new()
            .pax(b'g', &[("comment", b"x")])
            .header(USTAR, b'0', &[])
            .end(),
        Archive::new()
            .file(GNU, b'K', b"long", &[b't'; 200])
            .header(GNU, b'2', &[])
            .end(),
    ]
}

/// Returns archives that are damaged a little each, always in the same way: those that we accept.
fn damaged() -> Vec<Vec<u8>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let bases = odd();
    let mut damaged = Vec::new();
    while damaged.len() < 300 {
        let mut bytes = bases[random(bases.len())].clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len() - 1024);
            // Most of what is interesting is text.
            bytes[at] = *b"01 7/a.\0-9=\n\x80\xff25".get(random(20)).unwrap_or(&b'3');
        }
        repair(&mut bytes);
        if ours(&bytes).is_some() {
            damaged.push(bytes);
        }
    }
    damaged
}

/// Returns the same without what readers spell differently: the slash at the end of a directory, the
/// target of what is no link, the size of what has no content.
fn plain(mut seen: Seen) -> Seen {
    if seen.kind == 'd' {
        while seen.name.last() == Some(&b'/') {
            seen.name.pop();
        }
    }
    if !matches!(seen.kind, 'h' | 'l') {
        seen.link.clear();
    }
    if seen.kind != 'f' {
        seen.size = 0;
    }
    seen
}

/// Says why Python reads what it `found`, where we read what is `expected`; `None` if nobody knows.
fn explained(archive: &[u8], expected: &[Seen], found: Option<&[Seen]>) -> Option<&'static str> {
    let Some(found) = found else {
        let is_number = |byte: &u8| matches!(byte, b'0'..=b'7' | b' ' | 0);
        let mut blocks = archive.chunks_exact(512);
        let has_odd_owner = blocks.any(|block| {
            block[257..].starts_with(b"ustar")
                && b"xgLK".contains(&block[156])
                && !block[100..124].iter().all(is_number)
        });
        return has_odd_owner.then_some("nobody needs the owner and mode of an extended header");
    };
    let mut theirs = found.iter();
    let same_but_for_times = expected.len() == found.len()
        && expected.iter().all(|ours| {
            theirs.next().is_some_and(|theirs| {
                theirs.mtime == 0
                    && Seen {
                        mtime: 0,
                        ..ours.clone()
                    } == *theirs
                    || ours == theirs
            })
        });
    same_but_for_times.then_some(
        "NULs before a number: Go's reader, which reads layers for everybody else, passes over them, \
         and Python stops at the first",
    )
}

#[test]
fn python_reads_what_we_accept() {
    let scratch = tempfile::tempdir().unwrap();
    let archives: Vec<Vec<u8>> = odd().into_iter().chain(damaged()).collect();
    let mut paths = Vec::new();
    for (number, archive) in archives.iter().enumerate() {
        let path = scratch.path().join(format!("{number}.tar"));
        File::create_new(&path).unwrap().write_all(archive).unwrap();
        paths.push(path);
    }
    let Some(theirs) = python(&paths) else {
        return;
    };
    let mut differences = String::new();
    for (archive, theirs) in archives.iter().zip(theirs) {
        let entries = ours(archive).expect("an odd archive is sound");
        let expected: Vec<Seen> = entries.iter().map(|entry| plain(seen(entry))).collect();
        let found = theirs.map(|all| all.into_iter().map(plain).collect::<Vec<_>>());
        if found.as_ref() != Some(&expected)
            && explained(archive, &expected, found.as_deref()).is_none()
        {
            writeln!(differences, "ours {expected:?}\nPython's {found:?}\n").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
