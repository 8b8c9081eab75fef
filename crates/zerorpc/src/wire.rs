//! ZeroMQ's transport, ZMTP 3.0 (RFC 23) with the NULL mechanism: a greeting, a handshake, then messages of frames.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What every peer of ZeroMQ sends first.
pub const FIRST_BYTE: u8 = 0xff;
/// The longest message, in bytes, unless somebody says otherwise.
pub const LONGEST: usize = 2 << 20;

/// How long the other side may take to greet us, and to read what it has asked for.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);

/// A greeting's length.
const GREETING: usize = 64;
/// The most frames of one message: identities and an empty one stand before what is said.
const MOST_FRAMES: usize = 16;
/// The longest command. There is nothing to say in one but names of sockets.
const LONGEST_COMMAND: usize = 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub enum WireError {
    /// It is broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The other side has closed it.
    #[error("the connection was closed")]
    Closed,
    /// What came is not of the protocol.
    #[error("this is no peer of ZeroMQ that we can speak to: {0}")]
    Protocol(&'static str),
    /// A message is longer than what is taken.
    #[error("a message is longer than {0} bytes")]
    Long(usize),
}

/// Which end of a call we are, as ZeroMQ has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    /// Whoever answers.
    Router,
    /// Whoever asks.
    Dealer,
}

impl Socket {
    const fn name(self) -> &'static str {
        match self {
            Self::Router => "ROUTER",
            Self::Dealer => "DEALER",
        }
    }

    /// May the other end be one of these?
    fn fits(self, peer: &[u8]) -> bool {
        match self {
            Self::Router => matches!(peer, b"REQ" | b"DEALER" | b"ROUTER"),
            Self::Dealer => matches!(peer, b"REP" | b"DEALER" | b"ROUTER"),
        }
    }
}

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Part of a message; whether there is more of it.
    Part(Bytes, bool),
    /// Said by one ZeroMQ to the other.
    Command(Bytes),
}

/// Takes a frame from what has come; None: there is not enough yet.
pub(crate) fn take_frame(buffer: &mut BytesMut, longest: usize) -> Result<Option<Frame>, WireError> {
    let Some(flags) = buffer.first().copied() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
        return Err(WireError::Protocol("a frame has flags that there are not"));
    }
    let (head, length) = if flags & LONG == 0 {
        let Some(length) = buffer.get(1) else { return Ok(None) };
        (2, u64::from(*length))
    } else {
        let Some(length) = buffer.get(1..9) else { return Ok(None) };
        (9, length.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    };
    let most = if flags & COMMAND == 0 { longest } else { LONGEST_COMMAND };
    let length =
        usize::try_from(length).ok().filter(|length| *length <= most).ok_or(WireError::Long(most))?;
    if buffer.len() < head + length {
        return Ok(None);
    }
    buffer.advance(head);
    let body = buffer.split_to(length).freeze();
    Ok(Some(if flags & COMMAND == 0 { Frame::Part(body, flags & MORE != 0) } else { Frame::Command(body) }))
}

