//! The second seam: what the protocol asks of a policy.
//!
//! A policy is two things: a file beside this one, whose empty enum implements
//! `Operations`; and a line in the list [`policies!`](crate::policies), of which all other
//! lists are made. `ask` is the one place that tells the policies apart. One image holds
//! all policies, and an option of the boot chooses one. A question costs a comparison or
//! two, and nothing where every policy has the default answer.
//!
//! A policy keeps its state in words that it alone reads and writes, two per CPU
//! ([`CpuState::policy_words`]) and one per address space ([`Mm::policy_word`]), and names them
//! in its file.
//!
//! [`CpuState::policy_words`]: crate::cpu::CpuState::policy_words
//! [`Mm::policy_word`]: crate::mm::Mm::policy_word

use crate::LazyTlb;
use crate::cpu::CpuSet;
use crate::machine::{IrqsOff, Machine, PreemptOff};
use crate::mm::MmId;
use crate::mm::flush::FlushRange;

/// The list of policies. `policies!(then …)` is `then! { … }` with a line for each policy:
/// what it does, its name and its type. The name is that of its file, its word on the
/// command line, and that of its tests. The scripts read this list, too.
#[macro_export]
macro_rules! policies {
    ($then:ident $($given:tt)*) => {
        $then! {
            $($given)*
            /// Never borrow: a kernel thread runs on `init_mm`.
            eager Eager,
            /// Count every borrow in `mm_count` (Linux before 6.4).
            refcount Refcount,
            /// Count nothing; shoot the borrowers when the mm dies (Linux 6.4, powerpc).
            shootdown Shootdown,
            /// Publish every borrow per CPU; when the mm dies, shoot the CPUs that have published
            /// it.
            hazard Hazard,
            /// Count nothing; the last user's exit evicts the borrowers, so a zombie has none.
            evict Evict,
            /// As shootdown; besides, a flush spares the CPUs that are lazy, and they make up for
            /// it when they come back (x86).
            generation Generation,
            /// Count nothing, and name nothing in tasks; ask the CPUs what they have loaded.
            loaded Loaded,
            /// Count nothing, ask nobody; an mm is freed when every CPU has let it go (as with RCU).
            quiescent Quiescent,
        }
    };
}

macro_rules! make {
    ($($(#[$doc:meta])+ $name:ident $variant:ident,)+) => {
        /// How a borrowed address space is kept alive, or its borrowers are sent away.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Policy { $($(#[$doc])+ $variant,)+ }

        impl Policy {
            /// Every policy, for the command line and tests.
            pub const ALL: [Policy; [$(Policy::$variant),+].len()] = [$(Policy::$variant),+];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Policy::$variant => stringify!($name),)+ }
            }

            /// The policy with this name.
            pub fn from_name(name: &str) -> Option<Policy> {
                Self::ALL.into_iter().find(|policy| policy.name() == name)
            }
        }
    };
}
policies!(make);

/// `ask!(lazy, operation(arguments))`: what the policy in force answers. The only
/// `match` that chooses between policies; each arm is a call that can be inlined.
macro_rules! ask {
    (@each $lazy:expr, $operation:ident $arguments:tt $($(#[$doc:meta])+ $name:ident $variant:ident,)+) => {{
        use $crate::lazy_tlb::{self, policy::{Operations, Policy}};
        match $lazy.config.policy {
            $(Policy::$variant => lazy_tlb::$name::$variant::$operation $arguments,)+
        }
    }};
    ($lazy:expr, $operation:ident($($argument:expr),*)) => {
        $crate::policies!(ask @each $lazy, $operation($lazy, $($argument),*))
    };
}
pub(crate) use ask;

/// What a task without an address space of its own does with the one that is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    /// It stays there, and borrows.
    Borrow,
    /// It leaves for `init_mm`.
    LoadInitMm,
}

/// When an mm without references is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Free {
    /// At once: no CPU has it loaded.
    Now,
    /// When the policy calls `LazyTlb::free`. It does so once no CPU has the mm loaded,
    /// from an operation that runs with interrupts on.
    Later,
}

