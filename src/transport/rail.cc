#include "src/transport/rail.h"

#include <cstdlib>
#include <cstring>

#include "src/base/limits.h"

namespace baton::transport {

Status status_of(baton_rc rc, const std::string& what, const char* detail) {
  StatusCode code = StatusCode::kInternal;
  switch (rc) {
    case BATON_RC_OK:
      return Status::ok();
    case BATON_RC_AGAIN:
      code = StatusCode::kBusy;
      break;
    case BATON_RC_INVALID:
      code = StatusCode::kInvalidArgument;
      break;
    case BATON_RC_UNAVAILABLE:
      code = StatusCode::kUnavailable;
      break;
    case BATON_RC_NO_RESOURCE:
      code = StatusCode::kExhausted;
      break;
    case BATON_RC_BROKEN:
      code = StatusCode::kPathLost;
      break;
    case BATON_RC_IO:
      code = StatusCode::kIoError;
      break;
  }
  const bool has_detail = detail != nullptr && detail[0] != '\0';
  return Status(code, has_detail ? what + ": " + detail : what);
}

namespace {

// What keeps a rail from carrying hand-offs; empty: nothing. Checked once, here: the data path
// posts without asking.
std::string missing_capability(const baton_capabilities& has, uint32_t unit_bytes) {
  if (has.immediate_bits != 32) {
    return "its writes carry immediates of " + std::to_string(has.immediate_bits) +
           " bits, 32 are needed";
  }
  if (has.max_sources < base::kMaxUnitSources) {
    return "its writes gather " + std::to_string(has.max_sources) + " source ranges, " +
           std::to_string(base::kMaxUnitSources) + " are needed";
  }
  if (has.max_message_bytes < unit_bytes) {
    return "its longest message has " + std::to_string(has.max_message_bytes) + " bytes, " +
           std::to_string(unit_bytes) + " are needed (ContextOptions::unit_bytes)";
  }
  return "";
}

}  // namespace

Rail::Rail(RailIndex index, const baton_plugin* plugin, RailEvents* events, base::Clock& clock,
           base::Logger& logger, uint64_t seed)
    : index_(index),
      plugin_(plugin),
      events_(events),
      clock_(clock),
      logger_(logger),
      random_(seed) {}

void Rail::fill_host_table() {
  host_.struct_size = sizeof(host_);
  host_.context = this;
  host_.now_ns = [](void* self) { return static_cast<Rail*>(self)->clock_.now_ns(); };
  host_.random = [](void* self) { return static_cast<Rail*>(self)->random_.next(); };
  host_.log = [](void* self, baton_log_level level, const char* message) {
    Rail& rail = *static_cast<Rail*>(self);
    const auto to = level == BATON_LOG_ERROR     ? LogLevel::kError
                    : level == BATON_LOG_WARNING ? LogLevel::kWarning
                    : level == BATON_LOG_INFO    ? LogLevel::kInfo
                                                 : LogLevel::kDebug;
    rail.logger_.log(to, "rail {} ({}): {}", rail.index_.value, rail.name_, message);
  };
  host_.allocate = [](void*, size_t bytes, size_t alignment) -> void* {
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    return std::aligned_alloc(alignment, rounded);
  };
  host_.release = [](void*, void* memory, size_t) { std::free(memory); };
  host_.op_done = [](void* self, uint64_t path, uint64_t op, baton_op_status status) {
    static_cast<Rail*>(self)->events_->on_op_done(path, op, status);
  };
  host_.units_arrived = [](void* self, uint64_t path, uint32_t immediate) {
    static_cast<Rail*>(self)->events_->on_units_arrived(path, immediate);
  };
  host_.path_broken = [](void* self, uint64_t path, const char* reason) {
    static_cast<Rail*>(self)->events_->on_path_broken(path, reason);
  };
  host_.fenced = [](void* self, uint64_t path) {
    static_cast<Rail*>(self)->events_->on_fenced(path);
  };
  host_.resolve = [](void* self, uint64_t path, uint64_t grant, uint64_t key, uint64_t address,
                     uint32_t length, baton_access access) {
    return static_cast<Rail*>(self)->events_->on_resolve(path, grant, key, address, length, access);
  };
}

Result<std::unique_ptr<Rail>> Rail::open(RailIndex index, const baton_plugin* plugin,
                                         const RailOptions& options, uint32_t unit_bytes,
                                         RailEvents* events, base::Clock& clock,
                                         base::Logger& logger, uint64_t seed) {
  auto rail = std::unique_ptr<Rail>(new Rail(index, plugin, events, clock, logger, seed));
  rail->name_ = plugin->name;
  rail->fill_host_table();
  baton_rail_options plain{};
  plain.struct_size = sizeof(plain);
  plain.device = options.device.empty() ? nullptr : options.device.c_str();
  plain.settings = options.settings.empty() ? nullptr : options.settings.c_str();
  plain.in_process = options.in_process;
  char error[BATON_ERROR_BYTES] = {};
  const std::string what =
      "opening rail " + std::to_string(index.value) + " of plug-in \"" + options.plugin + "\"";
  const baton_rc rc = plugin->rail_open(&rail->host_, &plain, &rail->rail_, error);
  if (rc != BATON_RC_OK) {
    rail->rail_ = nullptr;
    return status_of(rc, what, error);
  }
  rail->capabilities_.struct_size = sizeof(rail->capabilities_);
  plugin->capabilities(rail->rail_, &rail->capabilities_);
  const std::string lacks = missing_capability(rail->capabilities_, unit_bytes);
  if (!lacks.empty()) return Status(StatusCode::kUnavailable, what + ": " + lacks);
  return rail;
}

Rail::~Rail() {
  if (rail_ != nullptr) plugin_->rail_close(rail_);
}

}  // namespace baton::transport
