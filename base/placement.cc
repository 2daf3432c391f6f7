#include "base/placement.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include <absl/strings/escaping.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_cat.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <sched.h>
#include <unistd.h>

#include "base/processors.h"

namespace latentd::cpu {
namespace {

constexpr int kMostProcessors = CPU_SETSIZE;

// "3" or "0-3".
bool ParseRange(std::string_view text, int* first, int* last) {
  const size_t dash = text.find('-');
  const std::string begin(text.substr(0, dash)), end(dash == std::string_view::npos ? text : text.substr(dash + 1));
  const auto is_number = [](const std::string& digits, int* number) {
    const bool has_digits = !digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos;
    return has_digits && absl::SimpleAtoi(digits, number);
  };
  return is_number(begin, first) && is_number(end, last) && *first <= *last && *last < kMostProcessors;
}

// By the first thread of the process, which is never pinned.
std::vector<int> AllowedProcessors() {
  std::vector<int> allowed;
  cpu_set_t set;
  if (sched_getaffinity(getpid(), sizeof(set), &set) != 0) return allowed;
  for (int i = 0; i < kMostProcessors; ++i) {
    if (CPU_ISSET(static_cast<size_t>(i), &set)) allowed.push_back(i);
  }
  return allowed;
}

std::vector<int> ReadProcessors(const std::filesystem::path& file) {
  std::string line;
  std::getline(std::ifstream(file), line);
  return ParseProcessors(line).value_or(std::vector<int>());
}

// Whole cores first: a processor's rank is the number of its core's allowed ones before it.
std::vector<int> OnePerThread(const std::vector<int>& allowed, int num_threads, const std::filesystem::path& root) {
  std::vector<std::pair<int, int>> ranked;
  for (const int processor : allowed) {
    const std::vector<int> siblings = ReadProcessors(root / "sys/devices/system/cpu" / absl::StrCat("cpu", processor) /
                                                     "topology/thread_siblings_list");
    const auto is_before = [&](int other) {
      return other < processor && std::find(allowed.begin(), allowed.end(), other) != allowed.end();
    };
    ranked.emplace_back(static_cast<int>(std::count_if(siblings.begin(), siblings.end(), is_before)), processor);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<int> chosen;
  for (int i = 0; i < num_threads; ++i) chosen.push_back(ranked[static_cast<size_t>(i)].second);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

int NumNodes(const std::filesystem::path& root) {
  int nodes = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(root / "sys/devices/system/node", error), end; entry != end;
       entry.increment(error)) {
    nodes += ReadProcessors(entry->path() / "cpulist").empty() ? 0 : 1;
  }
  return nodes;
}

absl::Status TooFew(int num_threads, int num_processors) {
  return absl::InvalidArgumentError(
      absl::StrFormat("pin-threads: expected a processor for each of %d threads, found %d; lower threads, name more "
                      "processors, or set pin-threads to off",
                      num_threads, num_processors));
}

}  // namespace

absl::StatusOr<std::vector<int>> ParseProcessors(std::string_view text) {
  std::vector<int> processors;
  const std::string whole(text);
  for (const absl::string_view part : absl::StrSplit(whole, ',')) {
    int first = 0, last = 0;
    bool is_new = ParseRange(std::string(part), &first, &last);
    for (int i = first; is_new && i <= last; ++i) {
      is_new = std::find(processors.begin(), processors.end(), i) == processors.end();
      processors.push_back(i);
    }
    if (!is_new) {
      return absl::InvalidArgumentError(
          absl::StrFormat("expected processors as in 0-3,8, each once, found \"%s\"", absl::Utf8SafeCEscape(whole)));
    }
  }
  return processors;
}

std::string ProcessorsText(const std::vector<int>& processors) {
  std::string text;
  for (size_t i = 0; i < processors.size();) {
    size_t end = i + 1;
    while (end < processors.size() && processors[end] == processors[end - 1] + 1) ++end;
    absl::StrAppend(&text, text.empty() ? "" : ",", processors[i]);
    if (end - i > 1) absl::StrAppend(&text, "-", processors[end - 1]);
    i = end;
  }
  return text;
}

absl::Status CheckPinning(std::string_view pinning) {
  if (pinning == "auto" || pinning == "on" || pinning == "off") return absl::OkStatus();
  const absl::Status status = ParseProcessors(pinning).status();
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat("pin-threads: expected auto, on, off or a list; ", std::string(status.message())));
}

absl::StatusOr<Placement> PlaceThreads(std::string_view pinning, int num_asked, const std::filesystem::path& root) {
  if (absl::Status status = CheckPinning(pinning); !status.ok()) return status;
  Placement placement{.num_threads = ThreadsOrGranted(num_asked), .processors = {}};
  if (pinning == "off") return placement;
  const std::vector<int> allowed = AllowedProcessors();
  const int num_allowed = static_cast<int>(allowed.size());
  if (pinning == "auto" && (placement.num_threads != num_allowed || NumNodes(root) < 2)) return placement;
  if (pinning == "auto" || pinning == "on") {
    if (placement.num_threads > num_allowed) return TooFew(placement.num_threads, num_allowed);
    placement.processors = OnePerThread(allowed, placement.num_threads, root);
    return placement;
  }
  placement.processors = *ParseProcessors(pinning);
  for (const int processor : placement.processors) {
    if (std::find(allowed.begin(), allowed.end(), processor) != allowed.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrFormat("pin-threads: expected processors of %s, which the affinity "
                        "allows, found %d",
                        ProcessorsText(allowed), processor));
  }
  const int num_named = static_cast<int>(placement.processors.size());
  if (num_asked == 0) placement.num_threads = num_named;
  if (placement.num_threads > num_named) return TooFew(placement.num_threads, num_named);
  placement.processors.resize(static_cast<size_t>(placement.num_threads));
  return placement;
}

void PinThisThread(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(processor), &set);
  sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace latentd::cpu
