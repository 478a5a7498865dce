/* Pull: the source holds pages under a ReadGrant for each of two readers until READ_DONE of both, or a fence (design,
 * section 6, "Pull"). The source counts each layer's readiness into a slot of the reader; the reader posts reads of ready
 * layers and counts their completions.
 *
 * A read executes at the source (its bytes are taken) and completes at the reader later. A source that cancels sends
 * CANCEL; the reader drops what it has not posted, waits for its reads, and sends READ_DONE. 500 ms later the source
 * fences the Path: from then on no read executes. A reader may stop for ever with reads posted; its Path may die. */
#include "common.pmlh"

#ifndef LAYERS
#define LAYERS 2
#endif
#ifndef CANCELS /* 1: the source may, 2: a reader may */
#define CANCELS 3
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#define READERS 2

mtype = { done_means_placed, counting_is_exact, memory_comes_back_quiet, every_wait_ends };
mtype = { READ_START, READ_DONE, CANCEL, GRANT_END, END_ACK };
chan to_source[READERS] = [4] of { mtype, bit };
chan to_reader[READERS] = [4] of { mtype, bit };

byte final;                 /* layers whose KV is final at the source */
byte ready[READERS];        /* as counted into the reader's slot */
byte posted[READERS], executed[READERS], completed[READERS];
#define ACTIVE 0
#define CANCELLING 1
#define DONE 2
#define FAILED 3
byte reader[READERS];
bit done_sent[READERS], started[READERS], dead[READERS], w_fenced[READERS], stopped[READERS];
byte grant[READERS];        /* the source's side: ACTIVE, CANCELLING, DONE, FAILED */
bit fenced[READERS], acked[READERS];
bit freed, overwritten;
byte faults;

#define TOLD(r, kind, x) assert(nfull(to_reader[r])); to_reader[r]!kind(x)
#define TELLS(r, kind, x) assert(nfull(to_source[r])); to_source[r]!kind(x)

