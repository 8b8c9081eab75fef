//! SIGKILL at any instant, a full disk, a damaged file, a file in use by another process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ensemble::embedded::Embedded;
use ensemble::{Committed, LeaseId, Revision, Store, StoreError, Transaction, Write};
use futures_util::future::join_all;
use futures_util::stream::StreamExt as _;

use super::block_on;

/// Directory for the role of a test process that was started by the test.
const ROLE: &str = "SEXTON_TEST_STORE";

fn open(path: &Path) -> Embedded {
    Embedded::open(path).unwrap_or_else(|error| panic!("{error}"))
}

async fn put(store: &Embedded, key: &str, value: &[u8]) -> Result<Revision, StoreError> {
    let write = Write::Put { key: key.to_owned(), value: value.to_vec(), lease: None };
    match store.commit(Transaction { conditions: vec![], writes: vec![write] }).await? {
        Committed::Done(revision) => Ok(revision),
        Committed::Refused(found) => panic!("refused without a condition: {found:?}"),
    }
}

async fn keys(store: &Embedded) -> Vec<String> {
    let page = store.list("", None, usize::MAX).await.unwrap_or_else(|error| panic!("{error}"));
    page.entries.into_iter().map(|entry| entry.key).collect()
}

/// Runs a test in another process, with a role.
fn rerun(test: &str, role: &Path) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// Writes as fast as possible and reports what was acknowledged.
fn write_until_killed(path: &Path) {
    block_on(async {
        let store = open(path);
        let from = keys(&store).await.len();
        for number in (from..).step_by(3) {
            let names = [number, number + 1, number + 2].map(|number| format!("{number:09}"));
            // Several together, like concurrent clients.
            let done = join_all(names.iter().map(|name| put(&store, name, name.as_bytes()))).await;
            assert!(done.iter().all(Result::is_ok), "{done:?}");
            let _ = writeln!(std::io::stderr(), "acknowledged {}", number + 2);
        }
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a child of this test only")]
fn a_kill_at_any_instant_loses_no_acknowledged_write() {
    if let Some(path) = std::env::var_os(ROLE) {
        return write_until_killed(&PathBuf::from(path));
    }
    let directory = testkit::private_directory();
    let path = directory.path().join("store");
    for round in 0..25u64 {
        let mut writer = rerun("faults::a_kill_at_any_instant_loses_no_acknowledged_write", &path);
        let mut child = writer
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}"));
        let stderr = child.stderr.take().map(BufReader::new).unwrap_or_else(|| unreachable!());
        let mut acknowledged = None;
        // Kill after a number of acknowledgements and a delay that differ from round to round.
        for (count, line) in stderr.lines().map_while(Result::ok).enumerate() {
            if let Some(number) = line.strip_prefix("acknowledged ") {
                acknowledged = number.parse::<usize>().ok();
            }
            if count as u64 == 1 + round * 7 % 23 {
                for _ in 0..round * 977 % 5000 {
                    std::hint::spin_loop();
                }
                let _ = child.kill();
            }
        }
        let _ = child.wait();
        block_on(async {
            let store = open(&path);
            let found = keys(&store).await;
            let last = acknowledged.unwrap_or_else(|| panic!("round {round}: nothing was acknowledged"));
            assert!(found.len() > last, "round {round}: {last} was acknowledged, {} are there", found.len());
            let expected = (0..found.len()).map(|number| format!("{number:09}"));
            // Of the last concurrent writes only a part may be present.
            assert!(found.iter().take(last + 1).eq(expected.take(last + 1).collect::<Vec<_>>().iter()));
            // Complete the last group for the next round.
            for number in last + 1..found.len().next_multiple_of(3) {
                put(&store, &format!("{number:09}"), b"x").await.unwrap_or_else(|error| panic!("{error}"));
            }
        });
    }
}

/// A process is killed while it creates stores.
#[test]
#[expect(clippy::disallowed_methods, reason = "a child of this test only")]
fn a_kill_during_creation_leaves_no_unusable_file() {
    if let Some(path) = std::env::var_os(ROLE) {
        for number in 0.. {
            drop(open(&PathBuf::from(&path).join(format!("store{number}"))));
        }
    }
    let directory = testkit::private_directory();
    let mut killed_within = 0;
    for round in 0..60u32 {
        let mut maker = rerun("faults::a_kill_during_creation_leaves_no_unusable_file", directory.path());
        let spawned = maker.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{error}"));
        let listed =
            || std::fs::read_dir(directory.path()).into_iter().flatten().flatten().collect::<Vec<_>>();
        testkit::wait_until("a store", || (!listed().is_empty()).then_some(()));
        for _ in 0..round * 7919 % 40_000 {
            std::hint::spin_loop();
        }
        let _ = child.kill();
        let _ = child.wait();
        for entry in listed() {
            let path = entry.path();
            if path.to_string_lossy().contains(".new-") {
                killed_within += 1;
            } else {
                drop(open(&path));
            }
            std::fs::remove_file(&path).unwrap_or_else(|error| panic!("{error}"));
        }
    }
    assert!(killed_within > 5, "too few were killed during creation: {killed_within}");
}

#[test]
fn of_concurrent_creators_one_gets_the_store() {
    for _ in 0..40 {
        let directory = testkit::private_directory();
        let path = directory.path().join("store");
        let start = std::sync::Barrier::new(4);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        Embedded::open(&path)
                    })
                })
                .collect();
            makers.into_iter().filter_map(|maker| maker.join().ok()).collect()
        });
        let (well, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert_eq!(well.len(), 1, "{refused:?}");
        assert!(refused.iter().all(|it| matches!(it, Err(StoreError::Unavailable(_)))), "{refused:?}");
        let put = block_on(put(well[0].as_ref().unwrap_or_else(|_| unreachable!()), "a", b"x"));
        assert!(put.is_ok());
        drop(well);
        assert_eq!(block_on(keys(&open(&path))), ["a"], "the write is in the file");
    }
}

