//! `sexton.yaml`: any text is either refused with a position, or compiled to a plan that the engine can run to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton_fuzz::compile;

fuzz_target!(|text: &str| compile(text));
