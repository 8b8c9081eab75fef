//! Locks: the server that grants them, and the lock under which a process runs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::probe::HttpCheck;
use crate::text::hide_credentials;

/// The default port of a lock server.
pub const DEFAULT_PORT: u16 = 8191;
/// The default URL of a lock server.
pub const DEFAULT_URL: &str = "http://localhost:8191";
/// The default time to live of a lease.
pub const DEFAULT_TTL: Duration = Duration::from_secs(2);
/// The shortest and the longest time to live of a lease.
pub const TTLS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(24 * 3600));
/// The longest name of a lock, in bytes.
pub const MAX_NAME: usize = 512;

/// The address of an HTTP server: host and port of a URL without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    /// Name or address.
    pub host: String,
    pub port: u16,
}

impl HttpAddress {
    /// The server of a URL; a URL without a port means `default`.
    ///
    /// # Errors
    ///
    /// It is not an `http` URL without a path.
    pub fn of_url(url: &str, default: u16) -> Result<Self, String> {
        let HttpCheck { tls, host, port, path, .. } = HttpCheck::of_url(url)?;
        if tls {
            return Err("https is not supported, expected http".to_owned());
        }
        if path != "/" {
            return Err("expected http://host:port without a path".to_owned());
        }
        let given = url.trim_end_matches('/').ends_with(&format!(":{port}"));
        Ok(Self { host, port: if given { port } else { default } })
    }

    /// Host and port as in a URL.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

/// The URL of a lock server; without a port [`DEFAULT_PORT`].
impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let shown = hide_credentials(url);
        Self::of_url(url, DEFAULT_PORT).map_err(|why| format!("'{shown}' is not a lock server: {why}"))
    }
}

/// The lock under which a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockPlan {
    pub name: String,
    /// The time to live of the lease.
    pub ttl: Duration,
    /// The lock server.
    pub server: HttpAddress,
}

impl LockPlan {
    /// Checks the settings of a lock.
    ///
    /// # Errors
    ///
    /// The name, the time to live or the URL is invalid.
    pub fn new(name: &str, ttl: Duration, url: &str) -> Result<Self, String> {
        check_name(name)?;
        check_ttl(ttl)?;
        Ok(Self { name: name.to_owned(), ttl, server: url.parse()? })
    }
}

/// Checks a time to live.
///
/// # Errors
///
/// It is out of range.
pub fn check_ttl(ttl: Duration) -> Result<(), String> {
    if ttl < TTLS.0 || ttl > TTLS.1 {
        return Err(format!("expected a time to live from {:?} to 24h, found {ttl:?}", TTLS.0));
    }
    Ok(())
}

/// Checks the name of a lock.
///
/// # Errors
///
/// It is empty, too long, or has a control character.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of the lock is missing".to_owned());
    }
    if name.len() > MAX_NAME {
        return Err(format!("the name of the lock is longer than {MAX_NAME} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("the name of the lock has a control character".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_an_http_url_without_a_path() {
        for (url, expected) in [
            ("http://localhost:8191", Ok("http://localhost:8191")),
            ("http://locks/", Ok("http://locks:8191")),
            ("http://[::1]:1", Ok("http://[::1]:1")),
            ("http://locks:80", Ok("http://locks:80")),
            ("https://locks", Err("expected http")),
            ("http://locks/a", Err("without a path")),
            ("locks", Err("not a lock server")),
            ("http://u:pass@locks/x", Err("'http://(hidden)@locks/x'")),
        ] {
            match (url.parse::<HttpAddress>(), expected) {
                (Ok(server), Ok(shown)) => assert_eq!(server.to_string(), shown),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                (other, _) => panic!("{url}: {other:?}"),
            }
        }
    }
}
