//! The list of process-wrapper: as `configuration`, for texts that are read as a list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton_fuzz::compile;

fuzz_target!(|text: &str| compile(&format!("- name: a\n{text}")));
