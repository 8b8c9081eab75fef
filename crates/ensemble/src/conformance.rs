//! The conformance suite of stores: tests for any backend. Each works below its own prefix, so that all can run against
//! one store. They panic on failure.

use std::time::Duration;

use futures_util::stream::StreamExt as _;
use tokio::time::{Instant, timeout};

use crate::lock::{Acquired, Holder, Locks};
use crate::member::Keepalive;
use crate::registry::Registry;
use crate::store::{
    Change, Changes, Committed, Condition, Entry, Lease, LeaseId, Revision, Store, StoreError, Transaction,
    Watch, Write,
};
use std::sync::Arc;

/// A time limit that is never reached by a working store, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// The shortest lease of all backends: etcd rounds up to one and a half election timeouts.
const SHORT: Duration = Duration::from_secs(1);

/// Runs the whole suite.
pub async fn all(store: &Arc<dyn Store>, prefix: &str) {
    values_are_kept(&**store, &format!("{prefix}values/")).await;
    a_transaction_is_atomic(&**store, &format!("{prefix}conditions/")).await;
    of_conflicting_transactions_one_succeeds(&**store, &format!("{prefix}race/")).await;
    lists_come_in_pages(&**store, &format!("{prefix}pages/")).await;
    a_watch_sees_every_change_in_order(&**store, &format!("{prefix}watch/")).await;
    a_watch_starts_from_an_earlier_revision(&**store, &format!("{prefix}past/")).await;
    entries_of_an_expired_lease_are_deleted(&**store, &format!("{prefix}lapse/")).await;
    a_renewed_lease_does_not_expire(&**store, &format!("{prefix}alive/")).await;
    a_revoked_lease_is_gone(&**store, &format!("{prefix}revoke/")).await;
    a_lock_has_one_holder_and_increasing_tokens(store, &format!("{prefix}lock/")).await;
    a_lock_whose_lease_expires_early_is_not_granted_at_once(store, &format!("{prefix}early/")).await;
    masters_agree_on_members(store, &format!("{prefix}members/")).await;
    many_large_new_members_are_all_accepted(store, &format!("{prefix}newcomers/")).await;
}

/// An entry is readable, with its revisions, until it is deleted.
pub async fn values_are_kept(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    assert_eq!(store.get(&key).await, Ok(None));
    let first = put(store, &key, "one", None).await;
    let second = put(store, &key, "two", None).await;
    assert!(second > first);
    let bytes: Vec<u8> = (0..=255).collect();
    let other = format!("{prefix}b");
    let third =
        commit(store, vec![], vec![Write::Put { key: other.clone(), value: bytes.clone(), lease: None }])
            .await;
    assert!(third > second);
    let entry = entry(store, &key).await;
    assert_eq!((entry.value.as_slice(), entry.created, entry.changed), (&b"two"[..], first, second));
    assert_eq!(entry_of(store, &other).await.map(|entry| entry.value), Some(bytes));
    let gone = commit(store, vec![], vec![Write::Delete(key.clone())]).await;
    assert!(gone > third);
    assert_eq!(store.get(&key).await, Ok(None));
    let again = put(store, &key, "three", None).await;
    assert_eq!(self::entry(store, &key).await.created, again, "it is a new entry");
}

/// A transaction applies everything if all its conditions hold, and nothing otherwise.
pub async fn a_transaction_is_atomic(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let created =
        commit(store, vec![Condition::Absent(a.clone())], vec![value(&a, "1"), value(&b, "1")]).await;
    assert_eq!(entry(store, &a).await.changed, entry(store, &b).await.changed, "one write");
    let refused = try_commit(
        store,
        vec![Condition::Absent(b.clone()), Condition::Absent(a.clone())],
        vec![value(&a, "2")],
    );
    let Committed::Refused(found) = refused.await else { panic!("it was done") };
    assert_eq!(found.iter().flatten().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), [&b, &a]);
    assert_eq!(entry(store, &a).await.value, b"1");
    let changed = commit(store, vec![Condition::Unchanged(a.clone(), created)], vec![value(&a, "2")]).await;
    for condition in [
        Condition::Unchanged(a.clone(), created),
        Condition::Since(a.clone(), changed),
        Condition::Since(format!("{prefix}none"), created),
    ] {
        let refused =
            try_commit(store, vec![condition.clone()], vec![value(&b, "3"), Write::Delete(a.clone())]).await;
        assert!(matches!(refused, Committed::Refused(_)), "{condition:?}");
    }
    assert_eq!(entry(store, &b).await.value, b"1");
    commit(store, vec![Condition::Since(a.clone(), created)], vec![Write::Delete(a.clone()), value(&b, "4")])
        .await;
    assert_eq!((store.get(&a).await, entry(store, &b).await.value), (Ok(None), b"4".to_vec()));
}

