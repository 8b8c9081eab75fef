//! `PING`, after `AUTH` if there is a password; <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::login;
use super::{Checked, Problem, excerpt};
use net::tls::Stream;
use spec::dsn::{ConnectionInfo, Secret};
use spec::text::describe;

/// The maximum length of a response.
const MAX_RESPONSE: usize = 4096;

/// Passes if the server responds `PONG`.
pub(super) async fn pings(login: &ConnectionInfo) -> Checked {
    let failed = |text: String| {
        Problem::Failed(format!(
            "redis at {}: {}",
            login.place,
            spec::text::one_line(&login.without_password(&text))
        ))
    };
    let mut stream = login::open(login).await?;
    if let Some(password) = &login.password {
        let user = login.user.as_deref();
        let arguments: Vec<_> = ["AUTH"].into_iter().chain(user).chain([Secret::reveal(password)]).collect();
        let answer = send_command(&mut stream, &arguments).await.map_err(failed)?;
        if answer != "+OK" {
            return Err(failed(answer));
        }
    }
    match send_command(&mut stream, &["PING"]).await.map_err(failed)?.as_str() {
        "+PONG" => Ok(()),
        other => Err(failed(other.to_owned())),
    }
}

/// Sends a command and reads the response line.
async fn send_command(stream: &mut Box<dyn Stream>, arguments: &[&str]) -> Result<String, String> {
    let mut command = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        let _ = write!(command, "${}\r\n{argument}\r\n", argument.len());
    }
    stream.write_all(command.as_bytes()).await.map_err(|error| describe(&error))?;
    stream.flush().await.map_err(|error| describe(&error))?;
    let mut answer = Vec::new();
    loop {
        if let Some(line) = parse(&answer)? {
            return Ok(line);
        }
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err("the server closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(describe(&error)),
        }
    }
}

/// Parses a response of one line; None: it is incomplete.
pub(super) fn parse(answer: &[u8]) -> Result<Option<String>, String> {
    if let Some(line) = answer.strip_suffix(b"\r\n") {
        let line = String::from_utf8_lossy(line).into_owned();
        return match line.chars().next() {
            Some('+') => Ok(Some(line)),
            Some('-') => Err(line[1..].to_owned()),
            _ => Err(format!("not a Redis response{}", excerpt(line.as_bytes()))),
        };
    }
    if answer.len() >= MAX_RESPONSE {
        return Err("not a Redis response: too long".to_owned());
    }
    Ok(None)
}
