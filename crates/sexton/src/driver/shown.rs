//! What is shown: views, the readiness file, the last word.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;

use engine::JobId;

use super::{Driver, LAST_LINES};
use crate::status::termination;
use crate::status::{ProcessView, View};
use linux::cgroup::Cgroups;

impl Driver {
    /// Shows what has changed, and only then answers: whoever has an answer sees what it tells of.
    pub(super) fn publish(&mut self) {
        self.show_changed();
        for (reply, answer) in self.replies.drain(..) {
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }

    fn show_changed(&mut self) {
        let phase = self.pod.phase().clone();
        if self.published == (self.pod.generation(), phase.clone()) && self.shown_anew.is_empty() {
            return;
        }
        let mut changed: BTreeSet<JobId> = if self.published.1 == phase && self.published.0 != u64::MAX {
            self.pod.take_changed()
        } else {
            // What the whole is at is told of each.
            self.pod.take_changed();
            self.pod.order().iter().copied().collect()
        };
        changed.append(&mut self.shown_anew);
        for id in changed {
            self.show(id);
        }
        self.published = (self.pod.generation(), phase);
        self.publish_anyway();
    }

    pub(super) fn show(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(snapshot) = self.pod.job(id) else { return };
        let pid = snapshot.run.and_then(|run| self.groups.pid(run));
        let before = self.views.get(&id).map(|view| &**view);
        let view = ProcessView::own(
            &job.constants,
            snapshot,
            self.pod.phase(),
            pid,
            job.said.as_deref(),
            before,
            self.clock,
        );
        self.views.insert(id, Arc::new(view));
    }

    pub(super) fn publish_anyway(&mut self) {
        let processes = self.pod.order().iter().filter_map(|id| self.views.get(id).cloned()).collect();
        let end_by = self.pod.end_by();
        let was_ready = self.hub.view().health.ready.is_yes();
        let view = View::own(
            self.mode,
            self.pod.generation(),
            self.pod.phase(),
            end_by,
            processes,
            self.many.is_some(),
        );
        let ready = view.health.ready.is_yes();
        let ending = view.ending.is_some();
        if let Some(many) = &self.many {
            let gone = if many.plan.readiness_file_sticky { ending || view.over } else { !ready };
            if ready || gone {
                self.keep_readiness_file(ready);
            }
            if ready != was_ready && !ending && !view.over {
                let status = if ready { "all are ready" } else { "not all are ready" };
                let why = view.reason(&view.health.ready).map(|why| format!(": {why}")).unwrap_or_default();
                log::info!("{status}{why}");
                if ready {
                    self.notify.ready(status);
                } else {
                    self.notify.status(status);
                }
            }
        }
        self.hub.publish(view);
    }

    /// A limit that nobody keeps is told.
    pub(super) fn warn_of_limits(&self) {
        if self.cgroups.as_ref().is_some_and(Cgroups::limits_processors) {
            return;
        }
        for plan in
            self.jobs.values().filter_map(|job| job.plan.as_ref()).filter(|plan| plan.cpu_limit.is_some())
        {
            log::warn!(process:% = plan.name; "its limit of processors is not kept: no control group is ours that could");
        }
    }

    /// What a run before us, which was killed, may have left.
    pub(super) fn remove_readiness_file(&mut self) {
        self.keep_readiness_file(false);
    }

    /// Makes or removes the readiness file, if that has to be done.
    pub(super) fn keep_readiness_file(&mut self, there: bool) {
        let Some(file) = self.many.as_ref().and_then(|many| many.plan.readiness_file.as_ref()) else {
            return;
        };
        if self.readiness_file == Some(there) {
            return;
        }
        let result = if there {
            // Nobody's link is followed to some other file.
            let made = fs::OpenOptions::new().write(true).create_new(true).open(file).map(drop);
            made.or_else(
                |error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) },
            )
        } else {
            let gone = fs::remove_file(file);
            gone.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        };
        match result {
            Ok(()) => (self.readiness_file, self.readiness_trouble) = (Some(there), None),
            Err(error) if self.readiness_trouble == Some(error.kind()) => {}
            Err(error) => {
                log::warn!(file:% = file.display(); "cannot keep the readiness file: {error}");
                self.readiness_trouble = Some(error.kind());
            }
        }
    }

    /// What somebody who sends us USR1 wants to know.
    pub(super) fn print_state(&self) {
        for view in self.hub.view().processes.iter() {
            let pid = view.pid.map(|pid| pid.to_string()).unwrap_or_default();
            let starts = view.own.as_ref().map_or(0, |own| own.job.starts);
            log::warn!(process:% = view.name, pid:% = pid, starts = starts; "{}", view.state);
        }
    }

    /// Who decided how it ended, for whoever asks what became of the container.
    pub(super) fn last_word(&mut self) {
        let (Some(many), Some((code, from))) = (&self.many, self.end) else { return };
        let view = from.and_then(|id| self.views.get(&id));
        let kept = from.and_then(|id| self.outputs.kept(id));
        let lines: Vec<_> =
            kept.iter().flat_map(|kept| kept.lines(LAST_LINES)).map(|line| line.text).collect();
        let report = termination::report(code, view.map(|view| &**view), &lines);
        if code != 0 {
            let first = report.lines().next().unwrap_or_default();
            log::error!(code = code; "{first}");
        }
        termination::write(&many.termination_log, &report);
        self.remove_readiness_file();
    }
}
