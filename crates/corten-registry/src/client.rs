//! A request from beginning to end: credentials, redirects, repetitions, refusals.

use std::collections::{HashMap, HashSet};
use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::auth::{self, Memory, Realm};
use crate::body::{SHORT_BODY, read_body, read_short};
use crate::challenge::Challenge;
use crate::chunks::Spare;
use crate::credentials::{Credentials, Login};
use crate::pace::Pace;
use crate::refusal::{self, Refusal, SignedIn};
use crate::settings::Settings;
use crate::transport::{Body, Headers, Method, Request, Response, Transport};
use crate::wire::Wire;
use crate::{Error, Result, Url, header, redirect, retry, token};

/// Talks to registries. Clones share connections, tokens and warnings.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    settings: Settings,
    transport: Arc<dyn Transport>,
    memory: Memory,
    warnings: Mutex<Vec<Warning>>,
    passed_over: Mutex<HashSet<String>>,
    referrers_tags: Mutex<()>,
    knacks: Mutex<HashMap<String, Knack>>,
    spare: Arc<Spare>,
    pace: Pace,
}

/// What registries are supposed to be able to do until they fail to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Knack {
    /// Takes a blob along with the request that opens an upload.
    pub(crate) posts_whole: bool,
    /// Answers who wants to mount a blob from nowhere in particular.
    pub(crate) mounts_unnamed: bool,
}

impl Default for Knack {
    fn default() -> Self {
        Self {
            posts_whole: true,
            mounts_unnamed: true,
        }
    }
}

/// What a registry wants its users to know (distribution-spec, Warnings), or what we want them to know
/// about it: that a mirror is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The registry's host.
    pub host: String,
    /// The text, on one line.
    pub text: String,
}

/// A request, and on whose behalf it is made.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
    pub(crate) realm: Realm,
}

