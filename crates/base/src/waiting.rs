//! What a task waits for: the `.await` lines that it is suspended at, and what is at their end.

/// What a task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum TaskState {
    /// It is polled, or its closure runs.
    Running,
    /// It was woken, and waits for a worker; a closure waits for a thread of the blocking pool.
    Ready,
    /// It waits for something.
    Idle,
    /// It ended, and what it came to was not fetched yet.
    Complete,
}

/// What runs a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum RunBy {
    /// The workers of a multi-thread runtime.
    MultiThread,
    /// The thread of a current-thread runtime.
    CurrentThread,
    /// A `LocalSet`.
    LocalSet,
    /// A thread of the blocking pool: it is a closure and no future.
    BlockingPool,
}

/// A task of Tokio, as its memory tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct WaitingTask {
    /// Tokio's id of it, unique in its process.
    pub id: u64,
    /// What it is doing.
    pub state: TaskState,
    /// Which runtime or `LocalSet` has it, by the number that Tokio gives those; `None` of one that none has, as closures of the
    /// blocking pool.
    pub runtime: Option<u64>,
    /// What runs it; `None` where no name tells.
    pub run_by: Option<RunBy>,
    /// Its future's type, as its writer knows it, or its closure's; `None` where no name tells.
    pub future: Option<String>,
    /// How large it is in memory, its future included, in bytes.
    pub size_bytes: u64,
    /// `file:line` of its spawn; `None` in programs without `tokio_unstable`.
    pub spawned_at: Option<String>,
    /// Whether it was told to end, and has not yet.
    pub is_cancelled: bool,
    /// Where it is suspended; `None` where that is not known, or it is not suspended.
    pub waits: Option<Await>,
    /// Locks and permits that it keeps meanwhile.
    pub holds: Vec<Hold>,
}

/// A future, and where it is suspended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Await {
    /// Its type, as its writer knows it: `shop::serve`, `tokio::time::sleep::Sleep`.
    pub future: String,
    /// How far it is.
    pub progress: Progress,
    /// The source file of its `.await`, without the workspace's folder; `None` of a future that is not an `async` function or block.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// What it waits for, if that is known by name.
    pub leaf: Option<Leaf>,
    /// The futures that it polls in turn: one, or the branches of a `select!` or a `join!`.
    pub inside: Vec<Await>,
}

/// How far a future is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Progress {
    /// It was not polled yet.
    NotStarted,
    /// It is suspended at an `.await`.
    Suspended,
    /// It is over.
    Done,
    /// It panicked.
    Panicked,
    /// It is not an `async` function or block, and does not tell.
    Unknown,
}

/// What is at the end of the futures that a task waits in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Leaf {
    /// What it is.
    pub kind: LeafKind,
    /// Where it is in memory, in hexadecimal digits behind `0x`: those who wait for one thing have one address. `None` where several do
    /// not wait for one thing, as each has a sleep of its own.
    pub address: Option<String>,
    /// Of a sleep, how long it still lasts; negative if it should be over. In nanoseconds.
    pub left_ns: Option<i64>,
    /// Of a join handle, the id of the task that it is of.
    pub task: Option<u64>,
}

/// What can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum LeafKind {
    /// A time.
    Sleep,
    /// A `Mutex` of Tokio's.
    Mutex,
    /// To read what an `RwLock` of Tokio's guards.
    RwLockRead,
    /// To write it.
    RwLockWrite,
    /// Permits of a `Semaphore`.
    Semaphore,
    /// Room in a bounded channel.
    MpscSend,
    /// A message of a channel with many senders.
    MpscReceive,
    /// The message of a channel for one.
    Oneshot,
    /// A change of a watched value.
    Watch,
    /// A message of a channel in which each receiver gets all.
    Broadcast,
    /// A `Notify`.
    Notify,
    /// The others at a `Barrier`.
    Barrier,
    /// The end of another task.
    Join,
    /// The end of one of the tasks of a `JoinSet`.
    JoinSet,
    /// A value that another task makes: a `OnceCell`.
    OnceCell,
    /// A socket, a pipe or another file, to be ready.
    Io,
    /// The loop's next turn: it was polled for long.
    Yield,
    /// Nothing: it never ends.
    Pending,
}

/// A lock, or permits, that a suspended future keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hold {
    /// What gives it back when it is dropped: `tokio::sync::mutex::MutexGuard`.
    pub guard: String,
    /// The name of the variable that has it.
    pub variable: String,
    /// Where what it holds is in memory, as [`Leaf::address`] is of those who wait for it.
    pub address: String,
    /// The `.await` meanwhile: `file:line`.
    pub at: Option<String>,
    /// Whether the future that has it is polled when the task is. One that is kept in a variable and is not cannot give it back.
    pub is_polled: bool,
}

/// What a thread was doing, as far as Tokio is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum ThreadDoes {
    /// It polled a task.
    Poll,
    /// It polled the argument of `block_on`.
    BlockOn,
    /// It was within `block_in_place`.
    BlockInPlace,
    /// It was of the blocking pool, idle or at work.
    BlockingPool,
    /// It was in the scheduler's own code.
    Scheduler,
    /// It had nothing to poll.
    Parked,
    /// Nothing of Tokio's was on its stack.
    Other,
}

/// A thread of a process, as it was when it was looked at, or when the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SeenThread {
    /// The kernel's number of it.
    pub tid: u32,
    /// What it was doing; `None` where its stack is not known, as that of one that runs.
    pub does: Option<ThreadDoes>,
    /// The task that it polled, by Tokio's id; `None` where that is not known, or it was none.
    pub task: Option<u64>,
    /// The type of the future that it polled; `None` where its name does not tell.
    pub future: Option<String>,
    /// The system call that it was in; `None` of one that ran its own code.
    pub call: Option<crate::Call>,
    /// Where the futex is in memory that it waited at, as [`Hold::address`] is of a lock of the standard library's that a task keeps; `None`
    /// of one that waited at none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub futex: Option<String>,
    /// `file:line` of the innermost frame of the user's code.
    pub line: Option<String>,
    /// That frame's function.
    pub function: Option<String>,
    /// From the innermost frame up to the poll, or to its first frame.
    pub stack: Vec<crate::Frame>,
}
