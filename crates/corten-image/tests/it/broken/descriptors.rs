//! Descriptors, and the platforms in them.

use corten_spec::{Digest, media_type};
use serde_json::json;

use super::{Case, also, index, manifest, remove, set};

pub(super) fn cases() -> Vec<Case> {
    let long = format!("sha256:{}", "a".repeat(65));
    vec![
        manifest("must DSC-01 /config", set("/config", json!({}))),
        manifest(
            "must DSC-02 /layers/0/mediaType",
            set("/layers/0/mediaType", json!("x")),
        ),
        manifest(
            "must DSC-02 /layers/0/mediaType",
            set("/layers/0/mediaType", json!(null)),
        ),
        manifest("must DSC-05", set("/layers/0/size", json!(7))),
        manifest(
            "must DSC-05 /layers/0/size",
            set("/layers/0/size", json!("12")),
        ),
        manifest(
            "must DSC-05 /layers/0/size",
            set("/layers/0/size", json!(1_u64 << 63)),
        ),
        index(
            "must DSC-06 /manifests/0/size",
            set("/manifests/0/size", json!(-1)),
        ),
        manifest(
            "must DSC-07 /layers/0/urls/0",
            set("/layers/0/urls", json!(["a b"])),
        ),
        manifest(
            "should DSC-08 /layers/0/urls/0",
            set("/layers/0/urls", json!(["ftp://x/y"])),
        ),
        manifest(
            "must DSC-09 /config/annotations",
            set("/config/annotations", json!([])),
        ),
        index(
            "must DSC-10 /manifests/0/data",
            set("/manifests/0/data", json!("e30")),
        ),
        manifest(
            "must DSC-11 /layers/0/data",
            set("/layers/0/data", json!("e30=")),
        ),
        index(
            "must DSC-12 /manifests/0/artifactType",
            set("/manifests/0/artifactType", json!("x")),
        ),
        index(
            "should DSC-12 /manifests/0/artifactType",
            set("/manifests/0/artifactType", json!("x/y")),
        ),
        index("note DSC-13 /manifests/0", remove("/manifests/0/platform")),
        manifest(
            "must DSC-14 /layers/0/digest",
            set("/layers/0/digest", json!("sha256")),
        ),
        manifest(
            "must DSC-14 /layers/0/digest",
            set("/layers/0/digest", json!("sha256+foo+-b:x")),
        ),
        manifest("should DSC-15", set("/layers/0/digest", json!("foo+bar:x"))),
        also(
            &["LAY-13"],
            manifest(
                "must LAY-13",
                set("/layers/0/digest", json!(Digest::sha256(b"gone"))),
            ),
        ),
        manifest(
            "must DSC-21 /layers/0/digest",
            set("/layers/0/digest", json!(long)),
        ),
        manifest(
            "must DSC-21 /layers/0/digest",
            set(
                "/layers/0/digest",
                json!(format!("sha256:{}", "A".repeat(64))),
            ),
        ),
        manifest(
            "must DSC-21 /layers/0/digest",
            set(
                "/layers/0/digest",
                json!(format!("sha512:{}", "a".repeat(64))),
            ),
        ),
        index(
            "must IDX-09 /manifests/0/platform/architecture",
            remove("/manifests/0/platform/architecture"),
        ),
        index(
            "must IDX-09 /manifests/0/platform",
            set("/manifests/0/platform", json!(null)),
        ),
        index(
            "should IDX-09 /manifests/0/platform/architecture",
            set("/manifests/0/platform/architecture", json!("x86_64")),
        ),
        index(
            "must IDX-10 /manifests/0/platform/os",
            remove("/manifests/0/platform/os"),
        ),
        index(
            "should IDX-10 /manifests/0/platform/os",
            set("/manifests/0/platform/os", json!("Linux")),
        ),
        index(
            "must IDX-11 /manifests/0/platform/os.version",
            set("/manifests/0/platform/os.version", json!(1)),
        ),
        index(
            "must IDX-12 /manifests/0/platform/os.features",
            set("/manifests/0/platform/os.features", json!("x")),
        ),
        index(
            "should IDX-12 /manifests/0/platform/os.features/0",
            set(
                "/manifests/0/platform",
                json!({"os":"windows","architecture":"amd64","os.features":["x"]}),
            ),
        ),
        index(
            "should IDX-13 /manifests/0/platform/variant",
            set("/manifests/0/platform/variant", json!("3")),
        ),
        index(
            "must IDX-13 /manifests/0/platform/variant",
            set("/manifests/0/platform/variant", json!(3)),
        ),
        manifest(
            "should MAN-22 /layers/0/digest",
            set("/layers/0/mediaType", json!(media_type::OCI_EMPTY)),
        ),
    ]
}
