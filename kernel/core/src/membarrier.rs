//! membarrier(2): one thread pays for the barriers of all.
//!
//! The caller makes every other CPU that runs a thread concerned execute a full barrier,
//! by a waited cross-call. A CPU that runs no such thread is left alone: it has issued a
//! full barrier since it ran one, and issues one before it runs one again. Every site
//! that changes `curr_mm` owes that:
//!
//! ```text
//! leaving a user mm:   user accesses; full barrier (d); curr_mm = another or none
//! entering a user mm:  curr_mm = mm; full barrier (e); user accesses
//! here:                full barrier (a); read each curr_mm; IPIs; full barrier (c)
//! ```
//!
//! If the old `curr_mm` is read, (a) and (e) order the accesses: F3. If the new one is
//! read, (d) and (c) do: F4. The letters are those of the scenarios in Linux's
//! `membarrier.c`.
//!
//! Linux keeps a copy of the mm's state for each run queue, since it cannot follow
//! another CPU's `mm`. Here `curr_mm` is the name of a slot that is never freed, so the
//! state is read where it is, and there is no copy to be kept in step. The slot may have
//! been reused meanwhile. Then the CPU has left the mm that we read, and (d) and (c) make
//! either answer harmless.
//!
//! `MEMBARRIER_CMD_FLAG_CPU` belongs to the RSEQ command alone, which this kernel does
//! not have.

use crate::LazyTlb;
use crate::event::Event;
use crate::ipi::Call;
use crate::machine::{Machine, PreemptOff};
use crate::mm::{Mm, MmId};
use crate::sync::{AtomicU32, Ordering, fence};

/// The commands, with Linux's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Command {
    /// Which commands there are, as the sum of their values.
    Query = 0,
    /// All threads of the system, registered or not.
    Global = 1 << 0,
    /// All threads of the processes that have registered for it.
    GlobalExpedited = 1 << 1,
    /// Lets the process take part in `GlobalExpedited`.
    RegisterGlobalExpedited = 1 << 2,
    /// The threads that share the caller's mm.
    PrivateExpedited = 1 << 3,
    /// Needed before `PrivateExpedited`.
    RegisterPrivateExpedited = 1 << 4,
    /// `PrivateExpedited`, and the threads fetch their next instructions anew.
    PrivateExpeditedSyncCore = 1 << 5,
    /// Needed before `PrivateExpeditedSyncCore`.
    RegisterPrivateExpeditedSyncCore = 1 << 6,
    /// Which registrations the process has, as the sum of their values.
    GetRegistrations = 1 << 9,
}

impl Command {
    /// Every command but the query.
    pub const ALL: [Command; 8] = [
        Command::Global,
        Command::GlobalExpedited,
        Command::RegisterGlobalExpedited,
        Command::PrivateExpedited,
        Command::RegisterPrivateExpedited,
        Command::PrivateExpeditedSyncCore,
        Command::RegisterPrivateExpeditedSyncCore,
        Command::GetRegistrations,
    ];

    /// What the query answers.
    pub const SUPPORTED: u32 = {
        let (mut sum, mut i) = (0, 0);
        while i < Self::ALL.len() {
            sum |= Self::ALL[i] as u32;
            i += 1;
        }
        sum
    };

    /// The command of a system call. None if there is no such command, or if a flag is
    /// set: no command here takes one.
    pub fn from_call(command: u32, flags: u32) -> Option<Command> {
        if flags != 0 {
            return None;
        }
        if command == Command::Query as u32 {
            return Some(Command::Query);
        }
        Self::ALL.into_iter().find(|&known| known as u32 == command)
    }
}

/// The process has not registered for the command (EPERM).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotRegistered;

/// What a process has registered for, as values of the register commands: those
/// announced, and above them those ready.
///
/// A registration is first *announced*. It is *ready* when every CPU must have seen the
/// announcement: until then a CPU may be on its way to the mm without a barrier.
#[derive(Default)]
pub(crate) struct Registrations(AtomicU32);

impl Registrations {
    /// How far above the announced bits the ready ones are.
    const READY: u32 = 16;

    /// Whether CPUs that enter the mm owe it a full barrier.
    pub(crate) fn any(&self) -> bool {
        // Relaxed: `register` calls every CPU before a thread relies on the announcement.
        // Interrupts are off here, so that call comes before this switch or after it.
        self.0.load(Ordering::Relaxed) != 0
    }

    fn is_announced(&self, registration: Command) -> bool {
        self.announced() & registration as u32 != 0
    }

    fn announce(&self, registration: Command) {
        // As in Linux, the core-serialising registration includes the plain one, and both
        // are shown.
        let implied = match registration {
            Command::RegisterPrivateExpeditedSyncCore => Command::RegisterPrivateExpedited as u32,
            _ => 0,
        };
        self.0.fetch_or(registration as u32 | implied, Ordering::Relaxed);
    }

    /// What `GetRegistrations` answers: as in Linux, what is announced.
    fn announced(&self) -> u32 {
        self.0.load(Ordering::Relaxed) & ((1 << Self::READY) - 1)
    }

    fn set_ready(&self, registration: Command) {
        // F15 release: orders the call of every CPU before "ready". Partners: `ready`,
        // `membarrier_fork`. No model fails without it (CLAIMS.md, "Fences").
        self.0.fetch_or((registration as u32) << Self::READY, Ordering::Release);
    }

