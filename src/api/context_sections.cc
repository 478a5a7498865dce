// Sections and caches: memory registered with every rail, the Layouts over it, and their ends.
#include "src/api/context_impl.h"
#include "src/wire/validate.h"

namespace baton::api {

namespace {

// How long close_section() waits for the requests that it cancelled.
constexpr int64_t kQuietWaitNs = 2'500'000'000;

}  // namespace

Result<Section> ContextImpl::register_section(SectionOptions options) {
  BATON_RETURN_IF_ERROR(check_open());
  auto added = sections_.add(options);
  if (!added.is_ok()) return added.status();
  const std::shared_ptr<section::SectionRecord> record = *added;
  Status registered;
  Status ran = run_on_data([&] {
    for (const auto& rail : rails_) {
      baton_region* region = nullptr;
      baton_region_key key{};
      char error[BATON_ERROR_BYTES] = {};
      const baton_rc rc =
          rail->plugin().region_register(rail->handle(), record->address(), record->length_bytes(),
                                         record->id().value, &region, &key, error);
      if (rc != BATON_RC_OK) {
        registered = transport::status_of(
            rc, "registering " + record->describe() + " on rail " + rail->name(), error);
        return;
      }
      record->add_rail_key({rail->index(), key.key, key.base, region});
    }
  });
  if (!ran.is_ok() || !registered.is_ok()) {
    record->withdraw();
    unregister(record);
    return ran.is_ok() ? registered : ran;
  }
  record->open();
  wire::SectionsChanged changed;
  wire::SectionDescription described;
  described.id = record->id();
  described.name = record->name();
  described.kind = record->kind();
  described.length_bytes = record->length_bytes();
  for (const auto& key : record->rail_keys())
    described.keys.push_back({key.rail, key.key, key.base});
  changed.added.push_back(std::move(described));
  tell_all(changed);
  return Section(shared_from_this(), record);
}

void ContextImpl::unregister(const std::shared_ptr<section::SectionRecord>& record) {
  // In one step, so that close() finds in the table what is not unregistered yet, and nothing else.
  // When the data path is gone, close() has done it.
  run_on_data([&] {
    unregister_from_rails(*record);
    sections_.remove(record->id());
  }).ignore();
}

void ContextImpl::unregister_from_rails(const section::SectionRecord& record) {
  for (const auto& key : record.rail_keys()) {
    transport::Rail& rail = *rails_[key.rail.value];
    rail.plugin().region_unregister(rail.handle(), key.region);
  }
}

Status ContextImpl::close_section(const std::shared_ptr<section::SectionRecord>& record) {
  {
    const std::lock_guard<std::mutex> lock(close_mutex_);
    if (closed_) return Status::ok();  // the Context's end unregistered everything
  }
  record->withdraw();
  wire::SectionsChanged changed;
  changed.withdrawn.push_back(record->id());
  tell_all(changed);
  const Status why(StatusCode::kCancelled, record->describe() + " was closed");
  std::vector<std::shared_ptr<handoff::GrantState>> grants;
  std::vector<std::shared_ptr<handoff::TransferState>> transfers;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    for (const auto& [id, grant] : live_grants_) {
      for (const auto& use : grant->uses) {
        if (use.record() == record.get()) grants.push_back(grant);
      }
    }
    for (const auto& [id, transfer] : live_transfers_) {
      for (const auto& use : transfer->uses) {
        if (use.record() == record.get()) transfers.push_back(transfer);
      }
    }
  }
  for (const auto& grant : grants) cancel_grant(grant, why);
  for (const auto& transfer : transfers) cancel_transfer(transfer, why);
  const int64_t deadline_ns = clock_.now_ns() + kQuietWaitNs;
  const bool unused = wait_until(
      deadline_ns, [&] { return record->users() == 0; },
      [&](int64_t until_ns) { record->wait_unused(until_ns).ignore(); });
  // The last user may have left since.
  if (!unused) BATON_RETURN_IF_ERROR(record->wait_unused(0));
  unregister(record);
  return Status::ok();
}

void ContextImpl::drop_section(const std::shared_ptr<section::SectionRecord>& record) {
  const Status closed = close_section(record);
  if (closed.is_ok()) return;
  logger_.error(
      "{} lost its handle and is registered until the Context closes; its memory may be "
      "written until then: {}",
      record->describe(), closed.to_string());
}

Result<KvCache> ContextImpl::publish_cache(CacheOptions options) {
  BATON_RETURN_IF_ERROR(check_open());
  if (options.name.empty() || options.name.size() > wire::kMaxNameBytes) {
    return Status(StatusCode::kInvalidArgument, "the cache's name \"" + options.name + "\" has " +
                                                    std::to_string(options.name.size()) +
                                                    " bytes: 1 to 255 are allowed");
  }
  if (!wire::is_printable(options.name)) {
    return Status(StatusCode::kInvalidArgument, "the cache's name has control characters: \"" +
                                                    wire::printable(options.name) + "\"");
  }
  std::vector<SectionLength> lengths;
  for (const auto& section : sections_.list())
    lengths.push_back({section->id(), section->length_bytes()});
  Status valid = validate(options.layout, lengths);
  if (!valid.is_ok())
    return Status(valid.code(), "cache \"" + options.name + "\": " + valid.message());
  auto layout = std::make_shared<const Layout>(std::move(options.layout));
  wire::CachesChanged changed;
  KvCache cache;
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    for (const auto& [id, other] : caches_) {
      if (other.name == options.name) {
        return Status(StatusCode::kInvalidArgument, "the cache name \"" + options.name +
                                                        "\" is taken by cache " +
                                                        std::to_string(id.value));
      }
    }
    if (caches_.size() >= wire::kMaxCaches) {
      return Status(StatusCode::kExhausted, "cache \"" + options.name +
                                                "\": " + std::to_string(caches_.size()) +
                                                " caches are published, which is the most");
    }
    cache.id_ = CacheId(++last_cache_);
    caches_[cache.id_] = Cache{options.name, layout};
  }
  cache.context_ = shared_from_this();
  cache.layout_ = layout;
  changed.added.push_back({cache.id_, options.name, *layout});
  tell_all(changed);
  return cache;
}

void ContextImpl::withdraw_cache(CacheId id) {
  {
    const std::lock_guard<std::mutex> lock(state_mutex_);
    if (caches_.erase(id) == 0) return;
  }
  wire::CachesChanged changed;
  changed.withdrawn.push_back(id);
  tell_all(changed);
}

Result<std::shared_ptr<const Layout>> ContextImpl::local_layout(CacheId cache) const {
  const std::lock_guard<std::mutex> lock(state_mutex_);
  const auto found = caches_.find(cache);
  if (found == caches_.end()) {
    return Status(StatusCode::kNotFound,
                  "local cache " + std::to_string(cache.value) + " is not published");
  }
  return found->second.layout;
}

Result<ProgressWord> ContextImpl::create_progress_word() {
  return ProgressWord(std::make_shared<counter::ProgressWordState>(waker_));
}

}  // namespace baton::api
