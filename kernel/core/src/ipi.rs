//! Cross-calls: make other CPUs run something now, and wait until they have.
//!
//! There is one mailbox per target and one call record per initiator. The initiator fills
//! its record, posts its own bit in each target's mailbox and interrupts the target. The
//! target takes the bits out, runs each record and clears its own bit in the record's
//! `waiting`. Nothing is locked or allocated. A record can be reused when `waiting` is
//! empty.
//!
//! * Two initiators that call each other do not deadlock: each waits with interrupts on,
//!   which `call_on_mask` asserts, and serves the other meanwhile.
//! * Nesting: a handler runs with interrupts off, so it cannot call. An
//!   initiator stays on its CPU (preemption off), so its record has one user.
//! * No lock that is ever taken with interrupts off may be held over a call.
//! * A CPU may go offline under a sender: see [`crate::hotplug`].
//! * A CPU that does not answer is reported after 10 s and is fatal after 60 s.

use core::mem::offset_of;

use trace_format::Operation;

use crate::LazyTlb;
use crate::cpu::{CpuId, CpuMask, CpuSet, CpuState};
use crate::cpuset::WordOfCpus;
use crate::event::{Cause, Event, Why};
use crate::machine::{IrqsOff, Machine, Point, PreemptOff};
use crate::mm::MmId;
use crate::mm::flush::FlushRange;
use crate::sync::{AtomicU64, Ordering, fence};

/// A silent CPU is reported each time this many milliseconds have passed.
pub const REPORT_AFTER_MS: u64 = 10_000;
/// A silent CPU is fatal after this many milliseconds, unless the machine has another
/// limit.
pub const PANIC_AFTER_MS: u64 = 60_000;
/// How many turns of a wait pass between two looks at the clock.
const TURNS_PER_CLOCK_READ: u64 = 1024;

/// What a cross-call asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Leave this mm if you borrow it: its last reference is gone.
    Shoot(MmId),
    /// Leave this mm if you borrow it: it waits for you, and PIDs run short.
    LetGo(MmId),
    /// Panic if you have this mm: it was just cleaned up.
    AssertNotLazy(MmId),
    /// Leave this mm if you borrow it, and flush it: `evict_here`.
    Evict(MmId, Cause),
    /// Flush this mm.
    Flush(MmId, FlushRange),
    /// A full barrier.
    Barrier,
    /// A call of the machine's own.
    Machine(u64, u64),
}

/// What one CPU asks of others at a time.
#[derive(Default)]
#[repr(C, align(128))]
pub struct CallRecord {
    /// The call, encoded: operation, then three operands.
    words: [AtomicU64; 4],
    /// The CPUs that have not run it yet.
    waiting: CpuMask,
}

/// Where debuggers find the fields of a [`CallRecord`].
pub struct CallLayout {
    /// Operation, mm, two operands.
    pub words: usize,
    /// A [`CpuMask`].
    pub waiting: usize,
}

/// What a call asks for, as in its record: what events tell of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asks {
    /// The number of an [`Operation`].
    pub op: u8,
    /// About which mm, or none.
    pub mm: MmId,
}

impl Asks {
    #[inline(always)]
    fn encoded([op, mm, ..]: [u64; 4]) -> Asks {
        Asks { op: op as u8, mm: MmId::from_bits(mm) }
    }
}

impl Call {
    /// What it asks for.
    #[inline(always)]
    pub fn asks(self) -> Asks {
        Asks::encoded(self.encode())
    }

