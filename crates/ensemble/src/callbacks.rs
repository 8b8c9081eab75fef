//! Decides when the leader runs the callback. Pure: time comes in, effects go out.
//!
//! ```text
//!            changed             damper elapsed, new digest            ended
//! Quiet ────────────► Damping ─────────────────────────────► Running ────────► Quiet, or Damping if something
//!   ▲                  │  ▲ changed: restarts, up to a bound   │                has changed meanwhile
//!   └── same digest ───┘  └───────────────────────────────────┘ lost: killed
//! ```
//!
//! * Runs never overlap: a master that loses the leadership kills its run before another can lead.
//! * Every change gets its callback eventually: a list that no successful callback has seen is damped again.
//! * The effect of a run that failed, was killed or was lost is unknown: the callback runs again for whatever the list
//!   is then. So the stored digest is cleared before a run starts, and written when the run has succeeded.
//! * A new leader reads from the store which digest the last callback saw.

use std::sync::Arc;
use std::time::Duration;

/// Damper and retry times of callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Time from the last change to the callback.
    pub damper: Duration,
    /// Maximum time from the first change to the callback.
    pub bound: Duration,
    /// First pause after a failed callback; doubles up to one minute.
    pub retry: Duration,
}

/// Maximum pause after failed callbacks.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Number of a run of the callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run(pub u64);

/// What the caller has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start the callback for this list.
    Start(Run, Arc<str>),
    /// Kill the run and its process group: the leadership is lost.
    Kill(Run),
}

/// Schedule of the callback of one master.
#[derive(Debug, Clone)]
pub struct Callbacks {
    times: Times,
    leads: bool,
    /// The digest that the last callback saw, on any master; `None` if that run did not succeed.
    seen: Option<Arc<str>>,
    /// Times of the first change and of the end of the damper.
    pending: Option<(Duration, Duration)>,
    running: Option<(Run, Arc<str>)>,
    newest: u64,
    failures: u32,
}

impl Callbacks {
    /// Creates a schedule without leadership.
    #[must_use]
    pub const fn new(times: Times) -> Self {
        Self { times, leads: false, seen: None, pending: None, running: None, newest: 0, failures: 0 }
    }

