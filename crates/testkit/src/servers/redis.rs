//! Redis, with the password `pw` for everybody and a user `app` whose password is `s3cretPW`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::certificates::Certificate;
use super::{Process, free_ports, give, run, unprivileged, wait_for};

/// A server.
#[derive(Debug)]
pub struct Redis {
    directory: TempDir,
    /// Where it listens.
    pub port: u16,
    /// Where it listens with TLS, if it has a certificate.
    pub tls_port: u16,
    process: Process,
}

impl Redis {
    /// Starts one, which encrypts too if it has a certificate.
    #[must_use]
    pub fn start(certificate: Option<Certificate>) -> Self {
        let directory = crate::private_directory();
        run(Command::new("chmod").arg("755").arg(directory.path()));
        let certificate = certificate.map(|it| super::own(&it, directory.path()));
        give(directory.path());
        let ports = free_ports(2);
        let log = directory.path().join("log");
        let mut command = unprivileged("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &ports[0].to_string(), "--unixsocketperm", "777"])
            .arg("--unixsocket")
            .arg(directory.path().join("s"))
            .arg("--dir")
            .arg(directory.path())
            .args(["--save", "", "--appendonly", "no", "--requirepass", "pw"])
            .args(["--user", "app", "on", ">s3cretPW", "~*", "+@all"]);
        if let Some(Certificate { certificate, key }) = &certificate {
            command.args(["--tls-port", &ports[1].to_string(), "--tls-auth-clients", "no"]);
            command.arg("--tls-cert-file").arg(certificate).arg("--tls-key-file").arg(key);
            command.arg("--tls-ca-cert-file").arg(certificate);
        }
        let mut process = Process::start(&mut command, &log);
        wait_for("redis-server", &mut process, &log, || answers(ports[0]));
        Self { directory, port: ports[0], tls_port: ports[1], process }
    }

    /// Where its unix socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut answer = [0; 7];
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && matches!(&answer, b"-NOAUTH" | b"+PONG\r\n")
}
