/* The end of a Grant: completion, cancel from either side and from a deadline, quiet, GRANT_END, loss of the control
 * connection, a process that stops, credits (design, section 6, "Grant", "The end", "Cancel"; section 5, "Credits").
 *
 * Units go out once, on two Paths; a Path that dies ends the Transfer here (settlement.pml has what saves it). A wire
 * carries writes (W) and immediates (I) in order; what a stopped process had posted still moves, and nothing looks at a
 * Grant before a byte lands, as with RDMA. Every step is one turn of one thread. The receiver's deadline and its
 * application cancel by the compare-and-swap that completion uses. When the control connection is lost each side notices
 * at a moment of its own; what it has not taken by then is gone. */
#include "common.pmlh"

#ifndef PATHS
#define PATHS 2
#endif
#ifndef UNITS
#define UNITS 3
#endif
#ifndef DEATHS
#define DEATHS 0
#endif
#ifndef CANCELS /* 1: the writer may, 2: the receiver may, 3: both */
#define CANCELS 3
#endif
#ifndef LOSSES /* of the control connection */
#define LOSSES 0
#endif
#ifndef STOPS /* 1: the writer's process may stop for ever, 2: the receiver's, 3: one of them */
#define STOPS 0
#endif
#ifndef DEPTH /* receives that the receiver posts on a Path; 0: no credits */
#define DEPTH 0
#endif
#ifndef WIRE
#define WIRE 3
#endif
#define SLOTS 2
#define SLOT(u) ((u) == UNITS - 1)
#define TARGET(s) ((s) == 0 -> UNITS - 1 : 1)
#define at(array, e, s) array[(e) * SLOTS + (s)]
#if PATHS == 2
#define ALL(p) (p(0) && p(1))
#else
#define ALL(p) (p(0) && p(1) && p(2))
#endif

mtype = { done_means_placed, counting_is_exact, memory_comes_back_quiet, source_comes_back_quiet, end_is_decided_once,
          verdicts_agree, credits_are_exact, every_wait_ends };

#define W(u) (u)
#define I(s, w) (16 + (s) * 8 + (w))
mtype = { FENCE, CANCEL, QUIESCED, GRANT_END, END_ACK, CREDITS };
chan wire[PATHS] = [WIRE] of { byte };
chan to_receiver = [7] of { mtype, byte };
chan to_writer = [8] of { mtype, byte, byte };

/* ---- the writer */
#define OPEN 0
#define BROKEN 1
#define FENCED 2
byte w_path[PATHS];
byte batch_units[PATHS];
bit batch_slot[PATHS];
byte signalled[PATHS * SLOTS];
byte out[PATHS];    /* writes that are with the plug-in: they read the source */
byte credit[PATHS];
byte next_unit;
#define OFFERED 0 /* not submitted */
#define ACTIVE 1
#define W_CANCELLING 2
#define DONE 3
#define FAILED 4
#define IN_DOUBT 5
#define OFFER_ENDED 6 /* never submitted; a submit says CANCELLED */
byte transfer;
byte verdict;       /* 0: none */
bit w_quiesced, gives_up;
bit listed_broken[PATHS];

/* ---- the receiver */
#define FREEZING 1
byte r_path[PATHS]; /* OPEN, FREEZING: bytes still land, FENCED */
byte applied[PATHS * SLOTS];
byte count[SLOTS];
bit landed[UNITS];
#define ARMED 0
#define COMPLETE 1
#define CANCELLING 2
#define ENDED 3
byte grant;
bit cancel_seen, told, acked, r_quiesced;
byte unpolled[PATHS]; /* immediates on the wire: each needs a posted receive */
byte to_return[PATHS];

/* ---- faults */
byte deaths, losses;
bit lossy[PATHS];
bit w_lost, r_lost; /* the loss of the control connection, as each side has noticed it */
bit lost, w_stopped, r_stopped;

#define w_runs (!w_stopped)
#define r_runs (!r_stopped)
#define may_fail (!(told && acked))
inline send_r(kind, x) {
  if
  :: !lost -> assert(nfull(to_receiver)); to_receiver!kind(x);
  :: else
  fi
}
inline send_w(kind, x, y) {
  if
  :: !lost -> assert(nfull(to_writer)); to_writer!kind(x, y);
  :: else
  fi
}

