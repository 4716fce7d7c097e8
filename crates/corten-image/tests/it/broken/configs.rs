//! Configs of images.

use corten_spec::Digest;
use serde_json::json;

use super::{Case, also, config, remove, set};

pub(super) fn cases() -> Vec<Case> {
    let other = json!([Digest::sha256(b"other")]);
    vec![
        config("must CFG-02", set("/rootfs/diff_ids", other)),
        config("must CFG-06 /author", set("/author", json!(5))),
        config("must CFG-09 /created", set("/created", json!("yesterday"))),
        config("must CFG-09 /created", set("/created", json!("2020-01-01"))),
        config("must CFG-10 /architecture", remove("/architecture")),
        config(
            "should CFG-10 /architecture",
            set("/architecture", json!("aarch64")),
        ),
        config("must CFG-11 /os", set("/os", json!(null))),
        config("must CFG-12 /os.version", set("/os.version", json!([]))),
        config("must CFG-13 /os.features", set("/os.features", json!({}))),
        config("should CFG-14 /variant", set("/variant", json!("v9"))),
        config("must CFG-15 /config", set("/config", json!([]))),
        config("must CFG-16 /config/User", set("/config/User", json!(0))),
        config(
            "should CFG-16 /config/User",
            set("/config/User", json!("a:b:c")),
        ),
        config(
            "must CFG-17 /config/ExposedPorts",
            set("/config/ExposedPorts", json!(["80"])),
        ),
        config(
            "must CFG-17 /config/ExposedPorts/80",
            set("/config/ExposedPorts", json!({"80": null})),
        ),
        config(
            "should CFG-17 /config/ExposedPorts/1-2~1tcp",
            set("/config/ExposedPorts", json!({"1-2/tcp": {}})),
        ),
        config(
            "must CFG-18 /config/Env/1",
            set("/config/Env", json!(["A=b", "=x"])),
        ),
        config(
            "must CFG-18 /config/Env",
            set("/config/Env", json!({"A": "b"})),
        ),
        config(
            "should CFG-18 /config/Env/0",
            set("/config/Env", json!(["BARE"])),
        ),
        config(
            "must CFG-19 /config/Entrypoint",
            set("/config/Entrypoint", json!("x")),
        ),
        config("must CFG-20 /config/Cmd/0", set("/config/Cmd", json!([1]))),
        config(
            "must CFG-22 /config/Volumes",
            set("/config/Volumes", json!(["/a"])),
        ),
        config(
            "must CFG-23 /config/WorkingDir",
            set("/config/WorkingDir", json!(1)),
        ),
        config(
            "should CFG-23 /config/WorkingDir",
            set("/config/WorkingDir", json!("app")),
        ),
        config(
            "must CFG-24 /config/Labels",
            set("/config/Labels", json!(["a=b"])),
        ),
        config(
            "should CFG-25 /config/StopSignal",
            set("/config/StopSignal", json!("SIGNOPE")),
        ),
        config(
            "note CFG-26 /config/ArgsEscaped",
            set("/config/ArgsEscaped", json!(true)),
        ),
        config(
            "must CFG-26 /config/ArgsEscaped",
            set("/config/ArgsEscaped", json!("yes")),
        ),
        also(
            &["CFG-33"],
            config("must CFG-30 /rootfs", remove("/rootfs")),
        ),
        config(
            "must CFG-31 /rootfs/type",
            set("/rootfs/type", json!("squash")),
        ),
        also(
            &["CFG-33"],
            config("must CFG-32 /rootfs/diff_ids", remove("/rootfs/diff_ids")),
        ),
        config("must CFG-33 /layers", set("/rootfs/diff_ids", json!([]))),
        config("must CFG-34 /history", set("/history", json!({}))),
        config(
            "must CFG-35 /history/0/created_by",
            set("/history", json!([{"created_by": 5}])),
        ),
        config("should CFG-36 /history", set("/history", json!([{}, {}]))),
        config(
            "must DKR-13 /config/Healthcheck",
            set("/config/Healthcheck", json!("x")),
        ),
        config(
            "must DKR-13 /config/Healthcheck/Interval",
            set(
                "/config/Healthcheck",
                json!({"Test": ["NONE"], "Interval": "1s"}),
            ),
        ),
        config(
            "should DKR-13 /config/Healthcheck/Test",
            set("/config/Healthcheck", json!({"Test": ["true"]})),
        ),
        config(
            "must DKR-14 /config/OnBuild",
            set("/config/OnBuild", json!("RUN x")),
        ),
        config(
            "must DKR-14 /config/Shell/0",
            set("/config/Shell", json!([null])),
        ),
    ]
}
