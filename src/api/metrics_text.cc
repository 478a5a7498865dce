// Metrics as Prometheus text. One table says what there is; docs/operations.md repeats it, and a
// test compares the two.
#include <fmt/format.h>

#include <functional>
#include <iterator>

#include "baton/metrics.h"

namespace baton {

namespace {

// Writes samples of one family.
class Samples {
 public:
  Samples(std::string& out, std::string_view name) : out_(out), name_(name) {}

  // `labels`: "" or as made by label(), joined by commas.
  template <typename Value>
  void add(const std::string& labels, Value value) {
    write("", labels, value);
  }
  void add(const std::string& labels, const DurationHistogram& histogram) {
    uint64_t sum = 0;
    for (size_t i = 0; i <= DurationHistogram::kBuckets; ++i) {
      sum += histogram.counts[i];
      const std::string bound =
          i == DurationHistogram::kBuckets
              ? "+Inf"
              : fmt::format("{}", static_cast<double>(DurationHistogram::upper_bound_ns(i)) / 1e9);
      write("_bucket", labels + ",le=\"" + bound + "\"", sum);
    }
    write("_sum", labels, static_cast<double>(histogram.sum_ns) / 1e9);
    write("_count", labels, sum);
  }

 private:
  template <typename Value>
  void write(std::string_view suffix, const std::string& labels, Value value) {
    fmt::format_to(std::back_inserter(out_), "{}{}", name_, suffix);
    if (!labels.empty()) fmt::format_to(std::back_inserter(out_), "{{{}}}", labels);
    fmt::format_to(std::back_inserter(out_), " {}\n", value);
  }

