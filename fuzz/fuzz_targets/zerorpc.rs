//! What a peer of ZeroRPC sends: frames of ZMTP, the handshake, and events in MessagePack.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = zerorpc::fuzz::frames(bytes);
    zerorpc::fuzz::event(bytes);
});
