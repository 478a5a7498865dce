#include "perf/told/told_peer.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <vector>

#include "perf/lib/clock.h"
#include "perf/told/told_cache.h"

namespace baton_perf {

using baton::Status;

namespace {

constexpr uint32_t kWaitMs = 30'000;

[[noreturn]] void wait_for_the_end() {
  for (;;) ::pause();
}

Status write(const ToldPeerSettings& settings, baton::Context& context, const ToldCache& cache) {
  std::printf("%s\n", context.address().c_str());
  std::fflush(stdout);
  auto word = context.create_progress_word();
  if (!word.is_ok()) return word.status();
  std::vector<baton::Transfer> transfers;
  for (uint32_t request = 0; request < ToldCache::kRequests; ++request) {
    if (!settings.answers) {
      const auto offer = context.wait_offer(ToldCache::tag(request), kWaitMs);
      if (!offer.is_ok()) return offer.status();
      continue;
    }
    auto transfer = cache.push(context, request, kWaitMs);
    if (!transfer.is_ok()) return transfer.status();
    BATON_RETURN_IF_ERROR(transfer->submit_chunk({ToldCache::kTokens, &*word, 0}));
    transfers.push_back(std::move(*transfer));
  }
  std::printf("READY\n");
  std::fflush(stdout);
  if (settings.layers > 0) BATON_RETURN_IF_ERROR(word->advance_to(settings.layers));
  wait_for_the_end();
}

Status receive(const ToldPeerSettings& settings, baton::Context& context, const ToldCache& cache) {
  const auto peer = context.connect(settings.address, kWaitMs);
  if (!peer.is_ok()) return peer.status();
  const int64_t granted_ns = monotonic_ns();
  std::vector<baton::Grant> grants;
  for (uint32_t request = 0; request < ToldCache::kRequests; ++request) {
    auto grant = cache.grant(context, *peer, request, settings.deadline_ms);
    if (!grant.is_ok()) return grant.status();
    grants.push_back(std::move(*grant));
  }
  std::printf("READY %" PRId64 "\n", granted_ns);
  std::fflush(stdout);
  wait_for_the_end();
}

}  // namespace

Status run_told_peer(const ToldPeerSettings& settings) {
  baton::ContextOptions options;
  options.name = settings.name;
  options.log_level = baton::LogLevel::kError;
  auto context = baton::Context::create(options);
  if (!context.is_ok()) return context.status();
  const auto cache = ToldCache::create(*context);
  if (!cache.is_ok()) return cache.status();
  return settings.is_writer ? write(settings, *context, *cache)
                            : receive(settings, *context, *cache);
}

}  // namespace baton_perf
