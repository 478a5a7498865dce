/* The loopback plug-in's fabric: a network within one process whose every delay, reordering and
 * fault follows from a seed.
 *
 * A fabric is made first, each side opens a rail with baton_rail_options.in_process pointing to it,
 * and paths of two of its rails are connected by exchanging their addresses. The fabric outlives
 * its rails. Rails may be driven by different threads; everything that happens is a function of the
 * plan and the order of calls when one thread drives them all.
 *
 * Paths are counted in the order in which path_open was called on the fabric, from 0; the posts of
 * a path (writes, reads and flushes) in the order in which they were accepted, from 0. Faults name
 * both.
 */
#ifndef BATON_PLUGIN_LOOPBACK_H_
#define BATON_PLUGIN_LOOPBACK_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct baton_loopback_fabric baton_loopback_fabric;

typedef enum baton_loopback_kill {
  BATON_LOOPBACK_KILL_BOTH = 0, /* the path breaks at both ends before the post takes effect */
  BATON_LOOPBACK_KILL_QUIETLY =
      1 /* from the post on, everything is delivered and no op_done comes back: half dead */
} baton_loopback_kill;

typedef struct baton_loopback_plan {
  size_t struct_size;
  uint64_t seed;
  uint32_t flags;     /* BATON_CAP_ORDERED, BATON_CAP_IMM_COVERS_PRIOR (needs ORDERED): what paths
                         present and do */
  uint32_t max_posts; /* 0: 256 */
  uint32_t
      receive_depth; /* immediates on their way to one end; one more breaks the path. 0: no limit */
  uint32_t reorder_percent; /* unordered only: how often [0,100] a random one of the due posts goes
                               next */
  uint64_t delay_min_ns; /* each post is due after a delay drawn from [min, max], in the time of the
                            host that posts */
  uint64_t delay_max_ns;
  uint64_t
      bytes_per_progress; /* copied at most per path and call, whatever the budget; 0: the budget */
  int32_t
      stall_path; /* -1: none. The posts of this end from `stall_after_posts` on do not move ... */
  uint32_t stall_after_posts;
  int64_t stall_until_ns; /* ... before this time; INT64_MAX: ever */
  int32_t kill_path; /* -1: none. This end's post number `kill_after_posts` kills, as `kill_mode`
                        says */
  uint32_t kill_after_posts;
  baton_loopback_kill kill_mode;
} baton_loopback_plan;

/* The plan without faults: ordered, immediates cover what came before, no delay, seed 1. */
__attribute__((visibility("default"))) void baton_loopback_plan_init(baton_loopback_plan* plan);

/* NULL when the plan contradicts itself (IMM_COVERS_PRIOR without ORDERED, delay_min > delay_max, a
 * percentage above 100) or memory ran out. `plan` is copied; NULL: the plan without faults. */
__attribute__((visibility("default"))) baton_loopback_fabric* baton_loopback_fabric_create(
    const baton_loopback_plan* plan);
/* REQUIRES: its rails are closed. */
__attribute__((visibility("default"))) void baton_loopback_fabric_destroy(
    baton_loopback_fabric* fabric);

/* ---- The modelled fabric
 *
 * A second kind of fabric: rails that behave as a transport of the field does, with bandwidth,
 * latency, queues that fill up, and the ways in which it dies. Which transport follows from a
 * rail's settings (RailOptions::settings; docs/plugin_guide.md, "loopback"): `capabilities=rc`,
 * `srd`, `tcp` or `shm`. With rc and srd bytes land without resolve() and without progress(), as a
 * NIC places them.
 *
 * One thread drives everything: rails, these functions, and the hooks that are called back.
 * Whatever happens follows from the seed and the order of calls.
 */

typedef struct baton_loopback_place {
  uint32_t rail_tag; /* setting `tag` of the rail whose owner's memory it is */
  uint32_t path;     /* the end that receives, as baton_loopback_path_info.path */
  uint64_t grant;    /* of the post; of a read: it names who asked */
  void* address;
  uint32_t length_bytes;
  uint32_t is_read; /* 1: what a read brings, into the memory of whoever posted it */
} baton_loopback_place;

