//! The three questions of an orchestrator, and waiting until the answer is yes.

use std::sync::Arc;
use std::time::Duration;

use crate::status::hub::Hub;
use crate::status::{HealthState, View};

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Live,
    Ready,
    Started,
}

/// The answer, as soon as it is yes, or cannot become yes, or patience is at an end.
pub(super) async fn ask(hub: &Hub, question: Question, patience: Duration) -> Result<(), String> {
    fn of(view: &View, question: Question) -> &HealthState {
        match question {
            Question::Live => &view.health.live,
            Question::Ready => &view.health.ready,
            Question::Started => &view.health.started,
        }
    }
    let told = |view: &View| view.reason(of(view, question)).map_or(Ok(()), Err);
    let first = hub.view();
    if of(&first, question).is_yes() || patience.is_zero() {
        return told(&first);
    }
    let mut views = hub.views();
    let yes = |view: &Arc<View>| view.over || of(view, question).is_yes();
    // Whether it became so or not: the newest answer counts.
    let _ = tokio::time::timeout(patience, views.wait_for(yes)).await;
    told(&hub.view())
}
