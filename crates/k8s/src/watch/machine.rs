//! State machine of a watch: decides what to request next and what to report. Pure.
//!
//! ```text
//!            list failed: pause                    stream ended, request failed: pause
//!               ┌────┐                                       ┌────┐
//!               ▼    │       list received                   ▼    │
//!  start ──►  Listing ┴───────────────────────►  Watching ───┴────┘
//!                ▲                              from a version, which events advance
//!                └────────────────────────────────┘
//!                 410 Gone, or a response that the same request would get again: pause
//! ```
//!
//! * A watch counts as *working* after an event, or after it has been open for a while; then its failures are reset. The
//!   status 200 alone is not sufficient: the next line may be an error.
//! * A watch that was open for a while is restarted at once. Any other is delayed, so that a broken server never gets
//!   requests in a tight loop.
//! * A failure is reported once for each kind; an update of the pod ends all failures.

use std::time::Duration;

use super::Update;
use super::backoff::Backoff;
use super::event::{Event, PodChange};
use crate::client::Listed;
use crate::{Kind, KubeError, Pace, PodState};

/// Number of normal endings without a working watch after which they are reported as a failure.
const REPORT_AFTER: u32 = 3;

/// The next request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NextRequest {
    /// List the pod.
    List,
    /// Watch the pod from this version.
    Watch { from: String },
}

/// An input of the state machine.
#[derive(Debug)]
pub(super) enum Input {
    /// The list was received.
    Listed(Listed),
    /// The watch has been open for a while.
    StayedOpen,
    /// The watch yielded an event.
    Event(Event),
    /// The request was refused or failed.
    RequestFailed(KubeError),
    /// The watch yielded an error or invalid data.
    Broken(KubeError),
    /// The watch ended or was disconnected.
    Ended(KubeError),
}

/// A decision of the state machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Update to send.
    pub(super) update: Option<Update>,
    pub(super) next: Next,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Continue reading the watch.
    Read,
    /// Pause, then send [`WatchMachine::next_request`].
    Request(Duration),
}

/// The state machine of a watch.
#[derive(Debug)]
pub(super) struct WatchMachine {
    pace: Pace,
    stage: Stage,
    listing: Backoff,
    watching: Backoff,
    /// Watches refused because their version was gone, since the last working one.
    gone: u32,
    /// Watches that ended at once, since the last working one.
    short: u32,
    /// Last reported state of the pod.
    pod: Last,
    /// Failures reported since then.
    reported: Vec<(Operation, Kind)>,
}

#[derive(Debug)]
enum Stage {
    Listing,
    Watching { from: String, was_open: bool, had_event: bool },
}

/// The last reported state of the pod.
#[derive(Debug)]
enum Last {
    Unknown,
    Pod(Option<PodState>),
}

/// The operation that failed. A successful list does not prove that watches work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Listing,
    Watching,
}

