//! New processes and threads: fork, vfork and clone.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use arch::exceptions::TrapFrame;
use kcore::mm::MmId;

use super::event::Event;
use super::limits::{INFINITY, Resource};
use super::signal::{ERESTARTNOINTR, SIGCHLD};
use super::{INIT_PID, Inheritance, Own, Process, Thread, current, current_thread, table};
use crate::errno::Errno;
use crate::fs::table_use::TableUse;
use crate::machine::lazy_tlb;
use crate::memory::heap;
use crate::mm;
use crate::mm::user_memory::UserAddr;
use crate::task::Mutex;
use crate::task::{self, registry};

bitflags::bitflags! {
    /// Linux's `CLONE_` flags, without the signal in the low byte.
    #[derive(Clone, Copy)]
    pub(crate) struct CloneFlags: u64 {
        /// Share the address space.
        const VM = 0x100;
        /// Share the current directory.
        const FS = 0x200;
        /// Share the descriptors.
        const FILES = 0x400;
        /// Share the signal dispositions.
        const SIGHAND = 0x800;
        /// A tracer traces the child, too; there are none.
        const PTRACE = 0x2000;
        /// The parent sleeps until the child has left its address space.
        const VFORK = 0x4000;
        /// The child gets the caller's parent.
        const PARENT = 0x8000;
        /// A thread of the caller's process.
        const THREAD = 0x1_0000;
        /// Share semaphore adjustments; there are none.
        const SYSVSEM = 0x4_0000;
        /// Set the thread pointer.
        const SETTLS = 0x8_0000;
        /// Store the child's tid in the parent's memory.
        const PARENT_SETTID = 0x10_0000;
        /// Clear a word and wake a futex when the child ends.
        const CHILD_CLEARTID = 0x20_0000;
        /// Ignored, as in Linux.
        const DETACHED = 0x40_0000;
        /// No tracer traces the child; there are none.
        const UNTRACED = 0x80_0000;
        /// Store the child's tid in the child's memory.
        const CHILD_SETTID = 0x100_0000;
        /// Share a queue of disk requests; there are none.
        const IO = 0x8000_0000;
    }
}

/// Most bytes of heap for a child: itself, and a full table of descriptors.
const HEAP_BYTES: usize = 64 << 10;

/// The arguments of clone.
pub(crate) struct Request {
    /// What to share, and further wishes.
    pub(crate) flags: CloneFlags,
    /// The signal that the child's end sends to its parent; a number that is no signal sends
    /// nothing.
    pub(crate) exit_signal: u32,
    /// The child's stack pointer, or 0 for the parent's.
    pub(crate) stack: u64,
    /// Where `PARENT_SETTID` stores.
    pub(crate) parent_tid: u64,
    /// Where `CHILD_SETTID` and `CHILD_CLEARTID` store.
    pub(crate) child_tid: u64,
    /// The thread pointer for `SETTLS`.
    pub(crate) tls: u64,
}

impl Request {
    /// fork.
    pub(crate) fn fork() -> Self {
        let flags = CloneFlags::empty();
        Request { flags, exit_signal: SIGCHLD, stack: 0, parent_tid: 0, child_tid: 0, tls: 0 }
    }

    /// vfork.
    pub(crate) fn vfork() -> Self {
        Request { flags: CloneFlags::VM | CloneFlags::VFORK, ..Self::fork() }
    }

