//! A tombstone that somebody else has carved: whatever stands on it, what we make of it we can carve and read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton::tombstones::tombstone::Tombstone;

fuzz_target!(|text: &str| {
    if let Ok(stone) = Tombstone::parse(text) {
        let _ = (stone.identity(), stone.text());
    }
});
