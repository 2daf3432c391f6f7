#include "server/outcomes.h"

#include <string>

namespace latentd {
namespace {

struct Cause {
  const char* grpc_code;
  const char* reason;
};

constexpr Cause kMalformed[] = {{"INVALID_ARGUMENT", "INVALID_FIELD"}};
constexpr Cause kWrongModel[] = {{"NOT_FOUND", "MODEL_NOT_FOUND"}};
constexpr Cause kUseRefusals[] = {{"FAILED_PRECONDITION", "NO_TOKENIZER"}, {"UNAVAILABLE", "DRAINING"}};
constexpr Cause kUnsupported[] = {{"UNIMPLEMENTED", "UNSUPPORTED_FEATURE"}};
constexpr Cause kNoTemplate[] = {{"FAILED_PRECONDITION", "NO_CHAT_TEMPLATE"}};
constexpr Cause kEngineCauses[] = {
    {"INVALID_ARGUMENT", "CONTEXT_LENGTH_EXCEEDED"},
    {"FAILED_PRECONDITION", "KV_CAPACITY_EXCEEDED"},
    {"ALREADY_EXISTS", "DUPLICATE_REQUEST_ID"},
    {"RESOURCE_EXHAUSTED", "QUEUE_FULL"},
    {"RESOURCE_EXHAUSTED", "QUEUE_TOKENS"},
    {"RESOURCE_EXHAUSTED", "SLOW_CONSUMER"},
    {"DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE"},
    {"DEADLINE_EXCEEDED", "EXPIRED_IN_PREFILL"},
    {"DEADLINE_EXCEEDED", "EXPIRED_IN_DECODE"},
    {"CANCELLED", "CLIENT_CANCEL"},
    {"ABORTED", "ADMIN_ABORT"},
    {"DATA_LOSS", "NAN_LOGITS"},
    {"INTERNAL", "ENGINE_FAULT"},
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

std::vector<Outcome> MakeOutcomes() {
  std::vector<Outcome> outcomes;
  for (const std::string& method : AllMethods()) {
    const bool generates = method == "Generate" || method == "GenerateOnce" || method == "Chat";
    const bool runs = generates || method == "Score";
    const bool lists = method == "GetModel" || method == "ListModels";
    Add(method, kMalformed, outcomes);
    if (method != "ListModels") Add(method, kWrongModel, outcomes);
    if (!lists) Add(method, kUseRefusals, outcomes);
    if (runs || method == "Tokenize") Add(method, kUnsupported, outcomes);
    if (method == "Chat" || method == "Tokenize") Add(method, kNoTemplate, outcomes);
    if (runs) Add(method, kEngineCauses, outcomes);
    if (generates) Add(method, kGenerated, outcomes);
    if (method == "Score") Add(method, kScored, outcomes);
    if (!runs) Add(method, kAnswered, outcomes);
  }
  return outcomes;
}

}  // namespace

const std::vector<std::string>& AllMethods() {
  static const std::vector<std::string> methods = {"Generate", "GenerateOnce", "Chat",     "Score",
                                                   "Tokenize", "Detokenize",   "GetModel", "ListModels"};
  return methods;
}

const std::vector<Outcome>& AllOutcomes() {
  static const std::vector<Outcome> outcomes = MakeOutcomes();
  return outcomes;
}

}  // namespace latentd
