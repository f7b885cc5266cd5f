//! How right what was read of tasks is.

use pollscope_base::{Await, RunBy, TaskState, WaitingTask};
use pollscope_record::tasks::ends;

use crate::truth::Truth;

/// Of some tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Score {
    pub(crate) tasks: usize,
    /// Those whose state is not that of one that waits.
    pub(crate) states: usize,
    /// `.await`s that they are suspended at, or were said to be, and how many of them were right.
    pub(crate) frames: usize,
    pub(crate) right: usize,
    /// The same of what is at the end.
    pub(crate) leaves: usize,
    pub(crate) leaves_right: usize,
    /// Chains that are not told.
    pub(crate) untold: usize,
}

impl Score {
    pub(crate) fn add(&mut self, other: &Score) {
        self.tasks += other.tasks;
        self.states += other.states;
        self.frames += other.frames;
        self.right += other.right;
        self.leaves += other.leaves;
        self.leaves_right += other.leaves_right;
        self.untold += other.untold;
    }

    pub(crate) fn is_all_right(&self) -> bool {
        self.states == 0 && self.frames == self.right && self.leaves == self.leaves_right && self.untold == 0
    }
}

/// The tasks that are not of the blocking pool, by their ids: as many as were told of, in the same order.
pub(crate) fn futures(tasks: &[WaitingTask]) -> Vec<&WaitingTask> {
    tasks.iter().filter(|task| task.run_by != Some(RunBy::BlockingPool) && task.runtime.is_some()).collect()
}

pub(crate) fn judge(truth: &Truth, seen: &WaitingTask) -> Score {
    let mut score = Score { tasks: 1, ..Score::default() };
    let Some(chain) = &seen.waits else {
        let is_told_otherwise = truth.hot && seen.state != TaskState::Idle;
        score.untold = usize::from(!is_told_otherwise);
        return score;
    };
    score.states = usize::from(!truth.hot && seen.state != TaskState::Idle);
    let lines = lines(chain);
    let wanted: &[String] = match truth.lines.split_at_checked(2) {
        Some((one, other)) if truth.hot => {
            if lines.first() == one.first() {
                one
            } else {
                other
            }
        }
        _ => &truth.lines,
    };
    score.frames = lines.len().max(wanted.len());
    score.right = lines.iter().zip(wanted).filter(|(seen, wanted)| seen.ends_with(wanted.as_str())).count();
    let leaves: Vec<String> = ends(chain).into_iter().map(leaf).collect();
    score.leaves = leaves.len().max(truth.leaves.len());
    score.leaves_right = leaves.iter().zip(&truth.leaves).filter(|(seen, wanted)| seen == wanted).count();
    score
}

/// The program's own, outermost first, a branch after the other.
pub(crate) fn lines(chain: &Await) -> Vec<String> {
    let own = chain.file.as_ref().filter(|file| file.contains("src/bin/waiting/")).zip(chain.line);
    let own = own.map(|(file, line)| format!("{file}:{line}"));
    own.into_iter().chain(chain.inside.iter().flat_map(lines)).collect()
}

pub(crate) fn leaf(end: &Await) -> String {
    let kind = end.leaf.as_ref().and_then(|leaf| serde_json::to_value(leaf.kind).ok());
    kind.and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_else(|| format!("({})", end.future))
}
