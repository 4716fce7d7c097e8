//! Bytes that nobody meant to be an archive never do worse than fail.

use std::io::Read as _;
use std::sync::LazyLock;

use corten_tar::{DecodeLimits, Decoder, Limits, Reader};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::archive::{Archive, GNU, USTAR, V7};
use crate::compressed::{bzip2, gzip, xz, zstd};

/// Reads everything, in a state where nothing is allocated that the input does not pay for.
fn read_all(bytes: &[u8]) {
    let limits = Limits {
        total_bytes: 1 << 20,
        file_bytes: 1 << 20,
        ..Limits::default()
    };
    let mut reader = Reader::new(bytes, limits);
    while let Ok(Some(located)) = reader.next_entry() {
        assert!(located.entry.mode <= 0o7777);
        assert!(located.entry.uid < u32::MAX && located.entry.gid < u32::MAX);
        if let Some(segments) = &located.entry.sparse {
            let stored: u64 = segments.iter().map(|segment| segment.length).sum();
            assert_eq!(stored, located.stored_size);
            assert!(
                segments
                    .windows(2)
                    .all(|two| two[0].offset + two[0].length <= two[1].offset)
            );
        }
        let mut start = [0; 3];
        drop(reader.read_body().read(&mut start));
    }
    drop(reader.finish());
}

fn decode_all(bytes: &[u8]) {
    let limits = DecodeLimits {
        expansion: 10,
        expansion_after: 1 << 20,
        window_bytes: 8 << 20,
    };
    let Ok(mut decoder) = Decoder::new(Box::new(bytes), limits) else {
        return;
    };
    let mut buf = vec![0; 64 << 10];
    while decoder.read(&mut buf).is_ok_and(|len| len > 0) {}
}

pub(crate) fn archive() -> Vec<u8> {
    Archive::new()
        .pax(b'g', &[("comment", b"x")])
        .pax(
            b'x',
            &[
                ("path", b"a"),
                ("mtime", b"1.5"),
                ("SCHILY.xattr.user.a", b"1"),
            ],
        )
        .file(USTAR, b'0', b"name", b"text")
        .file(GNU, b'L', b"long", b"long\0")
        .file(GNU, b'0', b"name", &[b'x'; 600])
        .pax(
            b'x',
            &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1,3,1")],
        )
        .file(USTAR, b'0', b"name", b"ab")
        .pax(
            b'x',
            &[
                ("GNU.sparse.major", b"1"),
                ("GNU.sparse.minor", b"0"),
                ("GNU.sparse.realsize", b"100"),
            ],
        )
        .file(
            USTAR,
            b'0',
            b"name",
            &[&b"1\n0\n2\n"[..], &[0; 506], b"ab"].concat(),
        )
        .header(
            GNU,
            b'S',
            &[
                (124, b"00000000002\0"),
                (386, b"00000000000\x0000000000002\0"),
                (482, &[1]),
                (483, b"00000000144\0"),
            ],
        )
        .body(&[0; 512])
        .body(b"ab")
        .file(V7, 0, b"directory/", b"")
        .end()
}

/// Changes some bytes, and makes the checksums of all blocks right again half the time, so that
/// what is behind them is reached.
fn mutated(mut bytes: Vec<u8>, changes: &[(usize, u8)], is_repaired: bool) -> Vec<u8> {
    for (at, value) in changes {
        let at = at % bytes.len();
        bytes[at] = *value;
    }
    if is_repaired {
        repair(&mut bytes);
    }
    bytes
}

/// Makes the checksums of all headers that have a magic right.
pub(crate) fn repair(archive: &mut [u8]) {
    for block in archive
        .chunks_exact_mut(512)
        .filter(|block| block[257..].starts_with(b"ustar"))
    {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
}

#[test]
fn the_archive_to_be_damaged_is_sound() {
    assert_eq!(crate::archive::read(&archive()).unwrap().len(), 6);
}

#[test]
fn every_length_but_the_whole_is_an_end_or_an_error() {
    let archive = archive();
    // Every one around the ends of blocks, and some between.
    for len in (0..archive.len()).filter(|len| len % 512 < 3 || len % 512 > 509 || len % 61 == 0) {
        read_all(&archive[..len]);
    }
}

static STREAMS: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    let plain: Vec<u8> = (0..3000_u32)
        .flat_map(|n| (n * n % 1000).to_le_bytes())
        .collect();
    [gzip(&plain), zstd(&plain), xz(&plain), bzip2(&plain)]
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn damaged_archives(
        changes in vec((any::<usize>(), any::<u8>()), 1..8),
        repair in any::<bool>(),
    ) {
        read_all(&mutated(archive(), &changes, repair));
    }

    #[test]
    fn damaged_headers(changes in vec((0_usize..512, any::<u8>()), 1..8), block in 0_usize..20) {
        let changes: Vec<_> = changes.iter().map(|(at, value)| (block * 512 + at, *value)).collect();
        read_all(&mutated(archive(), &changes, true));
    }

    #[test]
    fn damaged_records(body in "([0-9]{1,3} [a-zA-Z.]{1,9}=[^\n]{0,9}\n?){0,5}") {
        read_all(&Archive::new().file(USTAR, b'x', b"pax", body.as_bytes()).header(USTAR, b'0', &[]).end());
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..2000)) {
        read_all(&bytes);
        decode_all(&bytes);
    }

    #[test]
    fn damaged_streams(changes in vec((any::<usize>(), any::<u8>()), 0..4), cut in any::<usize>()) {
        for compressed in &*STREAMS {
            let mut damaged = mutated(compressed.clone(), &changes, false);
            damaged.truncate(damaged.len() - cut % 3 * (cut % damaged.len()) / 2);
            decode_all(&damaged);
        }
    }
}
