//! AMQP 0-9-1, as far as a probe needs it: opens a connection and closes it again, or keeps it.
//!
//! A task per kept connection answers heartbeats and notices immediately when the server closes it or stops responding;
//! the next probe then fails without any I/O, and the one after it opens a new connection.
//! Method numbers: <https://www.rabbitmq.com/resources/specs/amqp0-9-1.extended.xml>.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::login;
use super::{Checked, Problem};
use net::tls::Stream;
use spec::dsn::{ConnectionInfo, Secret};
use spec::text::describe;

/// The largest frame that is accepted, and offered to the server.
const MAX_FRAME: u32 = 128 << 10;
/// Heartbeat interval in seconds, unless the server requires a shorter one.
const HEARTBEAT: u16 = 30;
/// The timeout for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

const METHOD: u8 = 1;
const HEARTBEAT_FRAME: u8 = 8;
const FRAME_END: u8 = 0xce;
/// The methods of class connection (10).
const CONNECTION: u16 = 10;
const START: u16 = 10;
const START_OK: u16 = 11;
const TUNE: u16 = 30;
const TUNE_OK: u16 = 31;
const OPEN: u16 = 40;
const OPEN_OK: u16 = 41;
const CLOSE: u16 = 50;
const CLOSE_OK: u16 = 51;

