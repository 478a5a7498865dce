#include "perf/lib/measure.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "perf/lib/clock.h"

namespace baton_perf {

using baton::Result;
using baton::Status;

namespace {

// Submission times of the batches in flight: few, so a linear search is the fastest table.
class Outstanding {
 public:
  explicit Outstanding(uint32_t capacity) { entries_.reserve(capacity); }
  size_t size() const { return entries_.size(); }
  void add(uint64_t batch, int64_t submitted_ns) { entries_.push_back({batch, submitted_ns}); }
  // The submission time of `batch`, which is forgotten; -1: it was not outstanding.
  int64_t take(uint64_t batch) {
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const Entry& entry) { return entry.batch == batch; });
    if (found == entries_.end()) return -1;
    const int64_t submitted_ns = found->submitted_ns;
    *found = entries_.back();
    entries_.pop_back();
    return submitted_ns;
  }

 private:
  struct Entry {
    uint64_t batch;
    int64_t submitted_ns;
  };
  std::vector<Entry> entries_;
};

Status unexpected_batch(const Subject& subject, uint64_t batch) {
  return {baton::StatusCode::kInternal, std::string(subject.name()) + " reported batch " +
                                            std::to_string(batch) + ", which was not outstanding"};
}

}  // namespace

Result<Sample> measure(Subject& subject, const Load& load, uint64_t& next_batch) {
  Sample sample;
  Outstanding outstanding(load.in_flight);
  const int64_t start_ns = monotonic_ns();
  const int64_t end_ns = start_ns + static_cast<int64_t>(load.seconds * 1e9);
  int64_t now_ns = start_ns;
  bool first = true;
  while (true) {
    while (outstanding.size() < load.in_flight && (now_ns < end_ns || first)) {
      first = false;
      outstanding.add(next_batch, now_ns);
      const Status status = subject.submit(next_batch++);
      if (!status.is_ok()) return status;
      if (load.in_flight > 1) now_ns = monotonic_ns();
    }
    if (outstanding.size() == 0) break;
    const Result<uint64_t> done = subject.wait_one();
    if (!done.is_ok()) return done.status();
    now_ns = monotonic_ns();
    const int64_t submitted_ns = outstanding.take(*done);
    if (submitted_ns < 0) return unexpected_batch(subject, *done);
    sample.latency_ns.record(static_cast<uint64_t>(now_ns - submitted_ns));
    ++sample.batches;
  }
  sample.elapsed_s = static_cast<double>(now_ns - start_ns) / 1e9;
  sample.bytes = sample.batches * load.batch_bytes;
  return sample;
}

Status move_batches(Subject& subject, uint32_t in_flight, uint64_t count) {
  uint64_t submitted = 0;
  uint64_t done = 0;
  while (done < count) {
    for (; submitted < count && submitted - done < in_flight; ++submitted) {
      const Status status = subject.submit(submitted);
      if (!status.is_ok()) return status;
    }
    const Result<uint64_t> one = subject.wait_one();
    if (!one.is_ok()) return one.status();
    ++done;
  }
  return Status::ok();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

namespace {

// One subject on its way through the rounds.
struct Course {
  Subject* subject = nullptr;
  uint64_t next_batch = 0;
  Summary summary;
  CpuSeconds cpu;
};

Status run_round(Course& course, uint32_t round, const InterleavedOptions& options) {
  const Result<CpuSeconds> before = options.cpu_seconds();
  if (!before.is_ok()) return before.status();
  const Result<Sample> sample = measure(*course.subject, options.load, course.next_batch);
  if (!sample.is_ok()) return sample.status();
  const Result<CpuSeconds> after = options.cpu_seconds();
  if (!after.is_ok()) return after.status();
  course.cpu.local += after->local - before->local;
  course.cpu.remote += after->remote - before->remote;
  Summary& summary = course.summary;
  summary.rounds_gb_per_s.push_back(sample->gb_per_s());
  summary.bytes += sample->bytes;
  summary.batches += sample->batches;
  summary.latency_ns.merge(sample->latency_ns);
  if (options.progress) {
    char line[160];
    std::snprintf(line, sizeof(line), "round %u of %u: %s %.3f GB/s, batch p50 %.1f us", round + 1,
                  options.rounds, summary.name.c_str(), sample->gb_per_s(),
                  static_cast<double>(sample->latency_ns.percentile(50)) / 1e3);
    options.progress(line);
  }
  return Status::ok();
}

void finish(Course& course, const Load& load) {
  Summary& summary = course.summary;
  summary.gb_per_s = median(summary.rounds_gb_per_s);
  const double bytes_per_run =
      static_cast<double>(load.batch_bytes) / static_cast<double>(load.runs_per_batch);
  summary.runs_per_s = summary.gb_per_s * 1e9 / bytes_per_run;
  const double gigabytes = static_cast<double>(summary.bytes) / 1e9;
  summary.cpu_s_per_gb_local = course.cpu.local / gigabytes;
  summary.cpu_s_per_gb_remote = course.cpu.remote / gigabytes;
}

}  // namespace

Result<std::vector<Summary>> measure_interleaved(std::span<Subject* const> subjects,
                                                 const InterleavedOptions& options) {
  std::vector<Course> courses;
  for (Subject* subject : subjects) {
    Course course;
    course.subject = subject;
    course.summary.name = subject->name();
    Load warm_up = options.load;
    warm_up.seconds = options.warm_up_s;
    const Result<Sample> warm = measure(*subject, warm_up, course.next_batch);
    if (!warm.is_ok()) return warm.status();
    courses.push_back(std::move(course));
  }
  for (uint32_t round = 0; round < options.rounds; ++round) {
    for (Course& course : courses) {
      const Status status = run_round(course, round, options);
      if (!status.is_ok()) return status;
    }
  }
  std::vector<Summary> summaries;
  for (Course& course : courses) {
    finish(course, options.load);
    summaries.push_back(std::move(course.summary));
  }
  return summaries;
}

}  // namespace baton_perf
