//! PostgreSQL, with a user `app` whose password is `s3cretPW`, and a database of that name.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::certificates::Certificate;
use super::{Process, free_ports, give, run, unprivileged, wait_for};

/// The name of the user, and of its database.
pub const USER: &str = "app";
/// And its password.
pub const PASSWORD: &str = "s3cretPW";

/// A server.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    /// Where it listens, and what its unix socket is called by.
    pub port: u16,
    process: Option<Process>,
    certificate: Option<Certificate>,
}

impl Postgres {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that can encrypt.
    #[must_use]
    pub fn start_with(certificate: Option<&Certificate>) -> Self {
        let (directory, certificate) = super::installed(&template(), certificate);
        let mut it = Self { directory, port: free_ports(1)[0], process: None, certificate };
        it.restart();
        it
    }

    /// The directory of its unix socket.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it again, with what it has on disk.
    pub fn restart(&mut self) {
        let (place, log) = (self.directory.path(), self.directory.path().join("log"));
        let mut command = unprivileged(program("postgres"));
        command.arg("-D").arg(place.join("data")).arg("-k").arg(place).args([
            "-p",
            &self.port.to_string(),
            "-F",
        ]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=16MB"]);
        command.args(["-c", "full_page_writes=off", "-c", "synchronous_commit=off"]);
        if let Some(Certificate { certificate, key }) = &self.certificate {
            command.args(["-c", "ssl=on", "-c", &format!("ssl_cert_file={}", certificate.display())]);
            command.args(["-c", &format!("ssl_key_file={}", key.display())]);
        }
        // One that was killed has left it behind.
        let _ = fs::remove_file(place.join("data/postmaster.pid"));
        let mut process = Process::start(&mut command, &log);
        let port = self.port;
        wait_for("postgres", &mut process, &log, || asks_for_a_password(port));
        self.process = Some(process);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }
}

/// Where Debian has the programs of the server.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).max();
    newest.unwrap_or_else(|| name.into())
}

/// A startup message (protocol 3.0) is answered with `R`, an authentication request.
fn asks_for_a_password(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let message = b"\0\x03\0\0user\0app\0database\0app\0\0";
    let length = u32::try_from(message.len() + 4).unwrap_or(0).to_be_bytes();
    let mut answer = [0];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(&[&length[..], message].concat()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"R"
}

/// A directory with what a fresh installation has, made once for all tests of a program.
fn template() -> PathBuf {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let directory = crate::private_directory();
        let (data, password) = (directory.path().join("data"), directory.path().join("password"));
        fs::write(&password, PASSWORD).unwrap_or_else(|error| panic!("{error}"));
        give(directory.path());
        run(unprivileged(program("initdb"))
            .arg("-D")
            .arg(&data)
            .args(["-U", USER, "-A", "scram-sha-256", "-N", "--no-instructions", "--locale=C", "-E", "UTF8"])
            .arg(format!("--pwfile={}", password.display())));
        // A database of the user's name.
        let mut single = unprivileged("sh");
        single.args(["-c", r#"echo 'create database app' | "$0" --single -D "$1" postgres >/dev/null"#]);
        run(single.arg(program("postgres")).arg(&data));
        directory
    };
    TEMPLATE.get_or_init(make).path().join("data")
}
