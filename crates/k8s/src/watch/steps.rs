//! What to do next, and what to tell: decisions without clock, chance or connection.
//!
//! ```text
//!            list failed: pause                    stream ended, request failed: pause
//!               ┌────┐                                       ┌────┐
//!               ▼    │       the list is there               ▼    │
//!  begin ──►  Listing ┴───────────────────────►  Watching ───┴────┘
//!                ▲                              from a version, which events move on
//!                └────────────────────────────────┘
//!                 410 Gone, or an answer that the same question would get again: pause
//! ```
//!
//! * A watch is *good* when an event has come or it has stood for a while; then its failures are forgotten.
//!   Until then a 200 means little: the next line may be an error.
//! * A watch that stood for a while is begun again at once. Any other pauses, so that no server, however broken,
//!   is asked in a tight loop.
//! * Trouble is told once for each kind; a pod that is told ends all trouble.

use std::time::Duration;

use super::Update;
use super::backoff::Backoff;
use super::event::{Change, Event};
use crate::client::Listed;
use crate::{Kind, KubeError, Pace, PodState};

/// What is the normal course of things is a trouble to be told when it happens so often before a watch is good.
const TOO_OFTEN: u32 = 3;

/// What to ask the server next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// How it is now.
    List,
    /// What happens after this version.
    Watch {
        /// The version.
        from: String,
    },
}

/// What has happened.
#[derive(Debug)]
pub(super) enum Happened {
    /// The list is there.
    Listed(Listed),
    /// The watch has stood for a while.
    Stood,
    /// The watch tells something.
    Event(Event),
    /// What was asked was refused, or did not get through.
    Failed(KubeError),
    /// The watch says something with which it cannot go on.
    Broken(KubeError),
    /// The watch ended or broke off.
    Ended(KubeError),
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// To be told to whoever listens.
    pub(super) tell: Option<Update>,
    /// What to do then.
    pub(super) then: Then,
}

/// What to do then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Go on with the watch.
    Read,
    /// Pause, and ask what [`Steps::ask`] says.
    Ask(Duration),
}

/// Where in the course of things we are.
#[derive(Debug)]
pub(super) struct Steps {
    pace: Pace,
    stage: Stage,
    listing: Backoff,
    watching: Backoff,
    /// How many watches could not begin since their version was gone, since one was good.
    gone: u32,
    /// How many ended at once, since one was good.
    short: u32,
    /// What was told last of the pod.
    pod: Last,
    /// Trouble that was told since then.
    told: Vec<(Part, Kind)>,
}

#[derive(Debug)]
enum Stage {
    Listing,
    Watching { from: String, stood: bool, heard: bool },
}

/// What was told last of the pod.
#[derive(Debug)]
enum Last {
    Nothing,
    Told(Option<PodState>),
}

/// Where there was trouble. A list that is good says nothing about a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Listing,
    Watching,
}

