//! Archives and compressed streams.

use std::io::{Read, Write as _};

use corten_tar::{
    Compression, DecodeLimits, Decoder, Encoder, Encoding, Entry, Limits, Located, Reader, Writer,
    padding, write_header,
};
use flate2::bufread::MultiGzDecoder;

/// Small, so that what goes past them is seen.
pub(crate) const LIMITS: Limits = Limits {
    total_bytes: 1 << 20,
    file_bytes: 1 << 20,
    entries: 100,
    path_bytes: 1000,
    path_depth: 60,
    pax_bytes: 4 << 10,
    sparse_segments: 64,
};

pub(crate) const DECODE_LIMITS: DecodeLimits = DecodeLimits {
    expansion: 1100,
    expansion_after: 4 << 20,
    window_bytes: 8 << 20,
};

/// Archives of any dialect, as they are and with their checksums made right.
pub(crate) fn tar(data: &[u8]) {
    check(data);
    let mut repaired = data.to_vec();
    if repair(&mut repaired) {
        check(&repaired);
    }
}

/// Makes the checksums of all headers that have a magic right, so that what is behind them is reached.
/// Tells whether any was wrong.
pub(crate) fn repair(archive: &mut [u8]) -> bool {
    let mut is_changed = false;
    for block in archive.chunks_exact_mut(512) {
        if !block[257..].starts_with(b"ustar") {
            continue;
        }
        let before: [u8; 8] = std::array::from_fn(|at| block[148 + at]);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        is_changed |= block[148..156] != before;
    }
    is_changed
}

/// Returns the entries before the first error, each with its stored bytes.
pub(crate) fn read_all(archive: &[u8]) -> (Vec<(Located, Vec<u8>)>, bool) {
    let mut reader = Reader::new(archive, LIMITS);
    let mut entries = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(located)) => {
                let mut body = Vec::new();
                if reader.read_body().read_to_end(&mut body).is_err() {
                    return (entries, false);
                }
                entries.push((located, body));
            }
            Ok(None) => return (entries, reader.finish().is_ok()),
            Err(_) => return (entries, false),
        }
    }
}

fn check(archive: &[u8]) {
    let (entries, _) = read_all(archive);
    assert!(entries.len() as u64 <= LIMITS.entries);
    let mut logical: u64 = 0;
    for (located, body) in &entries {
        check_entry(&located.entry);
        assert_eq!(body.len() as u64, located.stored_size);
        let start = usize::try_from(located.offset).expect("it is in memory");
        assert_eq!(body[..], archive[start..start + body.len()]);
        logical += located.entry.size;
        match &located.entry.sparse {
            None => assert_eq!(located.entry.size, located.stored_size),
            Some(segments) => {
                let stored: u64 = segments.iter().map(|segment| segment.length).sum();
                assert_eq!(stored, located.stored_size);
                let ends = segments
                    .iter()
                    .map(|segment| segment.offset + segment.length);
                assert!(ends.clone().all(|end| end <= located.entry.size));
                assert!(
                    ends.zip(segments.iter().skip(1))
                        .all(|(end, next)| end <= next.offset)
                );
            }
        }
        written_again(&located.entry, body);
    }
    assert!(logical <= LIMITS.total_bytes);
}

fn check_entry(entry: &Entry) {
    assert!(entry.mode <= 0o7777);
    assert!(entry.uid < u32::MAX && entry.gid < u32::MAX);
    assert!(entry.device.0 < 1 << 12 && entry.device.1 < 1 << 20);
    assert!(entry.mtime.nanoseconds < 1_000_000_000);
    assert!(entry.size <= LIMITS.file_bytes);
    assert!(entry.path.len() as u64 <= LIMITS.path_bytes);
    assert!(entry.link.len() as u64 <= LIMITS.path_bytes);
    assert!(!entry.path.contains(&0) && !entry.link.contains(&0));
    assert!(entry.xattrs.is_sorted() && entry.records.is_sorted());
}

