//! A descriptor that is closed while it is looked up.

use alloc::sync::Arc;

use arch::percpu;

use super::actor_on;
use crate::fs::table::FileTable;
use crate::fs::{Description, OpenFlags, pipe};
use crate::selftest::gate::{Gate, expect_end};
use crate::selftest::script::{self, script};
use crate::selftest::stage::last_others;
use crate::selftest::{Verdict, check_eq};
use crate::task::{Window, current};

/// A thread closes a descriptor whose description another thread has found, and has no reference
/// of yet. The table's reference stays until the other thread has one.
pub(super) fn closed_while_looked_up() -> Verdict {
    let [cpu] = last_others()?;
    let (table, gate, me) = (FileTable::new(), Gate::new(), percpu::cpu_id());
    let file = Description::new(pipe::new().0, OpenFlags::empty());
    table.begin_sharing();
    let fd = table.add(file.clone(), false, 0).map_err(|_| "an empty table is full")?;
    let (shared, open) = (table.clone(), gate.clone());
    let reader = actor_on(cpu, move || {
        let found = shared.get_any(fd);
        open.spin();
        drop(found);
    });
    let looks_up = Window::LooksUp.of(&reader);
    let play = script::play(script! {
        cpu reaches looks_up;
        me reaches Window::WaitsForLookup.of(&current());
        cpu leaves looks_up;
    });
    script::wait_until_passed(1);
    let closed = table.close(fd);
    let references = Arc::strong_count(&file);
    script::finished();
    gate.open();
    expect_end(&reader, "a thread that looks up a descriptor does not end")?;
    check_eq!(closed, Ok(()), "close");
    check_eq!(references, 2, "references of this test and the reader, when the close is over");
    play.complete()
}