  std::string& out_;
  const std::string_view name_;
};

std::string label(std::string_view key, std::string_view value) {
  std::string out = std::string(key) + "=\"";
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string peer_label(const PeerMetrics& peer) { return label("peer", peer.name); }

std::string path_labels(const PeerMetrics& peer, const PathMetrics& path) {
  return peer_label(peer) + "," + label("path", std::to_string(path.path)) + "," +
         label("rail", std::to_string(path.rail.value)) + "," + label("transport", path.transport);
}

std::string code_label(size_t code) {
  return label("code", status_code_name(static_cast<StatusCode>(code)));
}

using Writer = std::function<void(const Metrics&, Samples&)>;

struct Family {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  Writer write;
};

template <typename Field>
Writer of_context(Field field) {
  return [field](const Metrics& metrics, Samples& out) { out.add("", field(metrics)); };
}

template <typename Field>
Writer of_peers(Field field) {
  return [field](const Metrics& metrics, Samples& out) {
    for (const PeerMetrics& peer : metrics.peers) out.add(peer_label(peer), field(peer));
  };
}

template <typename Field>
Writer of_paths(Field field) {
  return [field](const Metrics& metrics, Samples& out) {
    for (const PeerMetrics& peer : metrics.peers) {
      for (const PathMetrics& path : peer.paths) out.add(path_labels(peer, path), field(path));
    }
  };
}

constexpr bool is_grant(size_t kind) {
  const auto request = static_cast<RequestKind>(kind);
  return request == RequestKind::kKvGrant || request == RequestKind::kRangeGrant ||
         request == RequestKind::kReadGrant;
}

std::string kind_label(size_t kind) {
  return label("kind", request_kind_name(static_cast<RequestKind>(kind)));
}

// Codes that never came have no series, but for OK.
Writer ended(bool grants) {
  return [grants](const Metrics& metrics, Samples& out) {
    for (const PeerMetrics& peer : metrics.peers) {
      for (size_t kind = 0; kind < kNumRequestKinds; ++kind) {
        if (is_grant(kind) != grants) continue;
        const auto& counts = peer.requests[kind].ended;
        for (size_t code = 0; code < counts.size(); ++code) {
          if (code != 0 && counts[code] == 0) continue;
          out.add(peer_label(peer) + "," + kind_label(kind) + "," + code_label(code), counts[code]);
        }
      }
    }
  };
}

Writer started(bool grants) {
  return [grants](const Metrics& metrics, Samples& out) {
    for (const PeerMetrics& peer : metrics.peers) {
      for (size_t kind = 0; kind < kNumRequestKinds; ++kind) {
        if (is_grant(kind) != grants) continue;
        out.add(peer_label(peer) + "," + kind_label(kind), peer.requests[kind].started);
      }
    }
  };
}

Writer losses() {
  return [](const Metrics& metrics, Samples& out) {
    for (const PeerMetrics& peer : metrics.peers) {
      for (size_t code = 0; code < peer.losses.size(); ++code) {
        if (peer.losses[code] == 0) continue;
        out.add(peer_label(peer) + "," + code_label(code), peer.losses[code]);
      }
    }
  };
}

Writer fences() {
  return [](const Metrics& metrics, Samples& out) {
    for (const PeerMetrics& peer : metrics.peers) {
      for (const PathMetrics& path : peer.paths) {
        for (size_t cause = 0; cause < path.fences.size(); ++cause) {
          if (path.fences[cause] == 0) continue;
          out.add(path_labels(peer, path) + "," +
                      label("cause", fence_cause_name(static_cast<FenceCause>(cause))),
                  path.fences[cause]);
        }
      }
    }
  };
}

Writer busy() {
  return [](const Metrics& metrics, Samples& out) {
    for (size_t call = 0; call < metrics.busy.size(); ++call)
      out.add(label("call", busy_call_name(static_cast<BusyCall>(call))), metrics.busy[call]);
  };
}

#define BATON_FIELD(type, field) [](const type& from) { return from.field; }

void add_context_families(std::vector<Family>& all) {
  const auto add = [&all](std::string_view name, std::string_view type, std::string_view help,
                          Writer write) {
    all.push_back({name, type, help, std::move(write)});
  };
  add("baton_info", "gauge", "1; the labels name this Context and its version",
      [](const Metrics& metrics, Samples& out) {
        out.add(label("context", metrics.context) + "," + label("version", metrics.version), 1);
      });
  add("baton_uptime_seconds", "gauge", "Since the Context was created",
      of_context(BATON_FIELD(Metrics, uptime_seconds)));
  add("baton_data_turn_age_seconds", "gauge",
      "Since the data path's last turn; above 2 it is stuck, or nobody drives it; -1: none yet",
      of_context(BATON_FIELD(Metrics, data_turn_age_seconds)));
  add("baton_grants_live", "gauge", "Grants made here that have not ended",
      of_context(BATON_FIELD(Metrics, live_grants)));
  add("baton_transfers_live", "gauge", "Transfers started here that have not ended",
      of_context(BATON_FIELD(Metrics, live_transfers)));
  add("baton_offers", "gauge", "Grants of peers that are on offer here",
      of_context(BATON_FIELD(Metrics, offers)));
  add("baton_counter_slots_free", "gauge", "Counter slots left; a Grant takes one for each layer",
      of_context(BATON_FIELD(Metrics, free_counter_slots)));
  add("baton_busy_total", "counter", "Calls that a bound refused with BUSY", busy());
  add("baton_events_lost_total", "counter", "Events given up because nobody polled",
      of_context(BATON_FIELD(Metrics, events_lost)));
  add("baton_log_messages_dropped_total", "counter", "Log messages whose callback or sink failed",
      of_context(BATON_FIELD(Metrics, log_messages_dropped)));
  add("baton_http_requests_total", "counter", "Requests of this endpoint answered with 200",
      of_context(BATON_FIELD(Metrics, http_requests)));
  add("baton_http_refused_total", "counter",
      "Connections of this endpoint that got another answer, or none",
      of_context(BATON_FIELD(Metrics, http_refused)));
}

void add_peer_families(std::vector<Family>& all) {
  const auto add = [&all](std::string_view name, std::string_view type, std::string_view help,
                          Writer write) {
    all.push_back({name, type, help, std::move(write)});
  };
  add("baton_peer_up", "gauge", "1 while the peer is connected",
      of_peers([](const PeerMetrics& peer) { return peer.is_up ? 1 : 0; }));
  add("baton_peer_losses_total", "counter", "Connections to the peer that ended, by why", losses());
  add("baton_grants_started_total", "counter", "Grants made to the peer", started(true));
  add("baton_grants_ended_total", "counter", "Grants that ended, by code", ended(true));
  add("baton_transfers_started_total", "counter", "Transfers started with the peer",
      started(false));
  add("baton_transfers_ended_total", "counter", "Transfers that ended, by code", ended(false));
  add("baton_placed_bytes_total", "counter", "Bytes of layers whose units are all placed here",
      of_peers(BATON_FIELD(PeerMetrics, placed_bytes)));
  add("baton_quarantine_grants", "gauge", "Grants that are CANCELLING: ended, and not yet quiet",
      of_peers(BATON_FIELD(PeerMetrics, quarantined_grants)));
  add("baton_quarantine_blocks", "gauge", "Blocks of these Grants",
      of_peers(BATON_FIELD(PeerMetrics, quarantined_blocks)));
  add("baton_quarantine_bytes", "gauge", "Bytes of these Grants",
      of_peers(BATON_FIELD(PeerMetrics, quarantined_bytes)));
  add("baton_quarantine_entered_grants_total", "counter", "Grants that became CANCELLING",
      of_peers(BATON_FIELD(PeerMetrics, quarantined_grants_total)));
  add("baton_quarantine_entered_blocks_total", "counter", "Blocks of these Grants",
      of_peers(BATON_FIELD(PeerMetrics, quarantined_blocks_total)));
  add("baton_quarantine_entered_bytes_total", "counter", "Bytes of these Grants",
      of_peers(BATON_FIELD(PeerMetrics, quarantined_bytes_total)));
  add("baton_quarantine_seconds", "histogram", "From CANCELLING to quiet",
      of_peers(BATON_FIELD(PeerMetrics, quarantine)));
  add("baton_settles_sent_total", "counter", "SETTLE messages for units of Paths that died",
      of_peers(BATON_FIELD(PeerMetrics, settles_sent)));
  add("baton_settled_units_sent_total", "counter", "Units in these messages",
      of_peers(BATON_FIELD(PeerMetrics, settled_units_sent)));
  add("baton_settles_applied_total", "counter", "SETTLE messages of the peer that were counted",
      of_peers(BATON_FIELD(PeerMetrics, settles_applied)));
  add("baton_settled_units_applied_total", "counter", "Units counted by them",
      of_peers(BATON_FIELD(PeerMetrics, settled_units_applied)));
  add("baton_rewritten_bytes_total", "counter", "Bytes written again after a Path died",
      of_peers(BATON_FIELD(PeerMetrics, rewritten_bytes)));
  add("baton_peer_detection_seconds", "histogram",
      "Silence of a dead peer until it was found dead: at least what noticing took",
      of_peers(BATON_FIELD(PeerMetrics, detection)));
  add("baton_fence_seconds", "histogram", "From a fence's begin until not another byte can land",
      of_peers(BATON_FIELD(PeerMetrics, fence)));
  add("baton_heartbeat_rtt_seconds", "histogram", "From a heartbeat to its echo",
      of_peers(BATON_FIELD(PeerMetrics, heartbeat_rtt)));
  add("baton_grant_seconds", "histogram", "From grant() to the last unit, of Grants that ended OK",
      of_peers(BATON_FIELD(PeerMetrics, grant_time)));
}

void add_path_families(std::vector<Family>& all) {
  const auto add = [&all](std::string_view name, std::string_view help, Writer write) {
    all.push_back({name, "counter", help, std::move(write)});
  };
  all.push_back({"baton_path_open", "gauge", "1 while a Path is open at this place",
                 of_paths([](const PathMetrics& path) { return path.is_open ? 1 : 0; })});
  add("baton_paths_opened_total", "Paths that became usable",
      of_paths(BATON_FIELD(PathMetrics, opened)));
  add("baton_paths_reopened_total", "Of them, those that follow one that died",
      of_paths(BATON_FIELD(PathMetrics, reopened)));
  add("baton_paths_lost_total", "Paths that were open and are no more",
      of_paths(BATON_FIELD(PathMetrics, lost)));
  add("baton_fences_total", "Fences begun, by cause", fences());
  add("baton_posted_bytes_total", "Bytes handed to the transport, reads included",
      of_paths(BATON_FIELD(PathMetrics, posted_bytes)));
  add("baton_posted_units_total", "Units handed to the transport",
      of_paths(BATON_FIELD(PathMetrics, posted_units)));
  add("baton_posts_total", "Writes and reads handed to the transport, after merging",
      of_paths(BATON_FIELD(PathMetrics, posts)));
  add("baton_immediates_total", "Of them, writes that carried an immediate",
      of_paths(BATON_FIELD(PathMetrics, immediates)));
  add("baton_placed_units_total", "Units counted here",
      of_paths(BATON_FIELD(PathMetrics, placed_units)));
  add("baton_late_units_total", "Of them, while their Grant was CANCELLING: towards quiet only",
      of_paths(BATON_FIELD(PathMetrics, late_units)));
  add("baton_dropped_units_total", "Units reported of a frozen Path, and not counted",
      of_paths(BATON_FIELD(PathMetrics, dropped_units)));
  add("baton_discarded_bytes_total", "Bytes that came too late and were placed nowhere, at most",
      of_paths(BATON_FIELD(PathMetrics, discarded_bytes)));
}

#undef BATON_FIELD

std::vector<Family> all_families() {
  std::vector<Family> all;
  add_context_families(all);
  add_peer_families(all);
  add_path_families(all);
  return all;
}

}  // namespace

std::string prometheus_text(const Metrics& metrics) {
  std::string out;
  for (const Family& family : all_families()) {
    fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", family.name,
                   family.help, family.name, family.type);
    Samples samples(out, family.name);
    family.write(metrics, samples);
  }
  return out;
}

}  // namespace baton
