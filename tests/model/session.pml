/* Hello between two names, A (the lower) and B: dials that cross, a connection that is lost on one side only, a process of
 * the same name with a new boot id while the old one lives, is frozen or is dead (design, section 6, "Hello",
 * "Heartbeats").
 *
 * Connections: 0 is A's dial to B's first process, 1 that process's dial to A, 2 the dial of a second process of B's name,
 * 3 another dial of the first process after it lost its connection. Each has two ends: 2 * c is A's, 2 * c + 1 is B's. An
 * end that closes is noticed by the other when it has read what was sent; a frozen process notices nothing and is not
 * noticed to be frozen, except by time-outs, which run out here only against those that cannot answer. */
#include "common.pmlh"

#ifndef CONNECTIONS /* bits */
#define CONNECTIONS 3
#endif
#ifndef CUTS
#define CUTS 0
#endif
#ifndef FREEZES
#define FREEZES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#define ENDS 8
#define EXISTS(c) ((CONNECTIONS >> (c)) & 1)
#define FAR(e) ((e) ^ 1)
#define PROCESS(e) (((e) & 1) == 0 -> 0 : ((e) == 5 -> 2 : 1)) /* 0: A; 1, 2: those named B */
#define IS_DIALER(e) (((e) == 0) || ((e) & 1 && (e) > 1))
#define SESSION(e) ((e) / 2 + 1)

mtype = { one_session_per_name, incarnations_rise, id_in_use_is_true, living_peer_keeps_its_name, both_sides_agree,
          every_wait_ends };
mtype = { HELLO, WELCOME, JOIN, IN_USE, DESCRIBE, CONFIRM, PROBE, ECHO, BEAT };
chan in[ENDS] = [5] of { mtype, byte, byte };

#define IDLE 0
#define WAITS 1 /* dialer: hello sent; acceptor: no hello yet */
#define HELD 2
#define KNOWN 3
#define UP 4
#define CLOSED 5
byte st[ENDS];
byte hello_inc[ENDS], hello_known[ENDS]; /* what the hello, or the welcome, said */
byte waits_for[ENDS];
bit held_by_probe[ENDS];
bit probing[ENDS], probe_seen[ENDS];

byte incarnation[3];
bit frozen[3], dead[3], refused[3];
bit cut[4];
byte cuts, freezes, kills;

#define RUNS(e) (!frozen[PROCESS(e)] && !dead[PROCESS(e)])
#define CANNOT_ANSWER(e) (frozen[PROCESS(FAR(e))] || dead[PROCESS(FAR(e))] || cut[(e) / 2] || st[FAR(e)] == CLOSED)
#define OPEN_END(e) (st[e] == WAITS || st[e] == HELD || st[e] == KNOWN || st[e] == UP)