proctype Reader(byte r) {
  mtype kind;
  bit x;
  do
#ifdef READ_BEFORE_READY
  :: d_step { !stopped[r] && reader[r] == ACTIVE && posted[r] < LAYERS && !w_fenced[r] ->
#else
  :: d_step { !stopped[r] && reader[r] == ACTIVE && posted[r] < ready[r] && !w_fenced[r] ->
#endif
      say("reader %d posts the read of layer %d\n", r, posted[r]);
      posted[r]++;
    }
  :: d_step { !stopped[r] && executed[r] > completed[r] && !w_fenced[r] ->
      say("reader %d: layer %d is here\n", r, completed[r]);
      invariant(counting_is_exact, executed[r] <= ready[r]);
      completed[r]++;
    }
#ifdef READ_DONE_AT_THE_POST
  :: d_step { !stopped[r] && reader[r] <= CANCELLING && !done_sent[r] && (posted[r] == LAYERS || reader[r] == CANCELLING) ->
#else
  :: d_step { !stopped[r] && reader[r] <= CANCELLING && !done_sent[r] && (completed[r] == posted[r] || w_fenced[r]) &&
              (completed[r] == LAYERS || reader[r] == CANCELLING) ->
#endif
      say("reader %d: READ_DONE sent\n", r);
      done_sent[r] = 1;
#ifdef READ_DONE_SAYS_ALL
      TELLS(r, READ_DONE, 1);
#else
      TELLS(r, READ_DONE, completed[r] == LAYERS);
#endif
    }
#if CANCELS & 2
  :: d_step { !stopped[r] && reader[r] == ACTIVE && !done_sent[r] ->
      say("reader %d cancels\n", r);
      reader[r] = CANCELLING;
    }
#endif
  :: d_step { !stopped[r] && nempty(to_reader[r]) ->
      to_reader[r]?kind, x;
      if
      :: kind == CANCEL && reader[r] == ACTIVE -> say("reader %d: CANCEL came\n", r); reader[r] = CANCELLING;
      :: kind == GRANT_END ->
        say("reader %d: GRANT_END came: %d\n", r, x);
        invariant(done_means_placed, !x || completed[r] == LAYERS);
        if
        :: reader[r] <= CANCELLING && x -> reader[r] = DONE;
        :: reader[r] <= CANCELLING && !x -> reader[r] = FAILED;
        :: else
        fi;
        TELLS(r, END_ACK, 0);
      :: else
      fi;
      kind = 0; x = 0;
    }
    /* The Path is dead or fenced at the other end: its own end is fenced, reads that are out are in doubt. */
  :: d_step { !stopped[r] && (dead[r] || fenced[r]) && !w_fenced[r] ->
      say("reader %d: its Path is lost\n", r);
      w_fenced[r] = 1;
      if
      :: reader[r] == ACTIVE && !(completed[r] == LAYERS) -> reader[r] = CANCELLING;
      :: else
      fi
    }
  od
}

/* The source's NIC and its part of the ReadGrant of one reader. */
proctype Source(byte r) {
  mtype kind;
  bit x;
  do
  :: d_step { final > ready[r] && grant[r] == ACTIVE && !dead[r] && !fenced[r] ->
      say("source: layer %d is ready for reader %d\n", ready[r], r);
      ready[r]++;
    }
    /* Reads of an end that is fenced may still take bytes; nobody gets them. */
  :: d_step { posted[r] > executed[r] && !fenced[r] && !dead[r] && !w_fenced[r] ->
      say("reader %d's read of layer %d takes its bytes\n", r, executed[r]);
      invariant(memory_comes_back_quiet, !overwritten);
      executed[r]++;
    }
  :: d_step { nempty(to_source[r]) ->
      to_source[r]?kind, x;
      if
      :: kind == READ_DONE && grant[r] <= CANCELLING ->
        say("source: READ_DONE of reader %d came: %d\n", r, x);
        grant[r] = (x -> DONE : FAILED);
        TOLD(r, GRANT_END, x);
      :: kind == END_ACK -> acked[r] = 1;
      :: else
      fi;
      kind = 0; x = 0;
    }
#if CANCELS & 1
  :: d_step { grant[r] == ACTIVE ->
      say("source: cancels the ReadGrant of reader %d\n", r);
      grant[r] = CANCELLING;
      TOLD(r, CANCEL, 0);
    }
#endif
  :: d_step { dead[r] && !fenced[r] -> say("source: the dead Path of reader %d is fenced\n", r); fenced[r] = 1; }
#ifndef NO_FENCE_AT_500_MS
  :: d_step { grant[r] == CANCELLING && !fenced[r] ->
      say("source: 500 ms after the cancel: the Path of reader %d is fenced\n", r);
      fenced[r] = 1;
    }
#endif
#ifdef QUIET_BY_THE_CLOCK
  :: d_step { grant[r] == CANCELLING ->
#else
  :: d_step { grant[r] <= CANCELLING && fenced[r] ->
#endif
      say("source: quiet for reader %d: FAILED\n", r);
      grant[r] = FAILED;
      TOLD(r, GRANT_END, 0);
    }
  od
}

#define ENDED(r) (grant[r] >= DONE)
#ifdef ONE_READER_IS_ENOUGH
#define ALL_ENDED (ENDED(0) || ENDED(1))
#else
#define ALL_ENDED (ENDED(0) && ENDED(1))
#endif

proctype Pages() {
  do
  :: d_step { final < LAYERS -> final++; say("source: a layer is final\n"); }
  :: d_step { !freed && ALL_ENDED -> say("source: the pages are free\n"); freed = 1; }
  :: d_step { freed && !overwritten -> say("source: the pages are used again\n"); overwritten = 1; }
  :: d_step { faults < FAULTS && !freed -> say("the Path of reader 0 dies\n"); dead[0] = 1; faults++; }
  :: d_step { faults < FAULTS && !freed -> say("reader 0 stops for ever\n"); stopped[0] = 1; faults++; }
  od
}

proctype Monitor() {
  timeout ->
    /* A reader that stopped is what the source's deadline is for: without one, CANCELS & 1, it waits. */
    invariant(every_wait_ends, (stopped[0] && !(CANCELS & 1)) || freed);
    invariant(every_wait_ends, stopped[0] || (reader[0] >= DONE && acked[0]));
    invariant(every_wait_ends, reader[1] >= DONE && acked[1]);
}

init {
  atomic { run Reader(0); run Reader(1); run Source(0); run Source(1); run Pages(); run Monitor(); }
}
