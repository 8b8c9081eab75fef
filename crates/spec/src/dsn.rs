//! Data source names of databases and brokers.
//!
//! | server | forms |
//! | --- | --- |
//! | MySQL, MariaDB | `user:password@tcp(host:port)/db?tls=…` or `@unix(path)`, as in Go's driver; `mysql://user:password@host:port/db?ssl-mode=…` |
//! | PostgreSQL | `postgres://user:password@host:port/db?sslmode=…`; `host=… user=… password=… sslmode=…`, as in libpq |
//! | RabbitMQ | `amqp://user:password@host:port/vhost`, `amqps://…` |
//! | Redis | `redis://user:password@host:port`, `rediss://…`, `unix:///path` |
//!
//! Errors do not quote the text, which may hold a password.

use std::fmt;
use std::path::PathBuf;

/// A value that is never logged.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// The value, for sending it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The text with the value replaced by `(hidden)`.
    #[must_use]
    pub fn hidden_in(&self, text: &str) -> String {
        // One or two letters occur in every text.
        if self.0.len() < 3 { text.to_owned() } else { text.replace(&self.0, "(hidden)") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Tcp {
        /// Name or address.
        host: String,
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Encryption of a connection, and verification of the server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    #[default]
    Off,
    /// TLS if the server supports it.
    IfOffered,
    /// TLS, without verification of the certificate.
    Unverified,
    /// TLS, with a certificate of a known CA.
    Verified {
        /// CA certificates in addition to those of the system (PEM).
        ca: Option<PathBuf>,
        /// Whether the certificate must be valid for the host name.
        name: bool,
    },
}

/// A server, and the credentials for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    pub place: Endpoint,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// The database or virtual host.
    pub database: Option<String>,
    pub tls: Tls,
}

impl ConnectionInfo {
    /// Fills in what is missing from these variables.
    #[must_use]
    pub fn or_else(
        self,
        variable: impl Fn(&str) -> Option<String>,
        (user, password, database): (&str, &str, &str),
    ) -> Self {
        Self {
            user: self.user.or_else(|| variable(user)),
            password: self.password.or_else(|| variable(password).map(Secret)),
            database: self.database.or_else(|| variable(database)),
            ..self
        }
    }

    /// The text without the password.
    #[must_use]
    pub fn without_password(&self, text: &str) -> String {
        self.password.as_ref().map_or_else(|| text.to_owned(), |password| password.hidden_in(text))
    }
}

/// The parts of a URL.
struct Url<'a> {
    scheme: &'a str,
    user: Option<String>,
    password: Option<Secret>,
    host: Option<String>,
    port: Option<u16>,
    path: &'a str,
    parameters: Vec<(String, String)>,
}

const EXPECTED_URL: &str = "expected scheme://user:password@host:port/name";

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED_URL)?;
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        // A password may hold unencoded slashes and at-signs: the last at-sign counts.
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (authority, path) =
            rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (user, password) =
            match login.map(|login| login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)))) {
                None => (None, None),
                Some((user, password)) => (
                    Some(decoded(user)?).filter(|user| !user.is_empty()),
                    password.map(decoded).transpose()?.map(Secret),
                ),
            };
        let (host, port) = host_and_port(authority)?;
        let parameters = parameters(query)?;
        Ok(Self {
            scheme,
            user,
            password,
            host: host.map(|host| decoded(&host)).transpose()?,
            port,
            path,
            parameters,
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn place(&self, default: u16) -> Endpoint {
        Endpoint::Tcp {
            host: self.host.clone().unwrap_or_else(|| "localhost".to_owned()),
            port: self.port.unwrap_or(default),
        }
    }

    fn name(&self) -> Result<Option<String>, String> {
        Ok(Some(decoded(self.path)?).filter(|name| !name.is_empty()))
    }
}

fn host_and_port(authority: &str) -> Result<(Option<String>, Option<u16>), String> {
    let port = |text: &str| match text.parse() {
        Ok(port) if port > 0 => Ok(Some(port)),
        _ => Err("the port is not a number from 1 to 65535".to_owned()),
    };
    if authority.is_empty() {
        return Ok((None, None));
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the address lacks ]")?;
        let port = rest.strip_prefix(':').map(port).transpose()?.flatten();
        return Ok((Some(host.to_owned()), port));
    }
    let (host, number) =
        authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    if host.contains(':') {
        return Err("an IPv6 address must be in [ ]".to_owned());
    }
    let number = number.map(port).transpose()?.flatten();
    Ok((Some(host.to_owned()).filter(|host| !host.is_empty()), number))
}

