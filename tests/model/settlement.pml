/* Fence and settlement: one Grant whose units are spread over several Paths, which die, are fenced, settled and opened
 * again (design, section 6, "Fence", "Settlement", "Cancel"; README.md in this folder maps every step).
 *
 * A wire carries, in order, writes (W), rewrites (R), immediates (I) and flushes (F) of one Path. Bytes land when their
 * item leaves the wire; an immediate counts when the receiver's data thread takes it. A lossy Path may lose any write and
 * loses every immediate and every answer to a flush from then on: the half-dead Path that loses only completions is the
 * case in which its writes still land. Nothing looks at a Grant before a byte lands (as RDMA), and a frozen Path may
 * discard bytes (as tcp). The control connection is in order and does not die here; grant.pml has its loss.
 *
 * Paths are named by epoch; `ordinal` says which entry of the receiver's applied[] an epoch uses. Every step of either
 * side is one turn of its data thread; steps 1, 2 and 3-4 of a fence are turns of their own, with bytes landing between. */
#include "common.pmlh"

#ifndef PATHS
#define PATHS 2
#endif
#ifndef REOPENS
#define REOPENS 1
#endif
#ifndef DEATHS
#define DEATHS 2
#endif
#ifndef UNITS
#define UNITS 3
#endif
#ifndef WIRE
#define WIRE 4
#endif
#ifndef CANCELS /* 1: the writer may, 2: the receiver may, 3: both */
#define CANCELS 3
#endif
#define EPOCHS (PATHS + REOPENS)
#define SLOTS 2
#define SLOT(u) ((u) == UNITS - 1)
#define TARGET(s) ((s) == 0 -> UNITS - 1 : 1)
#define NONE 9

mtype = { done_means_placed, counting_is_exact, memory_comes_back_quiet, verdicts_agree, every_wait_ends,
          path_is_one_at_a_time };

/* Items of a wire: one byte. */
#define W(u) (u)
#define R(u) (8 + (u))
#define I(s, w) (16 + (s) * 8 + (w))
#define F 63

mtype = { FENCE, FENCED, W_FENCED, SETTLE, CANCEL, QUIESCED, GRANT_END, END_ACK, PATH_REQUEST, PATH_REPLY };
chan wire[EPOCHS] = [WIRE] of { byte };
chan to_receiver = [8] of { mtype, byte, byte };
chan to_writer = [8] of { mtype, byte, byte, byte };

/* ---- the writer's state */
#define CLOSED 0
#define OPENING 1
#define OPEN 2
#define BROKEN 3 /* known to be, not fenced */
#define OWN_FENCED 4
#define DEAD 5 /* both ends are fenced, and the units accounted for */
byte w_path[EPOCHS];
bit w_agreed[EPOCHS]; /* the reply came: its end opens at a moment of its own */
bit w_heard[EPOCHS]; /* FENCED came, with: */
byte w_heard_applied[EPOCHS * SLOTS];

#define NEW 0
#define ON(e) (1 + (e))
#define LOST 10    /* it was assigned to a Path that is DEAD, and is not settled */
#define SETTLED 11
byte unit[UNITS];
bit rewritten[UNITS]; /* in this attempt */
byte next_unit;

byte batch_units[EPOCHS];
bit batch_slot[EPOCHS];
byte signalled[EPOCHS * SLOTS];
byte owed[SLOTS];
bit dirty[EPOCHS];    /* rewrites behind the last flush posted */
byte flushes[EPOCHS]; /* posted, not answered */

#define ACTIVE 0
#define W_CANCELLING 1
#define DONE 2
#define FAILED 3
byte transfer;
bit w_quiesced;
bit listed[EPOCHS];        /* QUIESCED's content */
bit listed_broken[EPOCHS];

/* ---- the receiver's state */
#define TICKET 1 /* agreed to, not open */
#define FROZEN 3
#define SNAPPED 4
#define R_FENCED 5
byte r_path[EPOCHS]; /* CLOSED, TICKET, OPEN, FROZEN, SNAPPED, R_FENCED */
bit r_heard[EPOCHS]; /* W_FENCED came */
byte r_snapshot[EPOCHS * SLOTS];
byte ordinal[EPOCHS];
byte applied[PATHS * SLOTS];
byte count[SLOTS];
bit landed[UNITS];

