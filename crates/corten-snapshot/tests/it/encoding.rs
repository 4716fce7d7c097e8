//! Layers whose types do not say what they are.

use std::io::Write;

use corten_content::{IngestPlan, Sink};
use corten_snapshot::encoding::misnamed;
use corten_snapshot::{LayerRef, Snapshots};
use corten_spec::media_type::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use corten_spec::{Descriptor, DiffId, Digest};
use corten_tar::{Compression, Encoder};

use crate::{Place, content, tar};

/// Stores `blob` as a layer of `media_type` with the tar `plain`.
fn store(place: &Place, media_type: &str, blob: &[u8], plain: &[u8]) -> LayerRef {
    let named = Descriptor::of(media_type, blob);
    let plan = IngestPlan::of(&named).unwrap();
    let mut ingest = place.store.ingest(&plan).unwrap();
    ingest.write_all(blob).unwrap();
    ingest.commit(Some(&named)).unwrap();
    LayerRef {
        blob: named,
        diff_id: DiffId(Digest::sha256(plain)),
    }
}

#[test]
fn the_bytes_decide_and_the_difference_is_told() {
    #[track_caller]
    fn check(media_type: &str, compression: Compression, expected: Option<&str>) {
        let place = Place::new();
        let plain = tar(&[("etc/motd", "hello")]);
        let mut encoder = Encoder::new(Vec::new(), compression, None, 1).unwrap();
        encoder.write_all(&plain).unwrap();
        let blob = encoder.finish().unwrap();
        let layers = [store(&place, media_type, &blob, &plain)];
        let found = content(&Snapshots::new(&place.store), &layers, "etc/motd");
        assert_eq!(found.as_deref(), Some("hello"), "{media_type}");
        let told = misnamed(&place.store, &layers).unwrap();
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        let expected = expected.map(|found| {
            format!(
                "layer 1 is of the type `{media_type}`, but its bytes are {found}; it was read as what it is"
            )
        });
        assert_eq!(told, Vec::from_iter(expected));
    }
    check(OCI_LAYER, Compression::None, None);
    check(OCI_LAYER_GZIP, Compression::Gzip, None);
    check(OCI_LAYER_ZSTD, Compression::Zstd, None);
    check(OCI_LAYER_GZIP, Compression::None, Some("uncompressed"));
    check(OCI_LAYER, Compression::Gzip, Some("gzip"));
    check(OCI_LAYER_GZIP, Compression::Zstd, Some("zstd"));
    check(OCI_LAYER_ZSTD, Compression::Gzip, Some("gzip"));
}

#[test]
fn what_no_layer_is_compressed_with_is_refused() {
    let place = Place::new();
    let plain = tar(&[("a", "b")]);
    let layer = store(&place, OCI_LAYER_GZIP, b"\xfd7zXZ\0\0\0\0\0\0\0", &plain);
    let error = Snapshots::new(&place.store).tar(&layer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the layer is compressed with xz, which no layer may be: known are plain tars, gzip and zstd"
    );
}
