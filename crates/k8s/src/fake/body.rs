//! A response body of separate chunks, which may end with an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::state::After;

/// A part of a body. If the sender is dropped, the body ends normally.
#[derive(Debug, Clone)]
pub(super) enum Chunk {
    Data(Bytes),
    End,
    Drop,
}

/// A response body.
pub(super) struct ChunkedBody {
    chunks: UnboundedReceiver<Chunk>,
    /// Sends each byte as a separate chunk.
    trickle: bool,
    rest: Bytes,
    /// The previous byte could be flushed.
    paused: bool,
    /// The next frame is an error.
    dropping: bool,
}

impl ChunkedBody {
    pub(super) fn new(trickle: bool) -> (UnboundedSender<Chunk>, Self) {
        let (sender, chunks) = unbounded_channel();
        (sender, Self { chunks, trickle, rest: Bytes::new(), paused: false, dropping: false })
    }

    /// Creates a body with known content. Returns the sender if the body must never end.
    pub(super) fn of(
        content: Vec<u8>,
        after: After,
        trickle: bool,
    ) -> (Option<UnboundedSender<Chunk>>, Self) {
        let (sender, body) = Self::new(trickle);
        // Cannot fail: the body owns the receiver.
        let _ = sender.send(Chunk::Data(Bytes::from(content)));
        match after {
            After::End => (None, body),
            After::Hang => (Some(sender), body),
            After::Drop => {
                let _ = sender.send(Chunk::Drop);
                (None, body)
            }
        }
    }
}

impl Body for ChunkedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.dropping {
            return Poll::Ready(Some(Err(io::Error::other("dropped on request"))));
        }
        if self.rest.is_empty() {
            match self.chunks.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None | Some(Chunk::End)) => return Poll::Ready(None),
                Poll::Ready(Some(Chunk::Drop)) => {
                    self.dropping = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Chunk::Data(data))) => self.rest = data,
            }
        }
        if !self.trickle {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        self.paused = !self.paused;
        if self.paused {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let first = self.rest.len().min(1);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(first)))))
    }
}
