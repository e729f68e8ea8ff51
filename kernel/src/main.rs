//! The lazy-TLB kernel: a small SMP kernel about the cost and the safety of `active_mm`. The
//! protocol itself is the crate `kcore` (`kernel/core`); this crate is the kernel around it.
#![no_std]
#![no_main]

extern crate alloc;

mod clock;
mod config;
mod console;
mod crash;
mod debug;
mod fs;
mod hardware;
mod limits;
mod machine;
mod memory;
mod mm;
mod monitor;
mod oracle;
mod process;
mod report;
#[cfg(feature = "selftest")]
mod selftest;
mod shutdown;
mod special;
mod symbols;
mod sync;
mod syscall;
mod task;
mod trace;
mod upcalls;

use arch::boot::BootInfo;
use arch::encoding::platform_support::Broadcast;
use arch::{exceptions, irq, rtas, tlb};

use config::Config;
use files::errno;

/// The boot CPU comes here in real mode, alone, interrupts off. The order below is
/// the order of dependence.
#[unsafe(no_mangle)]
fn kmain(info: &'static BootInfo) -> ! {
    // SAFETY: the boot CPU is alone and has no vectors yet.
    unsafe { exceptions::install(&upcalls::KernelUpcalls) };
    exceptions::install_vectors();
    tlb::init(info.pvr, info.broadcast);
    memory::init(info);
    irq::init(&info.interrupts, &mut memory::ForInterrupts);
    let mut config = Config::parse(info.bootargs).unwrap_or_else(|why| stop(&why));
    let cpus = usable_cpus(info);
    config.choose_flush(info.broadcast != Broadcast::Nothing, cpus.len());
    #[cfg(feature = "selftest")]
    selftest::crashes::early(config.crash.as_deref());
    machine::init(config.core, cpus.len(), config.pids);
    trace::init(config.trace);
    mm::init_address_spaces(machine::NR_MMS);
    oracle::init(kcore::mm::MmId::slots_for(machine::NR_MMS), memory::frame::end());
    task::init(cpus);
    debug::init();
    // SAFETY: the boot has interrupts off, and no token is left.
    arch::irqflags::enable(unsafe { arch::irqflags::already_off() });
    let online = task::start_secondaries();
    banner(info, &config, online);
    process::seed_random(info.rng_seed);
    fs::init(info.initrd);
    special::init();
    start(config);
    task::idle_for_ever()
}

/// The CPUs that the kernel has room for.
fn usable_cpus(info: &'static BootInfo) -> &'static [u32] {
    let (all, room) = (info.cpus, kcore::cpu::MAX_CPUS);
    if all.len() > room {
        println!("smp: {} CPUs, of which {room} are used: there is no room for more", all.len());
    }
    &all[..all.len().min(room)]
}

/// Prints the machine and the policy: CPUs, memory, MMU, interrupt controller.
fn banner(info: &BootInfo, config: &Config, online: usize) {
    let mib: u64 = info.memory.iter().map(|region| region.size >> 20).sum();
    let how = if config.core.global_by_ipi { "IPI + tlbiel" } else { info.broadcast.name() };
    println!(
        "lazy-tlb: {online} CPU{} (PVR {:#x}), {mib} MiB, radix MMU, {}, policy {}, broadcast flush by {how}",
        if online == 1 { "" } else { "s" },
        info.pvr,
        info.interrupts.kind().name(),
        config.core.policy.name(),
    );
}

/// Starts the tests, a soak, the monitor, or the first process.
fn start(config: Config) {
    shutdown::set_report(config.report);
    report::set_all(config.report_all);
    #[cfg(feature = "selftest")]
    if let Some(kind) = config.crash.clone() {
        return selftest::crashes::start(&kind, config);
    }
    #[cfg(feature = "selftest")]
    if config.runs_tests() {
        return selftest::start(config);
    }
    #[cfg(feature = "selftest")]
    if config.soak.seconds > 0 {
        return selftest::soak::start(config.soak);
    }
    if config.monitor {
        return monitor::start(config);
    }
    process::start_init(config.init, config.init_args, config.init_env);
}

/// The machine cannot be used as it was started: one line, status 1.
fn stop(why: &str) -> ! {
    println!("{why}");
    rtas::os_term(why)
}
