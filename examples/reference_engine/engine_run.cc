#include "examples/reference_engine/engine_run.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "examples/reference_engine/comparison.h"
#include "examples/reference_engine/engine_child.h"
#include "examples/reference_engine/engine_interrupt.h"
#include "examples/reference_engine/engine_node.h"
#include "examples/reference_engine/engine_progress.h"
#include "examples/reference_engine/perfetto_trace.h"
#include "examples/reference_engine/prefill_server.h"
#include "examples/reference_engine/prompt.h"
#include "examples/reference_engine/rank_process.h"
#include "examples/reference_engine/rank_team.h"
#include "examples/reference_engine/report_json.h"
#include "examples/reference_engine/report_text.h"
#include "examples/reference_engine/timeline_svg.h"
#include "examples/reference_engine/write_file.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kChildStartMs = 120'000;  // it loads the model

int fail(const Status& status) {
  std::fflush(stdout);
  std::fprintf(stderr, "baton-engine: %s\n", status.to_string().c_str());
  return interrupted() ? static_cast<int>(kExitInterrupted) : exit_code_of(status);
}

// Request i drops the first i tokens, so that no two are equal.
Result<std::vector<std::vector<uint32_t>>> make_prompts(const EngineNode& node,
                                                        const EngineOptions& options) {
  auto tokens = encode_prompt(node.model(), options.prompt, {options.chat, options.max_new_tokens});
  if (!tokens.is_ok()) return tokens.status();
  if (tokens->size() < options.requests) {
    return Status(StatusCode::kInvalidArgument,
                  "--requests " + std::to_string(options.requests) + " with a prompt of " +
                      std::to_string(tokens->size()) + " tokens: request i drops the first i");
  }
  std::vector<std::vector<uint32_t>> prompts;
  for (uint32_t i = 0; i < options.requests; ++i) {
    prompts.emplace_back(tokens->begin() + i, tokens->end());
  }
  return prompts;
}

// Arguments that make a prefill process for this run.
std::vector<std::string> prefill_arguments(const EngineOptions& options, size_t prompt_tokens) {
  // Each request in whole blocks.
  const uint64_t tokens = (prompt_tokens + options.block_tokens) * options.requests;
  std::vector<std::string> arguments = {"prefill",        "--once",
                                        "--model",        options.model,
                                        "--kv-dtype",     options.kv_dtype,
                                        "--chunk-tokens", std::to_string(options.chunk_tokens),
                                        "--block-tokens", std::to_string(options.block_tokens),
                                        "--threads",      std::to_string(options.threads),
                                        "--deadline-ms",  std::to_string(options.deadline_ms),
                                        "--transport",    options.transport,
                                        "--prefill-tp",   std::to_string(options.prefill_tp),
                                        "--pool-tokens",  std::to_string(tokens)};
  if (!options.secret_file.empty()) {
    arguments.insert(arguments.end(), {"--secret-file", options.secret_file});
  }
  if (options.quiet) arguments.push_back("--quiet");
  if (options.errors_only) arguments.push_back("--errors-only");
  return arguments;
}

Status make_folder(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return Status::ok();
  return {StatusCode::kIoError, "cannot make the folder " + path + ": " + error.message()};
}

Status write_outputs(const RunReport& report, const EngineOptions& options) {
  if (!options.json_path.empty()) {
    BATON_RETURN_IF_ERROR(write_file(options.json_path, report_json(report)));
    std::printf("report: %s\n", options.json_path.c_str());
  }
  if (options.timeline_dir.empty()) return Status::ok();
  BATON_RETURN_IF_ERROR(make_folder(options.timeline_dir));
  const std::string svg = options.timeline_dir + "/handoff.svg";
  const std::string trace = options.timeline_dir + "/handoff.perfetto.json";
  BATON_RETURN_IF_ERROR(write_file(svg, timeline_svg(report)));
  BATON_RETURN_IF_ERROR(write_file(trace, perfetto_trace(report)));
  std::printf("timeline: %s\n", svg.c_str());
  std::printf("trace: %s (open it at https://ui.perfetto.dev)\n", trace.c_str());
  return Status::ok();
}

int conclude(const Status& status, const Comparison& comparison, const EngineOptions& options) {
  if (!comparison.soak_summary().empty()) std::printf("%s\n", comparison.soak_summary().c_str());
  if (!status.is_ok()) return fail(status);
  if (options.hand_offs > 0) {
    std::fflush(stdout);
    return comparison.is_equal() ? kExitEqual : kExitUnequal;
  }
  const RunReport& report = comparison.report();
  std::fputs((options.verdict_only ? verdict_text(report) : report_text(report)).c_str(), stdout);
  std::fflush(stdout);  // before a report that goes to the same place
  const Status written = write_outputs(report, options);
  if (!written.is_ok()) return fail(written);
  if (std::fflush(stdout) != 0) {
    return fail({StatusCode::kIoError, std::string("standard output: ") + std::strerror(errno)});
  }
  return comparison.is_equal() ? kExitEqual : kExitUnequal;
}