impl Call {
    fn again(&self) -> Option<Self> {
        Some(Self {
            method: self.method,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.again()?,
            realm: self.realm.clone(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Returns a client that goes by `settings`, over the network.
    ///
    /// # Errors
    /// Fails if the certificates that the settings name cannot be read.
    pub fn new(settings: Settings) -> Result<Self> {
        let wire = Wire::new(&settings)?;
        Ok(Self::over(settings, Arc::new(wire)))
    }

    /// Returns a client that sends everything to `transport`.
    pub fn over(settings: Settings, transport: Arc<dyn Transport>) -> Self {
        Self(Arc::new(Shared {
            settings,
            transport,
            memory: Memory::default(),
            warnings: Mutex::default(),
            passed_over: Mutex::default(),
            referrers_tags: Mutex::default(),
            knacks: Mutex::default(),
            spare: Arc::default(),
            pace: Pace::default(),
        }))
    }

    /// Returns what the client goes by.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Asks the registry `host` whether it lets us in.
    pub fn ping(&self, host: &str) -> Result<()> {
        let base = self.0.settings.base(host)?;
        let call = Call {
            method: Method::Get,
            // The slash is part of the name: registries redirect, or answer 404, without it.
            url: Url::of(base.is_secure(), base.authority(), "/v2/"),
            headers: Headers::new(),
            body: Body::Empty,
            realm: Realm {
                host: host.to_owned(),
                repository: String::new(),
                scopes: Vec::new(),
                home: base.clone(),
            },
        };
        self.expect(call, &[200]).map(drop)
    }

    /// Asks the registry `host` whether it lets in who has `credentials`; nothing is kept.
    pub fn check_login(&self, host: &str, credentials: &Credentials) -> Result<()> {
        let mut settings = self.0.settings.clone();
        let login = Login {
            credentials: credentials.clone(),
            origin: "the command line".into(),
        };
        settings.logins.insert(host.to_owned(), login);
        Self::over(settings, Arc::clone(&self.0.transport)).ping(host)
    }

    /// Returns what registries warned about and which mirrors failed so far, each once, in order.
    pub fn warnings(&self) -> Vec<Warning> {
        lock(&self.0.warnings).clone()
    }

    /// Makes all work of this client and its clones end now, also what waits for a registry.
    pub fn cancel(&self) {
        self.0.settings.cancel.store(true, Ordering::Relaxed);
        self.0.transport.interrupt();
    }

    /// Fails if the work was cancelled, or should have ended by now.
    pub(crate) fn check_cancelled(&self) -> Result<()> {
        let deadline = self.0.settings.deadline;
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(Error::TooLate);
        }
        if self.0.settings.cancel.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        Ok(())
    }

    /// Returns the lock that is held while a fallback tag for referrers is read and written.
    pub(crate) fn lock_referrers_tags(&self) -> MutexGuard<'_, ()> {
        lock(&self.0.referrers_tags)
    }

    /// Returns who may help to pull large blobs.
    pub(crate) fn spare(&self) -> &Arc<Spare> {
        &self.0.spare
    }

    /// Returns what the registry `host` is supposed to be able to do.
    pub(crate) fn knack(&self, host: &str) -> Knack {
        lock(&self.0.knacks).get(host).copied().unwrap_or_default()
    }

    /// Remembers what the registry `host` failed to do.
    pub(crate) fn learn_knack(&self, host: &str, learn: impl FnOnce(&mut Knack)) {
        learn(lock(&self.0.knacks).entry(host.to_owned()).or_default());
    }

    /// Sends `call` and returns the answer if its status is one of `statuses`.
    pub(crate) fn expect(&self, call: Call, statuses: &[u16]) -> Result<Response> {
        let realm = call.realm.clone();
        let response = self.send(call)?;
        if statuses.contains(&response.status) {
            return Ok(response);
        }
        Err(self.refusal(response, &realm))
    }

    /// Returns the error that `response` stands for.
    pub(crate) fn refusal(&self, response: Response, realm: &Realm) -> Error {
        let mut login = None;
        // Only these are about who asks; for others no file is read and no helper is run.
        if matches!(response.status, 401 | 403) {
            let lookup = match self.0.memory.lookup(&self.0.settings, realm) {
                Ok(lookup) => lookup,
                Err(error) => return error,
            };
            login = lookup.login.as_ref().and_then(SignedIn::of);
            if response.status == 401 && login.is_none() {
                return Error::NoCredentials {
                    host: realm.host.clone(),
                    searched: if lookup.searched.is_empty() {
                        vec!["nowhere".to_owned()]
                    } else {
                        lookup.searched
                    },
                };
            }
        }
        let status = response.status;
        let (code, message) = refusal::parse_body(&read_short(response.body).0);
        Error::Refused(Box::new(Refusal {
            host: realm.host.clone(),
            status,
            code,
            message,
            login,
            scope: token::merge_scopes(&realm.scopes, None).join(" "),
        }))
    }

    /// Sends `call`, again where that may help, and returns the last answer whatever it is.
    pub(crate) fn send(&self, mut call: Call) -> Result<Response> {
        let mut attempt = 0;
        loop {
            let host = call.url.authority().to_owned();
            let apart = self.0.settings.apart;
            self.pause(self.0.pace.turn(&host, Instant::now(), apart))?;
            let (again, method) = (call.again(), call.method);
            let result = self.send_signed_in(call);
            self.check_cancelled()?;
            if let Ok(Response {
                status: 429 | 503,
                headers,
                ..
            }) = &result
                && let Some(asked) = asked_wait(headers)
            {
                // Whoever else asks meanwhile would only be refused, too.
                let wait = asked.min(self.0.settings.retry.cap);
                self.0.pace.hold(&host, Instant::now(), wait);
            }
            let (Some(next), Some(wait)) = (again, self.wait(method, attempt, &result)) else {
                return result;
            };
            self.pause(wait)?;
            call = next;
            attempt += 1;
        }
    }

    /// Returns how long to wait before asking again, or `None` if `result` is final.
    fn wait(&self, method: Method, attempt: u32, result: &Result<Response>) -> Option<Duration> {
        /// A host that cannot be reached is more often misspelt than about to appear.
        const CONNECTS: u32 = 2;
        /// Half a minute was waited already, and another one is enough.
        const STALLS: u32 = 1;
        let policy = &self.0.settings.retry;
        let (passing, asked, limit) = match result {
            Ok(response) => (
                retry::is_worth_repeating(method, response.status),
                asked_wait(&response.headers),
                policy.limit,
            ),
            Err(error @ Error::Connect { .. }) => (
                retry::is_passing(method, error),
                None,
                policy.limit.min(CONNECTS),
            ),
            Err(error @ Error::Stalled { .. }) => (
                retry::is_passing(method, error),
                None,
                policy.limit.min(STALLS),
            ),
            Err(error) => (retry::is_passing(method, error), None, policy.limit),
        };
        (passing && attempt < limit).then(|| policy.wait(attempt, asked, retry::random()))
    }

    /// Waits, in slices short enough that a user who cancels does not notice them.
    pub(crate) fn pause(&self, wait: Duration) -> Result<()> {
        const SLICE: Duration = Duration::from_millis(50);
        let mut left = wait;
        while !left.is_zero() {
            self.check_cancelled()?;
            let slice = left.min(SLICE);
            thread::sleep(slice);
            left -= slice;
        }
        self.check_cancelled()
    }

    /// Sends `call` with the credentials that its registry is known to ask for; if it asks for
    /// others, once more with those.
    fn send_signed_in(&self, mut call: Call) -> Result<Response> {
        // An upload may go on at another host, as with signed URLs: it gets no credentials, and
        // what it asks for is not the registry's asking (DST-61).
        if !call.url.has_origin_of(&call.realm.home) {
            return self.send_following(call).map(|(response, _)| response);
        }
        let again = call.again();
        let known = self.0.memory.challenge(&call.realm.host);
        let first = match &known {
            Some(challenge) => self.authorization(&call, challenge, Freshness::Kept)?,
            None => None,
        };
        if let Some(value) = &first {
            call.headers.add("Authorization", value.as_str());
        }
        let url = call.url.clone();
        let (response, answered) = self.send_following(call)?;
        let (401, true, Some(mut call)) = (response.status, answered.has_origin_of(&url), again)
        else {
            return Ok(response);
        };
        let Some(challenge) = Challenge::choose(response.headers.values("www-authenticate")) else {
            return Ok(response);
        };
        self.0.memory.learn(&call.realm.host, challenge.clone());
        let second = self.authorization(&call, &challenge, Freshness::New)?;
        // The same password a second time can only lock the account.
        if second.is_none() || second == first {
            return Ok(response);
        }
        call.headers
            .add("Authorization", second.unwrap_or_default());
        self.send_following(call).map(|(response, _)| response)
    }

    /// Returns the header that answers `challenge`, if there is one: a password, or a token, which
    /// may have to be asked for.
    fn authorization(
        &self,
        call: &Call,
        challenge: &Challenge,
        freshness: Freshness,
    ) -> Result<Option<String>> {
        let realm = &call.realm;
        let lookup = self.0.memory.lookup(&self.0.settings, realm)?;
        let credentials = lookup
            .login
            .map_or(Credentials::None, |login| login.credentials);
        if let Credentials::RegistryToken(token) = &credentials {
            return Ok(Some(format!("Bearer {}", token.expose())));
        }
        let (server, service, scope) = match challenge {
            Challenge::Basic => return Ok(credentials.basic()),
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => (realm, service, scope),
        };
        if freshness == Freshness::New {
            self.0.memory.forget_token(&realm.host, &realm.scopes);
        } else if let Some(token) = self.0.memory.token(&realm.host, &realm.scopes) {
            return Ok(Some(format!("Bearer {}", token.expose())));
        }
        // What a registry asked for another repository is of no use for this one.
        let challenged = scope.as_deref().filter(|_| freshness == Freshness::New);
        let scopes = token::merge_scopes(&realm.scopes, challenged);
        auth::check_realm(&call.url, server, &credentials)?;
        let request = token::request(server, service.as_deref(), &scopes, &credentials)?;
        let token = self.fetch_token(request, realm)?;
        self.0
            .memory
            .keep_token(&realm.host, realm.scopes.clone(), &token);
        Ok(Some(format!("Bearer {}", token.value.expose())))
    }

    fn fetch_token(&self, request: Request, realm: &Realm) -> Result<token::Token> {
        let mut next = request;
        let mut attempt = 0;
        loop {
            let url = next.url.clone();
            let call = Call {
                method: next.method,
                url: next.url,
                headers: next.headers,
                body: next.body,
                realm: realm.clone(),
            };
            let (again, method) = (call.again(), call.method);
            let result = self.send_following(call).map(|(response, _)| response);
            if let (Some(call), Some(wait)) = (again, self.wait(method, attempt, &result)) {
                self.pause(wait)?;
                attempt += 1;
                next = Request {
                    method: call.method,
                    url: call.url,
                    headers: call.headers,
                    body: call.body,
                };
                continue;
            }
            let response = result?;
            match response.status {
                200 => {}
                401 | 403 => return Err(self.refusal(response, realm)),
                // A token server that is not found says nothing about what the token was for.
                status => {
                    let (code, message) = refusal::parse_body(&read_short(response.body).0);
                    let code = code.map(|code| format!(" {code}")).unwrap_or_default();
                    return Err(Error::Protocol {
                        url,
                        reason: format!("the token server refused: {status}{code}, \"{message}\""),
                    });
                }
            }
            let body = read_body(response, SHORT_BODY, &url)?;
            return token::parse(&body).ok_or_else(|| Error::Protocol {
                url,
                reason: "the token server's answer holds no token".into(),
            });
        }
    }

    /// Sends `call` where redirects lead. Returns the answer, and the URL that gave it.
    fn send_following(&self, mut call: Call) -> Result<(Response, Url)> {
        let start = call.url.clone();
        for _ in 0..=redirect::LIMIT {
            let again = call.again();
            let (method, url, host) = (call.method, call.url.clone(), call.realm.host.clone());
            let response = self.0.transport.send(Request {
                method,
                url: call.url,
                headers: call.headers,
                body: call.body,
            })?;
            if url.has_origin_of(&start) {
                self.note_warnings(&host, &response.headers);
            }
            let location = response.headers.value("location");
            let Some(step) = redirect::follow(method, &url, response.status, location)? else {
                return Ok((response, url));
            };
            call = again.ok_or_else(|| Error::Protocol {
                url: url.clone(),
                reason: "it redirects what can be sent only once".into(),
            })?;
            if step.method != method {
                call.body = Body::Empty;
            }
            if !step.keeps_authorization {
                call.headers.remove("Authorization");
                // Only requests for tokens are of this kind: the identity token is in the body.
                if step.method == Method::Post && matches!(call.body, Body::Bytes(_)) {
                    return Err(Error::Protocol {
                        url,
                        reason: "it redirects a request that holds credentials to another host"
                            .into(),
                    });
                }
            }
            (call.method, call.url) = (step.method, step.url);
        }
        Err(Error::TooManyRedirects {
            url: start,
            limit: redirect::LIMIT,
        })
    }

    /// Keeps a warning that `mirror` is of no use for `registry`, for its first failure only.
    pub(crate) fn note_passed_over(&self, mirror: &str, registry: &str, error: &dyn StdError) {
        if !lock(&self.0.passed_over).insert(mirror.to_owned()) {
            return;
        }
        let mut text = format!("passed over as a mirror of `{registry}`: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        lock(&self.0.warnings).push(Warning {
            host: mirror.to_owned(),
            // What the mirror said is one line here.
            text: text.lines().map(str::trim).collect::<Vec<_>>().join(" "),
        });
    }

    fn note_warnings(&self, host: &str, headers: &Headers) {
        /// A registry that warns of ever new things is not worth listening to.
        const LIMIT: usize = 100;
        for text in headers.values("warning").filter_map(header::warning) {
            let warning = Warning {
                host: host.to_owned(),
                text,
            };
            let mut warnings = lock(&self.0.warnings);
            if warnings.len() < LIMIT && !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
}

/// Returns how long an answer asks to wait before the next request.
fn asked_wait(headers: &Headers) -> Option<Duration> {
    header::retry_after(headers.value("retry-after")?, headers.value("date"))
}

/// Whether a token that is at hand will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Kept,
    New,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