    /// Whether the flags fit each other, as in Linux.
    fn check(&self) -> Result<(), Errno> {
        let has = |flag| self.flags.contains(flag);
        let good = (!has(CloneFlags::THREAD) || has(CloneFlags::SIGHAND))
            && (!has(CloneFlags::SIGHAND) || has(CloneFlags::VM))
            // Init has no parent, and all orphans.
            && (!has(CloneFlags::PARENT) || current().pid != INIT_PID);
        if good { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

/// Makes the child that `request` describes. It continues at the caller's `frame`, with 0 as the
/// result. Returns its number.
pub(crate) fn clone(frame: &TrapFrame, request: &Request) -> Result<u32, Errno> {
    request.check()?;
    heap::check_room(HEAP_BYTES)?;
    let flags = request.flags;
    let parent = current_thread();
    if !parent.process.may_start_thread() {
        return Err(Errno::EAGAIN);
    }
    let tid = free_number();
    let vfork = flags.contains(CloneFlags::VFORK).then(|| Arc::new(Event::new()));

    let mm = child_mm(frame, request)?;
    if let Err(errno) = start_child(&parent, tid, frame, request, mm, vfork.clone()) {
        lazy_tlb().mmput(mm);
        return Err(errno);
    }
    if let Some(done) = vfork {
        done.wait_killable();
    }
    Ok(tid)
}

/// A number that neither a task has nor a process in the table.
pub(super) fn free_number() -> u32 {
    loop {
        let tid = registry::next_tid();
        if !table::contains(tid) {
            return tid;
        }
    }
}

/// The child's unit of `mm_users`: of the parent's address space, or of a copy.
fn child_mm(frame: &TrapFrame, request: &Request) -> Result<MmId, Errno> {
    let mm = task::current().mm.mm();
    if request.flags.contains(CloneFlags::VM) {
        lazy_tlb().mmget_for_task(mm);
        Ok(mm)
    } else {
        // The C library's fork has its own data in the page of the child's number.
        mm::fork(mm, [frame.gpr(1), request.child_tid])
    }
}

/// Makes the child and starts it; `mm` is the child's then. Not inlined: its copies of the
/// registers would take stack also while the address space is copied.
#[inline(never)]
fn start_child(
    parent: &Own<Thread>,
    tid: u32,
    frame: &TrapFrame,
    request: &Request,
    mm: MmId,
    vfork: Option<Arc<Event>>,
) -> Result<(), Errno> {
    let is_thread = request.flags.contains(CloneFlags::THREAD);
    if is_thread {
        parent.process.files.begin_sharing();
    }
    let process = if is_thread { parent.process.clone() } else { new_process(parent, tid, request) };
    let mut thread =
        Thread::new(tid, process.clone()).with_registers_of(parent, frame).with_vfork_done(vfork);
    thread.scheduling = parent.scheduling.for_child();
    thread.blocked.store(parent.blocked.load(Ordering::Relaxed), Ordering::Relaxed);
    // The child inherits no stack that both could use at once (Linux: `sas_ss_reset` in
    // copy_process).
    if !request.flags.contains(CloneFlags::VM) || request.flags.contains(CloneFlags::VFORK) {
        thread.alternate_stack = parent.alternate_stack.copy();
    }
    if request.flags.contains(CloneFlags::CHILD_CLEARTID) {
        thread.clear_child_tid.store(request.child_tid, Ordering::Relaxed);
    }
    if request.flags.contains(CloneFlags::CHILD_SETTID) {
        // This is the child's memory, which is not loaded here. As in Linux, a bad address is not
        // an error.
        let _ = mm::poke_writable(mm, request.child_tid, &tid.to_be_bytes());
    }
    let me = task::current();
    let frame = child_frame(frame, request);
    let task = task::create_user(tid, me.name().as_str(), thread, &frame, mm, &me.affinity())
        .map_err(|task::OutOfMemory| Errno::ENOMEM)?;
    if request.flags.contains(CloneFlags::PARENT_SETTID) {
        // As in Linux, a bad address is not an error.
        let _ = UserAddr(request.parent_tid).write(tid);
    }
    if is_thread {
        // Fails if the process or the caller is to end. Then the caller has a kill pending, and the
        // call is not made again.
        return if process.start_thread(task) { Ok(()) } else { Err(ERESTARTNOINTR) };
    }
    // Before it can end: its end looks for it in the table.
    if !table::add_child(process.clone(), request.flags.contains(CloneFlags::PARENT)) {
        return Err(ERESTARTNOINTR);
    }
    process.start_first_thread(task);
    if process.limits.get(Resource::Cpu) != INFINITY {
        // Needs no memory: the inherited limit has started the alarms' thread.
        let _ = process.look_at_cpu_time();
    }
    Ok(())
}

fn new_process(parent: &Thread, pid: u32, request: &Request) -> Arc<Process> {
    let from = &*parent.process;
    let shares = |flag| request.flags.contains(flag);
    let files = match shares(CloneFlags::FILES) {
        true => from.files.share(),
        false => TableUse::new(from.files.copy()),
    };
    let directory = match shares(CloneFlags::FS) {
        true => from.directory.clone(),
        false => Arc::new(Mutex::new(from.directory.lock().clone())),
    };
    let handlers = match shares(CloneFlags::SIGHAND) {
        true => from.handlers(),
        false => Arc::new(from.handlers().copy()),
    };
    let process = Process::new(
        pid,
        Inheritance {
            files,
            limits: from.limits.copy(),
            directory,
            umask: from.umask.load(Ordering::Relaxed),
            program: from.program(),
            handlers,
        },
    );
    process.set_elf_v2(from.is_elf_v2());
    process.exit_signal.store(request.exit_signal, Ordering::Relaxed);
    process.dumpable.store(from.dumpable.load(Ordering::Relaxed), Ordering::Relaxed);
    process
}

/// Where the child enters user mode.
fn child_frame(frame: &TrapFrame, request: &Request) -> TrapFrame {
    let mut child = frame.clone();
    // Its vector registers are in its `Thread`.
    child.msr &= !arch::reg::Msr::VECTOR_STATE.bits();
    child.set_result(0);
    if request.stack != 0 {
        child.set_gpr(1, request.stack);
    }
    if request.flags.contains(CloneFlags::SETTLS) {
        // r13 is the thread pointer of the 64-bit ABIs.
        child.set_gpr(13, request.tls);
    }
    child
}
