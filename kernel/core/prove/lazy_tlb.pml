/*
 * The lazy-TLB protocol as one Promela model: lifetimes, borrows, masks, cross-calls,
 * flushes, the switch, use_mm, exec, reuse of a PID, and a CPU that goes and comes.
 *
 * Loom checks the Rust code itself, piece by piece, on weak memory. This model checks
 * the whole at once, on memory that is sequentially consistent: what it finds are
 * wrong orders and missing steps, never missing fences.
 *
 * How to read it
 *   A process is a task, or the part of a CPU that no task decides about: interrupts,
 *   the switch, hotplug. A task acts while its CPU runs it (RUN). The handler of an IPI
 *   stops the task that it interrupts (`busy`).
 *   A `d_step` is one step: at most one access whose order another CPU can notice, and
 *   the CPU's private actions around it. Between two steps anything may
 *   happen elsewhere, and here: an interrupt unless `irqoff`, preemption and so
 *   migration unless `nopre`. Each step names the Rust function that it stands for.
 *   WRONG(x) marks where the mutant x departs from the protocol.
 *
 * The TLB is the worst that the ISA allows: a CPU holds the translations of what it
 * has loaded at once, tagged with the PID, and keeps them until they are flushed.
 *
 * Every run ends: scripts are finite, and a task that was switched to does a step
 * before it is preempted. So "every mm is freed in the end" is <>freed, with no fairness
 * assumed. Judge looks at the last state, where a lost wake-up shows, too.
 *
 * Parameters come from the environment (qemu-scripts/prove sets them), so that one
 * compilation serves all runs: POLICY, MUTANT, CPUS, and what the tasks do, DOES. Each
 * process has copies, which Spin's partial-order reduction knows to be its own.
 */

#define MAXCPU 3
#define TASKS  6      /* idle tasks are 0 to MAXCPU-1, then these: */
#define A      3      /* the user of M1, which flushes, exits, and execs M3 */
#define B      4      /* the user of M2, which holds an mm_count of M1, too */
#define K      5      /* a kernel thread, which uses A's mm */
#define OFF    7      /* `at` of a task that no CPU runs */

#define NONE 0
#define INIT 1
#define M1   2
#define M2   3
#define M3   4        /* made by exec; has M1's PID if that is free already */
#define IDS  5

/* Policies. */
#define refcount  (policy == 1)
#define shootdown (policy == 2)
#define hazard    (policy == 3)
#define evict     (policy == 4)
#define generation (policy == 5)
#define loaded    (policy == 6)
#define quiescent (policy == 7)

/* What the tasks do: bits of `does`. */
#define FLUSHES   (does & 1)
#define USES      (does & 2)
#define EXECS     (does & 4)
#define OUTSIDER  (does & 8)
#define HOTPLUGS  (does & 16)
#define TWO_MMS   (does & 32)
#define HAS_B     (does & 64)

/* Calls. */
#define SHOOT 1
#define EXIT_LAZY 2

#define BIT(c) (1 << (c))
#define PID(m) (1 << pidof[m])
#define WRONG(x) (wrong == x)
/* LazyTlb::active_mm, set_active_mm: under loaded no task names what its CPU has loaded. */
#define ACTIVE(c, t) (loaded && !WRONG(task_asked) -> pidr[c] : t_active[t])
#define SET_ACTIVE(t, mm) t_active[t] = (loaded && !WRONG(task_named) -> t_active[t] : mm)
#define use_is_user (evict && !WRONG(use_by_count))

mtype = {
    switch_away_clears_bit, bit_after_load, drop_before_load, switch_borrow_uncounted,
    kernel_thread_keeps_active, off_cpu_too_early,
    shoot_not_self, shoot_only_self, no_wait_for_answers, answer_before_leaving,
    interrupt_before_post, flush_missing, kick_preemptible, flusher_resets_mask,
    mask_read_before_pte, kick_does_not_flush, kick_drops_twice, kick_keeps_count,
    exit_borrow_uncounted, put_before_borrow, use_mm_leaks, use_mm_without_grab, use_mm_irqs_on,
    exec_reads_early, withdraw_before_load, evict_not_self, use_by_count,
    looked_before_the_word, word_not_taken,
    notes_before_generation, note_cleared_late, newer_note_spared, debt_left_behind,
    task_asked, task_named,
    offline_while_lazy, offline_forgets_nothing, offline_without_drain, sender_looks_once
};

byte policy, ncpu, script, mutant;

/* An mm: struct Mm. `live`: 0 not yet, 1 alive, 2 freed. `pte`: what a walk finds. */
byte users[IDS], count[IDS], live[IDS], mask[IDS], pidof[IDS];
bool pte[IDS];

