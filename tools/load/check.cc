#include "tools/load/check.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include <absl/strings/str_format.h>
#include <grpcpp/support/sync_stream.h>

namespace latentd {
namespace {

constexpr std::chrono::seconds kQuietPatience{300};  // for one request that has the server to itself

struct QuietRun {
  grpc::Status status;
  std::vector<KeptAnswer> answers;  // by index
};

QuietRun AskAlone(v1::Generation::Stub& stub, const v1::GenerateRequest& request) {
  QuietRun run;
  run.answers.resize(NumAnswers(request));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kQuietPatience);
  const auto reader = stub.Generate(&context, request);
  v1::GenerateEvent event;
  while (reader->Read(&event)) {
    if (!event.has_delta()) continue;
    const v1::Delta& delta = event.delta();
    if (delta.index() >= run.answers.size()) continue;
    KeptAnswer& answer = run.answers[delta.index()];
    answer.text += delta.text();
    answer.token_ids.insert(answer.token_ids.end(), delta.token_ids().begin(), delta.token_ids().end());
  }
  run.status = reader->Finish();
  return run;
}

// Empty where they agree; one that is not whole has to be the beginning of the other.
std::string Difference(const KeptAnswer& loaded, bool is_whole, const KeptAnswer& quiet) {
  const size_t num_ids = loaded.token_ids.size();
  const size_t common = std::min(num_ids, quiet.token_ids.size());
  for (size_t i = 0; i < common; ++i) {
    if (loaded.token_ids[i] == quiet.token_ids[i]) continue;
    return absl::StrFormat("token %d: expected id %d as in the quiet run, found %d", i, quiet.token_ids[i],
                           loaded.token_ids[i]);
  }
  if (num_ids > quiet.token_ids.size() || (is_whole && num_ids < quiet.token_ids.size())) {
    return absl::StrFormat("expected %d tokens as in the quiet run, found %d", quiet.token_ids.size(), num_ids);
  }
  const bool same_text = is_whole ? loaded.text == quiet.text : quiet.text.starts_with(loaded.text);
  return same_text ? "" : absl::StrFormat("expected the text \"%s\", found \"%s\"", quiet.text, loaded.text);
}

// Both are of the same request.
std::string Difference(const KeptOutput& loaded, const std::vector<KeptAnswer>& quiet) {
  for (size_t i = 0; i < quiet.size(); ++i) {
    const std::string difference = Difference(loaded.answers[i], loaded.is_whole, quiet[i]);
    if (!difference.empty()) return absl::StrFormat("answer %d, ", i) + difference;
  }
  return "";
}

bool IsEmpty(const KeptAnswer& answer) { return answer.token_ids.empty(); }

// In a seeded order; an answer that was cut before its first token says nothing.
std::vector<const KeptOutput*> InSampleOrder(const std::vector<KeptOutput>& outputs, uint64_t seed) {
  std::vector<std::pair<uint64_t, const KeptOutput*>> ranked;
  for (const KeptOutput& output : outputs) {
    if (!output.is_whole && std::all_of(output.answers.begin(), output.answers.end(), IsEmpty)) continue;
    ranked.emplace_back(SeededRandom(seed, Purpose::kCheck, output.index).Next(), &output);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<const KeptOutput*> order;
  for (const auto& [rank, output] : ranked) order.push_back(output);
  return order;
}

v1::GenerateRequest WithoutDeadline(v1::GenerateRequest request) {
  request.clear_scheduling();
  return request;
}

}  // namespace

CheckOutcome CheckGrammar(const Summary& summary) {
  CheckOutcome outcome{.name = "stream grammar", .detail = {}};
  if (summary.broken_streams == 0) {
    outcome.detail = absl::StrFormat("%d streams", summary.sent);
    return outcome;
  }
  outcome.verdict = Verdict::kFailed;
  outcome.detail = absl::StrFormat("expected 0 of %d streams to break it, found %d; the first: %s", summary.sent,
                                   summary.broken_streams, summary.first_violation);
  return outcome;
}

CheckOutcome CheckQuietRun(v1::Generation::Stub& stub, const Workload& workload, const std::vector<KeptOutput>& outputs,
                           int max_requests) {
  CheckOutcome outcome{.name = "same bytes as alone", .detail = {}};
  std::set<std::string> asked;
  int num_whole = 0;
  int num_cut = 0;
  for (const KeptOutput* loaded : InSampleOrder(outputs, workload.options().seed)) {
    if (num_whole + num_cut == max_requests) break;
    const v1::GenerateRequest request =
        WithoutDeadline(workload.Plan({.index = loaded->index, .history = loaded->history}).message);
    if (!asked.insert(request.SerializeAsString()).second) continue;
    const QuietRun quiet = AskAlone(stub, request);
    const std::string difference =
        quiet.status.ok() ? Difference(*loaded, quiet.answers) : "alone it ended with: " + quiet.status.error_message();
    if (!difference.empty()) {
      outcome.verdict = Verdict::kFailed;
      outcome.detail = absl::StrFormat("request %d: %s", loaded->index, difference);
      return outcome;
    }
    ++(loaded->is_whole ? num_whole : num_cut);
  }
  outcome.detail = absl::StrFormat("%d whole answers and %d beginnings of answers", num_whole, num_cut);
  if (num_whole + num_cut > 0) return outcome;
  outcome.verdict = Verdict::kFailed;
  outcome.detail = "expected answers to compare, found none";
  return outcome;
}

}  // namespace latentd
