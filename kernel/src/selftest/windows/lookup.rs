//! A descriptor that is closed while it is looked up.

use alloc::sync::Arc;

use arch::percpu;

use super::{Gate, ONE_CPU, actor_on, another_cpu, expect_end};
use crate::fs::table::FileTable;
use crate::fs::{Description, OpenFlags, pipe};
use crate::selftest::points::{self, Step};
use crate::selftest::{Outcome, Verdict, check_eq};
use crate::task::{Window, current};

/// A thread closes what another has found in the table and has no reference of yet: the
/// table's reference stays until there is one.
pub(super) fn closed_while_looked_up() -> Verdict {
    let Some(cpu) = another_cpu() else { return ONE_CPU };
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
    let play = points::play(&[
        Step::reach(cpu, looks_up),
        Step::reach(me, Window::WaitsForLookup.of(&current())),
        Step::leave(cpu, looks_up),
    ]);
    points::wait_until_passed(1);
    let closed = table.close(fd);
    let references = Arc::strong_count(&file);
    points::finished();
    gate.open();
    expect_end(&reader, "a thread that looks up a descriptor does not end")?;
    check_eq!(closed, Ok(()), "close");
    check_eq!(references, 2, "references of this test and the reader, when the close is over");
    play.complete()?;
    Ok(Outcome::Pass)
}
