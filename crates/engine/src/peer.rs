//! Peers: other containers of the pod, known by their tombstones or from outside.
//!
//! ```text
//! started ─► ready ─► exited ───────────────► fires death dependencies
//!                       │ already handled       ▲
//!                       └─────► stale ──────────┘ not restarted within the rebirth period
//! ```
//!
//! * The driver reports the [status](PeerStatus) of a peer at each change; the newest one counts, so that none is
//!   missed by being early.
//! * A *start dependency* is an [expression](Expression) over peers that must hold before a process is started.
//! * A *death dependency* is one that stops a process, or the pod, when it holds.
//! * An exit is stale if this pod already stopped because of it in a previous incarnation. It fires no death dependency
//!   unless the peer fails to come back within the rebirth period.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::{Signal, Time};

/// The status of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerStatus {
    /// It is running.
    pub started: bool,
    pub ready: bool,
    /// It has exited and was not started again since.
    pub ended: Option<PeerExit>,
}

/// The exit of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerExit {
    /// The exit code, if known.
    pub code: Option<i32>,
    /// The previous incarnation already handled this exit: the peer is expected to restart too.
    pub stale: bool,
}

impl PeerStatus {
    fn has(&self, condition: Condition) -> bool {
        let code = self.ended.map(|exit| exit.code);
        match condition {
            Condition::Started => self.started,
            Condition::Ready => self.ready,
            Condition::Exited => code.is_some(),
            Condition::Succeeded => code == Some(Some(0)),
            Condition::Failed => code.is_some_and(|code| code != Some(0)),
        }
    }
}

/// One term of an [`Expression`]: a condition on a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DependencyTerm {
    pub peer: String,
    pub condition: Condition,
}

impl fmt::Display for DependencyTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be {}", self.peer, self.condition.label())
    }
}

/// A disjunction of conjunctions: it holds when all terms of any group hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expression(pub Vec<Vec<DependencyTerm>>);

impl Expression {
    /// Returns an expression of a single term.
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

/// An expression that must hold before a process is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartDependency {
    pub expression: Expression,
    /// Counted from when all needs of the process are met; None: unlimited.
    pub timeout: Option<Duration>,
    pub at_timeout: TimeoutAction,
}

/// What happens when a start dependency times out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeoutAction {
    /// The process fails without being started.
    #[default]
    Fail,
    /// The process is started anyway.
    StartAnyway,
}

/// The lifecycle times of a process or pod, for its tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LifecycleRecord {
    /// First start.
    pub born: Option<Time>,
    /// Since when it is ready; None: not ready.
    pub ready: Option<Time>,
    pub died: Option<Death>,
}

impl LifecycleRecord {
    /// Whether the only change is from ready to not ready.
    #[must_use]
    pub(crate) fn only_withdraws(&self, before: Option<&Self>) -> bool {
        before.is_some_and(|before| before.born == self.born && before.died.is_none())
            && self.ready.is_none()
            && self.died.is_none()
    }
}

/// The final exit of a process or pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub at: Time,
    /// The exit code, after the mapping of the plan.
    pub code: i32,
    /// The signal that terminated it.
    pub signal: Option<Signal>,
    /// For people.
    pub reason: String,
}

/// The status of all peers that were reported.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(BTreeMap<String, Peer>);

#[derive(Debug, Clone, Default)]
struct Peer {
    status: PeerStatus,
    /// When its stale exit counts again, unless it restarts before.
    counts_from: Option<Time>,
}

impl Peer {
    /// Whether its exit is stale and it may still restart.
    const fn is_excused(&self) -> bool {
        self.counts_from.is_some()
    }
}

impl Peers {
    /// Records a status; returns false if nothing has changed. A stale exit counts again after `rebirth`, if the peer
    /// has not restarted by then.
    pub(crate) fn update(&mut self, name: String, status: PeerStatus, rebirth: Duration, now: Time) -> bool {
        let peer = self.0.entry(name).or_default();
        if peer.status == status {
            return false;
        }
        let is_stale = |status: &PeerStatus| status.ended.is_some_and(|exit| exit.stale);
        peer.counts_from = match (is_stale(&peer.status), is_stale(&status)) {
            (_, false) => None,
            (true, true) => peer.counts_from,
            (false, true) => Some(now + rebirth),
        };
        peer.status = status;
        true
    }

