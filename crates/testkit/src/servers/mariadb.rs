//! MariaDB, with a user `app` whose password is `s3cretPW`, and a database `shop`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use super::certificates::Certificate;
use super::{Process, free_ports, give, run, unprivileged, wait_for};

/// The name of the user.
pub const USER: &str = "app";
/// And its password.
pub const PASSWORD: &str = "s3cretPW";

/// A server.
#[derive(Debug)]
pub struct MariaDb {
    directory: TempDir,
    /// Where it listens.
    pub port: u16,
    process: Option<Process>,
    certificate: Option<Certificate>,
}

impl MariaDb {
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

    /// Where its unix socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    /// Starts it again, with what it has on disk.
    pub fn restart(&mut self) {
        let (place, log) = (self.directory.path(), self.directory.path().join("log"));
        let mut command = unprivileged("mariadbd");
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", place.join("data").display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", place.join("pid").display()))
            .args(["--bind-address=127.0.0.1", &format!("--port={}", self.port), "--skip-log-bin"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M"])
            .args(["--innodb-log-file-size=4M", "--innodb-fast-shutdown=2", "--skip-name-resolve"]);
        if let Some(Certificate { certificate, key }) = &self.certificate {
            command.arg(format!("--ssl-cert={}", certificate.display()));
            command.arg(format!("--ssl-key={}", key.display()));
        }
        let mut process = Process::start(&mut command, &log);
        let port = self.port;
        wait_for("mariadbd", &mut process, &log, || greets(port));
        self.process = Some(process);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends it a signal, such as STOP.
    pub fn signal(&self, signal: i32) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }
}

/// The protocol's first packet comes from the server: length, number, version 10.
fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut head = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head[4] == 10
}

/// A directory with what a fresh installation has, made once for all tests of a program.
fn template() -> PathBuf {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let make = || {
        let directory = crate::private_directory();
        give(directory.path());
        let data = directory.path().join("data");
        run(unprivileged("mariadb-install-db")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .args([
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=4M",
            ]));
        let mut command = unprivileged("mariadbd");
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        command.args(["--bootstrap", "--innodb-log-file-size=4M"]);
        let sql = format!(
            "use mysql;\nflush privileges;\ncreate database shop;\ncreate user {USER} identified by '{PASSWORD}';\n\
             grant all on shop.* to {USER};\n"
        );
        fed(&mut command, &sql);
        directory
    };
    TEMPLATE.get_or_init(make).path().join("data")
}

#[expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]
fn fed(command: &mut Command, sql: &str) {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(sql.as_bytes()));
    let status = child.wait();
    assert!(written.is_some_and(|it| it.is_ok()) && status.is_ok_and(|it| it.success()), "{command:?}");
}