/* A task: TaskMm, and the CPU that runs it. */
byte t_mm[TASKS], t_active[TASKS], at[TASKS];
bool dead[TASKS];

/* A CPU: CpuState. `pidr` is PIDR and its publication, `tlb` the PIDs it may hold. */
byte curr[MAXCPU], pidr[MAXCPU], tlb[MAXCPU], hz[MAXCPU];
bool irqoff[MAXCPU], nopre[MAXCPU], busy[MAXCPU], fresh[MAXCPU];
/* Under quiescent: whether the mm waits for the CPUs that have it. */
bool waits[IDS];
/* Under generation: that of each mm; a CPU's note, which is the mm that it is lazy on and the
 * generation that it saw; the mm that a CPU which comes back has yet to look at. `owed` is no
 * part of the protocol: the PIDs that a CPU holds something stale of, by leave of a flush. */
byte gen[IDS], note[MAXCPU], seen[MAXCPU], back_from[MAXCPU], owed[MAXCPU];
/* Cross-calls: mailbox, the interrupt itself, and the record of each initiator. */
byte mailbox[MAXCPU], op[MAXCPU], op_mm[MAXCPU], waiting[MAXCPU];
bool ipi[MAXCPU];
byte online;
bool gone_once;       /* the last CPU goes offline once */

#define RUN   (at[me] != OFF && !busy[at[me]])
#define STEP  RUN -> fresh[at[me]] = false
#define tasks_done (dead[A] && dead[B] && dead[K])
#define freed (live[M1] == 2 && live[M2] == 2 && live[M3] == 2)

/* --- what every CPU does --------------------------------------------------------- */

/* Machine::load_mm and the publication. I4, I6: bit first, and never a dead mm. */
inline load(cpu, mm) {
    assert(live[mm] == 1 && (mask[mm] & BIT(cpu)));
    pidr[cpu] = mm;
    if
    :: pte[mm] -> tlb[cpu] = tlb[cpu] | PID(mm)
    :: else
    fi
}

inline set_bit(cpu, mm) {
    assert(live[mm] == 1);
    if
    :: WRONG(bit_after_load) -> skip
    :: else -> mask[mm] = mask[mm] | BIT(cpu)
    fi
}

/* I1 and I4, whenever a section with interrupts off ends. */
inline check_loaded(cpu, task) {
    assert(ACTIVE(cpu, task) == pidr[cpu]);
    assert(t_mm[task] == NONE || t_mm[task] == pidr[cpu]);
    assert(!loaded || t_active[task] == NONE);
    if
    :: WRONG(bit_after_load) -> mask[pidr[cpu]] = mask[pidr[cpu]] | BIT(cpu)
    :: else
    fi;
    assert(mask[pidr[cpu]] & BIT(cpu))
}

inline flush_here(cpu, mm) {
    tlb[cpu] = tlb[cpu] & ~PID(mm);
    owed[cpu] = owed[cpu] & ~PID(mm);
    if
    :: pidr[cpu] == mm && pte[mm] -> tlb[cpu] = tlb[cpu] | PID(mm)
    :: else
    fi
}

/* Generation::ended in two steps: the note goes, then the generation is read. */
inline clear_note(cpu) {
    if
    :: generation && note[cpu] != NONE ->
        back_from[cpu] = note[cpu];
        if
        :: WRONG(note_cleared_late) -> compare(cpu)
        :: else -> note[cpu] = NONE
        fi
    :: else
    fi
}

inline compare(cpu) {
    if
    :: gen[back_from[cpu]] != seen[cpu] && !(WRONG(debt_left_behind) && pidr[cpu] != back_from[cpu]) ->
        flush_here(cpu, back_from[cpu])
    :: else
    fi
}

inline pay(cpu) {
    if
    :: back_from[cpu] != NONE ->
        if
        :: WRONG(note_cleared_late) -> note[cpu] = NONE
        :: else -> compare(cpu)
        fi;
        /* What it was spared it would use now, or when it comes back again. */
        assert(!(owed[cpu] & PID(back_from[cpu])));
        back_from[cpu] = NONE; seen[cpu] = 0
    :: else
    fi
}

/* LazyTlb::borrow. I3: what is borrowed is loaded here. */
inline borrow(cpu, task, mm, uncounted) {
    assert(pidr[cpu] == mm && live[mm] == 1);
    SET_ACTIVE(task, mm);
    if
    :: refcount && !WRONG(uncounted) -> count[mm]++
    :: hazard && mm != INIT -> hz[cpu] = mm
    :: generation && mm != INIT -> note[cpu] = mm; seen[cpu] = gen[mm]
    :: else
    fi
}

