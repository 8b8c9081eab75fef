//! The members that are there, in order, and the digest of it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use crate::member::Member;
use crate::store::{Change, Entry, LeaseId, Revision};

/// A member and where it is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it has told.
    pub member: Arc<Member>,
    /// The same as JSON, as it stands in the list.
    pub text: Arc<str>,
    /// What keeps it there.
    pub lease: Option<LeaseId>,
    /// When that was written.
    pub changed: Revision,
}

/// All members.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// Below which their keys are.
    prefix: String,
    by_id: BTreeMap<String, Known>,
    order: BTreeMap<u64, String>,
    digest: Option<Arc<str>>,
    /// What is stored there and is none of ours.
    strangers: usize,
}

impl Roster {
    /// Of members whose keys are below this.
    #[must_use]
    pub fn below(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// There is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A member by its name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Known> {
        self.by_id.get(id)
    }

    /// All, in order, with where they are.
    pub fn known(&self) -> impl Iterator<Item = &Known> {
        self.order.values().filter_map(|id| self.by_id.get(id))
    }

    /// All, in order.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.known().map(|known| &known.member)
    }

    /// Takes a change of the store. False: it changes nothing for the ensemble.
    pub fn apply(&mut self, change: &Change) -> bool {
        let Some(id) = change.key().strip_prefix(&self.prefix) else { return false };
        let before = self.by_id.get(id).cloned();
        match change {
            Change::Deleted(_) => {
                let Some(known) = self.by_id.remove(id) else { return false };
                self.order.remove(&known.member.seq);
            }
            Change::Put(entry) => {
                let Some(known) = known(id, entry) else {
                    self.strangers += 1;
                    return false;
                };
                if before.as_ref().is_some_and(|before| before.changed >= known.changed) {
                    // An older page of a list behind newer changes.
                    return false;
                }
                if let Some(before) = &before {
                    self.order.remove(&before.member.seq);
                }
                self.order.insert(known.member.seq, id.to_owned());
                self.by_id.insert(id.to_owned(), known);
            }
        }
        let same =
            before.map(|known| known.member) == self.by_id.get(id).map(|known| Arc::clone(&known.member));
        if !same {
            self.digest = None;
        }
        !same
    }

    /// Keeps of what it had only those that are still listed. True: somebody is gone.
    pub fn keep(&mut self, listed: &std::collections::BTreeSet<String>) -> bool {
        let gone: Vec<_> = self.by_id.keys().filter(|id| !listed.contains(*id)).cloned().collect();
        for id in &gone {
            if let Some(known) = self.by_id.remove(id) {
                self.order.remove(&known.member.seq);
            }
        }
        if !gone.is_empty() {
            self.digest = None;
        }
        !gone.is_empty()
    }

    /// The list as JSON: that of callbacks, and what the digest is of.
    #[must_use]
    pub fn json(&self) -> String {
        self.page(0, usize::MAX)
    }

    /// Part of it: so many at most, of those whose numbers are higher than this.
    #[must_use]
    pub fn page(&self, after: u64, most: usize) -> String {
        let mut text = String::from("[");
        let rest = self.order.range((Bound::Excluded(after), Bound::Unbounded));
        let known = rest.filter_map(|(_, id)| self.by_id.get(id)).take(most);
        for (number, known) in known.enumerate() {
            if number > 0 {
                text.push(',');
            }
            text.push_str(&known.text);
        }
        text.push(']');
        text
    }

    /// MD5 of the list, written `aa:bb:…`. It is made when it is asked for, and kept until something changes.
    pub fn digest(&mut self) -> Arc<str> {
        if let Some(digest) = &self.digest {
            return Arc::clone(digest);
        }
        let digest: Arc<str> = digest_of(self.json().as_bytes()).into();
        self.digest = Some(Arc::clone(&digest));
        digest
    }
}

/// MD5, written `aa:bb:…`.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, byte) in Md5::digest(bytes).iter().enumerate() {
        let separator = if number > 0 { ":" } else { "" };
        let _ = write!(text, "{separator}{byte:02x}");
    }
    text
}

