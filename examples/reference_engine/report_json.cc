#include "examples/reference_engine/report_json.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace baton_engine {

namespace {

// Keys in the order in which they are written here.
using Json = nlohmann::ordered_json;

Json layers_json(const std::vector<LayerTimes>& of) {
  Json layers = Json::array();
  for (const LayerTimes& layer : of) {
    layers.push_back({{"layer", layer.layer},
                      {"computed_ns", layer.computed_ns},
                      {"posted_ns", layer.posted_ns},
                      {"placed_ns", layer.placed_ns},
                      {"seen_ns", layer.seen_ns},
                      {"bytes", layer.bytes}});
  }
  return layers;
}

Json handoff_json(const HandoffTimes& handoff) {
  Json chunks = Json::array();
  for (const HandoffTimes::Chunk& chunk : handoff.chunks) {
    chunks.push_back({{"token_begin", chunk.token_begin},
                      {"token_end", chunk.token_end},
                      {"computed_ns", chunk.computed_ns}});
  }
  return {{"requested_ns", handoff.requested_ns},
          {"prefill_begin_ns", handoff.prefill_begin_ns},
          {"prefill_end_ns", handoff.prefill_end_ns},
          {"prefill_cpu_ns", handoff.prefill_cpu_ns},
          {"first_token_ns", handoff.first_token_ns},
          {"kv_bytes", handoff.kv_bytes},
          {"chunks", std::move(chunks)}};
}

Json ranks_json(const std::vector<RankTimes>& ranks) {
  Json out = Json::array();
  for (const RankTimes& rank : ranks) {
    out.push_back({{"side", rank.is_prefill ? "prefill" : "decode"},
                   {"rank", rank.rank},
                   {"head_first", rank.head_first},
                   {"heads", rank.heads},
                   {"kv_bytes", rank.kv_bytes},
                   {"layers", layers_json(rank.layers)}});
  }
  return out;
}

Json generated_json(const Generated& generated) {
  return {{"tokens", generated.tokens}, {"text", generated.text}};
}

Json rounds_json(const std::vector<RunRound>& rounds) {
  Json out = Json::array();
  for (const RunRound& round : rounds) {
    out.push_back({{"prefill_alone_ns", round.prefill_alone_ns},
                   {"prefill_push_ns", round.prefill_push_ns},
                   {"prefill_alone_cpu_ns", round.prefill_alone_cpu_ns},
                   {"prefill_push_cpu_ns", round.prefill_push_cpu_ns},
                   {"tail_ns", round.tail_ns},
                   {"push_after_transfer_ns", round.push_after_transfer_ns},
                   {"layer_alone_ns", round.layer_alone_ns},
                   {"ttft_push_ns", round.ttft_push_ns},
                   {"ttft_push_after_ns", round.ttft_push_after_ns}});
  }
  return out;
}

}  // namespace

std::string report_json(const RunReport& report) {
  // What lies between a moment of prefill and one of decode.
  const auto across = [&](Json value) { return report.clock_is_shared ? value : Json(); };
  const Json json = {
      {"equal", report.equal()},
      {"model", report.model},
      {"transport", report.transport},
      {"hand_off", report.hand_off},
      {"kv_dtype", report.kv_dtype},
      {"block_tokens", report.block_tokens},
      {"chunk_tokens", report.chunk_tokens},
      {"num_threads", report.num_threads},
      {"prefill_tp", report.prefill_tp},
      {"decode_tp", report.decode_tp},
      {"prompt_token_ids", report.prompt_token_ids},
      {"monolithic", generated_json(report.monolithic)},
      {"disaggregated", generated_json(report.disaggregated)},
      {"kv",
       {{"bytes_compared", report.kv_bytes_compared},
        {"bytes_different", report.kv_bytes_different}}},
      {"logits", {{"compared", report.logits_compared}, {"different", report.logits_different}}},
      {"tail_ns", across(report.tail_ns)},
      {"push_after_transfer_ns", across(report.push_after_transfer_ns)},
      {"hidden_share", across(report.hidden_share)},
      {"ttft_ns",
       {{"monolithic", report.ttft_monolithic_ns},
        {"disaggregated", report.ttft_disaggregated_ns},
        {"push_after", report.ttft_push_after_ns}}},
      {"prefill_ns",
       {{"monolithic", report.prefill_monolithic_ns},
        {"disaggregated", report.prefill_disaggregated_ns}}},
      {"clock_is_shared", report.clock_is_shared},
      {"handoff", handoff_json(report.handoff)},
      {"layers", layers_json(report.handoff.layers)},
      {"ranks", ranks_json(report.ranks)},
      {"push_after", handoff_json(report.push_after)},
      {"layers_push_after", layers_json(report.push_after.layers)},
      {"rounds", rounds_json(report.rounds)},
  };
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace baton_engine
