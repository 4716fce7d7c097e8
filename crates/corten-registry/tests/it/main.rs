//! The client against registries in this process, and against Debian's.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share is outside their functions"
)]

mod auth;
mod chunks;
mod debian;
mod deleting;
mod fake;
mod helpers;
mod hostile;
mod lists;
mod misbehaviour;
mod proxy;
mod pull;
mod push;
mod referrers;
mod suite;
mod tls;

use std::io::Write;
use std::time::Duration;

use corten_content::{IngestPlan, Sink};
use corten_registry::retry::RetryPolicy;
use corten_registry::{Client, Credentials, Login, Repository, Secret, Settings, Timeouts};
use corten_spec::{Descriptor, Digest};
use fake::Fake;

/// Settings that ask again at once, and wait for an answer even on a busy machine.
fn settings() -> Settings {
    Settings {
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(20),
            answer: Duration::from_secs(20),
        },
        retry: RetryPolicy {
            limit: 5,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(5),
        },
        ..Settings::default()
    }
}

/// Settings under which a test of a stalling registry is done soon.
fn impatient() -> Settings {
    let mut settings = settings();
    settings.timeouts.stall = Duration::from_millis(200);
    settings.timeouts.answer = Duration::from_millis(200);
    settings
}

fn login(credentials: Credentials) -> Login {
    Login {
        credentials,
        origin: "/home/ci/.docker/config.json".into(),
    }
}

fn password(password: &str) -> Credentials {
    Credentials::Basic {
        username: "me".into(),
        password: Secret::new(password.into()),
    }
}

fn repository_with(settings: Settings, host: &str, name: &str) -> Repository {
    let client = Client::new(settings).unwrap();
    Repository::new(&client, &format!("{host}/{name}").parse().unwrap()).unwrap()
}

fn repository(fake: &Fake) -> Repository {
    repository_with(settings(), &fake.host, "acme/app")
}

fn push(
    sink: &Repository,
    content: &Descriptor,
    bytes: &[u8],
) -> corten_content::Result<(Digest, u64)> {
    let mut ingest = sink.ingest(&IngestPlan::of(content)?)?;
    ingest
        .write_all(bytes)
        .map_err(|error| corten_content::Error::stream("push", error))?;
    ingest.commit(Some(content))
}

/// The error and its causes, as a user reads them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
