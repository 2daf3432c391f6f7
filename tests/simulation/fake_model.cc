#include "tests/simulation/fake_model.h"

#include <algorithm>
#include <optional>

#include "kernels/id_bits.h"
#include "tests/simulation/random.h"

namespace latentd::simulation {
namespace {

std::string TextIn(const Request& request, int32_t id) {
  if (id == kEndOfText && !request.answer.prints_special_tokens) return "";
  return TextOf(id);
}

std::vector<int32_t> BannedAt(const Request& request, int num_generated) {
  std::vector<int32_t> banned;
  if (num_generated >= request.stopping.min_tokens) return banned;
  if (!request.stopping.ignore_eos) banned.push_back(kEndOfText);
  const auto& stops = request.stopping.stop_token_ids;
  banned.insert(banned.end(), stops.begin(), stops.end());
  return banned;
}

std::optional<FinishReason> EndAfter(const Request& request, int32_t token, int num_generated, int max_context_tokens) {
  const StoppingRule& stopping = request.stopping;
  if (token == kEndOfText && !stopping.ignore_eos) return FinishReason::kEos;
  if (HasId(stopping.stop_token_ids, token)) return FinishReason::kStopToken;
  if (num_generated >= stopping.max_tokens) return FinishReason::kMaxTokens;
  if (static_cast<int>(request.prompt.size()) + num_generated >= max_context_tokens) return FinishReason::kContextLimit;
  return std::nullopt;
}

// The stop string that a text of at least `size` bytes ends in there: the longest, of equal ones the first.
const std::string* StopAt(const Request& request, std::string_view text, size_t size) {
  const std::string* longest = nullptr;
  for (const std::string& stop : request.stopping.stop_strings) {
    const bool ends_here = size >= stop.size() && text.substr(size - stop.size(), stop.size()) == stop;
    if (ends_here && (longest == nullptr || stop.size() > longest->size())) longest = &stop;
  }
  return longest;
}

// Adds a token's text; true where a stop string became complete in it.
bool AddText(const Request& request, const std::string& text, QuietRun& run) {
  const size_t size_before = run.text.size();
  run.text += text;
  if (static_cast<int>(run.tokens.size()) <= request.stopping.min_tokens) return false;
  for (size_t size = size_before + 1; size <= run.text.size(); ++size) {
    const std::string* stop = StopAt(request, run.text, size);
    if (stop == nullptr) continue;
    run.text.resize(request.stopping.include_stop ? size : size - stop->size());
    run.stop_string = *stop;
    run.reason = FinishReason::kStopString;
    return true;
  }
  return false;
}

std::vector<uint64_t> PrefixesOf(std::span<const int32_t> prompt) {
  std::vector<uint64_t> prefixes;
  prefixes.reserve(prompt.size());
  uint64_t prefix = 0;
  for (const int32_t token : prompt) {
    prefix = Extend(prefix, token, static_cast<int>(prefixes.size()));
    prefixes.push_back(prefix);
  }
  return prefixes;
}

QuietRun ScoreQuietly(const Request& request) {
  QuietRun run;
  run.prefixes = PrefixesOf(request.prompt);
  for (size_t i = 0; i + 1 < request.prompt.size(); ++i) {
    run.tokens.push_back(request.prompt[i + 1]);
    run.logprobs.push_back(LogprobOf(run.prefixes[i], request.prompt[i + 1]));
  }
  return run;
}

}  // namespace

std::string TextOf(int32_t id) {
  if (id == 256) return "he";
  if (id == 257) return "ll";
  if (id == 258) return "hell";
  if (id == kEndOfText) return "<|end|>";
  return std::string(1, static_cast<char>(id));
}

uint64_t Extend(uint64_t prefix, int32_t token, int position) {
  return Mix(Mix(prefix, static_cast<uint64_t>(token)), static_cast<uint64_t>(position));
}

int32_t TokenOf(const Draw& draw) {
  const uint64_t where = Mix(draw.index, static_cast<uint64_t>(draw.position));
  uint64_t number = Mix(Mix(draw.prefix, draw.seed), where);
  const bool ends = number % kTokensPerEnd == 0;
  if (ends && !HasId(draw.banned, kEndOfText)) return kEndOfText;
  number /= kTokensPerEnd;
  while (HasId(draw.banned, kAlphabet[number % kAlphabet.size()])) ++number;
  return kAlphabet[number % kAlphabet.size()];
}

float LogprobOf(uint64_t prefix, int32_t id) {
  return -static_cast<float>(Mix(prefix, static_cast<uint64_t>(id)) % 10000) / 1000.0f;
}

QuietRun RunQuietly(const Request& request, int index, int max_context_tokens) {
  if (request.kind == RequestKind::kScore) return ScoreQuietly(request);
  QuietRun run;
  run.prefixes = PrefixesOf(request.prompt);
  bool is_stopped = false;
  for (std::optional<FinishReason> end; !end;) {
    const std::vector<int32_t> banned = BannedAt(request, static_cast<int>(run.generated.size()));
    const auto position = static_cast<int>(run.prefixes.size());
    const uint64_t prefix = run.prefixes.back();
    const int32_t token = TokenOf({.prefix = prefix,
                                   .seed = request.sampling.seed,
                                   .index = static_cast<uint32_t>(index),
                                   .position = position,
                                   .banned = banned});
    run.generated.push_back(token);
    run.prefixes.push_back(Extend(prefix, token, position));
    end = EndAfter(request, token, static_cast<int>(run.generated.size()), max_context_tokens);
    if (!is_stopped) {
      run.tokens.push_back(token);
      run.logprobs.push_back(LogprobOf(prefix, token));
      const bool is_silent =
          end == FinishReason::kEos || (end == FinishReason::kStopToken && !request.stopping.include_stop);
      is_stopped = !is_silent && AddText(request, TextIn(request, token), run);
      if (!is_stopped && end) run.reason = *end;
    }
    if (end) run.engine_reason = *end;
  }
  return run;
}

std::string TextOfFirst(const Request& request, std::span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) text += TextIn(request, token);
  return text;
}

}  // namespace latentd::simulation
