//! The body of an answer that comes in pieces, and may end badly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::world::After;

/// What comes next. A body whose sender is gone ends well.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Data(Bytes),
    End,
    Drop,
}

/// The body of an answer.
pub(super) struct Pieces {
    pieces: UnboundedReceiver<Piece>,
    /// Each byte is a piece, and is sent before the next.
    trickle: bool,
    rest: Bytes,
    /// What came before has had its chance to be sent.
    paused: bool,
    /// The next thing is an error.
    dropping: bool,
}

impl Pieces {
    pub(super) fn new(trickle: bool) -> (UnboundedSender<Piece>, Self) {
        let (sender, pieces) = unbounded_channel();
        (sender, Self { pieces, trickle, rest: Bytes::new(), paused: false, dropping: false })
    }

    /// All of it is known at once. The sender is returned if the body is never to end.
    pub(super) fn of(
        content: Vec<u8>,
        after: After,
        trickle: bool,
    ) -> (Option<UnboundedSender<Piece>>, Self) {
        let (sender, body) = Self::new(trickle);
        // The receiver is there: it stands in the body.
        let _ = sender.send(Piece::Data(Bytes::from(content)));
        match after {
            After::End => (None, body),
            After::Hang => (Some(sender), body),
            After::Drop => {
                let _ = sender.send(Piece::Drop);
                (None, body)
            }
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.dropping {
            return Poll::Ready(Some(Err(io::Error::other("told to drop"))));
        }
        if self.rest.is_empty() {
            match self.pieces.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None | Some(Piece::End)) => return Poll::Ready(None),
                Poll::Ready(Some(Piece::Drop)) => {
                    self.dropping = true;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Piece::Data(data))) => self.rest = data,
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