    /// When the next stale exit counts again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.0.values().filter_map(|peer| peer.counts_from).min()
    }

    /// Lets stale exits count whose rebirth period is over; returns true if there are any.
    pub(crate) fn expire_old_deaths(&mut self, now: Time) -> bool {
        let mut any = false;
        for peer in self.0.values_mut().filter(|peer| peer.counts_from.is_some_and(|at| at <= now)) {
            any = true;
            peer.counts_from = None;
        }
        any
    }

    fn status(&self, name: &str) -> PeerStatus {
        self.0.get(name).map(|peer| peer.status).unwrap_or_default()
    }

    /// Whether the expression of a start dependency holds.
    pub(crate) fn hold(&self, expression: &Expression) -> bool {
        let has = |term: &DependencyTerm| self.status(&term.peer).has(term.condition);
        expression.0.iter().any(|group| !group.is_empty() && group.iter().all(has))
    }

    /// Describes why a death dependency has fired; None: it has not. Stale exits do not count.
    pub(crate) fn fired_death_dependency(&self, expression: &Expression) -> Option<String> {
        let has = |term: &DependencyTerm| {
            let peer = self.0.get(&term.peer);
            peer.is_some_and(|peer| peer.status.has(term.condition) && !peer.is_excused())
        };
        let group = expression.0.iter().find(|group| !group.is_empty() && group.iter().all(has))?;
        let texts = group.iter().map(|term| {
            let peer = &term.peer;
            match self.status(peer).ended.map(|exit| exit.code) {
                Some(Some(code)) => format!("{peer} exited with code {code}"),
                Some(None) => format!("{peer} exited, exit code unknown"),
                None => format!("{peer} is {}", term.condition.label()),
            }
        });
        Some(texts.collect::<Vec<_>>().join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REBIRTH: Duration = Duration::from_secs(60);

    fn ended(code: i32, stale: bool) -> PeerStatus {
        PeerStatus { ended: Some(PeerExit { code: Some(code), stale }), ..PeerStatus::default() }
    }

    #[test]
    fn an_expression_holds_when_all_terms_of_a_group_hold() {
        let term = |peer: &str, condition| DependencyTerm { peer: peer.to_owned(), condition };
        let expression = Expression(vec![
            vec![term("a", Condition::Ready), term("b", Condition::Succeeded)],
            vec![term("c", Condition::Failed)],
        ]);
        let mut peers = Peers::default();
        let saw = |peers: &mut Peers, name: &str, status| {
            peers.update(name.to_owned(), status, REBIRTH, Time::ZERO);
            peers.hold(&expression)
        };
        assert!(!saw(&mut peers, "a", PeerStatus { started: true, ready: true, ended: None }));
        assert!(!saw(&mut peers, "b", ended(1, false)));
        assert!(saw(&mut peers, "b", ended(0, false)));
        assert!(!saw(&mut peers, "a", PeerStatus { started: true, ready: false, ended: None }));
        assert!(saw(&mut peers, "c", ended(3, false)));
        assert_eq!(peers.fired_death_dependency(&expression).as_deref(), Some("c exited with code 3"));
        assert_eq!(expression.to_string(), "a to be ready and b to be succeeded, or c to be failed");
        assert!(!peers.hold(&Expression(vec![vec![]])), "an empty group does not hold");
    }

    #[test]
    fn a_stale_exit_counts_after_the_rebirth_period() {
        let mut peers = Peers::default();
        let gone = Expression::of("main", Condition::Exited);
        let at = |seconds| Time::ZERO + Duration::from_secs(seconds);
        assert!(peers.update("main".to_owned(), ended(1, true), REBIRTH, at(5)));
        assert!(!peers.update("main".to_owned(), ended(1, true), REBIRTH, at(50)), "unchanged");
        assert!(peers.fired_death_dependency(&gone).is_none());
        assert_eq!(peers.deadline(), Some(at(65)));
        assert!(!peers.expire_old_deaths(at(64)));
        assert!(peers.expire_old_deaths(at(65)));
        assert!(peers.fired_death_dependency(&gone).is_some());
        assert!(!peers.update("main".to_owned(), ended(1, true), REBIRTH, at(66)), "still unchanged");
        // It restarts.
        peers.update(
            "main".to_owned(),
            PeerStatus { started: true, ..PeerStatus::default() },
            REBIRTH,
            at(70),
        );
        assert!(peers.fired_death_dependency(&gone).is_none() && peers.deadline().is_none());
        peers.update("main".to_owned(), ended(1, false), REBIRTH, at(80));
        assert!(peers.fired_death_dependency(&gone).is_some(), "its new exit is not stale");
    }
}
