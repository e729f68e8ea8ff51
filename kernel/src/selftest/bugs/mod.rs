//! The bugs that lazy TLB has had, each provoked by name.
//!
//! docs/bugs.md describes T1 to T20. A test forces the interleaving that made the bug, at named
//! points of the real code, and checks what the bug spoilt. Two are elsewhere: only a model can see
//! T18 (membarrier's litmus), and T20 ends the kernel, so it is a crash (`crash=t20_…`).

mod exits;
mod hotplug;
mod kicks;
mod orders;
mod switch;
mod use_mm;

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use arch::{percpu, uaccess};
use kcore::cpu::CpuId;
use kcore::machine::Point::*;
use kcore::mm::MmId;
use kcore::mm::flush::FlushRange;

use super::address_space::{WRITTEN, forget, inside, map_written_page, read, read_on, replace};
use super::hook::{arm, arm_for_anyone};
use super::scene::{Counts, Scene};
use super::script::{Step, mark, script, wait_until_passed};
use super::stage::*;
use super::{Stop, Test, Verdict, check, check_eq};
use crate::machine::lazy_tlb;

pub(super) const TESTS: &[Test] = &[
    Test::new("t01_use_mm_leak", use_mm::use_mm_counts_return),
    Test::new("t02_use_mm_races_a_flush", use_mm::use_mm_races_a_flush),
    Test::new("t02_use_mm_races_a_shoot", use_mm::use_mm_races_a_shoot),
    Test::new("t02_exit_races_a_kick", use_mm::exit_races_a_kick),
    Test::new("t02_unuse_mm_races_a_kick", use_mm::unuse_mm_races_a_kick),
    Test::new("t03_exec_by_a_lazy_thread", use_mm::exec_by_kernel_thread),
    Test::new("t03_exec_is_not_preempted", use_mm::exec_is_not_preempted),
    Test::new("t04_kick_spares_the_users_bit", kicks::kick_spares_the_users_bit),
    Test::new("t05_two_kicks_of_one_cpu", kicks::two_kicks_of_one_cpu),
    Test::new("t06_kick_during_a_self_trim", kicks::kick_during_a_self_trim),
    Test::new("t06_kick_behind_the_flush", kicks::kick_behind_the_flush),
    Test::new("t07_offline_leaves_no_bit", hotplug::offline_leaves_no_bit),
    Test::new("t08_mm_dies_as_a_cpu_goes", hotplug::mm_dies_as_a_cpu_goes),
    Test::new("t08_kick_as_a_cpu_goes", hotplug::kick_as_a_cpu_goes),
    Test::new("t08_mm_dies_while_cpus_are_offline", hotplug::mm_dies_while_cpus_are_offline),
    Test::new("t09_exit_with_a_coprocessor", kicks::exit_with_a_coprocessor),
    Test::of_untrimmed("t10_exit_kick_stays_on_its_cpu", kicks::exit_kick_stays_on_its_cpu),
    Test::new("t11_init_mm_is_balanced", hotplug::init_mm_is_balanced),
    Test::of_untrimmed("t13_last_thread_shoots_itself", exits::exit_alone),
    Test::of_untrimmed("t14_exit_migrates_before_mmdrop", exits::exit_migrated_before_mmdrop),
    Test::of_untrimmed("t15_mm_without_pages", exits::exit_without_pages),
    Test::new("t16_outsider_drops_the_last", exits::outsider_drops_last),
    Test::new("t17_pid_is_loaded_nowhere", exits::pid_is_loaded_nowhere),
    Test::new("t19_descheduled_has_no_active_mm", switch::descheduled_has_no_active_mm),
    Test::new("orders_drawn_at_random", orders::orders_drawn_at_random),
];