/* LazyTlb::leave_lazy, the way to init_mm. The caller drops `old`. */
inline leave_lazy(cpu, task, old) {
    old = ACTIVE(cpu, task);
    assert(t_mm[task] == NONE);
    if
    :: refcount -> count[INIT]++
    :: else
    fi;
    SET_ACTIVE(task, INIT);
    mask[INIT] = mask[INIT] | BIT(cpu);
    load(cpu, INIT);
    hz[cpu] = NONE;
    clear_note(cpu);
    pay(cpu)
}

/* Gives a reference back: the fetch_sub of mmdrop. `last` asks for the free. */
inline unref(mm, last) {
    assert(live[mm] == 1 && count[mm] > 0);
    count[mm]--;
    last = (count[mm] == 0)
}

/* LazyTlb::settle, where the policy may not have to. */
inline settle(mm, last) {
    last = false;
    if
    :: refcount && mm != NONE -> unref(mm, last)
    :: quiescent && mm != NONE -> take_if_left(mm, last)
    :: else
    fi
}

/* Whether no CPU has the mm, which waits for that: the word is the caller's then, who frees it. */
inline take_if_left(mm, last) {
    last = waits[mm];
    for (n : 0 .. MAXCPU - 1) {
        last = last && pidr[n] != mm
    }
    n = 0;
    if
    :: last && !WRONG(word_not_taken) -> waits[mm] = false
    :: else
    fi
}

/* check_nobody_has, free_mm and bury. I5, I6, and no task has a stale active_mm. */
inline bury(mm) {
    assert(mm != INIT && live[mm] == 1 && users[mm] == 0 && count[mm] == 0);
    for (n : 0 .. MAXCPU - 1) {
        assert(pidr[n] != mm);
        assert(!(tlb[n] & PID(mm)))
    }
    for (n : 0 .. TASKS - 1) {
        assert(t_mm[n] != mm && t_active[n] != mm)
    }
    n = 0;
    live[mm] = 2;
    mask[mm] = 0
}

/* --- the cross-call ---------------------------------------------------------------- */

/* LazyTlb::call_on_mask: `to` was sampled before; `at` cannot change, preemption is off. */
inline call_on_mask(cpu, to, what, mm) {
    if
    :: to == 0
    :: else ->
        /* The record, then a post in each mailbox. */
        d_step {
            STEP;
            assert(!irqoff[cpu] && !(to & BIT(cpu)));
            op[cpu] = what; op_mm[cpu] = mm; waiting[cpu] = to;
            for (n : 0 .. MAXCPU - 1) {
                if
                :: (to & BIT(n)) && WRONG(interrupt_before_post) -> ipi[n] = true
                :: (to & BIT(n)) && !WRONG(interrupt_before_post) -> mailbox[n] = mailbox[n] | BIT(cpu)
                :: else
                fi
            }
            n = 0
        }
        /* After the fence: a CPU that is still online is interrupted. From another
         * the post is taken back, if it is there. */
        d_step {
            STEP;
            for (n : 0 .. MAXCPU - 1) {
                if
                :: (to & BIT(n)) && WRONG(interrupt_before_post) -> mailbox[n] = mailbox[n] | BIT(cpu)
                :: (to & BIT(n)) && !WRONG(interrupt_before_post) && ((online & BIT(n)) || WRONG(sender_looks_once)) ->
                    ipi[n] = true
                :: (to & BIT(n)) && !WRONG(interrupt_before_post) && !(online & BIT(n)) && !WRONG(sender_looks_once) &&
                        (mailbox[n] & BIT(cpu)) ->
                    mailbox[n] = mailbox[n] & ~BIT(cpu);
                    waiting[cpu] = waiting[cpu] & ~BIT(n)
                :: else
                fi
            }
            n = 0; to = 0
        }
        /* wait_for_answers */
        d_step { RUN && (waiting[cpu] == 0 || WRONG(no_wait_for_answers)) -> fresh[at[me]] = false; op_mm[cpu] = NONE; op[cpu] = 0 }
    fi
}

/* LazyTlb::run_call in the task that the interrupt found: all of it, or for an
 * eviction the part up to the flush. */
inline run_call(cpu) {
    if
    /* shoot_lazy_here */
    :: op[from] == SHOOT ->
        if
        :: ACTIVE(cpu, curr[cpu]) == m -> leave_lazy(cpu, curr[cpu], old); old = NONE
        :: else
        fi
    /* evict_here */
    :: op[from] == EXIT_LAZY && t_mm[curr[cpu]] == m -> flush_here(cpu, m)
    :: op[from] == EXIT_LAZY && t_mm[curr[cpu]] != m ->
        if
        :: ACTIVE(cpu, curr[cpu]) == m -> leave_lazy(cpu, curr[cpu], old)
        :: else
        fi;
        if
        :: WRONG(kick_does_not_flush) -> skip
        :: else -> flush_here(cpu, m)
        fi;
        kicked = true
    :: else     /* an initiator that did not wait */
    fi;
    if
    :: kicked -> skip
    :: else -> answer(cpu)
    fi
}

