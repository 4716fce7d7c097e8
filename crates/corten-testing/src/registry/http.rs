//! HTTP/1.1, as little of it as registries and their clients need.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{Interposer, Reading, Shared, Step, lock, router};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers, their names in small letters.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns method and target.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// Returns the path.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the header `name`, which is in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the values of `name` in the query, unescaped.
    pub fn queries(&self, name: &str) -> Vec<String> {
        let (_, query) = self.target.split_once('?').unwrap_or_default();
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| unescape(value))
            .collect()
    }

    /// Returns the first value of `name` in the query, unescaped.
    pub fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    fn len(&self) -> usize {
        let len = self.header("content-length");
        len.and_then(|len| len.parse().ok()).unwrap_or_default()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let escaped = match byte {
            b'%' => digit().zip(digit()).map(|(high, low)| high * 16 + low),
            b'+' => Some(u32::from(b' ')),
            _ => None,
        };
        let escaped = escaped.and_then(|byte| u8::try_from(byte).ok());
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer on its way.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, without `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body; for HEAD, the one that is not sent.
    pub body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    pub cut: Option<usize>,
    /// The connection ends before anything of it is sent.
    pub lose: bool,
    /// The length that is told, where it is not that of the body.
    pub told_length: Option<usize>,
}

impl Response {
    /// Returns an answer without headers and body.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Returns a refusal in the form that the specification gives it.
    pub fn refusal(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status)
            .with("Content-Type", "application/json")
            .with_body(body.to_string().into_bytes())
    }

    /// Returns the answer with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the answer with `body`.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Puts `value` in the place of every value of the header `name`.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
    }
}

/// Answers the requests of a connection until it ends.
pub(super) fn serve(stream: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = read_head(&mut reader)?;
        let reading = interposed(shared, |it| it.reading(&request)).unwrap_or_default();
        if request.header("expect").is_some() && reading != Reading::Nothing {
            (&*stream)
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .ok()?;
        }
        let half = request.len() / 2;
        request.body = match reading {
            Reading::Nothing => Vec::new(),
            Reading::Half => read_exactly(&mut reader, half)?,
            Reading::Whole if request.is_chunked() => read_chunks(&mut reader)?,
            Reading::Whole => read_exactly(&mut reader, request.len())?,
        };
        lock(&shared.log).push(request.clone());
        if reading == Reading::Nothing {
            return None;
        }
        let step = interposed(shared, |it| it.before(&mut request)).unwrap_or_default();
        let mut response = match step {
            Step::Answer(response) => response,
            Step::Stall => {
                // Until the client gives up and closes the connection.
                drop(reader.read(&mut [0]));
                return None;
            }
            Step::Pass | Step::Twice => {
                let mut state = lock(&shared.state);
                if matches!(step, Step::Twice) {
                    router::answer(&mut state, &request, Reading::Whole);
                }
                router::answer(&mut state, &request, reading)
            }
        };
        if reading == Reading::Half {
            return None;
        }
        interposed(shared, |it| it.after(&request, &mut response));
        if response.lose {
            return None;
        }
        write(stream, &request, &response)?;
    }
}

fn interposed<T>(shared: &Shared, ask: impl FnOnce(&mut dyn Interposer) -> T) -> Option<T> {
    let mut interposer = lock(&shared.interposer);
    interposer.as_mut().map(|interposer| ask(&mut **interposer))
}

fn read_head(reader: &mut impl BufRead) -> Option<Request> {
    let first = read_line(reader)?;
    let mut words = first.split_ascii_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request {
        method,
        target,
        headers,
        body: Vec::new(),
    })
}

fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let n_read = reader.read_line(&mut line).ok()?;
    (n_read > 0).then(|| line.trim_end().to_owned())
}

fn read_exactly(reader: &mut impl Read, len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn read_chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let line = read_line(reader)?;
        let len = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        bytes.extend(read_exactly(reader, len)?);
        read_line(reader)?;
        if len == 0 {
            return Some(bytes);
        }
    }
}

fn write(mut stream: &TcpStream, request: &Request, response: &Response) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} X\r\n", response.status);
    for (name, value) in &response.headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    if response.status != 204 {
        let len = response.told_length.unwrap_or(response.body.len());
        head.extend(["Content-Length: ", &len.to_string(), "\r\n"]);
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if request.method != "HEAD" {
        let end = response.cut.unwrap_or(usize::MAX).min(response.body.len());
        bytes.extend(response.body.get(..end).unwrap_or_default());
    }
    stream.write_all(&bytes).ok()?;
    let is_whole = response.cut.is_none() && response.told_length.is_none();
    is_whole.then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_unescaped() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(unescape(text), expected);
        }
        check("sha256:0", "sha256:0");
        check("a%2Fb%2fc+d", "a/b/c d");
        check("100%", "100%");
        check("%zz", "%");
    }

    #[test]
    fn chunks_are_joined() {
        let body = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nrest";
        assert_eq!(read_chunks(&mut &body[..]).unwrap(), b"abcde");
    }
}
