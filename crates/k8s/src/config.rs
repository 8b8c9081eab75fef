//! Address and credentials of the API server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::ServerName;

use crate::KubeError;

/// Directory where the kubelet mounts the service account of a pod.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
const PORT_HTTPS: &str = "KUBERNETES_SERVICE_PORT_HTTPS";

/// Address and credentials of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// IPv4 or IPv6 address (without brackets), or a name.
    pub host: String,
    pub port: u16,
    /// CA bundle (PEM) for the server certificate.
    pub ca_file: PathBuf,
    /// File with the token, read again for each request.
    pub token_file: PathBuf,
    /// Namespace of this pod, if the service account has one.
    pub namespace: Option<String>,
}

impl Config {
    /// Reads the configuration that the kubelet gives to every container: two variables, and the files of the service
    /// account in a directory, by default [`SERVICE_ACCOUNT`].
    ///
    /// # Errors
    ///
    /// A variable or a file is missing or invalid; the error names it.
    pub fn in_cluster(
        variable: impl Fn(&str) -> Option<String>,
        directory: &Path,
    ) -> Result<Self, KubeError> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let missing = |name| KubeError::Variable { name, why: "is not set".to_owned() };
        let host = given(HOST).ok_or_else(|| missing(HOST))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host).to_owned();
        if ServerName::try_from(host.as_str()).is_err() {
            let why =
                format!("is '{}', which is not a valid host name or address", crate::names::shown(&host));
            return Err(KubeError::Variable { name: HOST, why });
        }
        let (name, port) = given(PORT)
            .map(|port| (PORT, port))
            .or_else(|| given(PORT_HTTPS).map(|port| (PORT_HTTPS, port)))
            .ok_or_else(|| missing(PORT))?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| KubeError::Variable {
            name,
            why: format!("is '{}', expected a port (1 to 65535)", crate::names::shown(&port)),
        })?;
        let config = Self {
            host,
            port,
            ca_file: directory.join("ca.crt"),
            token_file: directory.join("token"),
            namespace: namespace(&directory.join("namespace"))?,
        };
        read_token(&config.token_file)?;
        read_ca(&config.ca_file)?;
        Ok(config)
    }
}

/// Reads the token, without a line end that a file written by hand may have.
pub(crate) fn read_token(file: &Path) -> Result<String, KubeError> {
    let bad = |why: &str| unusable("the token", file, why.to_owned());
    let token = fs::read_to_string(file).map_err(|error| bad(&described(&error)))?;
    match token.trim() {
        "" => Err(bad("is empty")),
        token if token.bytes().any(|byte| !byte.is_ascii_graphic()) => Err(bad("is not a valid token")),
        token => Ok(token.to_owned()),
    }
}

pub(crate) fn read_ca(file: &Path) -> Result<Vec<u8>, KubeError> {
    fs::read(file).map_err(|error| unusable("the CA of the cluster", file, described(&error)))
}

fn namespace(file: &Path) -> Result<Option<String>, KubeError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|name| !name.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable("the namespace", file, described(&error))),
    }
}

pub(crate) fn unusable(what: &'static str, file: &Path, why: String) -> KubeError {
    KubeError::File { what, file: file.to_owned(), why }
}

/// Returns the text of a system error, without the number that the standard library appends.
pub(crate) fn described(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> testkit::TempDir {
        let directory = testkit::private_directory();
        for (name, content) in [("token", "secret\n"), ("ca.crt", "ca"), ("namespace", "shop")] {
            assert!(fs::write(directory.path().join(name), content).is_ok());
        }
        directory
    }

    fn with(host: &str, port: &str, https: &str, directory: &Path) -> Result<Config, String> {
        let variable = |name: &str| match name {
            HOST => Some(host.to_owned()),
            PORT => Some(port.to_owned()),
            PORT_HTTPS => Some(https.to_owned()),
            _ => None,
        };
        Config::in_cluster(variable, directory).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_variables_and_files_of_the_kubelet() {
        let directory = account();
        for (host, expected) in [
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::1", "fd00::1"),
            ("[fd00::1]", "fd00::1"),
            ("api.example", "api.example"),
        ] {
            let config = with(host, "443", "", directory.path()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((config.host.as_str(), config.port), (expected, 443));
            assert_eq!(config.namespace.as_deref(), Some("shop"));
        }
        assert_eq!(with("10.0.0.1", "", "6443", directory.path()).map(|config| config.port), Ok(6443));
    }

    #[test]
    fn reports_missing_and_invalid_settings() {
        let directory = account();
        let refused = |host, port| with(host, port, "", directory.path()).err().unwrap_or_default();
        assert!(refused("", "443").contains("KUBERNETES_SERVICE_HOST is not set"), "{}", refused("", "443"));
        assert!(refused("10.0.0.1", "").contains("KUBERNETES_SERVICE_PORT is not set"));
        assert!(refused("a b", "443").contains("KUBERNETES_SERVICE_HOST is 'a b'"));
        for port in ["0", "65536", "https", "-1", "tcp://10.0.0.1:443"] {
            let text = refused("10.0.0.1", port);
            assert!(text.contains(&format!("KUBERNETES_SERVICE_PORT is '{port}'")), "{text}");
        }
        for name in ["token", "ca.crt"] {
            let directory = account();
            let file = directory.path().join(name);
            assert!(fs::remove_file(&file).is_ok());
            let text = with("10.0.0.1", "443", "", directory.path()).err().unwrap_or_default();
            assert!(text.contains(&file.display().to_string()), "{text}");
            assert!(text.contains("no such file") && text.contains("automountServiceAccountToken"), "{text}");
        }
        assert!(fs::remove_file(directory.path().join("namespace")).is_ok());
        assert_eq!(with("10.0.0.1", "443", "", directory.path()).map(|config| config.namespace), Ok(None));
    }

    #[test]
    fn a_token_has_no_blanks() {
        let directory = account();
        let file = directory.path().join("token");
        assert_eq!(read_token(&file), Ok("secret".to_owned()));
        for bad in ["", "\n", "two words", "a\nb", "\u{e4}"] {
            assert!(fs::write(&file, bad).is_ok());
            assert!(read_token(&file).is_err(), "{bad:?}");
        }
    }
}
