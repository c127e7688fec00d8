/* Copyright (c) 2026 The vfmig authors
 * SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handover of docs/handover.md: a source, a target, the link between them,
 * and the operator who comes when both have ended.  README.md says how to read
 * it, and what is left out.
 *
 * An arc is one atomic step of a side and has a name, ARC(...).  Between any two
 * arcs the other side may act, the link may stall or break, and the side may be
 * killed or hang.  Deadlines have no length: one may pass whenever its side
 * waits, and at some time it does.
 *
 * BUG_* plants a bug; the comment at each says which.
 */

/* Of src/migration/stage.c, message.h and migration.h, and
 * include/vfmig/migration.h; tests/model/ compares them. */
mtype:stage = {
    at_hello, at_setup, at_pre_copy, at_stop, at_pre_switchover, at_complete,
    at_check, at_loaded, at_yours, at_start, at_cleanup, at_done
};
mtype:unwind = {
    unwind_none, unwind_settle, unwind_listen, unwind_recover, unwind_untrack,
    unwind_tell, unwind_linger, unwind_over
};
mtype:outcome = { is_pending, is_done, is_failed, is_lost, is_handed_over };
mtype:message = {
    READY, SWITCHOVER_ACK, PROGRESS, LOADED, YOURS, RUNNING, RETURNED, FAILED
};

/* What else is on the wire: the hello, its answers, the stream in two parts. */
mtype:message = { HELLO, ACCEPT, REFUSE, STREAM, END };

/*
 * What a device does with the state that is moved.  At the target:
 * runs      with what was loaded
 * stopped   holds it, or a part of it
 * blank     never had it, or was reset
 * may_run   could not be reset, and nobody can say that it does not run
 * dead      its server was killed
 */
mtype:device = { runs, stopped, blank, may_run, dead };

#define ROOM 2 /* messages that a link holds */
chan up = [ROOM] of { mtype:message };
chan down = [ROOM] of { mtype:message };

/* The link.  What a direction holds when the link breaks is lost from some
 * message on: its reader sees the end before any of them. */
bool cut;
bool up_over, down_over; /* the writer has said its last */

mtype:stage s_stage = at_hello, t_stage = at_hello;
mtype:unwind s_unwind = unwind_none, t_unwind = unwind_none;
mtype:outcome s_outcome = is_pending, t_outcome = is_pending;
mtype:device s_dev = runs, t_dev = blank;

bool s_asked;             /* the hello was sent, or the stream begun */
bool s_given, t_ours;     /* as in struct source and struct target */
bool s_loaded, s_running; /* LOADED, RUNNING was heard */
bool s_at_peer, t_at_peer; /* failed_at_peer */
bool t_began;             /* its devices were told to run */
bool s_ended, t_ended;    /* no process any more */
bool s_killed, t_killed;  /* that is why */
bool resolved;            /* the operator has been here */
bool found_reset;         /* and the source's device was blank or dead */

/*
 * Time.  That a deadline passes whenever it likes is all that safety asks for; a
 * link that stalls and a side that hangs are then a long time between two arcs.
 *
 * That both sides end needs more (ENDS): the deadline of whoever waits does
 * pass, a link may stall and a side hang for ever.  There nobody is saved by a
 * mishap, for what can always happen would have to happen: a side has one at
 * most, or none.  Being killed is, for the other side, to hang and a link that
 * breaks.
 */
#ifdef ENDS
bool s_late, t_late;
bool stalled;
bool s_hangs, t_hangs;
bool s_may_fail, t_may_fail;
#define s_mishap s_may_fail = false
#define t_mishap t_may_fail = false
#define s_set_late(x) s_late = x
#define t_set_late(x) t_late = x
#else
#define s_may_fail true
#define t_may_fail true
#define s_mishap skip
#define t_mishap skip
#define s_late true
#define t_late true
#define stalled false
#define s_set_late(x) skip
#define t_set_late(x) skip
#endif

