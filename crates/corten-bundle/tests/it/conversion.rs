//! One case or more for each row of conversion.md (CNV-01 to CNV-34): an image config and users'
//! tables in, what `config.json` says out. Each result is checked against the runtime specification's
//! schema.

pub(crate) mod kinds;
pub(crate) mod users;

use corten_bundle::config::{ConfigOptions, Ids, Network, RootAccess, Volumes};
use corten_bundle::ids::IdMaps;
use corten_bundle::process::{DEFAULT_PATH, Terminal};
use corten_bundle::unpack::config_json;
use corten_bundle::{Note, UnpackOptions};
use corten_content::{ImageDocuments, load_image};
use corten_layer::directory::{Devices, Owners};
use corten_snapshot::Snapshots;
use corten_spec::{Manifest, Platform, document, media_type};
use corten_testing::harness::Test;
use serde_json::{Value, json};

use crate::schema;
use crate::world::{Item, World, directory, file, put, words};

pub(crate) const TESTS: &[Test] = &[
    ("every_row", || {
        every_row();
        Ok(())
    }),
    ("manifests_say_nothing", || {
        manifests_say_nothing();
        Ok(())
    }),
    ("options", || {
        options();
        Ok(())
    }),
    ("what_the_schema_refuses", || {
        what_the_schema_refuses();
        Ok(())
    }),
];

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    app:x:1000:100:App:/home/app:/bin/sh\n\
    app:x:2000:200::/second:/bin/sh\n\
    web1:x:33:33::/var/www:/bin/sh\n\
    77:x:500:500::/digits:/bin/sh\n\
    none:x:4294967295:0::/:\n";
const GROUP: &[u8] =
    b"root:x:0:\nusers:x:100:app\nvideo:x:44:web1,app\naudio:x:29:app\naudio2:x:29:app\n";

fn tables() -> Vec<Item> {
    vec![
        directory("etc"),
        file("etc/passwd", PASSWD),
        file("etc/group", GROUP),
    ]
}

fn unpack_options(config: ConfigOptions) -> UnpackOptions {
    UnpackOptions {
        owners: Owners::Leave,
        devices: Devices::Skip,
        user: None,
        config,
    }
}

/// Stores an image whose config is `image`, `architecture`, `os` and `rootfs` aside.
fn stored(world: &World, layer: Vec<Item>, image: &Value, docker: bool) -> ImageDocuments {
    let base = world.image(&[layer], |_| {});
    let mut config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": base.config.value.rootfs.diff_ids},
    });
    for (key, value) in image.as_object().unwrap() {
        config[key] = value.clone();
    }
    let (config_type, manifest_type) = if docker {
        (media_type::DOCKER_CONFIG, media_type::DOCKER_MANIFEST)
    } else {
        (media_type::OCI_CONFIG, media_type::OCI_MANIFEST)
    };
    let mut layers = base.manifest.value.layers;
    if docker {
        media_type::DOCKER_LAYER_GZIP.clone_into(&mut layers[0].media_type);
    }
    let config = put(&world.store, config_type, config.to_string().as_bytes());
    let mut manifest = Manifest::oci(config, layers);
    manifest.media_type = Some(manifest_type.to_owned());
    if !docker {
        let annotation = ("org.opencontainers.image.authors", "of the manifest");
        let annotation = (annotation.0.to_owned(), annotation.1.to_owned());
        manifest.annotations = [annotation].into_iter().collect();
    }
    let manifest = put(&world.store, manifest_type, &document::to_bytes(&manifest));
    let platform = Platform::new("linux", "amd64");
    load_image(&world.store, &manifest, &platform).unwrap()
}

fn converted(
    layer: Vec<Item>,
    image: &Value,
    docker: bool,
    options: ConfigOptions,
) -> Result<(Value, Vec<Note>), String> {
    let world = World::new();
    let image = stored(&world, layer, image, docker);
    let options = unpack_options(options);
    let (json, notes) = config_json(&Snapshots::new(&world.store), &image, &options)
        .map_err(|error| crate::unpacking::chain(&error))?;
    let config: Value = serde_json::from_slice(&json).unwrap();
    schema::check(&config);
    Ok((config, notes))
}