#define ARMED 0
#define COMPLETE 1
#define CANCELLING 2
#define ENDED 3
byte grant;
bit told, acked, r_quiesced;
byte expected; /* of a mutant: the control thread agreed, the engine hears of it before any later message */

/* ---- faults */
byte deaths, reopens;
bit lossy[EPOCHS];

/* What is sent to an end that is fenced goes nowhere. */
#define has_room(e) (r_path[e] == R_FENCED || nfull(wire[e]))
inline put(e, x) {
  if
  :: r_path[e] == R_FENCED
  :: r_path[e] != R_FENCED -> wire[e]!x;
  fi
}
inline shut(e) {
  do
  :: nempty(wire[e]) -> wire[e]?_;
  :: empty(wire[e]) -> break
  od;
  r_path[e] = R_FENCED;
}
/* SILENT_LOSS: the writer does not notice that completions are lost, until the deadline cancels. */
#ifdef SILENT_LOSS
#define NOTICED(e) false
#else
#define NOTICED(e) lossy[e]
#endif
#define send_r(kind, a, b) assert(nfull(to_receiver)); to_receiver!kind(a, b)
#define send_w(kind, a, b, c) assert(nfull(to_writer)); to_writer!kind(a, b, c)
#define may_die (deaths < DEATHS && !acked)
#define at(array, e, s) array[(e) * SLOTS + (s)]

/* ---- which unit is to be rewritten */
#ifdef REWRITE_OWED_ZERO
#define MAY_REWRITE(s) true
#else
#define MAY_REWRITE(s) (owed[s] > 0)
#endif
#define RW(u) (unit[u] == LOST && !rewritten[u] && MAY_REWRITE(SLOT(u)))
#if UNITS == 1
#define FIRST_RW (RW(0) -> 0 : NONE)
#elif UNITS == 2
#define FIRST_RW (RW(0) -> 0 : (RW(1) -> 1 : NONE))
#elif UNITS == 3
#define FIRST_RW (RW(0) -> 0 : (RW(1) -> 1 : (RW(2) -> 2 : NONE)))
#else
#define FIRST_RW (RW(0) -> 0 : (RW(1) -> 1 : (RW(2) -> 2 : (RW(3) -> 3 : NONE))))
#endif

/* ---- predicates over all Paths, unrolled */
#if EPOCHS == 2
#define ALL(p) (p(0) && p(1))
#elif EPOCHS == 3
#define ALL(p) (p(0) && p(1) && p(2))
#elif EPOCHS == 4
#define ALL(p) (p(0) && p(1) && p(2) && p(3))
#else
#define ALL(p) (p(0) && p(1) && p(2) && p(3) && p(4))
#endif

#ifdef SETTLE_WITHOUT_FLUSH
#define FLUSHED(e) true
#else
#define FLUSHED(e) (!dirty[e] && flushes[e] == 0)
#endif
#define GONE(e) (w_path[e] == CLOSED || w_path[e] == DEAD)
#define NOT_LIVE(e) (w_path[e] != OPEN)

#ifdef QUIESCED_WITHOUT_FLUSH
#define STOPPED(e) (w_path[e] != OPEN || batch_units[e] == 0)
#else
#define STOPPED(e) (w_path[e] != OPEN || (batch_units[e] == 0 && !dirty[e] && flushes[e] == 0))
#endif

#define AGREES(e)                                                     \
  (applied[ordinal[e] * SLOTS] == signalled[(e) * SLOTS] &&           \
   applied[ordinal[e] * SLOTS + 1] == signalled[(e) * SLOTS + 1])