/* ---- the writer */
inline w_cancels() {
  if
  :: transfer == ACTIVE && verdict == 0 -> transfer = W_CANCELLING; next_unit = UNITS;
  :: else
  fi
}

proctype WriterPath(byte e) {
  do
  :: d_step { w_runs && transfer == ACTIVE && next_unit < UNITS && w_path[e] == OPEN && nfull(wire[e]) &&
              (next_unit > 0 || e == 0 || w_path[0] != OPEN) && /* the Paths are alike */
#ifdef BATCH_WITHOUT_CREDIT
              (batch_units[e] == 0 || batch_slot[e] == SLOT(next_unit)) ->
#else
              ((batch_units[e] == 0 && (DEPTH == 0 || credit[e] > 0)) ||
               (batch_units[e] > 0 && batch_slot[e] == SLOT(next_unit))) ->
#endif
      say("writer: unit %d (slot %d) goes out on path %d\n", next_unit, SLOT(next_unit), e);
      if
      :: batch_units[e] == 0 && credit[e] > 0 -> credit[e]--;
      :: else
      fi;
      wire[e]!W(next_unit);
      out[e]++;
      batch_slot[e] = SLOT(next_unit);
      batch_units[e]++;
      next_unit++;
    }
  :: d_step { w_runs && (transfer == ACTIVE || transfer == W_CANCELLING) && w_path[e] == OPEN && batch_units[e] > 0 &&
              nfull(wire[e]) ->
      say("writer: path %d: its batch closes: %d units of slot %d\n", e, batch_units[e], batch_slot[e]);
#if DEPTH > 0
      invariant(credits_are_exact, unpolled[e] < DEPTH);
      unpolled[e]++;
#endif
      wire[e]!I(batch_slot[e], batch_units[e]);
      at(signalled, e, batch_slot[e]) = at(signalled, e, batch_slot[e]) + batch_units[e];
#ifndef BATCH_CLOSED_TWICE
      batch_units[e] = 0; batch_slot[e] = 0;
#endif
    }
  :: d_step { w_runs && w_path[e] == OPEN && lossy[e] ->
      say("writer: path %d is found broken\n", e);
      w_path[e] = BROKEN;
      w_cancels();
    }
  :: d_step { w_runs && w_path[e] == BROKEN ->
      say("writer: path %d: own end fenced, FENCE sent\n", e);
      w_path[e] = FENCED;
      batch_units[e] = 0; batch_slot[e] = 0;
      out[e] = 0;
      send_r(FENCE, e);
      w_cancels();
    }
  od
}

#define STOPPED(e) (w_path[e] != OPEN || batch_units[e] == 0)
#define SOURCE_QUIET(e) (out[e] == 0)
#define OWN_FENCED(e) (w_path[e] == FENCED)

