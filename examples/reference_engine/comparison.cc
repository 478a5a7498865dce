#include "examples/reference_engine/comparison.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "examples/reference_engine/engine_compare.h"
#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/hand_off_soak.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint8_t kPoison = 0xff;  // what KvPoolOptions::poison fills with

// Shows the chunks, and ends on an interrupt.
class AloneHooks final : public ForwardHooks {
 public:
  AloneHooks(uint32_t tokens, Progress& progress) : tokens_(tokens), progress_(progress) {}

  Status on_layer_kv_final(const Chunk& chunk, uint32_t layer) override {
    if (layer == 0) {
      progress_.say("one process alone: computing tokens " + std::to_string(chunk.begin_token) +
                    " to " + std::to_string(chunk.end_token) + " of " + std::to_string(tokens_));
    }
    return interrupted() ? Status(StatusCode::kCancelled, "interrupted") : Status::ok();
  }

 private:
  const uint32_t tokens_;
  Progress& progress_;
};

uint64_t blocks_needed(const std::vector<std::vector<uint32_t>>& prompts, uint32_t new_tokens,
                       uint32_t block_tokens) {
  uint64_t blocks = 0;
  for (const auto& prompt : prompts) {
    blocks += (prompt.size() - 1 + new_tokens + block_tokens - 1) / block_tokens;
  }
  return blocks;
}

template <typename T>
T median(std::vector<T> values) {
  if (values.empty()) return T{};
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Last layer placed - last layer computed.
int64_t tail_of(const HandoffTimes& times) {
  int64_t computed = 0;
  int64_t placed = 0;
  for (const LayerTimes& layer : times.layers) {
    computed = std::max(computed, layer.computed_ns);
    placed = std::max(placed, layer.placed_ns);
  }
  return placed - computed;
}

// A layer's transfer alone: the median over the layers of a paced hand-off.
int64_t layer_alone_of(const HandoffTimes& times) {
  std::vector<int64_t> each;
  for (const LayerTimes& layer : times.layers) each.push_back(layer.placed_ns - layer.computed_ns);
  return median(std::move(each));
}

int64_t ttft_of(const HandoffTimes& times) { return times.first_token_ns - times.requested_ns; }

}  // namespace

Result<MonolithicRun> run_monolithic(EngineNode& node, KvPool& pool,
                                     const std::vector<uint32_t>& prompt, uint32_t max_new_tokens,
                                     Progress& progress) {
  const auto prefilled = static_cast<uint32_t>(prompt.size() - 1);
  auto sequence = Sequence::create(pool, prefilled + max_new_tokens);
  if (!sequence.is_ok()) return sequence.status();
  MonolithicRun out{std::move(*sequence), {}, now_ns(), 0};
  AloneHooks hooks(prefilled, progress);
  BATON_RETURN_IF_ERROR(
      node.forward().prefill(out.sequence, std::span(prompt).first(prefilled), &hooks));
  out.prefill_ns = now_ns() - out.begin_ns;
  auto generation = generate(
      [&](uint32_t token, bool /*is_first*/) {
        return node.forward().decode(out.sequence, token, nullptr);
      },
      {prompt.back(), node.model().tokenizer().end_of_sequence(), max_new_tokens}, progress);
  if (!generation.is_ok()) return generation.status();
  out.generation = std::move(*generation);
  return out;
}

Status Comparison::run(const std::string& address) {
  report_.model = options_.model;
  report_.transport = options_.transport;
  report_.hand_off = hand_off_name(options_.hand_off);
  report_.kv_dtype = options_.kv_dtype;
  report_.block_tokens = options_.block_tokens;
  report_.chunk_tokens = options_.chunk_tokens;
  report_.num_threads = node_.threads();
  report_.prompt_token_ids = prompts_.front();
  report_.decode_tp = options_.decode_tp;
  // The ranks load the model first; from then on they cost nothing until they are needed.
  std::unique_ptr<RankTeam> team;
  if (options_.decode_tp > 1) {
    auto started = RankTeam::start(
        Side::kDecode, options_, node_.model().config(),
        blocks_needed(prompts_, options_.max_new_tokens, options_.decode_block_tokens));
    if (!started.is_ok()) return started.status();
    team = std::move(*started);
    BATON_RETURN_IF_ERROR(node_.join_ranks(parts_of_rank(0, options_.decode_tp), team->sums()));
  }
  Status status = run_alone();
  if (status.is_ok()) status = run_side(address, team.get());
  node_.leave_ranks();
  return status;
}

