//! Sparse files by hand: `layers.md`, rule 74.

use corten_tar::{Entry, Segment};

use crate::archive::{Archive, GNU, USTAR, chain, only, read};

fn pairs(pairs: &[(u64, u64)]) -> Vec<u8> {
    pairs
        .iter()
        .flat_map(|(offset, length)| format!("{offset:011o}\0{length:011o}\0").into_bytes())
        .collect()
}

#[track_caller]
fn check(entry: &Entry, path: &str, size: u64, expected: &[(u64, u64)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|&(offset, length)| Segment { offset, length })
        .collect();
    assert_eq!(entry.path, path.as_bytes());
    assert_eq!((entry.size, entry.sparse.as_ref()), (size, Some(&expected)));
}

#[test]
fn old_gnu() {
    let map = pairs(&[(0, 2), (10, 3), (20, 0)]);
    let archive = Archive::new()
        .header(
            GNU,
            b'S',
            &[
                (124, b"00000000005\0"),
                (386, &map),
                (483, b"00000000024\0"),
            ],
        )
        .body(b"abcde");
    check(&only(&archive.end()), "name", 20, &[(0, 2), (10, 3)]);
}

#[test]
fn old_gnu_with_extensions() {
    let first: Vec<_> = (0..4).map(|at| (at * 2, 1)).collect();
    let second: Vec<_> = (4..25).map(|at| (at * 2, 1)).collect();
    let mut block = [0; 512];
    block[..504].copy_from_slice(&pairs(&second));
    block[504] = 1;
    let archive = Archive::new()
        .header(
            GNU,
            b'S',
            &[
                (124, b"00000000032\0"),
                (386, &pairs(&first)),
                (482, &[1]),
                (483, b"00000000144\0"),
            ],
        )
        .body(&block)
        .body(&[&pairs(&[(98, 1)])[..], &[0; 488]].concat())
        .body(&[b'x'; 26]);
    let entries = read(&archive.end()).unwrap();
    assert_eq!(entries[0].1, [b'x'; 26]);
    let entry = &entries[0].0.entry;
    assert_eq!(entry.size, 100);
    assert_eq!(entry.sparse.as_ref().map(Vec::len), Some(26));
}

#[test]
fn a_map_in_the_body() {
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"true"),
        ("GNU.sparse.realsize", b"100"),
    ];
    let mut body = b"2\n0\n2\n50\n3\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(b"abcde");
    let archive = Archive::new()
        .pax(b'x', records)
        .file(USTAR, b'0', b"made/up", &body);
    let entries = read(&archive.end()).unwrap();
    check(&entries[0].0.entry, "true", 100, &[(0, 2), (50, 3)]);
    assert_eq!(entries[0].1, b"abcde");

    let short = Archive::new()
        .pax(b'x', records)
        .file(USTAR, b'0', b"made/up", b"1\n0\n2\n");
    assert_eq!(
        chain(&read(&short.end()).unwrap_err()),
        "the sparse map at byte 1024 is malformed: it is longer than the body"
    );
}

#[test]
fn what_is_not_a_file_is_not_sparse() {
    let records: &[(&str, &[u8])] = &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,0")];
    for (magic, flag) in [(USTAR, b'5'), (USTAR, b'1'), (GNU, b'S')] {
        let archive = Archive::new().pax(b'x', records).header(magic, flag, &[]);
        assert_eq!(
            chain(&read(&archive.end()).unwrap_err()),
            "the sparse map at byte 1024 is malformed: its entry is not a plain file"
        );
    }
}