inline tell(e, what, p, q) { /* to the other end of e's connection */
  if
  :: !cut[(e) / 2] && st[FAR(e)] != CLOSED -> assert(nfull(in[FAR(e)])); in[FAR(e)]!what(p, q);
  :: else
  fi
}
inline close_end(e) {
  do
  :: nempty(in[e]) -> in[e]?_, _, _;
  :: empty(in[e]) -> break
  od;
  st[e] = CLOSED; waits_for[e] = 0; held_by_probe[e] = 0; probing[e] = 0; hello_inc[e] = 0; hello_known[e] = 0;
}
/* The second process starts whenever it likes; the third connection is for one whose earlier ones have ended. */
#define MAY_DIAL (e != 7 || (OVER(1) && OVER(3)))
#define OVER(e) (st[e] == CLOSED || (st[e] == IDLE && !EXISTS((e) / 2)))
#ifdef NO_HEARTBEATS
#define LOSS_IS_NOTICED(e) (OPEN_END(e) && st[e] != UP)
#else
#define LOSS_IS_NOTICED(e) OPEN_END(e)
#endif
#define NOBODY 15
/* The known connection of the same name, or else this process's own dial that is not decided. */
inline find_other(e) {
  other = NOBODY;
  x = 0;
  do
  :: x < ENDS ->
    if
    :: x != e && PROCESS(x) == PROCESS(e) && (st[x] == KNOWN || st[x] == UP) -> other = x;
    :: x != e && PROCESS(x) == PROCESS(e) && IS_DIALER(x) && (st[x] == WAITS || (st[x] == HELD && IS_DIALER(x))) &&
       other == NOBODY -> other = x;
    :: else
    fi;
    x++;
  :: else -> break
  od;
  x = 0
}
inline hold(e, w) {
  say("%d holds connection %d because of %d\n", PROCESS(e), e / 2, w / 2);
  st[e] = HELD;
  waits_for[e] = w;
  held_by_probe[e] = (st[w] == UP);
  if
  :: st[w] == UP && !probing[w] ->
    say("%d probes connection %d\n", PROCESS(e), w / 2);
    probing[w] = 1;
    probe_seen[FAR(w)] = 0;
    tell(w, PROBE, 0, 0);
  :: else
  fi
}
inline known(e) {
  x = 0;
  do
  :: x < ENDS ->
    invariant(one_session_per_name, x == e || PROCESS(x) != PROCESS(e) || (st[x] != KNOWN && st[x] != UP));
    x++;
  :: else -> break
  od;
  x = 0;
  st[e] = KNOWN;
}

/* The dialer says which session it has with our name. When that is with us, our own dial was accepted, and its word is on
 * the way; when it is with another process of our name, it is no reason to wait. */
#ifdef SESSION_OF_ANOTHER_COUNTS
#define KNOWS_US(e) (hello_known[e] != 0)
#else
#define KNOWS_US(e) (hello_known[e] != 0 && PROCESS(hello_known[e] * 2 - 1) == PROCESS(e))
#endif

/* What an acceptor does with a hello, now or after it was held. */
inline decide(e) {
  find_other(e);
  if
  :: other != NOBODY && (st[other] == KNOWN || st[other] == UP) && PROCESS(FAR(other)) == PROCESS(FAR(e)) &&
#ifdef ANY_INCARNATION
     hello_known[e] != SESSION(other) ->
#else
     hello_known[e] != SESSION(other) && hello_inc[e] > hello_inc[other] ->
#endif
    say("%d: connection %d ends: the same process came anew\n", PROCESS(e), other / 2);
    /* A hello that was on its way when a later connection came up is no news. */
    invariant(incarnations_rise, hello_inc[e] > hello_inc[other]);
#ifndef OLD_IS_KEPT
    close_end(other);
    find_other(e);
#else
    other = NOBODY;
#endif
  :: else
  fi;
  if
  :: other == NOBODY -> accept(e);
  :: other != NOBODY && st[other] != KNOWN && st[other] != UP ->
    /* Dials that cross. */
    if
#ifdef BOTH_ACCEPT
    :: true -> accept(e);
#else
    :: PROCESS(e) != 0 && !KNOWS_US(e) -> accept(e);
#endif
    :: else -> hold(e, other);
    fi
  :: else ->
    if
    :: PROCESS(FAR(other)) != PROCESS(FAR(e)) ->
#ifdef NEW_BOOT_WINS
      invariant(living_peer_keeps_its_name, CANNOT_ANSWER(other));
      close_end(other);
      accept(e);
#else
      hold(e, other);
#endif
    :: else ->
      say("%d: connection %d is refused: both are connected already by %d\n", PROCESS(e), e / 2, other / 2);
      tell(e, JOIN, SESSION(other), 0);
      close_after(e);
    fi
  fi;
  other = 0
}
inline accept(e) {
  say("%d accepts connection %d (incarnation %d)\n", PROCESS(e), e / 2, hello_inc[e]);
  known(e);
  incarnation[PROCESS(e)]++;
  tell(e, WELCOME, incarnation[PROCESS(e)], 0);
}
inline close_after(e) { close_end(e) } /* the other end reads what was sent before */