/// Of many conflicting transactions, one succeeds.
pub async fn of_conflicting_transactions_one_succeeds(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let attempts = (0..20).map(|number| {
        let wanted = Transaction {
            conditions: vec![Condition::Absent(key.clone())],
            writes: vec![value(&key, &number.to_string())],
        };
        async move { (number, store.commit(wanted).await) }
    });
    let results = futures_util::future::join_all(attempts).await;
    let winners: Vec<_> = results
        .iter()
        .filter(|(_, result)| matches!(result, Ok(Committed::Done(_))))
        .map(|(number, _)| number)
        .collect();
    let [winner] = winners[..] else { panic!("{results:?}") };
    assert_eq!(entry(store, &key).await.value, winner.to_string().into_bytes());
}

/// Pages contain all entries of the prefix, in order, and no others.
pub async fn lists_come_in_pages(store: &dyn Store, prefix: &str) {
    let below = format!("{prefix}in/");
    put(store, &format!("{prefix}in"), "before", None).await;
    put(store, &format!("{prefix}in0"), "behind", None).await;
    let mut newest = Revision(0);
    for number in 0..25 {
        newest = put(store, &format!("{below}{number:02}"), "x", None).await;
    }
    let (mut keys, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = store.list(&below, after.as_deref(), 10).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(page.revision >= newest && page.entries.len() <= 10);
        after = page.entries.last().map(|entry| entry.key.clone());
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(keys, (0..25).map(|number| format!("{below}{number:02}")).collect::<Vec<_>>());
    let all = store.list(&below, None, 25).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(!all.more && all.entries.len() == 25);
}

/// A watch reports all changes of its prefix, those of one write together, in order, and no others.
pub async fn a_watch_sees_every_change_in_order(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}in/a"), format!("{prefix}in/b"));
    let before = put(store, &a, "before", None).await;
    let mut watch = store.watch(&format!("{prefix}in/"), before);
    let both = commit(store, vec![], vec![value(&a, "1"), value(&b, "1")]).await;
    put(store, &format!("{prefix}beside"), "x", None).await;
    let deleted = commit(store, vec![], vec![Write::Delete(a.clone())]).await;
    let mut last = Revision(0);
    for number in 0..50 {
        last = put(store, &b, &number.to_string(), None).await;
    }
    let first = next(&mut watch).await;
    assert_eq!(first.revision, both);
    let keys: Vec<_> = first.changes.iter().map(Change::key).collect();
    assert_eq!(keys, [&a, &b]);
    let second = next(&mut watch).await;
    assert_eq!((second.revision, second.changes), (deleted, vec![Change::Deleted(a.clone())]));
    let mut seen = deleted;
    for number in 0..50 {
        let changes = next(&mut watch).await;
        assert!(changes.revision > seen);
        seen = changes.revision;
        let [Change::Put(entry)] = &changes.changes[..] else { panic!("{changes:?}") };
        assert_eq!(entry.value, number.to_string().into_bytes());
        assert_eq!(entry.changed, seen);
    }
    assert_eq!(seen, last);
}

/// A watch from an earlier revision reports the changes since then, and continues.
pub async fn a_watch_starts_from_an_earlier_revision(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let start = put(store, &key, "0", None).await;
    let mut expected = Vec::new();
    for number in 1..5 {
        expected.push(put(store, &key, &number.to_string(), None).await);
    }
    let mut watch = store.watch(prefix, start);
    let mut seen = Vec::new();
    for _ in 1..5 {
        seen.push(next(&mut watch).await.revision);
    }
    assert_eq!(seen, expected);
    let later = put(store, &key, "later", None).await;
    assert_eq!(next(&mut watch).await.revision, later);
}

