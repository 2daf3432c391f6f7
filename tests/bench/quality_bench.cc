// What each format of activations and of the cache costs in quality: perplexity, the direction of the logits, and how
// often the likeliest token stays the same, all against fp32 in both. Two tables as docs/numerics.md has them: of the
// tales that the bundled model did not train on, and of this repository's pages. From the repository's root:
// quality_bench [model directory …]; models after the first, say quantised copies, are compared with the first's fp32.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/load/choose_numerics.h"
#include "engine/load/model_name.h"
#include "engine/text/tokenizer/tokenizer.h"
#include "tests/support/model_session.h"
#include "tests/support/or_die.h"

namespace latentd {
namespace {

const char* const kBundledModel = "models/tiny-tales";
constexpr size_t kDocumentTokens = 512;
constexpr size_t kPromptTokens = 32;
constexpr int kAnswerTokens = 64;

using Document = std::vector<int32_t>;

struct Text {
  std::string name;
  std::vector<Document> documents;
};

// The tokens of a prompt, up to the length of a document.
Document Tokenize(const Tokenizer& tokenizer, const std::string& text) {
  Document ids = tokenizer.frame().before;
  for (const int32_t id : OrDie(tokenizer.Encode(text, SpecialTokens::kAsText))) {
    if (ids.size() < kDocumentTokens) ids.push_back(id);
  }
  return ids;
}

// By way of their text: another model has other tokens.
Text HeldTales(const Tokenizer& tokenizer) {
  const auto bundled = OrDie(Tokenizer::Load(kBundledModel));
  std::ifstream file("tests/data/tiny-tales/goldens-fp8.json");
  const nlohmann::json goldens = nlohmann::json::parse(file);
  Text text{.name = "held tales", .documents = {}};
  for (const nlohmann::json& document : goldens["held_text"]["documents"]) {
    const auto ids = document["ids"].get<Document>();
    text.documents.push_back(Tokenize(tokenizer, bundled->Decode(ids, SpecialText::kSkip)));
  }
  return text;
}

Text RepositoryPages(const Tokenizer& tokenizer) {
  std::vector<std::filesystem::path> pages = {"README.md", "STYLE.md"};
  for (const auto& entry : std::filesystem::directory_iterator("docs")) {
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  }
  std::sort(pages.begin(), pages.end());
  Text text{.name = "this repository's pages", .documents = {}};
  for (const std::filesystem::path& page : pages) {
    std::ifstream file(page);
    text.documents.push_back(Tokenize(tokenizer, {std::istreambuf_iterator<char>(file), {}}));
  }
  return text;
}

struct Formats {
  ActivationFormat activations = ActivationFormat::kF32;
  LatentFormat latents = LatentFormat::kF32;
};

struct TestedModel {
  std::string directory;
  std::string quantization;

  ModelSession Session(const Formats& formats) const {
    return {directory,
            {.num_threads = static_cast<int>(std::thread::hardware_concurrency()),
             .max_tokens = kDocumentTokens,
             .max_rows = 1,
             .max_logit_rows = kDocumentTokens,
             .max_context = 2 * kDocumentTokens,
             .latents = formats.latents,
             .activations = formats.activations}};
  }
  std::string Label() const { return ModelName(directory) + ", " + quantization; }
  std::vector<Formats> AllFormats() const {
    const Backend cpu = OrDie(MakeCpuBackend(1));
    std::vector<Formats> all;
    for (const ActivationFormat activations : cpu.ops->activation_formats()) {
      if (activations == ActivationFormat::kE4M3 && !quantization.starts_with("fp8")) continue;
      for (const LatentFormat latents : cpu.ops->latent_formats(activations)) all.push_back({activations, latents});
    }
    return all;
  }
};

TestedModel Open(const std::string& directory) {
  const ModelConfig config = OrDie(LoadModelConfig(directory));
  return {directory, QuantizationOf(OrDie(Checkpoint::Open(directory, config)), config)};
}

// One text under some formats beside the same text under fp32.
class Comparison {
 public:
  void Add(const Document& ids, const LogitRows& logits, const LogitRows& expected) {
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      loss_ += Loss(logits[i], ids[i + 1]);
      expected_loss_ += Loss(expected[i], ids[i + 1]);
      const double cosine = Cosine(logits[i], expected[i]);
      cosine_ += cosine;
      least_cosine_ = std::min(least_cosine_, cosine);
      same_ += ArgMax(logits[i]) == ArgMax(expected[i]) ? 1 : 0;
      ++positions_;
    }
  }
  void AddAnswer(const Document& answer, const Document& expected) {
    const size_t shorter = std::min(answer.size(), expected.size());
    const auto first_other =
        std::mismatch(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(shorter), answer.begin()).first;
    answer_tokens_ += static_cast<double>(expected.size());
    same_answer_tokens_ += static_cast<double>(first_other - expected.begin());
  }

