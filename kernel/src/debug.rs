//! The facts by which a debugger finds the kernel's state, at one symbol.
//!
//! Generic types have unreadable names and change with the compiler, so a debugger reads memory
//! by this list of facts, each a name and a number. A number is an address, an offset, a size, or
//! a constant's value. No other place tells the layout: `qemu-scripts/gdb` asks by name and knows
//! no order and no offset. Bump [`VERSION`] when a fact changes its meaning, not when one is
//! added or removed.

use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicU64, Ordering};

use arch::encoding::pte::{Pte, PteFlags};
use arch::exceptions::{TrapFrame, trap_text};
use arch::mmu::tree::ROOT_LEVEL;
use arch::percpu::{PerCpu, STACK_SIZE};
use kcore::cpu::CpuState;
use kcore::ipi::CallRecord;
use kcore::lazy_tlb::Policy;
use kcore::mm::{Mm, MmId};
use kcore::task::TaskMm;
use trace_format::Operation;

use crate::machine::lazy_tlb;
use crate::sync::list;
use crate::task::{self, TaskPtr, layout, registry};

const VERSION: u64 = 2;
/// "LZTLBDBG".
const MAGIC: u64 = 0x4c5a_544c_4244_4247;
/// Room for a name and the NUL behind it.
const NAME_BYTES: usize = 24;

/// The list. All numbers are big-endian words of 64 bits.
#[repr(C)]
struct LazyTlbDebug<const N: usize> {
    magic: u64,
    version: u64,
    count: u64,
    facts: [Fact; N],
    /// Part of the list: the number of each policy.
    policies: [Fact; Policy::ALL.len()],
}

/// One fact.
#[repr(C)]
struct Fact {
    /// Padded with NULs.
    name: [u8; NAME_BYTES],
    /// An atomic since [`init`] fills in the addresses, which are 0 until then.
    value: AtomicU64,
}

impl Fact {
    const fn new(prefix: &str, name: &str, value: u64) -> Self {
        let length = prefix.len() + name.len();
        assert!(length < NAME_BYTES, "the name of a fact is too long");
        let mut bytes = [0; NAME_BYTES];
        let (prefix_bytes, name_bytes) = bytes.split_at_mut(prefix.len());
        prefix_bytes.copy_from_slice(prefix.as_bytes());
        name_bytes.split_at_mut(name.len()).0.copy_from_slice(name.as_bytes());
        Fact { name: bytes, value: AtomicU64::new(value) }
    }

    /// `policy_` and the policy's name, and its number.
    const fn of_policies() -> [Fact; Policy::ALL.len()] {
        let mut facts = [const { Fact::new("", "", 0) }; Policy::ALL.len()];
        let mut at = 0;
        while at < facts.len() {
            facts[at] = Fact::new("policy_", Policy::ALL[at].name(), Policy::ALL[at] as u64);
            at += 1;
        }
        facts
    }
}

/// Makes the static from lines `name: value`.
macro_rules! facts {
    ($($name:ident: $value:expr,)+) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        /// Found by name by debuggers.
        #[unsafe(no_mangle)]
        static LAZY_TLB_DEBUG: LazyTlbDebug<{ NAMES.len() }> = LazyTlbDebug {
            magic: MAGIC,
            version: VERSION,
            count: (NAMES.len() + Policy::ALL.len()) as u64,
            facts: [$(Fact::new("", stringify!($name), $value as u64)),+],
            policies: Fact::of_policies(),
        };
    };
}

/// The value of a fact that [`init`] fills in.
const LATER: u64 = 0;

