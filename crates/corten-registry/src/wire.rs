//! The real [`Transport`]: HTTP/1.1 over TCP and TLS, with `ureq`.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ureq::config::AutoHeaderValue;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

use crate::certificates::{self, Certificates, read_certificates};
use crate::settings::{Proxies, Settings, Timeouts};
use crate::transport::{Body, Headers, Method, Request, Response, Transport};
use crate::{Error, Result, Url};

/// Sends requests over the network.
///
/// Trusts the system's certificates, or Mozilla's where the system has none at all, and those of
/// the file that the settings name.
pub struct Wire {
    /// The certificates of the settings' file.
    extra: Option<Vec<Certificate<'static>>>,
    /// Those, and the system's: reading them takes longer than a request on the same machine, so
    /// it waits until there is one that needs them.
    roots: OnceLock<RootCerts>,
    user_agent: String,
    timeouts: Timeouts,
    deadline: Option<Instant>,
    insecure: Vec<String>,
    proxies: Proxies,
    certificates: Certificates,
    agents: Mutex<HashMap<Route, Agent>>,
}

/// What requests have in common that can share connections.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Route {
    proxy: Option<String>,
    insecure: bool,
    /// The directory of the host's own certificates.
    certificates: Option<PathBuf>,
    /// Whether there may be TLS, with the registry or with the proxy.
    secure: bool,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The agents know the proxies' passwords.
        f.debug_struct("Wire")
            .field("timeouts", &self.timeouts)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// Returns the transport that `settings` ask for.
    ///
    /// # Errors
    /// Fails if the file of certificates cannot be read.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            extra: settings
                .ca_file
                .as_deref()
                .map(read_certificates)
                .transpose()?,
            roots: OnceLock::new(),
            user_agent: settings.user_agent.clone(),
            timeouts: settings.timeouts,
            deadline: settings.deadline,
            insecure: settings.insecure.clone(),
            proxies: settings.proxies.clone(),
            certificates: settings.certificates.clone(),
            agents: Mutex::default(),
        })
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<Route, Agent>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn agent(&self, url: &Url) -> Result<Agent> {
        let proxy = self.proxies.of(url).map(str::to_owned);
        let route = Route {
            secure: url.is_secure() || proxy.is_some(),
            proxy,
            insecure: self.insecure.iter().any(|host| host == url.authority()),
            certificates: self
                .certificates
                .directory(url.authority())
                .filter(|_| url.is_secure()),
        };
        if let Some(agent) = self.agents().get(&route) {
            return Ok(agent.clone());
        }
        let agent = self.new_agent(&route)?;
        self.agents().insert(route, agent.clone());
        Ok(agent)
    }

    fn new_agent(&self, route: &Route) -> Result<Agent> {
        /// As many idle connections are kept as transfers usually run at once.
        const IDLE_CONNECTIONS: usize = 16;
        let mut tls = TlsConfig::builder().disable_verification(route.insecure);
        if let Some(directory) = &route.certificates {
            let found = certificates::read(directory)?;
            let extra = self.extra.iter().flatten().cloned();
            let extra: Vec<_> = extra.chain(found.authorities).collect();
            tls = tls
                .root_certs(roots((!extra.is_empty()).then_some(extra.as_slice())))
                .client_cert(found.client);
        } else if route.secure {
            let roots = self.roots.get_or_init(|| roots(self.extra.as_deref()));
            tls = tls.root_certs(roots.clone());
        }
        let proxy = match &route.proxy {
            Some(proxy) => Some(ureq::Proxy::new(proxy).map_err(|_| Error::InvalidUrl {
                // Its user info may be a password, so nothing of it is shown.
                url: "the proxy".into(),
                reason: "expected `http://host:port`",
            })?),
            None => None,
        };
        Ok(Agent::config_builder()
            .http_status_as_error(false)
            // Where a redirect leads decides what may be sent there, which is decided by us.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .accept_encoding(AutoHeaderValue::None)
            .user_agent(self.user_agent.as_str())
            .tls_config(tls.build())
            .proxy(proxy)
            .timeout_resolve(Some(self.timeouts.connect))
            .timeout_connect(Some(self.timeouts.connect))
            .timeout_recv_response(Some(self.timeouts.answer))
            .timeout_per_read(Some(self.timeouts.stall))
            .timeout_per_write(Some(self.timeouts.stall))
            .max_idle_connections(IDLE_CONNECTIONS)
            .max_idle_connections_per_host(IDLE_CONNECTIONS)
            .build()
            .new_agent())
    }
}

