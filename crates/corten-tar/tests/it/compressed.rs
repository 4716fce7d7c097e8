//! Compressed streams, both ways: `layers.md`, rules 76 to 78 and 95.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use corten_tar::{
    Compression, DecodeLimits, Decoder, Encoder, Encoding, Error, GZIP_NAME, ZSTD_NAME,
};

use crate::archive::chain;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, Compression::Gzip, None, 1, usize::MAX)
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    encode(bytes, Compression::Zstd, None, 1, usize::MAX)
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn encode(
    bytes: &[u8],
    compression: Compression,
    level: Option<i32>,
    threads: usize,
    piece: usize,
) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, level, threads).unwrap();
    for piece in bytes.chunks(piece) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

fn decode_with(bytes: &[u8], limits: DecodeLimits) -> Result<Vec<u8>, Error> {
    let mut decoder = Decoder::new(Box::new(bytes), limits)?;
    let mut out = Vec::new();
    decoder
        .read_to_end(&mut out)
        .map_err(|error| Error::read(0, error))?;
    assert_eq!(
        decoder.consumed(),
        bytes.len() as u64,
        "all of the input is read"
    );
    Ok(out)
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    decode_with(bytes, DecodeLimits::default())
}

/// Bytes that compress by about half, the same on every run.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b"etaoin shrdlu\n\0\x7f"[(state >> 28) as usize]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn what_is_compressed_is_decompressed() {
    for len in [0, 1, 511, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2_500_000] {
        let plain = text(len);
        for compressed in [gzip(&plain), zstd(&plain)] {
            assert!(decode(&compressed).unwrap() == plain, "{len}");
        }
        assert!(encode(&plain, Compression::None, None, 2, 1000) == plain);
    }
    for len in [0, 1, 100_000] {
        let plain = text(len);
        for compressed in [xz(&plain), bzip2(&plain)] {
            assert!(decode(&compressed).unwrap() == plain, "{len}");
        }
    }
}

#[test]
fn bytes_depend_on_neither_threads_nor_writes() {
    // Several members, and several jobs.
    for (compression, len) in [
        (Compression::Gzip, 3_200_000),
        (Compression::Zstd, 8_500_000),
    ] {
        let plain = text(len);
        let expected = encode(&plain, compression, None, 1, usize::MAX);
        for (threads, piece) in [
            (0, 1 << 20),
            (2, 1000),
            (3, 4 << 20),
            (5, 77_777),
            (1, 4096),
        ] {
            let encoded = encode(&plain, compression, None, threads, piece);
            assert!(
                encoded == expected,
                "{compression:?}, {threads} threads, {piece}"
            );
        }
    }
}