#[derive(Debug)]
enum Expected {
    /// The pointer leads to this.
    Is(&'static str, Value),
    /// The pointer leads nowhere.
    Lacks(&'static str),
    /// No config comes of it; the message says this.
    Fails(&'static str),
}
use Expected::{Fails, Is, Lacks};

#[expect(
    clippy::needless_pass_by_value,
    reason = "a table reads better without a reference in each of its lines"
)]
#[track_caller]
fn check(row: &str, image: Value, expected: Expected) {
    let found = converted(tables(), &image, false, ConfigOptions::default());
    match (&expected, &found) {
        (Is(pointer, value), Ok((config, _))) => {
            assert_eq!(config.pointer(pointer), Some(value), "{row}: {image}");
        }
        (Lacks(pointer), Ok((config, _))) => {
            assert_eq!(config.pointer(pointer), None, "{row}: {image}");
        }
        (Fails(part), Err(error)) => assert!(error.contains(part), "{row}: {error}"),
        _ => panic!("{row}: expected {expected:?}, found {found:?}"),
    }
}

/// An image with a command and this in its config.
fn run(config: &Value) -> Value {
    let mut config = config.clone();
    if config["Cmd"].is_null() && config["Entrypoint"].is_null() {
        config["Cmd"] = json!(["/c"]);
    }
    json!({"config": config})
}

/// An image with a command and this beside its config.
fn beside(image: &Value) -> Value {
    let mut image = image.clone();
    image["config"]["Cmd"] = json!(["/c"]);
    image
}

fn every_row() {
    let plain = || run(&json!({}));
    // Defaults of our own (CNV-04) and what a runtime needs (CNV-34).
    check("CNV-01", plain(), Is("/ociVersion", json!("1.0.2")));
    check("CNV-04", plain(), Is("/hostname", json!("corten")));
    check("CNV-04", plain(), Is("/process/terminal", json!(false)));
    check(
        "CNV-04",
        plain(),
        Is("/process/noNewPrivileges", json!(true)),
    );
    check(
        "CNV-04",
        plain(),
        Is("/mounts/0/destination", json!("/proc")),
    );
    check("CNV-34", plain(), Is("/root/path", json!("rootfs")));
    check(
        "CNV-34",
        plain(),
        Is("/process/user", json!({"uid": 0, "gid": 0})),
    );
    let null = json!({"config": {"Cmd": ["/c"], "Env": null, "Volumes": null, "Labels": null,
        "Entrypoint": null, "ExposedPorts": null, "User": null, "WorkingDir": null}});
    check("CNV-01", null, Is("/process/args", json!(["/c"])));

    // The environment.
    let path = format!("PATH={DEFAULT_PATH}");
    let env = |env: Value| run(&json!({"Env": env}));
    check(
        "CNV-07",
        plain(),
        Is("/process/env", json!([path, "HOME=/root"])),
    );
    let own = json!(["TERM=y", "PATH=/x", "HOME="]);
    check("CNV-03", env(own.clone()), Is("/process/env", own));
    let twice = json!(["Z=2", "A=1", "Z=3", "PATH=", "E=", "Q=a=b", "N=a\nb"]);
    let mut found = twice.clone();
    found.as_array_mut().unwrap().push(json!("HOME=/root"));
    check("CNV-06", env(twice), Is("/process/env", found));

    // The working directory.
    for (given, expected) in [
        ("/app", "/app"),
        ("", "/"),
        ("app", "/app"),
        ("/app/", "/app/"),
        ("/a//./b", "/a//./b"),
    ] {
        let image = run(&json!({"WorkingDir": given}));
        check("CNV-05", image, Is("/process/cwd", json!(expected)));
    }

    // The command.
    let args = |expected: Value| Is("/process/args", expected);
    check(
        "CNV-08",
        run(&json!({"Entrypoint": ["/e", "1"]})),
        args(json!(["/e", "1"])),
    );
    check(
        "CNV-09",
        run(&json!({"Cmd": ["/c", "a b"]})),
        args(json!(["/c", "a b"])),
    );
    let both = run(&json!({"Entrypoint": ["/e"], "Cmd": ["c", ""]}));
    check("CNV-10", both, args(json!(["/e", "c", ""])));
    let empty = run(&json!({"Entrypoint": [], "Cmd": ["/c"]}));
    check("CNV-10", empty, args(json!(["/c"])));
    check("CNV-10", json!({"config": {}}), Fails("names no command"));
    check("CNV-10", json!({}), Fails("names no command"));
    check(
        "CNV-10",
        json!({"config": {"Cmd": [""]}}),
        Fails("names no command"),
    );
    // It is for Windows alone (CFG-26).
    let escaped = run(&json!({"Cmd": ["/c", "a b"], "ArgsEscaped": true}));
    check("CNV-09", escaped, args(json!(["/c", "a b"])));

    // Annotations.
    let oci = "/annotations/org.opencontainers.image.";
    let annotation = |name: &str, value: &str| {
        let pointer: &'static str = format!("{oci}{name}").leak();
        Is(pointer, json!(value))
    };
    check("CNV-11", plain(), annotation("os", "linux"));
    check("CNV-12", plain(), annotation("architecture", "amd64"));
    for (row, field, name, value, expected) in [
        ("CNV-13", "variant", "variant", json!("v8"), "v8"),
        (
            "CNV-14",
            "os.version",
            "os.version",
            json!("10.0.1"),
            "10.0.1",
        ),
        (
            "CNV-15",
            "os.features",
            "os.features",
            json!(["a", "b"]),
            "a,b",
        ),
        (
            "CNV-16",
            "author",
            "author",
            json!("Me <me@x>"),
            "Me <me@x>",
        ),
        (
            "CNV-17",
            "created",
            "created",
            json!("2020-01-01T00:00:00.123456789+02:00"),
            "2020-01-01T00:00:00.123456789+02:00",
        ),
    ] {
        check(
            row,
            beside(&json!({field: value})),
            annotation(name, expected),
        );
        let absent: &'static str = format!("{oci}{name}").leak();
        check(row, plain(), Lacks(absent));
    }
    check(
        "CNV-16",
        beside(&json!({"author": "x"})),
        Lacks("/annotations/org.opencontainers.image.authors"),
    );
    let stop = run(&json!({"StopSignal": "SIGRTMIN+3"}));
    check("CNV-18", stop, annotation("stopSignal", "SIGRTMIN+3"));
    check(
        "CNV-18",
        run(&json!({"StopSignal": "15"})),
        annotation("stopSignal", "15"),
    );
    let labels = run(&json!({"Labels": {"a b": " v\n", "": "lost", "x": ""}}));
    check(
        "CNV-19",
        labels.clone(),
        Is("/annotations/a b", json!(" v\n")),
    );
    check("CNV-19", labels.clone(), Is("/annotations/x", json!("")));
    check("CNV-19", labels.clone(), Lacks("/annotations/"));
    let (_, notes) = converted(tables(), &labels, false, ConfigOptions::default()).unwrap();
    assert_eq!(notes, [Note::EmptyLabel]);
    for name in [
        "os",
        "architecture",
        "exposedPorts",
        "stopSignal",
        "created",
    ] {
        let mut image = run(&json!({"ExposedPorts": {"80": {}}, "StopSignal": "INT"}));
        image["created"] = json!("2020-01-01T00:00:00Z");
        image["config"]["Labels"][format!("org.opencontainers.image.{name}")] = json!("mine");
        check("CNV-20", image, annotation(name, "mine"));
    }
    let ports = run(&json!({"ExposedPorts": {"80/tcp": {}, "53": {}, "443/udp": {}}}));
    check(
        "CNV-28",
        ports,
        annotation("exposedPorts", "443/udp,53,80/tcp"),
    );
    check(
        "CNV-32",
        plain(),
        Lacks("/annotations/org.opencontainers.image.authors"),
    );
    let kept = run(&json!({"Labels": {"org.opencontainers.image.created": "not a time"}}));
    check("CNV-33", kept, annotation("created", "not a time"));

    // Volumes.
    let volumes = run(&json!({"Volumes": {"/data/in": {}, "/data": {}}}));
    check(
        "CNV-29",
        volumes.clone(),
        Is("/mounts/7/destination", json!("/data")),
    );
    check(
        "CNV-29",
        volumes.clone(),
        Is("/mounts/8/destination", json!("/data/in")),
    );
    check(
        "CNV-29",
        volumes.clone(),
        Is("/mounts/8/type", json!("tmpfs")),
    );
    // What the image has there is not copied into the mount.
    check(
        "CNV-30",
        volumes,
        Is("/mounts/8/options", json!(["rw", "nosuid", "nodev"])),
    );
    check(
        "CNV-29",
        run(&json!({"Volumes": {"data": {}}})),
        Fails("it is not absolute"),
    );
}

/// CNV-32: `stored` annotates its manifest.
fn manifests_say_nothing() {
    let (config, _) =
        converted(tables(), &run(&json!({})), false, ConfigOptions::default()).unwrap();
    let annotations = config["annotations"].as_object().unwrap();
    assert!(
        annotations.values().all(|value| value != "of the manifest"),
        "{annotations:?}"
    );
}

/// CNV-02: what the caller says counts as an edit of the image; every combination fits the schema.
fn options() {
    let mut overriding = ConfigOptions::default();
    overriding.overrides.entrypoint = Some(words("/e"));
    overriding.overrides.command = Some(words("x y"));
    overriding.overrides.env = words("A=2 B=3");
    overriding.overrides.working_dir = Some("/there".into());
    let image = run(&json!({"Env": ["A=1"], "WorkingDir": "/here", "Volumes": {"/v": {}}}));
    let (config, _) = converted(tables(), &image, false, overriding).unwrap();
    assert_eq!(config["process"]["args"], json!(["/e", "x", "y"]));
    assert_eq!(config["process"]["env"][0], "A=2");
    assert_eq!(config["process"]["env"][1], "B=3");
    assert_eq!(config["process"]["cwd"], "/there");
    let maps = IdMaps::new(
        vec![
            "0:1000:1".parse().unwrap(),
            "1:100000:65535".parse().unwrap(),
        ],
        vec![
            "0:100:1".parse().unwrap(),
            "1:100000:65535".parse().unwrap(),
        ],
    );
    let mapped = Ids::from(maps.unwrap());
    for ids in [Ids::Host, Ids::from(IdMaps::single(1000, 100)), mapped] {
        for network in [Network::Host, Network::Private] {
            for volumes in [Volumes::Ignore, Volumes::Tmpfs] {
                let options = ConfigOptions {
                    ids: ids.clone(),
                    network,
                    volumes,
                    terminal: Terminal::Yes,
                    root: RootAccess::ReadOnly,
                    ..ConfigOptions::default()
                };
                let (config, _) = converted(tables(), &image, false, options).unwrap();
                let is_mapped = config["linux"]["uidMappings"].is_array();
                assert_eq!(is_mapped, ids != Ids::Host);
            }
        }
    }
}

/// The checks of this file can fail.
fn what_the_schema_refuses() {
    let image = run(&json!({"User": "app"}));
    let (good, _) = converted(tables(), &image, false, ConfigOptions::default()).unwrap();
    for (pointer, value) in [
        ("/ociVersion", json!(1)),
        ("/process/user/uid", json!(-1)),
        ("/process/user/additionalGids", json!(["a"])),
        ("/process/env", json!([1])),
        ("/process/cwd", json!("relative")),
        ("/annotations", json!({"": "x"})),
        ("/annotations", json!({"x": 1})),
        ("/linux/namespaces/0/type", json!("none")),
        ("/mounts/1/options", json!("ro")),
        ("/root/path", json!(null)),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!schema::problems(&bad).is_empty(), "{pointer}");
    }
}
