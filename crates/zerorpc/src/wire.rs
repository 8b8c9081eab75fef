//! ZeroMQ's transport, ZMTP 3.0 (RFC 23) with the NULL mechanism: a greeting, a handshake, then messages of frames.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// First byte that every ZeroMQ peer sends.
pub const FIRST_BYTE: u8 = 0xff;
/// Default maximum length of a message, in bytes.
pub const LONGEST: usize = 2 << 20;

/// Time limit of the handshake, and of sending a response.
pub(crate) const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// Length of a greeting, in bytes.
const GREETING: usize = 64;
/// Maximum number of frames of a message: identities and an empty frame precede the content.
const MAX_FRAMES: usize = 16;
/// Maximum length of a command, in bytes: the handshake contains only names of sockets.
const MAX_COMMAND: usize = 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A failure of a connection.
#[derive(Debug, Error)]
pub enum WireError {
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer has closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The peer violates the protocol.
    #[error("incompatible ZeroMQ peer: {0}")]
    Protocol(&'static str),
    /// A message is longer than the limit.
    #[error("a message is longer than {0} bytes")]
    Long(usize),
}

/// Type of a ZeroMQ socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    /// The server.
    Router,
    /// The client.
    Dealer,
}

impl Socket {
    const fn name(self) -> &'static str {
        match self {
            Self::Router => "ROUTER",
            Self::Dealer => "DEALER",
        }
    }

    /// Returns whether a peer of this type is allowed.
    fn accepts(self, peer: &[u8]) -> bool {
        match self {
            Self::Router => matches!(peer, b"REQ" | b"DEALER" | b"ROUTER"),
            Self::Dealer => matches!(peer, b"REP" | b"DEALER" | b"ROUTER"),
        }
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Part of a message, and whether more parts follow.
    Part(Bytes, bool),
    /// A command of the transport.
    Command(Bytes),
}

