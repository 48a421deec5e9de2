//! What a person asks of a workflow: cancel, pause, resume, run once more.

use std::collections::VecDeque;

use super::super::state::{Item, Phase, TaskRun};
use super::Conductor;

impl Conductor<'_> {
    /// Asks for the workflow to be canceled, paused or resumed.
    pub fn steer(&mut self, wanted: Phase) {
        for run in self.active_runs_with_items() {
            let staged = self
                .state
                .staged(&self.state.sequence[run].id, self.state.sequence[run].route);
            let items: &[Item] = staged
                .and_then(|staged| staged.items.as_deref())
                .unwrap_or_default();
            let active = items.iter().any(|item| item.status.is_active());
            let complete = items.iter().all(|item| item.status.is_completed());
            let status = match (wanted, active) {
                _ if complete => continue,
                (Phase::Canceled, true) => Phase::Canceling,
                (Phase::Canceled, false) => Phase::Canceled,
                (Phase::Paused, true) => Phase::Pausing,
                (Phase::Paused, false) => Phase::Paused,
                _ => continue,
            };
            let run = &mut self.state.sequence[run];
            // What is being canceled cannot be paused.
            if run.status != Phase::Canceling {
                run.status = status;
            }
        }
        let active = self.state.has_active_tasks();
        let current = self.state.status;
        self.state.status = match wanted {
            _ if current.is_completed() => current,
            Phase::Canceled if active => Phase::Canceling,
            Phase::Canceled => Phase::Canceled,
            Phase::Paused if current == Phase::Canceling => current,
            Phase::Paused if active => Phase::Pausing,
            Phase::Paused => Phase::Paused,
            Phase::Resuming if current == Phase::Paused => {
                let nothing_left = !active
                    && self.state.ready().next().is_none()
                    && !self.state.has_last_run_in(&[Phase::Paused]);
                if nothing_left {
                    Phase::Succeeded
                } else {
                    Phase::Resuming
                }
            }
            Phase::Resuming if current == Phase::Pausing => Phase::Resuming,
            _ => current,
        };
    }

    fn active_runs_with_items(&self) -> Vec<usize> {
        let has_items = |run: &TaskRun| {
            run.status.is_active()
                && self
                    .state
                    .staged(&run.id, run.route)
                    .is_some_and(|staged| staged.items.is_some())
        };
        let last: Vec<usize> = self.state.tasks.values().copied().collect();
        last.into_iter()
            .filter(|index| has_items(&self.state.sequence[*index]))
            .collect()
    }

    /// Lets a workflow that has ended run `tasks` and what follows them once more; empty: whatever it failed at.
    /// Items that succeeded stay as they are unless their task is among `reset`.
    pub fn rerun(&mut self, tasks: &[String], reset: &[String]) -> Result<(), String> {
        if !self.state.status.is_completed() {
            return Err("Unable to rerun workflow execution because it is not in a completed state.".into());
        }
        let unknown: Vec<&str> = tasks
            .iter()
            .map(String::as_str)
            .filter(|task| !self.state.last_runs().any(|run| run.id == *task))
            .collect();
        if !unknown.is_empty() {
            let names = unknown.join(",");
            return Err(format!(
                "Unable to rerun workflow because one or more tasks is not found: {names}"
            ));
        }
        let mut candidates: Vec<(String, usize)> = if tasks.is_empty() {
            let failed = self
                .state
                .sequence
                .iter()
                .filter(|run| run.terminal && run.status == Phase::Failed);
            failed.map(|run| (run.id.clone(), run.route)).collect()
        } else {
            let chosen = self.state.last_runs().filter(|run| tasks.contains(&run.id));
            chosen.map(|run| (run.id.clone(), run.route)).collect()
        };
        candidates.sort();
        candidates.dedup();
        // What another candidate leads to comes again by itself.
        let follows: Vec<bool> = candidates
            .iter()
            .map(|candidate| self.follows_another(candidate, &candidates))
            .collect();
        let candidates = candidates
            .into_iter()
            .zip(follows)
            .filter(|(_, follows)| !follows);
        for ((task, route), _) in candidates.collect::<Vec<_>>() {
            self.rerun_task(&task, route, reset.contains(&task));
        }
        for run in &mut self.state.sequence {
            if run.next.values().any(|taken| *taken) {
                run.terminal = false;
            }
        }
        self.state.output = None;
        self.state.status = Phase::Resuming;
        Ok(())
    }

    fn follows_another(&self, candidate: &(String, usize), candidates: &[(String, usize)]) -> bool {
        let index = |(task, route): &(String, usize)| self.state.run_index(task, *route);
        let starts: Vec<usize> = candidates
            .iter()
            .filter(|other| *other != candidate)
            .filter_map(index)
            .collect();
        let mut queue: VecDeque<usize> = index(candidate).into_iter().collect();
        let mut seen = Vec::new();
        while let Some(run) = queue.pop_front() {
            for before in self.state.sequence[run].prev.values() {
                if starts.contains(before) {
                    return true;
                }
                if !seen.contains(before) {
                    seen.push(*before);
                    queue.push_back(*before);
                }
            }
        }
        false
    }

    fn rerun_task(&mut self, task: &str, route: usize, reset_items: bool) {
        let Some(index) = self.state.run_index(task, route) else {
            return;
        };
        self.state.errors.retain(|error| error["task_id"] != task);
        let run = &mut self.state.sequence[index];
        run.terminal = false;
        let (contexts, prev) = (run.contexts.clone(), run.prev.clone());
        let has_items = self.spec.tasks.get(task).is_some_and(|task| task.items.is_some());
        if let Some(staged) = self.state.staged_mut(task, route).filter(|_| has_items) {
            staged.completed = false;
            for item in staged.items.iter_mut().flatten() {
                if reset_items || item.status == Phase::Failed {
                    *item = Item::default();
                }
            }
        } else {
            self.state.unstage(task, route);
            self.stage(task, route, contexts, prev, true);
        }
        // A command that ended the workflow after this task speaks no longer.
        let mut stale = vec![index];
        while let Some(run) = stale.pop() {
            for (later, next) in self.state.sequence.iter_mut().enumerate() {
                if next.terminal && next.prev.values().any(|before| *before == run) {
                    next.terminal = false;
                    stale.push(later);
                }
            }
        }
    }
}
