//! Which frame of a stack is the poll of a task, which future it polls, and which line of the user's code blocks it.
//!
//! The innermost frame of Tokio that polls a task is the poll, but every worker thread of a multi-thread runtime is itself
//! a task of the blocking pool, so what stands just outside of it, or the type of its scheduler, decides what it is. The
//! root future of `block_on` has no such frame. Names alone do not always tell: with line tables only, an inlined
//! function's is bare, and its file gives the module.
//!
//! Tried with stacks of 1.20, 1.28, 1.38, 1.44 and 1.54; the modules of those before 1.20 have the same names as in it.
//!
//! Limits: with symbols only, an inlined `block_in_place` or `LocalSet` cannot be seen, and the kind is then [`Kind::Task`];
//! with link-time optimisation as well, a `block_on` may not be either, and the kind is then [`Kind::NotTokio`]: so it is of an idle
//! thread of an older version's blocking pool. A macro of
//! the user's own workspace has the lines of its definition. Functions with the same code may have been merged into one,
//! which then has the name and the lines of any of them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use pollscope_base::RUNTIME_CRATES;

use crate::address::CodeAddress;
use crate::symbolize::{Frame, Symbols};

pub(crate) mod future_name;
mod place;
mod tokio;

use place::{Origin, Place, is_below};
use tokio::{Mark, mark};

/// What a thread was doing, as far as Tokio is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Polling a task of a runtime: it holds up its worker.
    Task,
    /// Polling the root future, the argument of `block_on`. On a current-thread runtime it holds up all tasks.
    Root,
    /// Polling a task of a `LocalSet`: it holds up that set, and what runs the set.
    Local,
    /// Within `block_in_place`: Tokio was told, and another thread has taken over.
    BlockInPlace,
    /// A thread of the blocking pool, idle or at work: blocking is what it is for.
    BlockingPool,
    /// Parked: there was nothing to poll.
    Idle,
    /// In the scheduler's own code, or in a hook or a destructor that it called; in no poll, yet awake.
    Scheduler,
    /// No frame is Tokio's.
    NotTokio,
}

impl Kind {
    /// Whether blocking here holds up an event loop.
    ///
    /// ```
    /// use pollscope_stacks::poll::Kind;
    /// assert!(Kind::Local.holds_up_the_loop());
    /// assert!(!Kind::BlockInPlace.holds_up_the_loop());
    /// ```
    pub fn holds_up_the_loop(self) -> bool {
        matches!(self, Kind::Task | Kind::Root | Kind::Local | Kind::Scheduler)
    }
}

/// The frame that polls the task, or, for the root future, the one of `block_on`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollFrame {
    /// Its index among [`frames`].
    pub index: usize,
    /// The frame.
    pub frame: Frame,
}

/// A stack, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollStack {
    /// What the thread was doing.
    pub kind: Kind,
    /// What polls; `None` if nothing does. In the blocking pool, what runs the job.
    pub poll: Option<PollFrame>,
    /// The indices among [`frames`] of code inside the poll that is neither the system's nor the runtime's, innermost first.
    pub user: Vec<usize>,
    /// The innermost of these: the line that blocks, of whichever crate.
    pub blocking_line: Option<Frame>,
    /// The innermost of these that is of the user's workspace: the line to change.
    pub blocking_line_workspace: Option<Frame>,
    /// Which frame of the stack, inlined functions not counted, ends when the poll does: what it returns to is reached once a poll. Of a
    /// root future it is that of the user's outermost function, unless that is inlined in Tokio's loop. `None` where nothing is
    /// polled, or no frame is known to end then.
    pub ends: Option<usize>,
    /// The type of the future that is polled, as its writer knows it: `shop::serve`, `shop::main::{async block}`; of a long one without
    /// the arguments that are furthest in. In the blocking pool, that of the job. `None` if the names at hand do not tell.
    pub root_future: Option<String>,
}

impl PollStack {
    /// The blocking line to show first: that of the workspace if there is one.
    pub fn line(&self) -> Option<&Frame> {
        self.blocking_line_workspace.as_ref().or(self.blocking_line.as_ref())
    }
}

/// Whose code is whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Crates, or modules (`shop::metrics`), that run the user's code rather than doing its work; with a `*` at its end a name stands for
    /// all crates that begin so, among those that Cargo fetched.
    pub runtime_crates: Vec<String>,
    /// Parts of source paths of which the same is true, such as `/shop/metrics/src/`.
    pub runtime_paths: Vec<String>,
    /// The folders of the user's workspace, as the compiler saw them. Empty: whatever Cargo did not fetch.
    pub roots: Vec<PathBuf>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            runtime_crates: RUNTIME_CRATES.map(str::to_owned).to_vec(),
            runtime_paths: Vec::new(),
            roots: Vec::new(),
        }
    }
}

impl Rules {
    fn is_runtime(&self, path: &str) -> bool {
        self.runtime_crates.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => path.starts_with(beginning),
            None => is_below(path, name),
        })
    }

    /// The same of what Cargo did not fetch: a crate of the user's own may well be called `tower_defense`.
    fn is_named_runtime(&self, path: &str) -> bool {
        self.runtime_crates.iter().any(|name| is_below(path, name.trim_end_matches('*')))
    }
}

