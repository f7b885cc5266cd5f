//! A disk that fails when told: a FUSE file system, kept in memory, of whose one file the n-th call of a kind goes wrong.
//! Files can be renamed, linked to, replaced and deleted while they are open; it knows when a file changed, but not when it was made.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

/// A kind of call that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Read,
    Write,
    Sync,
    /// What `close` asks for.
    Flush,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    Error(Errno),
    /// Half of what was to be written is.
    Short,
    /// It works, late.
    Late(Duration),
    /// It does not return until the disk is healed.
    Hang,
}

/// Which calls go wrong: the `at`-th of the kind, counted from 1, and so many after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) call: Call,
    pub(crate) fault: Fault,
    pub(crate) at: u64,
    pub(crate) more: u64,
}

/// A file, a link with its target as content or, without content, a folder.
#[derive(Debug)]
struct Node {
    /// The folder; 0 when it has lost its name and is only held open.
    parent: u64,
    name: OsString,
    content: Option<Vec<u8>>,
    link: bool,
    /// When its content changed, and when anything of it did.
    written: SystemTime,
    touched: SystemTime,
    /// The process that made it, if known.
    owner: Option<u32>,
}

#[derive(Default)]
struct State {
    /// The last inode given out: no file has the number of one that was there before, so that nothing is remembered of it.
    last: u64,
    nodes: BTreeMap<u64, Node>,
    /// The name of the file whose calls go wrong.
    victim: &'static str,
    plan: Option<Plan>,
    /// Calls of the planned kind so far, and how many of them went wrong.
    calls: u64,
    faults: u64,
    /// Calls that have not returned.
    held: Vec<Box<dyn FnOnce() + Send>>,
}

/// The disk, mounted; unmounted when dropped.
pub(crate) struct Disk {
    state: Shared,
    _session: BackgroundSession,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

impl Disk {
    /// Mounts a disk on which the calls of files of that name go wrong.
    pub(crate) fn mount(at: &Path, victim: &'static str) -> std::io::Result<Disk> {
        let state = Shared::default();
        *state.lock() = State { last: INodeNo::ROOT.0, victim, ..State::default() };
        let session = fuser::spawn_mount(state.clone(), at, &Config::default())?;
        Ok(Disk { state, _session: session })
    }

    /// An empty disk on which calls go wrong as planned.
    pub(crate) fn reset(&self, plan: Plan) {
        let mut state = self.state.lock();
        *state = State { last: state.last, victim: state.victim, plan: Some(plan), ..State::default() };
    }

    /// From now on calls go wrong as planned; what is on the disk stays.
    pub(crate) fn plan(&self, plan: Plan) {
        let mut state = self.state.lock();
        (state.plan, state.calls, state.faults) = (Some(plan), 0, 0);
    }

    /// From now on nothing goes wrong, and what hung goes on; how often something went wrong.
    pub(crate) fn heal(&self) -> u64 {
        let mut state = self.state.lock();
        state.plan = None;
        let (faults, held) = (state.faults, std::mem::take(&mut state.held));
        drop(state);
        held.into_iter().for_each(|call| call());
        faults
    }

    /// How often something went wrong so far.
    pub(crate) fn faults(&self) -> u64 {
        self.state.lock().faults
    }

    /// The content of the file whose calls go wrong; `None` without such a file.
    pub(crate) fn content(&self) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.nodes.values().find(|node| node.name == state.victim)?.content.clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.heal();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call comes in: `answer` gets what goes wrong with it, now or later.
    fn meets(&self, call: Call, file: &OsStr, answer: impl FnOnce(Option<Fault>) + Send + 'static) {
        let mut state = self.lock();
        let plan = state.plan.filter(|plan| plan.call == call && file == state.victim);
        state.calls += u64::from(plan.is_some());
        let calls = state.calls;
        let fault = plan.filter(|plan| (plan.at..=plan.at.saturating_add(plan.more)).contains(&calls));
        state.faults += u64::from(fault.is_some());
        if let Some(Plan { fault: Fault::Hang, .. }) = fault {
            state.held.push(Box::new(move || answer(None)));
            return;
        }
        drop(state);
        if let Some(Plan { fault: Fault::Late(by), .. }) = fault {
            thread::sleep(by);
        }
        answer(fault.map(|plan| plan.fault));
    }

