/* The plug-in border: all that a transport sees of Baton. Plain C, one exported symbol,
 * `struct_size` first, fields only appended. plugins/loopback is its specification,
 * tests/conformance is the suite that every plug-in passes, and docs/plugin_guide.md walks through
 * the writing of one.
 *
 * Invariants (the host relies on them; the conformance suite checks them):
 *  1. Each accepted post is reported by op_done exactly once, also after a fence
 *     (BATON_OP_IN_DOUBT).
 *  2. op_done(BATON_OP_DONE) of a write says that its source bytes may be overwritten, and nothing
 *     about the target. Bytes are placed when the receiver reports the immediate that covers them,
 *     or when a later flush is done. A read's op_done says that its bytes are in local memory.
 *  3. An immediate is reported by units_arrived after all the bytes that it covers are placed:
 *     those of its own post on any path; with BATON_CAP_IMM_COVERS_PRIOR also those of every
 *     earlier post on the same path. Bytes that were dropped because their Grant ended count as
 *     placed: the host, which refused them, knows. A write of length 0, which is nothing but an
 *     immediate, is one like the others: of its post there are no bytes to cover.
 *  4. After fenced() no byte is placed, read or reported on that path, and no op_done of it is
 *     outstanding.
 *  5. Nothing blocks, retries, times out or stripes: policy is the host's.
 *  6. A plug-in that places bytes by software (BATON_CAP_SOFTWARE_PLACEMENT) asks resolve() before
 *     it places each chunk, and copies at most the budget that progress() was given per path.
 *  7. Nothing is allocated, locked (loopback apart) or logged after path_connect.
 *
 * Thread rule: every operation of a rail and its paths is called by the one thread that drives the
 * rail, and every host callback is called on that thread, from within such an operation. op_done,
 * units_arrived and path_broken come from progress() alone, op_done and fenced also from fence();
 * post and flush report nothing (so the host's books are in order when a report comes), though they
 * may ask resolve(), for answers to the peer. `probe` may be called on any thread. Callbacks may
 * not call back into the plug-in, except from fenced() and path_broken(), where nothing but reading
 * capabilities is allowed.
 *
 * Ownership: pointers passed in are borrowed for the call unless stated. The source memory of a
 * post belongs to the plug-in until its op_done; so does the target memory of a read.
 */
#ifndef BATON_PLUGIN_PLUGIN_H_
#define BATON_PLUGIN_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BATON_PLUGIN_ABI 1u
/* The one symbol that a plug-in library exports: `const baton_plugin* baton_plugin_entry(void)`. */
#define BATON_PLUGIN_ENTRY "baton_plugin_entry"

/* Blobs that two sides exchange through the host, in bytes. */
#define BATON_MAX_ADDRESS_BYTES 256u
/* Text that an operation leaves for the caller when it fails; always NUL-terminated. */
#define BATON_ERROR_BYTES 256u

typedef enum baton_rc {
  BATON_RC_OK = 0,
  BATON_RC_AGAIN = 1,       /* no room now; nothing was taken; call again after progress */
  BATON_RC_INVALID = 2,     /* an argument is wrong (the error text names it) */
  BATON_RC_UNAVAILABLE = 3, /* not on this machine (the error text says why and what to do) */
  BATON_RC_NO_RESOURCE = 4, /* memory, descriptors or locked memory ran out */
  BATON_RC_BROKEN = 5,      /* the path is broken or fenced */
  BATON_RC_IO = 6           /* the operating system or device refused */
} baton_rc;

typedef enum baton_op_status {
  BATON_OP_DONE = 0,
  BATON_OP_IN_DOUBT = 1, /* the path ended first: the bytes may or may not arrive until the path is
                            fenced at both ends */
  /* The peer refused (a read outside a Grant, or whose Grant ended half-way): what the local memory
   * of the read holds is undefined. The path lives. */
  BATON_OP_REFUSED = 2
} baton_op_status;

typedef struct baton_rail baton_rail; /* a plug-in's own types */
typedef struct baton_path baton_path;
typedef struct baton_region baton_region;

/* ---- What the host gives
 * -------------------------------------------------------------------------------------------- */

typedef enum baton_log_level {
  BATON_LOG_ERROR = 0,
  BATON_LOG_WARNING = 1,
  BATON_LOG_INFO = 2,
  BATON_LOG_DEBUG = 3
} baton_log_level;

typedef enum baton_access { BATON_ACCESS_WRITE = 1, BATON_ACCESS_READ = 2 } baton_access;

/* Answer of resolve(). */
typedef struct baton_resolved {
  /* Where `length` bytes may be placed or read now; NULL: refused. Good until the operation that
   * asked returns: what was not moved by then is asked for again. */
  void* address;
  /* Of a refusal. 1: the Grant ended, its late bytes are expected: drop them, go on. 0: a
   * violation: a write ends the path (path_broken). A refused read is answered BATON_OP_REFUSED
   * either way. */
  uint32_t ended;
} baton_resolved;