/// Entries of a lease are deleted with it, not earlier, and that is reported like any other change.
pub async fn entries_of_an_expired_lease_are_deleted(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let begun = Instant::now();
    let lease = grant(store, SHORT).await;
    assert!(lease.ttl >= SHORT);
    let put_at = commit(
        store,
        vec![],
        vec![
            Write::Put { key: a.clone(), value: b"x".to_vec(), lease: Some(lease.id) },
            Write::Put { key: b.clone(), value: b"x".to_vec(), lease: None },
        ],
    )
    .await;
    assert_eq!(entry(store, &a).await.lease, Some(lease.id));
    let mut watch = store.watch(prefix, put_at);
    let changes = next(&mut watch).await;
    assert!(begun.elapsed() >= SHORT, "it lapsed after {:?}", begun.elapsed());
    assert_eq!(changes.changes, vec![Change::Deleted(a.clone())]);
    assert!(changes.revision > put_at);
    assert_eq!(store.get(&a).await, Ok(None));
    assert_eq!(entry(store, &b).await.value, b"x");
    assert_eq!(store.keep_alive(lease.id).await, Err(StoreError::LeaseGone(lease.id)));
    let bound = Write::Put { key: a, value: Vec::new(), lease: Some(lease.id) };
    let refused = store.commit(Transaction { conditions: vec![], writes: vec![bound] }).await;
    assert_eq!(refused, Err(StoreError::LeaseGone(lease.id)));
}

/// A lease lasts while it is kept alive; an entry that was put again without it stays.
pub async fn a_renewed_lease_does_not_expire(store: &dyn Store, prefix: &str) {
    let (a, b) = (format!("{prefix}a"), format!("{prefix}b"));
    let lease = grant(store, SHORT).await;
    put(store, &a, "x", Some(lease.id)).await;
    put(store, &b, "x", Some(lease.id)).await;
    put(store, &b, "y", None).await;
    let begun = Instant::now();
    while begun.elapsed() < lease.ttl * 2 {
        let left = store.keep_alive(lease.id).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(left >= SHORT);
        assert_eq!(entry(store, &a).await.value, b"x");
        tokio::time::sleep(lease.ttl / 4).await;
    }
    let mut watch = store.watch(prefix, entry(store, &b).await.changed);
    assert_eq!(next(&mut watch).await.changes, vec![Change::Deleted(a)]);
    assert_eq!(entry(store, &b).await.value, b"y");
}

/// A revoked lease is gone at once; revoking it again is no error.
pub async fn a_revoked_lease_is_gone(store: &dyn Store, prefix: &str) {
    let key = format!("{prefix}a");
    let lease = grant(store, Duration::from_secs(60)).await;
    let put_at = put(store, &key, "x", Some(lease.id)).await;
    let mut watch = store.watch(prefix, put_at);
    assert_eq!(store.revoke(lease.id).await, Ok(()));
    assert_eq!(store.get(&key).await, Ok(None));
    assert_eq!(next(&mut watch).await.changes, vec![Change::Deleted(key)]);
    assert_eq!(store.revoke(lease.id).await, Ok(()));
    assert_eq!(store.keep_alive(lease.id).await, Err(StoreError::LeaseGone(lease.id)));
    let other = grant(store, Duration::from_secs(60)).await;
    assert_ne!(other.id, lease.id);
    assert_eq!(store.revoke(LeaseId(u64::MAX >> 1)).await, Ok(()));
    assert_eq!(store.revoke(other.id).await, Ok(()));
}

/// Locks: one holder, the next one after release or expiry, and an increasing fencing token.
pub async fn a_lock_has_one_holder_and_increasing_tokens(store: &Arc<dyn Store>, prefix: &str) {
    let locks = Locks::new(Arc::clone(store), prefix);
    let name = |value: &str| Holder { value: value.to_owned(), ..Holder::default() };
    let (now, soon) = (Instant::now, || Instant::now() + LIMIT);
    let acquire = async |who: &str, until: Instant| {
        locks.acquire("l", &name(who), SHORT, until).await.unwrap_or_else(|error| panic!("{error}"))
    };
    let Acquired::Held { lease, fence: first, ttl } = acquire("one", now()).await else { panic!() };
    let Acquired::Taken(taken) = acquire("two", now()).await else { panic!("two holders") };
    assert_eq!((taken.name.as_str(), taken.holder.value.as_str(), taken.fence), ("l", "one", first));
    assert_eq!(locks.list().await.unwrap_or_default(), vec![taken]);
    // A name with the same beginning is another lock.
    let other = locks.acquire("l2", &name("x"), SHORT, now()).await;
    assert!(matches!(other, Ok(Acquired::Held { .. })), "{other:?}");
    let (released, waited) = tokio::join!(
        async {
            locks.keep_alive(lease).await.unwrap_or_else(|error| panic!("{error}"));
            locks.release(lease).await
        },
        acquire("two", soon())
    );
    assert_eq!(released, Ok(()));
    let Acquired::Held { fence: second, .. } = waited else { panic!("{waited:?}") };
    assert!(second > first);
    // The second one is not kept alive.
    let begun = Instant::now();
    let Acquired::Held { fence: third, lease, .. } = acquire("three", soon()).await else { panic!() };
    assert!(third > second && begun.elapsed() < ttl * 10);
    assert_eq!(locks.release(lease).await, Ok(()));
}

