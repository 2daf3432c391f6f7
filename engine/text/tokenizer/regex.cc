#include "engine/text/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <absl/strings/str_format.h>
#include <pcre2.h>

#include "base/check.h"

namespace latentd {
namespace {

constexpr size_t kFirstJitStackBytes = 32 << 10;
constexpr size_t kMaxJitStackBytes = 16 << 20;     // reserved address space; pages are touched as needed
constexpr uint32_t kMaxHeapKilobytes = 256 << 10;  // of the interpreter, where the JIT's stack was not enough
constexpr uint32_t kMaxBacktracks = 100'000'000;   // ends a runaway pattern after about a second

template <auto kFree>
struct Free {
  void operator()(auto* pointer) const { kFree(pointer); }
};
using MatchData = std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>>;

// Patterns don't capture, so one pair of offsets serves them all.
MatchData CreateMatchData() {
  MatchData match_data(pcre2_match_data_create(1, nullptr));
  CHECK(match_data != nullptr);
  return match_data;
}

// The memory of one thread's searches.
struct Scratch {
  Scratch() {
    CHECK(context != nullptr);
    pcre2_set_match_limit(context.get(), kMaxBacktracks);
    pcre2_set_depth_limit(context.get(), kMaxBacktracks);
    pcre2_set_heap_limit(context.get(), kMaxHeapKilobytes);
    if (jit_stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, jit_stack.get());
  }

  MatchData match_data = CreateMatchData();
  MatchContext context{pcre2_match_context_create(nullptr)};
  JitStack jit_stack{pcre2_jit_stack_create(kFirstJitStackBytes, kMaxJitStackBytes, nullptr)};
};

std::string MessageOf(int code) {
  char text[160];
  return pcre2_get_error_message(code, reinterpret_cast<PCRE2_UCHAR*>(text), sizeof(text)) < 0
             ? absl::StrFormat("PCRE2 error %d", code)
             : std::string(text);
}

}  // namespace

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

absl::StatusOr<Regex> Regex::Compile(const std::string& pattern) {
  const std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                   PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context.get());
  if (code == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat("regular expression: %s", MessageOf(error)));
  }
  // Where the JIT is not available the interpreter finds the same matches, only slower.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return Regex(code);
}

absl::StatusOr<std::optional<Regex::Match>> Regex::Find(std::string_view subject, size_t start) const {
  thread_local Scratch scratch;
  const auto search = [&](uint32_t options, pcre2_match_data* match_data) {
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), start,
                       PCRE2_NO_UTF_CHECK | options, match_data, scratch.context.get());
  };
  MatchData own_data;  // of the interpreter, whose heap it keeps
  pcre2_match_data* match_data = scratch.match_data.get();
  int result = search(0, match_data);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    own_data = CreateMatchData();
    match_data = own_data.get();
    result = search(PCRE2_NO_JIT, match_data);
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("splitting %d bytes of text into words: %s", subject.size(), MessageOf(result)));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(match_data);
  return Match{bounds[0], bounds[1]};
}

}  // namespace latentd
