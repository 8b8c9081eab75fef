//! An event journal: it is replayed or rejected.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = sexton::cli::replay::replay_from("journal", bytes, &mut std::io::sink());
});
