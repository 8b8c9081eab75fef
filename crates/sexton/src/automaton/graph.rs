//! The state machine as a graph in the DOT language of Graphviz.

use std::fmt::Write as _;

use engine::automaton::StateId;

use config::automaton::AutomatonPlan;

/// States and transitions: `sexton automaton FILE --dot | dot -Tsvg`. Transitions to the terminal state, which is
/// reachable from every state, are only drawn if a state lists it.
#[must_use]
pub fn dot(plan: &AutomatonPlan) -> String {
    let chart = &plan.chart;
    let mut text = "digraph automaton {\n  rankdir=LR;\n  start [shape=point];\n".to_owned();
    for (index, state) in chart.states.iter().enumerate() {
        let shape = if StateId(index) == chart.terminal { "doublecircle" } else { "ellipse" };
        let style = if state.force { ", style=bold" } else { "" };
        let _ = writeln!(text, "  {} [shape={shape}{style}];", quoted(&state.tag));
    }
    let _ = writeln!(text, "  start -> {};", quoted(&chart.states[chart.initial.0].tag));
    for (index, state) in chart.states.iter().enumerate() {
        for (target, to) in chart.states.iter().enumerate() {
            let listed = state.next.iter().any(|next| engine::glob::matches(next, &to.tag));
            if listed && chart.allows(Some(StateId(index)), StateId(target)) {
                let _ = writeln!(text, "  {} -> {};", quoted(&state.tag), quoted(&to.tag));
            }
        }
        if let Some(to) = state.on_failure {
            let to = quoted(&chart.states[to.0].tag);
            let _ = writeln!(text, "  {} -> {to} [style=dashed, label=\"on failure\"];", quoted(&state.tag));
        }
    }
    text.push_str("}\n");
    text
}

fn quoted(tag: &str) -> String {
    format!("\"{}\"", tag.replace('\\', "\\\\").replace('"', "\\\""))
}
