//! When the leader runs the callback. Pure: time comes in, what is to be done goes out.
//!
//! ```text
//!            changed             damper over, another digest           ended
//! Quiet ────────────► Damping ─────────────────────────────► Running ────────► Quiet, or Damping if something
//!   ▲                  │  ▲ changed: from anew, up to a bound  │                has changed meanwhile
//!   └── same digest ───┘  └───────────────────────────────────┘ lost: killed
//! ```
//!
//! * Runs never overlap: there is one at a time, and whoever loses the leadership ends it before another can lead.
//! * No change is without its callback in the end: what has not been seen by a callback that ended well is damped again.
//! * What a run that has failed, was killed or was lost has done is not known: whatever the list is then, it is run for.
//!   So the store forgets what was seen before a run begins, and learns it when it has ended well.
//! * A leader that is new asks the store what the last callback saw.

use std::sync::Arc;
use std::time::Duration;

/// The times of callbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// From the last change to the callback.
    pub damper: Duration,
    /// From the first change to the callback at most.
    pub bound: Duration,
    /// After a callback that has failed, before it is tried again; it doubles up to the bound of a minute.
    pub retry: Duration,
}

/// The longest pause after callbacks that fail.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// One run of the callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run(pub u64);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start the callback for this list.
    Start(Run, Arc<str>),
    /// End it, with its group; it is not ours to run any more.
    Kill(Run),
}

/// When it runs next, and what is known of the last.
#[derive(Debug, Clone)]
pub struct Callbacks {
    times: Times,
    leads: bool,
    /// What the last callback has seen, by whoever ran it, if it has ended well.
    seen: Option<Arc<str>>,
    /// Something has changed: when first, and when the damper is over.
    pending: Option<(Duration, Duration)>,
    running: Option<(Run, Arc<str>)>,
    newest: u64,
    failures: u32,
}

impl Callbacks {
    /// Nothing is known, and we do not lead.
    #[must_use]
    pub const fn new(times: Times) -> Self {
        Self { times, leads: false, seen: None, pending: None, running: None, newest: 0, failures: 0 }
    }

