//! Instructions about the config alone, and the history.

use serde_json::{Value, json};

use crate::site::{Site, lines};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds on an image with a full config and compares the `config` of the result.
#[track_caller]
fn check(instructions: &str, changed: &[(&str, Value)]) {
    let mut site = Site::new("");
    site.image("full", &["file 644 f F"], |config| {
        let full = serde_json::from_value(full()).unwrap();
        config.config = full;
    });
    let built = site.build(&format!("FROM full\n{}", lines(instructions)));
    let mut expected = full();
    for (name, value) in changed {
        if value.is_null() {
            expected.as_object_mut().unwrap().remove(*name);
        } else {
            expected[name] = value.clone();
        }
    }
    assert_eq!(site.config(&built)["config"], expected, "{instructions}");
}

fn full() -> Value {
    json!({
        "Env": ["PATH=/bin", "A=1", "B=2"],
        "Cmd": ["base-cmd"],
        "Entrypoint": ["base-entry"],
        "ExposedPorts": {"80/tcp": {}},
        "Labels": {"base": "yes"},
        "User": "7:8",
        "Volumes": {"/base": {}},
        "WorkingDir": "/base",
        "StopSignal": "SIGHUP",
    })
}

#[test]
fn environment_and_labels() {
    check(
        "ENV A=x B=$A C=\"$A y\"",
        &[("Env", json!(["PATH=/bin", "A=x", "B=1", "C=1 y"]))],
    );
    check(
        "ENV D some words",
        &[("Env", json!(["PATH=/bin", "A=1", "B=2", "D=some words"]))],
    );
    check(
        "ENV PATH=/x:$PATH",
        &[("Env", json!(["PATH=/x:/bin", "A=1", "B=2"]))],
    );
    check(
        "ARG Z=arg\nLABEL l=$Z base=no",
        &[("Labels", json!({"base": "no", "l": "arg"}))],
    );
}

#[test]
fn commands() {
    check(
        "CMD [\"a\", \"b\"]",
        &[("Cmd", json!(["a", "b"])), ("ArgsEscaped", json!(true))],
    );
    check(
        "CMD a $b",
        &[
            ("Cmd", json!(["/bin/sh", "-c", "a $b"])),
            ("ArgsEscaped", json!(true)),
        ],
    );
    check(
        "CMD []",
        &[("Cmd", Value::Null), ("ArgsEscaped", json!(true))],
    );
    // An entry point removes the command of the base, and not one of this file.
    check(
        "ENTRYPOINT [\"e\"]",
        &[("Entrypoint", json!(["e"])), ("Cmd", Value::Null)],
    );
    check(
        "CMD [\"a\"]\nENTRYPOINT [\"e\"]",
        &[
            ("Entrypoint", json!(["e"])),
            ("Cmd", json!(["a"])),
            ("ArgsEscaped", json!(true)),
        ],
    );
    check(
        "ENTRYPOINT [\"e\"]\nCMD [\"a\"]",
        &[
            ("Entrypoint", json!(["e"])),
            ("Cmd", json!(["a"])),
            ("ArgsEscaped", json!(true)),
        ],
    );
    check(
        "ENTRYPOINT []",
        &[("Entrypoint", Value::Null), ("Cmd", Value::Null)],
    );
    check(
        "SHELL [\"/bin/bash\", \"-ec\"]\nCMD x",
        &[
            ("Shell", json!(["/bin/bash", "-ec"])),
            ("Cmd", json!(["/bin/bash", "-ec", "x"])),
            ("ArgsEscaped", json!(true)),
        ],
    );
    check(
        "SHELL [\"/bin/bash\"]\nENTRYPOINT x",
        &[
            ("Shell", json!(["/bin/bash"])),
            ("Entrypoint", json!(["/bin/bash", "x"])),
            ("Cmd", Value::Null),
        ],
    );
}