fn parameters(query: &str) -> Result<Vec<(String, String)>, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decoded(name)?, decoded(value)?))
        })
        .collect()
}

/// Decodes percent-encoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        match (first, more) {
            (b'%', [high, low, more @ ..]) => {
                bytes.push(digits(&[*high, *low]).ok_or("a % is not followed by two hexadecimal digits")?);
                rest = more;
            }
            (b'%', _) => return Err("a % is not followed by two hexadecimal digits".to_owned()),
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())
}

/// Parses a MySQL or MariaDB DSN.
///
/// # Errors
///
/// It is invalid; the message does not quote the text.
pub fn mysql(text: &str) -> Result<ConnectionInfo, String> {
    if text.contains("://") {
        return mysql_url(text);
    }
    const FORM: &str =
        "expected user:password@tcp(host:port)/db, user@unix(path)/db or mysql://user:password@host:port/db";
    // As in Go's driver: the last slash, and the last at-sign before it.
    let (front, back) = text.rsplit_once('/').ok_or(FORM)?;
    let (login, address) = front.rsplit_once('@').map_or((None, front), |(login, rest)| (Some(login), rest));
    let (database, query) = back.split_once('?').unwrap_or((back, ""));
    let (user, password) = login.map_or((None, None), |login| match login.split_once(':') {
        None => (Some(login.to_owned()), None),
        Some((user, password)) => (Some(user.to_owned()), Some(Secret(password.to_owned()))),
    });
    let (protocol, inner) = match address.split_once('(') {
        Some((protocol, rest)) => (protocol, rest.strip_suffix(')').ok_or(FORM)?),
        None => (address, ""),
    };
    let place = match protocol {
        "tcp" | "" => {
            let (host, port) = host_and_port(inner)?;
            Endpoint::Tcp { host: host.unwrap_or_else(|| "127.0.0.1".to_owned()), port: port.unwrap_or(3306) }
        }
        "unix" if inner.is_empty() => Endpoint::Unix("/tmp/mysql.sock".into()),
        "unix" => Endpoint::Unix(inner.into()),
        _ => return Err(FORM.to_owned()),
    };
    let parameters = parameters(query)?;
    let find = |name: &str| {
        parameters.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    };
    let ca = find("ssl-ca").map(PathBuf::from);
    let tls = match find("tls") {
        None if ca.is_some() => Tls::Verified { ca, name: true },
        None | Some("false") => Tls::Off,
        Some("skip-verify") => Tls::Unverified,
        Some("preferred") => Tls::IfOffered,
        // "true", or a configuration registered with Go's driver: the certificate is verified.
        Some(_) => Tls::Verified { ca, name: true },
    };
    let database = Some(decoded(database)?).filter(|name| !name.is_empty());
    Ok(ConnectionInfo { place, user: user.filter(|user| !user.is_empty()), password, database, tls })
}

