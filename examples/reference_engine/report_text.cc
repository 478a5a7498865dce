#include "examples/reference_engine/report_text.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

#include "examples/reference_engine/report_format.h"

namespace baton_engine {

namespace {

double to_ms(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-6; }

std::string duration(int64_t nanoseconds) { return format_ms(to_ms(nanoseconds)) + " ms"; }

// "+12.3 ms (+1.9 %)": how much longer `value` is than `base`.
std::string difference(int64_t value, int64_t base) {
  const int64_t more = value - base;
  std::string text = (more >= 0 ? "+" : "") + duration(more);
  if (base > 0) {
    text +=
        fmt::format(" ({:+.1f} %)", 100 * static_cast<double>(more) / static_cast<double>(base));
  }
  return text;
}

class Lines {
 public:
  // "name               value": one aligned line; without a name it continues the one before.
  void add(std::string_view name, std::string_view value) {
    fmt::format_to(std::back_inserter(text_), "{:<22}{}\n", name, value);
  }
  void add_line(std::string_view line) { text_.append(line).append("\n"); }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void add_generated(Lines& lines, std::string_view name, const Generated& generated) {
  lines.add_line(fmt::format("{}, {} tokens:", name, format_count(generated.tokens.size())));
  const std::string text = clean_text(generated.text);
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.add_line("  | " + text.substr(begin, end - begin));
    begin = end + 1;
  }
  lines.add_line("");
}

// Of a moment; "-" when it did not happen.
std::string since(int64_t begin_ns, int64_t moment_ns) {
  return moment_ns == 0 ? "-" : fmt::format("{:.3f}", to_ms(moment_ns - begin_ns));
}

void add_layers(Lines& lines, const HandoffTimes& handoff) {
  if (handoff.layers.empty()) {
    lines.add_line("No layer was handed off.");
    return;
  }
  lines.add_line("Each layer, milliseconds since prefill began:");
  lines.add_line(fmt::format("{:>5}{:>13}{:>13}{:>13}{:>16}{:>12}", "layer", "computed", "posted",
                             "placed", "seen by decode", "KV"));
  const int64_t begin = handoff.prefill_begin_ns;
  for (const LayerTimes& layer : handoff.layers) {
    lines.add_line(fmt::format("{:>5}{:>13}{:>13}{:>13}{:>16}{:>12}", layer.layer,
                               since(begin, layer.computed_ns), since(begin, layer.posted_ns),
                               since(begin, layer.placed_ns), since(begin, layer.seen_ns),
                               format_bytes(layer.bytes)));
  }
}

void add_setting(Lines& lines, const RunReport& report) {
  const size_t chunks = report.handoff.chunks.size();
  lines.add("model", model_name(report.model));
  lines.add("prompt", fmt::format("{} tokens in {} chunk{} of at most {}",
                                  format_count(report.prompt_token_ids.size()), chunks,
                                  chunks == 1 ? "" : "s", format_count(report.chunk_tokens)));
  lines.add("KV",
            fmt::format("{} as {}, blocks of {} tokens", format_bytes(report.handoff.kv_bytes),
                        clean_text(report.kv_dtype), report.block_tokens));
  lines.add("hand-off", fmt::format("{} over {}, {} compute thread{} a process",
                                    clean_text(report.hand_off), clean_text(report.transport),
                                    report.num_threads, report.num_threads == 1 ? "" : "s"));
}

void add_times(Lines& lines, const RunReport& report) {
  lines.add("tail",
            duration(report.tail_ns) + "  from the last layer computed to the last layer placed");
  lines.add("same, push-after",
            duration(report.push_after_transfer_ns) + "  with every layer sent after prefill");
  lines.add("hidden share",
            format_share(report.hidden_share) + "  of that transfer ran behind prefill's compute");
  lines.add_line("");
  lines.add_line("Time to first token:");
  lines.add("  monolithic", duration(report.ttft_monolithic_ns));
  lines.add("  disaggregated",
            fmt::format("{}  {} to monolithic", duration(report.ttft_disaggregated_ns),
                        difference(report.ttft_disaggregated_ns, report.ttft_monolithic_ns)));
  lines.add("  push-after",
            fmt::format("{}  {} to monolithic", duration(report.ttft_push_after_ns),
                        difference(report.ttft_push_after_ns, report.ttft_monolithic_ns)));
  if (report.hand_off != "push-after") {
    lines.add("push-after costs",
              difference(report.ttft_push_after_ns, report.ttft_disaggregated_ns) +
                  "  of time to first token");
  }
  lines.add("prefill slows down by",
            fmt::format("{}  monolithic {}, disaggregated {}",
                        difference(report.prefill_disaggregated_ns, report.prefill_monolithic_ns),
                        duration(report.prefill_monolithic_ns),
                        duration(report.prefill_disaggregated_ns)));
}

// Where the two ways to the tokens part, counted from 1; they differ.
size_t first_difference(const RunReport& report) {
  const std::vector<uint32_t>& one = report.monolithic.tokens;
  const std::vector<uint32_t>& other = report.disaggregated.tokens;
  size_t index = 0;
  while (index < one.size() && index < other.size() && one[index] == other[index]) ++index;
  return index + 1;
}

void add_verdict(Lines& lines, const RunReport& report) {
  lines.add("KV compared",
            fmt::format("{} bytes, {} different", format_count(report.kv_bytes_compared),
                        format_count(report.kv_bytes_different)));
  lines.add("logits compared", fmt::format("{}, {} different", format_count(report.logits_compared),
                                           format_count(report.logits_different)));
  if (report.monolithic.tokens != report.disaggregated.tokens) {
    lines.add("tokens", fmt::format("the first that differs is token {}",
                                    format_count(first_difference(report))));
  } else {
    lines.add("tokens", fmt::format("{}, the same", format_count(report.monolithic.tokens.size())));
  }
  lines.add_line("");
  lines.add_line(report.equal()
                     ? "EQUAL: disaggregated and monolithic generated the same, bit by bit"
                     : "UNEQUAL: disaggregated and monolithic differ, see above");
}

}  // namespace

std::string report_text(const RunReport& report) {
  Lines lines;
  add_setting(lines, report);
  lines.add_line("");
  add_generated(lines, "Monolithic", report.monolithic);
  add_generated(lines, "Disaggregated", report.disaggregated);
  add_layers(lines, report.handoff);
  lines.add_line("");
  add_times(lines, report);
  lines.add_line("");
  add_verdict(lines, report);
  return lines.take();
}

}  // namespace baton_engine
