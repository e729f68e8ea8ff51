//! The boot's result for the kernel: [`BootInfo`], read from the flattened tree.

use formats::cmdline;
use formats::devicetree::{DeviceTree, Node};
use kcore::cpu::MAX_CPUS;

use super::carver::Carver;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PhysAddr};
use crate::encoding::platform_support::{Broadcast, Support};
use crate::encoding::xive;
use crate::irq::Platform;
use crate::irq::xive::{Facts, PRIORITIES};
use crate::isa;
use crate::reg::spr;

/// A range of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First byte.
    pub base: PhysAddr,
    /// Length in bytes.
    pub size: u64,
}

impl MemoryRegion {
    /// The region from `start` to `end`, widened to whole pages.
    pub(super) fn pages(start: u64, end: u64) -> Self {
        let base = start & !(PAGE_SIZE - 1);
        Self { base: PhysAddr(base), size: end.next_multiple_of(PAGE_SIZE) - base }
    }
}

/// The machine, as the firmware described it.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// All memory, lowest first.
    pub memory: &'static [MemoryRegion],
    /// The parts of it that are in use, in whole pages: vectors, image, initrd,
    /// this data. In no order; ranges may touch.
    pub reserved: &'static [MemoryRegion],
    /// The initial ramdisk, to the byte.
    pub initrd: Option<MemoryRegion>,
    /// The kernel command line.
    pub bootargs: &'static str,
    /// Hardware (server) ids by logical CPU number; the boot CPU is first.
    pub cpus: &'static [u32],
    /// Ticks of the timebase per second.
    pub timebase_hz: u32,
    /// Width of the decrementer, in bits.
    pub decrementer_bits: u32,
    /// The random seed of this boot, if the machine gives one.
    pub rng_seed: Option<[u8; 32]>,
    /// The platform's grants.
    pub platform: Support,
    /// The interrupt controller.
    pub interrupts: Platform,
    /// The means to invalidate translations on all CPUs at once.
    pub broadcast: Broadcast,
    /// Processor version register.
    pub pvr: u32,
    /// The machine's name, e.g. "IBM pSeries (emulated by qemu)".
    pub model: &'static str,
    /// The flattened device tree, for everything else.
    pub tree: DeviceTree<'static>,
}

/// Why the tree cannot be used. The text is for the last line of the boot.
pub(super) type Unusable = &'static str;

/// A property of one word, of a node that may be missing.
fn word(node: Option<Node<'static>>, name: &str) -> Option<u32> {
    node?.property(name)?.as_u32()
}

/// All nodes of a `device_type`, at the depth where the platform puts them.
fn of_type(parent: Option<Node<'static>>, device_type: &'static str) -> impl Iterator<Item = Node<'static>> {
    parent
        .into_iter()
        .flat_map(|parent| parent.children())
        .filter(move |node| node.property("device_type").and_then(|kind| kind.as_str()) == Some(device_type))
}

/// The initrd: from the tree, or from the registers at entry.
fn initrd(chosen: Node<'static>, registers: (u64, u64)) -> Option<MemoryRegion> {
    let address = |name| chosen.property(name).and_then(|property| property.as_u64());
    let (start, end) = match (address("linux,initrd-start"), address("linux,initrd-end")) {
        (Some(start), Some(end)) => (start, end),
        _ => (registers.0, registers.0.saturating_add(registers.1)),
    };
    let size = end.checked_sub(start).filter(|&size| size != 0)?;
    Some(MemoryRegion { base: PhysAddr(start), size })
}

/// Where memory ends by `mem=`, as in Linux: memory above stays unused.
fn memory_limit(bootargs: &str) -> Result<u64, Unusable> {
    let Some(text) = cmdline::value_of(bootargs, "mem") else { return Ok(u64::MAX) };
    let size = cmdline::size(text).filter(|&size| size != 0).ok_or("mem= is not a size such as 64M")?;
    Ok(size & !(PAGE_SIZE - 1))
}

/// Whether all of `region` is memory. Neighbours count as one.
fn lies_in(memory: &[MemoryRegion], region: &MemoryRegion) -> bool {
    let end = region.base.0.saturating_add(region.size);
    // Ascending: each region of memory may carry the covered part further.
    let covered = memory.iter().fold(region.base.0, |at, one| {
        if (one.base.0..one.base.0 + one.size).contains(&at) { one.base.0 + one.size } else { at }
    });
    covered >= end
}

