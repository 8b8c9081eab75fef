//! The machine as a drawing, in the language of Graphviz.

use std::fmt::Write as _;

use engine::automaton::StateId;

use crate::config::automaton::AutomatonPlan;

/// The states and what may follow each: `sexton automaton FILE --dot | dot -Tsvg`. The way to the terminal state, which
/// leads from everywhere, is left out unless a state names it.
#[must_use]
pub fn dot(plan: &AutomatonPlan) -> String {
    let chart = &plan.chart;
    let mut text = "digraph automaton {\n  rankdir=LR;\n  start [shape=point];\n".to_owned();
    for (place, state) in chart.states.iter().enumerate() {
        let shape = if StateId(place) == chart.terminal { "doublecircle" } else { "ellipse" };
        let style = if state.force { ", style=bold" } else { "" };
        let _ = writeln!(text, "  {} [shape={shape}{style}];", quoted(&state.tag));
    }
    let _ = writeln!(text, "  start -> {};", quoted(&chart.states[chart.initial.0].tag));
    for (place, state) in chart.states.iter().enumerate() {
        for (other, to) in chart.states.iter().enumerate() {
            let named = state.next.iter().any(|next| engine::glob::matches(next, &to.tag));
            if named && chart.allows(Some(StateId(place)), StateId(other)) {
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