/// A lease that is revoked without its holder's knowledge: if that may happen, no other client acquires the lock before the
/// holder can know; a released lock is free at once.
pub async fn a_lock_whose_lease_expires_early_is_not_granted_at_once(store: &Arc<dyn Store>, prefix: &str) {
    let masters = [0, 1].map(|_| Locks::new(Arc::clone(store), prefix));
    let name = |value: &str| Holder { value: value.to_owned(), ..Holder::default() };
    let acquire = async |locks: &Locks, until: Instant| {
        locks.acquire("l", &name("x"), SHORT, until).await.unwrap_or_else(|error| panic!("{error}"))
    };
    let Acquired::Held { lease, ttl, .. } = acquire(&masters[0], Instant::now()).await else { panic!() };
    assert_eq!(store.revoke(lease).await, Ok(()));
    let begun = Instant::now();
    // Also for clients that poll instead of waiting.
    let lease = loop {
        match acquire(&masters[1], Instant::now()).await {
            Acquired::Held { lease, .. } => break lease,
            Acquired::Taken(taken) => assert_eq!(taken.holder.value, "x"),
        }
        assert!(begun.elapsed() < LIMIT);
        tokio::time::sleep(SHORT / 20).await;
    };
    assert_eq!(begun.elapsed() >= ttl, store.may_lapse_early(), "after {:?}", begun.elapsed());
    // Released through another server: free at once.
    assert_eq!(masters[0].release(lease).await, Ok(()));
    let begun = Instant::now();
    let Acquired::Held { lease, .. } = acquire(&masters[1], Instant::now()).await else { panic!() };
    assert!(begun.elapsed() < SHORT);
    assert_eq!(masters[1].release(lease).await, Ok(()));
    // A new store grants nothing before the time to live has passed.
    let begun = Instant::now();
    let new = Locks::new(Arc::clone(store), prefix).of_new_store();
    assert!(matches!(acquire(&new, Instant::now()).await, Acquired::Taken(_)));
    let Acquired::Held { lease, .. } = acquire(&new, Instant::now() + LIMIT).await else { panic!() };
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(new.release(lease).await, Ok(()));
}