#define both_ended (s_ended && t_ended)

#define ARC(name) printf(#name); printf("\n")

/* In a stage, while nothing has failed; in a step of unwinding. */
#define S(x) (s_unwind == unwind_none && s_stage == at_##x)
#define T(x) (t_unwind == unwind_none && t_stage == at_##x)
#define SU(x) (s_unwind == unwind_##x)
#define TU(x) (t_unwind == unwind_##x)

#define flows (!stalled)
#define s_hears(m) (flows && down?[m])
#define t_hears(m) (flows && up?[m])
#define s_hears_end (flows && (cut || (down_over && empty(down))))
#define t_hears_end (flows && (cut || (up_over && empty(up))))

/* Nobody reads what is written. */
#define up_broken (cut || t_ended)
#define down_broken (cut || s_ended)
#define may_say_up (up_broken || nfull(up))
#define may_say_down (down_broken || nfull(down))

inline forget(c)
{
    do
    :: nempty(c) -> c?_
    :: empty(c) -> break
    od
}

/* Bytes for a link that is broken are lost, if writing them is no error. */
inline say_up(m)
{
    if
    :: up_broken
    :: !up_broken -> up!m
    fi
}

inline say_down(m)
{
    if
    :: down_broken
    :: !down_broken -> down!m
    fi
}

inline s_enter(stage)
{
    s_stage = stage;
    s_set_late(false)
}

inline t_enter(stage)
{
    t_stage = stage;
    t_set_late(false)
}

inline s_fail(at_peer)
{
    s_unwind = unwind_settle;
    s_at_peer = at_peer;
    s_set_late(false)
}

/* A target that does not own tells at once: the source's VM is waiting. */
inline t_fail(at_peer)
{
    if
    :: t_ours -> t_unwind = unwind_settle
    :: !t_ours -> t_unwind = unwind_tell
    fi;
    t_at_peer = at_peer;
    t_set_late(false)
}

