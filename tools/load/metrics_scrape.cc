#include "tools/load/metrics_scrape.h"

#include <algorithm>
#include <utility>

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_format.h>
#include <absl/strings/str_split.h>
#include <httplib.h>

#include "server/net/address.h"
#include "tools/load/view.h"

namespace latentd {
namespace {

constexpr int kScrapeSeconds = 10;

// Reads one line from its front to its end. Every function is false where the line is not of the format.
class LineReader {
 public:
  explicit LineReader(std::string_view line) : rest_(line) {}

  bool Read(MetricsPage::Sample& sample) {
    sample.name = TakeWord();
    if (sample.name.empty()) return false;
    if (TakeIf('{') && !ReadLabels(sample.labels)) return false;
    return ReadValue(sample.value);
  }

 private:
  std::string TakeWord() {
    const auto is_part = [](char c) {
      return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == ':';
    };
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_part);
    const std::string word(rest_.begin(), end);
    rest_.remove_prefix(word.size());
    return word;
  }

  bool TakeIf(char expected) {
    if (rest_.empty() || rest_.front() != expected) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool ReadLabels(Labels& labels) {
    while (!TakeIf('}')) {
      const std::string key = TakeWord();
      if (key.empty() || !TakeIf('=') || !TakeIf('"') || !ReadQuoted(labels[key])) return false;
      TakeIf(',');
    }
    return true;
  }

  bool ReadQuoted(std::string& value) {
    while (!rest_.empty()) {
      char next = rest_.front();
      rest_.remove_prefix(1);
      if (next == '"') return true;
      if (next == '\\' && !rest_.empty()) {
        next = rest_.front() == 'n' ? '\n' : rest_.front();
        rest_.remove_prefix(1);
      }
      value += next;
    }
    return false;
  }

  // The value, and perhaps a time stamp behind it.
  bool ReadValue(double& value) {
    if (rest_.empty() || (rest_.front() != ' ' && rest_.front() != '\t')) return false;
    const std::vector<std::string> words = absl::StrSplit(View(rest_), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    return (words.size() == 1 || words.size() == 2) && absl::SimpleAtod(words[0], &value);
  }

  std::string_view rest_;
};

std::string Described(std::string_view name, const Labels& labels) {
  std::string text(name);
  for (const auto& [key, value] : labels) text += absl::StrFormat("{%s=\"%s\"}", key, value);
  return text;
}

}  // namespace

absl::StatusOr<MetricsPage> MetricsPage::Parse(std::string_view text) {
  MetricsPage page;
  size_t number = 0;
  for (const absl::string_view line : absl::StrSplit(View(text), '\n')) {
    ++number;
    const absl::string_view stripped = absl::StripAsciiWhitespace(line);
    if (stripped.empty() || stripped.front() == '#') continue;
    if (!LineReader(View(stripped)).Read(page.samples_.emplace_back())) {
      return absl::InvalidArgumentError(
          absl::StrFormat("metrics line %d: expected name{label=\"value\"} number, found %s", number, stripped));
    }
  }
  return page;
}

absl::StatusOr<double> MetricsPage::Sum(std::string_view name, const Labels& labels) const {
  double sum = 0.0;
  bool has_any = false;
  for (const Sample& sample : samples_) {
    const auto has = [&sample](const auto& label) {
      const auto found = sample.labels.find(label.first);
      return found != sample.labels.end() && found->second == label.second;
    };
    if (sample.name != name || !std::all_of(labels.begin(), labels.end(), has)) continue;
    has_any = true;
    sum += sample.value;
  }
  if (has_any) return sum;
  return absl::NotFoundError(
      absl::StrFormat("expected the metric %s, found none; is this a latentd?", Described(name, labels)));
}

absl::StatusOr<MetricsPage> Scrape(const std::string& address, const std::string& token) {
  const absl::StatusOr<Address> parsed = ParseAddress(address, AddressUse::kHttpClient);
  if (!parsed.ok()) return parsed.status();
  httplib::Client client(parsed->host, parsed->port);
  client.set_connection_timeout(kScrapeSeconds);
  client.set_read_timeout(kScrapeSeconds);
  httplib::Headers headers{{"Host", parsed->ToString()}};
  if (!token.empty()) headers.emplace("Authorization", "Bearer " + token);
  const httplib::Result result = client.Get("/metrics", headers);
  if (!result) {
    return absl::UnavailableError(absl::StrFormat("expected metrics at http://%s/metrics, found: %s", address,
                                                  httplib::to_string(result.error())));
  }
  if (result->status != 200) {
    return absl::UnavailableError(
        absl::StrFormat("expected metrics at http://%s/metrics, found HTTP status %d", address, result->status));
  }
  return MetricsPage::Parse(result->body);
}

}  // namespace latentd
