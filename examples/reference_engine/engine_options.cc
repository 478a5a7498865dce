#include "examples/reference_engine/engine_options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <set>

#include "baton/version.h"

namespace baton_engine {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

struct PromptSource {
  std::string text;
  std::string file;
  bool has_text = false;
  bool has_file = false;
};

void add_model_options(CLI::App& command, EngineOptions& options) {
  command.add_option("--model", options.model, "A GGUF file, or tiny:SEED (random weights)")
      ->required();
  command.add_option("--kv-dtype", options.kv_dtype, "bf16 or f32; equal on both sides")
      ->check(CLI::IsMember({"bf16", "f32"}))
      ->capture_default_str();
  command
      .add_option("--chunk-tokens", options.chunk_tokens,
                  "Tokens of a prefill chunk; equal on both sides")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--block-tokens", options.block_tokens, "Tokens of a KV block")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command.add_option("--threads", options.threads, "Compute threads; 0: one per core")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  command.add_flag("--quiet", options.quiet, "No progress on standard error");
}

void add_prompt_options(CLI::App& command, EngineOptions& options, PromptSource& source) {
  auto* text = command.add_option("--prompt", source.text, "The prompt, used byte for byte");
  auto* file = command.add_option("--prompt-file", source.file, "A file that holds the prompt");
  text->excludes(file);
  command.add_flag("--chat", options.chat, "Wrap the prompt in the model's chat template");
  command.add_option("--max-new-tokens", options.max_new_tokens, "Tokens to generate at most")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
}

void add_wire_options(CLI::App& command, EngineOptions& options) {
  command.add_option("--transport", options.transport, "Plug-in that moves the KV")
      ->capture_default_str();
  command.add_option("--deadline-ms", options.deadline_ms, "Deadline of one request")
      ->check(CLI::Range(1, 3'600'000))
      ->capture_default_str();
  command.add_option("--secret-file", options.secret_file,
                     "Pre-shared key of both sides; needed beyond loopback");
  command.add_flag("--allow-unauthenticated", options.allow_unauthenticated,
                   "Listen beyond loopback without a secret");
}

void add_hand_off_options(CLI::App& command, EngineOptions& options, std::string& hand_off) {
  command
      .add_option("--hand-off", hand_off,
                  "push (layer by layer), pull (decode reads layer by layer) or push-after (all at "
                  "the end)")
      ->check(CLI::IsMember({"push", "pull", "push-after"}))
      ->capture_default_str();
  command
      .add_option("--requests", options.requests,
                  "Requests in flight at once; request i drops the first i tokens")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  command
      .add_option("--decode-block-tokens", options.decode_block_tokens,
                  "Tokens of a KV block on the decode side; 0: as --block-tokens")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command.add_option("--json", options.json_path, "Write the report to this file");
}

void add_ranks_option(CLI::App& command, const char* name, uint32_t& ranks, const char* side) {
  command
      .add_option(
          name, ranks,
          std::string("Tensor-parallel ranks of the ") + side + " side, a process each: 1 or 3")
      ->check(CLI::IsMember(std::set<uint32_t>{1, 3}))
      ->capture_default_str();
}

void add_measurement_options(CLI::App& command, EngineOptions& options) {
  command.add_option("--rounds", options.rounds, "Rounds of measurement, modes in turn")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_flag("--measure-layer", options.measure_layer,
                   "Also measure what one layer's transfer takes alone");
  command
      .add_option("--pause-ms", options.pause_ms,
                  "Before each layer of that measurement; longer than one takes")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  command.add_option("--timeline-dir", options.timeline_dir,
                     "Write handoff.svg and handoff.perfetto.json into this folder");
}

// What a process says to the ranks that it starts; not for users.
void add_rank_options(CLI::App& command, EngineOptions& options) {
  command.group("");
  command.add_flag_callback("--of-decode", [&options] { options.side = Side::kDecode; });
  command.add_option("--rank", options.rank)->required()->check(CLI::Range(1, 2));
  command.add_option("--sums-fd", options.sums_fd)->required()->check(CLI::NonNegativeNumber);
  command.add_option("--pipe-fd", options.pipe_fd)->required()->check(CLI::NonNegativeNumber);
  command.add_flag("--check-pages", options.check_pages);
  command.add_option("--blocks", options.pool_blocks)->required()->check(CLI::PositiveNumber);
}

void add_soak_options(CLI::App& command, EngineOptions& options) {
  command
      .add_option(
          "--hand-offs", options.hand_offs,
          "Make that many hand-offs back to back, 1 to --requests at once, and compare each; "
          "no report")
      ->check(CLI::Range(1, 100'000'000));
  command
      .add_option("--cancel-percent", options.cancel_percent,
                  "Of --hand-offs: how many of 100 are cancelled, at random points")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  command.add_option("--seed", options.seed, "Of the choices of --hand-offs")
      ->capture_default_str();
}

struct Commands {
  CLI::App* run = nullptr;
  CLI::App* check = nullptr;
  CLI::App* monolithic = nullptr;
  CLI::App* prefill = nullptr;
  CLI::App* decode = nullptr;
  CLI::App* rank = nullptr;
};

Commands add_commands(CLI::App& app, EngineOptions& options, PromptSource& source,
                      std::string& hand_off, std::string& listen) {
  CLI::App* run = app.add_subcommand(
      "run", "One process alone, then a prefill process and this one as decode; compares them");
  CLI::App* check = app.add_subcommand(
      "check",
      "As run, or as decode with --connect, but prints the verdict alone: are all KV bytes, logits "
      "and tokens those of one process? Exit status 0: yes, 1: no, 2: wrong input, 3: a process "
      "lost or a deadline");
  CLI::App* monolithic = app.add_subcommand("monolithic", "One process: prefill and decode");
  CLI::App* prefill = app.add_subcommand("prefill", "Serve decode processes; prints its address");
  CLI::App* decode =
      app.add_subcommand("decode", "As run, with a prefill process that runs already");
  CLI::App* rank = app.add_subcommand("rank", "A rank of a process that started it");
  add_rank_options(*rank, options);
  for (CLI::App* command : {run, check, monolithic, prefill, decode, rank}) {
    add_model_options(*command, options);
  }
  for (CLI::App* command : {run, check, monolithic, decode}) {
    add_prompt_options(*command, options, source);
  }
  for (CLI::App* command : {run, check, prefill, decode, rank}) add_wire_options(*command, options);
  for (CLI::App* command : {run, check, prefill, rank}) {
    add_ranks_option(*command, "--prefill-tp", options.prefill_tp, "prefill");
  }
  for (CLI::App* command : {run, check, decode, rank}) {
    add_ranks_option(*command, "--decode-tp", options.decode_tp, "decode");
  }
  for (CLI::App* command : {run, check, decode}) add_hand_off_options(*command, options, hand_off);
  for (CLI::App* command : {run, decode}) {
    add_measurement_options(*command, options);
    add_soak_options(*command, options);
  }
  for (CLI::App* command : {prefill, rank}) {
    command->add_flag("--errors-only", options.errors_only,
                      "Baton logs errors alone, not requests that were cancelled");
    command
        ->add_option("--listen", listen,
                     "HOST or HOST:PORT to listen at; ranks from 1 on take any port of HOST")
        ->capture_default_str();
  }
  prefill->add_option("--pool-tokens", options.pool_tokens,
                      "Tokens that the KV pool holds; 0: the model's context");
  prefill->add_flag("--once", options.once, "End when the first peer is gone");
  decode->add_option("--connect", options.connect, "Address that the prefill side printed")
      ->required();
  check
      ->add_option("--connect", options.connect,
                   "Address that a prefill process printed; without it, one is started")
      ->check(CLI::Validator([](const std::string& text) { return text.empty() ? "is empty" : ""; },
                             ""));
  return {run, check, monolithic, prefill, decode, rank};
}

Status read_prompt(const CLI::App& command, PromptSource& source, EngineOptions& options) {
  source.has_text = command.count("--prompt") > 0;
  source.has_file = command.count("--prompt-file") > 0;
  if (source.has_text) {
    options.prompt = source.text;
    return Status::ok();
  }
  if (!source.has_file) {
    return {StatusCode::kInvalidArgument, "no prompt: give --prompt TEXT or --prompt-file FILE"};
  }
  // Not a stream: those throw when the file is a folder.
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(source.file.c_str(), "rb"),
                                                             &std::fclose);
  const auto failed = [&source](const char* what) {
    return Status(StatusCode::kIoError, std::string("cannot ") + what + " --prompt-file " +
                                            source.file + ": " + std::strerror(errno));
  };
  if (file == nullptr) return failed("open");
  std::array<char, 4096> bytes{};
  size_t got = 0;
  while ((got = std::fread(bytes.data(), 1, bytes.size(), file.get())) > 0) {
    options.prompt.append(bytes.data(), got);
  }
  return std::ferror(file.get()) != 0 ? failed("read") : Status::ok();
}

