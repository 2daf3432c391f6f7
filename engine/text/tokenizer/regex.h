// A compiled PCRE2 expression. Constant after construction: any number of threads may search with it at once.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>

struct pcre2_real_code_8;  // pcre2.h stays out of headers: it needs a macro before its inclusion

namespace latentd {

class Regex {
 public:
  struct Match {
    size_t begin = 0;
    size_t end = 0;
  };

  // `pattern` is in PCRE2 syntax, see TranslateRegex.
  static absl::StatusOr<Regex> Compile(const std::string& pattern);

  // The first match that begins at or after `start`. `subject` must be valid UTF-8 and `start` the start of a character
  // or the end. An error is RESOURCE_EXHAUSTED: the pattern backtracks too much on this subject.
  absl::StatusOr<std::optional<Match>> Find(std::string_view subject, size_t start) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}

  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

}  // namespace latentd