/// Fills a small file system in its own mount namespace.
fn fill(directory: &Path) {
    let path = directory.join("store");
    block_on(async {
        let store = open(&path);
        let lease = store.grant(Duration::from_secs(3600)).await.unwrap_or_else(|error| panic!("{error}"));
        let start = store.list("", None, 1).await.map_or(Revision(0), |page| page.revision);
        let mut watch = store.watch("", start);
        let mut acknowledged = 0;
        let error = loop {
            match put(&store, &format!("{acknowledged:06}"), &[b'x'; 20_000]).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
            assert!(acknowledged < 1000, "the disk does not fill up");
        };
        assert!(matches!(&error, StoreError::Full(_) | StoreError::Unknown(_)), "{error:?}");
        assert!(error.is_retryable() && error.to_string().contains("store"), "{error}");
        // The store still works: it has exactly the acknowledged writes.
        assert_eq!(keys(&store).await.len(), acknowledged);
        assert_eq!(store.keep_alive(lease.id).await, Ok(Duration::from_secs(3600)));
        // The watch yielded all acknowledged writes, then an error.
        for number in 0..acknowledged {
            let changes = watch.next().await;
            assert!(changes.as_ref().is_some_and(Result::is_ok), "{number}: {changes:?}");
        }
        let last = watch.next().await;
        assert!(matches!(last, Some(Err(StoreError::Unavailable(_)))), "{last:?}");
        // Another write fails; one succeeds once there is space again.
        assert!(put(&store, "more", &[b'x'; 200_000]).await.is_err());
        std::fs::remove_file(directory.join("ballast")).unwrap_or_else(|error| panic!("{error}"));
        let done = put(&store, "more", &[b'x'; 20_000]).await;
        assert!(done.is_ok(), "{done:?}");
        drop(store);
        assert_eq!(keys(&open(&path)).await.len(), acknowledged + 1);
    });
}

#[test]
fn reports_a_full_disk_and_loses_nothing() {
    if let Some(directory) = std::env::var_os(ROLE) {
        return fill(&PathBuf::from(directory));
    }
    let directory = testkit::private_directory();
    let this = rerun("faults::reports_a_full_disk_and_loses_nothing", directory.path());
    let arguments: Vec<_> = std::iter::once(this.get_program()).chain(this.get_args()).collect();
    let script =
        r#"mount -t tmpfs -o size=2m none "$0" && head -c 400000 /dev/zero >"$0/ballast" && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", script])
        .arg(directory.path())
        .args(arguments)
        .env(ROLE, directory.path());
    #[expect(clippy::disallowed_methods, reason = "tests start programs")]
    let output = command.output().unwrap_or_else(|error| panic!("{error}"));
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "the test was not run");
}