    #[inline(always)]
    fn encode(self) -> [u64; 4] {
        let (operation, mm, a, b) = match self {
            Call::Barrier => (Operation::Barrier, MmId::NONE, 0, 0),
            Call::Shoot(mm) => (Operation::Shoot, mm, 0, 0),
            Call::LetGo(mm) => (Operation::LetGo, mm, 0, 0),
            Call::Evict(mm, Cause::Exit) => (Operation::Evict, mm, 0, 0),
            Call::Evict(mm, Cause::Trim) => (Operation::EvictTrim, mm, 0, 0),
            Call::Flush(mm, FlushRange::Pages { start, pages }) => {
                (Operation::FlushPages, mm, start, pages.into())
            }
            Call::Flush(mm, FlushRange::Translations) => (Operation::FlushTranslations, mm, 0, 0),
            Call::Flush(mm, FlushRange::Everything) => (Operation::FlushEverything, mm, 0, 0),
            Call::Machine(a, b) => (Operation::Machine, MmId::NONE, a, b),
            Call::AssertNotLazy(mm) => (Operation::AssertNotLazy, mm, 0, 0),
        };
        [operation as u64, mm.to_bits(), a, b]
    }

    fn decode([op, mm, a, b]: [u64; 4]) -> Call {
        let mm = MmId::from_bits(mm);
        let Some(operation) = Operation::of(op) else { panic!("a call record holds operation {op}") };
        match operation {
            Operation::Barrier => Call::Barrier,
            Operation::Shoot => Call::Shoot(mm),
            Operation::LetGo => Call::LetGo(mm),
            Operation::Evict => Call::Evict(mm, Cause::Exit),
            Operation::EvictTrim => Call::Evict(mm, Cause::Trim),
            Operation::FlushPages => Call::Flush(mm, FlushRange::Pages { start: a, pages: b as u32 }),
            Operation::FlushTranslations => Call::Flush(mm, FlushRange::Translations),
            Operation::FlushEverything => Call::Flush(mm, FlushRange::Everything),
            Operation::Machine => Call::Machine(a, b),
            Operation::AssertNotLazy => Call::AssertNotLazy(mm),
        }
    }
}

impl CallRecord {
    /// Where debuggers find the fields.
    pub const LAYOUT: CallLayout =
        CallLayout { words: offset_of!(CallRecord, words), waiting: offset_of!(CallRecord, waiting) };

    fn write(&self, call: Call) {
        for (word, value) in self.words.iter().zip(call.encode()) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Posts `call` to `target` alone, like a sender that has not waited yet.
    #[cfg(any(loom, test, feature = "model"))]
    pub fn post(&self, call: Call, target: CpuId) {
        self.write(call);
        self.waiting.set(target);
    }

    fn is_barrier(&self) -> bool {
        self.words[0].load(Ordering::Relaxed) == Operation::Barrier as u64
    }

    fn read(&self) -> (Call, Asks) {
        let words = core::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        (Call::decode(words), Asks::encoded(words))
    }
}

impl<M: Machine> LazyTlb<M> {
    /// Runs `call` on each of `targets` and waits until all have run it: what they did
    /// happens before the return. All were online when the caller looked, and this CPU is
    /// not among them. Interrupts on, preemption off.
    ///
    /// A target that goes offline meanwhile may run the call or not. If not, it has left
    /// every mm and flushed what it held of them, and that happens before the return. So
    /// what the call asks for is done.
    pub fn call_on_mask(&self, t: &PreemptOff, targets: &CpuSet, call: Call) {
        self.cpu(t.cpu()).call.waiting.store(targets, self.nr_cpus());
        self.call_awaited(t, call);
    }

    /// As [`LazyTlb::call_on_mask`], on the CPUs that are online and `concerned`.
    #[inline(always)]
    pub(crate) fn call_on_those(&self, t: &PreemptOff, concerned: impl Fn(CpuId) -> bool, call: Call) {
        self.cpu(t.cpu()).call.waiting.store_those(self.nr_cpus(), &self.online, concerned);
        self.call_awaited(t, call);
    }

