//! exec: another program in the current process.
//!
//! The new address space is built beside the old one, which stays until nothing can fail any more.
//! Then the other threads end, and the process enters the new one. So does the kernel thread that
//! becomes the first process.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use arch::addr::PAGE_SIZE;
use arch::context::ungated::Ungated;
use arch::exceptions::TrapFrame;
use kcore::mm::MmId;

use super::load::{self, Loaded, Reason};
use super::program::Program;
use super::stack::{self, Arguments, AuxiliaryVector};
use super::{Process, current_thread, exit, signal};
use crate::errno::Errno;
use crate::fs::inode::Kind;
use crate::fs::path::Place;
use crate::fs::text::Text;
use crate::machine::lazy_tlb;
use crate::memory::heap;
use crate::mm::{self, Backing, MapFlags, Object, Prot};
use crate::task;

/// The address, in every address space, of the page that signal handlers return to.
pub(crate) const TRAMPOLINE: u64 = mm::STACK_TOP;

/// A program that is ready to be entered.
struct Ready {
    mm: MmId,
    program: Loaded,
    stack: u64,
    auxiliary: AuxiliaryVector,
    path: String,
}

/// Replaces the program of the current process by the one at `path`. Returns the registers that it
/// starts with. After an error the old program goes on.
pub(crate) fn exec(place: &Place, path: &str, passed: &Arguments) -> Result<TrapFrame, Reason> {
    let ready = prepare(place, path, passed)?;
    let thread = current_thread();
    let process = &*thread.process;
    if !process.end_other_threads() {
        lazy_tlb().mmput(ready.mm);
        // The thread is to end: no program sees this result.
        return Err(Reason::Errno(Errno::EINTR));
    }
    // No way back from here.
    exit::release_memory(&thread);
    thread.set_tid(process.pid);
    thread.robust_list.store(0, Ordering::Relaxed);
    thread.alternate_stack.reset();
    lazy_tlb().exec_mmap(ready.mm);
    thread.tell_vfork_done();
    unshare(process);
    process.files.exec();
    process.handlers().exec();
    process.exit_signal.store(signal::SIGCHLD, Ordering::Relaxed);
    process.executed.store(true, Ordering::Relaxed);
    process.dumpable.store(true, Ordering::Relaxed);
    let name = ready.path.rsplit('/').next().unwrap_or("");
    task::current().set_name(name.as_bytes());
    let frame = first_frame(process, &ready);
    let mut arguments = Vec::new();
    for one in &passed.arguments {
        arguments.extend_from_slice(one);
        arguments.push(0);
    }
    process.set_program(Program { path: ready.path, arguments, auxiliary: ready.auxiliary });
    Ok(frame)
}

/// Gives the process copies of its descriptors and handlers, which exec changes, if other processes
/// share them (CLONE_FILES, CLONE_SIGHAND without CLONE_THREAD). [`prepare`] checked the memory.
fn unshare(process: &Process) {
    // SAFETY: this is the only thread that the current process has left, and it uses no
    // descriptor meanwhile.
    unsafe { process.files.unshare() };
    let copy = Arc::new(process.handlers().copy());
    let shared = core::mem::replace(&mut *process.handlers.lock(), copy);
    drop(shared);
}

/// Most bytes of heap for copies of descriptors and handlers.
const UNSHARE_BYTES: usize = 64 << 10;

/// Builds the address space.
fn prepare(place: &Place, path: &str, passed: &Arguments) -> Result<Ready, Reason> {
    let (inode, absolute) = place.find(path, true)?;
    let Kind::Regular(file) = &inode.kind else { return Err(Reason::Errno(Errno::EACCES)) };
    if inode.stat().mode & 0o111 == 0 {
        return Err(Reason::Errno(Errno::EACCES));
    }
    heap::check_room(UNSHARE_BYTES)?;
    let text = Text::of(&inode)?;
    let mm = mm::create()?;
    mm::set_text(mm, text);
    match fill(mm, file, path, passed) {
        Ok((program, stack, auxiliary)) => Ok(Ready { mm, program, stack, auxiliary, path: absolute }),
        Err(reason) => {
            lazy_tlb().mmput(mm);
            Err(reason)
        }
    }
}

fn fill(
    mm: MmId,
    file: &Arc<Object>,
    path: &str,
    passed: &Arguments,
) -> Result<(Loaded, u64, AuxiliaryVector), Reason> {
    let program = load::load(mm, file)?;
    let (stack, auxiliary) = stack::build(mm, &program, path, passed)?;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    let backing = Backing::of(mm, trampoline(), 0, false)?;
    mm::mmap(mm, TRAMPOLINE, PAGE_SIZE, Prot::READ | Prot::EXEC, flags, backing)?;
    Ok((program, stack, auxiliary))
}

/// The page that signal handlers return to.
fn trampoline() -> Arc<Object> {
    static OBJECT: crate::sync::SpinLock<Option<Arc<Object>>> =
        crate::sync::SpinLock::new("trampoline", None);
    let make = || Arc::new(Object::of_bytes(&signal::TRAMPOLINE_PAGE));
    OBJECT.lock().get_or_insert_with(make).clone()
}

/// The registers of a program that starts.
fn first_frame(process: &Process, ready: &Ready) -> TrapFrame {
    let program = &ready.program;
    let mut frame = TrapFrame::new_user(program.entry, ready.stack);
    process.set_elf_v2(program.toc.is_none());
    match program.toc {
        Some(toc) => frame.set_gpr(2, toc),
        // An ELFv2 function finds its TOC by its own address.
        None => frame.set_gpr(12, program.entry),
    }
    current_thread().set_vector(None, &mut frame);
    Ungated::fresh().load();
    frame
}