Status Comparison::run_side(const std::string& address, RankTeam* team) {
  const uint32_t block_tokens = options_.decode_block_tokens;
  const IndexRange parts = parts_of_rank(0, options_.decode_tp);
  // Where a writer has only some of the heads, their tokens lie together.
  const bool is_cut = options_.decode_tp > 1 || options_.prefill_tp > 1;
  auto pool =
      node_.make_pool({block_tokens, blocks_needed(prompts_, options_.max_new_tokens, block_tokens),
                       true, parts, is_cut ? KvOrder::kHnd : KvOrder::kNhd});
  if (!pool.is_ok()) return pool.status();
  const IndexRange heads = kv_heads_of(node_.model().config(), parts);
  Status status = node_.open_context(options_.context_options("decode"), *pool, heads, heads);
  if (status.is_ok()) {
    DecodeClient client(node_, *pool, options_, progress_, team);
    status = client.connect(address);
    if (status.is_ok()) {
      progress_.say("connected to " + address);
      report_.clock_is_shared = client.clock_is_shared();
      report_.prefill_tp = client.prefill_ranks();
      status = options_.hand_offs > 0 ? run_soak(client) : run_rounds(client);
    }
    if (status.is_ok() && options_.hand_offs == 0) status = run_handed_over(client);
  }
  // The pool goes before the node does.
  node_.close_context();
  return status;
}

Status Comparison::run_alone() {
  auto pool =
      node_.make_pool({options_.block_tokens,
                       blocks_needed(prompts_, options_.max_new_tokens, options_.block_tokens)});
  if (!pool.is_ok()) return pool.status();
  alone_pool_.push_back(std::move(*pool));
  for (const std::vector<uint32_t>& prompt : prompts_) {
    auto one =
        run_monolithic(node_, alone_pool_.front(), prompt, options_.max_new_tokens, progress_);
    if (!one.is_ok()) return one.status();
    alone_.push_back(std::move(*one));
  }
  const MonolithicRun& first = alone_.front();
  report_.monolithic = generated(first.generation);
  report_.ttft_monolithic_ns = first.generation.first_token_ns - first.begin_ns;
  return Status::ok();
}

Result<HandoffTimes> Comparison::measure(DecodeClient& client, HandOff hand_off) {
  auto outcomes = client.run({hand_off, 1, false}, std::span(prompts_).first(1));
  if (!outcomes.is_ok()) return outcomes.status();
  return std::move(outcomes->front().times);
}

Status Comparison::measure_prefill(DecodeClient& client, bool push_first, RunRound& round) {
  const auto push = [&] {
    auto times = measure(client, HandOff::kPush);
    if (!times.is_ok()) return times.status();
    round.prefill_push_ns = times->prefill_end_ns - times->prefill_begin_ns;
    round.prefill_push_cpu_ns = times->prefill_cpu_ns;
    round.tail_ns = tail_of(*times);
    round.ttft_push_ns = ttft_of(*times);
    return Status::ok();
  };
  const bool with_push = options_.rounds > 1;
  if (with_push && push_first) BATON_RETURN_IF_ERROR(push());
  auto alone = client.prefill_alone(prompts_.front());
  if (!alone.is_ok()) return alone.status();
  round.prefill_alone_ns = alone->end_ns - alone->begin_ns;
  round.prefill_alone_cpu_ns = alone->cpu_ns;
  return with_push && !push_first ? push() : Status::ok();
}

Status Comparison::run_rounds(DecodeClient& client) {
  const std::vector<uint32_t>& prompt = prompts_.front();
  if (options_.rounds == 0) return Status::ok();
  if (prompt.size() < 2) return Status::ok();  // nothing to hand over
  std::vector<int64_t> alone_ns;
  std::optional<HandoffTimes> push_after;
  for (uint32_t i = 0; i < options_.rounds; ++i) {
    RunRound round;
    BATON_RETURN_IF_ERROR(measure_prefill(client, i % 2 == 1, round));
    alone_ns.push_back(round.prefill_alone_ns);
    if (options_.measure_layer) {
      auto paced = measure(client, HandOff::kPaced);
      if (!paced.is_ok()) return paced.status();
      round.layer_alone_ns = layer_alone_of(*paced);
    }
    auto after = measure(client, HandOff::kPushAfter);
    if (!after.is_ok()) return after.status();
    push_after = std::move(*after);
    round.push_after_transfer_ns = tail_of(*push_after);
    round.ttft_push_after_ns = ttft_of(*push_after);
    report_.rounds.push_back(round);
  }
  report_.prefill_monolithic_ns = median(alone_ns);
  report_.push_after = std::move(*push_after);
  return Status::ok();
}