fn known(id: &str, entry: &Entry) -> Option<Known> {
    let member: Member = serde_json::from_slice(&entry.value).ok()?;
    // Its keys are in order, and those of payloads too: a map of serde_json is sorted.
    let text = serde_json::to_string(&member).ok()?.into();
    (member.id == id).then(|| Known {
        member: Arc::new(member),
        text,
        lease: entry.lease,
        changed: entry.changed,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn put(id: u8, seq: u64, payload: u8, at: u64) -> Change {
        let id = format!("m{id}");
        let member = Member {
            app: "demo".to_owned(),
            id: id.clone(),
            ip: "10.0.0.1".to_owned(),
            key: "x".to_owned(),
            nonce: "n".to_owned(),
            payload: serde_json::json!({"b": payload, "a": 1}),
            role: "r".to_owned(),
            seq,
        };
        let value = serde_json::to_vec(&member).unwrap_or_default();
        Change::Put(Entry {
            key: format!("/m/{id}"),
            value,
            created: Revision(1),
            changed: Revision(at),
            lease: None,
        })
    }

    #[test]
    fn the_list_is_in_order_and_its_digest_that_of_md5sum() {
        let mut roster = Roster::below("/m/");
        // printf '[]' | md5sum
        assert_eq!(&*roster.digest(), "d7:51:71:39:88:98:7e:93:31:98:03:63:e2:41:89:ce");
        assert_eq!(digest_of(b""), "d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e");
        assert!(roster.apply(&put(2, 7, 0, 1)) && roster.apply(&put(1, 9, 0, 2)));
        let ids: Vec<_> = roster.members().map(|member| member.id.clone()).collect();
        assert_eq!(ids, ["m2", "m1"]);
        assert!(roster.json().starts_with(r#"[{"app":"demo","id":"m2","ip":"10.0.0.1","key":"x","nonce":"n","payload":{"a":1,"b":0},"role":"r","seq":7},"#), "{}", roster.json());
        // The same again is no change, and somebody else's data neither.
        let before = roster.digest();
        assert!(!roster.apply(&put(2, 7, 0, 3)));
        let strange = Entry {
            key: "/m/x".to_owned(),
            value: b"?".to_vec(),
            created: Revision(4),
            changed: Revision(4),
            lease: None,
        };
        assert!(!roster.apply(&Change::Put(strange)));
        assert!(!roster.apply(&Change::Deleted("/m/x".to_owned())));
        assert!(roster.apply(&put(9, 11, 9, 9)) && roster.digest() != before);
        assert!(roster.apply(&Change::Deleted("/m/m9".to_owned())));
        assert_eq!(roster.digest(), before);
        assert!(!roster.keep(&BTreeSet::from(["m1".to_owned(), "m2".to_owned()])));
        assert!(roster.keep(&BTreeSet::from(["m1".to_owned()])));
        assert_eq!(roster.len(), 1);
    }

    proptest! {
        #[test]
        fn the_digest_hangs_on_who_is_there_and_not_on_how_it_came(
            acts in proptest::collection::vec((0..6u8, 0..3u8, any::<bool>()), 1..40),
            shuffle in any::<u64>(),
        ) {
            let mut one = Roster::below("/m/");
            for (number, (id, payload, gone)) in acts.iter().enumerate() {
                let change = if *gone {
                    Change::Deleted(format!("/m/m{id}"))
                } else {
                    put(*id, u64::from(*id) + 10, *payload, number as u64 + 1)
                };
                one.apply(&change);
            }
            // Another master sees only the outcome, in any order.
            let mut outcome: Vec<_> = one.members().map(|member| {
                let Known { changed, .. } = one.get(&member.id).cloned().unwrap_or_else(|| unreachable!());
                let value = serde_json::to_vec(&**member).unwrap_or_default();
                Change::Put(Entry { key: format!("/m/{}", member.id), value, created: changed, changed, lease: None })
            }).collect();
            let turn = usize::try_from(shuffle % 7).unwrap_or(0).min(outcome.len());
            outcome.rotate_left(turn);
            if shuffle % 2 == 0 { outcome.reverse(); }
            let mut other = Roster::below("/m/");
            for change in &outcome {
                other.apply(change);
                other.apply(change);
            }
            prop_assert_eq!(one.json(), other.json());
            prop_assert_eq!(one.digest(), other.digest());
        }
    }
}
