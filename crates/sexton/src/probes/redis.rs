//! `PING`, with `AUTH` before it where there is a password; <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::login;
use super::{Checked, Problem, told};
use net::tls::Stream;
use spec::dsn::{ConnectionInfo, Secret};
use spec::text::describe;

/// The longest answer that is read.
const MOST: usize = 4096;

/// Whether the server answers `PONG`.
pub(super) async fn pings(login: &ConnectionInfo) -> Checked {
    let failed = |what: String| {
        Problem::Failed(format!(
            "redis at {}: {}",
            login.place,
            spec::text::one_line(&login.without_password(&what))
        ))
    };
    let mut stream = login::open(login).await?;
    if let Some(password) = &login.password {
        let user = login.user.as_deref();
        let words: Vec<_> = ["AUTH"].into_iter().chain(user).chain([Secret::reveal(password)]).collect();
        let answer = ask(&mut stream, &words).await.map_err(failed)?;
        if answer != "+OK" {
            return Err(failed(answer));
        }
    }
    match ask(&mut stream, &["PING"]).await.map_err(failed)?.as_str() {
        "+PONG" => Ok(()),
        other => Err(failed(other.to_owned())),
    }
}

/// One command and the line that answers it.
async fn ask(stream: &mut Box<dyn Stream>, words: &[&str]) -> Result<String, String> {
    let mut command = format!("*{}\r\n", words.len());
    for word in words {
        let _ = write!(command, "${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(command.as_bytes()).await.map_err(|error| describe(&error))?;
    stream.flush().await.map_err(|error| describe(&error))?;
    let mut answer = Vec::new();
    loop {
        if let Some(line) = answer.strip_suffix(b"\r\n") {
            let line = String::from_utf8_lossy(line).into_owned();
            return match line.chars().next() {
                Some('+') => Ok(line),
                Some('-') => Err(line[1..].to_owned()),
                _ => Err(format!("that is no answer of redis{}", told(line.as_bytes()))),
            };
        }
        if answer.len() >= MOST {
            return Err("that is no answer of redis: it does not end".to_owned());
        }
        match stream.read_buf(&mut answer).await {
            Ok(0) => return Err("the server has closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return Err(describe(&error)),
        }
    }
}