/// All frames of a stack, innermost first, inlined ones included: what the indices of a [`PollStack`] count.
pub fn frames(stack: &[(CodeAddress, Arc<Symbols>)]) -> impl Iterator<Item = &Frame> {
    stack.iter().flat_map(|(_, symbols)| &symbols.frames)
}

/// The functions of a stack without their type arguments, where a bare name has the module of its file.
pub(crate) fn functions(stack: &[(CodeAddress, Arc<Symbols>)], rules: &Rules) -> Vec<String> {
    frames(stack).map(|frame| Place::of(frame, rules).path).collect()
}

/// Understands a stack, given innermost first.
pub fn find(stack: &[(CodeAddress, Arc<Symbols>)], rules: &Rules) -> PollStack {
    understand(stack, rules, true)
}

/// Understands the innermost frames of a stack, of which the others are not known.
pub fn find_in_part(stack: &[(CodeAddress, Arc<Symbols>)], rules: &Rules) -> PollStack {
    understand(stack, rules, false)
}

fn understand(stack: &[(CodeAddress, Arc<Symbols>)], rules: &Rules, is_whole: bool) -> PollStack {
    let frames: Vec<&Frame> = frames(stack).collect();
    let places: Vec<Place> = frames.iter().map(|frame| Place::of(frame, rules)).collect();
    let Activity { kind, poll, inside } = activity(&frames, &places, is_whole);
    let user: Vec<usize> = (0..inside).filter(|index| places[*index].is_users()).collect();
    let workspace = user.iter().find(|index| places[**index].origin == Origin::Workspace);
    PollStack {
        kind,
        poll: poll.map(|index| PollFrame { index, frame: frames[index].clone() }),
        blocking_line: user.first().map(|index| frames[*index].clone()),
        blocking_line_workspace: workspace.map(|index| frames[*index].clone()),
        ends: poll.and_then(|poll| ends(stack, &places, (kind, poll), &user)),
        root_future: poll.and_then(|poll| root_future(&frames, &places, poll, &user)).map(future_name::abridged),
        user,
    }
}

/// See [`PollStack::ends`].
fn ends(
    stack: &[(CodeAddress, Arc<Symbols>)],
    places: &[Place],
    (kind, poll): (Kind, usize),
    user: &[usize],
) -> Option<usize> {
    // Each frame's functions, as indices of all.
    let mut next = 0;
    let functions = stack.iter().map(|(_, symbols)| {
        let first = next;
        next += symbols.frames.len();
        first..next
    });
    let functions: Vec<Range<usize>> = functions.collect();
    let frame_of = |index: usize| functions.iter().position(|functions| functions.contains(&index));
    match kind {
        Kind::Task | Kind::Local => {
            let polls = (poll..places.len()).take_while(|index| mark(&places[*index]) == Mark::Poll);
            // What only calls it may be inlined in a loop.
            let polls = polls.filter(|index| !tokio::calls_poll(&places[*index]));
            let whole = polls.filter_map(|index| frame_of(index).filter(|frame| functions[*frame].end == index + 1));
            whole.last()
        }
        Kind::Root => {
            let outermost = *user.last()?;
            let frame = frame_of(outermost)?;
            let outside = outermost + 1..functions[frame].end;
            places[outside].iter().all(|place| !place.is_in("tokio")).then_some(frame)
        }
        _ => None,
    }
}

/// What a thread was doing, and in which frames.
struct Activity {
    kind: Kind,
    /// The frame that polls.
    poll: Option<usize>,
    /// So many of the innermost frames are part of it.
    inside: usize,
}

impl Activity {
    fn polls(kind: Kind, poll: usize) -> Activity {
        Activity { kind, poll: Some(poll), inside: poll }
    }

    /// Awake or parked in the scheduler, which has called so many of the innermost frames; a hook may be called at parking.
    fn in_scheduler(places: &[Place], inside: usize) -> Activity {
        let called = places[..inside].iter().any(Place::is_users);
        match !called && is_parked(&places[..inside]) {
            true => Activity { kind: Kind::Idle, poll: None, inside: 0 },
            false => Activity { kind: Kind::Scheduler, poll: None, inside },
        }
    }
}

fn activity(frames: &[&Frame], places: &[Place], is_whole: bool) -> Activity {
    let marks: Vec<Mark> = places.iter().map(mark).collect();
    let Some(poll) = marks.iter().position(|mark| *mark == Mark::Poll) else {
        return without_task(places, &marks);
    };
    match scheduled_by(frames, places, &marks, poll, is_whole) {
        Mark::Pool => in_pool(places, &marks, poll),
        _ if marks[..poll].contains(&Mark::BlockInPlace) => Activity::polls(Kind::BlockInPlace, poll),
        Mark::LocalSet => Activity::polls(Kind::Local, poll),
        _ => Activity::polls(Kind::Task, poll),
    }
}

