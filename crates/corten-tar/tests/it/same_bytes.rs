//! Compressed bytes depend on the input and the level alone: not on threads, not on the processor.

use std::io::Write;
use std::process::Command;

use corten_tar::{Compression, DecodeLimits, Decoder, Encoder};
use proptest::prelude::*;

fn encode(bytes: &[u8], compression: Compression, level: i32, threads: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new(), compression, Some(level), threads).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes with matches near and far, and parts that do not compress.
fn mixed(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(len + 4096);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let wanted = usize::from(state.to_le_bytes()[1]) * 8 + 1;
        let [kind, far, ..] = state.to_le_bytes();
        if kind % 3 == 0 || out.len() < 70_000 {
            out.extend(state.to_be_bytes());
            out.extend_from_slice(b" the same words come again\n");
        } else {
            let start = out.len() - wanted - usize::from(far) * 200 % 60_000;
            out.extend_from_within(start..start + wanted);
        }
    }
    out.truncate(len);
    out
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn threads_do_not_show(
        len in 1_000_000..9_500_000_usize,
        seed in any::<u64>(),
        gzip in 0..=9,
        zstd in 1..=6,
    ) {
        let plain = mixed(len, seed);
        for (compression, level) in [(Compression::Gzip, gzip), (Compression::Zstd, zstd)] {
            let expected = encode(&plain, compression, level, 1);
            for threads in 2..=8 {
                let found = encode(&plain, compression, level, threads);
                prop_assert!(expected == found, "{compression:?}:{level}, {threads} threads");
            }
        }
    }
}

/// What a run of [`digests_on_this_processor`] prints.
const PREFIX: &str = "digest: ";

/// Run by itself on emulated processors, for what it prints.
#[test]
fn digests_on_this_processor() {
    for line in digests() {
        println!("{PREFIX}{line}");
    }
}

fn digests() -> Vec<String> {
    let plain = mixed(1_100_000, 7);
    let levels = [
        (Compression::Gzip, 1),
        (Compression::Gzip, 6),
        (Compression::Zstd, 3),
        (Compression::Zstd, 9),
    ];
    let digest = |(compression, level)| {
        let stored = encode(&plain, compression, level, 2);
        let mut decoder = Decoder::new(Box::new(&stored[..]), DecodeLimits::default()).unwrap();
        let mut read = Vec::new();
        std::io::Read::read_to_end(&mut decoder, &mut read).unwrap();
        assert!(read == plain, "{compression:?}:{level} is not read back");
        // FNV-1a: enough to tell bytes apart that nobody chose.
        let hash = stored.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{compression:?}:{level} {} {hash:016x}", stored.len())
    };
    levels.map(digest).to_vec()
}

/// Compressors choose their code by what the processor can do: from none of the extensions of the last
/// twenty years to all that the emulator knows.
#[test]
fn processors_do_not_show() {
    let models: &[&str] = match std::env::consts::ARCH {
        "x86_64" => &["qemu64", "Haswell", "max"],
        "aarch64" => &["cortex-a53", "neoverse-n1", "max"],
        other => {
            println!("not run: corten-tar same_bytes: nothing is known of processors of {other}");
            return;
        }
    };
    let emulator = format!("qemu-{}", std::env::consts::ARCH);
    let expected = digests();
    for model in models {
        let ran = Command::new(&emulator)
            .args(["-cpu", model])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "same_bytes::digests_on_this_processor"])
            .args(["--nocapture", "--test-threads", "1"])
            .env_remove("RUST_TEST_THREADS")
            .output();
        let Ok(ran) = ran else {
            println!("not run: corten-tar same_bytes: {emulator} is not installed");
            return;
        };
        let stdout = String::from_utf8_lossy(&ran.stdout);
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{model}: {stdout}{stderr}");
        // The first one may follow the name of the test on its line.
        let found: Vec<&str> = stdout
            .lines()
            .filter_map(|line| Some(line.split_once(PREFIX)?.1))
            .collect();
        assert_eq!(found, expected, "{model}");
    }
}
