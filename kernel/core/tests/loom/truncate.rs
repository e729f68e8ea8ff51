//! A file is cut while address spaces map it. When the cutter returns, no CPU reads what
//! was cut off, and no mm leaks. Other CPUs fault, fork, exec and exit meanwhile.
//!
//! The lists of mappers and the references are the kernel's own code; the file, its
//! lock and the `mmap_lock`s are models of `kernel/src/mm`: `mapping.rs`, `fault.rs`,
//! `fork.rs` and `exit_mmap` keep the order of the steps here.

use std::sync::{Arc, Mutex};

use kcore::lazy_tlb::Policy;
use kcore::machine::Cpu;
use kcore::mm::mappers::Mappers;
use kcore::mm::{Mm, MmId};
use kcore::model::TaskId;
use kcore::sync::{AtomicU32, Ordering};

use crate::{
    CPU0, CPU1, Contents, Rig, boot, bound_of, config, expect_dead_after_drain, explore, lazy_on, process,
    race, running, under_each_policy, within,
};

/// Room for the address spaces of a test, `init_mm` included.
const SLOTS: usize = 8;

/// A lock whose waiters take interrupts.
#[derive(Default)]
struct Sleeping(AtomicU32);

impl Sleeping {
    fn with<R>(&self, rig: &Rig, f: impl FnOnce() -> R) -> R {
        let mut turn = 0;
        while self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            rig.machine.relax(turn);
            turn += 1;
        }
        let result = f();
        self.0.store(0, Ordering::Release);
        result
    }
}

/// A file of one page, mapped at page 0 of each mapper.
struct File {
    mappers: Mappers,
    lock: Sleeping,
    /// Pages. Under `lock`.
    len: AtomicU32,
    mmap_locks: [Sleeping; SLOTS],
    /// The mappers, each with its place in the list. Each under its `mmap_lock`.
    places: Mutex<[Option<u64>; SLOTS]>,
    bytes: Arc<Contents>,
}

impl File {
    /// A file that is not cut yet. An exit takes what its mm maps of it away.
    fn new(rig: &Rig) -> Arc<File> {
        let file = Arc::new(File {
            mappers: Mappers::default(),
            lock: Sleeping::default(),
            len: AtomicU32::new(1),
            mmap_locks: Default::default(),
            places: Mutex::default(),
            bytes: Contents::new(),
        });
        let (exiting, rig_of_exit) = (file.clone(), Arc::downgrade(rig));
        rig.machine.set_exit(move |mm, free_tables| {
            let rig = rig_of_exit.upgrade().expect("the machine");
            exiting.with_mmap_lock(&rig, mm, || {
                free_tables();
                exiting.leave(&rig, mm);
            });
        });
        file
    }

    fn with_mmap_lock<R>(&self, rig: &Rig, mm: MmId, f: impl FnOnce() -> R) -> R {
        // Like the kernel's: a stale id is a bug of the caller.
        let _alive = rig.mm(mm);
        self.mmap_locks[mm.slot()].with(rig, f)
    }

    /// `mm` maps the file.
    fn enter(&self, rig: &Rig, mm: MmId) {
        let place = rig.enter_mappers(&self.mappers, mm);
        self.places.lock().unwrap()[mm.slot()] = Some(place);
    }

    fn leave(&self, rig: &Rig, mm: MmId) {
        let place = self.places.lock().unwrap()[mm.slot()].take();
        if let Some(place) = place {
            rig.leave_mappers(&self.mappers, place);
        }
    }

    /// The program on this CPU, whose mm is `mm`, reads the page: it faults if it is not
    /// there, and gives up if the file has none.
    fn read(&self, rig: &Rig, mm: MmId) {
        let access = || rig.machine.access_with(0, |_| self.bytes.access()).is_some();
        if !access() && self.fault(rig, mm) {
            access();
        }
    }

    fn fault(&self, rig: &Rig, mm: MmId) -> bool {
        self.with_mmap_lock(rig, mm, || {
            let there = self.lock.with(rig, || self.len.load(Ordering::Relaxed) > 0);
            if there && !rig.machine.is_mapped(mm, 0) {
                rig.machine.map(mm, 0);
            }
            there
        })
    }

    /// `ftruncate` to nothing. What was in the file may be overwritten once it returns.
    fn cut(&self, rig: &Rig) {
        self.lock.with(rig, || self.len.store(0, Ordering::Relaxed));
        rig.for_each_mapper(&self.mappers, |mm| {
            self.with_mmap_lock(rig, mm, || {
                if rig.machine.is_mapped(mm, 0) {
                    rig.machine.unmap(mm, 0);
                }
            });
        });
        self.bytes.reuse();
    }