#[test]
fn the_members_of_a_gzip_stream_are_chained_by_their_sizes() {
    let compressed = gzip(&text(2_500_000));
    let (mut at, mut lengths) = (0, Vec::new());
    while at < compressed.len() {
        let header = &compressed[at..at + 16];
        assert_eq!(header, b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x08\0CT\x04\0");
        at += u32::from_le_bytes(compressed[at + 16..at + 20].try_into().unwrap()) as usize;
        lengths.push(u32::from_le_bytes(
            compressed[at - 4..at].try_into().unwrap(),
        ));
    }
    assert_eq!(at, compressed.len());
    assert_eq!(lengths, [1 << 20, 1 << 20, 2_500_000 - (2 << 20)]);
    assert!(
        gzip(b"").starts_with(&compressed[..16]),
        "an empty stream is an empty member"
    );
}

/// Reading can start at any place that writer or reader name, and both name the same.
#[test]
fn decompression_starts_where_it_may() {
    #[track_caller]
    fn check(stored: &[u8], plain: &[u8], expected: &[(u64, u64)]) {
        let mut decoder = Decoder::new(Box::new(stored), DecodeLimits::default()).unwrap();
        let points = decoder.seek_points();
        io::copy(&mut decoder, &mut io::sink()).unwrap();
        let points = points.to_vec();
        let found: Vec<_> = points.iter().map(|p| (p.plain, p.stored)).collect();
        assert_eq!(found, expected);
        for (at, from) in found {
            let (at, from) = (usize::try_from(at).unwrap(), usize::try_from(from).unwrap());
            assert!(decode(&stored[from..]).unwrap() == plain[at..], "from {at}");
        }
    }
    let plain = text(2_500_000);
    for threads in [0, 3] {
        let mut encoder = Encoder::new(Vec::new(), Compression::Gzip, None, threads).unwrap();
        let points = encoder.seek_points();
        encoder.write_all(&plain).unwrap();
        let stored = encoder.finish().unwrap();
        let made: Vec<_> = points.to_vec();
        let made: Vec<_> = made.iter().map(|p| (p.plain, p.stored)).collect();
        assert_eq!(made.len(), 3, "one for each member");
        check(&stored, &plain, &made);
    }
    // Members that are too near to one another are passed over, wherever a buffer ends.
    let small = text(300_000);
    let member = gzip(&small);
    let far = member.len() as u64 * 4;
    check(
        &member.repeat(6),
        &small.repeat(6),
        &[(0, 0), (1_200_000, far)],
    );
    check(&zstd(&plain), &plain, &[]);
    // What a header claims is not believed: this says that its members are elsewhere.
    let mut lying = gzip(&plain);
    let honest = points_of(&lying);
    lying[16] ^= 0x40;
    assert_eq!(points_of(&lying), honest);
}

fn points_of(stored: &[u8]) -> Vec<corten_tar::SeekPoint> {
    let mut decoder = Decoder::new(Box::new(stored), DecodeLimits::default()).unwrap();
    io::copy(&mut decoder, &mut io::sink()).unwrap();
    decoder.seek_points().to_vec()
}

#[test]
fn other_programs_read_what_is_written() {
    let plain = text(1_500_000);
    for (program, compressed) in [("gzip", gzip(&plain)), ("zstd", zstd(&plain))] {
        let Some(output) = filter(program, &["-d", "-c"], &compressed) else {
            continue;
        };
        assert!(output == plain, "{program}");
    }
}

#[test]
fn what_other_programs_write_is_read() {
    let plain = text(200_000);
    for (program, args) in [
        ("gzip", &["-c"][..]),
        ("zstd", &["-c"]),
        ("zstd", &["-c", "--long=27"]),
        ("xz", &["-c"]),
        ("bzip2", &["-c"]),
    ] {
        let Some(compressed) = filter(program, args, &plain) else {
            continue;
        };
        assert!(decode(&compressed).unwrap() == plain, "{program} {args:?}");
        // Concatenated streams are one stream, for every one of these programs.
        let twice = compressed.repeat(2);
        assert!(
            decode(&twice).unwrap() == plain.repeat(2),
            "{program} {args:?}, twice"
        );
    }
}

/// Runs a program over bytes; `None`, and a line that says so, if it is not there.
fn filter(program: &str, args: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        println!("not run: corten-tar compressed {program}: it is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program} {args:?}");
        Some(output.stdout)
    })
}

#[test]
fn frames_and_padding() {
    #[track_caller]
    fn check(parts: &[&[u8]], expected: Result<&str, &str>) {
        let result = decode(&parts.concat());
        let result = result.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(
            result.map_err(|error| chain(&error)),
            expected.map(Into::into).map_err(Into::into)
        );
    }
    let zeros = vec![0; 300_000];
    let (a, b) = (&gzip(b"a")[..], &gzip(b"b")[..]);
    let cut = "the gzip stream is damaged: it ends inside a member";
    let tail = "the gzip stream is damaged: other bytes than zeros follow the last member";
    let next = "the gzip stream is damaged: what follows a member is not another one";
    check(&[a], Ok("a"));
    check(&[a, b], Ok("ab"));
    check(&[a, b, &zeros], Ok("ab"));
    check(&[a, &[0], b], Err(tail));
    check(&[a, &zeros, b"x"], Err(tail));
    check(&[a, b"x"], Err(next));
    check(&[a, b"\x1f"], Err(cut));
    check(&[&a[..a.len() - 1]], Err(cut));
    check(&[&a[..a.len() - 8]], Err(cut));
    check(&[&a[..a.len() - 9]], Err(cut));
    check(&[&a[..12]], Err(cut));
    let mut crc = a.to_vec();
    crc[a.len() - 8] ^= 1;
    check(
        &[&crc],
        Err("the gzip stream is damaged: a member does not match its checksum"),
    );
    let mut size = a.to_vec();
    size[a.len() - 1] ^= 1;
    check(
        &[&size],
        Err("the gzip stream is damaged: a member does not have the length it says"),
    );
    // All optional fields: extra, name, comment and the header's checksum.
    let deflate = &gzip(b"a")[20..];
    let full = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0xxname\0comment\0cc";
    check(&[full, deflate], Ok("a"));
    check(
        &[b"\x1f\x8b\x08\x20\0\0\0\0\0\x03", deflate],
        Err("the gzip stream is damaged: its header has unknown flags"),
    );

    let (a, b) = (&zstd(b"a")[..], &zstd(b"b")[..]);
    let skippable = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
    check(&[a, b], Ok("ab"));
    check(
        &[skippable, a, skippable, skippable, b, skippable],
        Ok("ab"),
    );
    check(&[skippable], Ok(""));
    assert!(decode(&[a, b"x"].concat()).is_err());
    assert!(decode(&a[..a.len() - 1]).is_err());
    let xz = xz(b"a");
    assert!(decode(&xz[..xz.len() - 1]).is_err());
    let bzip2 = bzip2(b"a");
    assert!(decode(&bzip2[..bzip2.len() - 1]).is_err());
}

