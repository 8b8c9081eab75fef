//! The response of a lock server to a claim: an id can stand in a URL, and a holder is shown in one line.
#![no_main]

use http::StatusCode;
use libfuzzer_sys::fuzz_target;
use sexton::locks::client::{Reply, parse_reply};

fuzz_target!(|body: &[u8]| {
    if let Some(Ok(Reply::Granted(granted))) = parse_reply(StatusCode::CREATED, body) {
        assert!(!granted.id.is_empty() && !granted.id.contains(['/', ' ', '?', '#']));
    }
    if let Some(Ok(Reply::InUse(by))) = parse_reply(StatusCode::ACCEPTED, body) {
        assert!(!by.value.contains(['\n', '\r', '\x1b']));
    }
});
