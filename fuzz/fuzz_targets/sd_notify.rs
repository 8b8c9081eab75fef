//! A datagram of a supervised process: each kind of message at most once, and a status of one line.
#![no_main]

use std::mem::discriminant;

use engine::RunId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let parsed = linux::notify_listener::parse(RunId(1), datagram);
    for (index, message) in parsed.assignments.iter().enumerate() {
        assert!(parsed.assignments[..index].iter().all(|other| discriminant(other) != discriminant(message)));
    }
    assert!(parsed.status.is_none_or(|status| !status.contains(['\n', '\r', '\x1b', '\0'])));
});