impl WatchMachine {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            stage: Stage::Listing,
            listing: Backoff::default(),
            watching: Backoff::default(),
            gone: 0,
            short: 0,
            pod: Last::Unknown,
            reported: Vec::new(),
        }
    }

    /// Returns the next request.
    pub(super) fn next_request(&self) -> NextRequest {
        match &self.stage {
            Stage::Listing => NextRequest::List,
            Stage::Watching { from, .. } => NextRequest::Watch { from: from.clone() },
        }
    }

    /// Handles an input. `random` in `0.0..=1.0` spreads the pauses.
    pub(super) fn step(&mut self, input: Input, random: f64) -> Decision {
        match input {
            Input::Listed(Listed { pod, version }) => {
                self.listing.reset();
                self.watch_from(version);
                let recovered = self.reported.iter().any(|(part, _)| *part == Operation::Listing);
                Decision { update: self.report_pod(pod, recovered), next: Next::Request(Duration::ZERO) }
            }
            Input::StayedOpen => {
                let recovered = self.note_good(true);
                Decision { update: self.report_recovery(recovered), next: Next::Read }
            }
            Input::Event(Event { version, pod }) => {
                let recovered = self.note_good(false);
                if let Stage::Watching { from, .. } = &mut self.stage
                    && !version.is_empty()
                {
                    *from = version;
                }
                let update = match pod {
                    PodChange::None => self.report_recovery(recovered),
                    PodChange::Updated(pod) => self.report_pod(Some(pod), recovered),
                    PodChange::Deleted => self.report_pod(None, recovered),
                };
                Decision { update, next: Next::Read }
            }
            Input::RequestFailed(error) => {
                let list = needs_list(&error);
                self.failed(error, list, random)
            }
            // The same watch might yield the same again.
            Input::Broken(error) => self.failed(error, true, random),
            Input::Ended(error) => self.ended(error, random),
        }
    }

    fn watch_from(&mut self, version: String) {
        self.stage = Stage::Watching { from: version, was_open: false, had_event: false };
    }

    /// Notes that the watch works. Returns whether there were failures.
    fn note_good(&mut self, after_a_while: bool) -> bool {
        self.watching.reset();
        (self.gone, self.short) = (0, 0);
        if let Stage::Watching { was_open, had_event, .. } = &mut self.stage {
            *had_event = true;
            *was_open |= after_a_while;
        }
        !self.reported.is_empty()
    }

    fn failed(&mut self, error: KubeError, list: bool, random: f64) -> Decision {
        let after = error.retry_after().map(|after| after + self.pace.first.mul_f64(random));
        let (part, pause, update) = match &self.stage {
            Stage::Listing => (Operation::Listing, self.listing.next(self.pace, random), true),
            Stage::Watching { was_open, .. } => {
                let pause = if *was_open { Duration::ZERO } else { self.watching.next(self.pace, random) };
                // A version that is too old is normal, unless it happens repeatedly.
                let gone = error.kind() == Kind::Status(410);
                self.gone += u32::from(gone);
                let update = !gone || self.gone >= REPORT_AFTER;
                (Operation::Watching, pause, update)
            }
        };
        if list {
            self.stage = Stage::Listing;
        } else {
            self.reset_watch();
        }
        let update = if update { self.report_failure(part, error) } else { None };
        Decision { update, next: Next::Request(after.unwrap_or_default().max(pause)) }
    }

    /// Handles the end of a watch, which is normal unless it ends at once, repeatedly.
    fn ended(&mut self, error: KubeError, random: f64) -> Decision {
        let (was_open, had_event) = match &self.stage {
            Stage::Listing => (false, false),
            Stage::Watching { was_open, had_event, .. } => (*was_open, *had_event),
        };
        let pause = if was_open { Duration::ZERO } else { self.watching.next(self.pace, random) };
        self.reset_watch();
        self.short += u32::from(!had_event);
        let update = if !had_event && self.short >= REPORT_AFTER {
            self.report_failure(Operation::Watching, error)
        } else {
            None
        };
        Decision { update, next: Next::Request(pause) }
    }

    /// The next watch has to prove again that it works.
    fn reset_watch(&mut self) {
        if let Stage::Watching { was_open, had_event, .. } = &mut self.stage {
            (*was_open, *had_event) = (false, false);
        }
    }

    fn report_pod(&mut self, pod: Option<PodState>, recovered: bool) -> Option<Update> {
        if !recovered && matches!(&self.pod, Last::Pod(last) if *last == pod) {
            return None;
        }
        self.reported.clear();
        self.pod = Last::Pod(pod.clone());
        Some(Update::Pod(pod))
    }

    /// Reports the unchanged pod after a failure.
    fn report_recovery(&mut self, recovered: bool) -> Option<Update> {
        match &self.pod {
            Last::Pod(pod) if recovered => {
                let pod = pod.clone();
                self.report_pod(pod, true)
            }
            _ => None,
        }
    }

    fn report_failure(&mut self, part: Operation, error: KubeError) -> Option<Update> {
        let failure = (part, error.kind());
        if self.reported.contains(&failure) {
            return None;
        }
        self.reported.push(failure);
        Some(Update::Failed(error))
    }
}

/// Returns whether the same request would get the same response again. A server that is overloaded, unavailable or needs
/// other credentials may respond later; one that refuses the version needs another.
fn needs_list(error: &KubeError) -> bool {
    // A server responds with 504 also to a version that is newer than its own.
    matches!(error, KubeError::Status { code, .. } if *code != 429 && (*code < 500 || *code == 504))
}

#[cfg(test)]
mod tests;