fn mysql_url(text: &str) -> Result<ConnectionInfo, String> {
    let url = Url::parse(text)?;
    if !matches!(url.scheme, "mysql" | "mariadb") {
        return Err("expected mysql://".to_owned());
    }
    let ca = url.parameter("ssl-ca").map(PathBuf::from);
    let mode = url.parameter("ssl-mode").map(str::to_uppercase);
    let tls = match mode.as_deref() {
        None if ca.is_some() => Tls::Verified { ca, name: true },
        None | Some("PREFERRED") => Tls::IfOffered,
        Some("DISABLED") => Tls::Off,
        Some("REQUIRED") => Tls::Unverified,
        Some("VERIFY_CA") => Tls::Verified { ca, name: false },
        Some("VERIFY_IDENTITY") => Tls::Verified { ca, name: true },
        Some(_) => {
            return Err(
                "ssl-mode: expected DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY".to_owned()
            );
        }
    };
    let place = url.parameter("socket").map_or_else(|| url.place(3306), |path| Endpoint::Unix(path.into()));
    let database = url.name()?;
    Ok(ConnectionInfo { place, user: url.user, password: url.password, database, tls })
}

/// Parses a PostgreSQL DSN.
///
/// # Errors
///
/// It is invalid; the message does not quote the text.
pub fn postgres(text: &str) -> Result<ConnectionInfo, String> {
    if !text.contains("://") {
        return postgres_pairs(text);
    }
    let url = Url::parse(text)?;
    if !matches!(url.scheme, "postgres" | "postgresql") {
        return Err("expected postgres://".to_owned());
    }
    let mut place = url.place(5432);
    let host = url.parameter("host").map(str::to_owned).or_else(|| url.host.clone());
    if let Some(directory) = host.filter(|host| host.starts_with('/')) {
        place = postgres_socket(&directory, url.port.unwrap_or(5432));
    }
    let tls = postgres_tls(url.parameter("sslmode"), url.parameter("sslrootcert"))?;
    let user = url.user.clone().or_else(|| url.parameter("user").map(str::to_owned));
    let password = url.password.clone().or_else(|| url.parameter("password").map(|it| Secret(it.to_owned())));
    Ok(ConnectionInfo { place, user, password, database: url.name()?, tls })
}

fn postgres_socket(directory: &str, port: u16) -> Endpoint {
    Endpoint::Unix(PathBuf::from(directory).join(format!(".s.PGSQL.{port}")))
}

fn postgres_tls(mode: Option<&str>, ca: Option<&str>) -> Result<Tls, String> {
    let ca = ca.map(PathBuf::from);
    Ok(match mode {
        Some("disable") => Tls::Off,
        None | Some("allow" | "prefer") => Tls::IfOffered,
        // libpq verifies the certificate if a CA file is given.
        Some("require") if ca.is_some() => Tls::Verified { ca, name: false },
        Some("require") => Tls::Unverified,
        Some("verify-ca") => Tls::Verified { ca, name: false },
        Some("verify-full") => Tls::Verified { ca, name: true },
        Some(_) => {
            return Err(
                "sslmode: expected disable, allow, prefer, require, verify-ca or verify-full".to_owned()
            );
        }
    })
}

/// Parses keyword/value pairs as libpq does: quotes around values with blanks, a backslash before a quote.
fn postgres_pairs(text: &str) -> Result<ConnectionInfo, String> {
    const FORM: &str =
        "expected postgres://user:password@host:port/db, or host=… port=… user=… password=… dbname=…";
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=').ok_or(FORM)?;
        let value = value.trim_start();
        let quoted = value.starts_with('\'');
        let mut taken = String::new();
        let mut end = value.len();
        let mut characters = value.char_indices().skip(usize::from(quoted));
        let mut closed = !quoted;
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => taken.extend(characters.next().map(|(_, character)| character)),
                '\'' if quoted => {
                    (end, closed) = (at + 1, true);
                    break;
                }
                blank if !quoted && blank.is_whitespace() => {
                    end = at;
                    break;
                }
                other => taken.push(other),
            }
        }
        if !closed {
            return Err("a quote is not closed".to_owned());
        }
        pairs.push((name.trim().to_owned(), taken));
        rest = value[end..].trim_start();
    }
    let find =
        |name: &str| pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let port = match find("port") {
        None => 5432,
        Some(port) => port.parse().map_err(|_| "the port is not a number from 1 to 65535")?,
    };
    let host = find("host").unwrap_or_else(|| "localhost".to_owned());
    let place =
        if host.starts_with('/') { postgres_socket(&host, port) } else { Endpoint::Tcp { host, port } };
    Ok(ConnectionInfo {
        place,
        user: find("user"),
        password: find("password").map(Secret),
        database: find("dbname"),
        tls: postgres_tls(find("sslmode").as_deref(), find("sslrootcert").as_deref())?,
    })
}

