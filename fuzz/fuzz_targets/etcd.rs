//! The responses of etcd: changes of a watch are in the order of the response and never empty.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(changes) = ensemble_etcd::fuzz::watch_response(bytes) {
        assert!(changes.iter().all(|changes| !changes.changes.is_empty() && changes.revision.0 > 0));
    }
    let _ = ensemble_etcd::fuzz::entries(bytes);
});
