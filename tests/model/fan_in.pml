/* Fan-in: one Gate over several writers' Grants. One writer's failure fails the Gate and cancels its siblings (design,
 * section 6, "Grant"). Each Grant ends by its own compare-and-swap, as in grant.pml; here its quiet is one step.
 *
 * A Gate opens with OK when its `remaining` has come to zero, or with an error, whichever is first; it opens once. The
 * group's pages come back when every Grant has ended. */
#include "common.pmlh"

#ifndef WRITERS
#define WRITERS 3
#endif
mtype = { done_means_placed, siblings_are_cancelled, memory_comes_back_quiet, every_wait_ends };

#define ARMED 0
#define COMPLETE 1
#define CANCELLING 2
#define ENDED 3
byte grant[WRITERS];
bit write_out[WRITERS], landed[WRITERS], followed[WRITERS], stalled[WRITERS];
byte remaining;
#define SHUT 0
#define OPEN_OK 1
#define OPEN_ERROR 2
byte gate;
bit freed;
byte failures, i;

#define TERMINAL(w) (grant[w] == COMPLETE || grant[w] == ENDED)
#if WRITERS == 2
#define ALL(p) (p(0) && p(1))
#else
#define ALL(p) (p(0) && p(1) && p(2))
#endif
#define LANDED(w) landed[w]
#define NOT_ARMED(w) (grant[w] != ARMED)

inline fail_gate() {
  if
  :: gate == SHUT -> gate = OPEN_ERROR; say("the Gate opens with an error\n");
  :: else
  fi
}

proctype Writer(byte w) {
  do
  :: d_step { grant[w] == ARMED && !landed[w] && !write_out[w] && !stalled[w] -> say("writer %d writes\n", w); write_out[w] = 1; }
  :: d_step { !stalled[w] && grant[w] == ARMED && !write_out[w] && !landed[w] -> say("writer %d stalls\n", w); stalled[w] = 1; }
  :: d_step { write_out[w] ->
      say("writer %d: its bytes land\n", w);
      invariant(memory_comes_back_quiet, !freed);
      write_out[w] = 0;
      landed[w] = 1;
    }
  od
}

/* The receiver's side of one Grant. */
proctype Grant(byte w) {
  do
  :: d_step { landed[w] && grant[w] == ARMED -> /* counted: the swap to COMPLETE */
      say("grant %d is COMPLETE\n", w);
      grant[w] = COMPLETE;
    }
  :: d_step { grant[w] == COMPLETE && !followed[w] ->
      followed[w] = 1; /* what follows from the end has been done */
      remaining--;
      if
      :: remaining == 0 && gate == SHUT ->
        gate = OPEN_OK;
        say("the Gate opens\n");
        invariant(done_means_placed, ALL(LANDED));
      :: else
      fi
    }
  :: d_step { grant[w] == ARMED && failures == 0 -> /* its writer, its Path or its deadline */
      say("grant %d fails\n", w);
      grant[w] = CANCELLING;
      failures++;
    }
  :: d_step { (grant[w] == CANCELLING || grant[w] == ENDED) && !followed[w] ->
      followed[w] = 1;
#ifndef GATE_WAITS_FOR_ALL
      fail_gate();
#endif
#ifndef SIBLINGS_GO_ON
      i = 0;
      do
      :: i < WRITERS ->
        if
        :: grant[i] == ARMED -> grant[i] = CANCELLING; say("grant %d is cancelled for its sibling\n", i);
#ifdef COMPLETE_IS_CANCELLED_TOO
        :: grant[i] == COMPLETE -> grant[i] = CANCELLING; invariant(done_means_placed, false);
#endif
        :: else
        fi;
        i++;
      :: else -> break
      od;
      i = 0;
#endif
    }
  :: d_step { grant[w] == CANCELLING && !write_out[w] -> say("grant %d is quiet\n", w); grant[w] = ENDED; }
  od
}

proctype Group() {
  do
#ifdef PAGES_AT_THE_GATES_ERROR
  :: d_step { gate != SHUT && !freed -> freed = 1; }
#else
  :: d_step { ALL(TERMINAL) && gate != SHUT && !freed -> say("the pages of the group are free\n"); freed = 1; }
#endif
  od
}

proctype Monitor() {
  timeout ->
    invariant(siblings_are_cancelled, failures == 0 || ALL(NOT_ARMED));
    invariant(every_wait_ends, gate != SHUT && ALL(TERMINAL));
}

init {
  byte w;
  atomic {
#ifdef GATE_OF_ONE_WRITER
    remaining = 1;
#else
    remaining = WRITERS;
#endif
    do
    :: w < WRITERS -> run Writer(w); run Grant(w); w++;
    :: else -> break
    od;
    w = 0;
    run Group();
    run Monitor();
  }
}