/// Takes a frame from the buffer; `None` if it is incomplete.
pub(crate) fn take_frame(buffer: &mut BytesMut, longest: usize) -> Result<Option<Frame>, WireError> {
    let Some(flags) = buffer.first().copied() else { return Ok(None) };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
        return Err(WireError::Protocol("a frame has unknown flags"));
    }
    let (head, length) = if flags & LONG == 0 {
        let Some(length) = buffer.get(1) else { return Ok(None) };
        (2, u64::from(*length))
    } else {
        let Some(length) = buffer.get(1..9) else { return Ok(None) };
        (9, length.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
    };
    let most = if flags & COMMAND == 0 { longest } else { MAX_COMMAND };
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

/// Encodes the command `READY` with the type of this socket.
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

/// Returns the socket type in a `READY` command.
pub(crate) fn socket_type_of(command: &[u8]) -> Option<&[u8]> {
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

/// A connection for messages.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    longest: usize,
    /// Received frames of an incomplete message, and their total length.
    parts: Vec<Bytes>,
    length: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Performs the handshake.
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
                return Err(WireError::Protocol("invalid greeting"));
            }
            if version < 3 {
                return Err(WireError::Protocol("a ZMTP version before 3.0"));
            }
        }
        let greeting = it.buffer.split_to(GREETING);
        let mechanism = greeting[12..32].split(|byte| *byte == 0).next().unwrap_or_default();
        if mechanism != b"NULL" {
            return Err(WireError::Protocol("a security mechanism other than NULL"));
        }
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, COMMAND, &ready(socket));
        it.stream.write_all(&bytes).await?;
        it.stream.flush().await?;
        loop {
            if let Some(frame) = take_frame(&mut it.buffer, longest)? {
                return match &frame {
                    Frame::Command(body) if socket_type_of(body).is_some_and(|peer| socket.accepts(peer)) => {
                        Ok(it)
                    }
                    Frame::Command(body) if socket_type_of(body).is_some() => {
                        Err(WireError::Protocol("a socket type that is not supported"))
                    }
                    _ => Err(WireError::Protocol("expected the command READY")),
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

    /// Returns the last frame of the next message; the frames before it are for routing. Cancel-safe.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, WireError> {
        loop {
            match take_frame(&mut self.buffer, self.longest)? {
                None => self.fill().await?,
                // ZMTP 3.0 has none that needs a response.
                Some(Frame::Command(_)) => {}
                Some(Frame::Part(body, more)) => {
                    self.length += body.len();
                    self.parts.push(body);
                    if self.length > self.longest || self.parts.len() > MAX_FRAMES {
                        return Err(WireError::Long(self.longest));
                    }
                    if !more {
                        self.length = 0;
                        let last = self.parts.pop().unwrap_or_default();
                        self.parts.clear();
                        if self.buffer.is_empty() {
                            // Frees the memory of a long message.
                            self.buffer = BytesMut::new();
                        }
                        return Ok(last);
                    }
                }
            }
        }
    }

    /// Sends a message: an empty frame and the content.
    pub(crate) async fn send(&mut self, body: &[u8]) -> Result<(), WireError> {
        let mut bytes = BytesMut::with_capacity(body.len() + 16);
        put_frame(&mut bytes, MORE, b"");
        put_frame(&mut bytes, 0, body);
        self.stream.write_all(&bytes).await?;
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
        fn frames_survive_a_round_trip_in_pieces_of_any_size(
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
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take_frame(&mut buffer, 100) {}
            let _ = socket_type_of(&bytes);
        }
    }

    #[test]
    fn refuses_a_long_frame_by_its_declared_length() {
        let mut huge = BytesMut::from(&[LONG, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(take_frame(&mut huge, 100), Err(WireError::Long(100))));
        let mut command = BytesMut::from(&[COMMAND | LONG, 0, 0, 0, 0, 0, 0, 0xff, 0xff][..]);
        assert!(matches!(take_frame(&mut command, 1 << 20), Err(WireError::Long(MAX_COMMAND))));
    }

    async fn handshake_with(input: &[u8]) -> Result<(), WireError> {
        let (mut peer, local) = duplex(1 << 16);
        peer.write_all(input).await?;
        peer.shutdown().await?;
        Wire::open(local, Socket::Router, 100).await.map(drop)
    }

    fn greeting(version: u8, mechanism: &[u8]) -> Vec<u8> {
        let mut greeting = vec![0; GREETING];
        (greeting[0], greeting[9], greeting[10]) = (FIRST_BYTE, 0x7f, version);
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
        greeting
    }

    #[tokio::test]
    async fn refuses_incompatible_peers() {
        let ready = |socket: &str| {
            let mut body = BytesMut::from(&b"\x05READY\x0bSocket-Type"[..]);
            body.extend_from_slice(&u32::try_from(socket.len()).unwrap_or(0).to_be_bytes());
            body.extend_from_slice(socket.as_bytes());
            let mut bytes = BytesMut::new();
            put_frame(&mut bytes, COMMAND, &body);
            bytes.to_vec()
        };
        let all = |greeting: Vec<u8>, rest: Vec<u8>| [greeting, rest].concat();
        assert!(handshake_with(&all(greeting(3, b"NULL"), ready("DEALER"))).await.is_ok());
        for (bytes, part) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), "invalid greeting"),
            (greeting(1, b""), "before 3.0"),
            (greeting(3, b"CURVE"), "other than NULL"),
            (all(greeting(3, b"NULL"), ready("PUB")), "not supported"),
            (all(greeting(3, b"NULL"), vec![0, 1, b'x']), "expected the command READY"),
            (vec![FIRST_BYTE], "closed"),
        ] {
            let error = handshake_with(&bytes).await.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[tokio::test]
    async fn refuses_a_message_of_too_many_frames() {
        let (one, other) = duplex(1 << 16);
        let (client, server) =
            tokio::join!(Wire::open(one, Socket::Dealer, 100), Wire::open(other, Socket::Router, 100));
        let (Ok(mut client), Ok(mut server)) = (client, server) else { panic!("the handshake failed") };
        assert!(client.send(b"hello").await.is_ok());
        assert_eq!(server.receive().await.ok().as_deref(), Some(&b"hello"[..]));
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, COMMAND, b"\x04PING\0\0context");
        (0..=MAX_FRAMES).for_each(|_| put_frame(&mut bytes, MORE, b"x"));
        assert!(client.stream.write_all(&bytes).await.is_ok());
        assert!(matches!(server.receive().await, Err(WireError::Long(100))));
    }
}
