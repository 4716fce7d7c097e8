//! Large blobs over several connections.

use std::io::Read as _;

use corten_content::Source;
use corten_registry::{Chunks, Settings};
use corten_spec::Descriptor;

use crate::fake::{Fake, Quirks};
use crate::push::noise;
use crate::{chain, repository_with, settings};

const LEN: usize = 1_000_003;

fn divided() -> Settings {
    Settings {
        chunks: Chunks {
            connections: 4,
            from: 300_000,
            length: 100_000,
        },
        ..settings()
    }
}

fn ranges(fake: &Fake) -> Vec<String> {
    let log = fake.log();
    let ranges = log.iter().filter_map(|request| request.header("range"));
    let mut ranges: Vec<String> = ranges.map(str::to_owned).collect();
    ranges.sort();
    ranges
}

#[test]
fn what_is_divided_arrives_whole_and_in_order() {
    #[track_caller]
    fn check(quirks: &Quirks, offset: u64, n_ranges: usize) {
        let fake = Fake::start(quirks.clone());
        let bytes = noise(LEN);
        fake.put_blob("acme/app", &bytes);
        let content = Descriptor::of("a/b", &bytes);
        let source = repository_with(divided(), &fake.host, "acme/app");
        let mut read = Vec::new();
        source
            .fetch(&content, offset)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert!(
            read == bytes[usize::try_from(offset).unwrap()..],
            "{quirks:?} {offset}"
        );
        assert_eq!(ranges(&fake).len(), n_ranges, "{:?}", ranges(&fake));
    }
    let right = Quirks::default();
    check(&right, 0, 11);
    check(&right, 400_000, 7);
    // Too little is left to divide it.
    check(&right, 800_000, 1);
    let no_ranges = Quirks {
        no_ranges: true,
        ..Quirks::default()
    };
    check(&no_ranges, 0, 1);
    let drops = Quirks {
        n_drops: 5,
        ..Quirks::default()
    };
    check(&drops, 0, 16);
}

#[test]
fn a_blob_that_is_shorter_than_it_is_said_to_be_ends_where_it_ends() {
    let fake = Fake::start(Quirks::default());
    let bytes = noise(LEN);
    let digest = fake.put_blob("acme/app", &bytes);
    let content = Descriptor::new("a/b", digest, LEN as u64 + 350_000);
    let source = repository_with(divided(), &fake.host, "acme/app");
    let error = corten_content::read(&source, &content, 1 << 30).unwrap_err();
    assert!(error.is_corrupt(), "{}", chain(&error));
}

#[test]
fn who_stops_reading_leaves_the_helpers_for_others() {
    let fake = Fake::start(Quirks::default());
    let bytes = noise(LEN);
    fake.put_blob("acme/app", &bytes);
    let content = Descriptor::of("a/b", &bytes);
    let source = repository_with(divided(), &fake.host, "acme/app");
    // More readers than there are helpers, at once and one after the other.
    let readers: Vec<_> = (0..6).map(|_| source.fetch(&content, 0).unwrap()).collect();
    drop(readers);
    for _ in 0..6 {
        let read = corten_content::read(&source, &content, 1 << 30).unwrap();
        assert!(read == bytes);
    }
}

#[test]
fn an_error_in_a_part_is_an_error_of_the_whole() {
    let fake = Fake::start(Quirks {
        wrong_bytes: true,
        ..Quirks::default()
    });
    let bytes = noise(LEN);
    fake.put_blob("acme/app", &bytes);
    let content = Descriptor::of("a/b", &bytes);
    let source = repository_with(divided(), &fake.host, "acme/app");
    let error = corten_content::read(&source, &content, 1 << 30).unwrap_err();
    assert!(error.is_corrupt(), "{}", chain(&error));
}
