//! Turns: of all CPUs that have something to do one runs, for some hundred instructions.
//!
//! An emulator's CPUs are threads of the host. Left alone, a thread runs for milliseconds
//! while the others sleep, and the model would see lines move once in ten thousand
//! instructions. So a thread that has used up its turn waits until the token comes round.
//!
//! The holder of the token may stop without giving it up: it waits for a lock of the emulator,
//! or for all others to leave their loops. So somebody calls [`Turns::look`] every [`PATIENCE`];
//! if the holder has not taken a step since, each CPU that waits takes one without the token.
//! [`Turns::stolen`] counts these steps: a measurement is good if they are few.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// How long CPUs wait for a holder that takes no steps.
pub const PATIENCE: Duration = Duration::from_millis(10);

/// Who has the token, and who wants it.
struct State {
    holder: Option<usize>,
    /// Instructions that are left of the holder's turn.
    left: u64,
    /// For each CPU whether it runs guest code, or waits for the token to do so.
    is_busy: Vec<bool>,
    /// Steps that were taken with the token, and how many it were at the last look.
    steps: u64,
    looked_at: u64,
    /// Steps that were taken without it.
    stolen: u64,
    /// How often the CPUs that waited were let go.
    releases: u64,
    /// No turns any more: the measurement has ended.
    is_over: bool,
}

impl State {
    /// Gives the token to the next busy CPU behind `cpu`, perhaps to itself.
    fn pass_on(&mut self, cpu: usize, turn: u64) {
        let count = self.is_busy.len();
        self.holder = (1..=count).map(|step| (cpu + step) % count).find(|next| self.is_busy[*next]);
        self.left = turn;
    }
}

/// The token.
pub struct Turns {
    turn: u64,
    state: Mutex<State>,
    /// One per CPU: only the next holder wakes.
    came: Vec<Condvar>,
}

impl Turns {
    /// For `cpus` CPUs, with turns of `turn` instructions.
    pub fn new(cpus: usize, turn: u64) -> Self {
        let state = State {
            holder: None,
            left: turn,
            is_busy: vec![false; cpus],
            steps: 0,
            looked_at: 0,
            stolen: 0,
            releases: 0,
            is_over: false,
        };
        Turns { turn, state: Mutex::new(state), came: (0..cpus).map(|_| Condvar::new()).collect() }
    }

    /// `cpu` is about to run `instructions`: returns when it is its turn.
    pub fn step(&self, cpu: usize, instructions: u64) {
        let mut state = self.state.lock().unwrap();
        state.is_busy[cpu] = true;
        if state.holder == Some(cpu) && state.left == 0 {
            state.pass_on(cpu, self.turn);
            self.wake(&state, cpu);
        }
        let releases = state.releases;
        while state.holder != Some(cpu) && !state.is_over {
            if state.holder.is_none() {
                state.holder = Some(cpu);
                state.left = self.turn;
                break;
            }
            if state.releases != releases {
                state.stolen += 1;
                return;
            }
            state = self.came[cpu].wait(state).unwrap();
        }
        state.left = state.left.saturating_sub(instructions);
        state.steps += 1;
    }

    /// `cpu` has nothing to do until an interrupt.
    pub fn idle(&self, cpu: usize) {
        let mut state = self.state.lock().unwrap();
        state.is_busy[cpu] = false;
        if state.holder == Some(cpu) {
            state.pass_on(cpu, self.turn);
            self.wake(&state, cpu);
        }
    }

    /// Lets those who wait take a step if nobody has taken one since the last look. False at
    /// the end: nobody need look any more.
    pub fn look(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.steps == state.looked_at && state.holder.is_some() {
            state.releases += 1;
            self.came.iter().for_each(Condvar::notify_all);
        }
        state.looked_at = state.steps;
        !state.is_over
    }

    /// Nobody waits any more: the measurement has ended.
    pub fn end(&self) {
        self.state.lock().unwrap().is_over = true;
        self.came.iter().for_each(Condvar::notify_all);
    }

    fn wake(&self, state: &State, passer: usize) {
        if let Some(next) = state.holder.filter(|next| *next != passer) {
            self.came[next].notify_one();
        }
    }

    /// Steps that were taken without the token.
    pub fn stolen(&self) -> u64 {
        self.state.lock().unwrap().stolen
    }

    /// Steps that were taken with it.
    pub fn steps(&self) -> u64 {
        self.state.lock().unwrap().steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    /// Runs `steps` steps of `each` instructions on `cpus` threads; who ran, in order.
    fn run(cpus: usize, turn: u64, steps: usize, each: u64) -> Vec<usize> {
        let turns = Arc::new(Turns::new(cpus, turn));
        // All are busy before the first runs, or it would have the token for itself.
        turns.state.lock().unwrap().is_busy.fill(true);
        turns.state.lock().unwrap().holder = Some(0);
        let ran = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..cpus)
            .map(|cpu| {
                let (turns, ran) = (turns.clone(), ran.clone());
                std::thread::spawn(move || {
                    for _ in 0..steps {
                        turns.step(cpu, each);
                        ran.lock().unwrap().push(cpu);
                    }
                    turns.idle(cpu);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        Arc::try_unwrap(ran).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_lone_cpu_never_waits() {
        assert_eq!(run(1, 10, 100, 7), vec![0; 100]);
    }

    #[test]
    fn all_steps_are_taken() {
        let ran = run(4, 100, 50, 10);
        assert!((0..4).all(|cpu| ran.iter().filter(|one| **one == cpu).count() == 50));
    }

    #[test]
    fn an_idle_holder_passes_the_token_on() {
        let turns = Turns::new(2, 100);
        turns.step(0, 10);
        turns.state.lock().unwrap().is_busy[1] = true;
        turns.idle(0);
        assert_eq!(turns.state.lock().unwrap().holder, Some(1));
        turns.idle(1);
        assert_eq!(turns.state.lock().unwrap().holder, None);
    }

    #[test]
    fn a_turn_ends_with_its_instructions() {
        let turns = Turns::new(2, 30);
        turns.step(0, 10);
        turns.state.lock().unwrap().is_busy[1] = true;
        turns.step(0, 10);
        turns.step(0, 10);
        assert_eq!(turns.state.lock().unwrap().left, 0);
        assert_eq!(turns.stolen(), 0);
        // CPU 1 has the token now and takes no step: CPU 0 goes on without it, at the second look.
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.step(0, 10));
            while !waits.is_finished() {
                assert!(turns.look());
            }
        });
        assert_eq!(turns.state.lock().unwrap().holder, Some(1));
        assert_eq!(turns.stolen(), 1);
    }

    #[test]
    fn a_look_lets_nobody_go_while_the_holder_runs() {
        let turns = Turns::new(2, 100);
        turns.step(0, 10);
        turns.look();
        turns.step(0, 10);
        turns.look();
        assert_eq!(turns.state.lock().unwrap().releases, 0);
        turns.look();
        assert_eq!(turns.state.lock().unwrap().releases, 1);
    }

    #[test]
    fn nobody_waits_after_the_end() {
        let turns = Turns::new(2, 100);
        turns.step(0, 10);
        std::thread::scope(|scope| {
            scope.spawn(|| turns.step(1, 10));
            turns.end();
        });
        assert!(!turns.look());
    }
}
