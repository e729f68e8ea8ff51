//! From the firmware's jump to `kmain`: one pass, on the boot CPU, in real mode.
//!
//! The order is forced. Tokens and console come first, so that everything after
//! them can fail with a line and an exit status. The negotiation rebuilds the
//! firmware's tree, so the copy of that tree follows it. After `quiesce` there is
//! no firmware any more and all memory is the kernel's.

mod carver;
mod info;
mod missing;
mod openfirmware;
mod tree;

use core::arch::global_asm;
use core::fmt::{self, Write as _};

use formats::devicetree::DeviceTree;

pub use info::{BootInfo, MemoryRegion};

use crate::addr::{PAGE_SIZE, PhysAddr, VirtAddr};
use crate::encoding::platform_support::{self, Interrupts, Support};
use crate::percpu::{PerCpu, Stacks};
use crate::reg::Msr;
use crate::{console, exceptions, percpu, rtas, timer};
use carver::Carver;
use missing::{GTSE, Missing, NEGOTIATION};
use openfirmware::{Node, OpenFirmware};

global_asm!(
    include_str!("macros.S"),
    include_str!("entry.S"),
    include_str!("client_call.S"),
    include_str!("secondary.S"),
    boot_percpu = sym BOOT_PERCPU,
    boot_start = sym start,
    secondary_start = sym crate::smp::secondary_start,
    USER_FRAME = const percpu::offset::USER_FRAME,
    // The tests' image has more names.
    KALLSYMS_BYTES = const if cfg!(feature = "checks") { 0xf000 } else { 0x7000 },
    GUARD_PID = const kcore::mm::MmId::INIT_MM.pid().get(),
    MSR_TRANSLATED = const (Msr::IR.bits() | Msr::DR.bits() | Msr::RI.bits()),
);

unsafe extern "Rust" {
    /// The kernel: entered once, on the boot CPU, in real mode, interrupts off.
    fn kmain(info: &'static BootInfo) -> !;
}

unsafe extern "C" {
    /// The image's bounds, from the linker script; page-aligned.
    static __kernel_start: u8;
    static __kernel_end: u8;
    /// The tops of the boot CPU's stacks, from entry.S.
    static boot_stack_end: u8;
    static boot_emergency_stack_end: u8;
    static boot_nmi_stack_end: u8;
}

/// The area of the boot CPU. r13 points to it from the first call into Rust on; it
/// is complete when `kmain` is called.
pub static BOOT_PERCPU: PerCpu = PerCpu::empty();

/// The vectors (two copies, the second at 0x4000), and the firmware's own data
/// while the firmware lives.
const LOW_MEMORY: MemoryRegion = MemoryRegion { base: PhysAddr(0), size: 0x1_0000 };

/// Claimed for the device tree and the boot's tables. A machine of 4096 CPUs uses
/// about 600 KB; the rest is free memory afterwards.
const CLAIM_BYTES: u32 = 2 << 20;
/// How far the search for it moves on after a refusal, in bytes.
const CLAIM_STEP: u32 = 1 << 20;

/// Ends the boot with one line and a failure.
fn fatal(why: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(console::Writer, "boot: {why}");
    rtas::os_term("boot failed")
}

/// Called by entry.S, which documents the registers.
extern "C" fn start(initrd: u64, initrd_size: u64, entry: u64) -> ! {
    let info = prepare((initrd, initrd_size), entry);
    // SAFETY: the kernel crate defines it with this type.
    unsafe { kmain(info) }
}

/// All before the kernel. It and its larger parts are not inlined: this stack stays
/// the boot CPU's, and their frames are needed only once.
#[inline(never)]
fn prepare(initrd: (u64, u64), entry: u64) -> &'static BootInfo {
    if entry == 0 {
        // Without firmware there are no tokens either: print a line and stop.
        fatal(format_args!("not started by Open Firmware (r5 is 0)"));
    }
    // SAFETY: entry.S passes on the firmware's r5; nothing has been overwritten.
    let firmware = unsafe { OpenFirmware::new(entry as u32) };
    let rtas_node = firmware.find(c"/rtas");
    if let Some(node) = rtas_node {
        // A failure before the console is found can already end the machine.
        rtas::init(|name| firmware.property_u32(node, name));
    }
    let Some(chosen) = firmware.find(c"/chosen") else { fatal(format_args!("the firmware has no /chosen")) };
    find_console(&firmware, chosen);
    let missing = Missing::read(&firmware, chosen);
    find_services(&firmware, rtas_node, &missing);
    let wanted = missing.value("irq").and_then(Interrupts::from_name);
    let platform = negotiate(&firmware, chosen, &missing, wanted);

    let info = match describe(firmware, initrd, platform) {
        Ok(info) => info,
        Err(why) => fatal(format_args!("{why}")),
    };
    check_grant(info, wanted);
    complete_percpu(info.cpus[0]);
    // Not earlier: the firmware used these registers too.
    exceptions::init_cpu();
    timer::init(info.timebase_hz, info.decrementer_bits);
    info
}

