#include "server/access/grants_file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/access/token.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

const std::string kDigest(64, 'a');

std::string ErrorOf(const std::string& text) { return std::string(ParseTokens(text, "/f").status().message()); }

TEST(Token, IsLongAndNewEachTime) {
  const std::string token = MakeToken();
  EXPECT_GE(token.size(), 50u);
  EXPECT_LE(token.size(), kMaxTokenBytes);
  EXPECT_THAT(token, testing::StartsWith("latentd_"));
  EXPECT_NE(token, MakeToken());
}

TEST(Token, DigestIsSha256InHexadecimal) {
  const std::string hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";  // FIPS 180-2, B.1
  EXPECT_EQ(ToHex(Sha256("abc")), hex);
  ASSERT_TRUE(ParseDigest(hex));
  EXPECT_TRUE(IsEqual(*ParseDigest(hex), Sha256("abc")));
  EXPECT_FALSE(IsEqual(*ParseDigest(hex), Sha256("abd")));
  EXPECT_FALSE(ParseDigest(hex.substr(1)));
  EXPECT_FALSE(ParseDigest(hex.substr(1) + "g"));
}

TEST(GrantsFile, TakesALineForEachToken) {
  const auto tokens = ParseTokens("# who\n\nci " + kDigest + "\tsearch generate,metrics  # the pipeline\r\n", "/f");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  ASSERT_THAT(*tokens, SizeIs(1));
  EXPECT_EQ(tokens->front().grant, (Grant{.name = "ci", .tenant = "search", .rights = kMayGenerate | kMayScrape}));
  EXPECT_EQ(PrintTokenLine(tokens->front()), "ci " + kDigest + " search generate,metrics");
}

TEST(GrantsFile, SaysWhichLineIsWrongAndWhy) {
  EXPECT_THAT(ErrorOf("a " + kDigest + " t generate\nb\n"), AllOf(HasSubstr("/f:2: "), HasSubstr("found 1 words")));
  EXPECT_THAT(ErrorOf("a " + kDigest + " t everything\n"), AllOf(HasSubstr("/f:1: "), HasSubstr("generate, admin")));
  EXPECT_THAT(ErrorOf("a " + kDigest + " t generate\na " + std::string(64, 'b') + " t generate\n"),
              AllOf(HasSubstr("/f:2: "), HasSubstr("each name once")));
  EXPECT_THAT(ErrorOf("a " + kDigest + " t generate\nb " + kDigest + " t generate\n"), HasSubstr("each token once"));
  EXPECT_THAT(ErrorOf("a " + kDigest + " " + std::string(65, 't') + " generate\n"), HasSubstr("a tenant of 1 to 64"));
}

TEST(GrantsFile, NeverRepeatsWhatMayBeAToken) {
  const std::string token = MakeToken();
  for (const std::string& line : {"a " + token + " t generate", token, token + " a t generate", "a b c " + token,
                                  "a " + kDigest + " t " + token}) {
    EXPECT_THAT(ErrorOf(line), AllOf(Not(HasSubstr(token)), HasSubstr("expected"))) << line;
  }
}

TEST(GrantsFile, MapsNamesOfCertificates) {
  const auto identities = ParseIdentities("spiffe://a/b team generate\nhost.example ops admin,metrics\n", "/f");
  ASSERT_TRUE(identities.ok()) << identities.status();
  EXPECT_EQ(identities->at("spiffe://a/b"), (Grant{.name = "spiffe://a/b", .tenant = "team", .rights = kMayGenerate}));
  EXPECT_EQ(identities->at("host.example").rights, kMayAdminister | kMayScrape);
  EXPECT_THAT(std::string(ParseIdentities("a b\n", "/f").status().message()), HasSubstr("/f:1: expected SAN TENANT"));
}

}  // namespace
}  // namespace latentd