fn put_frame(to: &mut BytesMut, flags: u8, body: &[u8]) {
    match u8::try_from(body.len()) {
        Ok(length) => to.extend_from_slice(&[flags, length]),
        Err(_) => {
            to.extend_from_slice(&[flags | LONG]);
            to.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(body);
}

/// A command that says `READY`, with what socket we are.
fn ready(socket: Socket) -> BytesMut {
    let mut body = BytesMut::from(&b"\x05READY"[..]);
    for (name, value) in [("Socket-Type", socket.name()), ("Identity", "")] {
        body.extend_from_slice(&[u8::try_from(name.len()).unwrap_or(0)]);
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body
}

/// What socket the other end is, from its `READY`.
pub(crate) fn socket_of(command: &[u8]) -> Option<&[u8]> {
    let mut rest = command.strip_prefix(b"\x05READY")?;
    while let Some((length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (value, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// A connection on which messages go to and fro.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    longest: usize,
    /// Of a message that has not come wholly yet: its frames, and how long they are together.
    parts: Vec<Bytes>,
    length: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Greets the other end, and makes sure that it is one to speak to.
    pub(crate) async fn open(stream: S, socket: Socket, longest: usize) -> Result<Self, WireError> {
        let mut it = Self { stream, buffer: BytesMut::new(), longest, parts: Vec::new(), length: 0 };
        let mut greeting = [0; GREETING];
        (greeting[0], greeting[9], greeting[10]) = (FIRST_BYTE, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        it.stream.write_all(&greeting).await?;
        it.stream.flush().await?;
        while it.buffer.len() < GREETING {
            it.fill().await?;
            let version = it.buffer.get(10).copied().unwrap_or(3);
            if it.buffer[0] != FIRST_BYTE || it.buffer.get(9).is_some_and(|byte| *byte != 0x7f) {
                return Err(WireError::Protocol("its greeting is none"));
            }
            if version < 3 {
                return Err(WireError::Protocol("it speaks a version of ZMTP before 3.0"));
            }
        }
        let greeting = it.buffer.split_to(GREETING);
        let mechanism = greeting[12..32].split(|byte| *byte == 0).next().unwrap_or_default();
        if mechanism != b"NULL" {
            return Err(WireError::Protocol("it wants a mechanism other than NULL"));
        }
        let mut said = BytesMut::new();
        put_frame(&mut said, COMMAND, &ready(socket));
        it.stream.write_all(&said).await?;
        it.stream.flush().await?;
        loop {
            if let Some(frame) = take_frame(&mut it.buffer, longest)? {
                return match &frame {
                    Frame::Command(body) if socket_of(body).is_some_and(|peer| socket.fits(peer)) => Ok(it),
                    Frame::Command(body) if socket_of(body).is_some() => {
                        Err(WireError::Protocol("it is a socket of a kind that does not fit"))
                    }
                    _ => Err(WireError::Protocol("it does not say that it is ready")),
                };
            }
            it.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), WireError> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(WireError::Closed),
            _ => Ok(()),
        }
    }

    /// The next message: its last frame, since what stands before it are names of the way. Nothing is lost when the
    /// wait is given up.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, WireError> {
        loop {
            match take_frame(&mut self.buffer, self.longest)? {
                None => self.fill().await?,
                // ZMTP 3.0 has none that would be for us.
                Some(Frame::Command(_)) => {}
                Some(Frame::Part(body, more)) => {
                    self.length += body.len();
                    self.parts.push(body);
                    if self.length > self.longest || self.parts.len() > MOST_FRAMES {
                        return Err(WireError::Long(self.longest));
                    }
                    if !more {
                        self.length = 0;
                        let last = self.parts.pop().unwrap_or_default();
                        self.parts.clear();
                        if self.buffer.is_empty() {
                            // One that was long has taken much room.
                            self.buffer = BytesMut::new();
                        }
                        return Ok(last);
                    }
                }
            }
        }
    }

    /// Sends a message: an empty frame, and this.
    pub(crate) async fn send(&mut self, body: &[u8]) -> Result<(), WireError> {
        let mut said = BytesMut::with_capacity(body.len() + 16);
        put_frame(&mut said, MORE, b"");
        put_frame(&mut said, 0, body);
        self.stream.write_all(&said).await?;
        self.stream.flush().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::duplex;

    use super::*;

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written_however_they_come(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..5),
            cut in 1usize..40,
        ) {
            let mut written = BytesMut::new();
            for body in &bodies {
                put_frame(&mut written, MORE, body);
            }
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for piece in written.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Ok(Some(frame)) = take_frame(&mut buffer, 1000) {
                    read.push(frame);
                }
            }
            let expected: Vec<_> = bodies.into_iter().map(|body| Frame::Part(body.into(), true)).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn whatever_comes_is_a_frame_an_error_or_not_enough(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take_frame(&mut buffer, 100) {}
            let _ = socket_of(&bytes);
        }
    }

    #[test]
    fn what_is_longer_than_it_may_be_is_refused_before_it_comes() {
        let mut huge = BytesMut::from(&[LONG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(take_frame(&mut huge, 100), Err(WireError::Long(100))));
        let mut command = BytesMut::from(&[COMMAND | LONG, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..]);
        assert!(matches!(take_frame(&mut command, 1 << 20), Err(WireError::Long(LONGEST_COMMAND))));
    }

    async fn greeted(by: &[u8]) -> Result<(), WireError> {
        let (mut peer, ours) = duplex(1 << 16);
        peer.write_all(by).await?;
        peer.shutdown().await?;
        Wire::open(ours, Socket::Router, 100).await.map(drop)
    }

    fn greeting(version: u8, mechanism: &[u8]) -> Vec<u8> {
        let mut greeting = vec![0; GREETING];
        (greeting[0], greeting[9], greeting[10]) = (FIRST_BYTE, 0x7f, version);
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
        greeting
    }

    #[tokio::test]
    async fn who_is_no_peer_is_told_from_who_is() {
        let ready = |socket: &str| {
            let mut body = BytesMut::from(&b"\x05READY\x0bSocket-Type"[..]);
            body.extend_from_slice(&u32::try_from(socket.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(socket.as_bytes());
            let mut said = BytesMut::new();
            put_frame(&mut said, COMMAND, &body);
            said.to_vec()
        };
        let all = |greeting: Vec<u8>, rest: Vec<u8>| [greeting, rest].concat();
        assert!(greeted(&all(greeting(3, b"NULL"), ready("DEALER"))).await.is_ok());
        for (bytes, part) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), "greeting is none"),
            (greeting(1, b""), "before 3.0"),
            (greeting(3, b"CURVE"), "other than NULL"),
            (all(greeting(3, b"NULL"), ready("PUB")), "does not fit"),
            (all(greeting(3, b"NULL"), vec![0, 1, b'x']), "not say that it is ready"),
            (vec![FIRST_BYTE], "closed"),
        ] {
            let error = greeted(&bytes).await.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[tokio::test]
    async fn a_message_of_endless_frames_is_cut() {
        let (one, other) = duplex(1 << 16);
        let (client, server) =
            tokio::join!(Wire::open(one, Socket::Dealer, 100), Wire::open(other, Socket::Router, 100));
        let (Ok(mut client), Ok(mut server)) = (client, server) else { panic!("no peers") };
        assert!(client.send(b"hello").await.is_ok());
        assert_eq!(server.receive().await.ok().as_deref(), Some(&b"hello"[..]));
        let mut said = BytesMut::new();
        put_frame(&mut said, COMMAND, b"\x04PING\0\0context");
        (0..=MOST_FRAMES).for_each(|_| put_frame(&mut said, MORE, b"x"));
        assert!(client.stream.write_all(&said).await.is_ok());
        assert!(matches!(server.receive().await, Err(WireError::Long(100))));
    }
}
