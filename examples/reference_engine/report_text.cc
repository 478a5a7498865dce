#include "examples/reference_engine/report_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/reference_engine/handoff_spans.h"
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
  lines.add_line(fmt::format("{}, {}:", name, format_count_of(generated.tokens.size(), "token")));
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

bool has_ranks(const RunReport& report) { return report.prefill_tp > 1 || report.decode_tp > 1; }

void add_setting(Lines& lines, const RunReport& report) {
  lines.add("model", model_name(report.model));
  lines.add("prompt", fmt::format("{} in {} of at most {}",
                                  format_count_of(report.prompt_token_ids.size(), "token"),
                                  format_count_of(report.handoff.chunks.size(), "chunk"),
                                  format_count(report.chunk_tokens)));
  lines.add("KV", fmt::format("{} as {}, blocks of {}", format_bytes(report.handoff.kv_bytes),
                              clean_text(report.kv_dtype),
                              format_count_of(report.block_tokens, "token")));
  lines.add("hand-off", fmt::format("{} over {}, {} a process", clean_text(report.hand_off),
                                    clean_text(report.transport),
                                    format_count_of(report.num_threads, "compute thread")));
  if (!has_ranks(report)) return;
  lines.add("ranks", fmt::format("{} of prefill, {} of decode, a process each", report.prefill_tp,
                                 report.decode_tp));
}

// The latest of a moment of all layers; 0 when it did not happen.
int64_t latest(const std::vector<LayerTimes>& layers, int64_t LayerTimes::*moment) {
  int64_t last_ns = 0;
  for (const LayerTimes& layer : layers) last_ns = std::max(last_ns, layer.*moment);
  return last_ns;
}

// The last layer's moments of each rank.
void add_ranks(Lines& lines, const RunReport& report) {
  if (!has_ranks(report) || report.ranks.empty()) return;
  lines.add_line("Each rank's last layer, milliseconds since prefill began:");
  constexpr std::string_view kRow = "{:>9}{:>10}{:>13}{:>13}{:>13}{:>16}{:>12}";
  lines.add_line(fmt::format(kRow, "rank", "KV heads", "computed", "posted", "placed",
                             "seen by decode", "KV"));
  const int64_t begin = report.handoff.prefill_begin_ns;
  for (const RankTimes& rank : report.ranks) {
    const auto moment = [&](int64_t LayerTimes::*which) {
      const bool is_foreign = !report.clock_is_shared && !rank.is_prefill;
      return since(begin, is_foreign ? 0 : latest(rank.layers, which));
    };
    const std::string heads =
        rank.heads == 0 ? "-"
                        : fmt::format("{}-{}", rank.head_first, rank.head_first + rank.heads - 1);
    lines.add_line(fmt::format(
        kRow, fmt::format("{} {}", rank.is_prefill ? "prefill" : "decode", rank.rank), heads,
        moment(&LayerTimes::computed_ns), moment(&LayerTimes::posted_ns),
        moment(&LayerTimes::placed_ns), moment(&LayerTimes::seen_ns), format_bytes(rank.kv_bytes)));
  }
  lines.add_line("");
}

void add_transfer(Lines& lines, const RunReport& report) {
  if (report.handoff.layers.empty()) return;
  if (!report.clock_is_shared) {
    lines.add("tail", "unknown: prefill runs under another kernel, whose clock is another");
    lines.add_line("");
    return;
  }
  lines.add("tail", duration(report.tail_ns) + "  from last layer computed to last layer placed");
  lines.add("same of push-after",
            duration(report.push_after_transfer_ns) + "  with every layer sent after prefill");
  lines.add("hidden share",
            format_share(report.hidden_share) + "  of that transfer ran behind prefill's compute");
  lines.add_line("");
}

int64_t after_prefill(const HandoffTimes& handoff) {
  if (handoff.first_token_ns == 0) return 0;
  return handoff.first_token_ns - last_computed_ns(handoff);
}

