//! Certificates for a test, made with openssl(1).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;

/// A CA in a directory, and what it has signed.
#[derive(Debug, Clone)]
pub struct Authority {
    directory: PathBuf,
    name: String,
}

/// A certificate and its key (PEM).
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes one.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let it = Self { directory: directory.to_owned(), name: name.to_owned() };
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", &format!("/CN={name}"), "-addext", "keyUsage=critical,keyCertSign"])
            .arg("-keyout")
            .arg(it.file("key"))
            .arg("-out")
            .arg(it.certificate()));
        it
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.directory.join(format!("{}.{kind}", self.name))
    }

    /// Its own certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.file("pem")
    }

    /// Signs a certificate for these names, such as `IP:127.0.0.1,DNS:localhost`; good for servers and clients.
    #[must_use]
    pub fn sign(&self, name: &str, names: &str) -> Certificate {
        self.sign_for(name, names, &["-days", "2"])
    }

    /// The same, and it is out of date.
    #[must_use]
    pub fn sign_expired(&self, name: &str, names: &str) -> Certificate {
        self.sign_for(name, names, &["-days", "-1"])
    }

    fn sign_for(&self, name: &str, names: &str, days: &[&str]) -> Certificate {
        let at = |kind: &str| self.directory.join(format!("{name}.{kind}"));
        run(Command::new("openssl")
            .args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", &format!("/CN={name}")])
            .arg("-keyout")
            .arg(at("key"))
            .arg("-out")
            .arg(at("csr")));
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth,clientAuth\n");
        std::fs::write(at("ext"), extensions).unwrap_or_else(|error| panic!("{error}"));
        run(Command::new("openssl")
            .args(["x509", "-req", "-CAcreateserial"])
            .args(days)
            .arg("-in")
            .arg(at("csr"))
            .arg("-CA")
            .arg(self.certificate())
            .arg("-CAkey")
            .arg(self.file("key"))
            .arg("-extfile")
            .arg(at("ext"))
            .arg("-out")
            .arg(at("pem")));
        run(Command::new("chmod").arg("644").arg(at("key")));
        Certificate { certificate: at("pem"), key: at("key") }
    }
}
