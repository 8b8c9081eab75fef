//! RabbitMQ, with a user `app` whose password is `s3cretPW`. It takes seconds to start: one is enough for all tests of
//! a program that do not harm it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::certificates::Certificate;
use super::{Process, free_ports, run, wait_for};

/// The user that Debian's package makes for it.
const OWNER: &str = "rabbitmq";

/// A server.
#[derive(Debug)]
pub struct RabbitMq {
    directory: TempDir,
    /// Where it listens.
    pub port: u16,
    /// Where it listens with TLS, if it has a certificate.
    pub tls_port: u16,
    epmd: u16,
    node: String,
    process: Process,
}

impl RabbitMq {
    /// Starts one, which encrypts too if it has a certificate. It wants a heartbeat every two seconds.
    #[must_use]
    pub fn start(certificate: Option<Certificate>) -> Self {
        let directory = crate::private_directory();
        let place = directory.path().to_owned();
        let ports = free_ports(4);
        let certificate = certificate.map(|it| super::own(&it, &place));
        let mut lines = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\ndefault_user = app\ndefault_pass = s3cretPW\nloopback_users = none\n\
             log.console = true\nlog.console.level = error\nheartbeat = 2\n",
            ports[0]
        );
        if let Some(Certificate { certificate, key }) = &certificate {
            lines.push_str(&format!(
                "listeners.ssl.1 = 127.0.0.1:{}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
                 ssl_options.verify = verify_none\n",
                ports[1],
                certificate.display(),
                key.display()
            ));
        }
        let write = |name: &str, text: &str| {
            fs::write(place.join(name), text).unwrap_or_else(|error| panic!("{error}"));
        };
        write("rabbitmq.conf", &lines);
        write("enabled_plugins", "[].");
        let node = format!("test{}@localhost", ports[2]);
        let mut command = as_owner(&place, "/usr/lib/rabbitmq/bin/rabbitmq-server");
        environment(&mut command, &place, &ports, &node);
        run(Command::new("chmod").arg("755").arg(&place));
        if super::are_we_root() {
            run(Command::new("chown").arg("-R").arg(OWNER).arg(&place));
        }
        let log = place.join("output");
        let mut process = Process::start(&mut command, &log);
        wait_for("rabbitmq-server", &mut process, &log, || greets(ports[0]));
        Self { directory, port: ports[0], tls_port: ports[1], epmd: ports[3], node, process }
    }

    /// Closes all connections that clients have, as an operator may.
    pub fn close_connections(&self) {
        let mut command = as_owner(self.directory.path(), "/usr/lib/rabbitmq/bin/rabbitmqctl");
        environment(
            &mut command,
            self.directory.path(),
            &[self.port, self.tls_port, 0, self.epmd],
            &self.node,
        );
        run(command.args(["-q", "close_all_connections", "bye"]));
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.process.kill();
        // It goes into the background and stays there.
        let mut end = Command::new("epmd");
        end.args(["-port", &self.epmd.to_string(), "-relaxed_command_check", "-kill"]);
        end.env("ERL_EPMD_RELAXED_COMMAND_CHECK", "true");
        #[expect(clippy::disallowed_methods, reason = "tests start programs as anybody does")]
        let _ = end.output();
    }
}

fn as_owner(place: &Path, program: &str) -> Command {
    let mut command = if super::are_we_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", OWNER, "--regid", "nogroup", "--clear-groups", "--", program]);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(place);
    command
}

fn environment(command: &mut Command, place: &Path, ports: &[u16], node: &str) {
    let path = |name: &str| place.join(name);
    command
        .env("HOME", place)
        .env("ERL_EPMD_PORT", ports[3].to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "true")
        .env("RABBITMQ_NODENAME", node)
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", ports[0].to_string())
        .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
        .env("RABBITMQ_LOG_BASE", path("log"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
        .env("RABBITMQ_PID_FILE", path("pid"))
        .env("RABBITMQ_GENERATED_CONFIG_DIR", path("generated"))
        .env("RABBITMQ_CONF_ENV_FILE", path("none"))
        .env("RABBITMQ_FEATURE_FLAGS_FILE", path("flags"))
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
    if ports[2] != 0 {
        command.env("RABBITMQ_DIST_PORT", ports[2].to_string());
    }
}

fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut first = [0];
    stream.set_read_timeout(Some(Duration::from_secs(2))).is_ok()
        && stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
        && stream.read_exact(&mut first).is_ok()
        && first == [1]
}
