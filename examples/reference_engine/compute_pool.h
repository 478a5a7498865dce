// ComputePool: a fixed set of threads that run the tiles of one loop at a time.
//
// Which thread runs a tile is chance; callers cut work into tiles by its shape alone, so that
// results have the same bits whatever the number of threads.
//
// Thread rule: parallel_for from any thread; loops of different callers run one after the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace baton_engine {

class ComputePool {
 public:
  // `threads` >= 1 includes the caller of parallel_for; 0 means one per core that the process may
  // use.
  explicit ComputePool(uint32_t threads);
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  uint32_t threads() const { return static_cast<uint32_t>(workers_.size()) + 1; }

  // Calls body(tile) once for each tile in [0, tiles), on any of the threads, and returns when all
  // have returned. What they wrote is visible to the caller. Allocates nothing. The body must not
  // throw and must not call parallel_for.
  template <typename Body>
  void parallel_for(uint32_t tiles, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(
        tiles, [](void* context, uint32_t tile) { (*static_cast<Plain*>(context))(tile); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  using TileFunction = void (*)(void* context, uint32_t tile);

  void run(uint32_t tiles, TileFunction function, void* context);
  void worker_main();
  // Claims and runs tiles of the loop in `round` until none is left.
  void run_tiles(uint32_t round);

  std::mutex caller_;
  TileFunction function_ = nullptr;
  void* context_ = nullptr;
  // The loop's round in the upper half, the tiles not yet claimed in the lower. A claim (acquire)
  // sees function_ and context_, which run() wrote before it stored the ticket (release); they stay
  // as they are until the claimed tile is done.
  std::atomic<uint64_t> ticket_{0};
  // Tiles done in this round; its release pairs with run()'s acquire.
  std::atomic<uint32_t> done_{0};
  // Changes once per round and at the end: what idle workers sleep on.
  std::atomic<uint32_t> wake_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace baton_engine
