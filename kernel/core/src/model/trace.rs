//! The model's trace: what happened last, printed when a test fails.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Once};

use trace_format::Body;

use crate::cpu::CpuId;
use crate::event::Event;

/// How many events a failure prints.
const LAST: usize = 100;

thread_local! {
    /// The events of this thread's last model. The threads of the model checker share one thread of
    /// the host.
    static LAST_MODEL: RefCell<Arc<Mutex<Events>>> = RefCell::default();
}

/// The last events of all CPUs, in the order in which the threads came.
pub(super) struct Trace(Arc<Mutex<Events>>);

#[derive(Default)]
struct Events {
    last: VecDeque<(CpuId, Body)>,
    /// The number of each CPU's last call.
    calls: HashMap<usize, u32>,
}

impl Default for Trace {
    fn default() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                before(panic);
                // Under loom the end of an execution unwinds threads that still wait, with a panic
                // that has no message.
                if panic.payload_as_str().is_some() {
                    // A thread that ends has no events any more.
                    let _ = LAST_MODEL.try_with(|events| print(&events.borrow()));
                }
            }));
        });
        let events = Arc::<Mutex<Events>>::default();
        LAST_MODEL.set(events.clone());
        Trace(events)
    }
}

impl Trace {
    /// `event` happens on `cpu`.
    pub(super) fn record(&self, cpu: CpuId, event: Event) {
        if !event.is_recorded() {
            return;
        }
        let body = event.body(
            cpu,
            |cpus| cpus.len() as u32 - cpus.word(0).count_ones(),
            |initiator, new| {
                let calls = &mut self.0.lock().unwrap().calls;
                let number = calls.entry(initiator.index()).or_default();
                *number += u32::from(new);
                *number
            },
        );
        self.push(cpu, body);
    }

    /// A record of `cpu`.
    pub(super) fn push(&self, cpu: CpuId, body: Body) {
        let last = &mut self.0.lock().unwrap().last;
        last.push_back((cpu, body));
        if last.len() > LAST {
            last.pop_front();
        }
    }
}

/// Prints the events, if there are any: a test has failed.
fn print(events: &Mutex<Events>) {
    let Ok(events) = events.try_lock() else { return };
    if !events.last.is_empty() {
        println!("the last {} events of the model:", events.last.len());
    }
    for (cpu, body) in &events.last {
        println!("  [{:03}] {body}", cpu.index());
    }
}
