#include "perf/pair/connector.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "baton/context.h"
#include "perf/baselines/tcp_stream.h"
#include "perf/lib/buffer.h"
#include "perf/lib/clock.h"
#include "perf/lib/size.h"
#include "perf/lib/verify.h"
#include "perf/pair/baton_subject.h"
#include "perf/pair/control_link.h"
#include "perf/pair/listener.h"

namespace baton_perf {

using baton::Result;
using baton::Status;
using baton::StatusCode;

namespace {

constexpr uint32_t kOfferTimeoutMs = 10'000;
constexpr uint32_t kDrainMs = 1000;

// "127.0.0.1:41873" and "[::1]:41873" without the port and the brackets.
std::string host_of(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return host;
}

Result<StreamToken> token_from_hex(const std::string& text) {
  StreamToken token{};
  if (text.size() != 2 * token.size() ||
      text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return {StatusCode::kProtocolError, "the listener's baseline token is no token"};
  }
  for (size_t i = 0; i < token.size(); ++i) {
    token[i] = static_cast<uint8_t>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  }
  return token;
}

// A refusal to connect that is nobody's fault here reads the same whatever the transport calls it.
Status connect_failed(const std::string& address, const Status& why) {
  switch (why.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kMismatch:
    case StatusCode::kPermissionDenied:
      return why;
    default:
      return {StatusCode::kPeerLost, "cannot connect to " + address + ": " + why.to_string()};
  }
}

class Connector {
 public:
  Connector(const PairSettings& settings, baton::Context& context, baton::PeerId peer,
            const ProgressLine& progress)
      : settings_(settings),
        context_(context),
        peer_(peer),
        progress_(progress),
        inbox_(context),
        link_(context, inbox_) {
    inbox_.watch(peer);
  }

  Status run(PairResult& result) {
    Status status = set_up(result);
    if (status.is_ok()) status = make_baton();
    if (status.is_ok() && !settings_.baseline.empty()) status = make_baseline();
    if (!status.is_ok()) return status;
    std::vector<Subject*> subjects = {baton_.get()};
    if (baseline_ != nullptr) subjects.push_back(baseline_.get());
    std::vector<uint64_t> verified;
    for (Subject* subject : subjects) {
      const Result<uint64_t> bytes = verify(*subject);
      if (!bytes.is_ok()) return bytes.status();
      verified.push_back(*bytes);
    }
    Result<std::vector<Summary>> summaries = measure_all(subjects);
    if (!summaries.is_ok()) return summaries.status();
    result.ours = {std::move((*summaries)[0]), verified[0]};
    if (subjects.size() > 1) result.baseline = {std::move((*summaries)[1]), verified[1]};
    return link_.say_bye(peer_);
  }

 private:
  Status set_up(PairResult& result) {
    Result<Places> places = Places::create(settings_.shape(), settings_.in_flight);
    if (!places.is_ok()) return places.status();
    places_ = std::move(*places);
    progress_("preparing buffers of " + format_size(settings_.footprint_bytes));
    Result<Buffer> buffer = Buffer::create(settings_.footprint_bytes);
    if (!buffer.is_ok()) return buffer.status();
    buffer_ = std::move(*buffer);
    Result<nlohmann::json> hello =
        link_.ask(peer_, {{"do", "hello"}, {"settings", to_json(settings_)}});
    if (!hello.is_ok()) return hello.status();
    hello_ = std::move(*hello);
    result.peer_machine_json = hello_.value("machine", nlohmann::json()).dump();
    return Status::ok();
  }

  Status make_baton() {
    Result<baton::GrantOffer> offer = context_.wait_offer(kGrantTag, kOfferTimeoutMs);
    if (!offer.is_ok()) return offer.status();
    if (offer->ranges.size() != 1) {
      return {StatusCode::kProtocolError, "the listener's grant does not name one range"};
    }
    Result<baton::Section> section = register_memory(context_, "baton-perf", buffer_.bytes());
    if (!section.is_ok()) return section.status();
    section_ = std::move(*section);
    baton_ = std::make_unique<BatonSubject>(
        BatonSubject::Options{.operation = settings_.operation,
                              .in_flight = settings_.in_flight,
                              .grant = offer->id,
                              .local_section = section_.id(),
                              .remote_section = offer->ranges.front().section},
        context_, inbox_, *places_);
    return Status::ok();
  }

  Status make_baseline() {
    const nlohmann::json& offered = hello_.value("baseline", nlohmann::json::object());
    if (!offered.contains("port") || !offered["port"].is_number_unsigned() ||
        !offered.contains("token") || !offered["token"].is_string()) {
      return {StatusCode::kProtocolError, "the listener offers no baseline"};
    }
    const Result<StreamToken> token = token_from_hex(offered["token"].get<std::string>());
    if (!token.is_ok()) return token.status();
    const Result<baton::PeerDescription> peer = context_.describe_peer(peer_);
    if (!peer.is_ok()) return peer.status();
    auto client = TcpStreamClient::connect(
        {.server = {host_of(peer->remote_address), offered["port"].get<uint16_t>()},
         .token = *token,
         .operation = settings_.operation,
         .in_flight = settings_.in_flight,
         .is_tuned = settings_.baseline == "tcp-tuned"},
        buffer_.bytes(), *places_);
    if (!client.is_ok()) return client.status();
    baseline_ = std::move(*client);
    return Status::ok();
  }

