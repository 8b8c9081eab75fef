//! A tombstone of another writer: what is read from it can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton::tombstones::tombstone::Tombstone;

fuzz_target!(|text: &str| {
    if let Ok(stone) = Tombstone::parse(text) {
        let _ = (stone.identity(), stone.text());
    }
});