    /// Returns when to call [`tick`](Self::tick).
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.pending.filter(|_| self.leads && self.running.is_none()).map(|(_, due)| due)
    }

    /// Returns the current run.
    #[must_use]
    pub fn running(&self) -> Option<Run> {
        self.running.as_ref().map(|(run, _)| *run)
    }

    /// Notes a change of the list.
    pub fn changed(&mut self, now: Duration) {
        let first = self.pending.map_or(now, |(first, _)| first);
        let due = (now + self.times.damper).min(first + self.times.bound);
        self.pending = Some((first, due));
    }

    /// Starts leading; `seen` is the digest of the last successful callback.
    pub fn won(&mut self, seen: Option<Arc<str>>, now: Duration) {
        (self.leads, self.seen, self.failures, self.pending) = (true, seen, 0, None);
        self.changed(now);
    }

    /// Stops leading.
    pub fn lost(&mut self) -> Option<Effect> {
        self.leads = false;
        self.running.take().map(|(run, _)| Effect::Kill(run))
    }

    /// Handles the deadline; `digest` returns the digest of the list.
    pub fn tick(&mut self, now: Duration, digest: impl FnOnce() -> Arc<str>) -> Option<Effect> {
        self.deadline().filter(|due| *due <= now)?;
        self.pending = None;
        let digest = digest();
        if self.seen.as_ref() == Some(&digest) {
            return None;
        }
        self.newest += 1;
        self.running = Some((Run(self.newest), Arc::clone(&digest)));
        Some(Effect::Start(Run(self.newest), digest))
    }

    /// Handles the end of a run. `success`: its digest has been written to the store.
    pub fn ended(&mut self, run: Run, success: bool, now: Duration) {
        let Some((_, digest)) = self.running.take_if(|(running, _)| *running == run) else { return };
        if success {
            self.failures = 0;
            self.seen = Some(digest);
            return;
        }
        self.seen = None;
        let pause = (self.times.retry * 2u32.saturating_pow(self.failures.min(16))).min(LONGEST_RETRY);
        self.failures += 1;
        let due = now + pause.max(self.times.damper);
        self.pending = Some(self.pending.map_or((now, due), |(first, other)| (first, other.max(due))));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times() -> Times {
        Times { damper: SECOND * 10, bound: SECOND * 60, retry: SECOND }
    }

    fn digest_of(number: u32) -> Arc<str> {
        number.to_string().into()
    }

    #[test]
    fn each_change_restarts_the_damper_up_to_the_bound() {
        let mut callbacks = Callbacks::new(times());
        callbacks.won(Some(digest_of(0)), SECOND);
        for at in (5..100).step_by(5) {
            callbacks.changed(SECOND * at);
        }
        assert_eq!(callbacks.deadline(), Some(SECOND * 61));
        assert_eq!(callbacks.tick(SECOND * 60, || digest_of(1)), None);
        let started = callbacks.tick(SECOND * 61, || digest_of(1));
        assert_eq!(started, Some(Effect::Start(Run(1), digest_of(1))));
        // Changes during a run lead to one more run, after it has ended.
        callbacks.changed(SECOND * 62);
        callbacks.changed(SECOND * 63);
        assert_eq!((callbacks.deadline(), callbacks.tick(SECOND * 99, || digest_of(2))), (None, None));
        callbacks.ended(Run(1), true, SECOND * 100);
        assert_eq!(callbacks.tick(SECOND * 100, || digest_of(2)), Some(Effect::Start(Run(2), digest_of(2))));
        callbacks.ended(Run(2), true, SECOND * 101);
        assert_eq!(callbacks.deadline(), None);
    }

    #[test]
    fn skips_the_callback_if_the_digest_is_unchanged_and_retries_a_failure() {
        let mut callbacks = Callbacks::new(times());
        callbacks.won(Some(digest_of(0)), Duration::ZERO);
        callbacks.changed(SECOND);
        assert_eq!(callbacks.tick(SECOND * 11, || digest_of(0)), None);
        callbacks.changed(SECOND * 12);
        let Some(Effect::Start(run, _)) = callbacks.tick(SECOND * 22, || digest_of(1)) else { panic!() };
        callbacks.ended(run, false, SECOND * 23);
        assert_eq!(callbacks.deadline(), Some(SECOND * 33));
        // The failed run may have done half its work: the unchanged list is run for as well.
        assert!(callbacks.tick(SECOND * 33, || digest_of(0)).is_some());
        callbacks.ended(Run(2), true, SECOND * 34);
        assert_eq!(callbacks.lost(), None);
        assert_eq!(callbacks.deadline(), None);
    }

    /// The store and all masters.
    struct Cluster {
        masters: Vec<Callbacks>,
        now: Duration,
        digest: u32,
        leader: Option<usize>,
        /// The digest in the store.
        seen: Option<Arc<str>>,
        running: Option<(usize, Run, Arc<str>)>,
        /// The digest of the last started callback, whatever its result.
        started: Option<Arc<str>>,
    }

    #[derive(Debug, Clone)]
    enum Action {
        Pass(u8),
        Change,
        Back,
        Lead(u8),
        Lose,
        Finish(bool),
    }

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (0..20u8).prop_map(Action::Pass),
            3 => Just(Action::Change),
            1 => Just(Action::Back),
            1 => (0..3u8).prop_map(Action::Lead),
            1 => Just(Action::Lose),
            3 => any::<bool>().prop_map(Action::Finish),
        ]
    }

    impl Cluster {
        fn effect(&mut self, master: usize, effect: Option<Effect>) {
            match effect {
                Some(Effect::Start(run, digest)) => {
                    assert_eq!(self.leader, Some(master), "only the leader runs the callback");
                    assert!(self.running.is_none(), "two runs at once");
                    assert_eq!(digest, digest_of(self.digest));
                    (self.seen, self.started) = (None, Some(Arc::clone(&digest)));
                    self.running = Some((master, run, digest));
                }
                Some(Effect::Kill(run)) => {
                    assert!(
                        self.running.take().is_some_and(|(of, running, _)| (of, running) == (master, run))
                    );
                }
                None => {}
            }
        }

        fn pass(&mut self, time: Duration) {
            let until = self.now + time;
            for _ in 0..100 {
                let due =
                    self.masters.iter().enumerate().filter_map(|(at, it)| Some((it.deadline()?, at))).min();
                let Some((at, master)) = due.filter(|(at, _)| *at <= until) else { break };
                self.now = self.now.max(at);
                let digest = digest_of(self.digest);
                let effect = self.masters[master].tick(self.now, || digest);
                self.effect(master, effect);
            }
            self.now = until;
        }

        fn act(&mut self, action: &Action) {
            match action {
                Action::Pass(seconds) => self.pass(SECOND * u32::from(*seconds)),
                Action::Change | Action::Back => {
                    self.digest = if matches!(action, Action::Back) {
                        self.digest.saturating_sub(1)
                    } else {
                        self.digest + 1
                    };
                    let now = self.now;
                    self.masters.iter_mut().for_each(|master| master.changed(now));
                }
                Action::Lead(which) if self.leader.is_none() => {
                    self.leader = Some(usize::from(*which));
                    let (now, seen) = (self.now, self.seen.clone());
                    self.masters[usize::from(*which)].won(seen, now);
                }
                Action::Lead(_) => {}
                Action::Lose => {
                    if let Some(leader) = self.leader {
                        let effect = self.masters[leader].lost();
                        self.effect(leader, effect);
                        assert!(self.running.is_none(), "the run is gone before another can lead");
                        self.leader = None;
                    }
                }
                Action::Finish(success) => {
                    if let Some((master, run, digest)) = self.running.take() {
                        if *success {
                            self.seen = Some(digest);
                        }
                        self.masters[master].ended(run, *success, self.now);
                        // A second report of the same run is ignored.
                        self.masters[master].ended(run, !*success, self.now);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn callbacks_never_overlap_and_each_change_gets_one(actions in proptest::collection::vec(action(), 0..80)) {
            let mut cluster = Cluster {
                masters: vec![Callbacks::new(times()); 3],
                now: Duration::ZERO,
                digest: 1,
                leader: None,
                seen: None,
                running: None,
                started: None,
            };
            for action in &actions {
                cluster.act(action);
            }
            // In the end a master leads, and callbacks succeed.
            cluster.act(&Action::Lead(0));
            for _ in 0..4 {
                cluster.act(&Action::Finish(true));
                cluster.pass(SECOND * 200);
            }
            cluster.act(&Action::Finish(true));
            prop_assert_eq!(&cluster.seen, &Some(digest_of(cluster.digest)));
            prop_assert_eq!(cluster.started, cluster.seen, "the last started run is the one stored");
        }
    }
}
