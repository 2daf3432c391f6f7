#include "server/config/tenants_file.h"

#include <algorithm>
#include <optional>
#include <sstream>
#include <string_view>
#include <variant>

#include <absl/strings/str_format.h>
#include <toml++/toml.h>

#include "base/file.h"
#include "base/number_text.h"
#include "base/printable_text.h"
#include "base/quoting.h"

namespace latentd {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxNameBytes = 64;  // as in the metadata that names a request's tenant
constexpr double kMostQueued = 1e12;

struct Field {
  std::string_view key;
  double lowest;  // both included
  double highest;
  std::variant<double TenantRule::*, int TenantRule::*, int64_t TenantRule::*> member;
};

constexpr Field kFields[] = {
    {"weight", 0.001, 1000.0, &TenantRule::weight},
    {"max-priority", kLowestPriority, kHighestPriority, &TenantRule::max_priority},
    {"max-queued-requests", 1.0, kMostQueued, &TenantRule::max_queued_requests},
    {"max-queued-tokens", 1.0, kMostQueued, &TenantRule::max_queued_tokens},
};

// Only a text is in quotes: '5' is none of the numbers.
std::string Printed(const toml::node& node) {
  if (const auto* text = node.as_string()) return QuotedExcerpt(text->get());
  std::ostringstream text;
  node.visit([&text](const auto& value) { text << value; });
  return OnOneLine(CutText(text.str(), kQuotedBytes));
}

bool IsName(std::string_view text) { return !text.empty() && text.size() <= kMaxNameBytes && IsPrintableAscii(text); }

// One file, with its path in front of each error.
class TenantsFile {
 public:
  explicit TenantsFile(const std::string& path) : path_(path) {}

  absl::StatusOr<TenantRules> Read(const toml::table& file) const {
    TenantRules rules;
    for (const auto& [key, node] : file) {
      absl::Status status;
      if (key == "default") {
        status = ReadDefault(node, rules.of_others);
      } else if (key == "tenant") {
        status = ReadTenants(node, rules);
      } else {
        status = ErrorAt(node, absl::StrFormat("expected [[tenant]] or [default], found %s", Quoted(key.str())));
      }
      if (!status.ok()) return status;
    }
    return rules;
  }

 private:
  absl::Status ErrorAt(const toml::node& node, const std::string& message) const {
    return absl::InvalidArgumentError(absl::StrFormat("%s:%d: %s", path_, node.source().begin.line, message));
  }

  absl::Status ReadDefault(const toml::node& node, TenantRule& rule) const {
    const toml::table* const table = node.as_table();
    if (table == nullptr) return ErrorAt(node, "expected a table, [default], found " + Printed(node));
    if (const toml::node* name = table->get("name")) {
      return ErrorAt(*name, "expected no name in [default], which is for all names that no [[tenant]] has");
    }
    return ReadRule(*table, rule);
  }

  absl::Status ReadTenants(const toml::node& node, TenantRules& rules) const {
    const toml::array* const entries = node.as_array();
    if (entries == nullptr)
      return ErrorAt(node, "expected a table for each tenant, [[tenant]], found " + Printed(node));
    for (const toml::node& entry : *entries) {
      if (!entry.is_table()) return ErrorAt(entry, "expected a table, [[tenant]], found " + Printed(entry));
      if (absl::Status status = ReadTenant(*entry.as_table(), rules); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status ReadTenant(const toml::table& entry, TenantRules& rules) const {
    const toml::node* const name = entry.get("name");
    if (name == nullptr) return ErrorAt(entry, "expected the name of a tenant, found none");
    const std::optional<std::string> text = name->value_exact<std::string>();
    if (!text || !IsName(*text)) {
      return ErrorAt(*name, absl::StrFormat("name: expected 1 to %d bytes of printable ASCII, found %s", kMaxNameBytes,
                                            Printed(*name)));
    }
    TenantRule rule;
    if (absl::Status status = ReadRule(entry, rule); !status.ok()) return status;
    if (rules.listed.emplace(*text, rule).second) return absl::OkStatus();
    return ErrorAt(*name, absl::StrFormat("name: expected each tenant once, found %s twice", Quoted(*text)));
  }

  absl::Status ReadRule(const toml::table& table, TenantRule& rule) const {
    for (const auto& [key, node] : table) {
      if (key == "name") continue;
      const auto has_key = [&key = key](const Field& field) { return field.key == key.str(); };
      const auto* const field = std::find_if(std::begin(kFields), std::end(kFields), has_key);
      if (field == std::end(kFields)) {
        return ErrorAt(node, absl::StrFormat("expected weight, max-priority, max-queued-requests or max-queued-tokens, "
                                             "found %s",
                                             Quoted(key.str())));
      }
      if (absl::Status status = ReadNumber(node, *field, rule); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status ReadNumber(const toml::node& node, const Field& field, TenantRule& rule) const {
    const bool is_whole = !std::holds_alternative<double TenantRule::*>(field.member);
    const std::optional<double> number = is_whole && !node.is_integer() ? std::nullopt
                                         : node.is_number()             ? node.value<double>()
                                                                        : std::nullopt;
    if (!number || !(*number >= field.lowest && *number <= field.highest)) {
      return ErrorAt(node, absl::StrFormat("%s: expected %s from %s to %s, found %s", field.key,
                                           is_whole ? "a whole number" : "a number", NumberText(field.lowest),
                                           NumberText(field.highest), Printed(node)));
    }
    std::visit([&](auto member) { Assign(*number, rule.*member); }, field.member);
    return absl::OkStatus();
  }

  template <class Number>
  static void Assign(double value, Number& number) {
    number = static_cast<Number>(value);
  }

  const std::string& path_;
};

}  // namespace

absl::StatusOr<TenantRules> ReadTenantsFile(const std::string& path) {
  if (path.empty()) return TenantRules{};
  const absl::StatusOr<std::string> text = ReadFile(path, kMaxFileBytes);
  if (!text.ok()) return text.status();
  try {
    return TenantsFile(path).Read(toml::parse(*text, path));
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s:%d: %s", path, error.source().begin.line, std::string(error.description())));
  }
}

}  // namespace latentd