    /// A call that can be nothing but right or wrong.
    fn succeeds(&self, call: Call, ino: INodeNo, reply: ReplyEmpty) {
        let name = self.lock().name(ino);
        self.meets(call, &name, move |fault| match fault {
            Some(Fault::Error(error)) => reply.error(error),
            _ => reply.ok(),
        });
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let mut state = self.lock();
        match state.unname(parent, name) {
            Some(()) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }
}

/// The process of the thread that calls.
fn process_of(request: &Request) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", request.pid())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Nothing is remembered by the kernel.
const TTL: Duration = Duration::ZERO;

impl State {
    fn add(&mut self, parent: INodeNo, name: &OsStr, content: Option<Vec<u8>>) -> FileAttr {
        self.last += 1;
        let now = SystemTime::now();
        let (parent, name) = (parent.0, name.to_owned());
        let node = Node { parent, name, content, link: false, written: now, touched: now, owner: None };
        self.nodes.insert(self.last, node);
        self.attributes(INodeNo(self.last)).expect("it was made just now")
    }

    fn find(&self, parent: INodeNo, name: &OsStr) -> Option<u64> {
        let mut nodes = self.nodes.iter();
        nodes.find(|(_, node)| node.parent == parent.0 && node.name == name).map(|(&ino, _)| ino)
    }

    fn name(&self, ino: INodeNo) -> OsString {
        self.nodes.get(&ino.0).map(|node| node.name.clone()).unwrap_or_default()
    }

    /// Takes an entry's name: whoever has it open keeps it, until the kernel forgets it.
    fn unname(&mut self, parent: INodeNo, name: &OsStr) -> Option<()> {
        let ino = self.find(parent, name)?;
        self.nodes.entry(ino).and_modify(|node| {
            (node.parent, node.name, node.touched) = (0, OsString::new(), SystemTime::now());
        });
        Some(())
    }

    /// Gives an entry another name, in the place of what had it.
    fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> Option<()> {
        let ino = self.find(from.0, from.1)?;
        if self.find(to.0, to.1) != Some(ino) {
            self.unname(to.0, to.1);
        }
        self.nodes.entry(ino).and_modify(|node| {
            (node.parent, node.name, node.touched) = (to.0.0, to.1.to_owned(), SystemTime::now());
        });
        Some(())
    }

    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let node = if ino == INodeNo::ROOT { None } else { Some(self.nodes.get(&ino.0)?) };
        let content = node.and_then(|node| node.content.as_ref());
        let size = content.map_or(0, |content| content.len() as u64);
        Some(FileAttr {
            ino,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: node.map_or(UNIX_EPOCH, |node| node.written),
            ctime: node.map_or(UNIX_EPOCH, |node| node.touched),
            crtime: UNIX_EPOCH,
            kind: node.map_or(FileType::Directory, Node::kind),
            perm: if content.is_some() { 0o644 } else { 0o755 },
            nlink: u32::from(node.is_none_or(|node| node.parent != 0)),
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        })
    }

    /// Changes a file's content.
    fn change(&mut self, ino: INodeNo, how: impl FnOnce(&mut Vec<u8>)) {
        let Some(Node { content: Some(content), written, touched, .. }) = self.nodes.get_mut(&ino.0) else { return };
        how(content);
        *written = SystemTime::now();
        *touched = *written;
    }

