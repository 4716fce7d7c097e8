//! What is written is read again, for any entry.

use corten_tar::{Entry, EntryKind, Timestamp, Writer};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::archive::read;

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..120).prop_map(|mut name| {
        for byte in &mut name {
            if matches!(*byte, 0 | b'/') {
                *byte = b'_';
            }
        }
        if matches!(&name[..], b"." | b"..") {
            b"dot".to_vec()
        } else {
            name
        }
    })
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![name(), "[a-z]{1,60}".prop_map(String::into_bytes)],
        1..8,
    )
    .prop_map(|names| names.join(&b'/'))
}

fn pairs(prefix: &'static str) -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    btree_map("[a-z.%]{1,20}", vec(any::<u8>(), 0..50), 0..4).prop_map(move |map| {
        map.into_iter()
            .map(|(key, value)| (format!("{prefix}{key}").into_bytes(), value))
            .collect()
    })
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..u32::MAX, 2_097_140_u32..2_097_160, Just(u32::MAX - 1)]
}

fn mtime() -> impl Strategy<Value = Timestamp> {
    let seconds = prop_oneof![any::<i64>(), -5_i64..5, 8_589_934_585_i64..8_589_934_600];
    let nanoseconds = prop_oneof![Just(0), 0_u32..1_000_000_000, Just(500_000_000)];
    (seconds, nanoseconds)
        // The most negative number of seconds is clamped when it is read.
        .prop_filter("not clamped", |(seconds, _)| *seconds != i64::MIN)
        .prop_map(|(seconds, nanoseconds)| Timestamp {
            seconds,
            nanoseconds,
        })
}

fn entry() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::HardLink),
        Just(EntryKind::Symlink),
        Just(EntryKind::CharDevice),
        Just(EntryKind::BlockDevice),
        Just(EntryKind::Directory),
        Just(EntryKind::Fifo),
    ];
    let device = (0_u32..4096, 0_u32..1 << 20);
    let ids = (number(), number());
    let names = (path(), path());
    (
        kind,
        names,
        0_u32..0o10000,
        ids,
        mtime(),
        device,
        pairs("user."),
        pairs("MSWINDOWS."),
        vec(any::<u8>(), 0..2000),
    )
        .prop_map(
            |(kind, (mut path, link), mode, (uid, gid), mtime, device, xattrs, records, body)| {
                let is_link = matches!(kind, EntryKind::HardLink | EntryKind::Symlink);
                let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
                if kind == EntryKind::Directory {
                    path.push(b'/');
                }
                let body = if kind == EntryKind::File {
                    body
                } else {
                    Vec::new()
                };
                let entry = Entry {
                    path,
                    link: if is_link { link } else { Vec::new() },
                    kind,
                    mode,
                    uid,
                    gid,
                    mtime,
                    size: body.len() as u64,
                    device: if is_device { device } else { (0, 0) },
                    xattrs,
                    records,
                    sparse: None,
                };
                (entry, body)
            },
        )
}

proptest! {
    #[test]
    fn written_entries_are_read_again(mut entries in vec(entry(), 0..6)) {
        for (number, (entry, _)) in entries.iter_mut().enumerate() {
            // Paths may be equal by chance, and the writer refuses that.
            let unique = format!("{number}/").into_bytes();
            entry.path.splice(0..0, unique);
        }
        let mut writer = Writer::new(Vec::new());
        for (entry, body) in &entries {
            writer.entry(entry, &mut &body[..]).unwrap();
        }
        let position = writer.position();
        let archive = writer.finish().unwrap();
        prop_assert_eq!(archive.len() as u64, position + 1024);
        let read = read(&archive).unwrap();
        prop_assert_eq!(read.len(), entries.len());
        for ((located, body), (entry, expected)) in read.iter().zip(&entries) {
            prop_assert_eq!(&located.entry, entry);
            prop_assert_eq!(body, expected);
        }
    }
}