impl Transport for Wire {
    fn send(&self, request: Request) -> Result<Response> {
        let Request {
            method,
            url,
            headers,
            body,
        } = request;
        let mut builder = ureq::http::Request::builder()
            .method(method.name())
            .uri(url.to_wire());
        for (name, value) in headers.iter() {
            builder = builder.header(name, value);
        }
        let has_body = matches!(method, Method::Post | Method::Put | Method::Patch);
        let (body, len) = match body {
            Body::Empty if has_body => (SendBody::from_owned_reader(io::empty()), Some(0)),
            Body::Empty => (SendBody::none(), None),
            Body::Bytes(bytes) => {
                let len = bytes.len() as u64;
                (SendBody::from_owned_reader(Cursor::new(bytes)), Some(len))
            }
            Body::Stream { reader, len } => (SendBody::from_owned_reader(reader), len),
        };
        if let Some(len) = len {
            builder = builder.header("Content-Length", len);
        }
        let request = builder.body(body).map_err(|_| Error::Protocol {
            url: url.clone(),
            reason: "it asks for a request that HTTP cannot express".into(),
        })?;
        let mut timeouts = self.timeouts;
        let agent = self.agent(&url)?;
        let request = if matches!(method, Method::Put | Method::Patch) {
            timeouts.stall = timeouts.answer;
            let configured = agent.configure_request(request);
            configured.timeout_per_read(Some(timeouts.stall)).build()
        } else {
            request
        };
        let request = match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                // None at all would be no limit.
                let left = left.max(Duration::from_millis(1));
                let configured = agent.configure_request(request);
                configured.timeout_global(Some(left)).build()
            }
            None => request,
        };
        let response = agent
            .run(request)
            .map_err(|error| failure(&url, &timeouts, error))?;
        let (parts, body) = response.into_parts();
        let mut headers = Headers::new();
        for (name, value) in &parts.headers {
            headers.add(name.as_str(), String::from_utf8_lossy(value.as_bytes()));
        }
        Ok(Response {
            status: parts.status.as_u16(),
            headers,
            body: Box::new(BodyReader {
                inner: body.into_with_config().limit(u64::MAX).reader(),
                url,
                timeouts,
            }),
        })
    }

    fn interrupt(&self) {
        for agent in self.agents().values() {
            agent.clone().shutdown();
        }
    }
}

struct BodyReader {
    inner: ureq::BodyReader<'static>,
    url: Url,
    timeouts: Timeouts,
}

impl Read for BodyReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| {
            let error = match error.downcast::<ureq::Error>() {
                Ok(error) => failure(&self.url, &self.timeouts, error),
                Err(error) => failure(&self.url, &self.timeouts, ureq::Error::Io(error)),
            };
            error.into()
        })
    }
}

fn failure(url: &Url, timeouts: &Timeouts, error: ureq::Error) -> Error {
    let host = url.authority().to_owned();
    let url = url.clone();
    match error {
        ureq::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable => Error::Connect {
                host,
                source: Box::new(error),
            },
            // rustls reports what it does not accept this way.
            io::ErrorKind::InvalidData if url.is_secure() => Error::Tls {
                host,
                source: Box::new(error),
            },
            _ => error.downcast().unwrap_or_else(|error| Error::Broken {
                url,
                source: Box::new(error),
            }),
        },
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Error::Stalled {
            url,
            limit: timeouts.connect,
        },
        ureq::Error::Timeout(ureq::Timeout::RecvResponse) => Error::Stalled {
            url,
            limit: timeouts.answer,
        },
        ureq::Error::Timeout(ureq::Timeout::Global) => Error::TooLate,
        ureq::Error::Timeout(_) => Error::Stalled {
            url,
            limit: timeouts.stall,
        },
        error @ (ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::TlsRequired) => {
            Error::Tls {
                host,
                source: Box::new(error),
            }
        }
        error @ (ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)) => Error::Connect {
            host,
            source: Box::new(error),
        },
        ureq::Error::Protocol(error) => Error::Protocol {
            url,
            reason: error.to_string(),
        },
        error => Error::Broken {
            url,
            source: Box::new(error),
        },
    }
}

fn roots(extra: Option<&[Certificate<'static>]>) -> RootCerts {
    let native = rustls_native_certs::load_native_certs().certs;
    if native.is_empty() && extra.is_none() {
        return RootCerts::WebPki;
    }
    let native = native
        .iter()
        .map(|der| Certificate::from_der(der).to_owned());
    let extra = extra.unwrap_or_default().iter().cloned();
    let all: Vec<Certificate<'static>> = native.chain(extra).collect();
    RootCerts::new_with_certs(&all)
}