inline answer(cpu) {
    waiting[from] = waiting[from] & ~BIT(cpu);
    m = NONE; from = 0
}

inline take_call() {
    from = (got & 1 -> 0 : (got & 2 -> 1 : 2));
    got = got & ~BIT(from);
    m = op_mm[from]
}

/* LazyTlb::handle_calls: the mailbox is taken in one swap, then call by call. */
inline handle_calls(cpu) {
    do
    :: d_step { got != 0 && !WRONG(answer_before_leaving) -> take_call(); run_call(cpu) }
        finish_kick(cpu)
    :: d_step { got != 0 && WRONG(answer_before_leaving) -> take_call(); waiting[from] = waiting[from] & ~BIT(cpu) }
        d_step { run_call(cpu) }
        finish_kick(cpu)
    :: got == 0 -> break
    od;
    skip    /* a `break` may not lead into a d_step */
}

inline finish_kick(cpu) {
    if
    :: kicked ->
        /* The last touch: the bit. */
        d_step { mask[m] = mask[m] & ~BIT(cpu) }
        d_step {
            if
            :: old != NONE && !WRONG(kick_keeps_count) ->
                settle(old, last);
                assert(!last);
                if
                :: refcount && WRONG(kick_drops_twice) -> unref(old, last)
                :: else
                fi
            :: else
            fi;
            old = NONE; last = false; kicked = false;
            answer(cpu)
        }
    :: else
    fi
}

/* --- tasks ------------------------------------------------------------------------- */

/* Quiescent::last_drop: the word, then, after a fence, the look at the CPUs. */
inline wait_for_cpus(mm) {
    d_step {
        STEP;
        waits[mm] = true;
        if
        :: WRONG(looked_before_the_word) -> take_if_left(mm, last); waits[mm] = false
        :: else
        fi
    }
    d_step {
        STEP;
        if
        :: WRONG(looked_before_the_word) -> waits[mm] = !last
        :: else -> take_if_left(mm, last)
        fi
    }
    if
    :: last -> d_step { STEP; last = false; bury(mm) }
    :: else
    fi
}

/* LazyTlb::still_on: of `to`, this CPU, and those that have `mm` loaded. */
inline still_on(cpu, mm) {
    for (n : 0 .. MAXCPU - 1) {
        if
        :: n != cpu && pidr[n] != mm -> to = to & ~BIT(n)
        :: else
        fi
    }
    n = 0
}

/* LazyTlb::__mmdrop. Interrupts on, preemptible, in a task. */
inline __mmdrop(mm) {
    if
    :: quiescent -> wait_for_cpus(mm)
    :: else -> send_away(mm)
    fi
}

inline send_away(mm) {
    /* last_drop: this CPU first, then those in the mask, or those that have published. */
    d_step {
        STEP;
        c = at[me];
        assert(mm != INIT && !irqoff[c] && t_mm[me] != mm);
        nopre[c] = true;
        to = 0;
        if
        :: shootdown || generation -> to = mask[mm] & online
        :: loaded -> to = mask[mm] & online; still_on(c, mm)
        :: hazard ->
            for (n : 0 .. MAXCPU - 1) {
                if
                :: hz[n] == mm && (online & BIT(n)) -> to = to | BIT(n)
                :: else
                fi
            }
            n = 0
        :: else
        fi;
        if
        :: (to & BIT(c)) && ACTIVE(c, me) == mm && !WRONG(shoot_not_self) -> leave_lazy(c, me, old); old = NONE
        :: else
        fi;
        to = to & ~BIT(c);
        if
        :: WRONG(shoot_only_self) -> to = 0
        :: else
        fi
    }
    call_on_mask(c, to, SHOOT, mm);
    d_step { STEP; nopre[c] = false; bury(mm) }
}

inline mmdrop(mm) {
    d_step { STEP; unref(mm, last) }
    if
    :: last -> last = false; __mmdrop(mm)
    :: else
    fi
}

