//! The three questions of an orchestrator, and waiting until the answer is yes.

use std::time::Duration;

use crate::hub::Hub;
use crate::view::View;

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Live,
    Ready,
    Started,
}

/// The answer, as soon as it is yes, or cannot become yes, or patience is at an end.
pub(super) async fn ask(hub: &Hub, question: Question, patience: Duration) -> Result<(), String> {
    let answer = |view: &View| match question {
        Question::Live => view.health.live.clone(),
        Question::Ready => view.health.ready.clone(),
        Question::Started => view.health.started.clone(),
    };
    let first = answer(&hub.view());
    if first.is_ok() || patience.is_zero() {
        return first;
    }
    let mut views = hub.views();
    let waited = tokio::time::timeout(patience, views.wait_for(|view| view.over || answer(view).is_ok()));
    // Whether it became so or not: the newest answer counts.
    let _ = waited.await;
    answer(&hub.view())
}
