//! The query of an HTTP request, and percent-encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use net::query::{Query, decoded};

fuzz_target!(|text: &str| {
    let query = Query(Some(text));
    for name in ["name", "wait", "timeout", "list"] {
        let (first, all) = (query.get(name), query.all(name));
        assert_eq!(first.map(decoded).as_ref(), all.first());
        assert!(!query.has(name) || first.is_some());
    }
    assert!(decoded(text).chars().count() <= text.chars().count().max(text.len()));
});