/// Fills in the fields that the static [`BOOT_PERCPU`] could not have at compile time.
fn complete_percpu(server: u32) {
    BOOT_PERCPU.set_server(server);
    // The addresses of symbols, nothing is read.
    BOOT_PERCPU.set_stacks(Stacks {
        kernel_top: &raw const boot_stack_end as u64,
        emergency_top: &raw const boot_emergency_stack_end as u64,
        nmi_top: &raw const boot_nmi_stack_end as u64,
    });
}

/// The terminal that the firmware itself uses.
fn find_console(firmware: &OpenFirmware, chosen: Node) {
    let stdout = firmware.property_u32(chosen, c"stdout").filter(|&instance| instance != 0);
    let node = stdout.and_then(|instance| firmware.instance_node(instance));
    if let Some(unit) = node.and_then(|node| firmware.property_u32(node, c"reg")) {
        // Two cells: the source, and edge or level.
        let mut cells = [0; 8];
        let interrupts = node.and_then(|node| firmware.property(node, c"interrupts", &mut cells));
        let source = interrupts.and_then(<[u8]>::first_chunk).map(|&source| u32::from_be_bytes(source));
        console::set_unit(unit, source);
    }
}

/// Prints which services of RTAS are missing. An operation that needs one fails
/// when it is called. The machine runs without any of them.
fn find_services(firmware: &OpenFirmware, node: Option<Node>, missing: &Missing) {
    rtas::init(|name| {
        let token = firmware.property_u32(node?, name).filter(|_| !missing.has_token(name));
        // A machine without XICS lacks the call that routes its interrupts.
        if token.is_none() && name != rtas::SET_XIVE {
            let _ = writeln!(
                console::Writer,
                "boot: the firmware has no RTAS service {}",
                name.to_string_lossy()
            );
        }
        token
    });
}

/// Asks for radix, GTSE and an interrupt controller. The offer is read first: a platform that cannot
/// do what it is asked for may end the machine without a message that a user
/// understands.
///
/// A firmware that refuses leaves the machine as it is: then the offer is returned,
/// and the boot goes on with it.
#[inline(never)]
fn negotiate(
    firmware: &OpenFirmware,
    chosen: Node,
    missing: &Missing,
    wanted: Option<Interrupts>,
) -> Option<Support> {
    let mut pairs = [0; 32];
    let name = c"ibm,arch-vec-5-platform-support";
    let mut offer = Support::offered(firmware.property(chosen, name, &mut pairs).unwrap_or_default());
    offer.gtse &= !missing.has(GTSE);
    if !offer.radix {
        fatal(format_args!("this machine has no radix MMU: it takes -cpu power9 or newer"));
    }
    let interrupts = match (wanted, offer.interrupts) {
        (Some(wanted), Some(only)) if wanted != only => {
            let (name, mode) = (wanted.name(), wanted.option());
            fatal(format_args!("this machine has no {name}: it takes -M pseries,ic-mode=dual or {mode}"))
        }
        (wanted, only) => wanted.or(only).unwrap_or(Interrupts::Xive),
    };
    let goes_on = |why: fmt::Arguments<'_>| {
        if offer.interrupts == Some(Interrupts::Xive) {
            fatal(format_args!("this machine has XIVE alone, and {NEGOTIATION} {why}"));
        }
        let _ = writeln!(console::Writer, "boot: {NEGOTIATION} {why}; going on with what is offered");
        Some(offer)
    };
    if missing.has(NEGOTIATION) {
        return goes_on(format_args!("is missing"));
    }
    match firmware.client_architecture_support(&platform_support::request(offer.gtse, interrupts)) {
        Ok([0, 0]) => None,
        Ok([caught, status]) => goes_on(format_args!("failed (catch {caught:#x}, status {status:#x})")),
        Err(_) => goes_on(format_args!("is missing")),
    }
}