typedef struct baton_host {
  size_t struct_size;
  void* context; /* passed back as the first argument of every function here */

  /* Services: the only time, randomness, log and memory a plug-in may use, so that simulated time
   * needs no other border. */
  int64_t (*now_ns)(void* context); /* monotonic */
  uint64_t (*random)(void* context);
  void (*log)(void* context, baton_log_level level, const char* message);
  void* (*allocate)(void* context, size_t bytes,
                    size_t alignment); /* NULL when out of memory; set-up only */
  void (*release)(void* context, void* memory, size_t bytes);

  /* Reports. `path_cookie` is what path_open was given. */
  void (*op_done)(void* context, uint64_t path_cookie, uint64_t op, baton_op_status status);
  void (*units_arrived)(void* context, uint64_t path_cookie, uint32_t immediate);
  /* The path can carry nothing more (reset, end of stream, protocol violation, fenced or closed by
   * the other end, as far as the transport can notice). Reported once, not on a path that the host
   * fenced itself. Posts still out are reported IN_DOUBT only when the host fences the path; what
   * had completed before may still be reported DONE after this. */
  void (*path_broken)(void* context, uint64_t path_cookie, const char* reason);
  void (*fenced)(void* context, uint64_t path_cookie);

  /* Software placement: may `length` bytes (> 0) at `address` (base, as region_register gave it,
   * plus offset; not yet checked by anyone) of the local region `region_key` be placed (or read)
   * under `grant`, on this path, now? Called before each chunk. */
  baton_resolved (*resolve)(void* context, uint64_t path_cookie, uint64_t grant,
                            uint64_t region_key, uint64_t address, uint32_t length,
                            baton_access access);
} baton_host;

/* ---- What a plug-in says of itself
 * ---------------------------------------------------------------------------------- */

#define BATON_CAP_ORDERED (1u << 0) /* posts of one path take effect in post order */
#define BATON_CAP_IMM_COVERS_PRIOR \
  (1u << 1) /* invariant 3, second half; implies ordered placement, not one wire */
#define BATON_CAP_NEEDS_REGISTRATION \
  (1u << 2) /* local memory of posts lies in a region of this rail */
#define BATON_CAP_NEEDS_STREAM \
  (1u << 3) /* path_open wants a connected, authenticated stream socket */
#define BATON_CAP_REACHES_HBM (1u << 4)
#define BATON_CAP_SOFTWARE_PLACEMENT                                                      \
  (1u << 5)                            /* invariant 6: Grants are enforced chunk by chunk \
                                        */
#define BATON_CAP_READ (1u << 6)       /* post of BATON_POST_READ */
#define BATON_CAP_SAME_HOST (1u << 7)  /* only reaches peers on this machine */
#define BATON_CAP_IN_PROCESS (1u << 8) /* only reaches peers in this process */

typedef enum baton_fence_unit {
  BATON_FENCE_GRANT = 0,
  BATON_FENCE_PATH = 1,
  BATON_FENCE_ENDPOINT = 2
} baton_fence_unit;

/* Less than docs/plugin_guide.md ("What Baton needs of a rail") names is allowed here, and refused
 * by the host. */
typedef struct baton_capabilities {
  size_t struct_size;
  uint32_t flags;             /* BATON_CAP_* */
  uint32_t immediate_bits;    /* 32, or 0 when writes carry none */
  uint64_t max_message_bytes; /* longest single post */
  uint32_t inline_bytes;      /* posts up to this length are copied at post time; 0: none */
  uint32_t max_sources;       /* source ranges a write may gather, >= 1 */
  uint32_t max_posts;         /* posts and flushes of a path that wait for their op_done */
  uint32_t receive_depth;     /* immediates a path can receive unprocessed; 0: no limit */
  baton_fence_unit fence_unit;
} baton_capabilities;

typedef struct baton_probe {
  size_t struct_size;
  uint32_t usable;                /* 1: a rail can be opened here */
  char reason[BATON_ERROR_BYTES]; /* when not usable: why */
  char remedy[BATON_ERROR_BYTES]; /* and what to do about it */
} baton_probe;

/* ---- Requests
 * -------------------------------------------------------------------------------------------------------
 */

typedef struct baton_rail_options {
  size_t struct_size;
  const char* device;   /* NIC, interface or address; NULL: the plug-in's default */
  const char* settings; /* "key=value,key=value": docs/plugin_guide.md; NULL: none */
  void* in_process;     /* an object of the plug-in's own for peers in this process (loopback: its
                           fabric), or NULL */
} baton_rail_options;

typedef struct baton_region_key { /* travels to the peer; a post names its target with it */
  uint64_t key;
  uint64_t base; /* target address of byte 0 of the region */
} baton_region_key;

typedef struct baton_path_options {
  size_t struct_size;
  uint64_t cookie; /* names the path in every report */
  uint64_t epoch;  /* never repeats between two peers */
  int stream_fd;   /* NEEDS_STREAM: a non-blocking socket, owned by the plug-in once path_open
                      succeeds; else -1 */
  uint32_t max_message_bytes; /* agreed unit_bytes: no post is longer; 0: the capability's own */
} baton_path_options;

