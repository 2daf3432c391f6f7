#include "server/api/outcomes.h"

#include <algorithm>
#include <set>
#include <string>

namespace latentd {
namespace {

struct Cause {
  const char* grpc_code;
  const char* reason;
};

constexpr Cause kMalformed[] = {{"INVALID_ARGUMENT", "INVALID_FIELD"}};
// On the way in and out, of every method.
constexpr Cause kTransfer[] = {
    {"RESOURCE_EXHAUSTED", "INTAKE_FULL"},
    {"RESOURCE_EXHAUSTED", "SLOW_SENDER"},
    {"RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE"},
    {"RESOURCE_EXHAUSTED", "SLOW_CONSUMER"},
    {"UNAVAILABLE", "DRAINING"},
    {"DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE"},
    {"CANCELLED", "CLIENT_CANCEL"},
};
constexpr Cause kOneAnswer[] = {{"INVALID_ARGUMENT", "ANSWER_TOO_LARGE"}, {"RESOURCE_EXHAUSTED", "ANSWERS_FULL"}};
constexpr Cause kTooLong[] = {{"INVALID_ARGUMENT", "CONTEXT_LENGTH_EXCEEDED"}};
constexpr Cause kWrongModel[] = {{"NOT_FOUND", "MODEL_NOT_FOUND"}};
constexpr Cause kNoTokenizer[] = {{"FAILED_PRECONDITION", "NO_TOKENIZER"}};
constexpr Cause kLoading[] = {{"UNAVAILABLE", "LOADING"}};
constexpr Cause kUnsupported[] = {{"UNIMPLEMENTED", "UNSUPPORTED_FEATURE"}};
constexpr Cause kNoTemplate[] = {{"FAILED_PRECONDITION", "NO_CHAT_TEMPLATE"}};
constexpr Cause kEngineCauses[] = {
    {"FAILED_PRECONDITION", "KV_CAPACITY_EXCEEDED"},
    {"ALREADY_EXISTS", "DUPLICATE_REQUEST_ID"},
    {"RESOURCE_EXHAUSTED", "QUEUE_FULL"},
    {"RESOURCE_EXHAUSTED", "QUEUE_TOKENS"},
    {"DEADLINE_EXCEEDED", "EXPIRED_IN_PREFILL"},
    {"DEADLINE_EXCEEDED", "EXPIRED_IN_DECODE"},
    {"ABORTED", "ADMIN_ABORT"},
    {"DATA_LOSS", "NAN_LOGITS"},
};
constexpr Cause kGenerated[] = {
    {"OK", "EOS"}, {"OK", "STOP_STRING"}, {"OK", "STOP_TOKEN"}, {"OK", "MAX_TOKENS"}, {"OK", "CONTEXT_LIMIT"},
};
constexpr Cause kScored[] = {{"OK", "SCORED"}};
constexpr Cause kAnswered[] = {{"OK", "ANSWERED"}};

template <size_t kCount>
void Add(const std::string& method, const Cause (&causes)[kCount], std::vector<Outcome>& outcomes) {
  for (const Cause& cause : causes) outcomes.push_back({method, cause.grpc_code, cause.reason});
}

constexpr const char* kAdminMethods[] = {"Abort",     "Drain",        "GetLoad",
                                         "WatchLoad", "ListRequests", "FlushPrefixCache",
                                         "GetConfig", "SetLogLevel",  "DumpFlightRecorder"};

bool IsAdmin(std::string_view method) {
  return std::find(std::begin(kAdminMethods), std::end(kAdminMethods), method) != std::end(kAdminMethods);
}

bool Contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void AddAdmin(const std::string& method, std::vector<Outcome>& outcomes) {
  Add(method, kMalformed, outcomes);
  Add(method, kTransfer, outcomes);
  const bool streams = method == "Drain" || method == "WatchLoad" || method == "DumpFlightRecorder";
  if (!streams) Add(method, kOneAnswer, outcomes);
  if (method == "FlushPrefixCache" || method == "DumpFlightRecorder") {
    Add(method, kUnsupported, outcomes);
  } else {
    Add(method, kAnswered, outcomes);
  }
}

void AddServing(const std::string& method, std::vector<Outcome>& outcomes) {
  const bool runs = RunsTheModel(method);
  const bool generates = runs && method != "Score";
  const bool lists = method == "GetModel" || method == "ListModels";
  Add(method, kMalformed, outcomes);
  Add(method, kTransfer, outcomes);
  if (method != "Generate" && method != "Chat") Add(method, kOneAnswer, outcomes);
  if (method != "ListModels") Add(method, kWrongModel, outcomes);
  Add(method, kLoading, outcomes);
  if (!lists) Add(method, kNoTokenizer, outcomes);
  if (runs || method == "Tokenize") Add(method, kTooLong, outcomes);
  if (runs || method == "Tokenize") Add(method, kUnsupported, outcomes);
  if (method == "Chat" || method == "Tokenize") Add(method, kNoTemplate, outcomes);
  if (runs) Add(method, kEngineCauses, outcomes);
  if (generates) Add(method, kGenerated, outcomes);
  if (method == "Score") Add(method, kScored, outcomes);
  if (!runs) Add(method, kAnswered, outcomes);
}

std::vector<Outcome> MakeOutcomes() {
  std::vector<Outcome> outcomes;
  for (const std::string& method : AllMethods()) {
    IsAdmin(method) ? AddAdmin(method, outcomes) : AddServing(method, outcomes);
  }
  return outcomes;
}

std::vector<std::string> MakeMethods() {
  std::vector<std::string> methods = {"Generate", "GenerateOnce", "Chat",     "Score",
                                      "Tokenize", "Detokenize",   "GetModel", "ListModels"};
  methods.insert(methods.end(), std::begin(kAdminMethods), std::end(kAdminMethods));
  return methods;
}

std::vector<std::string> MakeReasons() {
  std::set<std::string> reasons;
  for (const Outcome& outcome : AllOutcomes()) reasons.insert(outcome.reason);
  return {reasons.begin(), reasons.end()};
}

}  // namespace

const std::vector<std::string>& AllMethods() {
  static const std::vector<std::string> methods = MakeMethods();
  return methods;
}

const std::vector<Outcome>& AllOutcomes() {
  static const std::vector<Outcome> outcomes = MakeOutcomes();
  return outcomes;
}

const std::vector<std::string>& AllReasons() {
  static const std::vector<std::string> reasons = MakeReasons();
  return reasons;
}

bool RunsTheModel(std::string_view method) {
  return method == "Generate" || method == "GenerateOnce" || method == "Chat" || method == "Score";
}

const std::vector<std::string>& RunReasons() {
  static const std::vector<std::string> reasons = {
      "EOS",           "STOP_STRING", "STOP_TOKEN",       "MAX_TOKENS",         "CONTEXT_LIMIT",     "SCORED",
      "CLIENT_CANCEL", "ADMIN_ABORT", "EXPIRED_IN_QUEUE", "EXPIRED_IN_PREFILL", "EXPIRED_IN_DECODE", "SLOW_CONSUMER",
      "NAN_LOGITS",    "DRAINING"};
  return reasons;
}

const std::vector<std::string>& WasteCauses() {
  // Not EXPIRED_IN_QUEUE: nothing was computed.
  static const std::vector<std::string> causes = {"STOP_STRING",        "CLIENT_CANCEL",     "ADMIN_ABORT",
                                                  "EXPIRED_IN_PREFILL", "EXPIRED_IN_DECODE", "SLOW_CONSUMER",
                                                  "NAN_LOGITS",         "DRAINING"};
  return causes;
}

const std::vector<std::string>& AdmissionReasons() {
  static const std::vector<std::string> reasons = {"CONTEXT_LENGTH_EXCEEDED",
                                                   "KV_CAPACITY_EXCEEDED",
                                                   "DUPLICATE_REQUEST_ID",
                                                   "QUEUE_FULL",
                                                   "QUEUE_TOKENS",
                                                   "LOADING",
                                                   "DRAINING"};
  return reasons;
}

bool IsAdmissionReason(std::string_view reason) { return Contains(AdmissionReasons(), reason); }

uint64_t WastedTokens(std::string_view reason, const StreamEnd& end) {
  if (reason == "STOP_STRING")
    return static_cast<uint64_t>(std::max(0, end.sequence.generated_tokens - end.answer.output_tokens));
  return Contains(WasteCauses(), reason) ? static_cast<uint64_t>(end.sequence.computed_tokens) : 0;
}

}  // namespace latentd
