// The methods of all services, and what of each decides how its RPCs can end. A test compares the names with the .proto
// files. Constant.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace latentd {

// Traits of methods, as bits of a set.
using MethodTraits = uint16_t;
inline constexpr MethodTraits kGenerates = 1 << 0;      // tokens
inline constexpr MethodTraits kScores = 1 << 1;         // a prompt
inline constexpr MethodTraits kAnswersItself = 1 << 2;  // without the engine
inline constexpr MethodTraits kAnswersInOne = 1 << 4;   // message, instead of a stream
inline constexpr MethodTraits kUsesTokenizer = 1 << 5;
inline constexpr MethodTraits kMakesPrompt = 1 << 6;  // of what the request says
inline constexpr MethodTraits kUsesTemplate = 1 << 7;
inline constexpr MethodTraits kNamesModel = 1 << 8;  // has a field for it
inline constexpr MethodTraits kNeedsModel = 1 << 9;  // refused while it is loading
inline constexpr MethodTraits kOperates = 1 << 10;   // the daemon, which takes the right to administer
inline constexpr MethodTraits kDescribes = 1 << 11;  // what is served: any right will do
inline constexpr MethodTraits kRunsModel = kGenerates | kScores;
inline constexpr MethodTraits kEveryMethod = 0xffff;

// The methods of vllm.grpc.engine.VllmEngine are counted under names of their own.
inline constexpr std::string_view kSmgPrefix = "Smg";

struct MethodRow {
  std::string_view name;
  MethodTraits traits;
};

inline constexpr MethodTraits kOfPrompts = kUsesTokenizer | kMakesPrompt | kNamesModel | kNeedsModel;
inline constexpr MethodRow kMethods[] = {
    {"Generate", kGenerates | kOfPrompts},
    {"GenerateOnce", kGenerates | kOfPrompts | kAnswersInOne},
    {"Chat", kGenerates | kOfPrompts | kUsesTemplate},
    {"Score", kScores | kOfPrompts | kAnswersInOne},
    {"Tokenize", kAnswersItself | kOfPrompts | kUsesTemplate | kAnswersInOne},
    {"Detokenize", kAnswersItself | kUsesTokenizer | kNamesModel | kNeedsModel | kAnswersInOne},
    {"GetModel", kAnswersItself | kDescribes | kNamesModel | kNeedsModel | kAnswersInOne},
    {"ListModels", kAnswersItself | kDescribes | kNeedsModel | kAnswersInOne},
    {"Abort", kOperates | kAnswersItself | kAnswersInOne},
    {"Drain", kOperates | kAnswersItself},
    {"GetLoad", kOperates | kAnswersItself | kAnswersInOne},
    {"WatchLoad", kOperates | kAnswersItself},
    {"ListRequests", kOperates | kAnswersItself | kAnswersInOne},
    {"FlushPrefixCache", kOperates | kAnswersItself | kAnswersInOne},
    {"GetConfig", kOperates | kAnswersItself | kAnswersInOne},
    {"SetLogLevel", kOperates | kAnswersItself | kAnswersInOne},
    {"DumpFlightRecorder", kOperates | kAnswersItself | kNeedsModel},
    {"ProfileSteps", kOperates | kAnswersItself | kNeedsModel},
    {"SmgGenerate", kGenerates | kUsesTokenizer | kMakesPrompt | kNeedsModel | kAnswersInOne},
    {"SmgHealthCheck", kAnswersItself | kAnswersInOne},
    {"SmgFlushCache", kOperates | kAnswersItself | kAnswersInOne},
    {"SmgAbort", kAnswersItself | kAnswersInOne},
    {"SmgGetModelInfo", kAnswersItself | kNeedsModel | kAnswersInOne},
    {"SmgGetServerInfo", kAnswersItself | kNeedsModel | kAnswersInOne},
    {"SmgGetLoads", kAnswersItself | kAnswersInOne},
    {"SmgGetTokenizer", kAnswersItself | kNeedsModel | kUsesTokenizer},
    {"SmgSubscribeKvEvents", kAnswersItself | kNeedsModel},
};

constexpr MethodTraits TraitsOf(std::string_view method) {
  const auto has_name = [method](const MethodRow& row) { return row.name == method; };
  const MethodRow* row = std::find_if(std::begin(kMethods), std::end(kMethods), has_name);
  return row == std::end(kMethods) ? MethodTraits{0} : row->traits;
}

// A method whose requests go through the engine: its RPCs begin in phase queued, those of all others in phase output.
constexpr bool RunsTheModel(std::string_view method) { return (TraitsOf(method) & kRunsModel) != 0; }
static_assert(RunsTheModel("Score") && !RunsTheModel("Tokenize"));

}  // namespace latentd