proctype Writer() {
  mtype kind;
  byte a, b;
  do
  :: d_step { w_runs && !w_lost && nempty(to_writer) ->
      to_writer?kind, a, b;
      if
      :: kind == FENCE ->
        say("writer: FENCE of path %d came\n", a);
        if
        :: w_path[a] == OPEN -> w_path[a] = BROKEN; w_cancels();
        :: else
        fi
      :: kind == CANCEL ->
        say("writer: CANCEL came\n");
        w_cancels();
        if
#ifdef SUBMIT_ON_ENDED_OFFER
        :: transfer == OFFERED -> skip;
#else
        :: transfer == OFFERED -> transfer = OFFER_ENDED;
#endif
        :: else
        fi
      :: kind == GRANT_END ->
        say("writer: GRANT_END came: %d\n", a);
        if
#ifdef SUBMIT_ON_ENDED_OFFER
        :: transfer == OFFERED -> skip;
#else
        :: transfer == OFFERED -> transfer = OFFER_ENDED;
#endif
        :: transfer == ACTIVE || transfer == W_CANCELLING -> verdict = a; next_unit = UNITS;
#ifdef LATE_VERDICT_IS_ADOPTED
        :: transfer == IN_DOUBT -> verdict = a; transfer = W_CANCELLING; invariant(end_is_decided_once, false);
#endif
        :: else
        fi;
        send_r(END_ACK, 0);
      :: kind == CREDITS ->
        say("writer: path %d: %d credits came\n", a, b);
        credit[a] = credit[a] + b;
      fi;
      kind = 0; a = 0; b = 0;
    }
  :: d_step { w_runs && transfer == OFFERED && !w_lost -> say("writer: submits\n"); transfer = ACTIVE; }
  :: d_step { w_runs && (transfer == ACTIVE || transfer == W_CANCELLING) && verdict != 0 && ALL(SOURCE_QUIET) ->
      say("writer: adopts the verdict %d\n", verdict);
      invariant(verdicts_agree, (verdict == DONE) == (grant == COMPLETE));
      transfer = verdict;
      verdict = 0;
    }
#ifdef DONE_BY_LOCAL_COMPLETION
  :: d_step { w_runs && transfer == ACTIVE && next_unit == UNITS && ALL(SOURCE_QUIET) && ALL(STOPPED) ->
      transfer = DONE;
      invariant(done_means_placed, grant == COMPLETE);
    }
#endif
#if CANCELS & 1
  :: d_step { w_runs && transfer == ACTIVE && verdict == 0 ->
      say("writer: cancels\n");
      w_cancels();
      send_r(CANCEL, 0);
    }
#endif
  :: d_step { w_runs && transfer == W_CANCELLING && verdict == 0 && !w_quiesced && !w_lost &&
#ifdef CANCEL_ACKED_EARLY
              true ->
#else
              ALL(STOPPED) ->
#endif
      say("writer: QUIESCED sent\n");
      w_quiesced = 1;
      do
      :: a < PATHS -> listed_broken[a] = (w_path[a] != OPEN); a++;
      :: else -> break
      od;
      a = 0;
      send_r(QUIESCED, 0);
    }
#ifndef NO_VERDICT_TIMEOUT
  :: d_step { w_runs && transfer == W_CANCELLING && verdict == 0 && !gives_up ->
      say("writer: 1.5 s after the cancel there is no verdict: fences its own side\n");
      gives_up = 1;
#ifdef IN_DOUBT_WITHOUT_FENCE
      transfer = IN_DOUBT;
#else
      do
      :: a < PATHS ->
        if
        :: w_path[a] == OPEN -> w_path[a] = BROKEN;
        :: else
        fi;
        a++;
      :: else -> break
      od;
      a = 0;
#endif
    }
  :: d_step { w_runs && transfer == W_CANCELLING && verdict == 0 && gives_up && ALL(OWN_FENCED) ->
#ifdef CONTROL_LOSS_IS_A_FAILURE
      transfer = FAILED;
      invariant(verdicts_agree, grant != COMPLETE);
#else
      say("writer: FAILED(IN_DOUBT)\n");
      transfer = IN_DOUBT;
#endif
    }
#endif
  :: d_step { w_runs && lost && !w_lost ->
      say("writer: the control connection is lost\n");
      w_lost = 1;
      do
      :: nempty(to_writer) -> to_writer?_, _, _;
      :: empty(to_writer) -> break
      od;
      if
      :: transfer == OFFERED -> transfer = OFFER_ENDED;
      :: else
      fi;
      if
      :: verdict == 0 -> w_cancels();
      :: else
      fi;
      do
      :: a < PATHS ->
        if
        :: w_path[a] == OPEN -> w_path[a] = BROKEN;
        :: else
        fi;
        a++;
      :: else -> break
      od;
      a = 0;
      gives_up = 1;
    }
  od
}

/* ---- the receiver */
/* The compare-and-swap from ARMED: by the application, a deadline, a message, or the data thread. */
inline r_cancels() {
  if
  :: grant == ARMED ->
    grant = CANCELLING;
    /* It cannot complete any more: which bytes have landed is of no interest. */
    landed[0] = 1; landed[1] = 1; landed[UNITS - 1] = 1;
  :: else
  fi
}

