//! Processes of others, of whom we know what they tell: births and deaths across the containers of a pod.
//!
//! A peer is known by a name. The driver says what it has [seen](PeerStatus) of it, whenever that changes; what
//! counts is the newest sighting, so that nothing is missed by having come first.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::plan::Condition;
use crate::{Signal, Time};

/// What is known of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerStatus {
    /// It is there.
    pub started: bool,
    /// It is ready.
    pub ready: bool,
    /// It has ended, and was not started again since.
    pub ended: Option<PeerExit>,
}

/// The end of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerExit {
    /// With this exit code; None: nobody knows.
    pub code: Option<i32>,
    /// We have ended because of this very end before: it is expected to come back as we have.
    pub stale: bool,
}

impl PeerStatus {
    fn has(&self, condition: Condition) -> bool {
        let ended = self.ended.map(|end| end.code);
        match condition {
            Condition::Started => self.started,
            Condition::Ready => self.ready,
            Condition::Exited => ended.is_some(),
            Condition::Succeeded => ended == Some(Some(0)),
            Condition::Failed => ended.is_some_and(|code| code != Some(0)),
        }
    }
}

/// Something that may hold of a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DependencyTerm {
    /// Of which.
    pub peer: String,
    /// What.
    pub condition: Condition,
}

impl fmt::Display for DependencyTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be {}", self.peer, self.condition.label())
    }
}

/// It holds when all terms of any of the groups hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub Vec<Vec<DependencyTerm>>);

impl Expression {
    /// A single term.
    #[must_use]
    pub fn of(peer: impl Into<String>, condition: Condition) -> Self {
        Self(vec![vec![DependencyTerm { peer: peer.into(), condition }]])
    }

    /// The names of all peers in it.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(|term| term.peer.as_str())
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", or " } else { "" })?;
            for (index, term) in group.iter().enumerate() {
                write!(f, "{}{term}", if index > 0 { " and " } else { "" })?;
            }
        }
        Ok(())
    }
}

/// Something that has to hold of peers before a process is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartDependency {
    /// What.
    pub expression: Expression,
    /// How long it is waited for, from when all that the process needs of its neighbours holds.
    pub timeout: Option<Duration>,
    /// And then.
    pub at_timeout: TimeoutAction,
}

/// What happens when something has not come to hold in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeoutAction {
    /// The process is not started: it has failed.
    #[default]
    Fail,
    /// It is started without.
    StartAnyway,
}

/// What is told others of a life, by a file that they can read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LifecycleRecord {
    /// When it was there first.
    pub born: Option<Time>,
    /// Since when it has been ready, if it is.
    pub ready: Option<Time>,
    /// Its end for good.
    pub died: Option<Death>,
}

impl LifecycleRecord {
    /// It says no more than that it is not ready now.
    #[must_use]
    pub(crate) fn only_withdraws(&self, before: Option<&Self>) -> bool {
        before.is_some_and(|before| before.born == self.born && before.died.is_none())
            && self.ready.is_none()
            && self.died.is_none()
    }
}

/// An end for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// When.
    pub at: Time,
    /// The exit code it stands for.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// In words.
    pub reason: String,
}

/// All peers that were seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(BTreeMap<String, Peer>);

#[derive(Debug, Clone, Default)]
struct Peer {
    sighting: PeerStatus,
    /// Its old end counts from then on, unless it comes back.
    counts_from: Option<Time>,
}

impl Peer {
    /// Its end was dealt with, and it may come back yet.
    const fn is_forgiven(&self) -> bool {
        self.counts_from.is_some()
    }
}

impl Peers {
    /// False: that is no news. An old end counts after `rebirth`, if the peer has not come back by then.
    pub(crate) fn update(
        &mut self,
        name: String,
        sighting: PeerStatus,
        rebirth: Duration,
        now: Time,
    ) -> bool {
        let peer = self.0.entry(name).or_default();
        if peer.sighting == sighting {
            return false;
        }
        let old = |sighting: &PeerStatus| sighting.ended.is_some_and(|end| end.stale);
        peer.counts_from = match (old(&peer.sighting), old(&sighting)) {
            (_, false) => None,
            (true, true) => peer.counts_from,
            (false, true) => Some(now + rebirth),
        };
        peer.sighting = sighting;
        true
    }