#[test]
fn the_rest() {
    check(
        "EXPOSE 8000-8002 53/udp 80",
        &[(
            "ExposedPorts",
            json!({"80/tcp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}, "53/udp": {}}),
        )],
    );
    check(
        "VOLUME /a /b\nVOLUME [\"/c d\"]",
        &[(
            "Volumes",
            json!({"/a": {}, "/b": {}, "/base": {}, "/c d": {}}),
        )],
    );
    // Any name is taken as it is written.
    check(
        "USER nobody-knows:him",
        &[("User", json!("nobody-knows:him"))],
    );
    check("STOPSIGNAL SIGKILL", &[("StopSignal", json!("SIGKILL"))]);
    check("WORKDIR sub", &[("WorkingDir", json!("/base/sub"))]);
    check(
        "HEALTHCHECK --interval=1m --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD x y",
        &[(
            "Healthcheck",
            json!({
                "Test": ["CMD-SHELL", "x y"],
                "Interval": 60_000_000_000_i64,
                "Timeout": 2_000_000_000_i64,
                "StartPeriod": 3_000_000_000_i64,
                "StartInterval": 4_000_000_000_i64,
                "Retries": 5,
            }),
        )],
    );
    check(
        "HEALTHCHECK NONE",
        &[("Healthcheck", json!({"Test": ["NONE"]}))],
    );
    check("ONBUILD LABEL a=b", &[("OnBuild", json!(["LABEL a=b"]))]);
}

#[test]
fn the_documents() {
    let mut site = Site::new("file 644 f F").clamp(1_500_000_000);
    site.request
        .labels
        .insert("given".to_owned(), "by the user".to_owned());
    let built = site.build(
        "
        FROM scratch
        MAINTAINER someone
        ENV A=b
        COPY f /
        LABEL a=b
        ",
    );
    let layers = site.layers(&built);
    let mut config = site.config(&built);
    assert_eq!(config["rootfs"]["diff_ids"], json!([layers[0].diff_id]));
    config["rootfs"] = Value::Null;
    let time = "2017-07-14T02:40:00Z";
    let entry = |text: &str| json!({"created": time, "created_by": text, "comment": "corten", "empty_layer": true});
    let copy = json!({"created": time, "created_by": "COPY f / # buildkit", "comment": "corten"});
    let expected = json!({
        "architecture": "amd64",
        "os": "linux",
        "author": "someone",
        "created": time,
        "config": {"Env": [PATH, "A=b"], "WorkingDir": "/", "Labels": {"a": "b", "given": "by the user"}},
        "history": [entry("MAINTAINER someone"), entry("ENV A=b"), copy, entry("LABEL a=b")],
        "rootfs": null,
    });
    assert_eq!(config, expected);
    let manifest = site.document(&built.manifest.digest);
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(manifest["layers"], json!([layers[0].blob]));
    assert_eq!(built.manifest.platform.unwrap().architecture, "amd64");
}

#[test]
fn history_goes_on_after_that_of_the_base() {
    let mut site = Site::new("file 644 f F");
    site.image("old", &["file 644 a A"], |config| {
        config.created = Some("2001-01-01T00:00:00Z".to_owned());
        config.history = serde_json::from_value(json!([
            {"created": "2001-01-01T00:00:00Z", "created_by": "base"},
        ]))
        .unwrap();
        config.extra.insert("unknown".to_owned(), json!("kept"));
    });
    let built = site.build("FROM old AS a\nENV X=1\nFROM a\nCOPY f /\n");
    let config = site.config(&built);
    let shown: Vec<_> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["created_by"].as_str().unwrap(),
                entry["empty_layer"].as_bool().unwrap_or(false),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("base", false),
            ("ENV X=1", true),
            ("COPY f / # buildkit", false)
        ]
    );
    assert_eq!(config["history"][0]["created"], "2001-01-01T00:00:00Z");
    let now = config["created"].as_str().unwrap();
    assert!(
        now.starts_with("20") && now > "2020" && now.ends_with('Z'),
        "{now}"
    );
    assert_eq!(config["history"][2]["created"], now);
    assert_eq!(config["unknown"], "kept");
}