/// What is read is written, and read as the same, spellings and holes aside.
fn written_again(entry: &Entry, body: &[u8]) {
    let mut plain = entry.clone();
    if plain.sparse.take().is_some() {
        plain.size = body.len() as u64;
    }
    let mut written = Vec::new();
    if write_header(&plain, &mut written).is_err() {
        return;
    }
    written.extend_from_slice(body);
    written.resize(written.len() + padding(body.len() as u64), 0);
    written.extend_from_slice(&corten_tar::END);
    let mut reader = Reader::new(&written[..], Limits::default());
    let located = reader.next_entry().expect("what is written is read");
    let mut found = located.expect("an entry was written").entry;
    let names = |path: &[u8]| -> Vec<Vec<u8>> {
        path.split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
            .map(<[u8]>::to_vec)
            .collect()
    };
    assert_eq!(names(&found.path), names(&plain.path));
    found.path.clone_from(&plain.path);
    if found.kind == corten_tar::EntryKind::HardLink {
        assert_eq!(names(&found.link), names(&plain.link));
        found.link.clone_from(&plain.link);
    }
    let is_written = |(name, _): &(Vec<u8>, Vec<u8>)| {
        !name.starts_with(b"trusted.overlay.")
            && !name.starts_with(b"user.overlay.")
            && name != b"security.selinux"
    };
    plain.xattrs.retain(is_written);
    assert_eq!(found, plain);
    let mut again = Vec::new();
    reader
        .read_body()
        .read_to_end(&mut again)
        .expect("it is there");
    assert_eq!(again, body);
    reader.finish().expect("it ends");
    let mut writer = Writer::new(Vec::new());
    writer
        .entry(&plain, &mut &body[..])
        .expect("its header was written");
    assert_eq!(writer.finish().expect("it is memory"), written);
}

/// Compressed streams: bounded, and gzip as another decompressor reads it.
pub(crate) fn decode(data: &[u8]) {
    let Ok(mut decoder) = Decoder::new(Box::new(data), DECODE_LIMITS) else {
        return;
    };
    let mut produced = Vec::new();
    let result = (&mut decoder).take(16 << 20).read_to_end(&mut produced);
    let allowed = DECODE_LIMITS.expansion_after + DECODE_LIMITS.expansion * data.len() as u64;
    assert!(produced.len() as u64 <= allowed + (1 << 20));
    let is_whole = result.is_ok() && produced.len() < 16 << 20;
    if is_whole {
        assert_eq!(decoder.consumed(), data.len() as u64);
    }
    match decoder.encoding() {
        Encoding::Identity => assert!(!is_whole || produced == data),
        Encoding::Gzip => {
            let mut expected = Vec::new();
            let peer = MultiGzDecoder::new(data)
                .take(16 << 20)
                .read_to_end(&mut expected);
            if is_whole && peer.is_ok() {
                assert!(
                    produced == expected,
                    "another decompressor reads other bytes"
                );
            }
        }
        Encoding::Zstd | Encoding::Xz | Encoding::Bzip2 => {}
    }
}

/// What is compressed is what was written, whatever the number of threads.
pub(crate) fn encode(data: &[u8]) {
    let Some((&[choice, repeat], seed)) = data.split_first_chunk() else {
        return;
    };
    // Long enough for several members of gzip.
    let input = seed.repeat(usize::from(repeat) * 40 + 1);
    let input = &input[..input.len().min(3 << 20)];
    let (compression, level) = match choice % 3 {
        0 => (Compression::None, None),
        1 => (Compression::Gzip, Some(i32::from(choice / 3) % 13)),
        _ => (Compression::Zstd, Some(i32::from(choice / 3) % 6 + 1)),
    };
    let compress = |threads, piece: usize| {
        let encoder = Encoder::new(Vec::new(), compression, level, threads);
        let mut encoder = encoder.expect("there is such a level");
        for chunk in input.chunks(piece) {
            encoder.write_all(chunk).expect("it is memory");
        }
        encoder.finish().expect("it is memory")
    };
    let compressed = compress(1, 1 << 20);
    assert!(
        compressed == compress(2, 777),
        "the bytes depend on the threads"
    );
    if compression == Compression::None {
        return;
    }
    let decoder = Decoder::new(Box::new(&compressed[..]), DecodeLimits::default());
    let mut again = Vec::new();
    let read = decoder.expect("it is ours").read_to_end(&mut again);
    read.expect("it is ours");
    assert!(again == input, "it is not what was written");
}