    /// As [`LazyTlb::call_on_mask`], on the CPUs that this CPU's record has as `waiting`.
    fn call_awaited(&self, t: &PreemptOff, call: Call) {
        assert!(
            self.machine.irqs_enabled(),
            "{call:?} to other CPUs with interrupts off: they may be waiting for us"
        );
        let (nr_cpus, me) = (self.nr_cpus(), t.cpu());
        let state = self.cpu(me);
        let record = &state.call;
        invariant!(!record.waiting.test(me), "{me} calls itself");
        record.write(call);
        let asks = call.asks();
        let (mut posted, mut ipis) = (false, 0);
        record.waiting.peek_words(nr_cpus, |targets| {
            if !posted {
                self.event_of(state, t, Event::Posted { asks });
            }
            posted = true;
            // F9 release: orders the record before the bit. Partners: `run_calls`, `run_each`. F10
            // orders the bit before the interrupt.
            targets.for_each(|target| self.cpu(target).mailbox.0.publish(me));
            // F19 fence: orders the posts before the look at `online`. Partner: `stop_cpu`.
            fence(Ordering::SeqCst);
            targets.for_each(|target| {
                if self.is_online(target) {
                    self.event_of(state, t, Event::Ipi { to: target, asks });
                    self.machine.send_ipi(t, target);
                    ipis += 1;
                } else if self.cpu(target).mailbox.0.take(me) {
                    record.waiting.clear(target);
                }
            });
        });
        if !posted {
            return;
        }
        self.event_of(state, t, Event::Sent { call, ipis });
        self.machine.point(Point::CallPosted);
        self.wait_for_answers(me, call);
        self.event(t, Event::Answered(asks));
    }

    fn wait_for_answers(&self, me: CpuId, call: Call) {
        let (waiting, nr_cpus) = (&self.cpu(me).call.waiting, self.nr_cpus());
        let (mut turn, mut started_ms, mut next_report_ms) = (0, 0, REPORT_AFTER_MS);
        // F11 acquire: orders the answers before what we free. Partner: `answer`.
        while !waiting.observe_empty(nr_cpus) {
            self.machine.relax(turn);
            self.machine.point(Point::CallWaiting);
            turn += 1;
            if turn % TURNS_PER_CLOCK_READ != 0 {
                continue;
            }
            let now_ms = self.machine.uptime_ms();
            if started_ms == 0 {
                started_ms = now_ms;
            }
            let waited_ms = now_ms - started_ms;
            if waited_ms >= next_report_ms.min(self.machine.call_limit_ms()) {
                self.report_silence(me, call, waited_ms);
                next_report_ms += REPORT_AFTER_MS;
            }
        }
    }

    /// Some CPUs have not answered for `waited_ms`: reports each, or panics at the limit.
    #[cold]
    fn report_silence(&self, me: CpuId, call: Call, waited_ms: u64) {
        let silent = self.cpu(me).call.waiting.peek(self.nr_cpus());
        // None if the last of them has answered just now.
        let Some(first) = silent.iter().next() else { return };
        if waited_ms >= self.machine.call_limit_ms() {
            let progress = self.progress_of(me, first);
            panic!("{me}: {call:?} was not answered by {first} for {waited_ms} ms; {first} {progress}");
        }
        silent.iter().for_each(|cpu| self.machine.report_silent(cpu, waited_ms));
    }

    /// Each CPU that has not answered the call of `by`. For reports: it may be out of date.
    pub fn unanswered(&self, by: CpuId) -> CpuSet {
        self.cpu(by).call.waiting.peek(self.nr_cpus())
    }

    /// How far `target`, which has not answered the call of `by`, has come with that call. A lost
    /// interrupt leaves the post in the mailbox; a lost answer does not. For reports.
    pub fn progress_of(&self, by: CpuId, target: CpuId) -> &'static str {
        match self.cpu(target).mailbox.0.test(by) {
            true => "has not taken it: no interrupt came there, or interrupts are off",
            false => "has taken it and is not at its end",
        }
    }

    /// An IPI arrived: runs every call that waits for this CPU. Called by the interrupt
    /// handler.
    #[inline(always)]
    pub fn interrupted(&self, t: &IrqsOff) {
        let me = self.this_cpu(t);
        self.event_of(me, t, Event::Interrupted);
        self.handle_calls_to(t, me);
    }

