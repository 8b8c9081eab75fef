//! The stream of a watch of the Kubernetes API: how it is cut into pieces makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|stream: &[u8]| {
    let whole = k8s::watch::fuzz::lines(stream, stream.len(), 1 << 16);
    assert_eq!(whole, k8s::watch::fuzz::lines(stream, 7, 1 << 16));
});
