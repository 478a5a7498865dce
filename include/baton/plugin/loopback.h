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

#ifdef __cplusplus
}
#endif

#endif /* BATON_PLUGIN_LOOPBACK_H_ */