    /// A copy of `parent`, which has one user, the caller.
    fn fork(&self, rig: &Rig, parent: MmId) -> MmId {
        let child = rig.machine.create_mm();
        self.with_mmap_lock(rig, parent, || {
            self.with_mmap_lock(rig, child, || {
                self.enter(rig, child);
                if rig.machine.is_mapped(parent, 0) {
                    rig.machine.map(child, 0);
                }
            });
        });
        child
    }
}

/// A process that maps the file and has read it, on no CPU.
fn mapper(rig: &Rig, file: &File) -> (MmId, TaskId) {
    let (mm, owner) = process(rig);
    rig.machine.on(CPU0, || file.enter(rig, mm));
    (mm, owner)
}

/// CPU 0 cuts the file while CPU 1 does `other` with an address space that maps it and its
/// owner, which runs nowhere yet. Then `check` looks at the address space.
fn cut_while(
    name: &str,
    bound: usize,
    policy: Policy,
    other: impl Fn(&Rig, &File, MmId, TaskId) + Copy + Send + Sync + 'static,
    check: impl Fn(&Rig, MmId) + Send + Sync + 'static,
) {
    explore(name, within(bound, policy), move || {
        let rig = boot(config(policy));
        let file = File::new(&rig);
        let (mm, owner) = mapper(&rig, &file);
        let others = file.clone();
        race(&rig, |rig| file.cut(rig), move |rig| other(rig, &others, mm, owner));
        check(&rig, mm);
    });
}

fn nothing_is_mapped(rig: &Rig, mm: MmId) {
    assert!(!rig.machine.is_mapped(mm, 0), "{mm:?} maps a page behind the end of the file");
}

/// A program that was never there reads while the file is cut.
fn fault(name: &str, policy: Policy) {
    let reads = |rig: &Rig, file: &File, mm, owner| {
        rig.machine.switch_to(owner);
        file.read(rig, mm);
        file.read(rig, mm);
    };
    cut_while(name, 5, policy, reads, nothing_is_mapped);
}

/// The last thread of a program exits, and its CPU stays lazy on it: the cutter may hold
/// the last count of the mm.
fn exit(name: &str, policy: Policy) {
    let exits = |rig: &Rig, file: &File, mm, owner| {
        rig.machine.switch_to(owner);
        file.read(rig, mm);
        rig.exit_mm();
    };
    cut_while(name, 3, policy, exits, expect_dead_after_drain);
}

/// A program forks, and its child does: the entries that were copied go, too.
fn forks(name: &str, policy: Policy) {
    let forks = |rig: &Rig, file: &File, mm, _| {
        let child = file.fork(rig, mm);
        file.fork(rig, child);
    };
    let all_are_cut = |rig: &Rig, _| {
        rig.mms().iter().map(Mm::id).filter(|mm| mm.is_some()).for_each(|mm| nothing_is_mapped(rig, mm));
    };
    cut_while(name, 4, policy, forks, all_are_cut);
}

/// A program executes itself anew: its old address space dies, its new one maps the file.
fn exec(name: &str, policy: Policy) {
    let executes = |rig: &Rig, file: &File, _, owner| {
        rig.machine.switch_to(owner);
        let new = rig.machine.create_mm();
        file.enter(rig, new);
        rig.exec_mmap(new);
        file.read(rig, new);
    };
    cut_while(name, 3, policy, executes, expect_dead_after_drain);
}

/// The cutter runs a program of its own, and the other CPU is lazy on the mapper.
fn lazies(name: &str, policy: Policy) {
    explore(name, bound_of(policy), move || {
        let rig = boot(config(policy));
        let file = File::new(&rig);
        running(&rig);
        let (mm, owner) = mapper(&rig, &file);
        lazy_on(&rig, CPU1, mm);
        let reader = file.clone();
        let reads = move |rig: &Rig| {
            rig.machine.switch_to(owner);
            reader.read(rig, mm);
        };
        race(&rig, |rig| file.cut(rig), reads);
        nothing_is_mapped(&rig, mm);
    });
}

under_each_policy! {
    a_fault: fault;
    an_exit: exit;
    two_forks: forks;
    an_exec: exec;
    a_lazy_cpu: lazies;
}