int run_alone(const EngineOptions& options) {
  Progress progress("alone", options.quiet);
  auto node = EngineNode::create(options, progress);
  if (!node.is_ok()) return fail(node.status());
  auto prompts = make_prompts(**node, options);
  if (!prompts.is_ok()) return fail(prompts.status());
  const std::vector<uint32_t>& prompt = prompts->front();
  const uint64_t tokens = prompt.size() + options.max_new_tokens;
  auto pool = (*node)->make_pool(
      {options.block_tokens, (tokens + options.block_tokens - 1) / options.block_tokens});
  if (!pool.is_ok()) return fail(pool.status());
  auto run = run_monolithic(**node, *pool, prompt, options.max_new_tokens, progress);
  if (!run.is_ok()) return fail(run.status());
  std::printf("%s\n", (*node)->model().tokenizer().decode(run->generation.tokens).c_str());
  return kExitEqual;
}

int run_prefill(EngineOptions options) {
  Progress progress("prefill", options.quiet);
  const IndexRange parts = parts_of_rank(0, options.prefill_tp);
  if (options.prefill_tp > 1) options.threads = rank_threads(options.threads);
  auto node = EngineNode::create(options, progress, parts);
  if (!node.is_ok()) return fail(node.status());
  const ModelConfig& config = (*node)->model().config();
  Status status = check_ranks(config, options.prefill_tp);
  if (!status.is_ok()) return fail(status);
  const uint32_t tokens = options.pool_tokens != 0 ? options.pool_tokens : config.context_tokens;
  const uint64_t blocks = (uint64_t{tokens} + options.block_tokens - 1) / options.block_tokens;
  std::unique_ptr<RankTeam> team;
  if (options.prefill_tp > 1) {
    auto started = RankTeam::start(Side::kPrefill, options, config, blocks);
    if (!started.is_ok()) return fail(started.status());
    team = std::move(*started);
    status = (*node)->join_ranks(parts, team->sums());
    if (!status.is_ok()) return fail(status);
  }
  auto pool = (*node)->make_pool({options.block_tokens, blocks, false, parts,
                                  team != nullptr ? KvOrder::kHnd : KvOrder::kNhd});
  if (!pool.is_ok()) return fail(pool.status());
  status = (*node)->open_context(options.context_options("prefill"), *pool,
                                 kv_heads_of(config, parts), owned_kv_heads_of(config, parts));
  if (!status.is_ok()) return fail(status);
  std::printf("%s\n", (*node)->context().address().c_str());
  std::fflush(stdout);
  progress.say("listening at " + (*node)->context().address());
  {
    PrefillServer server(**node, *pool, options, progress, team.get());
    status = server.serve();
  }
  (*node)->close_context();
  (*node)->leave_ranks();
  if (!status.is_ok()) return fail(status);
  return interrupted() ? static_cast<int>(kExitInterrupted) : kExitEqual;
}

int run_decode(const EngineOptions& options) {
  Progress progress("decode", options.quiet);
  auto node = EngineNode::create(options, progress);
  if (!node.is_ok()) return fail(node.status());
  auto prompts = make_prompts(**node, options);
  if (!prompts.is_ok()) return fail(prompts.status());
  const Status ranks = check_ranks((*node)->model().config(), options.decode_tp);
  if (!ranks.is_ok()) return fail(ranks);
  Comparison comparison(**node, options, *prompts, progress);
  return conclude(comparison.run(options.connect), comparison, options);
}

int run_both(const EngineOptions& options) {
  Progress progress("decode", options.quiet);
  // Bad input ends here, before another process repeats the complaint.
  auto node = EngineNode::create(options, progress);
  if (!node.is_ok()) return fail(node.status());
  auto prompts = make_prompts(**node, options);
  if (!prompts.is_ok()) return fail(prompts.status());
  for (const uint32_t ranks : {options.prefill_tp, options.decode_tp}) {
    const Status fits = check_ranks((*node)->model().config(), ranks);
    if (!fits.is_ok()) return fail(fits);
  }
  {
    // So does what a Context refuses: an unknown transport, a secret that cannot be read.
    const auto probe = baton::Context::create(options.context_options("probe"));
    if (!probe.is_ok()) return fail(probe.status());
  }
  progress.say("the prompt has " + std::to_string(prompts->front().size()) +
               " tokens; starting the prefill process");
  auto child = EngineChild::start("the prefill process",
                                  prefill_arguments(options, prompts->front().size()));
  if (!child.is_ok()) return fail(child.status());
  auto address = child->read_line(kChildStartMs);
  if (!address.is_ok()) {
    // What the child said on standard error tells more than that it is gone.
    const int code = fail(address.status());
    return child->pid() < 0 && !interrupted() ? static_cast<int>(kExitBadInput) : code;
  }
  Comparison comparison(**node, options, *prompts, progress);
  Status status = comparison.run(*address);
  if (!status.is_ok() && !interrupted() && child->wait(0)) {
    status = Status(StatusCode::kPeerLost, "the prefill process is gone (" + child->how_it_ended() +
                                               "): " + status.message());
  }
  return conclude(status, comparison, options);
}

}  // namespace

int run_engine(const EngineOptions& options) {
  switch (options.mode) {
    case EngineMode::kMonolithic:
      return run_alone(options);
    case EngineMode::kPrefill:
      return run_prefill(options);
    case EngineMode::kDecode:
      return run_decode(options);
    case EngineMode::kRun:
      return run_both(options);
    case EngineMode::kRank: {
      const Status status = run_rank(options);
      return status.is_ok() ? static_cast<int>(kExitEqual) : fail(status);
    }
  }
  return kExitBadInput;
}

}  // namespace baton_engine