/* LazyTlb::exit_flush: the eviction where the policy has one, then the flush of everything. */
inline exit_flush(mm) {
    d_step {
        STEP;
        c = at[me];
        nopre[c] = !WRONG(kick_preemptible);
        if
        :: (shootdown || evict || generation) && !WRONG(flush_missing) -> to = mask[mm] & online & ~BIT(c)
        :: loaded && !WRONG(flush_missing) -> to = mask[mm] & online & ~BIT(c); still_on(c, mm)
        :: else
        fi
    }
    call_on_mask(c, to, EXIT_LAZY, mm);
    if
    :: evict && !WRONG(evict_not_self) ->
        /* evict_here, on this CPU; its last touch is the bit. */
        d_step {
            STEP;
            if
            :: ACTIVE(c, me) == mm -> leave_lazy(c, me, old); old = NONE
            :: else
            fi;
            flush_here(c, mm)
        }
        d_step { STEP; mask[mm] = mask[mm] & ~BIT(c) }
    :: else
    fi;
    /* plan_flush: 0 none, 1 local, 2 global. */
    d_step {
        STEP;
        if
        :: mask[mm] & ~BIT(c) -> reach = 2
        :: !(mask[mm] & ~BIT(c)) && (mask[mm] & BIT(c)) -> reach = 1
        :: else -> reach = 0
        fi
    }
    flush_reaching(mm, false)
}

inline flush_reaching(mm, keep) {
    d_step {
        STEP;
        if
        :: WRONG(flush_missing) && pte[mm] == 0 -> skip
        :: reach == 1 -> flush_here(at[me], mm)
        :: reach == 2 ->
            /* tlbie. A CPU that is offline does not listen. */
            for (n : 0 .. MAXCPU - 1) {
                if
                :: online & BIT(n) -> flush_here(n, mm)
                :: else
                fi
            }
            n = 0
        :: else
        fi;
        reach = 0;
        nopre[c] = keep
    }
}

inline mmput(mm) {
    d_step { STEP; assert(live[mm] == 1 && users[mm] > 0); users[mm]--; last = (users[mm] == 0) }
    if
    :: last ->
        /* exit_mmap: the process-table entry goes first. */
        d_step { STEP; last = false; pte[mm] = false }
        exit_flush(mm);
        mmdrop(mm)
    :: else
    fi
}

/* LazyTlb::give_up_mm: one section with interrupts off. */
inline give_up_mm() {
    d_step {
        STEP;
        t_mm[me] = NONE;
        act = ACTIVE(at[me], me);
        borrow(at[me], me, act, exit_borrow_uncounted);
        act = NONE;
        check_loaded(at[me], me)
    }
}

inline exit_mm(mm) {
    if
    :: WRONG(put_before_borrow) -> mmput(mm); give_up_mm()
    :: else -> give_up_mm(); mmput(mm)
    fi
}

/* LazyTlb::enter_mm, then settle_entered: exec by a borrower, and kthread_use_mm. */
inline enter_mm(mm) {
    if
    :: WRONG(exec_reads_early) -> d_step { STEP; act = ACTIVE(at[me], me) }
    :: else
    fi;
    d_step {
        STEP;
        c = at[me];
        nopre[c] = true;
        irqoff[c] = !WRONG(use_mm_irqs_on);
        if
        :: WRONG(exec_reads_early) -> skip
        :: else -> act = ACTIVE(c, me)
        fi;
        SET_ACTIVE(me, mm);
        t_mm[me] = mm;
        set_bit(c, mm);
        if
        :: WRONG(withdraw_before_load) -> hz[c] = NONE
        :: else
        fi;
        if
        :: WRONG(drop_before_load) -> settle(act, last)
        :: else
        fi
    }
    if
    :: last && WRONG(drop_before_load) -> d_step { STEP; last = false; bury(act) }
    :: else
    fi;
    d_step {
        STEP;
        load(c, mm);
        hz[c] = NONE;
        clear_note(c);
        check_loaded(c, me);
        irqoff[c] = (back_from[c] != NONE);
        nopre[c] = false
    }
    if
    /* Else interrupts are on, and the CPU may be another task's by now. */
    :: at[me] == c && back_from[c] != NONE -> d_step { STEP; pay(c); irqoff[c] = false }
    :: else
    fi;
    d_step {
        STEP;
        if
        :: WRONG(drop_before_load) || (WRONG(use_mm_leaks) && act == mm) -> last = false
        :: else -> settle(act, last)
        fi
    }
    if
    :: last -> d_step { STEP; last = false; bury(act); act = NONE }
    :: else -> act = NONE
    fi
}

#define LOCALS byte c, n, to, reach, act, old; bool last

/* The CPUs whose note is of an older generation are not told. */
inline spare_noted(mm, newest) {
    d_step {
        STEP;
        for (n : 0 .. MAXCPU - 1) {
            if
            :: (to & BIT(n)) && note[n] == mm && (seen[n] < newest || WRONG(newer_note_spared)) ->
                to = to & ~BIT(n);
                owed[n] = owed[n] | (tlb[n] & PID(mm))
            :: else
            fi
        }
        n = 0;
        reach = (to -> 2 : 1)
    }
}