proctype ReceiverPath(byte e) {
  byte item, t, u;
  do
  :: d_step { r_path[e] != FENCED && nempty(wire[e]) && /* a NIC needs no running process, counting does */
              (r_runs || (wire[e]?[0] || wire[e]?[1] || wire[e]?[2] || wire[e]?[3])) ->
      wire[e]?item;
      if
      :: item < 8 ->
        say("path %d: the bytes of unit %d land\n", e, item);
        invariant(memory_comes_back_quiet, grant != ENDED && count[SLOT(item)] < TARGET(SLOT(item)));
        invariant(source_comes_back_quiet, transfer < DONE || w_path[e] == FENCED);
        landed[item] = 1;
        if
        :: out[e] > 0 -> out[e]--;
        :: else
        fi
      :: item > 8 && (lossy[e] || r_path[e] != OPEN) ->
        say("path %d: a completion is lost\n", e);
      :: else ->
        item = item - 16;
        t = item / 8;
        item = item % 8;
        say("receiver: path %d: %d units of slot %d are counted\n", e, item, t);
        invariant(memory_comes_back_quiet, grant != ENDED && grant != COMPLETE);
        at(applied, e, t) = at(applied, e, t) + item;
        count[t] = count[t] + item;
        invariant(counting_is_exact, count[t] <= TARGET(t));
#if DEPTH > 0
        unpolled[e]--;
        to_return[e]++;
#endif
        do
        :: u < UNITS ->
          invariant(done_means_placed, count[SLOT(u)] < TARGET(SLOT(u)) || landed[u]);
          u++;
        :: else -> break
        od;
        u = 0;
        if
#ifdef UNITS_COMPLETE_A_CANCELLED
        :: count[0] == TARGET(0) && count[1] == TARGET(1) ->
          invariant(end_is_decided_once, grant == ARMED);
#else
        :: grant == ARMED && count[0] == TARGET(0) && count[1] == TARGET(1) ->
#endif
          grant = COMPLETE;
          say("receiver: the Grant is COMPLETE\n");
        :: else
        fi
      fi;
      item = 0; t = 0;
    }
  :: d_step { r_path[e] != FENCED && (lossy[e] || r_path[e] == FREEZING) && nempty(wire[e]) ->
      wire[e]?item;
      if
      :: item < 8 && out[e] > 0 -> out[e]--;
      :: else
      fi;
      say("path %d: item %d is lost\n", e, item);
      item = 0;
    }
  :: d_step { r_path[e] == FENCED && nempty(wire[e]) ->
      /* Posts to an end that is gone: they are with the plug-in until their own side is fenced. */
      wire[e]?item; item = 0;
    }
#if DEPTH > 0
#ifndef CREDITS_ARE_KEPT
  :: d_step { r_runs && r_path[e] == OPEN && to_return[e] > 0 && !r_lost && may_fail ->
      say("receiver: path %d: %d receives posted again, CREDITS sent\n", e, to_return[e]);
      send_w(CREDITS, e, to_return[e]);
#ifdef CREDIT_RETURNED_TWICE
      send_w(CREDITS, e, to_return[e]);
#endif
      to_return[e] = 0;
    }
#endif
#endif
  :: d_step { deaths < DEATHS && may_fail && r_path[e] == OPEN && !lossy[e] ->
      say("path %d dies\n", e);
      lossy[e] = 1;
      deaths++;
    }
  :: d_step { r_runs && r_path[e] == FREEZING ->
      say("receiver: path %d: no byte can land any more\n", e);
      r_path[e] = FENCED;
    }
  od
}

inline freeze(e) {
  if
  :: r_path[e] == OPEN ->
    say("receiver: path %d is frozen, FENCE sent\n", e);
    r_path[e] = FREEZING;
    send_w(FENCE, e, 0);
  :: else
  fi
}

#define AGREES(e) (at(applied, e, 0) == at(signalled, e, 0) && at(applied, e, 1) == at(signalled, e, 1))
#if defined(SLOT_FREED_EARLY)
#define QUIET(e) true
#elif defined(FROZEN_IS_QUIET)
#define QUIET(e) (r_path[e] != OPEN || (r_quiesced && !listed_broken[e] && AGREES(e)))
#else
#define QUIET(e) (r_path[e] == FENCED || (r_path[e] == OPEN && r_quiesced && !listed_broken[e] && AGREES(e)))
#endif
#define FENCING_OR_QUIET(e) (r_path[e] != OPEN || QUIET(e))

