//! The events of one watch, read from the body of its answer.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::event::{self, Event, Said};
use super::lines::{Lines, TooLong};
use super::steps::Happened;
use crate::KubeError;
use crate::exchange::{Answer, Request};

/// The events of one watch.
pub(super) struct Stream<'a> {
    request: &'a Request<'a>,
    name: &'a str,
    answer: Answer,
    lines: Lines,
    most_line: usize,
    /// After so much silence nobody is there any more.
    silence: Duration,
    heard: Instant,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        request: &'a Request<'a>,
        name: &'a str,
        answer: Answer,
        most_line: usize,
        silence: Duration,
    ) -> Self {
        let lines = Lines::new(most_line);
        Self { request, name, answer, lines, most_line, silence, heard: Instant::now() }
    }

    /// What happens next. Nothing is lost when the wait is given up.
    pub(super) async fn next(&mut self) -> Happened {
        loop {
            match self.said() {
                Ok(None) => {}
                Ok(Some(event)) => return Happened::Event(event),
                Err(error) => return Happened::Broken(error),
            }
            match timeout_at(self.heard + self.silence, self.answer.piece(self.request)).await {
                Ok(Ok(Some(piece))) => {
                    self.heard = Instant::now();
                    self.lines.push(&piece);
                }
                Ok(Err(error)) => return Happened::Ended(error),
                // Half a line at the end is what the next watch begins with.
                Ok(Ok(None)) | Err(_) => {
                    return Happened::Ended(KubeError::Cut { request: self.request.target.clone() });
                }
            }
        }
    }

    /// The next event among the lines that are there.
    fn said(&mut self) -> Result<Option<Event>, KubeError> {
        let long = |TooLong| self.request.long("an event", self.most_line);
        while let Some(line) = self.lines.next().map_err(long)? {
            match event::read(line, self.name).map_err(|error| self.request.malformed(&error, line))? {
                Said::Event(event) => return Ok(Some(event)),
                Said::Error(status) => {
                    let code = status.code();
                    return Err(status.error(self.request, code, None));
                }
                Said::Nothing => {}
            }
        }
        Ok(None)
    }
}
