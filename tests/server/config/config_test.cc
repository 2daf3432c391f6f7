#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/request.h"
#include "server/config/knobs.h"
#include "server/config/parse_config.h"
#include "tests/support/or_die.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Texts = std::vector<std::string>;

class ConfigTest : public testing::Test {
 protected:
  std::string File(std::string_view content) const {
    WriteFile(folder_.path() / "knobs.toml", content);
    return (folder_.path() / "knobs.toml").string();
  }
  static absl::StatusOr<ParsedConfig> TryParse(const Texts& arguments, const Environment& environment) {
    std::vector<const char*> argv = {"latentd"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return ParseConfig(static_cast<int>(argv.size()), argv.data(), environment);
  }
  // With a model, so that only the arguments at hand can be wrong.
  static ParsedConfig Parse(Texts arguments, const Environment& environment = {}) {
    arguments.insert(arguments.end(), {"--model", "somewhere"});
    return OrDie(TryParse(arguments, environment));
  }
  static std::string Error(Texts arguments, const Environment& environment = {}) {
    arguments.insert(arguments.end(), {"--model", "somewhere"});
    const auto parsed = TryParse(arguments, environment);
    EXPECT_FALSE(parsed.ok());
    const std::string message(parsed.status().message());
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  static const KnobValue& Find(const ParsedConfig& parsed, std::string_view name) {
    const auto has_name = [name](const KnobValue& knob) { return knob.name == name; };
    return *std::find_if(parsed.knobs.begin(), parsed.knobs.end(), has_name);
  }

 private:
  TemporaryDirectory folder_;
};

// Another value than the default that the knob takes.
std::string OtherValue(const Knob& knob) {
  const std::string value = ValueOf(knob, {});
  if (!knob.choices.empty()) return std::string(knob.choices.front() == value ? knob.choices.back() : knob.choices[0]);
  if (absl::StrContains(std::string(knob.name), "listen")) {
    const std::string scheme = knob.name.starts_with("kv-events") ? "tcp://" : "";
    return absl::StrCat(scheme, "127.0.0.1:", 1000 + std::string(knob.name).size());
  }
  if (knob.name == "device") return "cuda:1";
  if (knob.name == "otlp-endpoint") return "http://127.0.0.1:4317";
  if (knob.name == "pin-threads") return "0-3";
  if (knob.name == "served-model-name") return "other#\"name\",second";
  if (knob.is_text()) return absl::StrCat("other # \"", std::string(knob.name), "\"");
  if (value == "1024") return "1025";
  return knob.highest >= 1024 ? "1024" : "3";
}

// Flags without which the knob contradicts the default of another one.
Texts NeededBy(const Knob& knob) {
  if (knob.name == "kv-events-replay-listen") return {"--kv-events-listen=tcp://127.0.0.1:0"};
  if (knob.name == "tls-cert") return {"--tls-key=/key"};
  if (knob.name == "tls-key") return {"--tls-cert=/cert"};
  if (knob.name == "tls-client-ca") return {"--tls-cert=/cert", "--tls-key=/key"};
  if (knob.name == "identities") return {"--tls-cert=/cert", "--tls-key=/key", "--tls-client-ca=/ca"};
  return {};
}

// --name=value, since a value may begin with a dash.
std::string Flag(const Knob& knob, const std::string& value) {
  return absl::StrCat("--", std::string(knob.name), "=", value);
}

TEST_F(ConfigTest, FlagBeatsVariableBeatsFileBeatsDefault) {
  const std::string file = File("max-rows = 2\nthreads = 2\nkv-blocks = 2\n");
  const ParsedConfig parsed =
      Parse({"--config", file, "--max-rows", "4"}, {{"LATENTD_MAX_ROWS", "3"}, {"LATENTD_THREADS", "3"}});
  EXPECT_EQ(parsed.config.max_rows, 4);
  EXPECT_EQ(parsed.config.threads, 3);
  EXPECT_EQ(parsed.config.kv_blocks, 2);
  EXPECT_EQ(parsed.config.max_queued_requests, Config().max_queued_requests);
  EXPECT_EQ(Find(parsed, "max-rows").source, KnobSource::kFlag);
  EXPECT_EQ(Find(parsed, "threads").source, KnobSource::kEnvironment);
  EXPECT_EQ(Find(parsed, "kv-blocks").source, KnobSource::kFile);
  EXPECT_EQ(Find(parsed, "max-queued-requests").source, KnobSource::kDefault);
  EXPECT_EQ(Find(parsed, "max-rows").value, "4");
  EXPECT_THAT(parsed.warnings, IsEmpty());
}

// Values of the knobs that others need beside them.
Environment Companions() {
  Environment all;
  for (const char* name : {"LATENTD_TLS_CERT", "LATENTD_TLS_KEY", "LATENTD_TLS_CLIENT_CA"}) all[name] = "/some/file";
  return all;
}

TEST_F(ConfigTest, EachKnobIsSetByEachSource) {
  for (const Knob& knob : AllKnobs()) {
    if (knob.name == "model") continue;  // Parse gives it
    SCOPED_TRACE(knob.name);
    const std::string value = OtherValue(knob);
    const std::string in_file = knob.is_text() ? absl::StrCat("'", value, "'") : value;
    ASSERT_NE(value, ValueOf(knob, {}));
    const auto parse = [&knob](Texts arguments, const Environment& environment = {}) {
      const Texts needed = NeededBy(knob);
      arguments.insert(arguments.end(), needed.begin(), needed.end());
      return ValueOf(knob, Parse(arguments, environment).config);
    };
    EXPECT_EQ(parse({Flag(knob, value)}), value);
    EXPECT_EQ(parse({}, {{EnvironmentName(knob.name), value}}), value);
    const std::string file = File(absl::StrCat(std::string(knob.name), " = ", in_file, "\n"));
    EXPECT_EQ(parse({"--config", file}), value);
  }
}

TEST_F(ConfigTest, TlsKnobsNeedEachOther) {
  const std::string file = File("tls-cert = '/c'\ntls-key = '/k'\ntls-client-ca = '/a'\nidentities = '/i'\n");
  EXPECT_EQ(Parse({"--config", file}).config.tls_client_ca, "/a");
  EXPECT_THAT(Error({"--tls-cert", "/c"}), HasSubstr("--tls-cert: expected tls-key beside it"));
  EXPECT_THAT(Error({"--tls-key", "/k"}), HasSubstr("--tls-key: expected tls-cert beside it"));
  EXPECT_THAT(Error({"--tls-client-ca", "/a"}), HasSubstr("--tls-client-ca: expected tls-cert beside it"));
  EXPECT_THAT(Error({"--identities", "/i"}), HasSubstr("--identities: expected tls-client-ca beside it"));
}

TEST_F(ConfigTest, BeyondLoopbackTakesCredentialsOrTheWord) {
  EXPECT_THAT(Error({"--listen", "[::]:1"}), HasSubstr("--listen: expected credentials to be asked for"));
  EXPECT_THAT(Error({"--metrics-listen", "[::]:1"}), HasSubstr("--metrics-listen: expected credentials"));
  EXPECT_EQ(Parse({"--listen", "[::]:1", "--insecure"}).config.insecure, "on");
  EXPECT_EQ(Parse({"--insecure", "off"}).config.insecure, "off");
  EXPECT_EQ(Parse({"--insecure", "--threads", "3"}).config.threads, 3);
  EXPECT_EQ(Parse({"--listen", "[::]:1", "--metrics-listen", "[::]:2", "--tokens", "/t"}).config.tokens, "/t");
  EXPECT_THAT(Error({"--admin-listen", "[::]:1", "--insecure"}), HasSubstr("loopback or a unix socket"));
  const Environment tls = Companions();
  EXPECT_EQ(Parse({"--listen", "[::]:1", "--admin-listen", "[::]:2"}, tls).config.listen, "[::]:1");
  EXPECT_THAT(Error({"--metrics-listen", "[::]:1"}, tls), HasSubstr("give --tokens, bind")) << "it has no TLS";
}

TEST_F(ConfigTest, AsManyDraftsAsThereMayBeCanBeAskedFor) {
  const auto knob = std::find_if(AllKnobs().begin(), AllKnobs().end(),
                                 [](const Knob& candidate) { return candidate.name == "speculate"; });
  ASSERT_EQ(knob->choices.size(), 2 + kMaxDrafts);
  for (int i = 1; i <= kMaxDrafts; ++i) EXPECT_EQ(knob->choices[static_cast<size_t>(i) + 1], std::to_string(i));
}

TEST_F(ConfigTest, EachNumberIsHeldToItsRange) {
  for (const Knob& knob : AllKnobs()) {
    if (knob.is_text()) continue;
    SCOPED_TRACE(knob.name);
    for (const char* text : {"-1", "1e30", "nan", "abc", "10x", "99999999999999999999"}) {
      EXPECT_THAT(Error({Flag(knob, text)}),
                  AllOf(HasSubstr(absl::StrCat("--", std::string(knob.name), ": expected ")), HasSubstr(text)));
    }
  }
}

TEST_F(ConfigTest, ErrorsNameTheirSource) {
  EXPECT_EQ(Error({"--max-rows", "none"}), "--max-rows: expected a whole number from 1 to 4096, found \"none\"");
  EXPECT_EQ(Error({}, {{"LATENTD_MAX_ROWS", "0"}}),
            "LATENTD_MAX_ROWS: expected a whole number from 1 to 4096, found \"0\"");
  const std::string file = File("# comment\n\nlog-level = 'loud'\n");
  EXPECT_EQ(Error({"--config", file}),
            file + ":3: log-level: expected one of trace, debug, info, warning, error, off, found \"loud\"");
}

TEST_F(ConfigTest, ErrorsThatAreFoundLaterNameTheirSourceToo) {
  EXPECT_THAT(Error({"--listen", "tcp://10.0.0.1:50051"}),
              AllOf(HasSubstr("--listen: expected HOST:PORT"), HasSubstr("the scheme of a URI has no place here")));
  EXPECT_THAT(Error({}, {{"LATENTD_METRICS_LISTEN", "here"}}), testing::StartsWith("LATENTD_METRICS_LISTEN: expected"));
  const std::string file = File("\ndevice = 'gpu'\n");
  EXPECT_THAT(Error({"--config", file}), testing::StartsWith(file + ":2: device: expected auto, cpu or cuda:N"));
  const ParsedConfig parsed = Parse({"--config", File("kv-dtype = 'fp8'\n"), "--generation-config", "/some/where"},
                                    {{"LATENTD_EOS_TOKEN_IDS", "x"}, {"LATENTD_DEVICE", "cuda:9"}});
  EXPECT_EQ(WithOrigin("eos-token-ids: expected ids", parsed), "LATENTD_EOS_TOKEN_IDS: expected ids");
  EXPECT_EQ(WithOrigin("device=cuda:9: no such", parsed), "LATENTD_DEVICE=cuda:9: no such");
  EXPECT_EQ(WithOrigin("kv-dtype: expected", parsed), File("kv-dtype = 'fp8'\n") + ":1: kv-dtype: expected");
  EXPECT_EQ(WithOrigin("'/some/where': no file", parsed), "--generation-config: '/some/where': no file");
  EXPECT_EQ(WithOrigin("max-rows: of the default", parsed), "max-rows: of the default");
  EXPECT_EQ(WithOrigin("devices: others", parsed), "devices: others");
}

TEST_F(ConfigTest, TheLogsFormatIsKnownWhateverElseIsWrong) {
  const auto asks = [](const Texts& arguments, const Environment& environment) {
    std::vector<const char*> argv = {"latentd"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    return AsksForJsonLog(static_cast<int>(argv.size()), argv.data(), environment);
  };
  const std::string file = File("log-format = 'json'\nmax-row = 1\n");
  EXPECT_TRUE(asks({"--log-format", "json", "--max-rows", "0"}, {}));
  EXPECT_TRUE(asks({"--colour", "--log-format=json"}, {{"LATENTD_LOG_FORMAT", "text"}}));
  EXPECT_TRUE(asks({}, {{"LATENTD_LOG_FORMAT", "json"}}));
  EXPECT_TRUE(asks({"--config", file}, {}));
  EXPECT_TRUE(asks({}, {{"LATENTD_CONFIG", file}}));
  EXPECT_FALSE(asks({"--config", file, "--log-format", "text"}, {}));
  EXPECT_FALSE(asks({"--config", file}, {{"LATENTD_LOG_FORMAT", "text"}}));
  EXPECT_FALSE(asks({"--log-format"}, {}));
  EXPECT_FALSE(asks({"--config", "/nowhere"}, {}));
}

TEST_F(ConfigTest, WhatAStrongerSourceOverridesIsCheckedAllTheSame) {
  EXPECT_THAT(Error({"--max-rows", "4"}, {{"LATENTD_MAX_ROWS", "zero"}}), HasSubstr("LATENTD_MAX_ROWS"));
}

TEST_F(ConfigTest, UnknownAndRepeatedNamesAreRefused) {
  EXPECT_THAT(Error({"--max-row", "4"}), HasSubstr("--max-row"));
  EXPECT_THAT(Error({"--max-rows", "4", "--max-rows", "5"}), HasSubstr("--max-rows: expected one value, found 2"));
  EXPECT_THAT(Error({"--foo", "3", "--bar", "4"}), HasSubstr("found --foo 3 --bar 4; see"));
  EXPECT_THAT(Error({"--config", File("max-row = 4\n")}), HasSubstr(":1: expected the name of a knob, found max-row"));
  EXPECT_THAT(Error({"--config", File("max-rows = 4\nmax-rows = 5\n")}), HasSubstr(":2:"));
  EXPECT_THAT(Error({"--config", File("max-rows = [4, 5]\n")}), HasSubstr(":1: max-rows: expected a number"));
  EXPECT_THAT(Error({"--config", File("[engine]\nmax-rows = 4\n")}), HasSubstr(":1: engine: expected a number"));
  EXPECT_THAT(Error({"--config", File("max-rows\n")}), HasSubstr("knobs.toml:1"));
}

TEST_F(ConfigTest, AFileThatCannotBeReadIsRefused) {
  EXPECT_THAT(Error({"--config", "/nowhere/knobs.toml"}), HasSubstr("/nowhere/knobs.toml"));
  EXPECT_THAT(Error({"--config", ""}), HasSubstr("--config: expected a file"));
  EXPECT_EQ(Parse({}, {{"LATENTD_CONFIG", ""}}).config.max_rows, Config().max_rows) << "an empty variable is none";
}

TEST_F(ConfigTest, AVariableNamesTheFileWhereNoFlagDoes) {
  const std::string file = File("max-rows = 2\n");
  EXPECT_EQ(Parse({}, {{"LATENTD_CONFIG", file}}).config.max_rows, 2);
  EXPECT_EQ(Parse({"--config", file}, {{"LATENTD_CONFIG", "/nowhere"}}).config.max_rows, 2);
}

TEST_F(ConfigTest, AnUnknownVariableIsWarnedOfOnly) {
  EXPECT_THAT(Parse({}, {{"LATENTD_MAX_ROW", "4"}}).warnings,
              ElementsAre("the variable LATENTD_MAX_ROW is ignored: no knob has this name"));
}

TEST_F(ConfigTest, KnobsThatContradictEachOtherAreRefused) {
  EXPECT_THAT(Error({"--kv-blocks", "12"}, {{"LATENTD_KV_BYTES", "4096"}}),
              HasSubstr("kv-blocks=12 and kv-bytes=4096 both say"));
  EXPECT_THAT(Error({"--listen", "127.0.0.1:1", "--admin-listen", "127.0.0.1:1"}),
              HasSubstr("listen and admin-listen are both 127.0.0.1:1"));
  EXPECT_THAT(Error({"--listen", "50051"}), HasSubstr("listen: expected HOST:PORT"));
  EXPECT_THAT(Error({"--listen", "unix:0"}), HasSubstr("listen: expected HOST:PORT, [IPV6]:PORT or unix:/PATH"));
  EXPECT_THAT(Error({"--admin-listen", "*:0"}), HasSubstr("admin-listen: expected"));
  EXPECT_THAT(Error({"--metrics-listen", "unix:/run/metrics"}), HasSubstr("metrics are served over TCP only"));
  EXPECT_THAT(Error({"--listen", "[::1]:9", "--metrics-listen", "[0:0::1]:9"}),
              HasSubstr("listen and metrics-listen are both [::1]:9"));
  EXPECT_THAT(Error({"--metrics-listen", "localhost:70000"}), HasSubstr("metrics-listen: expected HOST:PORT"));
  EXPECT_THAT(Error({"--kv-events-listen", "127.0.0.1:1"}), HasSubstr("kv-events-listen: expected tcp://HOST:PORT"));
  EXPECT_THAT(Error({"--kv-events-listen", "tcp://*:1"}), HasSubstr("kv-events-listen: expected HOST:PORT"));
  EXPECT_THAT(Error({"--kv-events-replay-listen", "tcp://127.0.0.1:1"}), HasSubstr("kv-events-listen publishes"));
  EXPECT_THAT(Error({"--kv-events-listen", "tcp://127.0.0.1:9090"}),
              HasSubstr("metrics-listen and kv-events-listen are both 127.0.0.1:9090"));
  Parse({"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"});
  EXPECT_THAT(std::string(TryParse({}, {}).status().message()), HasSubstr("LATENTD_MODEL"));
}

TEST_F(ConfigTest, ThePrintedConfigurationIsAFileWithTheSameValues) {
  Texts arguments = {"--print-config"};
  for (const Knob& knob : AllKnobs()) {
    if (knob.name != "model" && knob.name != "kv-bytes") arguments.push_back(Flag(knob, OtherValue(knob)));
  }
  for (const Texts& chosen : {arguments, Texts{"--print-config"}}) {
    const ParsedConfig printed = Parse(chosen);
    const ParsedConfig read = Parse({"--config", File(printed.answer)});
    for (const Knob& knob : AllKnobs()) {
      EXPECT_EQ(ValueOf(knob, read.config), ValueOf(knob, printed.config)) << knob.name;
    }
  }
}

TEST_F(ConfigTest, SourcesAndWhatIsDecidedLaterArePrinted) {
  const std::string text = Parse({"--print-config", "--max-rows", "4"}, {{"LATENTD_THREADS", "3"}}).answer;
  EXPECT_THAT(text, ContainsRegex("max-rows = 4 +# flag\n"));
  EXPECT_THAT(text, ContainsRegex("threads = 3 +# environment\n"));
  EXPECT_THAT(text, ContainsRegex("max-step-tokens = 0 +# default, decided at start: 512"));
}

TEST_F(ConfigTest, TheConfigurationIsPrintedWithoutAModel) {
  EXPECT_THAT(OrDie(TryParse({"--print-config"}, {})).answer, HasSubstr("model = ''"));
}

TEST_F(ConfigTest, HelpHasEachKnob) {
  const std::string help = Parse({"--help"}).answer;
  for (const Knob& knob : AllKnobs()) {
    EXPECT_THAT(help, HasSubstr(absl::StrCat("--", std::string(knob.name), " "))) << knob.name;
  }
}

TEST(Knobs, TheEngineHasAtMostTwentyFour) {
  const auto is_engines = [](const Knob& knob) { return knob.group == "Engine"; };
  EXPECT_LE(std::count_if(AllKnobs().begin(), AllKnobs().end(), is_engines), 24);
}

TEST(Knobs, DefaultsAreInTheirRange) {
  for (const Knob& knob : AllKnobs()) {
    Config config;
    EXPECT_TRUE(Assign(knob, ValueOf(knob, config), config).ok()) << knob.name;
  }
}

}  // namespace
}  // namespace latentd