typedef enum baton_post_kind { BATON_POST_WRITE = 0, BATON_POST_READ = 1 } baton_post_kind;

typedef struct baton_source {
  void* address;        /* local memory: source of a write, target of a read */
  baton_region* region; /* NULL unless NEEDS_REGISTRATION */
  uint32_t length_bytes;
  uint32_t reserved;
} baton_source;

typedef struct baton_post {
  baton_post_kind kind;
  uint32_t has_immediate;      /* writes only */
  uint32_t immediate;          /* opaque 32 bits */
  uint32_t num_sources;        /* >= 1; each > 0, adding up to length_bytes */
  const baton_source* sources; /* borrowed for the call */
  uint64_t op;                 /* named in op_done */
  uint64_t grant;              /* the Grant that permits it (checked where software places) */
  uint64_t target_key;         /* baton_region_key.key of the peer's region */
  uint64_t target_address;     /* baton_region_key.base + offset */
  /* > 0; or 0, of a write with an immediate: num_sources is 0 then, sources, target_key and
   * target_address are not looked at, and resolve() is not asked. */
  uint32_t length_bytes;
  uint32_t reserved;
} baton_post;

/* ---- Operations
 * -----------------------------------------------------------------------------------------------------
 */

typedef struct baton_plugin {
  size_t struct_size;
  uint32_t abi;        /* BATON_PLUGIN_ABI */
  const char* name;    /* "tcp" */
  const char* summary; /* one line for baton-doctor */

  baton_rc (*probe)(const baton_rail_options* options, baton_probe* out);

  /* `host` outlives the rail. Fails with text in `error`. */
  baton_rc (*rail_open)(const baton_host* host, const baton_rail_options* options, baton_rail** out,
                        char error[BATON_ERROR_BYTES]);
  /* REQUIRES: its paths are closed, its regions unregistered. */
  void (*rail_close)(baton_rail* rail);
  void (*capabilities)(const baton_rail* rail, baton_capabilities* out);

  /* Always offered; trivial where NEEDS_REGISTRATION is not set. `tag` is the host's section id; a
   * plug-in that places by software uses it as the key that resolve() is asked with. */
  baton_rc (*region_register)(baton_rail* rail, void* address, uint64_t length_bytes, uint64_t tag,
                              baton_region** out, baton_region_key* key,
                              char error[BATON_ERROR_BYTES]);
  /* REQUIRES: no unfinished post names it. */
  void (*region_unregister)(baton_rail* rail, baton_region* region);

  /* A path is opened at both ends, their addresses are exchanged by the host, then each end
   * connects. A NEEDS_STREAM path has an address of length 0 and connects trivially. */
  baton_rc (*path_open)(baton_rail* rail, const baton_path_options* options, baton_path** out,
                        char error[BATON_ERROR_BYTES]);
  baton_rc (*path_address)(baton_path* path, uint8_t out[BATON_MAX_ADDRESS_BYTES],
                           uint32_t* length_bytes);
  baton_rc (*path_connect)(baton_path* path, const uint8_t* peer_address, uint32_t length_bytes,
                           char error[BATON_ERROR_BYTES]);
  /* REQUIRES: fenced() was reported. Frees it. */
  void (*path_close)(baton_path* path);

  /* Takes posts in order and says how many: *accepted may be less than count (BATON_RC_AGAIN if 0
   * for lack of room). BATON_RC_BROKEN takes none. BATON_RC_INVALID takes those before the wrong
   * one. */
  baton_rc (*post)(baton_path* path, const baton_post* posts, uint32_t count, uint32_t* accepted);
  /* op_done(op) once every write posted on this path before it is placed in `target_key`'s region
   * (all regions when 0). On a fenced or broken path: BATON_RC_BROKEN, or op_done(IN_DOUBT). */
  baton_rc (*flush)(baton_path* path, uint64_t target_key, uint64_t op);
  /* Idempotent, may finish within the call or later from progress(). From the call on no new byte
   * is placed on behalf of a chunk not yet begun; when it is physically impossible for any byte to
   * land or leave: unfinished posts are reported IN_DOUBT, then fenced(). */
  void (*fence)(baton_path* path);

  /* Moves what can move without blocking: at most `budget_bytes` per path and direction. Returns
   * how many things happened (bytes moved count as one a system call); 0: nothing to do now. */
  uint32_t (*progress)(baton_rail* rail, uint64_t budget_bytes);
  /* A descriptor that polls readable when progress() has work, or -1: it must be called at least
   * every millisecond. */
  int (*wait_fd)(baton_rail* rail);
  /* Call before every sleep on wait_fd, which may tell of a thing only once. Non-zero: there is
   * work now, do not sleep. */
  uint32_t (*arm)(baton_rail* rail);
} baton_plugin;

typedef const baton_plugin* (*baton_plugin_entry_fn)(void);

#ifdef __cplusplus
}
#endif

#endif /* BATON_PLUGIN_PLUGIN_H_ */