impl Steps {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            stage: Stage::Listing,
            listing: Backoff::default(),
            watching: Backoff::default(),
            gone: 0,
            short: 0,
            pod: Last::Nothing,
            told: Vec::new(),
        }
    }

    /// What to ask next.
    pub(super) fn ask(&self) -> Ask {
        match &self.stage {
            Stage::Listing => Ask::List,
            Stage::Watching { from, .. } => Ask::Watch { from: from.clone() },
        }
    }

    /// Takes what has happened. `chance` in `0.0..=1.0` spreads the pauses.
    pub(super) fn step(&mut self, happened: Happened, chance: f64) -> Step {
        match happened {
            Happened::Listed(Listed { pod, version }) => {
                self.listing.reset();
                self.watch_from(version);
                let recovered = self.told.iter().any(|(part, _)| *part == Part::Listing);
                Step { tell: self.tell_pod(pod, recovered), then: Then::Ask(Duration::ZERO) }
            }
            Happened::Stood => {
                let recovered = self.good(true);
                Step { tell: self.tell_same(recovered), then: Then::Read }
            }
            Happened::Event(Event { version, pod }) => {
                let recovered = self.good(false);
                if let Stage::Watching { from, .. } = &mut self.stage
                    && !version.is_empty()
                {
                    *from = version;
                }
                let tell = match pod {
                    Change::None => self.tell_same(recovered),
                    Change::Now(pod) => self.tell_pod(Some(pod), recovered),
                    Change::Gone => self.tell_pod(None, recovered),
                };
                Step { tell, then: Then::Read }
            }
            Happened::Failed(error) => {
                let list = needs_list(&error);
                self.failed(error, list, chance)
            }
            // The same watch might say the same again.
            Happened::Broken(error) => self.failed(error, true, chance),
            Happened::Ended(error) => self.ended(error, chance),
        }
    }

    fn watch_from(&mut self, version: String) {
        self.stage = Stage::Watching { from: version, stood: false, heard: false };
    }

    /// The watch works. Was it in trouble?
    fn good(&mut self, after_a_while: bool) -> bool {
        self.watching.reset();
        (self.gone, self.short) = (0, 0);
        if let Stage::Watching { stood, heard, .. } = &mut self.stage {
            *heard = true;
            *stood |= after_a_while;
        }
        !self.told.is_empty()
    }

    fn failed(&mut self, error: KubeError, list: bool, chance: f64) -> Step {
        let after = error.retry_after().map(|after| after + self.pace.first.mul_f64(chance));
        let (part, pause, tell) = match &self.stage {
            Stage::Listing => (Part::Listing, self.listing.next(self.pace, chance), true),
            Stage::Watching { stood, .. } => {
                let pause = if *stood { Duration::ZERO } else { self.watching.next(self.pace, chance) };
                // That a version becomes too old is the normal course of things; that each is, is not.
                let gone = error.kind() == Kind::Status(410);
                self.gone += u32::from(gone);
                let tell = !gone || self.gone >= TOO_OFTEN;
                (Part::Watching, pause, tell)
            }
        };
        if list {
            self.stage = Stage::Listing;
        } else {
            self.again();
        }
        let tell = if tell { self.tell_trouble(part, error) } else { None };
        Step { tell, then: Then::Ask(after.unwrap_or_default().max(pause)) }
    }

    /// That a watch ends is the normal course of things, unless it ends at once, again and again.
    fn ended(&mut self, error: KubeError, chance: f64) -> Step {
        let (stood, heard) = match &self.stage {
            Stage::Listing => (false, false),
            Stage::Watching { stood, heard, .. } => (*stood, *heard),
        };
        let pause = if stood { Duration::ZERO } else { self.watching.next(self.pace, chance) };
        self.again();
        self.short += u32::from(!heard);
        let tell =
            if !heard && self.short >= TOO_OFTEN { self.tell_trouble(Part::Watching, error) } else { None };
        Step { tell, then: Then::Ask(pause) }
    }

    /// The next watch has to show anew that it is good.
    fn again(&mut self) {
        if let Stage::Watching { stood, heard, .. } = &mut self.stage {
            (*stood, *heard) = (false, false);
        }
    }

    fn tell_pod(&mut self, pod: Option<PodState>, recovered: bool) -> Option<Update> {
        if !recovered && matches!(&self.pod, Last::Told(last) if *last == pod) {
            return None;
        }
        self.told.clear();
        self.pod = Last::Told(pod.clone());
        Some(Update::Pod(pod))
    }

    /// Nothing is new but that it works again.
    fn tell_same(&mut self, recovered: bool) -> Option<Update> {
        match &self.pod {
            Last::Told(pod) if recovered => {
                let pod = pod.clone();
                self.tell_pod(pod, true)
            }
            _ => None,
        }
    }

    fn tell_trouble(&mut self, part: Part, error: KubeError) -> Option<Update> {
        let trouble = (part, error.kind());
        if self.told.contains(&trouble) {
            return None;
        }
        self.told.push(trouble);
        Some(Update::Trouble(error))
    }
}

/// Would the same question get the same answer again? A server that is busy, away or wants other papers will
/// answer later; one that does not like the version wants another.
fn needs_list(error: &KubeError) -> bool {
    // 504 is also how a server says that a version is newer than all it knows.
    matches!(error, KubeError::Status { code, .. } if *code != 429 && (*code < 500 || *code == 504))
}

#[cfg(test)]
mod tests;
