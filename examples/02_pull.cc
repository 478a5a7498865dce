// Prefill offers two blocks of its KV cache to two decoders; each reads them when it likes, layer
// by layer as they become final. The blocks are prefill's again when both ReadGrants have ended.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "baton/context.h"

auto need(auto result) {  // the value, or the reason why there is none
  if (!result) std::exit(std::puts(result.status().to_string().c_str()) > 0 ? 1 : 2);
  return std::move(result).value();
}

struct Side {  // 8 blocks of 16 tokens, 2 layers, 2 heads, K and V of 64 bf16 each
  static constexpr size_t kBlock = 8192;
  Side() {
    section = need(context.register_section({"pool", {}, {}, pool.data(), pool.size()}));
    baton::LayerGroup group{{}, 16, 0, 2, 0, 2, 128, {}, {}, 1, 8, {0, 1}, {}};
    for (const uint64_t layer : {0u, 1u})
      group.places.push_back({section.id(), layer * 8 * kBlock, kBlock});
    cache = need(context.publish_cache({"kv", {{group}}}));
  }
  std::vector<char> pool = std::vector<char>(2 * 8 * kBlock);
  baton::Context context = need(baton::Context::create({}));
  baton::Section section;
  baton::KvCache cache;
};

int main() {
  Side prefill, decode[2];
  auto word = need(prefill.context.create_progress_word());
  baton::ReadGrant grants[2];
  for (int i = 0; i < 2; ++i) {
    const baton::PeerId reader = need(prefill.context.connect(decode[i].context.address()));
    grants[i] = need(
        prefill.context.offer_read({reader, prefill.cache.id(), "kv", "A", {0, 32}, {{1, 2}}}));
    if (!grants[i].submit_chunk({{0, 32}, &word, 0})) return 1;
  }

  baton::Pull pulls[2];
  for (int i = 0; i < 2; ++i) {
    const baton::GrantOffer offer = need(decode[i].context.wait_offer("A", 10000));
    pulls[i] = need(decode[i].context.pull({offer.id, decode[i].cache.id(), {{4, 6}}}));
  }

  for (size_t layer = 0; layer < 2; ++layer) {  // prefill computes its blocks 1 and 2
    char* const computed = prefill.pool.data() + (layer * 8 + 1) * Side::kBlock;
    std::fill_n(computed, 2 * Side::kBlock, static_cast<char>('x' + layer));
    word.tick();
    for (int i = 0; i < 2; ++i) {
      if (!pulls[i].gate(static_cast<uint32_t>(layer)).wait(10000)) return 1;
      std::printf("decode %d has layer %zu: block 6 holds '%c'\n", i, layer,
                  decode[i].pool[(layer * 8 + 6) * Side::kBlock]);
    }
  }
  for (const auto& grant : grants) {
    if (!grant.wait(10000)) return 1;
  }
  std::puts("both have read: the blocks may be used again");
}