/// The interrupt controller, by its node, which the negotiation has replaced.
fn interrupts(root: Node<'static>, cpus: usize) -> Result<Platform, Unusable> {
    let Some(node) = of_type(Some(root), "power-ivpe").next() else { return Ok(Platform::Xics) };
    let pairs = |node: Node<'static>, name| {
        let words = node.property(name).map_or(&[][..], |property| property.value);
        words.as_chunks::<8>().0.iter().map(|pair| {
            let pair = u64::from_be_bytes(*pair);
            ((pair >> 32) as u32, pair as u32)
        })
    };
    // The first page is a user program's.
    let context = node.property("reg").and_then(|reg| reg.pairs_u64().nth(1));
    let sizes = node.property("ibm,xive-eq-sizes").and_then(|sizes| sizes.words().min());
    let free = pairs(node, "ibm,xive-lisn-ranges").find(|&(_, count)| count as usize >= cpus.min(MAX_CPUS));
    let facts = Facts {
        context: PhysAddr(context.ok_or("the device tree names no page of the XIVE's thread context")?.0),
        log2_queue: sizes
            .filter(|size| (PAGE_SHIFT..32).contains(size))
            .ok_or("the device tree names no size of an event queue of XIVE")?,
        first_source: free.ok_or("the device tree names no XIVE source for the IPIs of each CPU")?.0,
    };
    if !xive::leaves(pairs(root, "ibm,plat-res-int-priorities"), &PRIORITIES) {
        return Err("the platform keeps interrupt priorities that the kernel uses");
    }
    Ok(Platform::Xive(facts))
}

/// Reads the tree. `registers` is the initrd as given at entry. Tables go to
/// `carver`; all that it has handed out in the end is reserved, like the ranges
/// `in_use`. `platform` is what the platform offers, if it was not negotiated.
pub(super) fn read(
    tree: DeviceTree<'static>,
    boot_cpu: Option<u32>,
    registers: (u64, u64),
    in_use: [MemoryRegion; 2],
    platform: Option<Support>,
    mut carver: Carver,
) -> Result<&'static BootInfo, Unusable> {
    const FULL: Unusable = "no room for the tables of the boot";
    let chosen = tree.find("/chosen").ok_or("the device tree has no /chosen")?;
    let cpus = tree.find("/cpus");
    let first_cpu = of_type(cpus, "cpu").next();
    let bootargs = chosen.property("bootargs").and_then(|args| args.as_str()).unwrap_or("");

    let limit = memory_limit(bootargs)?;
    let regions = of_type(Some(tree.root()), "memory")
        .filter_map(|node| node.property("reg"))
        .flat_map(|reg| reg.pairs_u64())
        .map(|(base, size)| MemoryRegion { base: PhysAddr(base), size: size.min(limit.saturating_sub(base)) })
        .filter(|region| region.size != 0);
    let memory = carver.collect(regions).ok_or(FULL)?;
    memory.sort_unstable_by_key(|region| region.base);

    // One id for each thread of a core. The boot CPU comes first, the others in
    // order. If the firmware does not name the boot CPU, it starts the lowest one.
    let servers = of_type(cpus, "cpu")
        .filter_map(|cpu| cpu.property("ibm,ppc-interrupt-server#s"))
        .flat_map(|servers| servers.words());
    let cpus = carver.collect(servers).ok_or(FULL)?;
    cpus.sort_unstable();
    let first = cpus.iter().position(|&server| Some(server) == boot_cpu).unwrap_or(0);
    cpus.get_mut(..=first).ok_or("the device tree has no CPU")?.rotate_right(1);

    let initrd = initrd(chosen, registers);
    let initrd_pages = initrd.map(|MemoryRegion { base: PhysAddr(base), size }| {
        MemoryRegion::pages(base, base.saturating_add(size))
    });
    // Two tables are still to come: this one, and the result. Each may be padded.
    let tables = (in_use.len() + 2) * size_of::<MemoryRegion>() + size_of::<BootInfo>();
    let ours = carver.pages_after(tables + 2 * align_of::<BootInfo>());
    let reserved = in_use.into_iter().chain([ours]).chain(initrd_pages);
    let reserved = carver.collect(reserved).ok_or(FULL)?;
    if reserved.iter().any(|region| region.size != 0 && !lies_in(memory, region)) {
        return Err(
            "the image, the initrd or the tables of the boot lie outside of memory: mem= is too small",
        );
    }

    let platform = platform.unwrap_or_else(|| {
        Support::granted(chosen.property("ibm,architecture-vec-5").map_or(&[], |vector| vector.value))
    });
    let hypertas = tree.find("/rtas").and_then(|rtas| rtas.property("ibm,hypertas-functions"));
    let seed = chosen.property("rng-seed").and_then(|seed| seed.value.first_chunk());
    let pvr = isa::mfspr::<{ spr::PVR }>() as u32;
    let info = BootInfo {
        memory,
        reserved,
        initrd,
        bootargs,
        cpus,
        timebase_hz: word(first_cpu, "timebase-frequency")
            .filter(|&hz| hz != 0)
            .ok_or("the device tree names no timebase-frequency")?,
        // Without the property the decrementer is the classic one.
        decrementer_bits: word(first_cpu, "ibm,dec-bits")
            .filter(|bits| (32..=64).contains(bits))
            .unwrap_or(32),
        rng_seed: seed.copied(),
        platform,
        interrupts: interrupts(tree.root(), cpus.len())?,
        broadcast: Broadcast::of(platform, hypertas.map_or(&[], |functions| functions.value)),
        pvr,
        model: tree.root().property("model").and_then(|model| model.as_str()).unwrap_or("?"),
        tree,
    };
    Ok(&carver.collect([info].into_iter()).ok_or(FULL)?[0])
}