  void PrintRow(const TestedModel& model, const Formats& formats) const {
    const auto count = static_cast<double>(positions_);
    std::printf("| %s | %s | %s | %.4f | %+.3f %% | %.6f | %.4f | %.2f %% | %.0f %% |\n", model.Label().c_str(),
                std::string(NameOf(formats.activations)).c_str(), std::string(NameOf(formats.latents)).c_str(),
                std::exp(loss_ / count), 100.0 * std::expm1((loss_ - expected_loss_) / count), cosine_ / count,
                least_cosine_, 100.0 * static_cast<double>(same_) / count,
                100.0 * same_answer_tokens_ / answer_tokens_);
    std::fflush(stdout);
  }

 private:
  static double Loss(const std::vector<float>& logits, int32_t next) {
    const double top = *std::max_element(logits.begin(), logits.end());
    const double sum = std::accumulate(logits.begin(), logits.end(), 0.0,
                                       [top](double all, float logit) { return all + std::exp(double{logit} - top); });
    return top + std::log(sum) - double{logits[static_cast<size_t>(next)]};
  }
  static double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
    double dot = 0.0, squares_a = 0.0, squares_b = 0.0;
    for (size_t i = 0; i < a.size(); ++i) {
      dot += double{a[i]} * double{b[i]};
      squares_a += double{a[i]} * double{a[i]};
      squares_b += double{b[i]} * double{b[i]};
    }
    return dot / std::sqrt(squares_a * squares_b);
  }

  double loss_ = 0.0, expected_loss_ = 0.0, cosine_ = 0.0, least_cosine_ = 1.0;
  double answer_tokens_ = 0.0, same_answer_tokens_ = 0.0;
  size_t positions_ = 0, same_ = 0;
};

// Two models are in memory at a time, and two documents' logits.
Comparison Compare(ModelSession& session, ModelSession& exact, const Text& text) {
  Comparison comparison;
  for (const Document& ids : text.documents) {
    const std::vector<int32_t> positions = AllPositions(ids.size());
    comparison.Add(ids, session.Run(ids, positions), exact.Run(ids, positions));
  }
  for (const Document& ids : text.documents) {
    const auto prompt = std::span(ids).first(std::min(ids.size(), kPromptTokens));
    const int32_t stop_id = exact.config().eos_ids.empty() ? -1 : exact.config().eos_ids.front();
    comparison.AddAnswer(session.Greedy(prompt, kAnswerTokens, stop_id), exact.Greedy(prompt, kAnswerTokens, stop_id));
  }
  return comparison;
}

void PrintTable(const Text& text, const std::vector<TestedModel>& models) {
  const size_t tokens = std::accumulate(text.documents.begin(), text.documents.end(), size_t{0},
                                        [](size_t sum, const Document& ids) { return sum + ids.size() - 1; });
  std::printf("\n%s: %zu documents, %zu tokens to foresee\n\n", text.name.c_str(), text.documents.size(), tokens);
  std::printf(
      "| model | activations | cache | perplexity | change | mean cosine | least | same likeliest | same greedy |\n"
      "|---|---|---|---|---|---|---|---|---|\n");
  for (const TestedModel& model : models) {
    for (const Formats& formats : model.AllFormats()) {
      ModelSession exact = models.front().Session({}), session = model.Session(formats);
      Compare(session, exact, text).PrintRow(model, formats);
    }
  }
}

int Main(const std::vector<std::string>& directories) {
  std::vector<TestedModel> models;
  for (const std::string& directory : directories) models.push_back(Open(directory));
  const auto tokenizer = OrDie(Tokenizer::Load(directories.front()));
  std::printf("%s; changes, cosines and equal tokens are against its fp32 activations and cache.\n",
              directories.front().c_str());
  std::printf(
      "\"same likeliest\": of all positions; \"same greedy\": of answers of %d tokens to %zu-token prompts, up to "
      "the first that differs.\n",
      kAnswerTokens, kPromptTokens);
  for (const Text& text : {HeldTales(*tokenizer), RepositoryPages(*tokenizer)}) PrintTable(text, models);
  return 0;
}

}  // namespace
}  // namespace latentd

int main(int argc, char** argv) {
  std::vector<std::string> directories(argv + 1, argv + argc);
  if (directories.empty()) directories.emplace_back(latentd::kBundledModel);
  return latentd::Main(directories);
}