    /// When to call [`woke`](Self::woke).
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.pending.filter(|_| self.leads && self.running.is_none()).map(|(_, due)| due)
    }

    /// What runs.
    #[must_use]
    pub fn running(&self) -> Option<Run> {
        self.running.as_ref().map(|(run, _)| *run)
    }

    /// The list has changed.
    pub fn changed(&mut self, now: Duration) {
        let first = self.pending.map_or(now, |(first, _)| first);
        let due = (now + self.times.damper).min(first + self.times.bound);
        self.pending = Some((first, due));
    }

    /// We lead; the last callback saw this, and ended well.
    pub fn won(&mut self, seen: Option<Arc<str>>, now: Duration) {
        (self.leads, self.seen, self.failures, self.pending) = (true, seen, 0, None);
        self.changed(now);
    }

    /// We do not lead any more.
    pub fn lost(&mut self) -> Option<Effect> {
        self.leads = false;
        self.running.take().map(|(run, _)| Effect::Kill(run))
    }

    /// Time has passed; `digest` is that of the list.
    pub fn woke(&mut self, now: Duration, digest: impl FnOnce() -> Arc<str>) -> Option<Effect> {
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

    /// A run has ended. Well: it has seen its list, and that is known to the store.
    pub fn ended(&mut self, run: Run, well: bool, now: Duration) {
        let Some((_, digest)) = self.running.take_if(|(running, _)| *running == run) else { return };
        if well {
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

    fn word(number: u32) -> Arc<str> {
        number.to_string().into()
    }

    #[test]
    fn the_damper_begins_anew_with_each_change_up_to_its_bound() {
        let mut callbacks = Callbacks::new(times());
        callbacks.won(Some(word(0)), SECOND);
        for at in (5..100).step_by(5) {
            callbacks.changed(SECOND * at);
        }
        assert_eq!(callbacks.deadline(), Some(SECOND * 61));
        assert_eq!(callbacks.woke(SECOND * 60, || word(1)), None);
        let started = callbacks.woke(SECOND * 61, || word(1));
        assert_eq!(started, Some(Effect::Start(Run(1), word(1))));
        // A change while it runs leads to one more run, and not before it has ended.
        callbacks.changed(SECOND * 62);
        callbacks.changed(SECOND * 63);
        assert_eq!((callbacks.deadline(), callbacks.woke(SECOND * 99, || word(2))), (None, None));
        callbacks.ended(Run(1), true, SECOND * 100);
        assert_eq!(callbacks.woke(SECOND * 100, || word(2)), Some(Effect::Start(Run(2), word(2))));
        callbacks.ended(Run(2), true, SECOND * 101);
        assert_eq!(callbacks.deadline(), None);
    }

    #[test]
    fn a_digest_that_returns_calls_it_off_and_a_failure_is_tried_again() {
        let mut callbacks = Callbacks::new(times());
        callbacks.won(Some(word(0)), Duration::ZERO);
        callbacks.changed(SECOND);
        assert_eq!(callbacks.woke(SECOND * 11, || word(0)), None);
        callbacks.changed(SECOND * 12);
        let Some(Effect::Start(run, _)) = callbacks.woke(SECOND * 22, || word(1)) else { panic!() };
        callbacks.ended(run, false, SECOND * 23);
        assert_eq!(callbacks.deadline(), Some(SECOND * 33));
        // What that has left half done is undone by a run for the list that has returned.
        assert!(callbacks.woke(SECOND * 33, || word(0)).is_some());
        callbacks.ended(Run(2), true, SECOND * 34);
        assert_eq!(callbacks.lost(), None);
        assert_eq!(callbacks.deadline(), None);
    }

    /// What the store and all masters are, as the world sees it.
    struct World {
        masters: Vec<Callbacks>,
        now: Duration,
        digest: u32,
        leader: Option<usize>,
        /// What the store says the last callback saw.
        seen: Option<Arc<str>>,
        running: Option<(usize, Run, Arc<str>)>,
        /// What the last callback that began was told, however it ended.
        told: Option<Arc<str>>,
    }

    #[derive(Debug, Clone)]
    enum Act {
        Pass(u8),
        Change,
        Back,
        Lead(u8),
        Lose,
        End(bool),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0..20u8).prop_map(Act::Pass),
            3 => Just(Act::Change),
            1 => Just(Act::Back),
            1 => (0..3u8).prop_map(Act::Lead),
            1 => Just(Act::Lose),
            3 => any::<bool>().prop_map(Act::End),
        ]
    }

    impl World {
        fn effect(&mut self, master: usize, effect: Option<Effect>) {
            match effect {
                Some(Effect::Start(run, digest)) => {
                    assert_eq!(self.leader, Some(master), "only the leader runs it");
                    assert!(self.running.is_none(), "two at once");
                    assert_eq!(digest, word(self.digest));
                    (self.seen, self.told) = (None, Some(Arc::clone(&digest)));
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
                let digest = word(self.digest);
                let effect = self.masters[master].woke(self.now, || digest);
                self.effect(master, effect);
            }
            self.now = until;
        }

        fn act(&mut self, act: &Act) {
            match act {
                Act::Pass(seconds) => self.pass(SECOND * u32::from(*seconds)),
                Act::Change | Act::Back => {
                    self.digest = if matches!(act, Act::Back) {
                        self.digest.saturating_sub(1)
                    } else {
                        self.digest + 1
                    };
                    let now = self.now;
                    self.masters.iter_mut().for_each(|master| master.changed(now));
                }
                Act::Lead(which) if self.leader.is_none() => {
                    self.leader = Some(usize::from(*which));
                    let (now, seen) = (self.now, self.seen.clone());
                    self.masters[usize::from(*which)].won(seen, now);
                }
                Act::Lead(_) => {}
                Act::Lose => {
                    if let Some(leader) = self.leader {
                        let effect = self.masters[leader].lost();
                        self.effect(leader, effect);
                        assert!(self.running.is_none(), "nothing of it is left when another can lead");
                        self.leader = None;
                    }
                }
                Act::End(well) => {
                    if let Some((master, run, digest)) = self.running.take() {
                        if *well {
                            self.seen = Some(digest);
                        }
                        self.masters[master].ended(run, *well, self.now);
                        // Twice is once.
                        self.masters[master].ended(run, !*well, self.now);
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn callbacks_never_overlap_and_no_change_is_without_one_in_the_end(acts in proptest::collection::vec(act(), 0..80)) {
            let mut world = World {
                masters: vec![Callbacks::new(times()); 3],
                now: Duration::ZERO,
                digest: 1,
                leader: None,
                seen: None,
                running: None,
                told: None,
            };
            for act in &acts {
                world.act(act);
            }
            // Somebody leads in the end, and callbacks end well.
            world.act(&Act::Lead(0));
            for _ in 0..4 {
                world.act(&Act::End(true));
                world.pass(SECOND * 200);
            }
            world.act(&Act::End(true));
            prop_assert_eq!(&world.seen, &Some(word(world.digest)));
            prop_assert_eq!(world.told, world.seen, "the last that ran is the one that counts");
        }
    }
}
