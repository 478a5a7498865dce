#include "examples/reference_engine/perfetto_trace.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/reference_engine/handoff_spans.h"

namespace baton_engine {

namespace {

using Json = nlohmann::ordered_json;

// Rows of a process, from the top. With several ranks one more for each: kRanks + rank.
enum Thread : int { kRequest = 1, kChunks, kComputed, kPosted, kPlaced, kSeen, kRanks };

struct LayerSpan {
  uint32_t layer = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
};

// Viewers take the slices of a thread only nested or apart, and transfers overlap: each begins at
// the end of the one before. Those that did not happen are left out.
std::vector<LayerSpan> apart(std::vector<LayerSpan> spans) {
  std::erase_if(spans, [](const LayerSpan& span) { return span.end_ns == 0; });
  std::stable_sort(spans.begin(), spans.end(),
                   [](const LayerSpan& a, const LayerSpan& b) { return a.end_ns < b.end_ns; });
  int64_t free_ns = INT64_MIN;
  for (LayerSpan& span : spans) {
    span.begin_ns = std::clamp(span.begin_ns, std::min(free_ns, span.end_ns), span.end_ns);
    free_ns = span.end_ns;
  }
  return spans;
}

// One hand-off as two processes.
class HandoffTrace {
 public:
  // Timestamp 0 is `zero_ns`. Appends to `events`, which must outlive this, as must `handoff`.
  HandoffTrace(const HandoffTimes& handoff, int first_process, int64_t zero_ns, Json& events)
      : handoff_(handoff),
        prefill_(first_process),
        decode_(first_process + 1),
        zero_ns_(zero_ns),
        events_(events) {}

  void add_names(const std::string& suffix) {
    name_process(prefill_, "prefill" + suffix);
    name_process(decode_, "decode" + suffix);
    name_thread(prefill_, kChunks, "chunks");
    name_thread(prefill_, kComputed, "computed");
    name_thread(prefill_, kPosted, "posted");
    name_thread(decode_, kRequest, "request");
    name_thread(decode_, kPlaced, "placed");
    name_thread(decode_, kSeen, "seen by decode");
  }

  void add_events() {
    if (handoff_.requested_ns != 0 && handoff_.first_token_ns != 0) {
      add_slice(decode_, kRequest, "time to first token", handoff_.requested_ns,
                handoff_.first_token_ns, {{"kv_bytes", handoff_.kv_bytes}});
    }
    add_computed();
    add_layers(prefill_, kPosted, "t", posted());
    add_layers(decode_, kPlaced, "t", placed());
    add_layers(decode_, kSeen, "f", seen());
  }

  // What each rank of a side of several posted or received, below the rows of the whole side.
  void add_rank(const RankTimes& rank) {
    const int process = rank.is_prefill ? prefill_ : decode_;
    const int thread = kRanks + static_cast<int>(rank.rank);
    name_thread(
        process, thread,
        (rank.is_prefill ? "posted by rank " : "placed at rank ") + std::to_string(rank.rank));
    std::vector<LayerSpan> spans;
    for (size_t index = 0; index < rank.layers.size(); ++index) {
      const LayerTimes& layer = rank.layers[index];
      const int64_t posted_ns =
          index < handoff_.layers.size() ? handoff_.layers[index].posted_ns : 0;
      spans.push_back(rank.is_prefill
                          ? LayerSpan{layer.layer, layer.computed_ns, layer.posted_ns}
                          : LayerSpan{layer.layer, posted_ns == 0 ? layer.placed_ns : posted_ns,
                                      layer.placed_ns});
    }
    for (const LayerSpan& span : apart(std::move(spans))) {
      add_slice(process, thread, "layer " + std::to_string(span.layer), span.begin_ns, span.end_ns,
                {{"layer", span.layer}});
    }
  }

 private:
  double us(int64_t moment_ns) const { return static_cast<double>(moment_ns - zero_ns_) * 1e-3; }

  void add_metadata(const char* name, int process, int thread, Json args) {
    events_.push_back({{"ph", "M"},
                       {"name", name},
                       {"pid", process},
                       {"tid", thread},
                       {"args", std::move(args)}});
  }
  void name_process(int process, const std::string& name) {
    add_metadata("process_name", process, 0, {{"name", name}});
    add_metadata("process_sort_index", process, 0, {{"sort_index", process}});
  }
  void name_thread(int process, int thread, const std::string& name) {
    add_metadata("thread_name", process, thread, {{"name", name}});
    add_metadata("thread_sort_index", process, thread, {{"sort_index", thread}});
  }

  void add_slice(int process, int thread, const std::string& name, int64_t begin_ns, int64_t end_ns,
                 Json args) {
    events_.push_back({{"ph", "X"},
                       {"name", name},
                       {"cat", "handoff"},
                       {"pid", process},
                       {"tid", thread},
                       {"ts", us(begin_ns)},
                       {"dur", static_cast<double>(std::max<int64_t>(end_ns - begin_ns, 0)) * 1e-3},
                       {"args", std::move(args)}});
  }