typedef struct baton_loopback_model {
  size_t struct_size;
  uint64_t seed;
  const char* settings; /* what every rail starts with, before its own settings; NULL: none */
  void* context;        /* passed to the hooks, each of which may be NULL */
  /* The fabric's time. NULL: that of the rail whose progress() is called, and then progress() must
   * be called for things to move. */
  int64_t (*now_ns)(void* context);
  /* progress() of that rail has something to do now. Called once for many things. */
  void (*wake)(void* context, uint32_t rail_tag);
  /* Before bytes land. */
  void (*on_place)(void* context, const baton_loopback_place* place);
  /* What happens, for a log: `what` is a constant text. */
  void (*trace)(void* context, const char* what, uint32_t path, uint64_t a, uint64_t b);
} baton_loopback_model;

__attribute__((visibility("default"))) void baton_loopback_model_init(baton_loopback_model* model);

/* NULL: memory ran out. `model` is copied; `settings` is borrowed for the fabric's life. Destroyed
 * by baton_loopback_fabric_destroy(). */
__attribute__((visibility("default"))) baton_loopback_fabric* baton_loopback_fabric_create_model(
    const baton_loopback_model* model);
/* When something is due in the fabric; INT64_MAX: never, until somebody posts. REQUIRES: a modelled
 * fabric. */
__attribute__((visibility("default"))) int64_t baton_loopback_fabric_next_ns(
    baton_loopback_fabric* fabric);
/* Does what is due by now. REQUIRES: a modelled fabric. */
__attribute__((visibility("default"))) void baton_loopback_fabric_run(
    baton_loopback_fabric* fabric);

typedef struct baton_loopback_path_info {
  uint32_t path;      /* counts the ends in the order in which they were opened, from 0 */
  uint32_t peer_path; /* UINT32_MAX: not connected */
  uint32_t rail_tag;
  uint32_t peer_rail_tag;
} baton_loopback_path_info;

/* The ends that are open and neither broken nor fenced, oldest first: how many there are, of which
 * the first `max` are written. REQUIRES: a modelled fabric. */
__attribute__((visibility("default"))) uint32_t baton_loopback_fabric_paths(
    baton_loopback_fabric* fabric, baton_loopback_path_info* out, uint32_t max);

typedef enum baton_loopback_fault_kind {
  BATON_LOOPBACK_FAULT_KILL = 0,     /* the path breaks; both ends notice */
  BATON_LOOPBACK_FAULT_KILL_ONE = 1, /* this end breaks; the other one may never notice */
  BATON_LOOPBACK_FAULT_HALF_DEAD =
      2,                            /* this end's posts take effect; no op of it is done any more */
  BATON_LOOPBACK_FAULT_ONE_WAY = 3, /* what this end sends is lost; it breaks when its retries are
                                       used up (rc, srd), or never (tcp, shm) */
  BATON_LOOPBACK_FAULT_STALL = 4,   /* what this end posts does not leave before until_ns */
  BATON_LOOPBACK_FAULT_FULL = 5,    /* this end takes no post before until_ns (BATON_RC_AGAIN) */
  BATON_LOOPBACK_FAULT_NO_MEMORY = 6, /* rail: path_open fails before until_ns */
  BATON_LOOPBACK_FAULT_DEAD_RAIL = 7  /* rail: its process died. Ends of other rails notice as the
                                         transport lets them */
} baton_loopback_fault_kind;

typedef struct baton_loopback_fault {
  size_t struct_size;
  baton_loopback_fault_kind kind;
  uint32_t path;     /* an end; of the kinds that name a path */
  uint32_t rail_tag; /* of the kinds that name a rail: all with this tag */
  int64_t until_ns;  /* INT64_MAX: ever */
} baton_loopback_fault;

/* 1: it hit something alive. REQUIRES: a modelled fabric. */
__attribute__((visibility("default"))) uint32_t baton_loopback_fabric_fault(
    baton_loopback_fabric* fabric, const baton_loopback_fault* fault);

#ifdef __cplusplus
}
#endif

#endif /* BATON_PLUGIN_LOOPBACK_H_ */
