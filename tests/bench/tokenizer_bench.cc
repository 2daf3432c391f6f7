// Text in and out of token ids with the bundled model's tokenizer and one in tiktoken.model, in bytes per second of one
// thread.
#include <benchmark/benchmark.h>

#include "engine/text/detokenizer.h"
#include "engine/text/stop_matcher.h"
#include "engine/text/tokenizer.h"

namespace latentd {
namespace {

constexpr size_t kTextBytes = 256 << 10;

const Tokenizer& TinyTales() {
  static const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::Load("models/tiny-tales");
  return *tokenizer;
}

std::string Repeat(std::string_view sentence) {
  std::string text;
  while (text.size() < kTextBytes) text += sentence;
  return text;
}

void CountBytes(benchmark::State& state, size_t bytes) {
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

void BM_Load(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::Load("models/tiny-tales"));
}
BENCHMARK(BM_Load)->Unit(benchmark::kMillisecond);

void BM_Encode(benchmark::State& state, std::string_view sentence) {
  const std::string text = Repeat(sentence);
  for (auto _ : state) benchmark::DoNotOptimize(TinyTales().Encode(text, SpecialTokens::kRecognize));
  CountBytes(state, text.size());
}
BENCHMARK_CAPTURE(BM_Encode, english, "Once upon a time, there was a little girl who liked to play outside. ");
BENCHMARK_CAPTURE(BM_Encode, code, "for (int i = 0; i < 10; ++i) {\n    total += values[i];\n}\n");
BENCHMARK_CAPTURE(BM_Encode, chinese, "从前有一个小女孩,她很喜欢在外面玩。");
BENCHMARK_CAPTURE(BM_Encode, one_word, "a");

void BM_EncodeTiktoken(benchmark::State& state) {
  const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::Load("tests/data/tiktoken");
  const std::string text = Repeat("Once upon a time, there was a little girl who liked to play outside. ");
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->Encode(text, SpecialTokens::kRecognize));
  CountBytes(state, text.size());
}
BENCHMARK(BM_EncodeTiktoken);

void BM_StreamOut(benchmark::State& state) {
  const std::string text = Repeat("Once upon a time, there was a little girl who liked to play outside. ");
  const std::vector<int32_t> ids = *TinyTales().Encode(text, SpecialTokens::kRecognize);
  const std::vector<std::string> stops = {"\n\nUser:", "The end."};
  for (auto _ : state) {
    Detokenizer detokenizer(TinyTales(), SpecialText::kSkip);
    StopMatcher matcher(stops, StopText::kExclude);
    for (const int32_t id : ids) benchmark::DoNotOptimize(matcher.Append(detokenizer.Append(id)));
  }
  CountBytes(state, text.size());
}
BENCHMARK(BM_StreamOut);

}  // namespace
}  // namespace latentd

BENCHMARK_MAIN();
