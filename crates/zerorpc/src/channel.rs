//! The state of a channel, at the client and at the server: when to send a heartbeat, when the peer is lost, and whether
//! a value may be sent. Pure: time comes in.

use std::time::Duration;

/// Interval of the peer's heartbeats, by default.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// Heartbeats of the peer that may be missed.
const MAX_MISSED: u32 = 2;
/// Interval of sent heartbeats: shorter than the default, since the peer may be configured for it.
const SEND_INTERVAL: Duration = Duration::from_secs(1);

/// What the caller has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send a heartbeat.
    Heartbeat,
    /// Close the channel: the peer sends nothing any more.
    Lost,
}

/// The state of a channel.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    /// Time of the last message from the peer.
    received_at: Duration,
    next_beat: Duration,
    slots: u64,
}

impl Channel {
    /// Creates a channel that starts now.
    pub(crate) fn new(now: Duration) -> Self {
        // The first response needs no slot from the client.
        Self { received_at: now, next_beat: now + SEND_INTERVAL, slots: 1 }
    }

    /// Notes a message from the peer.
    pub(crate) fn received(&mut self, now: Duration) {
        self.received_at = now;
    }

    /// Adds slots.
    pub(crate) fn more(&mut self, slots: u64) {
        self.slots = self.slots.saturating_add(slots);
    }

    /// Returns whether a value may be sent.
    pub(crate) const fn has_room(&self) -> bool {
        self.slots > 0
    }

    /// Notes that a value was sent, which takes a slot.
    pub(crate) const fn sent(&mut self) {
        self.slots = self.slots.saturating_sub(1);
    }

    /// Returns when to call [`tick`](Self::tick).
    pub(crate) const fn deadline(&self) -> Duration {
        self.next_beat
    }

    /// Handles the deadline.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<Due> {
        if now < self.next_beat {
            return None;
        }
        // One more interval, since the peer started its timer later.
        if now > self.received_at + HEARTBEAT * (MAX_MISSED + 1) {
            return Some(Due::Lost);
        }
        self.next_beat = now + SEND_INTERVAL;
        Some(Due::Heartbeat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_heartbeats_until_the_peer_is_lost() {
        let mut channel = Channel::new(Duration::ZERO);
        let (mut beats, mut now) = (0, Duration::ZERO);
        let mut pass = |channel: &mut Channel, until: Duration| {
            while channel.deadline() <= until {
                now = channel.deadline();
                match channel.tick(now) {
                    Some(Due::Heartbeat) => beats += 1,
                    Some(Due::Lost) => return Some(now),
                    None => panic!("deadline without effect"),
                }
            }
            assert_eq!(beats, until.as_secs());
            None
        };
        for round in 1..10 {
            assert_eq!(pass(&mut channel, HEARTBEAT * round), None);
            channel.received(HEARTBEAT * round);
        }
        assert_eq!(pass(&mut channel, HEARTBEAT * 20), Some(HEARTBEAT * 12 + SEND_INTERVAL));
    }

    #[test]
    fn a_value_needs_a_slot() {
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
