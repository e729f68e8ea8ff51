//! The model's trace: what happened last, printed when a test fails.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use trace_format::Body;

use crate::cpu::CpuId;
use crate::event::Event;

/// How many events a failure prints.
const LAST: usize = 100;

/// The last events of all CPUs, in the order in which the threads came.
#[derive(Default)]
pub(super) struct Trace(Mutex<Events>);

#[derive(Default)]
struct Events {
    last: VecDeque<(CpuId, Body)>,
    /// The number of each CPU's last call.
    calls: HashMap<usize, u32>,
}

impl Trace {
    /// `event` happens on `cpu`.
    pub(super) fn record(&self, cpu: CpuId, event: Event) {
        let Events { last, calls } = &mut *self.0.lock().unwrap();
        let body = event.body(cpu, |initiator, new| {
            let number = calls.entry(initiator.index()).or_default();
            *number += u32::from(new);
            *number
        });
        last.push_back((cpu, body));
        if last.len() > LAST {
            last.pop_front();
        }
    }
}

/// A test that ends by a panic drops its model.
impl Drop for Trace {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let events = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        println!("the last {} events of the model:", events.last.len());
        for (cpu, body) in &events.last {
            println!("  [{:03}] {body}", cpu.index());
        }
    }
}
