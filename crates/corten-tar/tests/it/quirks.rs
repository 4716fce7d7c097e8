//! What is unusual about an archive, and going on after an entry that cannot be.

use corten_tar::{Ending, Limits, Quirk, Reader};

use crate::archive::{Archive, GNU, USTAR};

#[test]
fn quirks_are_those_of_the_last_entry() {
    #[track_caller]
    fn check(archive: Archive, offset: u64, expected: &[Quirk]) {
        let archive = archive.file(USTAR, b'0', b"last", b"").end();
        let mut reader = Reader::new(&archive[..], Limits::default());
        reader.next_entry().unwrap().unwrap();
        assert_eq!(
            (reader.entry_offset(), reader.quirks()),
            (offset, expected),
            "the first entry"
        );
        reader.next_entry().unwrap().unwrap();
        assert_eq!(reader.quirks(), [], "the last entry");
        assert_eq!(reader.entry_offset(), archive.len() as u64 - 3 * 512);
    }
    let one = |archive: Archive| archive.file(USTAR, b'0', b"one", b"content");
    check(one(Archive::new()), 0, &[]);
    check(
        one(Archive::new().pax(b'g', &[("comment", b"a commit")])),
        1024,
        &[Quirk::GlobalHeader { has_meaning: false }],
    );
    check(
        one(Archive::new().pax(b'g', &[("path", b"x"), ("comment", b"")])),
        1024,
        &[Quirk::GlobalHeader { has_meaning: true }],
    );
    check(
        one(Archive::new().file(GNU, b'V', b"label", b"")),
        512,
        &[Quirk::VolumeLabel],
    );
    check(
        Archive::new().file(USTAR, b'7', b"one", b"1"),
        0,
        &[Quirk::Contiguous],
    );
    check(one(Archive::new().pax(b'x', &[("size", b"7")])), 0, &[]);
    check(
        Archive::new()
            .pax(b'x', &[("size", b"512")])
            .header(USTAR, b'0', &[(124, b"00000000007\0")])
            .body(&[1; 512]),
        0,
        &[Quirk::SizeDiffers {
            header: 7,
            extended: 512,
        }],
    );
    check(
        Archive::new().header(USTAR, b'5', &[(124, b"00000000007\0")]),
        0,
        &[Quirk::SizeWithoutBody(7)],
    );
    let base64: (&str, &[u8]) = ("LIBARCHIVE.xattr.user.a", b"MQ");
    check(
        one(Archive::new().pax(b'x', &[base64])),
        0,
        &[Quirk::LibarchiveXattr],
    );
    check(
        one(Archive::new().pax(b'x', &[base64, ("SCHILY.xattr.user.a", b"1")])),
        0,
        &[],
    );
}

#[test]
fn reading_goes_on_after_an_entry_that_cannot_be() {
    #[track_caller]
    fn check(archive: Archive, can_resume: bool) {
        let archive = archive.file(USTAR, b'0', b"last", b"").end();
        let mut reader = Reader::new(&archive[..], Limits::default());
        let error = reader.next_entry().unwrap_err();
        assert_eq!(reader.can_resume(), can_resume, "{error}");
        if can_resume {
            assert_eq!(reader.entry_offset(), 0);
            assert_eq!(reader.next_entry().unwrap().unwrap().entry.path, b"last");
            assert_eq!(reader.next_entry().unwrap(), None);
        }
    }
    let body = &[b'x'; 700];
    check(Archive::new().file(USTAR, b'D', b"a", body), true);
    let owner: (&str, &[u8]) = ("uid", b"4294967295");
    check(
        Archive::new()
            .pax(b'x', &[owner])
            .file(USTAR, b'0', b"a", body),
        true,
    );
    check(
        Archive::new()
            .pax(b'x', &[owner])
            .header(USTAR, b'5', &[(124, b"00000000700\0")]),
        true,
    );
    check(
        Archive::new()
            .pax(b'x', &[owner, ("size", b"512")])
            .header(USTAR, b'0', &[])
            .body(&[1; 512]),
        true,
    );
    check(
        Archive::new().header(USTAR, b'3', &[(329, b"7777777\0")]),
        true,
    );
    check(Archive::new().body(&[1; 512]), false);
}

#[test]
fn endings() {
    #[track_caller]
    fn check(after: &[u8], marker_blocks: u8, trailing_bytes: u64, trailing_is_zero: bool) {
        let mut archive = Archive::new().file(USTAR, b'0', b"a", b"1").0;
        archive.extend_from_slice(after);
        let mut reader = Reader::new(&archive[..], Limits::default());
        while reader.next_entry().unwrap().is_some() {}
        let ending = Ending {
            marker_blocks,
            trailing_bytes,
            trailing_is_zero,
        };
        assert_eq!(reader.read_ending().unwrap(), ending);
    }
    check(&[], 0, 0, true);
    check(&[0; 512], 1, 0, true);
    check(&[0; 1024], 2, 0, true);
    check(&[0; 10240], 2, 10240 - 1024, true);
    check(&[&[0; 1024][..], b"x"].concat(), 2, 1, false);
}

#[test]
fn only_the_padding_of_the_last_file_may_be_missing() {
    let archive = Archive::new().file(USTAR, b'0', b"one", b"content").0;
    for len in 512..=archive.len() {
        let mut reader = Reader::new(&archive[..len], Limits::default());
        reader.next_entry().unwrap().unwrap();
        let next = reader.next_entry();
        if len < 512 + b"content".len() {
            assert!(
                matches!(next, Err(corten_tar::Error::Truncated { .. })),
                "{len}: {next:?}"
            );
            continue;
        }
        assert_eq!(next.unwrap(), None, "{len}");
        let ending = reader.read_ending().unwrap();
        assert_eq!(ending.marker_blocks, 0, "{len}");
    }
}