/// Two masters with one store: numbers are unique and increase, are kept while a member is alive, and never reused;
/// both see the same list.
pub async fn masters_agree_on_members(store: &Arc<dyn Store>, prefix: &str) {
    let masters = [0, 1].map(|_| Arc::new(Registry::new(Arc::clone(store), prefix, SHORT * 3)));
    let [one, two] = &masters;
    let running = futures_util::future::join_all(masters.iter().map(|master| async {
        tokio::join!(master.follow(), master.register());
    }));
    let test = async {
        let member = |id: usize, payload: u32| Keepalive {
            app: "demo".to_owned(),
            id: format!("m{id}"),
            ip: "10.0.0.1".to_owned(),
            key: "blXcB".to_owned(),
            nonce: "n".to_owned(),
            payload: serde_json::json!({"value": payload}),
            role: "r".to_owned(),
            down: false,
        };
        let report = async |master: &Registry, keepalive: &Keepalive| {
            master.report(keepalive).await.unwrap_or_else(|error| panic!("{keepalive:?}: {error}"));
        };
        // All at once, each to both masters.
        let reports = (0..60).flat_map(|id| masters.iter().map(move |master| (master, id)));
        futures_util::future::join_all(reports.map(|(master, id)| {
            let keepalive = member(id, 0);
            async move { report(master, &keepalive).await }
        }))
        .await;
        let seq =
            |master: &Registry, id: usize| master.roster().get(&format!("m{id}")).map(|it| it.member.seq);
        let agreed = async |count: usize| {
            let begun = Instant::now();
            loop {
                let same = one.roster().len() == count && one.roster().digest() == two.roster().digest();
                if same {
                    return;
                }
                assert!(begun.elapsed() < LIMIT, "{} {}", one.roster().json(), two.roster().json());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        agreed(60).await;
        let mut numbers: Vec<_> = (0..60).filter_map(|id| seq(one, id)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
        // The payload may change, the number does not; the same payload is not written again.
        let (before, digest) = (seq(one, 7), one.roster().digest());
        report(two, &member(7, 1)).await;
        agreed(60).await;
        assert!(seq(one, 7) == before && one.roster().digest() != digest);
        let written = one.roster().get("m7").map(|known| known.changed);
        report(one, &member(7, 1)).await;
        report(two, &member(7, 1)).await;
        assert_eq!(
            store.get(&format!("{prefix}members/m7")).await.ok().flatten().map(|entry| entry.changed),
            written
        );
        // A member that leaves is removed, and gets another number when it returns.
        report(two, &Keepalive { down: true, ..member(7, 1) }).await;
        agreed(59).await;
        report(one, &member(7, 1)).await;
        agreed(60).await;
        assert_eq!(seq(two, 7), Some(61));
        // Silent members expire in time; others stay.
        let begun = Instant::now();
        while one.roster().len() > 1 {
            report(one, &member(3, 0)).await;
            assert!(begun.elapsed() < LIMIT, "{}", one.roster().json());
            tokio::time::sleep(SHORT / 2).await;
        }
        agreed(1).await;
        assert!(seq(two, 3).is_some());
        // A member that returns to the other master gets yet another number.
        report(two, &member(5, 0)).await;
        agreed(2).await;
        assert_eq!(seq(one, 5), Some(62));
    };
    tokio::select! {
        _ = running => panic!("a registry has ended"),
        () = test => {}
    }
}

/// Many new members at once with large payloads: together they exceed the limit of a transaction of the store. A master
/// that starts then sees all of them or none.
pub async fn many_large_new_members_are_all_accepted(store: &Arc<dyn Store>, prefix: &str) {
    let all = 600;
    let keepalive = |id: usize| Keepalive {
        app: "demo".to_owned(),
        id: format!("m{id}"),
        payload: serde_json::json!("x".repeat(if id < 40 { 100_000 } else { 1 })),
        ip: String::new(),
        key: String::new(),
        nonce: "n".to_owned(),
        role: String::new(),
        down: false,
    };
    let one = Registry::new(Arc::clone(store), prefix, Duration::from_secs(60));
    let reports = (0..all).map(|id| {
        let (keepalive, one) = (keepalive(id), &one);
        async move { one.report(&keepalive).await }
    });
    tokio::select! {
        () = one.register() => panic!("a register has ended"),
        reports = futures_util::future::join_all(reports) => {
            let refused = reports.into_iter().find_map(Result::err);
            assert!(refused.is_none(), "{refused:?}");
        }
    }
    let two = Registry::new(Arc::clone(store), prefix, Duration::from_secs(60));
    let mut changes = two.changes();
    tokio::select! {
        () = two.follow() => panic!("a register has ended"),
        changed = changes.changed() => assert!(changed.is_ok()),
    }
    assert_eq!(two.roster().len(), all);
    two.wait_listed().await;
}

/// The next change of a watch.
pub async fn next(watch: &mut Watch) -> Changes {
    match timeout(LIMIT, watch.next()).await {
        Ok(Some(Ok(changes))) => changes,
        other => panic!("no change: {other:?}"),
    }
}

/// Puts a value unconditionally.
pub async fn put(store: &dyn Store, key: &str, text: &str, lease: Option<LeaseId>) -> Revision {
    commit(store, vec![], vec![Write::Put { key: key.to_owned(), value: text.into(), lease }]).await
}

/// Reads a key.
pub async fn entry_of(store: &dyn Store, key: &str) -> Option<Entry> {
    store.get(key).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn entry(store: &dyn Store, key: &str) -> Entry {
    entry_of(store, key).await.unwrap_or_else(|| panic!("nothing at {key}"))
}

async fn grant(store: &dyn Store, ttl: Duration) -> Lease {
    store.grant(ttl).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn commit(store: &dyn Store, conditions: Vec<Condition>, writes: Vec<Write>) -> Revision {
    match try_commit(store, conditions, writes).await {
        Committed::Done(revision) => revision,
        Committed::Refused(found) => panic!("refused: {found:?}"),
    }
}

async fn try_commit(store: &dyn Store, conditions: Vec<Condition>, writes: Vec<Write>) -> Committed {
    store.commit(Transaction { conditions, writes }).await.unwrap_or_else(|error| panic!("{error}"))
}

fn value(key: &str, text: &str) -> Write {
    Write::Put { key: key.to_owned(), value: text.into(), lease: None }
}