    fn ready(&self) -> u32 {
        // F15 acquire: orders "ready", perhaps another thread's, before what counts on it.
        // Partner: `set_ready`.
        self.0.load(Ordering::Acquire) >> Self::READY
    }

    /// A new mm has no registrations, that of an exec included.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Whether no other thread has accesses to `mm` that need a barrier. The caller has
/// issued a fence: a kernel thread whose unit we do not see sees what came before
/// that fence (partner: the fence in `settle_entered`).
fn has_one_user(mm: &Mm) -> bool {
    // F7 stands for (c) where a thread's unit is gone.
    mm.observe_users() == 1
}

impl<M: Machine> LazyTlb<M> {
    /// The system call, by a task that owns an mm. Interrupts and preemption on.
    ///
    /// # Errors
    /// A private command without its registration.
    pub fn membarrier(&self, command: Command) -> Result<u32, NotRegistered> {
        self.machine.with_preempt_off(|t| {
            let mm = self.machine.current(t).mm();
            self.event(t, Event::Membarrier { mm, command });
            match command {
                Command::Query => return Ok(Command::SUPPORTED),
                Command::GetRegistrations => return Ok(self.mm(mm).membarrier().announced()),
                Command::RegisterGlobalExpedited
                | Command::RegisterPrivateExpedited
                | Command::RegisterPrivateExpeditedSyncCore => self.register(t, mm, command),
                Command::Global => self.barrier_on(t, None, |_| true),
                Command::GlobalExpedited => self.barrier_on(t, None, |mm| self.takes_part_in_global(mm)),
                Command::PrivateExpedited => {
                    self.private_barrier(t, mm, Command::RegisterPrivateExpedited)?;
                }
                // To return from the interrupt, and from this call, serialises a core
                // (rfid, Power ISA 3.0B, Book III, 4.3.1), as does every other
                // way to user mode: nothing is left to do beyond the barriers.
                Command::PrivateExpeditedSyncCore => {
                    self.private_barrier(t, mm, Command::RegisterPrivateExpeditedSyncCore)?;
                }
            }
            Ok(0)
        })
    }

    /// `child` is a fork of `parent`, and inherits its registrations. Called before the
    /// child runs, by a user of both.
    pub fn membarrier_fork(&self, parent: MmId, child: MmId) {
        // A registration that is being made meanwhile is announced and not ready: the
        // child has to make it again. No CPU has run the child yet, so none has read an
        // older state of it. F15 acquire: orders "ready" before what the child counts on.
        // Partner: `set_ready`.
        let state = self.mm(parent).membarrier().0.load(Ordering::Acquire);
        self.mm(child).membarrier().0.store(state, Ordering::Relaxed);
    }

    fn private_barrier(&self, t: &PreemptOff, mm: MmId, needed: Command) -> Result<(), NotRegistered> {
        let state = self.mm(mm);
        if state.membarrier().ready() & needed as u32 == 0 {
            return Err(NotRegistered);
        }
        self.barrier_on(t, Some(state), |curr_mm| curr_mm == mm);
        Ok(())
    }

    fn takes_part_in_global(&self, mm: MmId) -> bool {
        mm.is_some() && self.slot_of(mm).membarrier().is_announced(Command::RegisterGlobalExpedited)
    }

    /// A full barrier on this CPU, and on each other CPU whose `curr_mm` is concerned. If
    /// the mm of a `private` barrier has no other user, no other CPU is concerned.
    fn barrier_on(&self, t: &PreemptOff, private: Option<&Mm>, concerned: impl Fn(MmId) -> bool) {
        // F3 fence (a): orders the caller's accesses before the reads of each `curr_mm`.
        // Partners: `switch_mm`, `take_ended`, `settle_entered`. F6 fence: orders the
        // caller's accesses before the reads of the registrations. Partner: `register`.
        fence(Ordering::SeqCst);
        if private.is_some_and(has_one_user) {
            return;
        }
        let concerned = |cpu| cpu != t.cpu() && concerned(self.cpu(cpu).curr_mm.peek());
        self.call_on_those(t, concerned, Call::Barrier);
        // F4 fence (c): orders the reads of each `curr_mm` before the caller's accesses.
        // Partners: `prepare_switch`, `give_up_mm`, `exec_mmap`.
        fence(Ordering::SeqCst);
    }

    fn register(&self, t: &PreemptOff, mm: MmId, registration: Command) {
        let state = self.mm(mm).membarrier();
        if state.ready() & registration as u32 != 0 {
            return;
        }
        state.announce(registration);
        // F6 fence: orders the announcement before our later accesses. Partner: `barrier_on`.
        fence(Ordering::SeqCst);
        if !has_one_user(self.mm(mm)) {
            // A switch to `mm` that read the old state is over when its CPU takes the
            // call, since interrupts are off during a switch. The call is then its
            // barrier (e). So all CPUs are called, not only those that are seen to run
            // `mm`. Linux waits for an RCU grace period instead.
            self.call_on_mask(t, &self.online().without(t.cpu()), Call::Barrier);
        }
        state.set_ready(registration);
    }
}
