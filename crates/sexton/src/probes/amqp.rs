//! AMQP 0-9-1 as far as a probe needs it: a connection is opened, and closed again or kept.
//!
//! A kept connection answers heartbeats in a task of its own and notices at once when the server closes it or falls
//! silent; the next probe then fails without asking anybody, and the one after it opens a new one.
//! The methods and their numbers are those of <https://www.rabbitmq.com/resources/specs/amqp0-9-1.extended.xml>.

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

/// The longest frame that we take, and offer to take.
const LARGEST_FRAME: u32 = 128 << 10;
/// How often each side gives a sign of life, unless the server wants it more often, in seconds.
const HEARTBEAT: u16 = 30;
/// How long to say goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

const METHOD: u8 = 1;
const BEAT: u8 = 8;
const END: u8 = 0xce;
/// The methods of the class connection (10).
const CONNECTION: u16 = 10;
const START: u16 = 10;
const START_OK: u16 = 11;
const TUNE: u16 = 30;
const TUNE_OK: u16 = 31;
const OPEN: u16 = 40;
const OPEN_OK: u16 = 41;
const CLOSE: u16 = 50;
const CLOSE_OK: u16 = 51;

/// A connection that is kept, if there is one.
#[derive(Debug, Default)]
pub(super) struct AmqpConnections(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    /// What has become of it; none: it is open.
    over: Arc<Mutex<Option<String>>>,
    task: AbortHandle,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether a connection can be opened; or, if one is kept, whether it is open still.
pub(super) async fn passes(login: &ConnectionInfo, kept: Option<&Arc<AmqpConnections>>) -> Checked {
    let failed = |what: &str| {
        Problem::Failed(format!(
            "amqp at {}: {}",
            login.place,
            spec::text::one_line(&login.without_password(what))
        ))
    };
    if let Some(kept) = kept {
        let mut held = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*held {
            let over = open.over.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return match over {
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
            // What it was opened for is done.
            let _ = timeout(GOODBYE, connection.close()).await;
        }
        Some(kept) => {
            let over = Arc::new(Mutex::new(None));
            let told = Arc::clone(&over);
            let task = tokio::spawn(async move {
                let why = connection.keep().await;
                *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            });
            let held = Held { over, task: task.abort_handle() };
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

/// Reads the parts of a method.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("a method of AMQP is cut short")?;
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

/// Why the server closes: its code and its words.
fn closed(arguments: &[u8]) -> Result<String, String> {
    let mut parts = Parts(arguments);
    let code = parts.short()?;
    Ok(format!("{code} {}", parts.short_string()?))
}

impl Connection {
    async fn open(stream: Box<dyn Stream>, login: &ConnectionInfo) -> Result<Self, String> {
        let mut it = Self { stream, unread: Vec::new(), heartbeat: HEARTBEAT };
        it.write(b"AMQP\0\0\x09\x01").await?;
        let start = it.expect(START, "connection.start").await?;
        let mut parts = Parts(&start);
        // The version and the server's properties tell us nothing.
        let _ = (parts.short()?, parts.long_string()?);
        let mechanisms = String::from_utf8_lossy(parts.long_string()?).into_owned();
        if !mechanisms.split(' ').any(|mechanism| mechanism == "PLAIN") {
            return Err(format!("the server takes no password (PLAIN), but {mechanisms}"));
        }
        let (user, password) = (login.user.as_deref(), login.password.as_ref().map(Secret::reveal));
        let plain = ["", user.unwrap_or_default(), password.unwrap_or_default()].join("\0");
        // Without this a wrong password is answered by a closed connection and no word.
        let capabilities = [&b"\x1cauthentication_failure_close"[..], b"t\x01"].concat();
        let properties = [&b"\x0ccapabilitiesF"[..], &long_string(&capabilities)].concat();
        let start_ok = [
            long_string(&properties),
            short_string("PLAIN")?,
            long_string(plain.as_bytes()),
            short_string("en_US")?,
        ];
        it.method(START_OK, &start_ok.concat()).await?;
        let tune = it.expect(TUNE, "connection.tune").await?;
        let mut parts = Parts(&tune);
        let (channels, frame, heartbeat) = (parts.short()?, parts.long()?, parts.short()?);
        // 0 is no limit, and no heartbeat.
        it.heartbeat = if heartbeat == 0 { HEARTBEAT } else { heartbeat.min(HEARTBEAT) };
        let frame = if frame == 0 { LARGEST_FRAME } else { frame.min(LARGEST_FRAME) };
        let tune_ok = [&channels.to_be_bytes()[..], &frame.to_be_bytes(), &it.heartbeat.to_be_bytes()];
        it.method(TUNE_OK, &tune_ok.concat()).await?;
        let host = short_string(login.database.as_deref().unwrap_or("/"))?;
        it.method(OPEN, &[&host[..], &[0, 0]].concat()).await?;
        it.expect(OPEN_OK, "connection.open-ok").await?;
        Ok(it)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| describe(&error))?;
        self.stream.flush().await.map_err(|error| describe(&error))
    }

    async fn frame_out(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let head = [&[kind, 0, 0][..], &long_string(payload), &[END]].concat();
        self.write(&head).await
    }

    async fn method(&mut self, number: u16, arguments: &[u8]) -> Result<(), String> {
        let payload = [&CONNECTION.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat();
        self.frame_out(METHOD, &payload).await
    }

    /// One whole frame. Nothing is lost when the wait is given up.
    async fn frame(&mut self) -> Result<(u8, Vec<u8>), String> {
        loop {
            if let Some(frame) = self.whole()? {
                return Ok(frame);
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) => return Err("the server has closed the connection".to_owned()),
                Ok(_) => {}
                Err(error) => return Err(describe(&error)),
            }
        }
    }

    fn whole(&mut self) -> Result<Option<(u8, Vec<u8>)>, String> {
        if self.unread.starts_with(b"AMQP") {
            return Err("the server speaks another version of AMQP".to_owned());
        }
        let [kind, _, _, a, b, c, d, ..] = self.unread[..] else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]);
        if !matches!(kind, 1..=3 | BEAT) || length > LARGEST_FRAME {
            return Err("that is no AMQP 0-9-1".to_owned());
        }
        let end = 7 + usize::try_from(length).unwrap_or(usize::MAX);
        match self.unread.get(end) {
            None => Ok(None),
            Some(&END) => {
                let payload = self.unread[7..end].to_vec();
                self.unread.drain(..=end);
                Ok(Some((kind, payload)))
            }
            Some(_) => Err("that is no AMQP 0-9-1: a frame does not end".to_owned()),
        }
    }

    /// The arguments of this method, which has to come next.
    async fn expect(&mut self, number: u16, name: &str) -> Result<Vec<u8>, String> {
        loop {
            let (kind, payload) = self.frame().await?;
            if kind == BEAT {
                continue;
            }
            let mut parts = Parts(&payload);
            match (kind, parts.short()?, parts.short()?) {
                (METHOD, CONNECTION, found) if found == number => return Ok(parts.0.to_vec()),
                (METHOD, CONNECTION, CLOSE) => {
                    let why = closed(parts.0)?;
                    let _ = self.method(CLOSE_OK, &[]).await;
                    return Err(why);
                }
                (_, class, method) => {
                    return Err(format!("expected {name}, the server sends method {class}.{method}"));
                }
            }
        }
    }

    /// Gives signs of life and listens for those of the server, until there is nothing to keep any more: why.
    async fn keep(mut self) -> String {
        let every = Duration::from_secs(self.heartbeat.into());
        let (mut heard, mut said) = (Instant::now(), Instant::now());
        loop {
            // Half of it, so that what is late by a little is not too late.
            match timeout_at(said + every / 2, self.frame()).await {
                Err(_) if heard.elapsed() > every * 2 => {
                    return format!("the server has given no sign of life for {:?}", every * 2);
                }
                Err(_) => {
                    said = Instant::now();
                    if let Err(why) = self.frame_out(BEAT, &[]).await {
                        return why;
                    }
                }
                Ok(Err(why)) => return why,
                Ok(Ok((kind, payload))) => {
                    heard = Instant::now();
                    let mut parts = Parts(&payload);
                    if kind == METHOD && parts.short() == Ok(CONNECTION) && parts.short() == Ok(CLOSE) {
                        let why = closed(parts.0).unwrap_or_else(|why| why);
                        let _ = timeout(GOODBYE, self.method(CLOSE_OK, &[])).await;
                        return why;
                    }
                }
            }
        }
    }

    async fn close(mut self) -> Result<(), String> {
        // 200, "bye", and no method that would be at fault.
        let arguments = [&200u16.to_be_bytes()[..], &short_string("bye")?, &[0; 4]].concat();
        self.method(CLOSE, &arguments).await?;
        self.expect(CLOSE_OK, "connection.close-ok").await?;
        self.stream.shutdown().await.map_err(|error| describe(&error))
    }
}
