/* The lease of a Grant without a shared clock (design, section 6, "Leases"). The holder sends numbered renewals, the granter
 * echoes their numbers. The holder's clock may be a tenth slower than the granter's; messages take as long as they like.
 *
 * The granter's lease runs LEASE ticks from the last renewal that came; the holder's nine tenths of it from when it sent
 * the last one that was echoed. When the granter's has run out, it cancels: pages are free when the writer is quiet. */
#include "common.pmlh"

#define LEASE 10
#ifndef RENEWALS
#define RENEWALS 2
#endif
#ifndef END_OF_TIME
#define END_OF_TIME 13
#endif

mtype = { lease_ends_at_the_holder_first, memory_comes_back_quiet, every_wait_ends };
mtype = { RENEW, ECHO };
chan to_granter = [RENEWALS] of { mtype, byte };
chan to_holder = [RENEWALS] of { mtype, byte };

byte h_now, g_now, next_miss; /* the holder's clock misses at most one tick in ten */
byte sent_at[RENEWALS + 1];
byte sent, echoed;
bit holds;                 /* an echo has come */
byte basis, g_basis;
bit granted, write_out, wrote, stopped, cancelling, freed;

#ifdef NO_MARGIN
#define HOLDERS_LEASE LEASE
#else
#define HOLDERS_LEASE (LEASE - LEASE / 10)
#endif
#ifdef LEASE_BEFORE_FIRST_ECHO
#define HELD (sent > 0 && h_now - basis < HOLDERS_LEASE)
#else
#define HELD (holds && h_now - basis < HOLDERS_LEASE)
#endif
#define RAN_OUT (granted && g_now - g_basis >= LEASE)

proctype Time() {
  do
  :: d_step { g_now < END_OF_TIME && !freed ->
      g_now++; h_now++;
      invariant(lease_ends_at_the_holder_first, stopped || !(RAN_OUT && HELD));
    }
  :: d_step { g_now < END_OF_TIME && !freed && g_now >= next_miss ->
      say("the holder's clock misses tick %d\n", g_now);
      g_now++; next_miss = g_now + 9;
      invariant(lease_ends_at_the_holder_first, stopped || !(RAN_OUT && HELD));
    }
  od
}

proctype Holder() {
  byte n;
  do
  :: d_step { !stopped && sent < RENEWALS ->
      sent++;
      sent_at[sent] = h_now;
      say("holder: renewal %d at %d\n", sent, h_now);
#ifdef LEASE_BEFORE_FIRST_ECHO
      basis = h_now;
#endif
      to_granter!RENEW(sent);
    }
  :: d_step { !stopped && nempty(to_holder) ->
      to_holder?_, n;
      echoed = n;
      holds = 1;
#if defined(LEASE_FROM_THE_ECHO)
      basis = h_now;
#elif defined(ECHO_WITHOUT_NUMBER)
      basis = sent_at[sent];
#else
      basis = sent_at[n];
#endif
      say("holder: echo of %d at %d: the lease runs from %d\n", n, h_now, basis);
      n = 0;
    }
  :: d_step { !stopped && HELD && !write_out && !wrote && sent == RENEWALS -> say("holder: writes\n"); write_out = 1; }
  :: d_step { write_out ->
      say("bytes land\n");
      invariant(memory_comes_back_quiet, !freed);
      write_out = 0;
      wrote = 1; /* one is enough */
    }
  :: d_step { !stopped -> say("holder: stops for ever\n"); stopped = 1; }
  od
}

proctype Granter() {
  byte n;
  do
  :: d_step { nempty(to_granter) && !cancelling ->
      to_granter?_, n;
      granted = 1;
      g_basis = g_now;
      say("granter: renewal %d at %d\n", n, g_now);
      to_holder!ECHO(n);
      n = 0;
    }
  :: d_step { RAN_OUT && !cancelling ->
      say("granter: the lease ran out at %d: cancels\n", g_now);
      cancelling = 1;
#ifdef EXPIRY_FREES
      freed = 1;
#endif
    }
#ifndef NEVER_QUIET
  :: d_step { cancelling && !freed && !write_out && (stopped || !(HELD)) ->
      /* Stands for QUIESCED or the fence: grant.pml. Nothing of the holder's is under way any more. */
      say("granter: quiet, the pages are free\n");
      freed = 1;
    }
#endif
  od
}

proctype Monitor() { timeout -> invariant(every_wait_ends, !cancelling || freed); }

init {
  atomic { run Time(); run Holder(); run Granter(); run Monitor(); }
}
