//! Reads the events of one watch from the body of its response.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::event::{self, Event, Line};
use super::lines::{Lines, TooLong};
use super::machine::Input;
use crate::KubeError;
use crate::exchange::{ApiResponse, Request};

/// The events of one watch.
pub(super) struct Stream<'a> {
    request: &'a Request<'a>,
    name: &'a str,
    response: ApiResponse,
    lines: Lines,
    max_line: usize,
    /// Time without data after which the server counts as gone.
    silence: Duration,
    received_at: Instant,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        request: &'a Request<'a>,
        name: &'a str,
        response: ApiResponse,
        max_line: usize,
        silence: Duration,
    ) -> Self {
        let lines = Lines::new(max_line);
        Self { request, name, response, lines, max_line, silence, received_at: Instant::now() }
    }

    /// Returns the next input of the state machine. Cancel-safe.
    pub(super) async fn next(&mut self) -> Input {
        loop {
            match self.buffered_event() {
                Ok(None) => {}
                Ok(Some(event)) => return Input::Event(event),
                Err(error) => return Input::Broken(error),
            }
            match timeout_at(self.received_at + self.silence, self.response.piece(self.request)).await {
                Ok(Ok(Some(piece))) => {
                    self.received_at = Instant::now();
                    self.lines.push(&piece);
                }
                Ok(Err(error)) => return Input::Ended(error),
                // The next watch repeats the event of an incomplete line.
                Ok(Ok(None)) | Err(_) => {
                    return Input::Ended(KubeError::WatchesEndAtOnce {
                        request: self.request.target.clone(),
                    });
                }
            }
        }
    }

    /// Returns the next event among the received lines.
    fn buffered_event(&mut self) -> Result<Option<Event>, KubeError> {
        let long = |TooLong| self.request.long("an event", self.max_line);
        while let Some(line) = self.lines.next().map_err(long)? {
            match event::read(line, self.name).map_err(|error| self.request.malformed(&error, line))? {
                Line::Event(event) => return Ok(Some(event)),
                Line::Error(status) => {
                    let code = status.code();
                    return Err(status.error(self.request, code, None));
                }
                Line::Ignored => {}
            }
        }
        Ok(None)
    }
}