/// The questions to a policy. Each has a default answer. To `mm_begins`, `arrived`
/// and `quiescent` no policy here has another one: they are the places for policies that
/// do more (docs/decisions/policies-are-asked.md).
///
/// A policy carries no barrier that a switch owes. The switch has those itself, so no
/// policy can forget one. A policy has the barriers of its own words.
pub(crate) trait Operations {
    /// This CPU is about to borrow `mm`. Either `mm` is a user's and is loaded: the real
    /// reference behind the borrow goes only after this call. Or `mm` is `init_mm`, which
    /// [`LazyTlb::leave_lazy`] is about to load, whatever the answer.
    fn begin<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff, _mm: MmId) -> Begin {
        Begin::Borrow
    }

    /// This CPU's borrow has ended: the next address space is loaded. Interrupts are
    /// off since before that load.
    #[inline(always)]
    fn ended<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff) {}

    /// Whether anything is kept for the borrow of `mm` that has ended, for `settle` to give back.
    #[inline(always)]
    fn keeps_borrows<M: Machine>(_: &LazyTlb<M>, _mm: MmId) -> bool {
        false
    }

    /// Gives back what was kept for a borrow of `mm` that has ended. It may free the mm
    /// if interrupts are on. They are off where the caller knows of another reference.
    #[inline(always)]
    fn settle<M: Machine>(_: &LazyTlb<M>, _mm: MmId) {}

    /// Whether a task names what is loaded while it runs ([`TaskMm::active_mm`]). If not,
    /// only the CPU does.
    ///
    /// [`TaskMm::active_mm`]: crate::task::TaskMm::active_mm
    #[inline(always)]
    fn task_has_active_mm<M: Machine>(_: &LazyTlb<M>) -> bool {
        true
    }

    /// This CPU joins the protocol, and its idle task borrows `init_mm` from now on.
    #[inline(always)]
    fn cpu_comes<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff) {}

    /// This CPU has left the protocol, and `init_mm`.
    #[inline(always)]
    fn cpu_goes<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff) {}

    /// `mm` is new. The policy's word for it ([`Mm::policy_word`]) is as the last mm in its
    /// slot left it.
    ///
    /// [`Mm::policy_word`]: crate::mm::Mm::policy_word
    #[inline(always)]
    fn mm_begins<M: Machine>(_: &LazyTlb<M>, _: &PreemptOff, _mm: MmId) {}

    /// `told` holds the CPUs that are to drop `what` of `mm` now. The policy takes out
    /// those that may do it later: each of these owes the flush, and makes up for it in
    /// `ended` or `arrived`, and so before it accesses user memory. The flusher's full barrier
    /// comes before this call, and this CPU is never taken out.
    #[inline(always)]
    fn spare<M: Machine>(_: &LazyTlb<M>, _: &PreemptOff, _mm: MmId, _what: FlushRange, _told: &mut CpuSet) {}

    /// Whether [`Operations::spare`] may take CPUs out.
    #[inline(always)]
    fn spares_lazies<M: Machine>(_: &LazyTlb<M>) -> bool {
        false
    }

    /// This CPU is on `mm`, which was loaded here before (`stayed`) or has just been
    /// loaded. It makes the flushes that it owes, before it accesses user memory.
    #[inline(always)]
    fn arrived<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff, _mm: MmId, _stayed: bool) {}

    /// Which CPUs are sent away from `mm` before the final flush of its exit. This CPU may be
    /// among them.
    #[inline(always)]
    fn evicted_at_exit<M: Machine>(_: &LazyTlb<M>, _: &PreemptOff, _mm: MmId) -> CpuSet {
        CpuSet::EMPTY
    }

    /// Whether a kernel thread's use of an mm holds a unit of `mm_users`, not of `mm_count`.
    #[inline(always)]
    fn use_is_user<M: Machine>(_: &LazyTlb<M>) -> bool {
        false
    }

    /// Whether an idle CPU leaves what it has borrowed for long.
    #[inline(always)]
    fn lets_idle_go<M: Machine>(_: &LazyTlb<M>) -> bool {
        false
    }

    /// PIDs or memory run short: frees what waits to be freed, if CPUs that are asked let it go.
    /// Returns whether anything was freed. Interrupts and preemption on.
    fn free_waiting<M: Machine>(_: &LazyTlb<M>) -> bool {
        false
    }

    /// This CPU is in the second half of a switch, in `finish_switch`. If the switch has
    /// loaded another mm, this CPU does not use the old one any more.
    #[inline(always)]
    fn quiescent<M: Machine>(_: &LazyTlb<M>, _: &IrqsOff) {}

    /// The last reference to `mm` is gone, so no borrow of it can begin any more: a
    /// borrow begins before a real reference goes. CPUs may still be lazy on it. With
    /// [`Free::Now`] no CPU has it loaded on return. Interrupts on, preemption off.
    #[inline(always)]
    fn last_drop<M: Machine>(_: &LazyTlb<M>, _: &PreemptOff, _mm: MmId) -> Free {
        Free::Now
    }
}