    /// Takes the first of these bytes.
    fn take(&mut self, ino: INodeNo, offset: u64, data: &[u8], taken: usize) {
        self.change(ino, |content| {
            let end = offset as usize + taken;
            content.resize(content.len().max(end), 0);
            content[offset as usize..end].copy_from_slice(&data[..taken]);
        });
    }
}

impl Node {
    fn kind(&self) -> FileType {
        match (&self.content, self.link) {
            (None, _) => FileType::Directory,
            (Some(_), true) => FileType::Symlink,
            (Some(_), false) => FileType::RegularFile,
        }
    }
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let state = self.lock();
        match state.find(parent, name).and_then(|ino| state.attributes(INodeNo(ino))) {
            Some(found) => reply.entry(&TTL, &found, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.lock().attributes(ino) {
            Some(found) => reply.attr(&TTL, &found),
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
        if let Some(size) = size {
            self.lock().change(ino, |content| content.resize(size as usize, 0));
        }
        self.getattr(request, ino, handle, reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.entry(&TTL, &self.lock().add(parent, name, None), Generation(0));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove(parent, name, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        new: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        match self.lock().rename((parent, name), (to, new)) {
            Some(()) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn symlink(&self, _: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let mut state = self.lock();
        let made = state.add(parent, name, Some(target.as_os_str().as_bytes().to_vec()));
        state.nodes.entry(made.ino.0).and_modify(|node| node.link = true);
        reply.entry(&TTL, &FileAttr { kind: FileType::Symlink, ..made }, Generation(0));
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.lock().nodes.get(&ino.0).and_then(|node| node.content.as_deref()) {
            Some(target) => reply.data(target),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, _: u64) {
        self.lock().nodes.retain(|&number, node| number != ino.0 || node.parent != 0);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        // What comes after what was listed last, by number: entries go while a folder is read.
        for (&found, node) in self.lock().nodes.range(offset + 1..).filter(|(_, node)| node.parent == ino.0) {
            if reply.add(INodeNo(found), found, node.kind(), &node.name) {
                break;
            }
        }
        reply.ok();
    }

    fn create(&self, request: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let (disk, file, owner) = (self.clone(), name.to_owned(), process_of(request));
        self.meets(Call::Create, name, move |fault| {
            if let Some(Fault::Error(error)) = fault {
                return reply.error(error);
            }
            let mut state = disk.lock();
            let made = state.add(parent, &file, Some(Vec::new()));
            state.nodes.entry(made.ino.0).and_modify(|node| node.owner = owner);
            drop(state);
            reply.created(&TTL, &made, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache: every `write` comes here, and is answered from here.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (disk, name) = (self.clone(), self.lock().name(ino));
        self.meets(Call::Read, &name, move |fault| {
            if let Some(Fault::Error(error)) = fault {
                return reply.error(error);
            }
            let state = disk.lock();
            let content = state.nodes.get(&ino.0).and_then(|node| node.content.as_deref()).unwrap_or_default();
            let from = content.len().min(offset as usize);
            let found = &content[from..content.len().min(from + size as usize)];
            let taken = if matches!(fault, Some(Fault::Short)) { found.len().div_ceil(2) } else { found.len() };
            reply.data(&found[..taken]);
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (disk, data, name) = (self.clone(), data.to_vec(), self.lock().name(ino));
        self.meets(Call::Write, &name, move |fault| {
            let taken = match fault {
                Some(Fault::Error(error)) => return reply.error(error),
                Some(Fault::Short) => data.len().div_ceil(2),
                _ => data.len(),
            };
            disk.lock().take(ino, offset, &data, taken);
            reply.written(taken as u32);
        });
    }

    fn flush(&self, request: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A child closes its copy when it becomes another program: that is not the close that a merge makes.
        let owner = self.lock().nodes.get(&ino.0).and_then(|node| node.owner);
        if owner.is_some() && process_of(request).is_some_and(|process| Some(process) != owner) {
            return reply.ok();
        }
        self.succeeds(Call::Flush, ino, reply);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.succeeds(Call::Sync, ino, reply);
    }
}