/* LazyTlb::flush by the only user of the mm, or one of them: munmap of a page. Trimming
 * is due or not. */
inline munmap(mm) {
    if
    :: WRONG(mask_read_before_pte) -> d_step { STEP; to = mask[mm] }
    :: else
    fi;
    /* The PTE, then, after a fence, the mask. */
    d_step { STEP; pte[mm] = false }
    d_step {
        STEP;
        c = at[me];
        nopre[c] = true;
        if
        :: WRONG(mask_read_before_pte) -> skip
        :: else -> to = mask[mm]
        fi;
        assert(mask[mm] & BIT(c));
        reach = ((to & ~BIT(c)) -> 2 : 1);
        to = to & online & ~BIT(c)
    }
    /* Generation::spare: the generation, then, after a fence, the notes. */
    if
    :: generation && reach == 2 ->
        if
        :: WRONG(notes_before_generation) -> spare_noted(mm, gen[mm] + 1)
        :: else
        fi;
        d_step { STEP; gen[mm]++ }
        if
        :: WRONG(notes_before_generation) -> skip
        :: else -> spare_noted(mm, gen[mm])
        fi
    :: else
    fi;
    if
    :: reach == 2 ->
        if
        /* evict: lazy CPUs leave and flush, what is left is local. */
        :: true -> reach = 1; call_on_mask(c, to, EXIT_LAZY, mm)
        :: true -> to = 0
        fi
    :: else -> to = 0
    fi;
    if
    :: WRONG(flusher_resets_mask) && reach == 1 -> d_step { STEP; mask[mm] = BIT(c) }
    :: else
    fi;
    flush_reaching(mm, true);
    /* The frame is free: no CPU may have it and use it. Then there is a new page at its place. */
    d_step {
        STEP;
        for (n : 0 .. MAXCPU - 1) {
            assert(!(tlb[n] & PID(mm) & ~owed[n]))
        }
        pte[mm] = true;
        for (n : 0 .. MAXCPU - 1) {
            if
            :: pidr[n] == mm -> tlb[n] = tlb[n] | PID(mm)
            :: else
            fi
        }
        n = 0;
        nopre[c] = false
    }
}

/* mm_alloc: the lowest free PID, so M1's if M1 is gone. */
inline mm_alloc(mm) {
    d_step {
        STEP;
        pidof[mm] = (live[M1] == 2 -> pidof[M1] : mm);
        users[mm] = 1; count[mm] = 1; live[mm] = 1; pte[mm] = true;
        for (n : 0 .. MAXCPU - 1) {
            assert(!(tlb[n] & PID(mm)))
        }
        n = 0
    }
}

proctype User(byte me; byte m; byte does; byte wrong) {
    LOCALS;
    d_step { STEP }       /* A moment of user code. */
    if
    :: me == A && FLUSHES -> munmap(m)
    :: else
    fi;
    exit_mm(m);
    if
    :: me == A && EXECS ->
        mm_alloc(M3);
        enter_mm(M3);     /* exec_mmap */
        exit_mm(M3)
    :: me == B && OUTSIDER -> mmdrop(M1)
    :: else
    fi;
    d_step { STEP; dead[me] = true; c = 0 }
}

proctype KernelThread(byte me; byte wrong) {
    LOCALS;
    byte m;
    /* get_task_mm */
    d_step {
        STEP;
        m = t_mm[A];
        if
        :: m != NONE && users[m] > 0 -> users[m]++
        :: else -> m = NONE
        fi
    }
    if
    :: m != NONE ->
        /* kthread_use_mm */
        d_step { STEP;
            if
            :: WRONG(use_mm_without_grab) -> skip
            :: !WRONG(use_mm_without_grab) && use_is_user -> users[m]++
            :: else -> count[m]++
            fi }
        enter_mm(m);
        if
        /* The caller gives its unit back before the use ends. */
        :: WRONG(use_by_count) -> mmput(m)
        :: else
        fi;
        /* kthread_unuse_mm */
        give_up_mm();
        if
        :: use_is_user -> mmput(m)
        :: else -> mmdrop(m)
        fi;
        if
        :: WRONG(use_by_count) -> skip
        :: else -> mmput(m)
        fi
    :: else
    fi;
    d_step { STEP; dead[me] = true; m = NONE; c = 0 }
}

/* --- a CPU: interrupts, the switch, hotplug --------------------------------------- */

