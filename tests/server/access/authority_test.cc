#include "server/access/authority.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/access/token.h"
#include "server/api/status.h"
#include "server/call/identity.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

class AuthorityTest : public ::testing::Test {
 protected:
  AuthorityTest() {
    Write("alice search generate\nroot ops admin,metrics\n");
    authority_ = *Authority::Open({.tokens = path()});
  }

  std::string path() const { return (folder_.path() / "tokens").string(); }
  // "NAME TENANT RIGHTS" a line; the token of NAME is "token-NAME".
  void Write(const std::string& lines) {
    std::string text;
    std::istringstream in(lines);
    for (std::string name, tenant, rights; in >> name >> tenant >> rights;) {
      text += PrintTokenLine({Sha256("token-" + name), {name, tenant, *ParseRights(rights)}}) + "\n";
    }
    std::ofstream(path() + ".new") << text;
    std::filesystem::rename(path() + ".new", path());
  }
  Judgement Ask(const std::string& header, Rights rights, const Shown& with = {}) {
    Shown shown = with;
    if (!header.empty()) shown.authorization = {header};
    return authority_->Judge(shown, rights, AccessPoint::kApi);
  }
  Verdict VerdictOn(const std::string& header, Rights rights = kMayGenerate) { return Ask(header, rights).verdict; }

  TemporaryDirectory folder_;
  std::unique_ptr<Authority> authority_;
};

TEST_F(AuthorityTest, TokenBringsItsTenantAndRights) {
  const Judgement judgement = Ask("Bearer token-alice", kMayGenerate);
  EXPECT_EQ(judgement.verdict, Verdict::kGranted);
  EXPECT_EQ(judgement.grant, (Grant{.name = "alice", .tenant = "search", .rights = kMayGenerate}));
  EXPECT_EQ(VerdictOn("bearer token-alice"), Verdict::kGranted) << "RFC 9110, 11.1: the scheme has no case";
  EXPECT_EQ(VerdictOn("Bearer token-alice", kMayAdminister), Verdict::kNoRight);
  EXPECT_EQ(VerdictOn("Bearer token-root", kMayAdminister), Verdict::kGranted);
  EXPECT_EQ(VerdictOn("Bearer token-root", kMayGenerate), Verdict::kNoRight);
}

TEST_F(AuthorityTest, WhatIsNoKnownTokenIsRefused) {
  EXPECT_EQ(VerdictOn(""), Verdict::kNoCredential);
  EXPECT_EQ(VerdictOn("Bearer token-bob"), Verdict::kUnknownToken);
  EXPECT_EQ(VerdictOn("Bearer token-alice "), Verdict::kUnknownToken);
  for (const char* header : {"token-alice", "Basic token-alice", "Bearer", "Bearer "}) {
    EXPECT_EQ(VerdictOn(header), Verdict::kMalformed) << header;
  }
  EXPECT_EQ(VerdictOn("Bearer " + std::string(kMaxTokenBytes + 1, 'a')), Verdict::kMalformed);
  EXPECT_EQ(Ask("", kMayGenerate, {.authorization = {"Bearer token-alice", "Bearer token-root"}}).verdict,
            Verdict::kMalformed);
  EXPECT_EQ(authority_->counts().refused[0][0], 9u);
  EXPECT_EQ(authority_->counts().refused[0][1], 0u);
}

TEST_F(AuthorityTest, FileIsReadAgainWhenItChanged) {
  Write("bob search generate\n");
  authority_->Look();
  EXPECT_EQ(VerdictOn("Bearer token-bob"), Verdict::kGranted);
  EXPECT_EQ(VerdictOn("Bearer token-alice"), Verdict::kUnknownToken);
  EXPECT_EQ(authority_->counts().loaded[0], 2u);
  authority_->Look();
  EXPECT_EQ(authority_->counts().loaded[0], 2u) << "it did not change again";
}

TEST_F(AuthorityTest, BadFileKeepsWhatWasThere) {
  std::ofstream(path()) << "nonsense\n";
  authority_->Look();
  std::filesystem::remove(path());
  authority_->Look();
  authority_->Look();
  EXPECT_EQ(VerdictOn("Bearer token-alice"), Verdict::kGranted);
  EXPECT_EQ(authority_->counts().kept[0], 2u) << "once for each change";
}

TEST_F(AuthorityTest, BadFileAtTheStartIsRefused) {
  std::ofstream(path()) << "nonsense\n";
  EXPECT_THAT(std::string(Authority::Open({.tokens = path()}).status().message()),
              testing::HasSubstr("tokens:1: expected NAME SHA256 TENANT RIGHTS"));
  EXPECT_FALSE(Authority::Open({.tokens = "/nowhere"}).ok());
}

TEST_F(AuthorityTest, CertificateCountsByItsNameOrByItsCaAlone) {
  std::ofstream(folder_.path() / "identities") << "node.example fleet generate,metrics\n";
  const std::string identities = (folder_.path() / "identities").string();
  const Shown known = {.certificate_names = {"other", "node.example"}, .has_certificate = true};
  const Shown unknown = {.certificate_names = {"other"}, .has_certificate = true};
  authority_ = *Authority::Open({.identities = identities, .verifies_clients = true});
  EXPECT_EQ(Ask("", kMayScrape, known).grant.tenant, "fleet");
  EXPECT_EQ(Ask("", kMayGenerate, unknown).grant.tenant, "default");
  EXPECT_EQ(Ask("", kMayScrape, unknown).verdict, Verdict::kNoRight);
  EXPECT_EQ(Ask("", kMayGenerate).verdict, Verdict::kNoCredential);
  authority_ = *Authority::Open({.tokens = path(), .identities = identities, .verifies_clients = true});
  EXPECT_EQ(Ask("", kMayGenerate, known).grant.tenant, "fleet");
  EXPECT_EQ(Ask("", kMayGenerate, unknown).verdict, Verdict::kNoCredential) << "a token is asked for";
  EXPECT_EQ(Ask("Bearer token-alice", kMayGenerate, known).grant.tenant, "search") << "the token decides";
  EXPECT_EQ(Ask("Bearer wrong", kMayGenerate, known).verdict, Verdict::kUnknownToken);
}

TEST_F(AuthorityTest, MethodsWantTheirRight) {
  const auto reason = [this](const char* header, const char* method) {
    return ReasonOf(Identify({.authorization = {header}}, method, {authority_.get()}).status());
  };
  EXPECT_EQ(reason("Bearer token-alice", "Generate"), "");
  EXPECT_EQ(reason("Bearer token-root", "Generate"), "PERMISSION_DENIED");
  EXPECT_EQ(reason("Bearer token-alice", "Drain"), "PERMISSION_DENIED");
  EXPECT_EQ(reason("Bearer token-root", "Drain"), "");
  EXPECT_EQ(reason("Bearer token-alice", "GetModel"), "");
  EXPECT_EQ(reason("Bearer token-root", "GetModel"), "") << "an operator looks at it, too";
  EXPECT_EQ(reason("Bearer wrong", "GetModel"), "UNAUTHENTICATED");
  EXPECT_TRUE(IdentifyAny({.authorization = {"Bearer token-root"}}, {authority_.get()}).ok());
}

TEST(Authority, WithoutCredentialsIsOpenToAll) {
  const auto authority = *Authority::Open({});
  EXPECT_TRUE(authority->is_open_to_all());
  EXPECT_EQ(authority->Judge({}, kMayAdminister, AccessPoint::kAdmin).verdict, Verdict::kGranted);
  EXPECT_FALSE(Identify({}, "Generate", {authority.get()})->is_known);
}

}  // namespace
}  // namespace latentd