// "HOST:PORT", "[V6]:PORT" or "HOST".
Status parse_listen(const std::string& text, EngineOptions& options) {
  std::string host = text;
  std::string port;
  const size_t colon = text.rfind(':');
  const bool is_bare_v6 = text.find(':') != colon && text.front() != '[';
  if (colon != std::string::npos && !is_bare_v6 && text.back() != ']') {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  unsigned value = 0;
  for (const char digit : port) {
    if (digit < '0' || digit > '9' || value > 65535) {
      return {StatusCode::kInvalidArgument, "--listen " + text + ": \"" + port + "\" is no port"};
    }
    value = value * 10 + static_cast<unsigned>(digit - '0');
  }
  if (value > 65535) {
    return {StatusCode::kInvalidArgument, "--listen " + text + ": a port is at most 65535"};
  }
  if (host.empty()) return {StatusCode::kInvalidArgument, "--listen " + text + ": no host"};
  options.listen_host = host;
  options.listen_port = static_cast<uint16_t>(value);
  return Status::ok();
}

}  // namespace

int exit_code_of(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return kExitEqual;
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kPeerLost:
    case StatusCode::kPathLost:
    case StatusCode::kInDoubt:
    case StatusCode::kCancelled:
      return kExitPeerLost;
    default:
      return kExitBadInput;
  }
}