#define READY(t) (at[t] == OFF && !dead[t])
/* A new task does a step first; a task without more steps may always be left. */
#define MAY_SWITCH (!busy[c] && !irqoff[c] && !nopre[c] && (online & BIT(c)) && (curr[c] == c || dead[curr[c]] || !fresh[c]))

/* schedule: prepare_switch up to the change of stacks, finish_switch, the drop. */
inline switch_to(next) {
        prev = curr[c];
        curr[c] = next;
        fresh[c] = true;
        last = false;
        half = false;
        if
        :: WRONG(off_cpu_too_early) -> at[prev] = OFF
        :: else
        fi;
        if
        /* user→kernel */
        :: t_mm[prev] != NONE && t_mm[next] == NONE ->
            old = ACTIVE(c, prev);
            borrow(c, next, old, switch_borrow_uncounted);
            old = NONE;
            if
            :: WRONG(switch_away_clears_bit) -> mask[pidr[c]] = mask[pidr[c]] & ~BIT(c)
            :: else
            fi
        /* kernel→kernel */
        :: t_mm[prev] == NONE && t_mm[next] == NONE ->
            old = ACTIVE(c, prev);
            SET_ACTIVE(next, old);
            old = NONE;
            if
            :: WRONG(kernel_thread_keeps_active) -> skip
            :: else -> t_active[prev] = NONE
            fi
        /* towards user: switch_mm */
        :: else ->
            half = true;
            set_bit(c, t_mm[next]);
            if
            :: t_mm[prev] == NONE -> old = ACTIVE(c, prev)
            :: else
            fi;
            if
            :: WRONG(withdraw_before_load) -> hz[c] = NONE
            :: else
            fi;
            if
            :: WRONG(drop_before_load) && old != NONE -> settle(old, last)
            :: else
            fi
        fi;
        if
        :: half -> busy[c] = true
        :: else -> switched(next)
        fi
}

/* I2, I1; `prev` may run elsewhere from now on. */
inline switched(next) {
    half = false;
    assert(t_mm[prev] != NONE || t_active[prev] == NONE);
    check_loaded(c, next);
    if
    :: WRONG(off_cpu_too_early) -> skip
    :: else -> at[prev] = OFF
    fi;
    prev = 0
}

/* The other half of switch_mm, the last of prepare_switch, settle_switch. */
inline switch_towards_user() {
    if
    :: last -> d_step { last = false; bury(old) }
    :: else
    fi;
    d_step {
        load(c, t_mm[curr[c]]);
        SET_ACTIVE(curr[c], t_mm[curr[c]]);
        if
        :: old != NONE -> hz[c] = NONE; t_active[prev] = NONE; clear_note(c)
        :: else
        fi;
        switched(curr[c])
    }
    d_step {
        pay(c);
        if
        :: old != NONE && !WRONG(drop_before_load) -> settle(old, last)
        :: else
        fi;
        if
        :: last -> skip
        :: else -> old = NONE; busy[c] = false
        fi
    }
    if
    :: last -> d_step { last = false; bury(old); old = NONE; busy[c] = false }
    :: else
    fi
}

