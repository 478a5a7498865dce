// Decode grants two blocks of its KV cache; prefill pushes a layer into them; a gate tells when it
// has arrived. Both sides live in one process here: between processes, pass address() along.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "baton/context.h"

auto need(auto result) {  // the value, or the reason why there is none
  if (!result) std::exit(std::puts(result.status().to_string().c_str()) > 0 ? 1 : 2);
  return std::move(result).value();
}

struct Side {  // 8 blocks of 16 tokens, 2 heads, K and V of 64 bf16 each: 8 KiB a block
  Side() {
    section = need(context.register_section({"pool", {}, {}, pool.data(), pool.size()}));
    baton::LayerGroup group{{}, 16, 0, 2, 0, 2, 128, {}, {}, 1, 8, {0}, {{section.id(), 0, 8192}}};
    cache = need(context.publish_cache({"kv", {{group}}}));
  }
  std::vector<char> pool = std::vector<char>(8 * 8192);
  baton::Context context = need(baton::Context::create({}));
  baton::Section section;
  baton::KvCache cache;
};

int main() {
  Side prefill, decode;
  const baton::PeerId peer = need(decode.context.connect(prefill.context.address()));
  auto grant = need(decode.context.grant({peer, decode.cache.id(), "kv", "A", {0, 32}, {{4, 6}}}));

  const baton::GrantOffer offer = need(prefill.context.wait_offer("A", 10000));
  prefill.pool.assign(8 * 8192, 'x');  // prefill computes its blocks 1 and 2
  auto transfer = need(prefill.context.push({offer.id, prefill.cache.id(), {{1, 2}}}));

  // Every layer is final; when the gate is open, decode may run layer 0.
  if (!transfer.seal() || !grant.gate(0).wait(10000)) return 1;
  std::printf("layer 0 is here: block 4 holds '%c'\n", decode.pool[4 * 8192]);
  return transfer.wait(10000) && grant.wait(10000) ? 0 : 1;
}
