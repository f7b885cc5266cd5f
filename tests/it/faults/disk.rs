//! A disk that fails when told: a FUSE file system of one file, kept in memory, whose n-th call of a kind goes wrong.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

/// A kind of call that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Write,
    Sync,
    /// What `close` asks for.
    Flush,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Error(Errno),
    /// Half of what was to be written is.
    Short,
    /// It works, late.
    Late(Duration),
}

/// Which calls go wrong: the `at`-th of the kind, counted from 1, and so many after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) call: Call,
    pub(super) fault: Fault,
    pub(super) at: u64,
    pub(super) more: u64,
}

#[derive(Debug, Default)]
struct State {
    /// The file's, a new one for each file, so that nothing is remembered of the last.
    ino: u64,
    content: Option<Vec<u8>>,
    plan: Option<Plan>,
    /// Calls of the planned kind so far, and how many of them went wrong.
    calls: u64,
    faults: u64,
}

/// The disk, mounted; unmounted when dropped.
pub(super) struct Disk {
    state: Shared,
    _session: BackgroundSession,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Disk {
    pub(super) fn mount(at: &Path) -> std::io::Result<Disk> {
        let state = Shared::default();
        state.lock().ino = 1;
        let session = fuser::spawn_mount(state.clone(), at, &Config::default())?;
        Ok(Disk { state, _session: session })
    }

    /// An empty disk on which calls go wrong as planned.
    pub(super) fn reset(&self, plan: Plan) {
        let mut state = self.state.lock();
        *state = State { ino: state.ino + 1, plan: Some(plan), ..State::default() };
    }

    /// From now on nothing goes wrong; how often something did.
    pub(super) fn heal(&self) -> u64 {
        let mut state = self.state.lock();
        state.plan = None;
        state.faults
    }

    /// What the file holds; `None` where there is none.
    pub(super) fn content(&self) -> Option<Vec<u8>> {
        self.state.lock().content.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call comes in: what goes wrong with it.
    fn fault(&self, call: Call) -> Option<Fault> {
        let mut state = self.lock();
        let plan = state.plan.filter(|plan| plan.call == call)?;
        state.calls += 1;
        let goes_wrong = (plan.at..=plan.at.saturating_add(plan.more)).contains(&state.calls);
        state.faults += u64::from(goes_wrong);
        drop(state);
        match goes_wrong.then_some(plan.fault)? {
            Fault::Late(by) => {
                thread::sleep(by);
                None
            }
            fault => Some(fault),
        }
    }

    /// The error of a call that can be nothing but right or wrong.
    fn error(&self, call: Call) -> Result<(), Errno> {
        match self.fault(call) {
            Some(Fault::Error(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Nothing is remembered by the kernel.
const TTL: Duration = Duration::ZERO;

fn attributes(ino: u64, kind: FileType, size: u64) -> FileAttr {
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: if kind == FileType::Directory { 0o755 } else { 0o644 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 4096,
    }
}

impl State {
    fn file(&self) -> Option<FileAttr> {
        let size = self.content.as_ref()?.len() as u64;
        Some(attributes(self.ino, FileType::RegularFile, size))
    }
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        match self.lock().file() {
            Some(file) => reply.entry(&TTL, &file, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if ino == INodeNo::ROOT {
            return reply.attr(&TTL, &attributes(1, FileType::Directory, 0));
        }
        match self.lock().file() {
            Some(file) => reply.attr(&TTL, &file),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        handle: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        if let (Some(size), Some(content)) = (size, &mut self.lock().content) {
            content.resize(size as usize, 0);
        }
        self.getattr(request, ino, handle, reply);
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        if let Err(error) = self.error(Call::Create) {
            return reply.error(error);
        }
        let mut state = self.lock();
        state.content = Some(Vec::new());
        let file = state.file().expect("it was made just now");
        reply.created(&TTL, &file, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache: every `write` comes here, and is answered from here.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.lock();
        let content = state.content.as_deref().unwrap_or_default();
        let from = content.len().min(offset as usize);
        reply.data(&content[from..content.len().min(from + size as usize)]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let taken = match self.fault(Call::Write) {
            Some(Fault::Error(error)) => return reply.error(error),
            Some(Fault::Short) => data.len().div_ceil(2),
            _ => data.len(),
        };
        let mut state = self.lock();
        let content = state.content.get_or_insert_default();
        let end = offset as usize + taken;
        content.resize(content.len().max(end), 0);
        content[offset as usize..end].copy_from_slice(&data[..taken]);
        reply.written(taken as u32);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        match self.error(Call::Flush) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.error(Call::Sync) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }
}
