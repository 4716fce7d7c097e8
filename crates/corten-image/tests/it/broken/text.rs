//! JSON itself, before it means anything.

use serde_json::json;

use super::{Case, bytes, manifest, set};

pub(super) fn cases() -> Vec<Case> {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    vec![
        bytes("must CNS-04", b"{"),
        bytes("must CNS-04", br#"{"a":"\ud800"}"#),
        manifest(
            "must CNS-04 /annotations/a.b",
            set("/annotations", json!({"a.b": "\u{fffe}"})),
        ),
        bytes("must CNS-05", b"\xef\xbb\xbf{}"),
        bytes("must CNS-05", b"{\"\xe4\":1}"),
        manifest("should CNS-06 /new", set("/new", json!((1_u64 << 53) + 1))),
        bytes("must CNS-07", br#"{"schemaVersion":2,"a":{"b":1,"b":1}}"#),
        bytes("must CNS-09", format!(r#"{{"a":{deep}}}"#).as_bytes()),
        bytes("must CNS-09", &vec![b' '; 5 << 20]),
    ]
}
