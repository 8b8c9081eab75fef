//! A Kubernetes manifest: as `configuration`, for texts that are read as a manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton_fuzz::compile;

fuzz_target!(|text: &str| compile(&format!("apiVersion: v1\nkind: Pod\n{text}")));
