//! Images of other kinds: Docker's, and those for other systems.

use corten_bundle::config::ConfigOptions;
use corten_testing::harness::Test;
use serde_json::json;

use super::{converted, tables};

pub(crate) const TESTS: &[Test] = &[
    ("docker_images", || {
        docker_images();
        Ok(())
    }),
    ("other_systems", || {
        other_systems();
        Ok(())
    }),
];

fn docker_images() {
    let image = json!({
        "id": "x", "container": "y", "docker_version": "20.10", "created": "2020-01-01T00:00:00Z",
        "container_config": {"Cmd": ["/wrong"]},
        "config": {
            "Hostname": "h", "Domainname": "", "AttachStdin": false, "Tty": false, "Image": "z",
            "Cmd": ["/c"], "Entrypoint": null, "OnBuild": null, "User": "app:video",
            "Healthcheck": {"Test": ["CMD", "x"]}, "Shell": ["/bin/sh", "-c"], "ArgsEscaped": true,
            "Memory": 5, "Labels": {"a": "b"}, "Volumes": {"/v": {}}, "WorkingDir": "/w"
        },
    });
    let (config, notes) = converted(tables(), &image, true, ConfigOptions::default()).unwrap();
    assert_eq!(notes, []);
    assert_eq!(config["process"]["args"], json!(["/c"]));
    assert_eq!(config["process"]["user"], json!({"uid": 1000, "gid": 44}));
    assert_eq!(config["process"]["cwd"], "/w");
    assert_eq!(
        config["hostname"], "corten",
        "that of the build's container says nothing"
    );
    let annotations = config["annotations"].as_object().unwrap();
    let keys: Vec<&str> = annotations.keys().map(String::as_str).collect();
    let oci =
        ["architecture", "created", "os"].map(|name| format!("org.opencontainers.image.{name}"));
    assert_eq!(keys, ["a", &oci[0], &oci[1], &oci[2]]);
    assert_eq!(config["mounts"][7]["destination"], "/v");
    // Reserved fields set no limit.
    assert_eq!(
        config["linux"]["resources"],
        json!({"devices": [{"allow": false, "access": "rwm"}]})
    );
}

fn other_systems() {
    let config = json!({"os": "windows", "os.version": "10.0.17763.1", "config": {
        "Cmd": ["cmd", "/c", "echo a b"], "User": "ContainerUser", "Env": ["A=1"],
        "WorkingDir": "C:\\app", "Labels": {"a": "b"}}});
    let (found, _) = converted(tables(), &config, false, ConfigOptions::default()).unwrap();
    assert_eq!(
        found,
        json!({
            "ociVersion": "1.0.2",
            "process": {"user": {"username": "ContainerUser"}, "args": ["cmd", "/c", "echo a b"],
                "env": ["A=1"], "cwd": "C:\\app"},
            "annotations": {"a": "b", "org.opencontainers.image.architecture": "amd64",
                "org.opencontainers.image.os": "windows",
                "org.opencontainers.image.os.version": "10.0.17763.1"},
        })
    );
    let config = json!({"os": "freebsd", "config": {"Cmd": ["/bin/sh"]}});
    let (found, _) = converted(tables(), &config, false, ConfigOptions::default()).unwrap();
    assert_eq!(found["process"], json!({"args": ["/bin/sh"], "cwd": "/"}));
}