/// What runs the task: by the type of its scheduler, or else by what stands just outside of its poll. Where that is nothing
/// but the beginning of a thread, the thread is one that Tokio started, and all of those are of the blocking pool. Where the
/// beginning of the thread is not known, neither is that.
fn scheduled_by(frames: &[&Frame], places: &[Place], marks: &[Mark], poll: usize, is_whole: bool) -> Mark {
    for index in (poll..marks.len()).take_while(|index| marks[*index] == Mark::Poll) {
        let function = frames[index].function.as_deref().unwrap_or_default();
        if let Some(mark) = future_name::arguments(function).get(1).and_then(|scheduler| tokio::runs(scheduler)) {
            return mark;
        }
    }
    let outside = marks[poll..].iter().find(|mark| !matches!(mark, Mark::Poll | Mark::Nothing | Mark::BlockInPlace));
    let started_by_user = places[poll..].iter().any(Place::is_users);
    outside.copied().unwrap_or(if started_by_user || !is_whole { Mark::Scheduler } else { Mark::Pool })
}

/// In a job of the blocking pool. One such job is a worker thread's whole life, and a job may run a runtime of its own.
fn in_pool(places: &[Place], marks: &[Mark], job: usize) -> Activity {
    let outermost = (0..job).rev().find(|index| places[*index].is_users() || tokio::is_worker(&places[*index]));
    if outermost.is_some_and(|index| !places[index].is_users()) {
        return Activity::in_scheduler(places, job);
    }
    // `Handle::block_on` holds up only the job itself; a runtime of its own has tasks of its own.
    let innermost = marks[..job].iter().position(|mark| *mark == Mark::BlockOn);
    match innermost.is_some_and(|index| !tokio::waits_for_one(&places[index])) {
        true => without_task(&places[..job], &marks[..job]),
        false => Activity::polls(Kind::BlockingPool, job),
    }
}

/// Where no frame polls a task: in a root future, parked, or in neither.
fn without_task(places: &[Place], marks: &[Mark]) -> Activity {
    let Some(root) = marks.iter().position(|mark| *mark == Mark::BlockOn) else {
        let outermost = marks.iter().rposition(|mark| *mark == Mark::Scheduler);
        let pool = marks.contains(&Mark::Pool);
        return match outermost {
            Some(outermost) => Activity::in_scheduler(places, outermost),
            None if pool => Activity { kind: Kind::BlockingPool, poll: None, inside: 0 },
            None => Activity { kind: Kind::NotTokio, poll: None, inside: places.len() },
        };
    };
    // Tokio's own frames around the outermost one of the user are those of its poll, or of parking with a hook.
    let outermost_user = (0..root).rev().find(|index| places[*index].is_users());
    if is_parked(&places[outermost_user.unwrap_or(0)..root]) {
        return Activity::in_scheduler(places, root);
    }
    match marks[..root].contains(&Mark::BlockInPlace) {
        true => Activity::polls(Kind::BlockInPlace, root),
        false => Activity::polls(Kind::Root, root),
    }
}

/// Whether Tokio waits for something to do.
fn is_parked(places: &[Place]) -> bool {
    places.iter().any(tokio::parks)
}

/// The future that a frame polls, from the type arguments of it or of the same kind of frame just outside of it. A `dyn
/// Future` does not say what it is, but the outermost function of the user is what it called; so it is where the name is of another,
/// and where symbols have no type arguments.
fn root_future(frames: &[&Frame], places: &[Place], poll: usize, user: &[usize]) -> Option<String> {
    let same = mark(&places[poll]);
    let near = (poll..frames.len()).take_while(|index| mark(&places[*index]) == same || same == Mark::BlockOn);
    let mut named = near.take(NEAR).filter(|index| mark(&places[*index]) == same).filter_map(|index| {
        let arguments = future_name::arguments(frames[index].function.as_deref()?);
        arguments.first().map(|future| (future_name::is_async_fn(future), future_name::pretty(future)))
    });
    let called = user.last().and_then(|index| frames[*index].function.as_deref());
    let Some((is_async_fn, name)) = named.next() else { return called.and_then(future_name::of_code) };
    let called = called.filter(|function| function.contains("::{async_")).map(future_name::pretty);
    let is_other = name.starts_with("dyn ") || is_async_fn && is_of_another(&name, &frames[..poll]);
    Some(called.filter(|_| is_other).unwrap_or(name))
}

/// Whether none of these frames is the code of an `async fn` of this name: functions with the same code, such as those that poll two
/// futures, may be one, which has the name of any of them. Where a frame has no path, nobody knows.
fn is_of_another(name: &str, inside: &[&Frame]) -> bool {
    let functions = inside.iter().filter_map(|frame| frame.function.as_deref());
    let mut bodies = functions.filter(|function| function.contains("{async_fn#"));
    bodies.all(|body| !body.starts_with('{') && future_name::pretty(body) != name)
}

/// The functions of one `block_on` are within so many frames.
const NEAR: usize = 32;

#[cfg(test)]
mod tests;
