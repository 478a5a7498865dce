// What tests with a second process share: the pool and the hand-off that both sides know, and the
// child's roles, which are driven by lines on its standard input.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/hand_off.h"
#include "tests/integration/rig.h"

namespace baton_test {

// 48 MB of KV: far more than sockets hold, so that a stopped peer stops in the middle.
PoolShape big_shape();
inline constexpr baton::TokenRange kTokens{0, 90 * 16};
// Seeds of the source's bytes.
inline constexpr uint64_t kOriginal = 11;
inline constexpr uint64_t kOverwritten = 12;
// The hand-off's source blocks are blocks(1), its target blocks are blocks(2).
std::vector<uint32_t> blocks(uint64_t seed);

baton::ContextOptions process_options(const std::string& name);
int64_t since_ms(std::chrono::steady_clock::time_point start);

baton::GrantRequest grant_request(baton::PeerId peer, baton::CacheId cache, uint32_t deadline_ms);
// Waits for the offer of grant_request(), and answers it.
baton::Transfer start_push(baton::Context& context, Pool& source, const std::string& tag = "r");
// The same of a pulled hand-off: the source's offer, and the answer.
baton::ReadGrantRequest read_request(baton::PeerId peer, baton::CacheId cache, uint32_t deadline_ms,
                                     const std::string& tag = "r");
baton::Pull start_pull(baton::Context& context, Pool& target, const std::string& tag = "r");
// What a receiver's pool holds after the hand-off of source bytes `seed`; poison where nothing
// belongs.
std::vector<uint8_t> big_expected(uint64_t seed = kOriginal);
// How many of the pool's bytes are neither poison, nor what a hand-off of kOriginal puts there, nor
// `also_known`.
uint64_t count_foreign(Pool& target, uint8_t also_known = GuardedBuffer::kPoison);

// The role that argv names, run to its end: the exit status of main(). Nothing: no role is named.
//
//   --role=prefill   sends. Says "ADDRESS address". Commands: "push N [TAG]" ticks N layers,
//                    "offer DEADLINE_MS N [TAG [LEASE_MS]]" offers them to the first peer to be
//                    pulled, "seal", "wait", "overwrite", "exit"
//   --role=decode    receives. Says "READY". Commands: "connect ADDRESS", "grant DEADLINE_MS
//                    ADDRESS [LEASE_MS [TAG]]", "pull ADDRESS [TAG]" answers an offer (both say
//                    "FIRST" when the first layer is here), "cancel", "wait", "foreign" (bytes
//                    neither poison nor the original, and how many were looked at), "poison",
//                    "compare SEED", "exit"
//                    Both: "wait" says "ENDED state", then "CODE code"; further arguments
//                    --name=NAME --bind=HOST --secret=FILE --heartbeat-ms=N --dead-after-ms=N
//                    --paths=N
//   --role=dial      NAME ADDRESS: connects once per line of input; says "DIALED CODE message"
//   --role=memlock   a hand-off within the process with 8 MiB of locked memory allowed; says "SAME"
std::optional<int> run_child_role(int argc, char** argv);

}  // namespace baton_test