/* What a dialer does with a welcome. */
inline welcomed(e) {
  find_other(e);
  if
  :: other != NOBODY && (st[other] == KNOWN || st[other] == UP) && PROCESS(FAR(other)) != PROCESS(FAR(e)) ->
    hold(e, other);
  :: else ->
    if
    :: other != NOBODY && (st[other] == KNOWN || st[other] == UP) ->
      say("%d: connection %d ends: connected anew\n", PROCESS(e), other / 2);
      close_end(other);
    :: else
    fi;
    known(e);
    tell(e, DESCRIBE, 0, 0);
  fi;
  other = 0
}

proctype End(byte e) {
  mtype kind;
  byte a, b, x, other;
  do
  :: d_step { RUNS(e) && IS_DIALER(e) && st[e] == IDLE && MAY_DIAL ->
      find_other(e);
      incarnation[PROCESS(e)]++;
      st[e] = WAITS;
      st[FAR(e)] = (dead[PROCESS(FAR(e))] -> CLOSED : WAITS);
      a = ((other != NOBODY && (st[other] == KNOWN || st[other] == UP)) -> SESSION(other) : 0);
      say("%d dials by connection %d (incarnation %d, knows session %d)\n", PROCESS(e), e / 2,
          incarnation[PROCESS(e)], a);
      tell(e, HELLO, incarnation[PROCESS(e)], a);
      a = 0; other = 0;
    }
  :: d_step { RUNS(e) && nempty(in[e]) && st[e] != HELD && !cut[e / 2] ->
      in[e]?kind, a, b;
      if
      :: kind == HELLO && st[e] == WAITS -> hello_inc[e] = a; hello_known[e] = b; decide(e);
      :: kind == WELCOME && st[e] == WAITS -> hello_inc[e] = a; welcomed(e);
      :: kind == JOIN -> say("%d: connection %d: joins session %d\n", PROCESS(e), e / 2, a); close_end(e);
      :: kind == IN_USE ->
        say("%d: connection %d: ID_IN_USE\n", PROCESS(e), e / 2);
        refused[PROCESS(e)] = 1;
        close_end(e);
      :: kind == DESCRIBE && st[e] == KNOWN ->
        st[e] = UP;
        say("%d: connection %d is up\n", PROCESS(e), e / 2);
        tell(e, CONFIRM, 0, 0);
      :: kind == CONFIRM && st[e] == KNOWN ->
        st[e] = UP;
        say("%d: connection %d is up\n", PROCESS(e), e / 2);
        tell(e, BEAT, 0, 0);
      :: kind == PROBE -> probe_seen[e] = 1; tell(e, ECHO, 0, 0);
#ifdef ANY_BEAT_ANSWERS
      :: (kind == ECHO || kind == BEAT) && probing[e] ->
#else
      :: kind == ECHO && probing[e] ->
#endif
        say("%d: connection %d answers the probe\n", PROCESS(e), e / 2);
        probing[e] = 0;
        do
        :: x < ENDS ->
          if
          :: st[x] == HELD && waits_for[x] == e && PROCESS(x) == PROCESS(e) ->
            invariant(id_in_use_is_true, probe_seen[FAR(e)]);
            say("%d refuses connection %d: ID_IN_USE\n", PROCESS(e), x / 2);
            tell(x, IN_USE, 0, 0);
            close_after(x);
          :: else
          fi;
          x++;
        :: else -> break
        od;
        x = 0;
      :: else
      fi;
      kind = 0; a = 0; b = 0;
    }
    /* Held, and what it waited for is decided. */
#ifndef HELD_FOR_EVER
  :: d_step { RUNS(e) && st[e] == HELD && (st[waits_for[e]] == CLOSED || (st[waits_for[e]] == UP && !held_by_probe[e])) ->
      say("%d looks at connection %d again\n", PROCESS(e), e / 2);
      st[e] = WAITS;
      waits_for[e] = 0; held_by_probe[e] = 0;
      if
      :: IS_DIALER(e) -> welcomed(e);
      :: else -> decide(e);
      fi
    }
#endif
    /* 1 s passed without an answer to the probe. */
#ifdef PROBE_TIMEOUT_AGAINST_THE_LIVING
  :: d_step { RUNS(e) && probing[e] && st[e] == UP ->
#else
  :: d_step { RUNS(e) && probing[e] && st[e] == UP && CANNOT_ANSWER(e) ->
#endif
      say("%d: connection %d did not answer the probe: it is dead, its Paths are fenced\n", PROCESS(e), e / 2);
      invariant(living_peer_keeps_its_name, CANNOT_ANSWER(e));
      close_end(e);
    }
    /* The connection is lost, the other end closed it, or time ran out against one that cannot answer. */
  :: d_step { RUNS(e) && LOSS_IS_NOTICED(e) && (cut[e / 2] || (st[FAR(e)] == CLOSED && empty(in[e]))) ->
      say("%d: connection %d is lost\n", PROCESS(e), e / 2);
      close_end(e);
    }
  :: d_step { RUNS(e) && (st[e] == WAITS || st[e] == KNOWN || st[e] == UP) && (frozen[PROCESS(FAR(e))]) ->
      say("%d: connection %d: silence for too long\n", PROCESS(e), e / 2);
      close_end(e);
    }
  od
}

proctype Faults() {
  do
  :: d_step { cuts < CUTS && !cut[0] && st[0] != IDLE -> say("connection 0 is cut\n"); cut[0] = 1; cuts++; }
  :: d_step { cuts < CUTS && !cut[1] && st[3] != IDLE -> say("connection 1 is cut\n"); cut[1] = 1; cuts++; }
  :: d_step { cuts < CUTS && !cut[2] && st[5] != IDLE -> say("connection 2 is cut\n"); cut[2] = 1; cuts++; }
  :: d_step { freezes < FREEZES && !dead[1] -> say("process 1 is frozen\n"); frozen[1] = 1; freezes++; }
  :: d_step { frozen[1] -> say("process 1 runs again\n"); frozen[1] = 0; }
  :: d_step { kills < KILLS && !frozen[1] ->
      say("process 1 is killed\n");
      dead[1] = 1; kills++;
      close_end(1); close_end(3); close_end(7);
    }
  od
}

#define STUCK(e) (RUNS(e) && (st[e] == WAITS || st[e] == HELD || st[e] == KNOWN))
#define BOTH_UP(c) (st[2 * (c)] == UP && st[2 * (c) + 1] == UP)
#define ONE_UP(c) ((st[2 * (c)] == UP) != (st[2 * (c) + 1] == UP) && RUNS(2 * (c) + 1))
proctype Monitor() {
  timeout ->
    invariant(every_wait_ends, !(STUCK(0) || STUCK(1) || STUCK(2) || STUCK(3) || STUCK(4) || STUCK(5) || STUCK(6) || STUCK(7)));
    invariant(both_sides_agree, !(ONE_UP(0) || ONE_UP(1) || ONE_UP(2) || ONE_UP(3)));
    /* Somebody of B's name is connected in the end, unless faults took the last dial. */
    invariant(every_wait_ends, BOTH_UP(0) || BOTH_UP(1) || BOTH_UP(2) || BOTH_UP(3) ||
              cuts + freezes + kills > 0);
    /* The new process gets the name when the old one cannot answer. */
    invariant(every_wait_ends, !(EXISTS(2) && dead[1] && cuts == 0) || BOTH_UP(2) || refused[2]);
}

init {
  byte c;
  atomic {
    do
    :: c < 4 ->
      if
      :: EXISTS(c) -> run End(2 * c); run End(2 * c + 1);
      :: else
      fi;
      c++;
    :: else -> break
    od;
    c = 0;
    run Faults();
    run Monitor();
  }
}
