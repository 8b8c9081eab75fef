//! Resolves the actions of probes and hooks.

use spec::probe::{Action, Check, HttpCheck, SqlCheck, SqlServer};
use std::time::Duration;

use crate::compile::environment::expand;
use crate::compile::{Problems, below};
use crate::file::native;
use crate::file::native::{Amqp, Exec, Handler, HttpGet, Probe, Redis, Scheme, Sql, TcpSocket};
use crate::file::scalars::{Port, Text};
use crate::yaml::tree::Step;
use spec::dsn;
use spec::dsn::ConnectionInfo;
use spec::program::Program;

/// The maximum length of a gRPC service name, in bytes.
const MAX_SERVICE: usize = 120;

const fn variable_of(server: native::SqlServer) -> &'static str {
    match server {
        native::SqlServer::Mysql => SqlServer::MySql.variable(),
        native::SqlServer::Postgres => SqlServer::Postgres.variable(),
    }
}

/// Resolves the actions of one process.
pub(super) struct ActionResolver<'a> {
    pub(super) ports: Vec<(String, u16)>,
    /// The program of the process with a different command.
    pub(super) program: &'a dyn Fn(Vec<String>) -> Program,
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl ActionResolver<'_> {
    fn port(&self, port: Option<&Port>, path: &[Step], problems: &mut Problems<'_>) -> u16 {
        match port {
            Some(Port::Number(number)) => *number,
            Some(Port::Name(name)) => match self.ports.iter().find(|(known, _)| known == name) {
                Some((_, number)) => *number,
                None => {
                    let names = self.ports.iter().map(|(name, _)| name.as_str());
                    let hint = spec::suggest::hint(name, names);
                    problems
                        .at(&below(path, "port"), format!("no port of this process is named '{name}'{hint}"));
                    0
                }
            },
            None => {
                problems.at(path, "port is missing: expected a number from 1 to 65535, or a name from ports");
                0
            }
        }
    }

    pub(super) fn checks(&self, probe: &Probe, path: &[Step], problems: &mut Problems<'_>) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some(http) = &probe.http_get {
            checks.extend(self.http(http, &below(path, "httpGet"), problems).map(Check::Http));
        }
        if let Some(tcp) = &probe.tcp_socket {
            let (host, port) = self.tcp(tcp, &below(path, "tcpSocket"), problems);
            checks.push(Check::Tcp { host, port });
        }
        if let Some(grpc) = &probe.grpc {
            let port = self.port(grpc.port.as_ref(), &below(path, "grpc"), problems);
            let host = grpc.host.clone().unwrap_or_else(local);
            if grpc.service.as_ref().is_some_and(|service| service.len() > MAX_SERVICE) {
                let message = format!("longer than {MAX_SERVICE} bytes");
                problems.at(&below(&below(path, "grpc"), "service"), message);
            }
            checks.push(Check::Grpc { host, port, service: grpc.service.clone().unwrap_or_default() });
        }
        if let Some(exec) = &probe.exec {
            checks.extend(self.exec(exec, &below(path, "exec"), problems).map(Check::Exec));
        }
        if let Some(file) = &probe.file {
            match &file.path {
                Some(file) if !file.is_empty() => checks.push(Check::File(file.into())),
                _ => problems.at(&below(path, "file"), "path is missing"),
            }
        }
        if let Some(env) = &probe.env {
            match &env.name {
                Some(name) if !name.is_empty() => checks.push(Check::Env {
                    name: name.clone(),
                    expected: env.value.clone().unwrap_or_default().0,
                    actual: (self.variable)(name),
                }),
                _ => problems.at(&below(path, "env"), "name is missing"),
            }
        }
        if let Some(floating) = &probe.floating_pid {
            checks.push(Check::FloatingPid {
                period: floating.period.map_or(Duration::from_secs(10), |span| span.0),
                threshold: floating.threshold.unwrap_or(1),
            });
        }
        if let Some(beat) = &probe.heart_beat {
            checks.push(Check::HeartBeat(beat.period.map_or(Duration::from_secs(10), |span| span.0)));
        }
        if let Some(sql) = &probe.sql {
            checks.extend(self.sql(sql, &below(path, "sql"), problems).map(Check::Sql));
        }
        if let Some(amqp) = &probe.amqp {
            let login = self.amqp(amqp, &below(path, "amqp"), problems);
            let keep = amqp.reuse_conn.unwrap_or(false);
            checks.extend(login.map(|login| Check::Amqp { login, keep }));
        }
        if let Some(redis) = &probe.redis {
            checks.extend(self.redis(redis, &below(path, "redis"), problems).map(Check::Redis));
        }
        if checks.is_empty() {
            problems.at(
                path,
                "no probe action: add one of httpGet, tcpSocket, grpc, exec, file, env, floatingPid, heartBeat, sql, amqp or redis",
            );
        }
        checks
    }

    pub(super) fn action(
        &self,
        handler: &Handler,
        path: &[Step],
        problems: &mut Problems<'_>,
    ) -> Option<Action> {
        let given = [
            handler.sql.is_some(),
            handler.exec.is_some(),
            handler.http_get.is_some(),
            handler.tcp_socket.is_some(),
            handler.sleep.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            problems.at(path, "expected exactly one of exec, httpGet, tcpSocket, sleep and sql");
            return None;
        }
        if let Some(sql) = &handler.sql {
            self.sql(sql, &below(path, "sql"), problems).map(Action::Sql)
        } else if let Some(exec) = &handler.exec {
            self.exec(exec, &below(path, "exec"), problems).map(Action::Exec)
        } else if let Some(http) = &handler.http_get {
            self.http(http, &below(path, "httpGet"), problems).map(Action::Http)
        } else if let Some(tcp) = &handler.tcp_socket {
            let (host, port) = self.tcp(tcp, &below(path, "tcpSocket"), problems);
            Some(Action::Tcp { host, port })
        } else {
            let seconds = handler.sleep.as_ref().and_then(|sleep| sleep.seconds);
            if seconds.is_none() {
                problems.at(&below(path, "sleep"), "seconds is missing");
            }
            Some(Action::Sleep(seconds?.0))
        }
    }

    fn exec(&self, exec: &Exec, path: &[Step], problems: &mut Problems<'_>) -> Option<Program> {
        let arguments = exec.command.clone().unwrap_or_default().0;
        if arguments.is_empty() {
            problems.at(path, "command is missing");
            return None;
        }
        let mut program = (self.program)(arguments);
        for (name, value) in exec.env.iter().flat_map(|env| &env.0) {
            program.variables.push((name.into(), value.clone().unwrap_or_default().into()));
        }
        Some(program)
    }

    fn sql(&self, sql: &Sql, path: &[Step], problems: &mut Problems<'_>) -> Option<SqlCheck> {
        let texts = |texts: &Option<Vec<Text>>| texts.iter().flatten().map(|word| word.0.clone()).collect();
        let found = [native::SqlServer::Mysql, native::SqlServer::Postgres]
            .into_iter()
            .filter(|server| sql.server.is_none_or(|wanted| wanted == *server))
            .find_map(|server| Some((server, (self.variable)(variable_of(server))?)));
        let Some((server, dsn)) = found else {
            let names = sql.server.map_or("MYSQL_DSN or POSTGRES_DSN", variable_of);
            problems.at(path, format!("no database: set {names} in the variables of the process"));
            return None;
        };
        let (server, login) = match server {
            native::SqlServer::Mysql => (SqlServer::MySql, dsn::mysql(&dsn)),
            native::SqlServer::Postgres => (SqlServer::Postgres, dsn::postgres(&dsn)),
        };
        let mut login =
            login.map_err(|why| problems.at(path, format!("{}: {why}", server.variable()))).ok()?;
        if server == SqlServer::Postgres {
            // Like libpq: defaults for what the DSN omits.
            login = login.or_else(self.variable, ("PGUSER", "PGPASSWORD", "PGDATABASE"));
        }
        Some(SqlCheck { server, login, queries: texts(&sql.queries), contains: texts(&sql.contains) })
    }

    fn amqp(&self, amqp: &Amqp, path: &[Step], problems: &mut Problems<'_>) -> Option<ConnectionInfo> {
        const TEMPLATE: &str = "AMQP_PROBE_RABBITMQ_DSN_TEMPLATE";
        let variable = self.variable;
        let (origin, login) = if let Some(url) = &amqp.url {
            ("url", expand(url, variable).and_then(|url| dsn::amqp(&url, None, None)))
        } else if let Some(template) = variable(TEMPLATE) {
            let (user, password) =
                (variable("AMQP_PROBE_RABBITMQ_USER"), variable("AMQP_PROBE_RABBITMQ_PASS"));
            (TEMPLATE, dsn::amqp(&template, user.as_deref(), password.as_deref()))
        } else if let Some(url) = variable("AMQP_URL") {
            ("AMQP_URL", dsn::amqp(&url, None, None))
        } else {
            let message =
                format!("no broker: set url, or {TEMPLATE} or AMQP_URL in the variables of the process");
            problems.at(path, message);
            return None;
        };
        login.map_err(|why| problems.at(path, format!("{origin}: {why}"))).ok()
    }

    fn redis(&self, redis: &Redis, path: &[Step], problems: &mut Problems<'_>) -> Option<ConnectionInfo> {
        let (origin, url) = match &redis.url {
            Some(url) => ("url", Some(expand(url, self.variable))),
            None => ("REDIS_URL", (self.variable)("REDIS_URL").map(Ok)),
        };
        let Some(url) = url else {
            let message = "no Redis server: set url, or REDIS_URL in the variables of the process";
            problems.at(path, message);
            return None;
        };
        url.and_then(|url| dsn::redis(&url)).map_err(|why| problems.at(path, format!("{origin}: {why}"))).ok()
    }

    fn tcp(&self, tcp: &TcpSocket, path: &[Step], problems: &mut Problems<'_>) -> (String, u16) {
        (tcp.host.clone().unwrap_or_else(local), self.port(tcp.port.as_ref(), path, problems))
    }

    fn http(&self, http: &HttpGet, path: &[Step], problems: &mut Problems<'_>) -> Option<HttpCheck> {
        if let Some(url) = &http.url {
            let check = HttpCheck::of_url(url);
            if let Err(message) = &check {
                problems.at(&below(path, "url"), format!("'{url}': {message}"));
            }
            return check.ok();
        }
        let port = self.port(http.port.as_ref(), path, problems);
        let mut headers = Vec::new();
        for (index, header) in http.http_headers.iter().flatten().enumerate() {
            let at = below(&below(path, "httpHeaders"), index);
            let name = header.name.clone().unwrap_or_default().to_lowercase();
            let value = header.value.clone().unwrap_or_default().0;
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                problems.at(&at, format!("invalid header name '{name}'"));
            } else if http::HeaderValue::from_str(&value).is_err() {
                problems.at(&at, format!("invalid header value '{value}'"));
            }
            headers.push((name, value));
        }
        let path_and_query = http.path.clone().unwrap_or_default();
        let path_and_query =
            if path_and_query.starts_with('/') { path_and_query } else { format!("/{path_and_query}") };
        if path_and_query.parse::<http::uri::PathAndQuery>().is_err() {
            problems.at(&below(path, "path"), format!("invalid URL path '{path_and_query}'"));
        }
        Some(HttpCheck {
            tls: http.scheme == Some(Scheme::HTTPS),
            host: http.host.clone().unwrap_or_else(local),
            port,
            path: path_and_query,
            headers,
        })
    }
}

fn local() -> String {
    "127.0.0.1".to_owned()
}