#[test]
fn reports_a_damaged_file_and_does_not_modify_it() {
    let directory = testkit::private_directory();
    let path = directory.path().join("store");
    block_on(async {
        let store = open(&path);
        for number in 0..200 {
            let value = vec![b'v'; 50 + number * 7];
            put(&store, &format!("{number:03}"), &value).await.unwrap_or_else(|error| panic!("{error}"));
        }
    });
    let good = std::fs::read(&path).unwrap_or_default();
    let expected = block_on(async { keys(&open(&path)).await });
    let mut seen = 0;
    // A flipped bit, a page of zeros or a truncation, throughout the file.
    for at in (0..good.len()).step_by(good.len() / 60) {
        for damage in 0..3 {
            let mut bad = good.clone();
            match damage {
                0 => bad[at] ^= 0x10,
                1 => {
                    let end = (at + 4096).min(bad.len());
                    bad[at..end].fill(0);
                }
                _ => bad.truncate(at.max(1)),
            }
            std::fs::write(&path, &bad).unwrap_or_else(|error| panic!("{error}"));
            match Embedded::open(&path) {
                // The damage hit an unused page.
                Ok(store) => assert_eq!(block_on(keys(&store)), expected, "damage {damage} at {at}"),
                Err(error) => {
                    seen += 1;
                    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
                    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
                    let now = std::fs::read(&path).unwrap_or_default();
                    assert!(now == bad, "damage {damage} at {at}: the file was modified: {error}");
                }
            }
        }
    }
    assert!(seen > 60, "only {seen} of 180 damages were detected");
}

#[test]
fn does_not_modify_a_file_that_is_not_a_store() {
    let directory = testkit::private_directory();
    let path = directory.path().join("notes.txt");
    std::fs::write(&path, "dear diary").unwrap_or_else(|error| panic!("{error}"));
    let error = Embedded::open(&path).err();
    assert!(matches!(&error, Some(StoreError::Corrupt(why)) if why.contains("notes.txt")), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap_or_default(), b"dear diary");
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "").unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(Embedded::open(&empty).err(), Some(StoreError::Corrupt(_))));
    let missing = Embedded::open(&directory.path().join("none/store")).err();
    assert!(matches!(&missing, Some(StoreError::Refused(why)) if why.contains("none/store")), "{missing:?}");
    let folder = Embedded::open(directory.path()).err();
    assert!(matches!(&folder, Some(StoreError::Refused(_) | StoreError::Corrupt(_))), "{folder:?}");
}

#[test]
fn only_one_process_can_open_a_store() {
    let directory = testkit::private_directory();
    let path = directory.path().join("store");
    let store = open(&path);
    let second = Embedded::open(&path).err();
    assert!(
        matches!(&second, Some(StoreError::Unavailable(why)) if why.contains("another process")),
        "{second:?}"
    );
    drop(store);
    drop(open(&path));
}

#[test]
fn keeps_entries_leases_and_revisions_when_reopened() {
    let directory = testkit::private_directory();
    let path = directory.path().join("store");
    block_on(async {
        let store = open(&path);
        let lease = store.grant(Duration::from_secs(1)).await.unwrap_or_else(|error| panic!("{error}"));
        let write = Write::Put { key: "bound".to_owned(), value: b"x".to_vec(), lease: Some(lease.id) };
        let bound = store.commit(Transaction { conditions: vec![], writes: vec![write] }).await;
        let kept = put(&store, "kept", b"y").await.unwrap_or_else(|error| panic!("{error}"));
        assert!(bound.is_ok());
        drop(store);
        let store = open(&path);
        assert_eq!(keys(&store).await, ["bound", "kept"]);
        assert_eq!(store.keep_alive(lease.id).await, Ok(Duration::from_secs(1)), "the lease starts again");
        let later = put(&store, "kept", b"z").await;
        assert!(later.as_ref().is_ok_and(|later| *later > kept), "{later:?}");
        let entry = store.get("kept").await.unwrap_or_default();
        assert_eq!(entry.map(|entry| entry.created), Some(kept));
        let next = store.grant(Duration::from_secs(1)).await.map(|lease| lease.id);
        assert!(next.as_ref().is_ok_and(|next| *next > lease.id), "{next:?}");
        // The history is lost: a client that watched has to list again.
        let mut watch = store.watch("", Revision(0));
        assert!(matches!(watch.next().await, Some(Err(StoreError::Compacted(_)))));
        let mut watch = store.watch("", kept);
        let first = watch.next().await;
        assert!(first.as_ref().is_some_and(Result::is_ok), "{first:?}");
        let lapsed = watch.next().await;
        assert!(lapsed.as_ref().is_some_and(Result::is_ok), "{lapsed:?}");
        assert_eq!(keys(&store).await, ["kept"]);
        assert_eq!(store.revoke(LeaseId(99)).await, Ok(()));
    });
}
