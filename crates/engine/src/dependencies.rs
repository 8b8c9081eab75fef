//! The dependency graph of the jobs: cycles and chain lengths.

use std::collections::BTreeSet;

use crate::{JobId, JobPlan};

/// Returns a dependency cycle, if there is one: each job needs the next, the last one the first.
#[must_use]
pub fn cycle(jobs: &[JobPlan]) -> Option<Vec<JobId>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Cleared,
    }
    let mut marks = vec![Mark::New; jobs.len()];
    for begin in 0..jobs.len() {
        // The path from `begin`, each job with the index of its next need. No recursion: chains can be long.
        let mut path: Vec<(usize, usize)> = Vec::new();
        if marks[begin] == Mark::New {
            marks[begin] = Mark::OnPath;
            path.push((begin, 0));
        }
        while let Some((at, next)) = path.last_mut() {
            let Some(need) = jobs[*at].needs.get(*next) else {
                marks[*at] = Mark::Cleared;
                path.pop();
                continue;
            };
            *next += 1;
            let need = need.job.0;
            match marks.get(need) {
                Some(Mark::New) => {
                    marks[need] = Mark::OnPath;
                    path.push((need, 0));
                }
                Some(Mark::OnPath) => {
                    let first = path.iter().position(|(on, _)| *on == need).unwrap_or(0);
                    return Some(path[first..].iter().map(|(on, _)| JobId(*on)).collect());
                }
                Some(Mark::Cleared) | None => {}
            }
        }
    }
    None
}

/// Returns, for each job, the number of shutdown stages from its stop on: its own, and the longest chain of jobs that
/// it needs, which are stopped after it. The jobs of a cycle count as one.
pub(crate) fn stages<'a>(count: usize, needs: impl Fn(usize) -> &'a [crate::Need]) -> Vec<u32> {
    let mut stages: Vec<u32> = vec![0; count];
    for begin in 0..count {
        let mut path = vec![(begin, 0, 0)];
        let mut on_path = BTreeSet::from([begin]);
        while let Some((at, next, deepest)) = path.last_mut() {
            match needs(*at).get(*next).map(|need| need.job.0) {
                _ if stages[*at] > 0 => {
                    path.pop();
                }
                None => {
                    stages[*at] = *deepest + 1;
                    on_path.remove(at);
                    path.pop();
                }
                Some(need) if stages.get(need) == Some(&0) && on_path.insert(need) => path.push((need, 0, 0)),
                Some(need) => {
                    *deepest = (*deepest).max(stages.get(need).copied().unwrap_or(0));
                    *next += 1;
                }
            }
        }
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Condition, Need};

    fn needs(of: &[&[usize]]) -> Vec<Vec<Need>> {
        let need = |job: &usize| Need { job: JobId(*job), condition: Condition::Started };
        of.iter().map(|needs| needs.iter().map(need).collect()).collect()
    }

    fn stages_of(of: &[&[usize]]) -> Vec<u32> {
        let needs = needs(of);
        stages(of.len(), |job| &needs[job])
    }

    #[test]
    fn stages_count_the_longest_chain() {
        assert_eq!(stages_of(&[&[], &[0], &[1, 0], &[]]), [1, 2, 3, 1]);
        assert_eq!(stages_of(&[&[1], &[2], &[3], &[]]), [4, 3, 2, 1]);
        assert_eq!(stages_of(&[&[1, 2], &[2], &[]]), [3, 2, 1]);
    }

    #[test]
    fn handles_cycles_and_long_chains() {
        assert!(stages_of(&[&[1], &[0]]).iter().all(|stages| *stages <= 2));
        assert!(stages_of(&[&[0]]).iter().all(|stages| *stages == 1));
        let chain: Vec<Vec<usize>> = (0..3000).map(|n| if n == 0 { vec![] } else { vec![n - 1] }).collect();
        let chain: Vec<&[usize]> = chain.iter().map(Vec::as_slice).collect();
        assert_eq!(stages_of(&chain)[2999], 3000);
    }
}
