//! Liveness, readiness and startup, and waiting for them.

use std::sync::Arc;
use std::time::Duration;

use crate::status::hub::Hub;
use crate::status::{HealthState, View};

/// A health question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Live,
    Ready,
    Started,
}

/// Answers a question; waits up to `patience` until the answer is yes or the program has ended.
pub(super) async fn ask(hub: &Hub, question: Question, patience: Duration) -> Result<(), String> {
    fn of(view: &View, question: Question) -> &HealthState {
        match question {
            Question::Live => &view.health.live,
            Question::Ready => &view.health.ready,
            Question::Started => &view.health.started,
        }
    }
    let answer = |view: &View| view.reason(of(view, question)).map_or(Ok(()), Err);
    let first = hub.view();
    if of(&first, question).is_yes() || patience.is_zero() {
        return answer(&first);
    }
    let mut views = hub.views();
    let yes = |view: &Arc<View>| view.over || of(view, question).is_yes();
    // The newest answer counts, also after a timeout.
    let _ = tokio::time::timeout(patience, views.wait_for(yes)).await;
    answer(&hub.view())
}