proctype Cpu(byte c; byte does; byte wrong) {
    byte prev, old, got, m, n, from;
    bool last, half, kicked;
end:
    do
    /* An interrupt. */
    :: atomic { ipi[c] && !irqoff[c] && !busy[c] -> ipi[c] = false; busy[c] = true; got = mailbox[c]; mailbox[c] = 0 }
        handle_calls(c);
        busy[c] = false
    /* Preemption, or a task that sleeps: to the idle task or to any that is ready,
     * which leaves the queue here. */
    :: atomic { MAY_SWITCH && curr[c] != c -> at[c] = c; switch_to(c) }
    :: atomic { MAY_SWITCH && READY(A) -> at[A] = c; switch_to(A) }
    :: atomic { MAY_SWITCH && READY(B) -> at[B] = c; switch_to(B) }
    :: atomic { MAY_SWITCH && READY(K) -> at[K] = c; switch_to(K) }
    :: half -> switch_towards_user()
    /* Under refcount a borrower keeps the mm until something else runs there. Under quiescent
     * an idle CPU lets go by itself, here of what waits for it. */
    :: atomic { (((refcount || quiescent) && tasks_done) || waits[pidr[c]]) && curr[c] == c && pidr[c] != INIT && !busy[c] && !nopre[c] && !irqoff[c] ->
            busy[c] = true }
        d_step { leave_lazy(c, c, old) }
        d_step { settle(old, last) }
        if
        :: last -> d_step { last = false; bury(old) }
        :: else
        fi;
        d_step { old = NONE; busy[c] = false }
    /* Hotplug, in the idle task: leave_before_stop, interrupts on, preemption off. */
    :: atomic { HOTPLUGS && c == ncpu - 1 && !gone_once && curr[c] == c && MAY_SWITCH ->
            gone_once = true; nopre[c] = true }
        if
        :: WRONG(offline_while_lazy) -> skip
        :: else ->
            atomic { !busy[c] -> d_step { leave_lazy(c, c, old) } }
            d_step { settle(old, last) }
            if
            :: last -> d_step { last = false; bury(old) }
            :: else
            fi;
            old = NONE
        fi;
        /* stop_cpu: interrupts off; leave_all_masks. */
        d_step {
            irqoff[c] = true;
            assert(WRONG(offline_while_lazy) || pidr[c] == INIT);
            if
            :: WRONG(offline_forgets_nothing) -> skip
            :: else ->
                for (n : INIT .. M3) {
                    flush_here(c, n);
                    mask[n] = mask[n] & ~BIT(c)
                }
                n = 0
            fi
        }
        d_step { online = online & ~BIT(c) }
        if
        :: WRONG(offline_without_drain) -> skip
        :: else -> d_step { got = mailbox[c]; mailbox[c] = 0 }
            handle_calls(c)
        fi;
        d_step {
            ipi[c] = false;
            if
            :: WRONG(offline_while_lazy) -> skip
            :: else -> t_active[c] = NONE; pidr[c] = NONE; settle(INIT, last)
            fi
        }
        /* start_cpu */
        d_step {
            if
            :: refcount && !WRONG(offline_while_lazy) -> count[INIT]++
            :: else
            fi;
            SET_ACTIVE(c, INIT);
            mask[INIT] = mask[INIT] | BIT(c);
            load(c, INIT);
            check_loaded(c, c);
            online = online | BIT(c);
            nopre[c] = false;
            irqoff[c] = false
        }
    od
}

/* The end: nothing can happen any more. */
proctype Judge() {
    byte n;
    atomic {
        timeout ->
        assert(tasks_done);         /* no task waits for ever */
        assert(freed);              /* nothing has leaked */
        for (n : 0 .. MAXCPU - 1) {
            assert(n >= ncpu || (mailbox[n] == 0 && waiting[n] == 0 && pidr[n] != NONE))
        }
        /* The count of init_mm: one unit, and one per borrower. */
        assert(!refcount || count[INIT] == 1 + ncpu)
    }
}

ltl all_freed { <> freed }

c_decl { \#include <stdlib.h> }
c_code {
    static int parameter(const char *name, int otherwise)
    {
        const char *value = getenv(name);
        return value ? atoi(value) : otherwise;
    }
}

init {
    byte does, n;
    d_step {
        c_code {
            now.policy = parameter("POLICY", 2);
            now.ncpu = parameter("CPUS", 2);
            now.script = parameter("DOES", 63);
            now.mutant = parameter("MUTANT", 0);
        };
        does = script;
        for (n : 0 .. IDS - 1) { pidof[n] = n }
        live[INIT] = 1; users[INIT] = 1; count[INIT] = 1 + (refcount -> ncpu : 0);
        live[M1] = 1; users[M1] = 1; count[M1] = 1 + (OUTSIDER -> 1 : 0); pte[M1] = true;
        if
        :: TWO_MMS -> live[M2] = 1; users[M2] = 1; count[M2] = 1; pte[M2] = true
        :: else -> live[M2] = 2; users[M1] = users[M1] + (HAS_B -> 1 : 0)
        fi;
        if
        :: EXECS -> skip
        :: else -> live[M3] = 2
        fi;
        for (n : 0 .. TASKS - 1) { at[n] = OFF }
        for (n : 0 .. ncpu - 1) {
            at[n] = n; curr[n] = n;
            t_active[n] = (loaded -> NONE : INIT); pidr[n] = INIT;
            mask[INIT] = mask[INIT] | BIT(n);
            online = online | BIT(n)
        }
        t_mm[A] = M1; t_active[A] = (loaded -> NONE : M1);
        t_mm[B] = (HAS_B -> (TWO_MMS -> M2 : M1) : NONE); t_active[B] = (loaded -> NONE : t_mm[B]);
        dead[K] = !USES;
        dead[B] = !HAS_B;
        n = 0
    };
    atomic {
        run Judge();
        run User(A, M1, does, mutant);
        if
        :: HAS_B -> run User(B, t_mm[B], does, mutant)
        :: else
        fi;
        if
        :: USES -> run KernelThread(K, mutant)
        :: else
        fi;
        run Cpu(0, does, mutant); run Cpu(1, does, mutant);
        if
        :: ncpu > 2 -> run Cpu(2, does, mutant)
        :: else
        fi
    }
}
