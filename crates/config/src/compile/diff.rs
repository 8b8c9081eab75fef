//! Compares two configurations process by process.

use std::collections::BTreeMap;

use engine::{JobId, JobPlan};

use crate::compile::UpPlan;
use spec::reload::Reloaded;

/// The job of each process of a new plan: an existing one or a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// By index in the new plan.
    pub places: Vec<JobId>,
    /// The summary for the client.
    pub reloaded: Reloaded,
}

/// Compares two plans. `places` are the jobs of the old plan; new jobs are numbered from `next`.
#[must_use]
pub fn diff(old: &UpPlan, places: &[JobId], new: &UpPlan, next: usize) -> Diff {
    let before: BTreeMap<&str, usize> =
        old.processes.iter().enumerate().map(|(place, it)| (it.name.as_str(), place)).collect();
    let mut reloaded = Reloaded::default();
    let mut new_places = (next..).map(JobId);
    let mut all = Vec::new();
    for (place, process) in new.processes.iter().enumerate() {
        let old_place = before.get(process.name.as_str()).copied();
        let same = old_place.is_some_and(|old_place| {
            old.processes[old_place] == *process && is_same(&old.plan.jobs[old_place], &new.plan.jobs[place])
        });
        match old_place.and_then(|old_place| places.get(old_place)).filter(|_| same) {
            Some(id) => {
                reloaded.kept += 1;
                all.push(*id);
            }
            None => {
                let list = if old_place.is_some() { &mut reloaded.changed } else { &mut reloaded.added };
                list.push(process.name.clone());
                all.extend(new_places.next());
            }
        }
    }
    let planned: std::collections::BTreeSet<&str> = new.processes.iter().map(|it| it.name.as_str()).collect();
    reloaded.removed = old
        .processes
        .iter()
        .map(|it| it.name.clone())
        .filter(|name| !planned.contains(name.as_str()))
        .collect();
    Diff { places: all, reloaded }
}

/// Whether the plan of a job is unchanged, apart from its dependencies, which may change while it runs.
fn is_same(old: &JobPlan, new: &JobPlan) -> bool {
    let JobPlan {
        needs: _,
        start_dependencies: _,
        death_dependencies: _,
        needs_lease,
        tombstone,
        name,
        sidecar,
        restart,
        ttl,
        stop_signal,
        kill_mode,
        grace,
        abandon_after,
        terminal,
        must_start,
        probes,
        notifies,
        start_deadline,
        watchdog,
        post_start,
        pre_stop,
    } = old;
    (needs_lease, tombstone, name, sidecar, restart, ttl, stop_signal, kill_mode)
        == (
            &new.needs_lease,
            &new.tombstone,
            &new.name,
            &new.sidecar,
            &new.restart,
            &new.ttl,
            &new.stop_signal,
            &new.kill_mode,
        )
        && (grace, abandon_after, terminal, must_start)
            == (&new.grace, &new.abandon_after, &new.terminal, &new.must_start)
        && (probes, notifies, start_deadline, watchdog)
            == (&new.probes, &new.notifies, &new.start_deadline, &new.watchdog)
        && (post_start, pre_stop) == (&new.post_start, &new.pre_stop)
}

#[cfg(test)]
mod tests {
    use crate::compile::diff::*;
    use crate::compile::{CliOverrides, from_text};

    fn plan(text: &str) -> UpPlan {
        let none: BTreeMap<&str, &str> = BTreeMap::new();
        from_text(text, None, &CliOverrides::default(), &none)
            .unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn keeps_unchanged_processes_and_replaces_changed_ones() {
        let old = plan("processes: {a: {command: x}, b: {command: x}, c: {command: x}}");
        let new =
            plan("processes: {d: {command: x}, c: {command: x, dependsOn: d}, a: {command: x, nice: 1}}");
        let ids = [JobId(4), JobId(5), JobId(6)];
        let diff = diff(&old, &ids, &new, 9);
        assert_eq!(diff.places, [JobId(9), JobId(6), JobId(10)]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            diff.reloaded,
            Reloaded { added: names(&["d"]), changed: names(&["a"]), removed: names(&["b"]), kept: 1 }
        );
    }
}
