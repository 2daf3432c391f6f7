#include "tools/latentctl/load_view.h"

#include <algorithm>
#include <cstddef>
#include <string_view>

#include <absl/strings/str_format.h>

namespace latentd {
namespace {

constexpr int kBarColumns = 16;

bool BeginsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

double SecondsOf(const google::protobuf::Duration& duration) {
  return static_cast<double>(duration.seconds()) + duration.nanos() * 1e-9;
}

// Three digits that matter, in the unit that suits.
std::string TimeText(double seconds) {
  if (seconds < 1e-3) return absl::StrFormat("%.0f us", seconds * 1e6);
  if (seconds < 0.1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 1.0) return absl::StrFormat("%.0f ms", seconds * 1e3);
  if (seconds < 100.0) return absl::StrFormat("%.1f s", seconds);
  if (seconds < 6000.0) return absl::StrFormat("%.0f min", seconds / 60.0);
  return absl::StrFormat("%.1f h", seconds / 3600.0);
}

std::string BytesText(uint64_t bytes) {
  if (bytes < 10'000) return absl::StrFormat("%d B", bytes);
  if (bytes < 10'000'000) return absl::StrFormat("%d KiB", bytes >> 10);
  return absl::StrFormat("%d MiB", bytes >> 20);
}

std::string LatencyText(const v1::RecentLatency& latency) {
  if (!latency.has_p50_seconds()) return "none of late";
  return absl::StrFormat("p50 %s, p99 %s", TimeText(latency.p50_seconds()), TimeText(latency.p99_seconds()));
}

// The scratch block is neither active nor free: what can be used is the sum of the states.
std::string CacheText(const v1::Load& load) {
  const uint64_t usable = load.kv_blocks_active() + load.kv_blocks_cached() + load.kv_blocks_free();
  const auto columns_of = [usable](uint64_t blocks) {
    return usable == 0 ? size_t{0} : static_cast<size_t>((blocks * kBarColumns + usable - 1) / usable);
  };
  const size_t active = std::min<size_t>(columns_of(load.kv_blocks_active()), kBarColumns);
  const size_t cached = std::min<size_t>(columns_of(load.kv_blocks_cached()), kBarColumns - active);
  const std::string bar =
      std::string(active, '#') + std::string(cached, '+') + std::string(kBarColumns - active - cached, '.');
  return absl::StrFormat("[%s] %d active, %d cached, %d free of %d blocks", bar, load.kv_blocks_active(),
                         load.kv_blocks_cached(), load.kv_blocks_free(), usable);
}

// Ids that the server made differ at their end. Ids are ASCII.
std::string EndOf(const std::string& id, size_t columns) {
  return id.size() <= columns ? id : "…" + id.substr(id.size() - columns + 1);
}

std::string PrefixText(const v1::Load& load) {
  const std::string rate =
      load.has_prefix_hit_rate() ? absl::StrFormat("%.1f %%", load.prefix_hit_rate() * 100.0) : "none";
  return absl::StrFormat("%s of late prompts; preempted %d for blocks, %d for priority", rate,
                         load.preemptions().blocks(), load.preemptions().priority());
}

std::string WaitText(const v1::RecentWaits& waits) {
  return absl::StrFormat("for rows %d, tokens %d, blocks %d, logits %d times", waits.rows(), waits.tokens(),
                         waits.blocks(), waits.logits());
}

std::string WaitingText(const v1::Load& load) {
  std::string text;
  for (const v1::WaitingRequests& waiting : load.waiting()) {
    text += absl::StrFormat("%s%d at %d", text.empty() ? "" : ", ", waiting.requests(), waiting.priority());
  }
  return text.empty() ? "none" : text;
}

// A tenant's name is its client's choice: it may be long, and hold spaces.
std::string TenantText(const v1::TenantLoad& tenant) {
  constexpr size_t kNameColumns = 24;
  const std::string name = tenant.name().empty() ? "(others)" : EndOf(tenant.name(), kNameColumns);
  return absl::StrFormat("%s %d tokens, %.0f of late at weight %g%s", name, tenant.service_tokens(),
                         tenant.recent_service(), tenant.weight(), tenant.is_active() ? "" : ", idle");
}

std::string_view PhaseText(v1::RequestPhase phase) {
  switch (phase) {
    case v1::REQUEST_PHASE_QUEUED:
      return "queued";
    case v1::REQUEST_PHASE_PREFILL:
      return "prefill";
    case v1::REQUEST_PHASE_DECODE:
      return "decode";
    case v1::REQUEST_PHASE_OUTPUT:
      return "output";
    default:
      return "?";
  }
}

}  // namespace

std::string LoadingText(const v1::ModelLoading& loading) {
  if (loading.total_bytes() == 0) return "begins";
  return absl::StrFormat("%.2f of %.2f GB read, %s left", static_cast<double>(loading.loaded_bytes()) / 1e9,
                         static_cast<double>(loading.total_bytes()) / 1e9, TimeText(loading.seconds_left()));
}

std::vector<std::string> LoadLines(const v1::Load& load) {
  std::vector<std::string> lines = {
      absl::StrFormat("requests     %d prefill, %d decode, %d output; %d queued with %d prompt tokens",
                      load.requests_prefill(), load.requests_decode(), load.requests_output(), load.requests_queued(),
                      load.tokens_queued()),
      absl::StrFormat("tokens/s     %.1f generated, %.1f of prompts", load.generated_tokens_per_second(),
                      load.prompt_tokens_per_second()),
      "first token  " + LatencyText(load.time_to_first_token()),
      "next tokens  " + LatencyText(load.inter_token_latency()),
      "cache        " + CacheText(load),
      "prefixes     " + PrefixText(load),
      "waits        " + WaitText(load.waits()),
      "waiting      " + WaitingText(load),
  };
  for (const v1::TenantLoad& tenant : load.tenants()) lines.push_back("tenant       " + TenantText(tenant));
  if (load.has_fairness_index()) lines.push_back(absl::StrFormat("fairness     %.3f", load.fairness_index()));
  return lines;
}

std::vector<std::string> RequestLines(const v1::ListRequestsResult& list, int id_columns) {
  size_t widest = 2;
  for (const v1::LiveRequest& request : list.requests()) widest = std::max(widest, request.request_id().size());
  const int columns = std::min(static_cast<int>(widest), id_columns);
  std::vector<std::string> lines = {absl::StrFormat("%-*s %-12s %-7s %7s %4s %6s %6s %6s %6s %8s %8s", columns, "ID",
                                                    "METHOD", "PHASE", "AGE", "PRIO", "PROMPT", "DONE", "OUTPUT",
                                                    "BLOCKS", "UNREAD", "IN PHASE")};
  for (const v1::LiveRequest& request : list.requests()) {
    // Padded apart: the mark of a cut id is one column, but not one byte.
    const std::string id = EndOf(request.request_id(), static_cast<size_t>(columns));
    const size_t padding = static_cast<size_t>(columns) - std::min(request.request_id().size(), size_t(columns));
    lines.push_back(absl::StrFormat(
        "%s%s %-12s %-7s %7s %4d %6d %6d %6d %6d %8s %8s", id, std::string(padding, ' '), request.method(),
        PhaseText(request.phase()), TimeText(SecondsOf(request.age())), request.priority(), request.prompt_tokens(),
        request.computed_tokens(), request.generated_tokens(), request.kv_blocks(),
        BytesText(request.pending_output_bytes()), TimeText(SecondsOf(request.phase_age()))));
  }
  return lines;
}

std::string Sparkline(const std::vector<double>& values) {
  static constexpr std::string_view kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const double highest = values.empty() ? 0.0 : *std::max_element(values.begin(), values.end());
  std::string line;
  for (const double value : values) {
    const double share = highest > 0.0 ? value / highest : 0.0;
    line += kBlocks[std::clamp(static_cast<int>(share * 7.0 + 0.5), 0, 7)];
  }
  return line;
}

std::string CutTo(const std::string& text, int columns) {
  int used = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (!BeginsCharacter(text[i])) continue;
    if (used == columns) return text.substr(0, i);
    ++used;
  }
  return text;
}

}  // namespace latentd