  // `phase`: s starts the layer's arrow, t passes it on, f ends it. It binds to the slice around
  // its time, which is why it points at the middle.
  void add_arrow(const char* phase, int process, int thread, const LayerSpan& span) {
    events_.push_back({{"ph", phase},
                       {"name", "layer"},
                       {"cat", "handoff"},
                       {"id", (prefill_ << 20) + static_cast<int>(span.layer)},
                       {"bp", "e"},
                       {"pid", process},
                       {"tid", thread},
                       {"ts", us(span.begin_ns + (span.end_ns - span.begin_ns) / 2)}});
  }

  void add_computed() {
    std::map<size_t, LayerSpan> chunks;
    std::map<size_t, LayerSpan> completing;  // each layer's last chunk: its arrow begins there
    for (const ComputeSpan& span : compute_spans(handoff_)) {
      add_slice(prefill_, kComputed, "layer " + std::to_string(span.layer), span.begin_ns,
                span.end_ns, {{"layer", span.layer}, {"chunk", span.chunk}});
      const auto [chunk, is_new] = chunks.try_emplace(span.chunk, LayerSpan{0, span.begin_ns, 0});
      chunk->second.end_ns = span.end_ns;
      completing[span.layer] = {static_cast<uint32_t>(span.layer), span.begin_ns, span.end_ns};
    }
    for (const auto& [index, span] : chunks) {
      Json args = Json::object();
      if (index < handoff_.chunks.size()) {
        args = {{"token_begin", handoff_.chunks[index].token_begin},
                {"token_end", handoff_.chunks[index].token_end}};
      }
      add_slice(prefill_, kChunks, "chunk " + std::to_string(index), span.begin_ns, span.end_ns,
                std::move(args));
    }
    for (const auto& [layer, span] : completing) add_arrow("s", prefill_, kComputed, span);
  }

  void add_layers(int process, int thread, const char* arrow_phase,
                  const std::vector<LayerSpan>& spans) {
    for (const LayerSpan& span : spans) {
      add_slice(process, thread, "layer " + std::to_string(span.layer), span.begin_ns, span.end_ns,
                {{"layer", span.layer}});
      add_arrow(arrow_phase, process, thread, span);
    }
  }

  std::vector<LayerSpan> posted() const {
    std::vector<LayerSpan> spans;
    for (const LayerTimes& layer : handoff_.layers) {
      spans.push_back({layer.layer, layer.computed_ns, layer.posted_ns});
    }
    return apart(std::move(spans));
  }
  std::vector<LayerSpan> placed() const {
    std::vector<LayerSpan> spans;
    for (const LayerTimes& layer : handoff_.layers) {
      spans.push_back({layer.layer, layer.posted_ns, layer.placed_ns});
    }
    return apart(std::move(spans));
  }

  // From the layer's own moment to the next one's; the last layer until the first token.
  std::vector<LayerSpan> seen() const {
    std::vector<LayerSpan> spans;
    for (const LayerTimes& layer : handoff_.layers) {
      spans.push_back({layer.layer, layer.seen_ns, layer.seen_ns});
    }
    spans = apart(std::move(spans));
    for (size_t index = 0; index < spans.size(); ++index) {
      const int64_t end_ns =
          index + 1 < spans.size() ? spans[index + 1].begin_ns : handoff_.first_token_ns;
      spans[index].end_ns = std::max(spans[index].begin_ns, end_ns);
    }
    return spans;
  }

  const HandoffTimes& handoff_;
  int prefill_;
  int decode_;
  int64_t zero_ns_;
  Json& events_;
};

// How long before prefill began the request was made.
int64_t lead_ns(const HandoffTimes& handoff) {
  if (handoff.requested_ns == 0) return 0;
  return std::max<int64_t>(handoff.prefill_begin_ns - handoff.requested_ns, 0);
}

}  // namespace

std::string perfetto_trace(const RunReport& report) {
  const HandoffTimes handoff = on_one_clock(report.handoff, report.clock_is_shared);
  const HandoffTimes push_after = on_one_clock(report.push_after, report.clock_is_shared);
  // Both share the zero, and none has a moment before it.
  const int64_t lead = std::max(lead_ns(handoff), lead_ns(push_after));
  Json events = Json::array();
  const auto add = [&](const HandoffTimes& times, const std::string& suffix, int process) {
    HandoffTrace trace(times, process, times.prefill_begin_ns - lead, events);
    trace.add_names(suffix);
    trace.add_events();
  };
  add(handoff, "", 1);
  HandoffTrace ranks(handoff, 1, handoff.prefill_begin_ns - lead, events);
  for (const RankTimes& rank : report.ranks) {
    const bool is_alone = (rank.is_prefill ? report.prefill_tp : report.decode_tp) == 1;
    const bool is_foreign = !report.clock_is_shared && !rank.is_prefill;
    if (!is_alone && !is_foreign) ranks.add_rank(rank);
  }
  if (report.hand_off != "push-after" && !push_after.layers.empty()) {
    add(push_after, " (push-after)", 3);
  }
  const Json trace = {{"displayTimeUnit", "ms"},
                      {"otherData",
                       {{"model", report.model},
                        {"transport", report.transport},
                        {"hand_off", report.hand_off},
                        {"clock_is_shared", report.clock_is_shared}}},
                      {"traceEvents", std::move(events)}};
  return trace.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace baton_engine