/// The kept connection, if any.
#[derive(Debug, Default)]
pub(super) struct AmqpConnections(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    /// Why the connection was closed; None while it is open.
    close_reason: Arc<Mutex<Option<String>>>,
    task: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens a connection; or, if one is kept, checks that it is still open.
pub(super) async fn passes(login: &ConnectionInfo, kept: Option<&Arc<AmqpConnections>>) -> Checked {
    let failed = |text: &str| {
        Problem::Failed(format!(
            "amqp at {}: {}",
            login.place,
            spec::text::one_line(&login.without_password(text))
        ))
    };
    if let Some(kept) = kept {
        let mut held = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*held {
            let close_reason = open.close_reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return match close_reason {
                None => Ok(()),
                Some(why) => {
                    *held = None;
                    Err(failed(&why))
                }
            };
        }
    }
    let stream = login::open(login).await?;
    let connection = Connection::open(stream, login).await.map_err(|why| failed(&why))?;
    match kept {
        None => {
            let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
        }
        Some(kept) => {
            let close_reason = Arc::new(Mutex::new(None));
            let reason = Arc::clone(&close_reason);
            let task = tokio::spawn(async move {
                let why = connection.keep().await;
                *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            });
            let held = Held { close_reason, task: task.abort_handle() };
            *kept.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        }
    }
    Ok(())
}

struct Connection {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
    heartbeat: u16,
}

/// Reader of the fields of a method.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("truncated AMQP method")?;
        self.0 = rest;
        Ok(taken)
    }

    fn short(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn long(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn long_string(&mut self) -> Result<&'a [u8], String> {
        let length = self.long()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn short_string(&mut self) -> Result<String, String> {
        let length = usize::from(self.take(1)?[0]);
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }
}

fn long_string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

fn short_string(text: &str) -> Result<Vec<u8>, String> {
    let length = u8::try_from(text.len()).map_err(|_| "a name is longer than 255 bytes")?;
    Ok([&[length][..], text.as_bytes()].concat())
}

/// The reply code and text of a close method.
fn close_text(arguments: &[u8]) -> Result<String, String> {
    let mut parts = Parts(arguments);
    let code = parts.short()?;
    Ok(format!("{code} {}", parts.short_string()?))
}

/// Takes a complete frame from the front of what was received: its kind and its payload.
fn take_frame(unread: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, String> {
    if unread.starts_with(b"AMQP") {
        return Err("the server requires another AMQP version".to_owned());
    }
    let [kind, _, _, a, b, c, d, ..] = unread[..] else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    if !matches!(kind, 1..=3 | HEARTBEAT_FRAME) || length > MAX_FRAME {
        return Err("not an AMQP 0-9-1 response".to_owned());
    }
    let end = 7 + usize::try_from(length).unwrap_or(usize::MAX);
    match unread.get(end) {
        None => Ok(None),
        Some(&FRAME_END) => {
            let payload = unread[7..end].to_vec();
            unread.drain(..=end);
            Ok(Some((kind, payload)))
        }
        Some(_) => Err("not an AMQP 0-9-1 response: frame end missing".to_owned()),
    }
}

/// Checks the arguments of connection.start: the server must offer PLAIN authentication.
fn check_start(arguments: &[u8]) -> Result<(), String> {
    let mut parts = Parts(arguments);
    // Version and server properties are not needed.
    let _ = (parts.short()?, parts.long_string()?);
    let mechanisms = String::from_utf8_lossy(parts.long_string()?).into_owned();
    if !mechanisms.split(' ').any(|mechanism| mechanism == "PLAIN") {
        return Err(format!("the server does not offer PLAIN authentication, only {mechanisms}"));
    }
    Ok(())
}

/// The channels, frame size and heartbeat to agree on, from the arguments of connection.tune.
fn tuning(arguments: &[u8]) -> Result<(u16, u32, u16), String> {
    let mut parts = Parts(arguments);
    let (channels, frame, heartbeat) = (parts.short()?, parts.long()?, parts.short()?);
    // 0 means no limit, and no heartbeat.
    let heartbeat = if heartbeat == 0 { HEARTBEAT } else { heartbeat.min(HEARTBEAT) };
    let frame = if frame == 0 { MAX_FRAME } else { frame.min(MAX_FRAME) };
    Ok((channels, frame, heartbeat))
}

/// Parses everything that a server has sent, as far as it is valid; returns the number of frames.
pub(super) fn parse_all(received: &[u8]) -> Result<usize, String> {
    let mut unread = received.to_vec();
    let mut frames = 0;
    while let Some((kind, payload)) = take_frame(&mut unread)? {
        frames += 1;
        let mut parts = Parts(&payload);
        match (kind, parts.short()?, parts.short()?) {
            (METHOD, CONNECTION, START) => check_start(parts.0)?,
            (METHOD, CONNECTION, TUNE) => drop(tuning(parts.0)?),
            (METHOD, CONNECTION, CLOSE) => drop(close_text(parts.0)?),
            _ => {}
        }
    }
    Ok(frames)
}

impl Connection {
    async fn open(stream: Box<dyn Stream>, login: &ConnectionInfo) -> Result<Self, String> {
        let mut this = Self { stream, unread: Vec::new(), heartbeat: HEARTBEAT };
        this.write(b"AMQP\0\0\x09\x01").await?;
        check_start(&this.expect(START, "connection.start").await?)?;
        let (user, password) = (login.user.as_deref(), login.password.as_ref().map(Secret::reveal));
        let plain = ["", user.unwrap_or_default(), password.unwrap_or_default()].join("\0");
        // Without this capability, the server closes the connection without a reason after a wrong password.
        let capabilities = [&b"\x1cauthentication_failure_close"[..], b"t\x01"].concat();
        let properties = [&b"\x0ccapabilitiesF"[..], &long_string(&capabilities)].concat();
        let start_ok = [
            long_string(&properties),
            short_string("PLAIN")?,
            long_string(plain.as_bytes()),
            short_string("en_US")?,
        ];
        this.send_method(START_OK, &start_ok.concat()).await?;
        let (channels, frame, heartbeat) = tuning(&this.expect(TUNE, "connection.tune").await?)?;
        this.heartbeat = heartbeat;
        let tune_ok = [&channels.to_be_bytes()[..], &frame.to_be_bytes(), &this.heartbeat.to_be_bytes()];
        this.send_method(TUNE_OK, &tune_ok.concat()).await?;
        let host = short_string(login.database.as_deref().unwrap_or("/"))?;
        this.send_method(OPEN, &[&host[..], &[0, 0]].concat()).await?;
        this.expect(OPEN_OK, "connection.open-ok").await?;
        Ok(this)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| describe(&error))?;
        self.stream.flush().await.map_err(|error| describe(&error))
    }

    async fn send_frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let head = [&[kind, 0, 0][..], &long_string(payload), &[FRAME_END]].concat();
        self.write(&head).await
    }

    async fn send_method(&mut self, number: u16, arguments: &[u8]) -> Result<(), String> {
        let payload = [&CONNECTION.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
        self.send_frame(METHOD, &payload).await
    }

    /// Reads a complete frame. Cancel-safe.
    async fn frame(&mut self) -> Result<(u8, Vec<u8>), String> {
        loop {
            if let Some(frame) = take_frame(&mut self.unread)? {
                return Ok(frame);
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(describe(&error)),
            }
        }
    }

    /// Reads the next method, which must be this one, and returns its arguments.
    async fn expect(&mut self, number: u16, name: &str) -> Result<Vec<u8>, String> {
        loop {
            let (kind, payload) = self.frame().await?;
            if kind == HEARTBEAT_FRAME {
                continue;
            }
            let mut parts = Parts(&payload);
            match (kind, parts.short()?, parts.short()?) {
                (METHOD, CONNECTION, found) if found == number => return Ok(parts.0.to_vec()),
                (METHOD, CONNECTION, CLOSE) => {
                    let why = close_text(parts.0)?;
                    let _ = self.send_method(CLOSE_OK, &[]).await;
                    return Err(why);
                }
                (_, class, method) => {
                    return Err(format!("expected {name}, received method {class}.{method}"));
                }
            }
        }
    }

    /// Exchanges heartbeats until the connection is closed or lost. Returns the reason.
    async fn keep(mut self) -> String {
        let interval = Duration::from_secs(self.heartbeat.into());
        let (mut last_received, mut last_sent) = (Instant::now(), Instant::now());
        loop {
            // Half the interval, to tolerate delays.
            match timeout_at(last_sent + interval / 2, self.frame()).await {
                Err(_) if last_received.elapsed() > interval * 2 => {
                    return format!("no heartbeat from the server for {:?}", interval * 2);
                }
                Err(_) => {
                    last_sent = Instant::now();
                    if let Err(why) = self.send_frame(HEARTBEAT_FRAME, &[]).await {
                        return why;
                    }
                }
                Ok(Err(why)) => return why,
                Ok(Ok((kind, payload))) => {
                    last_received = Instant::now();
                    let mut parts = Parts(&payload);
                    if kind == METHOD && parts.short() == Ok(CONNECTION) && parts.short() == Ok(CLOSE) {
                        let why = close_text(parts.0).unwrap_or_else(|why| why);
                        let _ = timeout(CLOSE_TIMEOUT, self.send_method(CLOSE_OK, &[])).await;
                        return why;
                    }
                }
            }
        }
    }

    async fn close(mut self) -> Result<(), String> {
        // Reply code 200, reply text, and no failing method.
        let arguments = [&200u16.to_be_bytes()[..], &short_string("bye")?, &[0; 4]].concat();
        self.send_method(CLOSE, &arguments).await?;
        self.expect(CLOSE_OK, "connection.close-ok").await?;
        self.stream.shutdown().await.map_err(|error| describe(&error))
    }
}
