#include <string>

#include "src/api/json_writer.h"
#include "src/api/state_report.h"

namespace baton::api {

namespace {

double seconds(int64_t ns) { return static_cast<double>(ns) / 1e9; }

// 64-bit ids are text: many a reader of JSON keeps 53 bits of a number.
std::string id_text(uint64_t id) { return std::to_string(id); }

const char* phase_name(base::PathPhase phase) {
  switch (phase) {
    case base::PathPhase::kNone:
      return "none";
    case base::PathPhase::kOpen:
      return "open";
    case base::PathPhase::kBroken:
      return "broken";
    case base::PathPhase::kFencing:
      return "fencing";
  }
  return "unknown";
}

void write_peer(JsonWriter& json, const PeerReport& peer, int64_t now_ns) {
  json.begin_object();
  json.key("id").number(uint64_t{peer.id});
  json.key("name").text(peer.name);
  json.key("address").text(peer.address);
  json.key("phase").text(peer.phase);
  if (peer.echo_ns != 0) json.key("echo_age_seconds").number(seconds(now_ns - peer.echo_ns));
  json.key("paths").begin_list();
  for (const PathReport& path : peer.paths) {
    json.begin_object();
    json.key("path").number(uint64_t{path.path});
    json.key("transport").text(path.transport);
    json.key("rail").number(uint64_t{path.rail});
    json.key("epoch").number(path.epoch);
    json.key("state").text(phase_name(path.phase));
    json.key("since_seconds").number(seconds(now_ns - path.since_ns));
    json.end_object();
  }
  json.end_list();
  json.end_object();
}

void write_wait(JsonWriter& json, const RequestReport& request, int64_t now_ns) {
  const handoff::WaitSeen& wait = request.wait;
  json.key("waits_for").begin_object();
  json.key("what").text(handoff::wait_name(wait.why));
  json.key("text").text(handoff::wait_text(wait));
  if (wait.why == handoff::Wait::kFence) json.key("path").number(uint64_t{wait.detail});
  if (wait.why == handoff::Wait::kWord) {
    json.key("layer").number(uint64_t{wait.detail});
    json.key("value").number(wait.seen);
    json.key("needed").number(wait.needed);
  }
  const int64_t since_ns = wait.since_ns == 0 ? request.started_ns : wait.since_ns;
  json.key("seconds").number(seconds(now_ns - since_ns));
  json.end_object();
}

void write_progress(JsonWriter& json, const RequestReport& request) {
  json.key("units").number(request.units);
  json.key("total_units").number(request.total_units);
  json.key("bytes").number(request.bytes);
  if (request.is_grant) json.key("blocks").number(request.blocks);
  json.key("layers").number(uint64_t{request.layers});
  json.key("layers_done").number(uint64_t{request.layers_done});
  if (request.layers_done == request.layers) return;
  json.key("next_layer").begin_object();
  json.key("layer").number(uint64_t{request.next_layer});
  json.key("units").number(request.next_layer_units);
  json.key("total_units").number(request.next_layer_total);
  json.end_object();
}

void write_request(JsonWriter& json, const RequestReport& request, int64_t now_ns) {
  json.begin_object();
  json.key("grant").text(id_text(request.grant));
  if (!request.is_grant) json.key("transfer").text(id_text(request.id));
  json.key("kind").text(request_kind_name(request.kind));
  json.key("tag").text(request.tag);
  json.key("peer").number(uint64_t{request.peer});
  json.key("peer_name").text(request.peer_name);
  json.key("state").text(state_name(request.state));
  json.key("age_seconds").number(seconds(now_ns - request.started_ns));
  json.key("deadline_left_seconds").number(seconds(request.deadline_ns - now_ns));
  if (request.lease_end_ns != INT64_MAX)
    json.key("lease_left_seconds").number(seconds(request.lease_end_ns - now_ns));
  if (!request.status.is_ok()) {
    json.key("code").text(status_code_name(request.status.code()));
    json.key("message").text(request.status.message());
    json.key("cancelling_seconds").number(seconds(now_ns - request.cancelled_ns));
  }
  if (!is_terminal(request.state)) write_wait(json, request, now_ns);
  write_progress(json, request);
  json.end_object();
}

void write_offer(JsonWriter& json, const OfferReport& offer, int64_t now_ns) {
  json.begin_object();
  json.key("grant").text(id_text(offer.grant));
  json.key("tag").text(offer.tag);
  json.key("peer").number(uint64_t{offer.peer});
  json.key("peer_name").text(offer.peer_name);
  json.key("age_seconds").number(seconds(now_ns - offer.arrived_ns));
  json.key("total_units").number(offer.total_units);
  json.end_object();
}

template <typename Item>
void write_list(JsonWriter& json, const char* name, const std::vector<Item>& items,
                uint64_t left_out, void (*write)(JsonWriter&, const Item&, int64_t),
                int64_t now_ns) {
  json.key(name).begin_list();
  for (const Item& item : items) write(json, item, now_ns);
  json.end_list();
  json.key(std::string(name) + "_left_out").number(left_out);
}

}  // namespace

std::string to_json(const StateReport& report) {
  JsonWriter json;
  json.begin_object();
  json.key("context").text(report.context);
  json.key("address").text(report.address);
  json.key("version").text(report.version);
  json.key("data_path").begin_object();
  json.key("driven_by").text(report.caller_drives ? "caller" : "thread");
  json.key("has_turned").boolean(report.last_turn_ns != 0);
  if (report.last_turn_ns != 0)
    json.key("turn_age_seconds").number(seconds(report.now_ns - report.last_turn_ns));
  json.key("is_late").boolean(report.is_data_path_late());
  json.end_object();
  const int64_t now_ns = report.now_ns;
  write_list(json, "peers", report.peers, report.peers_left_out, write_peer, now_ns);
  write_list(json, "grants", report.grants, report.grants_left_out, write_request, now_ns);
  write_list(json, "transfers", report.transfers, report.transfers_left_out, write_request, now_ns);
  write_list(json, "offers", report.offers, report.offers_left_out, write_offer, now_ns);
  json.end_object();
  return json.result() + "\n";
}

}  // namespace baton::api