  // The verified pass: untimed, before anything is measured.
  Result<uint64_t> verify(Subject& subject) {
    progress_("verifying " + std::string(subject.name()));
    const bool write = settings_.operation == Operation::kWrite;
    if (write) {
      prepare_source(buffer_, settings_.seed);
    } else {
      prepare_target(buffer_);
    }
    const Result<nlohmann::json> prepared = link_.ask(peer_, {{"do", "prepare"}});
    if (!prepared.is_ok()) return prepared.status();
    const Status moved = move_batches(subject, settings_.in_flight, batches_to_verify(*places_));
    if (!moved.is_ok()) return moved;
    const Status guards = buffer_.check_guards();
    if (!guards.is_ok()) return guards;
    if (!write) return verify_target(buffer_, *places_, settings_.seed);
    const Result<nlohmann::json> answer = link_.ask(peer_, {{"do", "verify"}});
    if (!answer.is_ok()) return answer.status();
    if (!answer->contains("bytes_verified") || !(*answer)["bytes_verified"].is_number_unsigned()) {
      return {StatusCode::kProtocolError, "the listener did not say what it verified"};
    }
    return (*answer)["bytes_verified"].get<uint64_t>();
  }

  Result<std::vector<Summary>> measure_all(const std::vector<Subject*>& subjects) {
    InterleavedOptions options;
    options.load = {.in_flight = settings_.in_flight,
                    .seconds = settings_.seconds / settings_.rounds,
                    .batch_bytes = settings_.batch_bytes(),
                    .runs_per_batch = settings_.runs};
    options.rounds = settings_.rounds;
    options.progress = progress_;
    options.cpu_seconds = [this] { return cpu_seconds(); };
    return measure_interleaved(subjects, options);
  }

  Result<CpuSeconds> cpu_seconds() {
    const Result<nlohmann::json> answer = link_.ask(peer_, {{"do", "cpu"}});
    if (!answer.is_ok()) return answer.status();
    if (!answer->contains("cpu_s") || !(*answer)["cpu_s"].is_number()) {
      return {StatusCode::kProtocolError, "the listener did not say what CPU time it used"};
    }
    return CpuSeconds{process_cpu_seconds(), (*answer)["cpu_s"].get<double>()};
  }

  const PairSettings& settings_;
  baton::Context& context_;
  const baton::PeerId peer_;
  const ProgressLine& progress_;
  EventInbox inbox_;
  ControlLink link_;
  nlohmann::json hello_;
  std::optional<Places> places_;
  Buffer buffer_;
  baton::Section section_;
  std::unique_ptr<Subject> baton_;
  std::unique_ptr<Subject> baseline_;
};

}  // namespace

Result<PairResult> run_connector(const EndpointSettings& endpoint, const PairSettings& settings,
                                 const std::string& address, const ProgressLine& progress) {
  PairResult result;
  result.endpoint = endpoint;
  result.settings = settings;
  result.machine = read_machine();
  result.settings.footprint_bytes =
      resolve_footprint(settings, result.machine.last_level_cache_bytes);
  Result<baton::Context> context = baton::Context::create(context_options(endpoint, "connect"));
  if (!context.is_ok()) return context.status();
  const Result<baton::PeerId> peer = context->connect(address);
  if (!peer.is_ok()) return connect_failed(address, peer.status());
  Connector connector(result.settings, *context, *peer, progress);
  const Status status = connector.run(result);
  if (!status.is_ok()) return status;
  return result;
}

Result<ConnectResult> measure_connect(const EndpointSettings& endpoint, const std::string& address,
                                      uint32_t count, const ProgressLine& progress) {
  ConnectResult result;
  result.endpoint = endpoint;
  result.machine = read_machine();
  result.count = count;
  Result<baton::Context> context = baton::Context::create(context_options(endpoint, "connect"));
  if (!context.is_ok()) return context.status();
  EventInbox inbox(*context);
  ControlLink link(*context, inbox);
  // The first connection warms both processes up and is not counted.
  for (uint32_t i = 0; i <= count; ++i) {
    const int64_t start_ns = monotonic_ns();
    const Result<baton::PeerId> peer = context->connect(address);
    if (!peer.is_ok()) return connect_failed(address, peer.status());
    const Result<baton::PeerDescription> known = context->describe_peer(*peer);
    const int64_t end_ns = monotonic_ns();
    if (!known.is_ok()) return known.status();
    if (known->sections.empty()) {
      return {StatusCode::kInternal, "connected, and the listener's sections are not known"};
    }
    if (i > 0) result.latency_ns.record(static_cast<uint64_t>(end_ns - start_ns));
    if (i > 0 && i % 100 == 0) progress(std::to_string(i) + " of " + std::to_string(count));
    inbox.watch(*peer);
    const Status told =
        i == count ? link.say_bye(*peer) : link.ask(*peer, {{"do", "again"}}).status();
    if (!told.is_ok()) return told;
    if (i == count) break;
    inbox.watch(baton::PeerId());
    const Status gone = context->disconnect(*peer);
    if (!gone.is_ok()) return gone;
  }
  context->close(kDrainMs).ignore();
  return result;
}

}  // namespace baton_perf
