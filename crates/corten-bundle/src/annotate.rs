//! What an image says about itself, as annotations of its container (conversion.md#annotation-fields).

use std::collections::BTreeMap;

use corten_spec::ImageConfig;

use crate::config::Note;

/// The prefix of the annotations that stand for fields of the image config.
const PREFIX: &str = "org.opencontainers.image.";

/// Returns the annotations: the image's labels as they are (CNV-19, CNV-33), and for each other field
/// that is there one that no label has the key of (CNV-11 to CNV-18, CNV-20, CNV-28).
///
/// Annotations of manifests and indexes are none of a container's (CNV-32).
pub(crate) fn annotations(image: &ImageConfig) -> (BTreeMap<String, String>, Vec<Note>) {
    let joined = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
    let ports: Vec<String> = image.config.exposed_ports.0.iter().cloned().collect();
    let stop_signal = &image.config.stop_signal;
    let fields = [
        ("os", Some(image.os.clone())),
        ("architecture", Some(image.architecture.clone())),
        ("variant", image.variant.clone()),
        ("os.version", image.os_version.clone()),
        // The specification gives no format for the list; a comma separates in Go's tools.
        ("os.features", joined(&image.os_features)),
        ("author", image.author.clone()),
        ("created", image.created.clone()),
        (
            "stopSignal",
            (!stop_signal.is_empty()).then(|| stop_signal.clone()),
        ),
        ("exposedPorts", joined(&ports)),
    ];
    let mut annotations = image.config.labels.clone();
    // The runtime specification has no empty keys (CNV-34).
    let notes = annotations.remove("").map(|_| Note::EmptyLabel);
    for (name, value) in fields {
        if let Some(value) = value {
            annotations
                .entry(format!("{PREFIX}{name}"))
                .or_insert(value);
        }
    }
    (annotations, notes.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_spec::{Document, media_type};

    fn image(fields: &str, config: &str) -> ImageConfig {
        let json = format!(
            r#"{{"architecture":"arm","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{{{config}}}{fields}}}"#
        );
        Document::from_bytes(media_type::OCI_CONFIG, json.into())
            .unwrap()
            .value
    }

    #[test]
    fn fields_become_annotations() {
        #[track_caller]
        fn check(fields: &str, config: &str, expected: &[(&str, &str)]) {
            let (found, _) = annotations(&image(fields, config));
            for (key, value) in expected {
                let key = format!("org.opencontainers.image.{key}");
                assert_eq!(
                    found.get(&key).map(String::as_str),
                    Some(*value),
                    "{key}: {found:?}"
                );
            }
            assert_eq!(found.len(), expected.len().max(2), "{found:?}");
        }
        let with = |key, value| [("os", "linux"), ("architecture", "arm"), (key, value)];
        check("", "", &[("os", "linux"), ("architecture", "arm")]);
        check(r#","variant":"v7""#, "", &with("variant", "v7"));
        check(r#","os.version":"10.0""#, "", &with("os.version", "10.0"));
        check(
            r#","os.features":["a","b"]"#,
            "",
            &with("os.features", "a,b"),
        );
        check(r#","author":"me <me@x>""#, "", &with("author", "me <me@x>"));
        check(
            r#","created":"2020-01-01T00:00:00.123456789+02:00""#,
            "",
            &with("created", "2020-01-01T00:00:00.123456789+02:00"),
        );
        check(
            "",
            r#""StopSignal":"SIGRTMIN+3""#,
            &with("stopSignal", "SIGRTMIN+3"),
        );
        check(
            "",
            r#""ExposedPorts":{"80/tcp":{},"53":{},"443/udp":{}}"#,
            &with("exposedPorts", "443/udp,53,80/tcp"),
        );
    }

    #[test]
    fn labels_win_and_are_kept_byte_for_byte() {
        let labels = r#""StopSignal":"SIGINT","ExposedPorts":{"1":{}},"Labels":{"org.opencontainers.image.os":"x","org.opencontainers.image.exposedPorts":"mine","org.opencontainers.image.stopSignal":"","a b":" v\n","":"lost"}"#;
        let (found, notes) = annotations(&image("", labels));
        let expected = [
            ("a b", " v\n"),
            ("org.opencontainers.image.architecture", "arm"),
            ("org.opencontainers.image.exposedPorts", "mine"),
            ("org.opencontainers.image.os", "x"),
            ("org.opencontainers.image.stopSignal", ""),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
        assert_eq!(notes, [Note::EmptyLabel]);
    }
}