/// Checks that the platform granted all that the kernel needs, and the interrupt controller that
/// the command line wants.
fn check_grant(info: &BootInfo, wanted: Option<Interrupts>) {
    let has = info.interrupts.kind();
    if !info.platform.radix || wanted.is_some_and(|wanted| wanted != has) {
        let granted = info.platform;
        fatal(format_args!(
            "the platform granted something else than was asked: {granted:?}, {}",
            has.name()
        ));
    }
}

/// The hardware id of the CPU that runs this, if the firmware gives it. PIR is no
/// help: some hypervisors answer 0 on every CPU.
fn boot_cpu(firmware: &OpenFirmware) -> Option<u32> {
    let instance = firmware.property_u32(firmware.find(c"/chosen")?, c"cpu")?;
    let node = firmware.instance_node(instance)?;
    let mut first = [0; 4];
    firmware.property(node, c"ibm,ppc-interrupt-server#s", &mut first)?;
    Some(u32::from_be_bytes(first))
}

/// Copies the tree, ends the firmware and reads the facts for the kernel.
///
/// `platform` is what the platform offers, if it was not negotiated.
#[inline(never)]
fn describe(
    firmware: OpenFirmware,
    initrd: (u64, u64),
    platform: Option<Support>,
) -> Result<&'static BootInfo, info::Unusable> {
    // SAFETY: the addresses of linker symbols, nothing is read.
    let (start, end) = (&raw const __kernel_start as u64, &raw const __kernel_end as u64);
    let image = MemoryRegion::pages(VirtAddr(start).to_phys().0, VirtAddr(end).to_phys().0);

    let initrd_end = if initrd.1 == 0 { 0 } else { initrd.0 + initrd.1 };
    let lowest = VirtAddr(end).to_phys().0.max(initrd_end).next_multiple_of(PAGE_SIZE);
    let address = claim(&firmware, lowest as u32).ok_or("the firmware has no 2 MB of memory")?;
    // SAFETY: claimed from the firmware, above image and initrd, and reserved in
    // the `BootInfo`.
    let mut carver = unsafe { Carver::new(PhysAddr(address.into()).to_virt(), CLAIM_BYTES.into()) };

    let boot_cpu = boot_cpu(&firmware);
    let blob = carver
        .bytes(|buffer| tree::copy(&firmware, buffer))
        .map_err(|_| "the device tree is larger than 2 MB")?;
    firmware.quiesce();

    let tree = DeviceTree::new(blob).map_err(|_| "the device tree could not be copied")?;
    info::read(tree, boot_cpu, initrd, [LOW_MEMORY, image], platform, carver)
}

/// Claims memory at or above `lowest`, below the end of the first memory node.
fn claim(firmware: &OpenFirmware, lowest: u32) -> Option<u32> {
    let mut reg = [0; 16];
    let memory = firmware.find(c"/memory@0")?;
    firmware.property(memory, c"reg", &mut reg)?;
    // Base 0 and a size; the firmware's addresses have 32 bits.
    let limit = u128::from_be_bytes(reg) as u64;
    let limit = u32::try_from(limit).unwrap_or(u32::MAX).checked_sub(CLAIM_BYTES)?;
    (lowest..=limit)
        .step_by(CLAIM_STEP as usize)
        .find(|&address| firmware.claim(address, CLAIM_BYTES).is_ok())
}