proctype Receiver() {
  mtype kind;
  byte a;
  do
  :: d_step { r_runs && !r_lost && nempty(to_receiver) ->
      to_receiver?kind, a;
      if
      :: kind == FENCE ->
        say("receiver: FENCE of path %d came\n", a);
        freeze(a);
        r_cancels();
      :: kind == CANCEL ->
        if
        :: told && !acked -> say("receiver: CANCEL came late: the tombstone answers\n");
          send_w(GRANT_END, (grant == COMPLETE -> DONE : FAILED), 0);
        :: else -> say("receiver: CANCEL came\n"); r_cancels();
        fi
      :: kind == QUIESCED -> say("receiver: QUIESCED came\n"); r_quiesced = 1; r_cancels();
      :: kind == END_ACK -> say("receiver: the end is acknowledged\n"); acked = 1;
      fi;
      kind = 0; a = 0;
    }
  :: d_step { r_runs && grant == COMPLETE && !told ->
      say("receiver: GRANT_END sent: DONE\n");
      told = 1;
      send_w(GRANT_END, DONE, 0);
    }
#if CANCELS & 2
  :: d_step { r_runs && grant == ARMED ->
      say("receiver: the application, or a deadline, cancels\n");
      r_cancels();
    }
#endif
  :: d_step { r_runs && grant == CANCELLING && !cancel_seen ->
      say("receiver: CANCEL sent\n");
      cancel_seen = 1;
      send_w(CANCEL, 0, 0);
    }
#ifdef QUIET_BY_THE_CLOCK
  :: d_step { r_runs && grant == CANCELLING && cancel_seen ->
      say("receiver: 500 ms passed: taken for quiet\n");
      grant = ENDED;
      told = 1;
      send_w(GRANT_END, FAILED, 0);
    }
#endif
#ifndef NO_FENCE_AT_500_MS
  :: d_step { r_runs && grant == CANCELLING && cancel_seen && !(ALL(FENCING_OR_QUIET)) ->
      say("receiver: 500 ms after the cancel: what is not quiet is fenced\n");
      do
      :: a < PATHS ->
        if
        :: !(QUIET(a)) -> freeze(a);
        :: else
        fi;
        a++;
      :: else -> break
      od;
      a = 0;
    }
#endif
  :: d_step { r_runs && grant == CANCELLING && cancel_seen && ALL(QUIET) ->
      say("receiver: quiet: the Grant has ended, GRANT_END sent: FAILED\n");
      grant = ENDED;
      told = 1;
      send_w(GRANT_END, FAILED, 0);
    }
  :: d_step { r_runs && lost && !r_lost ->
      say("receiver: the control connection is lost\n");
      r_lost = 1;
      do
      :: nempty(to_receiver) -> to_receiver?_, _;
      :: empty(to_receiver) -> break
      od;
#ifdef NO_FENCE_AT_CONTROL_LOSS
      if
      :: grant == ARMED || grant == CANCELLING -> grant = ENDED; told = 1;
      :: else
      fi;
#endif
      r_cancels();
      do
      :: a < PATHS -> freeze(a); a++;
      :: else -> break
      od;
      a = 0;
    }
  od
}

proctype Faults() {
  do
  :: d_step { losses < LOSSES && may_fail -> say("the control connection breaks\n"); lost = 1; losses++; }
#if STOPS & 1
  :: d_step { !r_stopped && !w_stopped && may_fail -> say("the writer's process stops\n"); w_stopped = 1; }
#endif
#if STOPS & 2
  :: d_step { !r_stopped && !w_stopped && may_fail -> say("the receiver's process stops\n"); r_stopped = 1; }
#endif
  od
}

proctype Monitor() {
  timeout ->
    invariant(every_wait_ends, w_stopped || transfer >= DONE);
    invariant(every_wait_ends, r_stopped || told);
    invariant(every_wait_ends, w_stopped || r_stopped || lost || acked);
}

init {
  byte e;
  atomic {
    do
    :: e < PATHS -> credit[e] = DEPTH; run WriterPath(e); run ReceiverPath(e); e++;
    :: else -> break
    od;
    e = 0;
    run Writer();
    run Receiver();
    run Faults();
    run Monitor();
  }
}