#if defined(BROKEN_IS_QUIET)
#define SAID_QUIET(e) AGREES(e)
#elif defined(COUNTS_ARE_NOT_COMPARED)
#define SAID_QUIET(e) (!listed_broken[e])
#else
#define SAID_QUIET(e) (!listed_broken[e] && AGREES(e))
#endif
/* Agreed to, but not open here: quiet if it was not open at the writer either (ADR 0009). */
#ifdef TICKET_IS_QUIET
#define TICKET_QUIET(e) true
#else
#define TICKET_QUIET(e) (r_quiesced && !listed[e])
#endif
/* Open here, and not in QUIESCED: it opened at the writer after that, or its FENCE came before QUIESCED and froze it. */
#ifdef FROZEN_IS_QUIET
#define FENCE_QUIET(e) (r_path[e] >= FROZEN)
#elif defined(UNLISTED_IS_QUIET)
#define FENCE_QUIET(e) (r_path[e] == R_FENCED || (r_path[e] >= FROZEN && r_quiesced && !listed[e]))
#else
#define FENCE_QUIET(e) (r_path[e] == R_FENCED)
#endif
#define QUIET(e)                                                                     \
  (r_path[e] == CLOSED || FENCE_QUIET(e) || (r_path[e] == TICKET && TICKET_QUIET(e)) || \
   (r_path[e] == OPEN && r_quiesced && (!listed[e] || SAID_QUIET(e))))
#define QUIET_OR_FENCING(e) (r_path[e] == FROZEN || r_path[e] == SNAPPED || QUIET(e))

/* A Path's end opens only while the Grant is ARMED, or ended with the writer's acknowledgement; else it is held. */
#define MAY_OPEN (grant == ARMED || (told && acked))

/* ---- the writer */
/* What nobody looks at any more, so that states that differ in nothing else are one: after a cancel the units, after the
 * end what was signalled, too. */
inline forget_units() {
  a = 0;
  do
  :: a < UNITS -> unit[a] = SETTLED; rewritten[a] = 0; a++;
  :: else -> break
  od;
  a = 0;
  do
  :: a < EPOCHS -> at(w_heard_applied, a, 0) = 0; at(w_heard_applied, a, 1) = 0; a++;
  :: else -> break
  od;
  a = 0; owed[0] = 0; owed[1] = 0; next_unit = UNITS;
}
inline forget_all() {
  forget_units();
  do
  :: a < EPOCHS ->
    batch_units[a] = 0; batch_slot[a] = 0; dirty[a] = 0; flushes[a] = 0; listed[a] = 0; listed_broken[a] = 0;
    at(signalled, a, 0) = 0; at(signalled, a, 1) = 0;
    a++;
  :: else -> break
  od;
  a = 0;
}

inline dead(e) {
  s = 0;
  do
  :: s < UNITS ->
    if
    :: unit[s] == ON(e) -> unit[s] = LOST; owed[SLOT(s)]++;
    :: else
    fi;
    rewritten[s] = 0;
    s++;
  :: else -> break
  od;
  s = 0;
  do
  :: s < SLOTS ->
    if
    :: transfer == ACTIVE ->
      invariant(counting_is_exact, at(w_heard_applied, e, s) <= owed[s]);
      owed[s] = owed[s] - at(w_heard_applied, e, s);
    :: else
    fi;
    at(w_heard_applied, e, s) = 0;
    at(signalled, e, s) = 0;
    s++;
  :: else -> break
  od;
  w_path[e] = DEAD;
  batch_units[e] = 0; batch_slot[e] = 0;
#ifdef ABORTED_REWRITE_FORGOTTEN
  s = 0;
  do
  :: s < EPOCHS -> dirty[s] = 0; flushes[s] = 0; s++;
  :: else -> break
  od;
#endif
  dirty[e] = 0; flushes[e] = 0;
  s = 0;
}

