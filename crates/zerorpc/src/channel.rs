//! A channel, as both ends have it: when to send a heartbeat, when the other side is lost, and whether something may be
//! sent. Pure: time comes in.

use std::time::Duration;

/// Between two heartbeats of the other side, unless it has been told otherwise.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How many of its may be missing.
const MISSING: u32 = 2;
/// Between two of ours: more often than has to be, since the other side may want them so.
const OURS: Duration = Duration::from_secs(1);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send a heartbeat.
    Heartbeat,
    /// Give it up: the other side is not there any more.
    Lost,
}

/// A channel.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    /// When something was heard last of the other side.
    heard: Duration,
    beat: Duration,
    slots: u64,
}

impl Channel {
    /// Begun just now.
    pub(crate) fn new(now: Duration) -> Self {
        // The first answer needs no leave.
        Self { heard: now, beat: now + OURS, slots: 1 }
    }

    /// Something has come.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = now;
    }

    /// So much more may be sent.
    pub(crate) fn more(&mut self, slots: u64) {
        self.slots = self.slots.saturating_add(slots);
    }

    /// May something be sent that takes a slot?
    pub(crate) const fn has_room(&self) -> bool {
        self.slots > 0
    }

    /// Something was sent that takes a slot.
    pub(crate) const fn sent(&mut self) {
        self.slots = self.slots.saturating_sub(1);
    }

    /// When to look again.
    pub(crate) const fn deadline(&self) -> Duration {
        self.beat
    }

    /// Time has passed.
    pub(crate) fn woke(&mut self, now: Duration) -> Option<Due> {
        if now < self.beat {
            return None;
        }
        // One interval more than may be missing, since the other side's clock began later than ours.
        if now > self.heard + HEARTBEAT * (MISSING + 1) {
            return Some(Due::Lost);
        }
        self.beat = now + OURS;
        Some(Due::Heartbeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_sent_until_nothing_is_heard_any_more() {
        let mut channel = Channel::new(Duration::ZERO);
        let (mut beats, mut now) = (0, Duration::ZERO);
        let mut pass = |channel: &mut Channel, until: Duration| {
            while channel.deadline() <= until {
                now = channel.deadline();
                match channel.woke(now) {
                    Some(Due::Heartbeat) => beats += 1,
                    Some(Due::Lost) => return Some(now),
                    None => panic!("woken for nothing"),
                }
            }
            assert_eq!(beats, until.as_secs());
            None
        };
        for round in 1..10 {
            assert_eq!(pass(&mut channel, HEARTBEAT * round), None);
            channel.heard(HEARTBEAT * round);
        }
        assert_eq!(pass(&mut channel, HEARTBEAT * 20), Some(HEARTBEAT * 12 + OURS));
    }

    #[test]
    fn what_is_sent_needs_room() {
        let mut channel = Channel::new(Duration::ZERO);
        assert!(channel.has_room());
        channel.sent();
        assert!(!channel.has_room());
        channel.more(2);
        channel.sent();
        assert!(channel.has_room());
        channel.more(u64::MAX);
        assert!(channel.has_room());
    }
}
