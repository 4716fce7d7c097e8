//! A server on this machine, and a client that speaks HTTP with it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corten_objects::{Failure, Http, HttpAnswer, HttpRequest, Patience};

/// What came: the line of the request, then the headers in small letters.
pub(crate) type Asked = Vec<String>;

/// What is sent back.
pub(crate) enum Reply {
    /// Status, headers and body, with its length.
    Whole(u16, String, Vec<u8>),
    /// So many bytes of the body, whose length is given in full.
    Cut(String, Vec<u8>, usize),
    /// Nothing, until the client gives up.
    Silence,
}

/// Answers the requests of one test.
pub(crate) struct Server {
    pub(crate) authority: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, noted) = (Arc::new(answer), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, noted) = (Arc::clone(&answer), Arc::clone(&noted));
                std::thread::spawn(move || serve(&stream.unwrap(), &*answer, &noted));
            }
        });
        Self { authority, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// Returns what was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Returns the lines of the requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| asked[0].clone()).collect()
    }
}

/// Returns the value of a header.
pub(crate) fn header<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    asked
        .iter()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

fn serve(mut stream: &TcpStream, answer: &dyn Fn(&Asked) -> Reply, noted: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    let mut asked = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        asked.push(match line.split_once(": ") {
            Some((name, value)) if !asked.is_empty() => format!("{}: {value}", name.to_lowercase()),
            _ => line.to_owned(),
        });
    }
    let len = header(&asked, "content-length").and_then(|len| len.parse().ok());
    let mut body = vec![0; len.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    asked.push(String::from_utf8_lossy(&body).into_owned());
    noted.lock().unwrap().push(asked.clone());
    let (status, headers, body, sent) = match answer(&asked) {
        Reply::Whole(status, headers, body) => {
            let len = body.len();
            (status, headers, body, len)
        }
        Reply::Cut(headers, body, sent) => (200, headers, body, sent),
        Reply::Silence => {
            // Ends when the client does.
            reader.read_to_end(&mut Vec::new()).ok();
            return;
        }
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok();
    stream.write_all(&body[..sent]).ok();
}

/// Speaks HTTP, and waits not long.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    /// Where all requests go, whatever they name.
    to: Option<String>,
}

impl Client {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(None)
    }

    /// Returns one for which all hosts are that of `authority`, without TLS.
    pub(crate) fn to(authority: &str) -> Arc<Self> {
        Self::with(Some(authority.to_owned()))
    }

    fn with(to: Option<String>) -> Arc<Self> {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_recv_response(Some(Duration::from_millis(300)))
            .timeout_per_read(Some(Duration::from_millis(300)))
            .timeout_connect(Some(Duration::from_millis(300)));
        Arc::new(Self {
            agent: config.build().new_agent(),
            to,
        })
    }
}

impl Http for Client {
    fn send(&self, request: HttpRequest, _: Patience) -> Result<HttpAnswer, Failure> {
        let (mut parts, body) = request.into_parts();
        if let Some(to) = &self.to {
            let path = parts.uri.path_and_query().unwrap();
            parts.uri = format!("http://{to}{path}").parse().unwrap();
        }
        let request = HttpRequest::from_parts(parts, body);
        let answer = self.agent.run(request).map_err(|error| Failure {
            may_pass: true,
            source: Box::new(error),
        })?;
        let (parts, body) = answer.into_parts();
        let body: Box<dyn Read + Send> = Box::new(body.into_reader());
        Ok(HttpAnswer::from_parts(parts, body))
    }
}
