//! The effects of a stale translation: a thread on another CPU writes to a page
//! without pause while its mapping changes.
//!
//! Each scene is a process of its own, and mostly ends by the writer's fault. Each
//! forbidden effect has an exit status of its own.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use user::memory::{self, PAGE, Protection, Region};
use user::process::{self, SIGSEGV, Status};
use user::verdict::child_ends;
use user::{Context, Verdict, ensure, thread, time};

use super::{Worker, move_to};

/// A write was seen after the call that forbids it had returned.
const STALE: i32 = 10;
/// The writer's fault never came.
const NO_FAULT: i32 = 11;
/// The scene could not be set up.
const NO_SCENE: i32 = 12;
/// Machine time within which the writer must show an effect.
const LIMIT: Duration = Duration::from_secs(30);

/// The memory and the CPUs of a scene.
struct Scene {
    region: Region,
    here: usize,
    there: usize,
    pages: usize,
}

impl Scene {
    fn new(worker: &mut Worker) -> Result<Self, alloc::string::String> {
        let pages = worker.random.between(1, 3);
        let region = Region::new(pages).context("mmap")?;
        Ok(Scene { region, here: worker.any_cpu(), there: worker.any_cpu(), pages })
    }

    fn word(&self) -> usize {
        self.region.address() + (self.pages - 1) * PAGE
    }

    /// Starts the writer and waits until it writes. False if that fails.
    fn begin(&self) -> bool {
        let (there, word) = (self.there, self.word());
        let writer = thread::spawn(move || {
            if move_to(there).is_err() {
                process::exit_group(NO_SCENE);
            }
            loop {
                // SAFETY: an aligned word of the region; if it is unmapped, the
                // fault ends the process.
                unsafe { count_up(word) };
            }
        });
        let Ok(writer) = writer else { return false };
        core::mem::forget(writer);
        if move_to(self.here).is_err() {
            return false;
        }
        within_limit(|| self.read() != 0)
    }

    /// The writer's count. The word must be readable.
    fn read(&self) -> u64 {
        // SAFETY: aligned, mapped by the caller's promise, and only written by
        // atomic stores in assembly.
        unsafe { (*(self.word() as *const AtomicU64)).load(Ordering::Relaxed) }
    }
}

/// Adds one to the word at `address`, which may be unmapped.
///
/// # Safety
/// Nothing else writes to it.
unsafe fn count_up(address: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        core::arch::asm!(
            "ld {word}, 0({address})",
            "addi {word}, {word}, 1",
            "std {word}, 0({address})",
            word = out(reg_nonzero) _, address = in(reg_nonzero) address, options(nostack),
        );
    }
}

fn within_limit(mut done: impl FnMut() -> bool) -> bool {
    let end = time::now() + LIMIT;
    while !done() {
        if time::now() > end {
            return false;
        }
        user::sched::yield_now();
    }
    true
}

/// After mprotect(READ) has returned, the word stands still.
pub(crate) fn mprotect(worker: &mut Worker) -> Verdict {
    let scene = Scene::new(worker)?;
    child_ends("the scene", Status::signal(SIGSEGV), || {
        if !scene.begin() {
            return NO_SCENE;
        }
        // SAFETY: the word is read by atomic loads only.
        if unsafe { memory::protect(scene.region.address(), scene.region.len(), Protection::READ) }.is_err() {
            return NO_SCENE;
        }
        let still = scene.read();
        if within_limit(|| scene.read() != still) { STALE } else { NO_FAULT }
    })
}

/// After munmap has returned, nothing writes to the frame any more, whatever uses
/// it next: the test looks at fresh memory, which will contain it.
pub(crate) fn munmap(worker: &mut Worker) -> Verdict {
    let scene = Scene::new(worker)?;
    child_ends("the scene", Status::signal(SIGSEGV), || {
        let fresh = Region::new(2 * scene.pages);
        let Ok(mut fresh) = fresh else { return NO_SCENE };
        if !scene.begin() {
            return NO_SCENE;
        }
        // SAFETY: only the writer uses the region, and this ends it.
        if unsafe { memory::unmap(scene.region.address(), scene.region.len()) }.is_err() {
            return NO_SCENE;
        }
        let stale = within_limit(|| fresh.bytes().chunks(PAGE).any(|page| page[..8] != [0; 8]));
        if stale { STALE } else { NO_FAULT }
    })
}

/// A child's copy of the page stands still from the first, whatever the parent's
/// thread writes. The scene's own process is a child too: the test sees none of
/// its writes.
pub(crate) fn fork(worker: &mut Worker) -> Verdict {
    let scene = Scene::new(worker)?;
    let nap = worker.nap(3000);
    child_ends("the scene", Status::exit(0), || {
        if !scene.begin() {
            return NO_SCENE;
        }
        // The writer uses no heap, so a copy of this process can.
        let child = process::spawn(|| {
            let still = scene.read();
            super::sleep(nap);
            if scene.read() == still { 0 } else { STALE }
        });
        match child.and_then(process::wait) {
            Ok(status) if status.success() => process::exit_group(0),
            Ok(_) => STALE,
            Err(_) => NO_SCENE,
        }
    })?;
    ensure!(scene.read() == 0, "a child's thread wrote to our page");
    Ok(())
}