    /// When the next old end begins to count.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.0.values().filter_map(|peer| peer.counts_from).min()
    }

    /// Old ends whose time has come count now. True: there are some.
    pub(crate) fn expire_old_deaths(&mut self, now: Time) -> bool {
        let mut any = false;
        for peer in self.0.values_mut().filter(|peer| peer.counts_from.is_some_and(|at| at <= now)) {
            any = true;
            peer.counts_from = None;
        }
        any
    }

    fn sighting(&self, name: &str) -> PeerStatus {
        self.0.get(name).map(|peer| peer.sighting).unwrap_or_default()
    }

    /// Does it hold, for somebody who waits to begin?
    pub(crate) fn hold(&self, expression: &Expression) -> bool {
        let has = |term: &DependencyTerm| self.sighting(&term.peer).has(term.condition);
        expression.0.iter().any(|group| !group.is_empty() && group.iter().all(has))
    }

    /// What holds of it, in words, for somebody who is to end then; an old end is none. None: it does not hold.
    pub(crate) fn fired_death_dependency(&self, expression: &Expression) -> Option<String> {
        let has = |term: &DependencyTerm| {
            let peer = self.0.get(&term.peer);
            peer.is_some_and(|peer| peer.sighting.has(term.condition) && !peer.is_forgiven())
        };
        let group = expression.0.iter().find(|group| !group.is_empty() && group.iter().all(has))?;
        let words = group.iter().map(|term| {
            let peer = &term.peer;
            match self.sighting(peer).ended.map(|end| end.code) {
                Some(Some(code)) => format!("{peer} has ended with exit code {code}"),
                Some(None) => format!("{peer} is gone"),
                None => format!("{peer} is {}", term.condition.label()),
            }
        });
        Some(words.collect::<Vec<_>>().join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REBIRTH: Duration = Duration::from_secs(60);

    fn ended(code: i32, old: bool) -> PeerStatus {
        PeerStatus { ended: Some(PeerExit { code: Some(code), stale: old }), ..PeerStatus::default() }
    }

    #[test]
    fn any_of_all_of() {
        let term = |peer: &str, condition| DependencyTerm { peer: peer.to_owned(), condition };
        let expression = Expression(vec![
            vec![term("a", Condition::Ready), term("b", Condition::Succeeded)],
            vec![term("c", Condition::Failed)],
        ]);
        let mut peers = Peers::default();
        let saw = |peers: &mut Peers, name: &str, sighting| {
            peers.update(name.to_owned(), sighting, REBIRTH, Time::ZERO);
            peers.hold(&expression)
        };
        assert!(!saw(&mut peers, "a", PeerStatus { started: true, ready: true, ended: None }));
        assert!(!saw(&mut peers, "b", ended(1, false)));
        assert!(saw(&mut peers, "b", ended(0, false)));
        assert!(!saw(&mut peers, "a", PeerStatus { started: true, ready: false, ended: None }));
        assert!(saw(&mut peers, "c", ended(3, false)));
        assert_eq!(
            peers.fired_death_dependency(&expression).as_deref(),
            Some("c has ended with exit code 3")
        );
        assert_eq!(expression.to_string(), "a to be ready and b to be succeeded, or c to be failed");
        assert!(!peers.hold(&Expression(vec![vec![]])), "nothing at all does not hold");
    }

    #[test]
    fn an_old_end_counts_when_its_time_has_come_and_not_before() {
        let mut peers = Peers::default();
        let gone = Expression::of("main", Condition::Exited);
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert!(peers.update("main".to_owned(), ended(1, true), REBIRTH, at(5)));
        assert!(!peers.update("main".to_owned(), ended(1, true), REBIRTH, at(50)), "no news");
        assert!(peers.fired_death_dependency(&gone).is_none());
        assert_eq!(peers.deadline(), Some(at(65)));
        assert!(!peers.expire_old_deaths(at(64)));
        assert!(peers.expire_old_deaths(at(65)));
        assert!(peers.fired_death_dependency(&gone).is_some());
        assert!(!peers.update("main".to_owned(), ended(1, true), REBIRTH, at(66)), "no news either");
        // It comes back, and is forgiven.
        peers.update(
            "main".to_owned(),
            PeerStatus { started: true, ..PeerStatus::default() },
            REBIRTH,
            at(70),
        );
        assert!(peers.fired_death_dependency(&gone).is_none() && peers.deadline().is_none());
        peers.update("main".to_owned(), ended(1, false), REBIRTH, at(80));
        assert!(peers.fired_death_dependency(&gone).is_some(), "its new end is none that we have ended of");
    }
}
