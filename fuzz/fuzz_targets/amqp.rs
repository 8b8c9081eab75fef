//! What an AMQP server sends to a probe.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frames) = sexton::probes::fuzz::amqp(bytes) {
        assert!(frames <= bytes.len() / 8);
    }
});