facts! {
    // CPUs of the machine, online or not, and the protocol's state of each: an array of
    // `CpuState`. Address spaces are named by an `MmId` of 64 bits: slot, which is the PID, in
    // the low half, generation in the high half; 0 is none.
    nr_cpus: LATER,
    cpu_states: LATER,
    cpu_state_size: size_of::<CpuState>(),
    cpu_curr_mm: offset_of!(CpuState, curr_mm),
    cpu_active_mm: offset_of!(CpuState, active_mm),
    cpu_prev_mm: offset_of!(CpuState, prev_mm),
    // The call that a CPU makes (operation, mm, two operands, 64 bits each), the CPUs that have not
    // answered it, and the CPUs whose calls the CPU itself has not taken: two masks as the mms
    // have them. Then the operations' names.
    call_words: offset_of!(CpuState, call) + CallRecord::LAYOUT.words,
    call_waiting: offset_of!(CpuState, call) + CallRecord::LAYOUT.waiting,
    cpu_mailbox: offset_of!(CpuState, mailbox),
    operation_barrier: Operation::Barrier,
    operation_shoot: Operation::Shoot,
    operation_let_go: Operation::LetGo,
    operation_evict: Operation::Evict,
    operation_evict_trim: Operation::EvictTrim,
    operation_flush_pages: Operation::FlushPages,
    operation_flush_tlb: Operation::FlushTranslations,
    operation_flush_all: Operation::FlushEverything,
    operation_machine: Operation::Machine,
    operation_assert: Operation::AssertNotLazy,
    // The number of the policy in use. The list ends with the numbers' names.
    policy: LATER,

    // An array of `Mm`, one per slot. Counts and `live` have 32 bits; in the mask CPU n is bit
    // `n % 64` of word `n / 64`.
    mms: LATER,
    nr_mms: LATER,
    mm_size: size_of::<Mm>(),
    mm_id: Mm::LAYOUT.id,
    mm_users: Mm::LAYOUT.mm_users,
    mm_count: Mm::LAYOUT.mm_count,
    mm_live: Mm::LAYOUT.live,
    mm_cpumask: Mm::LAYOUT.mm_cpumask,
    // What users and count hold once an mm is freed, shortly before `live` is 0.
    mm_poison: Mm::LAYOUT.poison,
    init_mm: MmId::INIT_MM.to_bits(),

    // An array of addresses of `PerCpu`, one per CPU. A `PerCpu` has the addresses of the running
    // `Task` and of the scheduler's `Cpu`, which has that of the idle task.
    percpus: LATER,
    percpu_current: PerCpu::CURRENT_OFFSET,
    percpu_local: PerCpu::LOCAL_OFFSET,
    sched_idle: layout::CPU_IDLE,

    // All tasks but the idle ones: an array of lists through the tasks themselves.
    task_lists: LATER,
    nr_task_lists: registry::BUCKETS,
    list_size: list::layout::<TaskPtr>().list_size,
    list_head: list::layout::<TaskPtr>().head,
    node_next: list::layout::<TaskPtr>().next,
    node_value: list::layout::<TaskPtr>().value,
    task_mm: layout::TASK_MM + TaskMm::LAYOUT.mm,
    task_active_mm: layout::TASK_MM + TaskMm::LAYOUT.active_mm,
    // 32 bits each; `on_cpu` is set from before the task runs until a CPU has left its stack.
    task_tid: layout::TASK_TID,
    task_cpu: layout::TASK_CPU,
    task_on_cpu: layout::TASK_ON_CPU,
    task_state: layout::TASK_STATE,
    state_running: layout::STATE_RUNNING,
    state_preparing: layout::STATE_PREPARING,
    state_sleeping: layout::STATE_SLEEPING,
    state_dead: layout::STATE_DEAD,
    // 16 bytes, padded with NULs.
    task_name: layout::TASK_NAME,
    // The stack pointer of a task that does not run.
    task_sp: layout::TASK_SP,

    // Kernel stacks are aligned to twice this size and use the upper half. Where the
    // code returns into trap_text, a trap frame sits above the caller's header.
    stack_size: STACK_SIZE,
    trap_text_start: LATER,
    trap_text_end: LATER,
    frame_header: TrapFrame::LAYOUT.header,
    frame_size: size_of::<TrapFrame>(),
    frame_gpr: TrapFrame::LAYOUT.gpr,
    frame_nip: TrapFrame::LAYOUT.nip,
    frame_msr: TrapFrame::LAYOUT.msr,
    frame_lr: TrapFrame::LAYOUT.lr,
    frame_trap: TrapFrame::LAYOUT.trap,

    // The process table (a physical address) and the entries of the trees it names.
    process_table: LATER,
    root_level: ROOT_LEVEL,
    address_of_page: Pte::LEAF_ADDRESS,
    address_of_table: Pte::TABLE_ADDRESS,
    pte_valid: PteFlags::VALID.bits(),
    pte_leaf: PteFlags::LEAF.bits(),
    pte_referenced: PteFlags::REFERENCED.bits(),
    pte_changed: PteFlags::CHANGED.bits(),
    pte_device: PteFlags::DEVICE.bits(),
    pte_privileged: PteFlags::PRIVILEGED.bits(),
    pte_read: PteFlags::READ.bits(),
    pte_write: PteFlags::WRITE.bits(),
    pte_execute: PteFlags::EXECUTE.bits(),
}

/// Fills in the addresses; once, when the protocol's state and the table of CPUs exist.
pub(crate) fn init() {
    let kernel = lazy_tlb();
    set("nr_cpus", kernel.nr_cpus() as u64);
    set("policy", kernel.config().policy as u64);
    set("cpu_states", kernel.cpus().as_ptr() as u64);
    set("mms", kernel.mms().as_ptr() as u64);
    set("nr_mms", kernel.mms().len() as u64);
    set("task_lists", registry::lists_address() as u64);
    set("trap_text_start", trap_text().start);
    set("trap_text_end", trap_text().end);
    set("process_table", crate::memory::process_table_address().0);
    // Last: to a debugger it is the sign that the other addresses are filled in.
    set("percpus", task::area_addresses().as_ptr() as u64);
}

fn set(name: &str, value: u64) {
    let index = NAMES.iter().position(|&known| known == name).expect("a fact that debuggers are not told");
    LAZY_TLB_DEBUG.facts[index].value.store(value, Ordering::Relaxed);
}
