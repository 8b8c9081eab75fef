//! The line that a client of the automaton sends: whatever it holds, what is taken fits into a variable.
#![no_main]

use engine::automaton::Request;
use libfuzzer_sys::fuzz_target;
use sexton::automaton::protocol::{Command, MAX_VALUE, parse};

fuzz_target!(|line: &[u8]| {
    let fits = |value: &[u8]| value.len() < MAX_VALUE && !value.contains(&0);
    match parse(line) {
        Ok(Command::Machine(Request::Goto { tag, input, .. })) => assert!(!tag.is_empty() && fits(&input)),
        Ok(Command::Machine(Request::Set { key, value })) => {
            assert!(fits(&value) && !key.is_empty() && !key.contains(['=', '\0']));
        }
        _ => {}
    }
});
