//! The file of an automaton: whatever it holds, it is refused with a place, or a machine that can be run to its end.
#![no_main]

use engine::automaton::{Automaton, Effect, Event};
use engine::Time;
use libfuzzer_sys::fuzz_target;
use config::{automaton, yaml::tree};

fuzz_target!(|text: &str| {
    let Ok(documents) = tree::parse(text) else { return };
    for node in documents {
        let Ok(plan) = automaton::resolve(&node, &[]) else { continue };
        let mut machine = Automaton::new(plan.chart, 1);
        let mut out = Vec::new();
        machine.step(Time::ZERO, Event::Started, &mut out);
        machine.step(Time::ZERO, Event::StopRequested { now: false }, &mut out);
        for _ in 0..4 {
            let runs = out.iter().filter_map(|effect| match effect {
                Effect::Run { run, .. } => Some(*run),
                _ => None,
            });
            if let Some(run) = runs.last() {
                machine.step(Time::ZERO, Event::ScriptExited(run, 0), &mut out);
            }
        }
        assert!(out.iter().any(|effect| matches!(effect, Effect::End(_))));
    }
});