void add_times(Lines& lines, const RunReport& report) {
  const bool handed = !report.handoff.layers.empty();
  const int64_t alone_ns = report.ttft_monolithic_ns;
  const int64_t handed_ns = report.ttft_disaggregated_ns;
  const int64_t after_ns = report.ttft_push_after_ns;
  lines.add_line("Time to first token:");
  lines.add("  monolithic", duration(alone_ns));
  lines.add("  disaggregated", fmt::format("{}  {} against monolithic", duration(handed_ns),
                                           difference(handed_ns, alone_ns)));
  lines.add("  push-after", fmt::format("{}  {} against monolithic", duration(after_ns),
                                        difference(after_ns, alone_ns)));
  if (handed && report.hand_off != "push-after" && report.clock_is_shared) {
    // Of the time to first token, the part that is not prefill's compute, which varies more.
    const int64_t push_rest_ns = after_prefill(report.handoff);
    const int64_t after_rest_ns = after_prefill(report.push_after);
    lines.add("push-after costs",
              fmt::format("{}{}  from the end of prefill to the first token: {}, with {} {}",
                          after_rest_ns >= push_rest_ns ? "+" : "",
                          duration(after_rest_ns - push_rest_ns), duration(after_rest_ns),
                          clean_text(report.hand_off), duration(push_rest_ns)));
  }
  if (!handed) return;
  lines.add("prefill slow-down",
            fmt::format("{}  {} alone, {} while it hands off",
                        difference(report.prefill_disaggregated_ns, report.prefill_monolithic_ns),
                        duration(report.prefill_monolithic_ns),
                        duration(report.prefill_disaggregated_ns)));
}

// "-": not measured.
std::string measured(int64_t nanoseconds) {
  return nanoseconds == 0 ? "-" : format_ms(to_ms(nanoseconds));
}

// The middle one; of an even count the upper. 0 without any.
template <typename Of>
auto median_of(const std::vector<RunRound>& rounds, Of of) {
  std::vector<decltype(of(rounds.front()))> values;
  for (const RunRound& round : rounds) values.push_back(of(round));
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double ratio(int64_t value, int64_t base) {
  return base == 0 ? 0 : static_cast<double>(value) / static_cast<double>(base);
}

void add_rounds(Lines& lines, const RunReport& report) {
  const std::vector<RunRound>& rounds = report.rounds;
  if (rounds.size() < 2) return;
  lines.add_line("Rounds before it, milliseconds:");
  constexpr std::string_view kRow = "{:>6}{:>15}{:>11}{:>11}{:>11}{:>9}{:>12}{:>11}{:>11}{:>17}";
  lines.add_line(fmt::format(kRow, "round", "prefill alone", "with push", "CPU alone", "with push",
                             "tail", "push-after", "one layer", "TTFT push", "TTFT push-after"));
  const auto add_row = [&](std::string_view name, auto value) {
    lines.add_line(fmt::format(
        kRow, name, measured(value(&RunRound::prefill_alone_ns)),
        measured(value(&RunRound::prefill_push_ns)),
        measured(value(&RunRound::prefill_alone_cpu_ns)),
        measured(value(&RunRound::prefill_push_cpu_ns)), measured(value(&RunRound::tail_ns)),
        measured(value(&RunRound::push_after_transfer_ns)),
        measured(value(&RunRound::layer_alone_ns)), measured(value(&RunRound::ttft_push_ns)),
        measured(value(&RunRound::ttft_push_after_ns))));
  };
  for (size_t index = 0; index < rounds.size(); ++index) {
    add_row(std::to_string(index + 1), [&](auto field) { return rounds[index].*field; });
  }
  add_row("median", [&](auto field) {
    return median_of(rounds, [&](const RunRound& round) { return round.*field; });
  });
  lines.add_line("");
  const double wall = median_of(rounds, [](const RunRound& round) {
    return ratio(round.prefill_push_ns, round.prefill_alone_ns);
  });
  const double cpu = median_of(rounds, [](const RunRound& round) {
    return ratio(round.prefill_push_cpu_ns, round.prefill_alone_cpu_ns);
  });
  lines.add(
      "push / alone",
      fmt::format("prefill {:.3f}, its CPU time {:.3f}  medians of the rounds' ratios", wall, cpu));
  const double tail = median_of(
      rounds, [](const RunRound& round) { return ratio(round.tail_ns, round.layer_alone_ns); });
  if (tail > 0) lines.add("tail / one layer", fmt::format("{:.2f}", tail));
  lines.add_line("");
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
  add_layers(lines, on_one_clock(report.handoff, report.clock_is_shared));
  lines.add_line("");
  add_ranks(lines, report);
  add_rounds(lines, report);
  add_transfer(lines, report);
  add_times(lines, report);
  lines.add_line("");
  add_verdict(lines, report);
  return lines.take();
}

std::string verdict_text(const RunReport& report) {
  Lines lines;
  add_verdict(lines, report);
  return lines.take();
}

}  // namespace baton_engine
