//! Against distribution's own registry, as Debian packages it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use corten_content::traits::MountSource;
use corten_content::{IngestPlan, Sink, Source};
use corten_spec::{Descriptor, Index, Manifest, document, media_type};

use crate::push::noise;
use crate::{push, repository_with};

const PROGRAM: &str = "/usr/bin/docker-registry";

struct Registry {
    child: Child,
    host: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Registry {
    fn start(folder: &Path) -> Self {
        // It cannot say which port it got, so a free one is found for it.
        let host = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let config = folder.join("config.yml");
        write!(
            File::create(&config).unwrap(),
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  delete: {{enabled: true}}\n  \
             filesystem: {{rootdirectory: {}}}\nhttp: {{addr: '{host}'}}\n",
            folder.join("data").display()
        )
        .unwrap();
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listens = log.any(|line| line.unwrap().contains("listening on"));
        assert!(listens, "docker-registry ended before it listened");
        // Or it would stop when the pipe is full.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, host }
    }
}

#[test]
fn push_mount_and_pull() {
    if !Path::new(PROGRAM).exists() {
        println!("not run: push_mount_and_pull: docker-registry is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path());
    let settings = crate::settings();
    let app = repository_with(settings.clone(), &registry.host, "acme/app");

    let (small, large, streamed) = (noise(1000), noise(3_000_000), noise(9_000_000));
    let config = Descriptor::of(media_type::OCI_CONFIG, &small);
    let layer = Descriptor::of(media_type::OCI_LAYER, &large);
    push(&app, &config, &small).unwrap();
    push(&app, &layer, &large).unwrap();
    let mut ingest = app.ingest(&IngestPlan::unknown()).unwrap();
    ingest.write_all(&streamed).unwrap();
    let (digest, size) = ingest.commit(None).unwrap();
    let other = Descriptor::new(media_type::OCI_LAYER, digest, size);

    // 2.8.2 has no list of referrers, so the fallback tag is used.
    let bytes = document::to_bytes(&Manifest::oci(
        config.clone(),
        vec![layer.clone(), other.clone()],
    ));
    let manifest = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
    push(&app, &manifest, &bytes).unwrap();
    app.tag("1.2", &manifest).unwrap();
    let mut about = Manifest::oci(config.clone(), Vec::new());
    about.artifact_type = Some("application/x.test".into());
    about.subject = Some(manifest.bare());
    let about_bytes = document::to_bytes(&about);
    let about = Descriptor::of(media_type::OCI_MANIFEST, &about_bytes);
    push(&app, &about, &about_bytes).unwrap();

    let reader = repository_with(settings.clone(), &registry.host, "acme/app");
    assert_eq!(reader.resolve("1.2").unwrap(), manifest);
    assert!(reader.resolve("1.3").unwrap_err().is_not_found());
    for (content, expected) in [
        (&manifest, &bytes),
        (&config, &small),
        (&layer, &large),
        (&other, &streamed),
    ] {
        assert!(reader.contains(content).unwrap());
        assert_eq!(
            &corten_content::read(&reader, content, 1 << 24).unwrap(),
            expected
        );
    }
    let referrers = reader.referrers(&manifest.digest).unwrap();
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].digest, about.digest);
    assert!(reader.tags().unwrap().contains(&"1.2".to_owned()));

    let copy = repository_with(settings, &registry.host, "acme/copy");
    let mut plan = IngestPlan::of(&layer).unwrap();
    plan.mount = Some(MountSource {
        registry: registry.host.clone(),
        repository: "acme/app".into(),
    });
    let ingest = copy.ingest(&plan).unwrap();
    assert_eq!(ingest.offset(), layer.size, "it was not mounted");
    ingest.commit(Some(&layer)).unwrap();
    assert!(copy.contains(&layer).unwrap());
    let index = document::to_bytes(&Index::oci(vec![manifest.clone()]));
    let index = (Descriptor::of(media_type::OCI_INDEX, &index), index);
    push(&app, &index.0, &index.1).unwrap();
    app.delete_manifest(&index.0.digest).unwrap();
    assert!(!app.contains(&index.0).unwrap());
}
