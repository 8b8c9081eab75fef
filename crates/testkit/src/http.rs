//! An HTTP client that returns complete responses.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::LIMIT;

/// A complete response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The code.
    pub code: u16,
    /// Status line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn parse(raw: &[u8]) -> io::Result<Self> {
        let text = String::from_utf8_lossy(raw);
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP answer: {text:?}"));
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(wrong)?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(wrong)?;
        Ok(Self { code, head: head.to_owned(), body: body.to_owned() })
    }
}

/// A connection with a time limit.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// One request on its own connection.
pub fn request(stream: impl Read + Write, method: &str, target: &str) -> io::Result<Answer> {
    raw(stream, format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes())
}

/// One request with headers and a body, on its own connection.
pub fn with_body(
    address: SocketAddr,
    (method, target): (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    raw(connect(address)?, format!("{text}Connection: close\r\n\r\n{body}").as_bytes())
}

/// Sends these bytes, and reads until the end of the connection.
pub fn raw(mut stream: impl Read + Write, bytes: &[u8]) -> io::Result<Answer> {
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // A server that refuses a request need not read all of it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => {}
        result => {
            result?;
        }
    }
    Answer::parse(&answer)
}
