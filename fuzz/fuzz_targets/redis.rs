//! What a Redis server sends to a probe.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(line)) = sexton::probes::fuzz::redis(bytes) {
        assert!(line.starts_with('+'));
    }
});
