//! The ordered list of members, and its digest. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use crate::member::Member;
use crate::store::{Change, Entry, LeaseId, Revision};

/// A member and its entry in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredMember {
    pub member: Arc<Member>,
    /// The member as JSON.
    pub text: Arc<str>,
    pub lease: Option<LeaseId>,
    /// Revision of the last write.
    pub changed: Revision,
}

/// The list of members.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    /// Prefix of the keys of members.
    prefix: String,
    by_id: BTreeMap<String, RegisteredMember>,
    order: BTreeMap<u64, String>,
    digest: Option<Arc<str>>,
}

impl Roster {
    /// Creates an empty list of members whose keys have this prefix.
    #[must_use]
    pub fn with_prefix(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns a member by its name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&RegisteredMember> {
        self.by_id.get(id)
    }

    /// Returns all registered members, in order.
    pub fn registered(&self) -> impl Iterator<Item = &RegisteredMember> {
        self.order.values().filter_map(|id| self.by_id.get(id))
    }

    /// Returns all members, in order.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.registered().map(|known| &known.member)
    }

    /// Applies a change of the store. Returns whether the list has changed.
    pub fn apply(&mut self, change: &Change) -> bool {
        let Some(id) = change.key().strip_prefix(&self.prefix) else { return false };
        let before = self.by_id.get(id).cloned();
        match change {
            Change::Deleted(_) => {
                let Some(known) = self.by_id.remove(id) else { return false };
                self.order.remove(&known.member.seq);
            }
            Change::Put(entry) => {
                let Some(known) = parse(id, entry) else { return false };
                if before.as_ref().is_some_and(|before| before.changed >= known.changed) {
                    // A page of a list that is older than the changes applied before.
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

    /// Removes the members that are not listed. Returns whether any was removed.
    pub fn retain(&mut self, listed: &std::collections::BTreeSet<String>) -> bool {
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

    /// Returns the list as JSON, as passed to callbacks and used for the digest.
    #[must_use]
    pub fn json(&self) -> String {
        self.page(0, usize::MAX)
    }

    /// Returns at most `most` members whose sequence numbers are higher than `after`, as JSON.
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

    /// Returns the MD5 of the list as `aa:bb:…`. Computed on demand and cached until a change.
    pub fn digest(&mut self) -> Arc<str> {
        if let Some(digest) = &self.digest {
            return Arc::clone(digest);
        }
        let digest: Arc<str> = digest_of(self.json().as_bytes()).into();
        self.digest = Some(Arc::clone(&digest));
        digest
    }
}

/// Returns the MD5 of bytes as `aa:bb:…`.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (number, byte) in Md5::digest(bytes).iter().enumerate() {
        let separator = if number > 0 { ":" } else { "" };
        let _ = write!(text, "{separator}{byte:02x}");
    }
    text
}

fn parse(id: &str, entry: &Entry) -> Option<RegisteredMember> {
    let member: Member = serde_json::from_slice(&entry.value).ok()?;
    // The keys are sorted, those of payloads too: maps of serde_json are sorted.
    let text = serde_json::to_string(&member).ok()?.into();
    (member.id == id).then(|| RegisteredMember {
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
    fn orders_the_list_and_agrees_with_md5sum() {
        let mut roster = Roster::with_prefix("/m/");
        // printf '[]' | md5sum
        assert_eq!(&*roster.digest(), "d7:51:71:39:88:98:7e:93:31:98:03:63:e2:41:89:ce");
        assert_eq!(digest_of(b""), "d4:1d:8c:d9:8f:00:b2:04:e9:80:09:98:ec:f8:42:7e");
        assert!(roster.apply(&put(2, 7, 0, 1)) && roster.apply(&put(1, 9, 0, 2)));
        let ids: Vec<_> = roster.members().map(|member| member.id.clone()).collect();
        assert_eq!(ids, ["m2", "m1"]);
        assert!(roster.json().starts_with(r#"[{"app":"demo","id":"m2","ip":"10.0.0.1","key":"x","nonce":"n","payload":{"a":1,"b":0},"role":"r","seq":7},"#), "{}", roster.json());
        // Neither a repeated entry nor foreign data is a change.
        let before = roster.digest();
        assert!(!roster.apply(&put(2, 7, 0, 3)));
        let foreign = Entry {
            key: "/m/x".to_owned(),
            value: b"?".to_vec(),
            created: Revision(4),
            changed: Revision(4),
            lease: None,
        };
        assert!(!roster.apply(&Change::Put(foreign)));
        assert!(!roster.apply(&Change::Deleted("/m/x".to_owned())));
        assert!(roster.apply(&put(9, 11, 9, 9)) && roster.digest() != before);
        assert!(roster.apply(&Change::Deleted("/m/m9".to_owned())));
        assert_eq!(roster.digest(), before);
        assert!(!roster.retain(&BTreeSet::from(["m1".to_owned(), "m2".to_owned()])));
        assert!(roster.retain(&BTreeSet::from(["m1".to_owned()])));
        assert_eq!(roster.len(), 1);
    }

    proptest! {
        #[test]
        fn the_digest_depends_on_the_members_and_not_on_the_order_of_changes(
            changes in proptest::collection::vec((0..6u8, 0..3u8, any::<bool>()), 1..40),
            shuffle in any::<u64>(),
        ) {
            let mut one = Roster::with_prefix("/m/");
            for (number, (id, payload, gone)) in changes.iter().enumerate() {
                let change = if *gone {
                    Change::Deleted(format!("/m/m{id}"))
                } else {
                    put(*id, u64::from(*id) + 10, *payload, number as u64 + 1)
                };
                one.apply(&change);
            }
            // Another master sees only the result, in any order.
            let mut entries: Vec<_> = one.members().map(|member| {
                let RegisteredMember { changed, .. } = one.get(&member.id).cloned().unwrap_or_else(|| unreachable!());
                let value = serde_json::to_vec(&**member).unwrap_or_default();
                Change::Put(Entry { key: format!("/m/{}", member.id), value, created: changed, changed, lease: None })
            }).collect();
            let turn = usize::try_from(shuffle % 7).unwrap_or(0).min(entries.len());
            entries.rotate_left(turn);
            if shuffle % 2 == 0 { entries.reverse(); }
            let mut other = Roster::with_prefix("/m/");
            for change in &entries {
                other.apply(change);
                other.apply(change);
            }
            prop_assert_eq!(one.json(), other.json());
            prop_assert_eq!(one.digest(), other.digest());
        }
    }
}