Status Comparison::run_handed_over(DecodeClient& client) {
  std::vector<std::vector<uint32_t>> handed;
  std::vector<size_t> which;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    if (prompts_[i].size() < 2) continue;
    handed.push_back(prompts_[i]);
    which.push_back(i);
  }
  auto outcomes = client.run({options_.hand_off, options_.max_new_tokens, true}, handed);
  if (!outcomes.is_ok()) return outcomes.status();
  for (size_t i = 0; i < outcomes->size(); ++i) compare(which[i], (*outcomes)[i]);
  if (handed.empty()) {
    // A prompt of one token has no KV to hand over: its first decode step is its first step.
    progress_.say("the prompt is one token: there is no KV to hand over");
    report_.disaggregated = report_.monolithic;
    report_.ttft_disaggregated_ns = report_.ttft_push_after_ns = report_.ttft_monolithic_ns;
    return Status::ok();
  }
  const Outcome& first = outcomes->front();
  report_.disaggregated = generated(first.generation);
  report_.handoff = first.times;
  add_ranks(first);
  report_.ttft_disaggregated_ns = ttft_of(first.times);
  report_.prefill_disaggregated_ns = first.times.prefill_end_ns - first.times.prefill_begin_ns;
  report_.tail_ns = tail_of(first.times);
  if (options_.hand_off == HandOff::kPushAfter) report_.push_after = first.times;
  report_.push_after_transfer_ns = tail_of(report_.push_after);
  report_.ttft_push_after_ns = ttft_of(report_.push_after);
  if (report_.push_after_transfer_ns > 0) {
    report_.hidden_share = 1.0 - static_cast<double>(report_.tail_ns) /
                                     static_cast<double>(report_.push_after_transfer_ns);
  }
  return Status::ok();
}

Status Comparison::run_soak(DecodeClient& client) {
  std::vector<std::vector<uint32_t>> handed;
  std::vector<size_t> which;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    if (prompts_[i].size() < 2) continue;
    handed.push_back(prompts_[i]);
    which.push_back(i);
  }
  if (handed.empty()) {
    return {StatusCode::kInvalidArgument, "--hand-offs with a prompt of one token: it has no KV"};
  }
  HandOffSoak soak(
      client, options_, handed, node_.model().config().layers,
      [&](size_t index, const Outcome& outcome) { return compare(which[index], outcome); },
      progress_);
  const Status status = soak.run();
  soak_summary_ = soak.summary();
  soak_is_equal_ = status.is_ok() && soak.unequal() == 0;
  return status;
}

bool Comparison::compare(size_t request, const Outcome& outcome) {
  const MonolithicRun& alone = alone_[request];
  const Difference logits = compare_logits(alone.generation.logits, outcome.generation.logits);
  report_.logits_compared += logits.compared;
  report_.logits_different += logits.different;
  if (alone.sequence.length_tokens() != outcome.sequence.length_tokens()) {
    // Different texts; their KV has no common shape.
    const uint64_t bytes = outcome.times.kv_bytes;
    report_.kv_bytes_compared += bytes;
    report_.kv_bytes_different += bytes;
    return false;
  }
  Difference kv;
  for (uint32_t rank = 0; rank < options_.decode_tp; ++rank) {
    const IndexRange heads =
        kv_heads_of(node_.model().config(), parts_of_rank(rank, options_.decode_tp));
    const Difference one =
        rank == 0 ? compare_kv(alone.sequence, kv_image(outcome.sequence), heads.first, kPoison)
                  : compare_kv(alone.sequence, outcome.other_kv[rank - 1], heads.first, kPoison);
    kv.compared += one.compared;
    kv.different += one.different;
  }
  report_.kv_bytes_compared += kv.compared;
  report_.kv_bytes_different += kv.different;
  return logits.different == 0 && kv.different == 0 &&
         alone.generation.tokens == outcome.generation.tokens;
}

void Comparison::add_ranks(const Outcome& outcome) {
  const auto at = [](const auto& values, size_t index) {
    return index < values.size() ? values[index] : 0;
  };
  for (uint32_t index = 0; index < outcome.prefill.ranks.size(); ++index) {
    const PrefillRecord::Rank& from = outcome.prefill.ranks[index];
    RankTimes& rank = report_.ranks.emplace_back();
    rank.is_prefill = true;
    rank.rank = index;
    rank.head_first = from.head_first;
    rank.heads = from.heads;
    for (uint32_t layer = 0; layer < from.final_ns.size(); ++layer) {
      rank.layers.push_back({layer, from.final_ns[layer], at(from.posted_ns, layer), 0, 0,
                             at(from.sent_bytes, layer)});
      rank.kv_bytes += rank.layers.back().bytes;
    }
  }
  const uint64_t head_bytes = outcome.sequence.pool().shape().head_bytes();
  const uint64_t handed = report_.prompt_token_ids.size() - 1;
  for (uint32_t index = 0; index < outcome.arrivals.size(); ++index) {
    const RankArrivals& from = outcome.arrivals[index];
    const IndexRange heads =
        kv_heads_of(node_.model().config(), parts_of_rank(index, options_.decode_tp));
    RankTimes& rank = report_.ranks.emplace_back();
    rank.rank = index;
    rank.head_first = heads.first;
    rank.heads = heads.count;
    for (uint32_t layer = 0; layer < from.placed_ns.size(); ++layer) {
      rank.layers.push_back({layer, 0, 0, from.placed_ns[layer], at(from.seen_ns, layer),
                             handed * 2 * heads.count * head_bytes});
      rank.kv_bytes += rank.layers.back().bytes;
    }
  }
}

Generated Comparison::generated(const Generation& generation) const {
  return {generation.tokens, node_.model().tokenizer().decode(generation.tokens)};
}

}  // namespace baton_engine
