//! Docker's credential helpers: programs that keep secrets for others
//! (docker-credential-helpers' protocol).

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::credentials::{Credentials, Secret};
use crate::{Error, Result, refusal};

/// What a helper calls the user of an identity token.
const TOKEN_USER: &str = "<token>";
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 1 << 20;

/// A program `docker-credential-<name>`.
#[derive(Debug, Clone, Copy)]
pub struct Helper<'a> {
    /// What follows `docker-credential-`.
    pub name: &'a str,
    /// The folder it is in; `None` for the process's own search path.
    pub folder: Option<&'a Path>,
    /// How long it may take.
    pub limit: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(rename = "ServerURL", default)]
    server_url: std::borrow::Cow<'a, str>,
    username: std::borrow::Cow<'a, str>,
    secret: std::borrow::Cow<'a, str>,
}

impl Helper<'_> {
    /// Asks for the credentials of `server`; `None` if the helper has none.
    pub fn find(&self, server: &str) -> Result<Option<Credentials>> {
        let Answer { succeeded, output } = self.run("get", server.as_bytes())?;
        if !succeeded {
            let said = refusal::printable(&output, 200);
            if said.contains("credentials not found") {
                return Ok(None);
            }
            return Err(self.failed(format!("`get` said \"{said}\"")));
        }
        let entry: Entry<'_> = serde_json::from_slice(&output)
            .map_err(|_| self.failed("`get` did not answer in JSON".into()))?;
        let secret = Secret::new(entry.secret.into_owned());
        Ok(Some(if entry.username == TOKEN_USER {
            Credentials::IdentityToken(secret)
        } else {
            Credentials::Basic {
                username: entry.username.into_owned(),
                password: secret,
            }
        }))
    }

    /// Hands `credentials` for `server` over to be kept.
    pub fn store(&self, server: &str, credentials: &Credentials) -> Result<()> {
        let (username, secret) = match credentials {
            Credentials::None => return self.erase(server),
            Credentials::Basic { username, password } => (username.as_str(), password),
            Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => {
                (TOKEN_USER, token)
            }
        };
        let entry = Entry {
            server_url: server.into(),
            username: username.into(),
            secret: secret.expose().into(),
        };
        self.tell("store", &corten_spec::document::to_bytes(&entry))
    }

    /// Makes the helper forget `server`.
    pub fn erase(&self, server: &str) -> Result<()> {
        self.tell("erase", server.as_bytes())
    }

    fn tell(&self, action: &str, input: &[u8]) -> Result<()> {
        let Answer { succeeded, output } = self.run(action, input)?;
        if succeeded {
            return Ok(());
        }
        let said = refusal::printable(&output, 200);
        Err(self.failed(format!("`{action}` said \"{said}\"")))
    }

    fn run(&self, action: &str, input: &[u8]) -> Result<Answer> {
        let mut child = self.spawn(action)?;
        let (input, stdin) = (input.to_vec(), child.stdin.take());
        let stdout = child.stdout.take();
        let (sender, receiver) = mpsc::channel();
        // Its own thread, because a helper that never ends its output, or hands it on to a
        // program that does not, must not stop us.
        thread::spawn(move || {
            if let Some(mut stdin) = stdin {
                // A helper may answer without reading; what it says tells more than the pipe.
                drop(stdin.write_all(&input));
            }
            let mut output = Vec::new();
            let read = stdout.map(|stdout| stdout.take(LONGEST_ANSWER).read_to_end(&mut output));
            drop(sender.send((output, read)));
        });
        let Ok((output, read)) = receiver.recv_timeout(self.limit) else {
            drop(child.kill());
            drop(child.wait());
            return Err(self.failed(format!(
                "`{action}` took longer than {} s",
                self.limit.as_secs_f32()
            )));
        };
        // Its output has ended, so it is about to: what closes its output and lives on is killed.
        let status = wait(&mut child, self.limit);
        match (read, status) {
            (Some(Ok(_)), Some(succeeded)) => Ok(Answer { succeeded, output }),
            _ => Err(self.failed(format!("`{action}` did not end as it should"))),
        }
    }

    fn spawn(&self, action: &str) -> Result<Child> {
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(is_name_byte) {
            return Err(self.failed("its name is not that of a program".into()));
        }
        let program = match self.folder {
            Some(folder) => folder.join(self.program()).into_os_string(),
            None => self.program().into(),
        };
        Command::new(program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| self.failed(format!("it cannot be run: {error}")))
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", self.name)
    }

    fn failed(&self, reason: String) -> Error {
        Error::CredentialHelper {
            program: self.program(),
            reason,
        }
    }
}

struct Answer {
    succeeded: bool,
    output: Vec<u8>,
}

/// Waits for `child` up to `limit`; there is no wait with a time limit, so it asks now and then.
fn wait(child: &mut Child, limit: Duration) -> Option<bool> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut waited = Duration::ZERO;
    while waited <= limit {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Ok(None) => thread::sleep(PAUSE),
            Err(_) => return None,
        }
        waited += PAUSE;
    }
    drop(child.kill());
    drop(child.wait());
    None
}