/// Parses an AMQP URL. `%v:%v` in a template stands for user name and password.
///
/// # Errors
///
/// It is invalid; the message does not quote the text.
pub fn amqp(template: &str, user: Option<&str>, password: Option<&str>) -> Result<ConnectionInfo, String> {
    // The template's verbs are not percent-encoding.
    let with_verbs = template.contains("%v:%v@");
    let text = template.replacen("%v:%v@", "", 1);
    let url = Url::parse(&text)?;
    let (port, tls) = match url.scheme {
        "amqp" => (5672, Tls::Off),
        "amqps" if url.parameter("verify") == Some("verify_none") => (5671, Tls::Unverified),
        "amqps" => (5671, Tls::Verified { ca: url.parameter("cacertfile").map(PathBuf::from), name: true }),
        _ => return Err("expected amqp:// or amqps://".to_owned()),
    };
    if with_verbs && user.is_none() {
        return Err("it has %v for the user name, which is not set".to_owned());
    }
    let given = |own: Option<String>, other: Option<&str>| own.or_else(|| other.map(str::to_owned));
    let password = url.password.clone().or_else(|| password.map(|it| Secret(it.to_owned())));
    Ok(ConnectionInfo {
        place: url.place(port),
        user: Some(given(url.user.clone(), user).unwrap_or_else(|| "guest".to_owned())),
        password: Some(password.unwrap_or_else(|| Secret("guest".to_owned()))),
        database: Some(url.name()?.unwrap_or_else(|| "/".to_owned())),
        tls,
    })
}

