// Text in and out of token ids, in bytes per second of one thread's own time: the bundled model's tokenizer, one in
// tiktoken.model, and DeepSeek-V3's where the goldens are; and texts made to be slow. BM_Scan is the machine's floor:
// every byte looked at once.
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "engine/text/answer/detokenizer.h"
#include "engine/text/answer/stop_matcher.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/engine/text/tokenizer/golden_files.h"
#include "tests/support/or_die.h"
#include "tests/support/shared_goldens.h"
#include "tests/support/temporary_directory.h"

namespace latentd {
namespace {

constexpr size_t kTextBytes = 1 << 20;

constexpr const char* kChinese =
    "从前有一个小女孩,她很喜欢在外面玩。有一天,她沿着河边走了很远,看见一只受伤的鸟躺在草丛里。她小心地把它捧起来,"
    "带回家里,用温水洗净它的翅膀。祖母说:“善良的人总会遇到善良的事。”几个星期以后,鸟儿又能飞了,可是它没有离开,"
    "每天早晨都在窗前唱歌。深度学习模型把文字切分成词元,再把每个词元变成一个整数;分词的速度取决于正则表达式和查表。"
    "二〇二四年,北京的冬天比往年更冷,湖面结了厚厚的冰,许多人在上面滑冰、放风筝,直到天黑才回家吃晚饭。\n";

std::string Repeat(std::string_view part) {
  std::string text;
  while (text.size() < kTextBytes) text += part;
  return text;
}

std::string File(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void CountBytes(benchmark::State& state, size_t bytes) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

void BM_Scan(benchmark::State& state) {
  const std::string text = Repeat(File("README.md"));
  for (auto _ : state) {
    uint64_t sum = 0;
    for (const char byte : text) sum += static_cast<uint8_t>(byte);
    benchmark::DoNotOptimize(sum);
  }
  CountBytes(state, text.size());
}
BENCHMARK(BM_Scan);

void Load(benchmark::State& state, const std::filesystem::path& directory) {
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::Load(directory));
}

void Encode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.Encode(text, SpecialTokens::kRecognize));
  CountBytes(state, text.size());
}

void StreamOut(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<int32_t> ids = *tokenizer.Encode(text, SpecialTokens::kRecognize);
  const std::vector<std::string> stops = {"\n\nUser:", "The end."};
  for (auto _ : state) {
    Detokenizer detokenizer(tokenizer, SpecialText::kSkip);
    StopMatcher matcher(stops, StopText::kExclude);
    for (const int32_t id : ids) benchmark::DoNotOptimize(matcher.Append(detokenizer.Append(id)));
  }
  CountBytes(state, text.size());
}

struct NamedText {
  const char* name;
  std::string text;
};

void RegisterAll(const std::string& name, const std::filesystem::path& directory, const std::vector<NamedText>& texts) {
  const std::shared_ptr<const Tokenizer> tokenizer = OrDie(Tokenizer::Load(directory));
  benchmark::RegisterBenchmark(("Load/" + name).c_str(), [directory](benchmark::State& state) {
    Load(state, directory);
  })->Unit(benchmark::kMillisecond);
  for (const NamedText& text : texts) {
    benchmark::RegisterBenchmark(("Encode/" + name + "/" + text.name).c_str(),
                                 [tokenizer, text](benchmark::State& state) { Encode(state, *tokenizer, text.text); });
  }
  benchmark::RegisterBenchmark(
      ("StreamOut/" + name).c_str(),
      [tokenizer, text = texts[0].text](benchmark::State& state) { StreamOut(state, *tokenizer, text); });
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  using namespace latentd;
  const std::vector<NamedText> texts = {
      {"english", Repeat(File("README.md"))},
      {"chinese", Repeat(kChinese)},
      {"code", Repeat(File("engine/text/tokenizer/tokenizer.cc") + File("tests/tidy.py"))},
      {"one_letter", Repeat("a")},
      {"blanks", Repeat(" ")},
      {"digits", Repeat("1")},
      {"marks", Repeat("\u0301")},
      {"one_han", Repeat("中")},
  };
  RegisterAll("tiny_tales", "models/tiny-tales", texts);
  RegisterAll("tiktoken", "tests/data/tiktoken", texts);
  const std::filesystem::path packed = SharedGoldens("tokenizers/deepseek_v3");
  const TemporaryDirectory unpacked;
  if (AreThere(packed)) {
    WriteFile(unpacked.path() / "tokenizer.json", ReadMaybeCompressed(packed / "tokenizer.json.xz"));
    std::filesystem::copy(packed / "tokenizer_config.json", unpacked.path());
    RegisterAll("deepseek_v3", unpacked.path(), texts);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