/* What the writer's data thread does with one Path. */
proctype WriterPath(byte e) {
  byte s;
  do
  :: d_step { transfer == ACTIVE && next_unit < UNITS && w_path[e] == OPEN && has_room(e) &&
              (next_unit > 0 || e == 0 || w_path[0] != OPEN) && /* the first Paths are alike */
              (batch_units[e] == 0 || batch_slot[e] == SLOT(next_unit)) ->
      say("writer: unit %d (slot %d) goes out on path %d\n", next_unit, SLOT(next_unit), e);
      put(e, W(next_unit));
      unit[next_unit] = ON(e);
      batch_slot[e] = SLOT(next_unit);
      batch_units[e]++;
      next_unit++;
    }
  :: d_step { transfer <= W_CANCELLING && w_path[e] == OPEN && batch_units[e] > 0 && has_room(e) ->
      say("writer: path %d: its batch closes: %d units of slot %d\n", e, batch_units[e], batch_slot[e]);
      put(e, I(batch_slot[e], batch_units[e]));
      at(signalled, e, batch_slot[e]) = at(signalled, e, batch_slot[e]) + batch_units[e];
      batch_units[e] = 0; batch_slot[e] = 0;
    }
  :: d_step { transfer == ACTIVE && w_path[e] == OPEN && FIRST_RW != NONE && has_room(e) ->
      s = FIRST_RW;
      say("writer: unit %d is rewritten on path %d\n", s, e);
      put(e, R(s));
      rewritten[s] = 1;
      dirty[e] = 1;
      s = 0;
    }
  :: d_step { transfer <= W_CANCELLING && w_path[e] == OPEN && dirty[e] && has_room(e) &&
              (FIRST_RW == NONE || transfer == W_CANCELLING) ->
      say("writer: path %d is flushed\n", e);
      put(e, F);
      dirty[e] = 0;
      flushes[e]++;
    }
  :: d_step { w_path[e] == OPEN && (NOTICED(e) || r_path[e] >= FROZEN) ->
      say("writer: path %d is found broken\n", e);
      w_path[e] = BROKEN;
    }
  :: d_step { w_path[e] == OPEN && may_die ->
      say("writer: path %d broke on this side\n", e);
      w_path[e] = BROKEN;
      deaths++;
    }
  :: d_step { w_path[e] == BROKEN ->
      say("writer: path %d: own end fenced, FENCE sent\n", e);
      w_path[e] = OWN_FENCED;
      send_r(W_FENCED, e, 0);
    }
#ifdef RETRY_BEFORE_FENCE
  :: d_step { w_path[e] == OWN_FENCED ->
#else
  :: d_step { w_path[e] == OWN_FENCED && w_heard[e] ->
#endif
      dead(e);
      say("writer: path %d is dead; owed %d and %d\n", e, owed[0], owed[1]);
    }
  :: d_step { w_path[e] == OPENING && w_agreed[e] ->
      say("writer: path %d is open\n", e);
      w_path[e] = OPEN;
      w_agreed[e] = 0;
    }
  od
}

proctype Writer() {
  mtype kind;
  byte a, b, c;
  do
  :: d_step { to_writer?kind, a, b, c ->
      if
      :: kind == FENCE ->
        say("writer: FENCE of path %d came\n", a);
        if
        :: w_path[a] == OPEN -> w_path[a] = BROKEN;
#ifndef OPENING_PATH_FORGETS_FENCE
        :: w_path[a] == OPENING -> w_path[a] = BROKEN;
#endif
        :: else
        fi
      :: kind == FENCED ->
        say("writer: FENCED of path %d came: applied %d and %d\n", a, b, c);
#ifdef OPENING_PATH_FORGETS_FENCE
        if
        :: w_path[a] != OPENING -> w_heard[a] = 1;
        :: else
        fi;
#else
        w_heard[a] = 1;
#endif
        if
        :: transfer == ACTIVE -> at(w_heard_applied, a, 0) = b; at(w_heard_applied, a, 1) = c;
        :: else
        fi
      :: kind == CANCEL ->
        say("writer: CANCEL came\n");
        if
        :: transfer == ACTIVE -> transfer = W_CANCELLING; forget_units();
        :: else
        fi
      :: kind == GRANT_END ->
        say("writer: GRANT_END came: %d\n", a);
        invariant(verdicts_agree, transfer <= W_CANCELLING && (a == DONE) == (grant == COMPLETE));
        transfer = a;
        send_r(END_ACK, 0, 0);
        forget_all();
      :: kind == PATH_REPLY ->
        if
        :: w_path[a] == OPENING -> w_agreed[a] = 1; say("writer: path %d is agreed to\n", a);
        :: else
        fi
      fi;
      kind = 0; a = 0; b = 0; c = 0;
    }
#ifdef SETTLED_NOT_COMMITTED
  :: d_step { transfer == ACTIVE && owed[0] + owed[1] > 0 && empty(to_receiver) && FIRST_RW == NONE && ALL(FLUSHED) ->
#else
  :: d_step { transfer == ACTIVE && owed[0] + owed[1] > 0 && FIRST_RW == NONE && ALL(FLUSHED) ->
#endif
      say("writer: SETTLE sent: %d units of slot 0, %d of slot 1\n", owed[0], owed[1]);
      send_r(SETTLE, owed[0], owed[1]);
      do
      :: a < UNITS ->
        if
        :: unit[a] == LOST && owed[SLOT(a)] > 0 -> unit[a] = SETTLED; rewritten[a] = 0;
        :: else
        fi;
        a++;
      :: else -> break
      od;
#ifndef SETTLED_NOT_COMMITTED
      owed[0] = 0; owed[1] = 0;
#endif
      a = 0;
    }
#if CANCELS & 1
  :: d_step { transfer == ACTIVE ->
      say("writer: cancels\n");
      transfer = W_CANCELLING;
      send_r(CANCEL, 0, 0);
      forget_units();
    }
#endif
#ifndef NO_PATH_WAITS
  :: d_step { transfer == ACTIVE && (next_unit < UNITS || owed[0] + owed[1] > 0) && ALL(GONE) ->
      say("writer: no Path is left: cancels\n");
      transfer = W_CANCELLING;
      send_r(CANCEL, 0, 0);
      forget_units();
    }
#endif
  :: d_step { transfer == W_CANCELLING && !w_quiesced && ALL(STOPPED) ->
      say("writer: QUIESCED sent\n");
      w_quiesced = 1;
      do
      :: a < EPOCHS ->
        listed[a] = (w_path[a] == OPEN || w_path[a] == BROKEN);
        listed_broken[a] = (w_path[a] == BROKEN);
        a++;
      :: else -> break
      od;
      a = 0;
      send_r(QUIESCED, 0, 0);
    }
  od
}

#if REOPENS > 0
/* The dialer, here the writer, opens a dead Path's ordinal again while another Path lives. */
#ifdef ORDINAL_REUSED_EARLY
#define REUSABLE(e) (w_path[e] == OWN_FENCED)
#else
#define REUSABLE(e) (w_path[e] == DEAD)
#endif
proctype Dialer(byte old) {
  byte e;
  d_step { REUSABLE(old) && !(ALL(NOT_LIVE)) && transfer == ACTIVE && reopens < REOPENS ->
    e = PATHS + reopens;
    reopens++;
    ordinal[e] = ordinal[old];
    w_path[e] = OPENING;
    say("writer: asks for path %d in place of %d\n", e, old);
    send_r(PATH_REQUEST, e, old);
    e = 0;
  }
}
#endif

/* ---- the receiver */
inline look_at_counts() {
  invariant(counting_is_exact, count[0] <= TARGET(0) && count[1] <= TARGET(1));
  t = 0;
  do
  :: t < UNITS ->
    invariant(done_means_placed, count[SLOT(t)] < TARGET(SLOT(t)) || landed[t]);
    t++;
  :: else -> break
  od;
  t = 0;
  if
  :: grant == ARMED && count[0] == TARGET(0) && count[1] == TARGET(1) ->
    grant = COMPLETE;
    say("receiver: the Grant is COMPLETE\n");
  :: else
  fi;
}

inline land(u) {
  say("path %d: the bytes of unit %d land\n", e, u);
  invariant(memory_comes_back_quiet, grant != ENDED && count[SLOT(u)] < TARGET(SLOT(u)));
  landed[u] = 1;
}

/* Steps 1 and 2 of a fence: one turn of the data thread, or two. */
inline snapshot(f) {
  r_path[f] = SNAPPED;
  t = 0;
  do
  :: t < SLOTS ->
#ifdef SNAPSHOT_FORGETS_DONE
    if
    :: grant == ARMED || grant == CANCELLING -> at(r_snapshot, f, t) = at(applied, ordinal[f], t);
#else
    if
    :: !told -> at(r_snapshot, f, t) = at(applied, ordinal[f], t);
#endif
    :: else
    fi;
#ifndef SNAPSHOT_NOT_RESET
    at(applied, ordinal[f], t) = 0;
#endif
    t++;
  :: else -> break
  od;
  t = 0;
  say("receiver: path %d: snapshot %d and %d\n", f, at(r_snapshot, f, 0), at(r_snapshot, f, 1));
#ifdef FENCED_BEFORE_QUIET
  send_w(FENCED, f, at(r_snapshot, f, 0), at(r_snapshot, f, 1));
#endif
}
inline freeze(f) {
  r_path[f] = FROZEN;
#ifndef SPLIT_SNAPSHOT
  snapshot(f);
#endif
}

/* One Path at the receiver: what lands, what counts, and its fence. */
proctype ReceiverPath(byte e) {
  byte item, t;
  do
  :: d_step { r_path[e] >= OPEN && r_path[e] < R_FENCED && nempty(wire[e]) ->
      wire[e]?item;
      if
      :: item < 8 -> land(item);
      :: item >= 8 && item < 16 -> t = item - 8; land(t);
      :: item == F ->
#ifdef FLUSH_OF_FROZEN_PATH
        if
        :: !lossy[e] && flushes[e] > 0 -> flushes[e]--;
#else
        if
        :: !lossy[e] && r_path[e] == OPEN && flushes[e] > 0 -> flushes[e]--;
#endif
          say("path %d: flush answered\n", e);
        :: else
        fi
      :: else ->
        if
#ifdef FROZEN_PATH_COUNTS
        :: !lossy[e] ->
#else
        :: !lossy[e] && r_path[e] == OPEN ->
#endif
          item = item - 16;
          t = item / 8;
          item = item % 8;
          say("receiver: path %d: %d units of slot %d are counted\n", e, item, t);
          invariant(memory_comes_back_quiet, !told);
          at(applied, ordinal[e], t) = at(applied, ordinal[e], t) + item;
          count[t] = count[t] + item;
          look_at_counts();
        :: else -> say("path %d: a completion is lost\n", e);
        fi
      fi;
      item = 0; t = 0;
    }
  :: d_step { r_path[e] >= OPEN && r_path[e] < R_FENCED && (lossy[e] || r_path[e] >= FROZEN) && nempty(wire[e]) ->
      wire[e]?item;
      say("path %d: item %d is lost\n", e, item);
      item = 0;
    }
  :: d_step { r_path[e] == OPEN && !lossy[e] && may_die ->
      say("path %d dies\n", e);
      lossy[e] = 1;
      deaths++;
    }
  :: d_step { r_path[e] == OPEN && may_die ->
      say("receiver: path %d broke on this side: frozen, FENCE sent\n", e);
      deaths++;
      send_w(FENCE, e, 0, 0);
      freeze(e);
    }
#ifdef SPLIT_SNAPSHOT
  :: d_step { r_path[e] == FROZEN -> snapshot(e); }
#endif
  :: d_step { r_path[e] == SNAPPED ->
      say("receiver: path %d: no byte can land any more, FENCED sent\n", e);
      shut(e);
#ifndef FENCED_BEFORE_QUIET
      send_w(FENCED, e, at(r_snapshot, e, 0), at(r_snapshot, e, 1));
#endif
      at(r_snapshot, e, 0) = 0; at(r_snapshot, e, 1) = 0;
    }
  :: d_step { r_path[e] == TICKET && MAY_OPEN ->
      say("receiver: path %d is open\n", e);
      r_path[e] = OPEN;
    }
  od
}

/* It cannot complete any more: which bytes have landed is of no interest. */
inline cancelling() {
  grant = CANCELLING;
  t = 0;
  do
  :: t < UNITS -> landed[t] = 1; t++;
  :: else -> break
  od;
  t = 0;
}

proctype Receiver() {
  mtype kind;
  byte a, b, t;
  do
  :: d_step { expected == 0 && nempty(to_receiver) ->
      to_receiver?kind, a, b;
      if
      :: kind == W_FENCED ->
        say("receiver: FENCE of path %d came\n", a);
        r_heard[a] = 1;
        if
        :: r_path[a] == OPEN -> freeze(a);
        :: r_path[a] == TICKET -> shut(a); send_w(FENCED, a, 0, 0);
        :: else
        fi
      :: kind == SETTLE ->
        if
        :: grant == ARMED ->
          say("receiver: SETTLE came: %d of slot 0, %d of slot 1\n", a, b);
          count[0] = count[0] + a;
          count[1] = count[1] + b;
#ifdef SETTLE_TWICE
          count[0] = count[0] + a;
          count[1] = count[1] + b;
#endif
          look_at_counts();
        :: else -> say("receiver: SETTLE came and is ignored\n");
        fi
      :: kind == CANCEL ->
        say("receiver: CANCEL came\n");
        if
        :: grant == ARMED -> cancelling();
        :: else
        fi
      :: kind == QUIESCED -> say("receiver: QUIESCED came\n"); r_quiesced = 1;
      :: kind == END_ACK -> say("receiver: the end is acknowledged\n"); acked = 1;
      :: kind == PATH_REQUEST ->
        /* b is the epoch whose ordinal it takes over. */
        invariant(path_is_one_at_a_time, r_path[b] == R_FENCED && r_heard[b]);
        say("receiver: path %d is agreed to\n", a);
        send_w(PATH_REPLY, a, 0, 0);
#ifdef REPLY_BEFORE_THE_ENGINE
        expected = a;
#else
        r_path[a] = TICKET;
#endif
      fi;
      kind = 0; a = 0; b = 0;
    }
  :: d_step { expected != 0 -> r_path[expected] = TICKET; say("receiver: the engine hears of path %d\n", expected); expected = 0; }
  :: d_step { grant == COMPLETE && !told ->
      say("receiver: GRANT_END sent: DONE\n");
      told = 1;
      send_w(GRANT_END, DONE, 0, 0);
    }
#if CANCELS & 2
  :: d_step { grant == ARMED ->
      say("receiver: cancels\n");
      cancelling();
      send_w(CANCEL, 0, 0, 0);
    }
#endif
#ifndef NO_FENCE_AT_500_MS
  :: d_step { grant == CANCELLING && !(ALL(QUIET_OR_FENCING)) ->
      say("receiver: 500 ms after the cancel: what is not quiet is fenced\n");
      do
      :: a < EPOCHS ->
        if
        :: r_path[a] == OPEN && !(QUIET(a)) ->
          say("receiver: path %d frozen, FENCE sent\n", a);
          send_w(FENCE, a, 0, 0);
          freeze(a);
        :: r_path[a] == TICKET ->
          say("receiver: path %d is withdrawn, FENCE and FENCED sent\n", a);
          shut(a);
          send_w(FENCE, a, 0, 0);
          send_w(FENCED, a, 0, 0);
        :: else
        fi;
        a++;
      :: else -> break
      od;
      a = 0;
    }
#endif
  :: d_step { grant == CANCELLING && ALL(QUIET) ->
      say("receiver: quiet: the Grant has ended, GRANT_END sent: FAILED\n");
      grant = ENDED;
      told = 1;
#ifdef VERDICT_FROM_COUNTS
      send_w(GRANT_END, (count[0] == TARGET(0) && count[1] == TARGET(1) -> DONE : FAILED), 0, 0);
#else
      send_w(GRANT_END, FAILED, 0, 0);
#endif
    }
  od
}

/* Nothing can be done any more: everybody must have their end. */
proctype Monitor() {
  timeout ->
    invariant(every_wait_ends, transfer >= DONE && told && acked);
}

init {
  byte e;
  atomic {
    do
    :: e < EPOCHS ->
      if
      :: e < PATHS -> ordinal[e] = e; w_path[e] = OPEN; r_path[e] = OPEN;
      :: else
      fi;
      run WriterPath(e);
      run ReceiverPath(e);
#if REOPENS > 0
      run Dialer(e);
#endif
      e++;
    :: else -> break
    od;
    e = 0;
    run Writer();
    run Receiver();
    run Monitor();
  }
}