    /// Runs every call that waits for this CPU.
    pub fn handle_calls(&self, t: &IrqsOff) {
        self.handle_calls_to(t, self.this_cpu(t));
    }

    /// [`LazyTlb::handle_calls`] for one who has this CPU's state, `me`, at hand.
    #[inline(always)]
    fn handle_calls_to(&self, t: &IrqsOff, me: &CpuState) {
        match me.mailbox.0.first_word(self.nr_cpus()) {
            Some(word) => self.run_calls(t, me, word),
            // A bit that comes after this look comes before an interrupt of its own.
            None => _ = self.event_of(me, t, Event::NotCalled),
        }
    }

    // Not inlined: most interrupts bring no call.
    #[inline(never)]
    fn run_calls(&self, t: &IrqsOff, me: &CpuState, word: usize) {
        // F9 acquire: orders the bit before the read of the record. Partner: `call_awaited`.
        let posted = me.mailbox.0.take_word(word);
        if let Some(by) = posted.lone().filter(|_| self.nr_cpus() <= 64) {
            let record = &self.cpu(by).call;
            if record.is_barrier() {
                return self.answer(t, me, by, record, true);
            }
        }
        self.run_each(t, me, &posted);
    }

    /// Runs the calls of the CPUs of `posted`, and those of the words behind it.
    // Not inlined: a lone barrier, which calls nothing, saves no registers for the others.
    #[inline(never)]
    fn run_each(&self, t: &IrqsOff, me: &CpuState, posted: &WordOfCpus) {
        let run = |by| {
            let record = &self.cpu(by).call;
            self.answer(t, me, by, record, record.is_barrier());
        };
        posted.for_each(run);
        // F9 acquire: orders the bit before the read of the record. Partner: `call_awaited`.
        me.mailbox.0.take_each(self.nr_cpus(), run);
    }

    /// Runs the call of the CPU `by`, whose record is `record`.
    #[inline(always)]
    fn answer(&self, t: &IrqsOff, me: &CpuState, by: CpuId, record: &CallRecord, is_barrier: bool) {
        if cfg!(not(loom)) {
            // No interrupt lands in the middle of a change of mms (T2). The models see
            // what follows if one does.
            self.check_loaded(t, self.machine.current(t));
        }
        if is_barrier {
            self.event_of(me, t, Event::Called { by, call: Call::Barrier, asks: Call::Barrier.asks() });
            // F5 fence: orders a target's accesses before and after the IPI. Partner:
            // `answer` on another target. An interrupt orders no storage, and F9 and
            // F11 order us and the initiator alone.
            fence(Ordering::SeqCst);
        } else {
            self.run_call(t, me, by);
        }
        self.event_of(me, t, Event::Answers { by });
        // F11 release: orders what the handler did before the answer. Partner:
        // `wait_for_answers`. From here on the initiator may reuse the record.
        record.waiting.retract(t.cpu());
    }

    // Not inlined: a barrier saves no registers for it.
    #[inline(never)]
    fn run_call(&self, t: &IrqsOff, me: &CpuState, by: CpuId) {
        let (call, asks) = self.cpu(by).call.read();
        self.event_of(me, t, Event::Called { by, call, asks });
        match call {
            Call::Shoot(mm) => _ = self.shoot_lazy_here(t, mm, Why::Shoot),
            Call::LetGo(mm) => _ = self.shoot_lazy_here(t, mm, Why::LetGo),
            Call::AssertNotLazy(mm) => self.assert_not_lazy_here(t, mm),
            Call::Evict(mm, cause) => self.evict_here(t, mm, cause),
            Call::Flush(mm, what) => self.flush_here(t, mm, what),
            Call::Machine(a, b) => self.machine.machine_call(t, a, b),
            Call::Barrier => {}
        }
    }
}
