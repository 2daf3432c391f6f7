#include "server/api/causes.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <absl/strings/ascii.h>
#include <absl/strings/str_join.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "latentd/v1/admin.pb.h"
#include "latentd/v1/generation.pb.h"
#include "latentd/v1/models.pb.h"
#include "server/api/events.h"
#include "server/api/status.h"
#include "smg/vllm_engine.pb.h"

namespace latentd {
namespace {

using ::testing::ElementsAreArray;

// Each has one service.
struct ServiceFile {
  std::string_view prefix;  // of its methods' names
  const google::protobuf::FileDescriptor* (*file)();
};
template <class Message>
const google::protobuf::FileDescriptor* FileOf() {
  return Message::descriptor()->file();
}
constexpr ServiceFile kServiceFiles[] = {
    {"", FileOf<v1::GenerateRequest>},
    {"", FileOf<v1::Model>},
    {"", FileOf<v1::Load>},
    {kSmgPrefix, FileOf<vllm::grpc::engine::GenerateRequest>},
};

TEST(Methods, AreThoseOfTheServices) {
  std::vector<std::string> published;
  for (const ServiceFile& each : kServiceFiles) {
    for (int i = 0; i < each.file()->service(0)->method_count(); ++i) {
      published.push_back(std::string(each.prefix) + each.file()->service(0)->method(i)->name());
    }
  }
  std::vector<std::string> listed;
  for (const MethodRow& method : kMethods) listed.emplace_back(method.name);
  EXPECT_THAT(listed, ElementsAreArray(published));
}

TEST(Methods, AnswerInOneMessageWhereTheProtoHasNoStream) {
  for (const ServiceFile& each : kServiceFiles) {
    for (const MethodRow& row : kMethods) {
      if (!row.name.starts_with(each.prefix)) continue;
      const auto* method = each.file()->service(0)->FindMethodByName(std::string(row.name.substr(each.prefix.size())));
      if (method == nullptr) continue;
      // Smg's Generate is a stream of one message where it was asked for that.
      const bool may_be_one = !method->server_streaming() || row.name == "SmgGenerate";
      EXPECT_EQ((row.traits & kAnswersInOne) != 0, may_be_one) << row.name;
      const bool names_model = method->input_type()->FindFieldByName("model") != nullptr;
      EXPECT_EQ((row.traits & kNamesModel) != 0, names_model) << row.name;
    }
  }
}

TEST(Causes, HaveReasonsOfTheirOwn) {
  std::set<std::string_view> reasons;
  for (const CauseRow& row : kCauses) {
    EXPECT_TRUE(reasons.insert(row.reason).second) << row.reason;
    EXPECT_EQ(FindCause(row.reason), row.cause);
    EXPECT_EQ(row.is_success(), row.code == absl::StatusCode::kOk) << row.reason;
    EXPECT_EQ(row.is_success(), row.status.message.empty()) << row.reason;
  }
  EXPECT_EQ(FindCause("NO_SUCH_REASON"), std::nullopt);
}

TEST(Causes, ThatEndRunsHaveTheStatusOfTheirRow) {
  const StreamEnd end;
  for (const CauseRow& row : kCauses) {
    if (!row.ends_run()) continue;
    const absl::Status status = StatusOfRun(row.cause, {.end = end, .request_id = "r"});
    EXPECT_EQ(status.code(), row.code) << row.reason;
    EXPECT_EQ(ReasonOf(status), row.is_success() ? "" : row.reason);
  }
}

TEST(Causes, OfTokensEndTheirSequenceUnderTheirName) {
  for (const CauseRow& row : kCauses) {
    if (!row.is_success() || (row.occurs.methods & kGenerates) == 0) continue;
    AnswerEnd end;
    FinishReason& reason = end.reason;
    for (int next = 0; CauseOf(reason) != row.cause; ++next) reason = static_cast<FinishReason>(next);
    EXPECT_EQ(v1::EndReason_Name(MakeSequenceEnd(0, end).reason()), "END_REASON_" + std::string(row.reason));
  }
}

// "RESOURCE_EXHAUSTED", and what the status has beside its reason: "RetryInfo, `loaded_bytes`".
struct Claim {
  std::string code;
  std::string details;
  auto operator<=>(const Claim&) const = default;
};
using Claims = std::map<std::string, Claim>;  // by reason

std::vector<std::string> GoogleDetailsOf(const StatusForm& form) {
  std::vector<std::string> details;
  if (form.detail == Detail::kBadRequest) details.push_back("BadRequest");
  if (form.detail == Detail::kRequestInfo) details.push_back("RequestInfo");
  if (form.detail == Detail::kResourceInfo) details.push_back("ResourceInfo");
  if (form.detail == Detail::kQuotaFailure) details.push_back("QuotaFailure");
  if (form.retry != Retry::kNone) details.push_back("RetryInfo");
  return details;
}

// The failures that have series, as the documents' table must have them.
Claims DocumentedFailures() {
  Claims claims;
  for (const CauseRow& row : kCauses) {
    if (row.is_success() || row.occurs.methods == 0) continue;
    std::vector<std::string> details = GoogleDetailsOf(row.status);
    for (const std::string_view number : row.status.numbers) {
      if (!number.empty()) details.push_back("`" + std::string(number) + "`");
    }
    claims[std::string(row.reason)] = {absl::StatusCodeToString(row.code), absl::StrJoin(details, ", ")};
  }
  return claims;
}

std::vector<std::string> LinesOf(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// The rows below the head of the table of statuses; none where it has gone.
std::vector<std::string> StatusTable() {
  const std::vector<std::string> lines = LinesOf("docs/api.md");
  const auto head = std::find(lines.begin(), lines.end(), "| code | reason | when | details |");
  const auto end = std::find_if(head, lines.end(), [](const std::string& line) { return !line.starts_with("|"); });
  if (end - head <= 2) return {};
  return {head + 2, end};
}

TEST(Causes, AreThoseOfTheDocumentsTableOfStatuses) {
  const std::vector<std::string> rows = StatusTable();
  ASSERT_FALSE(rows.empty()) << "docs/api.md has no table with the head that this test and readme.py look for";
  Claims claims;
  for (const std::string& line : rows) {
    std::vector<std::string> cells = absl::StrSplit(line, '|');  // one before the first bar, one behind the last
    ASSERT_EQ(cells.size(), 6u) << line;
    for (std::string& cell : cells) absl::StripAsciiWhitespace(&cell);
    for (const std::string& reason : std::vector<std::string>(absl::StrSplit(cells[2], ", "))) {
      EXPECT_TRUE(claims.emplace(reason, Claim{cells[1], cells[4]}).second) << reason;
    }
  }
  const Claims expected = DocumentedFailures();
  for (const auto& [reason, claim] : expected) {
    ASSERT_TRUE(claims.contains(reason)) << reason << " stands in no row of the table of statuses";
    EXPECT_EQ(claims[reason].code, claim.code) << reason;
    EXPECT_EQ(claims[reason].details, claim.details) << reason;
  }
  EXPECT_EQ(claims.size(), expected.size());
}

// "//       QUEUE_FULL, QUEUE_TOKENS      RESOURCE_EXHAUSTED (with RetryInfo)"
Claims FailuresInTheProto() {
  Claims claims;
  for (const std::string& line : LinesOf("proto/latentd/v1/generation.proto")) {
    if (!line.starts_with("//       ")) continue;
    const std::vector<std::string> parts = absl::StrSplit(line.substr(9), absl::MaxSplits("  ", 1));
    if (parts.size() != 2) continue;
    std::vector<std::string> code_and_details = absl::StrSplit(parts[1], absl::MaxSplits(" (with ", 1));
    absl::StripAsciiWhitespace(&code_and_details[0]);
    std::string details = code_and_details.size() == 2 ? code_and_details[1] : "";
    details = details.substr(0, std::min(details.find(" naming"), details.find(')')));
    for (const std::string& reason : std::vector<std::string>(absl::StrSplit(parts[0], ", "))) {
      EXPECT_TRUE(claims.emplace(reason, Claim{code_and_details[0], details}).second) << reason;
    }
  }
  return claims;
}

TEST(Causes, AreThoseOfTheProtosRules) {
  Claims expected;
  for (const CauseRow& row : kCauses) {
    if (row.is_success()) continue;
    expected[std::string(row.reason)] = {absl::StatusCodeToString(row.code),
                                         absl::StrJoin(GoogleDetailsOf(row.status), ", ")};
  }
  for (const auto& [reason, claim] : FailuresInTheProto()) {
    ASSERT_TRUE(expected.contains(reason)) << reason << " is no cause";
    EXPECT_EQ(claim.code, expected[reason].code) << reason;
    EXPECT_EQ(claim.details, expected[reason].details) << reason;
    expected.erase(reason);
  }
  for (const auto& [reason, claim] : expected) ADD_FAILURE() << reason << " stands in no line of generation.proto";
}

}  // namespace
}  // namespace latentd
