//! Address spaces: the mappings of programs, their begin and their end.
//!
//! | file | its idea |
//! |---|---|
//! | [`object`], [`backing`], [`mapping`] | a mapping's contents, and a file's mappings |
//! | [`address_space`], [`page_tables`] | the machine's part of an mm; its page tables |
//! | [`mod@mmap`], [`mod@mprotect`], [`unmap`], [`mod@mremap`], [`mod@detach`] | the requests of programs |
//! | [`size_limit`] | the limit on their size |
//! | [`advice`], [`mod@mincore`] | advice, and a question about memory |
//! | [`access`] | stores and looks from outside |
//! | [`fault`], [`mod@fork`], [`grow`], [`present`] | made on demand, copied on write; mapped at the start |
//! | [`gather`] | flush before free |
//! | [`user_memory`] | reads and writes of system calls |
//!
//! Locks, outermost first: an inode's `writing` (of [`fs`](crate::fs)), `mmap_lock` (parent
//! before child), an object's pages (all three sleep), its list of mappers, and those
//! of [`memory`](crate::memory). Only the first two are ever held over a cross-call. A fault may go
//! in at a leaf table's gate with no lock held, and takes only the frames' locks inside; a change
//! waits for it with the `mmap_lock` held.

mod access;
mod address_space;
mod advice;
mod backing;
mod detach;
mod fault;
mod fork;
mod gather;
mod grow;
mod mapping;
mod mincore;
mod mmap;
mod mprotect;
mod mremap;
mod object;
mod page_tables;
mod present;
mod size_limit;
mod unmap;
pub(crate) mod user_memory;

pub(crate) use access::{poke, poke_writable, shared_key, zero};
pub(crate) use address_space::{
    Layout, create, disconnect, free_mm, free_user_memory, init as init_address_spaces, layout, leave,
    set_text,
};
pub(crate) use advice::{Advice, madvise, mlock, mlockall, msync, munlock};
pub(crate) use backing::Backing;
pub(crate) use detach::detach;
pub(crate) use fault::{Access, FaultError, fault_nearby, handle_fault};
pub(crate) use fork::fork;
pub(crate) use mincore::mincore;
pub(crate) use mmap::{LOWEST, MMAP_TOP, MapFlags, STACK_MAX, STACK_TOP, brk, mmap, set_brk_start};
pub(crate) use mprotect::{Reach, mprotect};
pub(crate) use mremap::{RemapFlags, mremap};
pub(crate) use object::Object;
pub(crate) use present::map_present;
pub(crate) use unmap::munmap;
pub(crate) use vm::area::Prot;