#[test]
fn bombs_meet_the_limit() {
    let limits = DecodeLimits {
        expansion_after: 1 << 20,
        expansion: 50,
        ..DecodeLimits::default()
    };
    let zeros = vec![0; 4 << 20];
    for compressed in [gzip(&zeros), zstd(&zeros), xz(&zeros), bzip2(&zeros)] {
        let error = decode_with(&compressed, limits).unwrap_err();
        assert_eq!(chain(&error), "the limit `expansion` of 50 is exceeded");
        assert!(error.is_limit());
    }
    // No gzip stream meets the default one: deflate cannot do it.
    let defaults = DecodeLimits {
        expansion_after: 0,
        ..DecodeLimits::default()
    };
    assert_eq!(
        decode_with(&gzip(&zeros), defaults).unwrap().len(),
        zeros.len()
    );
}

#[test]
fn windows_meet_the_limit() {
    let limits = DecodeLimits {
        window_bytes: 1 << 20,
        ..DecodeLimits::default()
    };
    let plain = text(1000);
    for compressed in [zstd(&plain), xz_with_large_dictionary(&plain)] {
        let error = decode_with(&compressed, limits).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Damaged {
                    source: Some(_),
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(decode(&compressed).is_ok());
    }
}

fn xz_with_large_dictionary(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn errors_of_the_source_are_not_the_streams() {
    struct Failing(usize, Vec<u8>);
    impl Read for Failing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let rest = &self.1[self.0..];
            if rest.is_empty() {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            let len = rest.len().min(buf.len());
            buf[..len].copy_from_slice(&rest[..len]);
            self.0 += len;
            Ok(len)
        }
    }
    let plain = text(100_000);
    for compressed in [
        gzip(&plain),
        zstd(&plain),
        xz(&plain),
        bzip2(&plain),
        plain.clone(),
    ] {
        let half = compressed[..compressed.len() / 2].to_vec();
        let mut decoder =
            Decoder::new(Box::new(Failing(0, half)), DecodeLimits::default()).unwrap();
        let error = io::copy(&mut decoder, &mut io::sink()).unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::ConnectionReset,
            "{:?}",
            decoder.encoding()
        );
    }
}

#[test]
fn interruptions_do_not_show() {
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let one = buf.len().min(1);
            self.0.read(&mut buf[..one])
        }
    }
    let plain = text(1000);
    for compressed in [
        gzip(&plain),
        zstd(&plain),
        xz(&plain),
        bzip2(&plain),
        plain.clone(),
    ] {
        let source = Box::new(Interrupted(&compressed, false));
        let mut decoder = Decoder::new(source, DecodeLimits::default()).unwrap();
        let mut out = Vec::new();
        decoder.read_to_end(&mut out).unwrap();
        assert!(out == plain, "{:?}", decoder.encoding());
    }
}

#[test]
fn levels_that_there_are() {
    #[track_caller]
    fn check(compression: Compression, level: i32, expected: bool) {
        let encoder = Encoder::new(io::sink(), compression, Some(level), 1);
        assert_eq!(encoder.is_ok(), expected, "{compression:?} {level}");
    }
    check(Compression::Gzip, 0, true);
    check(Compression::Gzip, 12, true);
    check(Compression::Gzip, 13, false);
    check(Compression::Gzip, -1, false);
    check(Compression::Zstd, 1, true);
    check(Compression::Zstd, 19, true);
    check(Compression::Zstd, 0, false);
    check(Compression::Zstd, 23, false);
    let empty = zstd(b"");
    let decoder = Decoder::new(Box::new(&empty[..]), DecodeLimits::default()).unwrap();
    assert_eq!(decoder.encoding(), Encoding::Zstd);
}

#[test]
fn a_failing_sink_is_an_error_and_not_a_deadlock() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(buf.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut encoder = Encoder::new(Full(100_000), compression, None, 2).unwrap();
        let result = encoder
            .write_all(&text(4_000_000))
            .and_then(|()| encoder.finish().map(drop));
        assert_eq!(
            result.unwrap_err().kind(),
            io::ErrorKind::StorageFull,
            "{compression:?}"
        );
    }
}

/// The names are in the keys of caches: when the lock file moves, they must.
#[test]
fn the_names_are_those_of_the_locked_compressors() {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    assert!(
        lock.contains("name = \"libdeflate-sys\"\nversion = \"1.26."),
        "{GZIP_NAME}"
    );
    assert!(GZIP_NAME.starts_with("libdeflate-1.26-"));
    assert!(lock.contains("+zstd.1.5.7\""), "{ZSTD_NAME}");
    assert!(ZSTD_NAME.starts_with("zstd-1.5.7-"));
}