std::string_view hand_off_name(HandOff hand_off) {
  switch (hand_off) {
    case HandOff::kPush:
      return "push";
    case HandOff::kPull:
      return "pull";
    case HandOff::kPushAfter:
      return "push-after";
    case HandOff::kPaced:
      return "paced";
    case HandOff::kNone:
      return "none";
  }
  return "?";
}

Result<HandOff> parse_hand_off(std::string_view name) {
  for (const HandOff one :
       {HandOff::kPush, HandOff::kPull, HandOff::kPushAfter, HandOff::kPaced, HandOff::kNone}) {
    if (name == hand_off_name(one)) return one;
  }
  return {StatusCode::kInvalidArgument,
          "\"" + std::string(name) + "\" is none of push, pull, push-after, paced, none"};
}

uint32_t EngineOptions::ranks() const {
  const bool is_prefill =
      mode == EngineMode::kPrefill || (mode == EngineMode::kRank && side == Side::kPrefill);
  return is_prefill ? prefill_tp : decode_tp;
}

baton::ContextOptions EngineOptions::context_options(std::string_view role) const {
  baton::ContextOptions context;
  context.name = std::string(role) + "-" + std::to_string(::getpid());
  context.secret_file = secret_file;
  context.rails[0].plugin = transport;
  context.default_deadline_ms = deadline_ms;
  if (errors_only) context.log_level = baton::LogLevel::kError;
  if (mode == EngineMode::kPrefill || (mode == EngineMode::kRank && side == Side::kPrefill)) {
    context.bind_host = listen_host;
    context.port = listen_port;
    context.allow_unauthenticated = allow_unauthenticated;
  }
  return context;
}

Result<ParsedCommandLine> parse_command_line(int count, const char* const* arguments) {
  ParsedCommandLine parsed;
  EngineOptions& options = parsed.options;
  PromptSource source;
  std::string hand_off = "push";
  std::string listen = "127.0.0.1";
  CLI::App app(
      "baton-engine: a small language-model engine whose prefill hands its KV cache to decode");
  app.set_version_flag("--version", std::string(BATON_VERSION_STRING));
  app.require_subcommand(1);

  const Commands commands = add_commands(app, options, source, hand_off, listen);

  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      app.exit(error);
      parsed.wants_exit = true;
      return parsed;
    }
    return {StatusCode::kInvalidArgument, std::string(error.what()) + " (see --help)"};
  }
  options.mode = *commands.rank                                 ? EngineMode::kRank
                 : *commands.monolithic                         ? EngineMode::kMonolithic
                 : *commands.prefill                            ? EngineMode::kPrefill
                 : *commands.decode || !options.connect.empty() ? EngineMode::kDecode
                                                                : EngineMode::kRun;
  if (*commands.check) {
    options.verdict_only = true;
    options.rounds = 0;
  }
  options.hand_off = parse_hand_off(hand_off).value();
  if (options.hand_offs > 0) options.check_pages = options.errors_only = true;
  if (options.decode_block_tokens == 0) options.decode_block_tokens = options.block_tokens;
  if (*commands.prefill || *commands.rank) BATON_RETURN_IF_ERROR(parse_listen(listen, options));
  if (options.mode != EngineMode::kPrefill && options.mode != EngineMode::kRank) {
    BATON_RETURN_IF_ERROR(read_prompt(*app.get_subcommands().front(), source, options));
  }
  return parsed;
}

}  // namespace baton_engine