/// Parses a Redis URL.
///
/// # Errors
///
/// It is invalid; the message does not quote the text.
pub fn redis(text: &str) -> Result<ConnectionInfo, String> {
    let url = Url::parse(text)?;
    let ca = || url.parameter("cacertfile").map(PathBuf::from);
    let (place, tls) = match url.scheme {
        "redis" => (url.place(6379), Tls::Off),
        "rediss" if url.parameter("verify") == Some("none") => (url.place(6379), Tls::Unverified),
        "rediss" => (url.place(6379), Tls::Verified { ca: ca(), name: true }),
        "unix" | "redis+unix" => (Endpoint::Unix(format!("/{}", decoded(url.path)?).into()), Tls::Off),
        _ => return Err("expected redis://, rediss:// or unix://".to_owned()),
    };
    Ok(ConnectionInfo { place, user: url.user.clone(), password: url.password.clone(), database: None, tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(login: &Result<ConnectionInfo, String>) -> String {
        match login {
            Ok(login) => {
                let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
                let password = text(login.password.as_ref().map(Secret::reveal));
                let (user, database) = (text(login.user.as_deref()), text(login.database.as_deref()));
                format!("{} {user} {password} {database} {:?}", login.place, login.tls)
            }
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn the_forms_of_mysql() {
        for (text, expected) in [
            ("app:pw@tcp(db:1)/shop", "db:1 app pw shop Off"),
            ("app:p@ss/w:rd@tcp([::1]:1)/shop", "[::1]:1 app p@ss/w:rd shop Off"),
            ("app@unix(/run/my.sock)/", "/run/my.sock app - - Off"),
            ("/", "127.0.0.1:3306 - - - Off"),
            ("a:b@tcp(db)/x?tls=skip-verify&parseTime=true", "db:3306 a b x Unverified"),
            ("a:b@tcp(db)/x?tls=preferred", "db:3306 a b x IfOffered"),
            (
                "a:b@/x?tls=true&ssl-ca=%2Fca.pem",
                "127.0.0.1:3306 a b x Verified { ca: Some(\"/ca.pem\"), name: true }",
            ),
            (
                "mysql://a:p%40ss@db:1/x?ssl-mode=verify_ca",
                "db:1 a p@ss x Verified { ca: None, name: false }",
            ),
            ("mysql://a@localhost/x?socket=/run/my.sock&ssl-mode=DISABLED", "/run/my.sock a - x Off"),
            ("a:topsecret@tcp(db:x)/y", "error: the port is not a number from 1 to 65535"),
            (
                "mysql://a:topsecret@db/x?ssl-mode=maybe",
                "error: ssl-mode: expected DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY",
            ),
        ] {
            assert_eq!(shown(&mysql(text)), expected, "{text}");
        }
        for text in [
            "nonsense",
            "a:topsecret@udp(db)/x",
            "a:topsecret@tcp(db/x",
            "http://a:topsecret@x/",
            "a:b@tcp(db)/x%zz",
        ] {
            let why = mysql(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(!why.contains("topsecret"), "{why}");
        }
    }

    #[test]
    fn the_forms_of_postgres() {
        for (text, expected) in [
            ("postgres://app:pw@db:1/shop?sslmode=disable", "db:1 app pw shop Off"),
            ("postgresql://app@/shop?host=/run/pg", "/run/pg/.s.PGSQL.5432 app - shop IfOffered"),
            ("postgres://%2Frun%2Fpg/shop", "/run/pg/.s.PGSQL.5432 - - shop IfOffered"),
            (
                "postgres://a:b@db/x?sslmode=verify-full&sslrootcert=/ca",
                "db:5432 a b x Verified { ca: Some(\"/ca\"), name: true }",
            ),
            (
                "host=db port=1 user=app password='p w\\'d' dbname=shop sslmode=require",
                "db:1 app p w'd shop Unverified",
            ),
            ("user=app host=/run/pg", "/run/pg/.s.PGSQL.5432 app - - IfOffered"),
            ("host=db password='open", "error: a quote is not closed"),
            (
                "postgres://a:b@db/x?sslmode=perhaps",
                "error: sslmode: expected disable, allow, prefer, require, verify-ca or verify-full",
            ),
        ] {
            assert_eq!(shown(&postgres(text)), expected, "{text}");
        }
        assert!(postgres("nonsense").is_err() && postgres("mysql://x").is_err());
    }

    #[test]
    fn the_forms_of_amqp_and_redis() {
        for (text, expected) in [
            ("amqp://%v:%v@mq:1", "mq:1 app p%w / Off"),
            ("amqp://a:b@mq/shop", "mq:5672 a b shop Off"),
            (
                "amqps://%v:%v@mq/%2Fx?cacertfile=/ca",
                "mq:5671 app p%w /x Verified { ca: Some(\"/ca\"), name: true }",
            ),
            ("http://mq", "error: expected amqp:// or amqps://"),
        ] {
            assert_eq!(shown(&amqp(text, Some("app"), Some("p%w"))), expected, "{text}");
        }
        assert_eq!(shown(&amqp("amqp://mq", None, None)), "mq:5672 guest guest / Off");
        assert!(amqp("amqp://%v:%v@mq", None, None).is_err());
        for (text, expected) in [
            ("redis://cache", "cache:6379 - - - Off"),
            ("redis://:pw@cache:1/0", "cache:1 - pw - Off"),
            ("rediss://a:b@cache?verify=none", "cache:6379 a b - Unverified"),
            ("unix:///run/redis.sock", "/run/redis.sock - - - Off"),
            ("unix://a:b@/run/redis.sock", "/run/redis.sock a b - Off"),
        ] {
            assert_eq!(shown(&redis(text)), expected, "{text}");
        }
    }

    #[test]
    fn nobody_reads_a_secret() {
        let login = mysql("app:topsecret@tcp(db)/x").unwrap_or_else(|why| panic!("{why}"));
        assert!(!format!("{login:?}").contains("topsecret"));
        assert_eq!(login.without_password("denied for 'topsecret'"), "denied for '(hidden)'");
    }
}