/* What can happen to a side in a stage, whatever the stage is about. */
#define S_CANCELLED(x)                                                        \
    :: atomic { s_may_fail && S(x) && !s_given ->                             \
                ARC(s_##x##_cancelled); s_mishap; s_fail(false) }
#define S_GONE(x)                                                             \
    :: atomic { S(x) && s_hears_end -> ARC(s_##x##_gone);                     \
                forget(down); s_fail(true) }                                  \
    :: atomic { S(x) && s_hears(FAILED) -> ARC(s_##x##_told);                 \
                down?FAILED; s_fail(false) }
#define S_LATE(x)                                                             \
    :: atomic { S(x) && s_late -> ARC(s_##x##_late); s_fail(true) }
#define S_DEVICE(x)                                                           \
    :: atomic { s_may_fail && S(x) ->                                         \
                ARC(s_##x##_device_fails); s_mishap; s_fail(false) }
#ifdef ENDS
#define S_KILLED(x)
#else
#define S_KILLED(x)                                                           \
    :: atomic { S(x) -> ARC(s_##x##_killed); s_die(); break }
#endif

#define T_CANCELLED(x)                                                        \
    :: atomic { t_may_fail && T(x) && !t_ours ->                              \
                ARC(t_##x##_cancelled); t_mishap; t_fail(false) }
#define T_GONE(x)                                                             \
    :: atomic { T(x) && t_hears_end -> ARC(t_##x##_gone);                     \
                forget(up); t_fail(true) }
#define T_LATE(x)                                                             \
    :: atomic { T(x) && t_late -> ARC(t_##x##_late); t_fail(true) }
#define T_DEVICE(x)                                                           \
    :: atomic { t_may_fail && T(x) ->                                         \
                ARC(t_##x##_device_fails); t_mishap; t_fail(false) }
#ifdef ENDS
#define T_KILLED(x)
#else
#define T_KILLED(x)                                                           \
    :: atomic { T(x) -> ARC(t_##x##_killed); t_die(); break }
#endif

/* What nobody will look at any more is no difference between two states. */
inline s_gone()
{
    s_ended = true;
    up_over = true;
    s_asked = false;
    s_set_late(false);
    s_at_peer = false;
    s_loaded = false;
    s_running = false;
    forget(down)
}

inline t_gone()
{
    t_ended = true;
    down_over = true;
    t_set_late(false);
    t_at_peer = false;
    t_began = false;
    forget(up)
}

inline s_die()
{
    s_killed = true;
    s_gone()
}

inline t_die()
{
    t_killed = true;
    t_gone()
}

inline t_told()
{
    if
    :: t_ours -> t_unwind = unwind_linger
    :: !t_ours -> t_unwind = unwind_settle
    fi;
    t_set_late(false)
}

inline s_end(outcome)
{
    s_outcome = outcome;
    s_gone()
}

inline t_end(outcome)
{
    t_outcome = outcome;
    t_gone()
}

active proctype source()
{
    mtype:outcome verdict = is_failed;

    #ifdef ENDS
    if
    :: s_may_fail = true
    :: skip
    fi;
#endif
    do
    :: atomic { S(hello) && !s_asked -> ARC(s_hello_asks);
                s_asked = true; say_up(HELLO) }
    :: atomic { S(hello) && s_hears(ACCEPT) -> ARC(s_hello_accepted);
                down?ACCEPT; s_asked = false; s_enter(at_setup) }
    :: atomic { S(hello) && s_hears(REFUSE) -> ARC(s_hello_refused);
                down?REFUSE; s_fail(false) }
    S_CANCELLED(hello) S_LATE(hello) S_KILLED(hello)
    :: atomic { S(hello) && s_hears_end -> ARC(s_hello_gone);
                forget(down); s_fail(true) }

    :: atomic { S(setup) && !s_asked && may_say_up -> ARC(s_setup_streams);
                say_up(STREAM); s_asked = true; s_set_late(false) }
    :: atomic { S(setup) && s_asked && s_hears(READY) ->
                ARC(s_setup_hears_ready);
                down?READY; s_asked = false; s_enter(at_pre_copy) }
    S_CANCELLED(setup) S_GONE(setup) S_LATE(setup) S_DEVICE(setup)
    S_KILLED(setup)

    :: atomic { S(pre_copy) && s_hears(SWITCHOVER_ACK) ->
                ARC(s_pre_copy_acknowledged);
                down?SWITCHOVER_ACK; s_enter(at_stop) }
    S_CANCELLED(pre_copy) S_GONE(pre_copy) S_LATE(pre_copy)
    S_DEVICE(pre_copy) S_KILLED(pre_copy)

    /* A pause before the switchover changes nothing here. */
    :: atomic { S(stop) -> ARC(s_stop_stops);
                s_dev = stopped; s_enter(at_pre_switchover) }
    :: atomic { S(pre_switchover) -> ARC(s_pre_switchover_passes);
                s_enter(at_complete) }
    S_CANCELLED(stop) S_GONE(stop) S_DEVICE(stop) S_KILLED(stop)

    :: atomic { S(complete) && may_say_up -> ARC(s_complete_ends);
                say_up(END); s_enter(at_loaded) }
    S_CANCELLED(complete) S_GONE(complete) S_LATE(complete)
    S_DEVICE(complete) S_KILLED(complete)

    /* What is heard in one breath with LOADED still counts. */
    :: atomic { S(loaded) && s_hears(LOADED) -> ARC(s_loaded_hears_loaded);
                down?LOADED; s_loaded = true }
    :: atomic { S(loaded) && s_loaded -> s_enter(at_yours) }
    :: atomic { S(loaded) && s_hears(RETURNED) -> ARC(s_loaded_returned);
                down?RETURNED; s_fail(false) }
    S_CANCELLED(loaded) S_GONE(loaded) S_LATE(loaded) S_KILLED(loaded)

    /* One byte may be all of it, for all that is known. */
    :: atomic { S(yours) && may_say_up -> ARC(s_yours_leaves);
                say_up(YOURS);
#ifdef BUG_KEEPS /* the devices stay the source's until RUNNING */
                skip;
#else
                s_given = true;
#endif
#ifdef BUG_DONE_UNHEARD /* what was sent has arrived */
                s_running = true; s_enter(at_cleanup) }
#else
                s_enter(at_start) }
#endif
    :: atomic { S(yours) && (s_late || up_broken) -> ARC(s_yours_stuck);
                s_given = true; s_fail(true) }
    :: atomic { S(yours) && up_broken -> ARC(s_yours_gone); s_fail(true) }
    S_CANCELLED(yours) S_LATE(yours) S_KILLED(yours)

    :: atomic { S(start) && s_hears(RUNNING) -> ARC(s_start_hears_running);
                down?RUNNING; s_running = true; s_enter(at_cleanup) }
    :: atomic { S(start) && s_hears(RETURNED) -> ARC(s_start_returned);
                down?RETURNED; s_given = false; s_fail(false) }
    S_GONE(start) S_KILLED(start)
#ifndef BUG_WAITS /* a source that gave away waits until it hears */
    S_LATE(start)
#endif
#ifdef BUG_CANCELS /* a cancelled source takes back what it gave */
    :: atomic { S(start) -> s_given = false; s_fail(false) }
#endif

    :: atomic { S(cleanup) -> ARC(s_cleanup_ends);
                s_stage = at_done; s_end(is_done); break }
    S_KILLED(cleanup)

    /* Progress is no answer: the deadline stays. */
#ifdef ENDS
    :: atomic { !s_late && s_hears(PROGRESS) &&
                (SU(none) || SU(listen)) && !S(hello) && !S(cleanup) ->
                down?PROGRESS }
#endif
#ifdef BUG_TALK /* who talks is alive, and is waited for */
    :: atomic { s_late && S(start) && s_hears(PROGRESS) ->
                down?PROGRESS; s_set_late(false) }
#endif

    /* Unwinding. */
    :: atomic { SU(settle) -> s_unwind = unwind_listen; s_set_late(false) }
    :: atomic { SU(listen) && (!s_at_peer || s_stage == at_hello) ->
                ARC(s_listen_knows_why); s_unwind = unwind_recover }
    :: atomic { SU(listen) && s_at_peer && s_hears(RETURNED) ->
                ARC(s_listen_returned);
                down?RETURNED; s_given = (s_given && s_running);
                s_unwind = unwind_recover }
    :: atomic { SU(listen) && s_at_peer && s_hears(FAILED) ->
                ARC(s_listen_told);
                down?FAILED; s_unwind = unwind_recover }
    :: atomic { SU(listen) && s_at_peer && s_hears(RUNNING) && s_given ->
                ARC(s_listen_hears_running);
                down?RUNNING; s_running = true }
    :: atomic { SU(listen) && s_at_peer && s_hears_end ->
                ARC(s_listen_gone); forget(down); s_unwind = unwind_recover }
    :: atomic { SU(listen) && s_at_peer && s_late ->
                ARC(s_listen_late); s_unwind = unwind_recover }
    /* What no source expects there, LOADED or an acknowledgement for one. */
    :: atomic { SU(listen) && s_at_peer &&
                (s_hears(READY) || s_hears(SWITCHOVER_ACK) ||
                 s_hears(LOADED)) ->
                down?_; s_unwind = unwind_recover }

    :: atomic { SU(recover) && s_given -> ARC(s_recover_handed_over);
#ifdef BUG_LOSES /* what was given away is no longer worth a word */
                verdict = is_failed;
#else
                verdict = is_handed_over;
#endif
#ifdef BUG_TAKES_BACK /* what was given away and not confirmed runs on */
                s_dev = runs;
#endif
                s_unwind = unwind_untrack }
    :: atomic { SU(recover) && !s_given -> ARC(s_recover_goes_back);
#ifndef BUG_STAYS /* devices that are still the source's stay stopped */
                s_dev = runs;
#endif
                s_unwind = unwind_untrack }
    :: atomic { SU(recover) && !s_given && s_stage != at_hello ->
                ARC(s_recover_resets); s_dev = blank;
#ifndef BUG_SILENT /* a reset is not told from going back */
                verdict = is_lost;
#endif
                s_unwind = unwind_untrack }
    :: atomic { SU(recover) && !s_given && s_stage != at_hello ->
                ARC(s_recover_fails); s_dev = dead;
                verdict = is_lost; s_unwind = unwind_untrack }

    :: atomic { SU(untrack) && (s_given || (s_stage != at_loaded &&
                s_stage != at_yours && s_stage != at_start)) ->
                s_unwind = unwind_linger }
    :: atomic { SU(untrack) && !s_given && (s_stage == at_loaded ||
                s_stage == at_yours || s_stage == at_start) ->
                s_unwind = unwind_tell; s_set_late(false) }
    :: atomic { SU(tell) && may_say_up -> ARC(s_tell_failed);
                say_up(FAILED); s_unwind = unwind_linger }
    :: atomic { SU(tell) && s_late -> ARC(s_tell_late);
                s_unwind = unwind_linger }
    :: atomic { SU(linger) -> ARC(s_linger_ends);
                s_unwind = unwind_over; s_end(verdict); break }
#ifndef ENDS
    :: atomic { !SU(none) -> ARC(s_unwinding_killed); s_die(); break }
#endif

#ifdef ENDS
    :: atomic { s_may_fail -> ARC(s_hangs_for_good); s_hangs = true;
                goto end_hangs }
#endif
    od;
#ifdef ENDS
    goto end;
end_hangs:
    false;
end:
#endif
    skip
}

active proctype target()
{
    mtype:outcome verdict = is_failed;

    #ifdef ENDS
    if
    :: t_may_fail = true
    :: skip
    fi;
#endif
    do
    :: atomic { T(hello) && t_hears(HELLO) && may_say_down ->
                ARC(t_hello_accepts);
                up?HELLO; say_down(ACCEPT); t_enter(at_setup) }
    :: atomic { T(hello) && t_hears(HELLO) && may_say_down ->
                ARC(t_hello_refuses);
                up?HELLO; say_down(REFUSE); t_fail(false) }
    T_CANCELLED(hello) T_GONE(hello) T_LATE(hello) T_KILLED(hello)

    :: atomic { T(setup) && may_say_down -> ARC(t_setup_resumes);
                t_dev = stopped; say_down(READY); t_enter(at_pre_copy) }
    T_CANCELLED(setup) T_DEVICE(setup) T_KILLED(setup)

    :: atomic { T(pre_copy) && t_hears(STREAM) && may_say_down ->
                ARC(t_pre_copy_acknowledges);
                up?STREAM; say_down(SWITCHOVER_ACK); t_enter(at_complete) }
    T_CANCELLED(pre_copy) T_GONE(pre_copy) T_LATE(pre_copy)
    T_DEVICE(pre_copy) T_KILLED(pre_copy)

    :: atomic { T(complete) && t_hears(END) -> ARC(t_complete_loads);
                up?END; t_enter(at_check) }
    T_CANCELLED(complete) T_GONE(complete) T_LATE(complete)
    T_DEVICE(complete) T_KILLED(complete)

    :: atomic { T(check) -> ARC(t_check_passes); t_enter(at_loaded) }
    T_CANCELLED(check) T_DEVICE(check) T_KILLED(check)

    :: atomic { T(loaded) && may_say_down -> ARC(t_loaded_says);
                say_down(LOADED);
#ifdef BUG_EARLY /* the target runs what it has loaded */
                t_dev = runs;
#endif
                t_enter(at_yours) }
    T_CANCELLED(loaded) T_LATE(loaded) T_KILLED(loaded)
    :: atomic { T(loaded) && down_broken -> ARC(t_loaded_gone); t_fail(true) }

    :: atomic { T(yours) && t_hears(YOURS) -> ARC(t_yours_reads);
                up?YOURS; t_ours = true; t_enter(at_start) }
    :: atomic { T(yours) && t_hears(FAILED) -> ARC(t_yours_told);
                up?FAILED; t_fail(false) }
    T_CANCELLED(yours) T_GONE(yours) T_LATE(yours) T_DEVICE(yours)
    T_KILLED(yours)

    :: atomic { T(start) && !t_began -> ARC(t_start_begins);
                t_began = true; t_dev = runs }
    :: atomic { T(start) && t_began && may_say_down -> ARC(t_start_says);
                say_down(RUNNING); t_enter(at_cleanup) }
    :: atomic { T(start) && t_began && (down_broken || t_late) ->
                ARC(t_start_unheard); t_enter(at_cleanup) }
    T_DEVICE(start) T_KILLED(start)

    :: atomic { T(cleanup) -> ARC(t_cleanup_ends);
                t_stage = at_done; t_end(is_done); break }
    T_KILLED(cleanup)

    /* Unwinding: TELL comes first for a target that does not own, last for one
     * that does. */
    :: atomic { TU(tell) && t_stage == at_hello -> t_unwind = unwind_settle }
    :: atomic { TU(tell) && may_say_down && t_dev != may_run &&
                (t_stage == at_loaded || t_stage == at_yours ||
                 t_stage == at_start) -> ARC(t_tell_returned);
                say_down(RETURNED); t_told() }
    :: atomic { TU(tell) && may_say_down && t_stage != at_hello &&
                (t_dev == may_run || (t_stage != at_loaded &&
                 t_stage != at_yours && t_stage != at_start)) ->
                ARC(t_tell_failed); say_down(FAILED); t_told() }
    :: atomic { TU(tell) && t_late -> ARC(t_tell_late); t_told() }

    :: atomic { TU(settle) -> t_unwind = unwind_listen; t_set_late(false);
#ifdef BUG_RETURNS_FIRST /* it gives back what still runs */
                if
                :: t_ours && nfull(down) -> say_down(RETURNED)
                :: !t_ours || full(down)
                fi
#endif
                }
    /* Only a better reason can come of it. */
    :: atomic { TU(listen) && (!t_at_peer || t_late || t_hears_end) ->
                forget(up); t_unwind = unwind_recover }

    :: atomic { TU(recover) -> ARC(t_recover_resets);
#ifndef BUG_HALF_RESET /* a target that did not own leaves what it loaded */
                t_dev = blank;
#else
                if
                :: t_ours -> t_dev = blank
                :: !t_ours
                fi;
#endif
                t_unwind = unwind_untrack }
    :: atomic { TU(recover) && t_stage != at_hello && t_dev != runs ->
                ARC(t_recover_fails); verdict = is_lost;
                t_unwind = unwind_untrack }
    :: atomic { TU(recover) && t_ours ->
                ARC(t_recover_fails_running); verdict = is_lost;
                t_dev = may_run; t_unwind = unwind_untrack }

    :: atomic { TU(untrack) && t_ours -> t_unwind = unwind_tell;
                t_set_late(false) }
    :: atomic { TU(untrack) && !t_ours -> t_unwind = unwind_linger;
                t_set_late(false) }
    :: atomic { TU(linger) && (t_late || t_hears_end) -> ARC(t_linger_ends);
                forget(up); t_unwind = unwind_over; t_end(verdict); break }
#ifndef ENDS
    :: atomic { !TU(none) -> ARC(t_unwinding_killed); t_die(); break }
#endif

#ifdef ENDS
    :: atomic { t_may_fail -> ARC(t_hangs_for_good); t_hangs = true;
                goto end_hangs }
#endif
    od;
#ifdef ENDS
    goto end;
end_hangs:
    false;
end:
#endif
    skip
}

#ifdef ENDS
/* Once a second, until it is quiet for good, a target says that it is alive;
 * also one that gets nothing done. */
active proctype progress()
{
    do
    :: atomic { (T(check) || T(start)) && !t_ended && empty(down) ->
                down!PROGRESS }
    :: T(check) || T(start) || t_ended || !TU(none) -> break
    od
}

#define s_waits (S(hello) || S(setup) || S(pre_copy) || S(complete) ||        \
                 S(loaded) || S(yours) || S(start) || SU(listen) || SU(tell))
#define t_waits (T(hello) || T(pre_copy) || T(complete) || T(loaded) ||       \
                 T(yours) || T(start) || TU(tell) || TU(listen) || TU(linger))

/* What a side waits for takes too long. */
active proctype clock()
{
    do
    :: atomic { s_waits && !s_late && !s_ended -> s_late = true }
    :: atomic { t_waits && !t_late && !t_ended -> t_late = true }
    :: both_ended -> break
    od
}
#endif

active proctype link()
{
    do
#ifdef ENDS
    :: atomic { !both_ended -> ARC(link_stalls); stalled = true; break }
#endif
    :: atomic { !both_ended -> ARC(link_breaks); cut = true; break }
    :: both_ended -> break
    od
}

#ifndef ENDS
/* Whoever reads "handed over", or finds a source that was killed, does what
 * docs/handover.md says. */
active proctype operator()
{
#ifdef BUG_HASTY /* the operator does not wait for the end of the receiver */
    s_ended;
#else
    both_ended;
#endif
    atomic {
        if
        :: s_outcome != is_handed_over && !(s_killed && s_dev != runs) ->
           skip
        :: s_killed && (s_dev == blank || s_dev == dead) ->
           ARC(o_finds_reset); found_reset = true
        :: (s_outcome == is_handed_over || s_killed) && s_dev == stopped ->
           if
           :: t_outcome == is_done -> ARC(o_receiver_was_done); s_dev = blank
           :: t_outcome == is_failed -> ARC(o_receiver_failed);
#ifdef BUG_RESETS_BOTH /* RUNNING at the target is taken for the moved device */
              s_dev = blank
#else
              s_dev = runs
#endif
           :: t_outcome == is_lost -> ARC(o_receiver_lost);
#ifndef BUG_TRUSTS_3 /* exit status 3 is taken for "does not run" */
              t_dev = dead;
#endif
              s_dev = runs
           :: t_outcome == is_pending && t_dev == runs ->
              ARC(o_target_runs); s_dev = blank
           :: t_outcome == is_pending && t_dev != runs ->
              ARC(o_target_does_not_run);
              if
              :: t_dev == may_run -> t_dev = dead
              :: t_dev != may_run
              fi;
              s_dev = runs
           fi
        fi;
        resolved = true
    }
}
#endif

#define s_owns (s_dev == runs)
#define t_owns (t_dev == runs)
#define t_might_own (t_dev == runs || t_dev == may_run)

#ifdef ENDS
ltl always_ends { <> ((s_ended || s_hangs) && (t_ended || t_hangs)) }
#else
ltl one_owner { [] !(s_owns && t_might_own) }
ltl never_lost { [] (both_ended -> (s_owns || t_owns || s_outcome == is_lost ||
                 s_outcome == is_handed_over || s_killed)) }
ltl done_is_theirs { [] (s_outcome == is_done -> t_owns) }
ltl failed_is_ours { [] (s_outcome == is_failed -> s_owns) }
ltl handed_over_waits { [] ((s_outcome == is_handed_over && !resolved) ->
                        s_dev == stopped) }
ltl receiver_is_right { [] ((t_outcome == is_done -> t_owns) &&
                        (t_outcome == is_failed -> t_dev == blank)) }
ltl operator_resolves { [] (resolved -> (s_owns || t_owns ||
                        s_outcome == is_lost || found_reset)) }
#endif
