#include "engine/text/tokenizer/prompt_frame.h"

#include <optional>
#include <string>

#include <absl/strings/str_format.h>

#include "base/quoting.h"
#include "engine/text/tokenizer/vocabulary.h"

namespace latentd {
namespace {

using Element = JsonFile::Element;
using Object = JsonFile::Object;

constexpr int kMaxNestedSequences = 8;   // bounds the recursion
constexpr size_t kMaxFrameTokens = 256;  // of either side

class PostProcessorReader {
 public:
  explicit PostProcessorReader(JsonFile& json) : json_(json) {}

  PromptFrame Read(Element element) {
    ReadProcessor(element, "post_processor", 0);
    if (frame_.before.size() > kMaxFrameTokens || frame_.behind.size() > kMaxFrameTokens) {
      json_.Refuse("post_processor", absl::StrFormat("at most %d tokens on a side", kMaxFrameTokens), "more");
    }
    return std::move(frame_);
  }

 private:
  void ReadProcessor(Element element, const std::string& where, int depth) {
    const std::optional<Object> processor = json_.AsObject(element, where);
    if (!processor) return;
    const std::string_view type = json_.RequireString(*processor, "type", where);
    if (type == "ByteLevel") return;  // only offsets, which are not used
    if (type == "Sequence") return ReadSequence(*processor, where, depth);
    if (type == "TemplateProcessing") return ReadTemplate(*processor, where);
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      Surround(ReadPair(*processor, "cls", where), ReadPair(*processor, "sep", where));
    } else {
      json_.Refuse(MemberName(where, "type"),
                   "Sequence, TemplateProcessing, ByteLevel, BertProcessing or RobertaProcessing", QuotedExcerpt(type));
    }
  }

  void ReadSequence(Object sequence, const std::string& where, int depth) {
    if (depth >= kMaxNestedSequences) return json_.Refuse(where, "fewer nested sequences", "more");
    const std::string name = MemberName(where, "processors");
    const std::optional<Element> element = json_.Require(sequence, "processors", where);
    const auto parts = element ? json_.AsArray(*element, name) : std::nullopt;
    if (!parts) return;
    size_t index = 0;
    for (const Element part : *parts) ReadProcessor(part, absl::StrFormat("%s[%d]", name, index++), depth + 1);
  }

  // A processor surrounds what those before it made.
  void Surround(std::vector<int32_t> before, const std::vector<int32_t>& behind) {
    if (!json_.ok()) return;
    before.insert(before.end(), frame_.before.begin(), frame_.before.end());
    frame_.before = std::move(before);
    frame_.behind.insert(frame_.behind.end(), behind.begin(), behind.end());
  }

  // ["<s>", 1]
  std::vector<int32_t> ReadPair(Object processor, std::string_view key, const std::string& where) {
    const std::string name = MemberName(where, key);
    const std::optional<Element> element = json_.Require(processor, key, where);
    const auto pair = element ? json_.AsArray(*element, name) : std::nullopt;
    if (!pair) return {};
    Element id;
    if (pair->size() == 2 && pair->at(1).get(id) == simdjson::SUCCESS) {
      return {json_.AsInteger(id, name, Vocabulary::kMaxTokens)};
    }
    json_.Refuse(name, "a token and its id", *element);
    return {};
  }

  // {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [1]}}}
  void ReadTemplate(Object processor, const std::string& where) {
    const std::string name = MemberName(where, "single");
    const std::optional<Element> element = json_.Require(processor, "single", where);
    const auto pieces = element ? json_.AsArray(*element, name) : std::nullopt;
    if (!pieces) return;
    PromptFrame added;
    int num_texts = 0;
    for (const Element piece : *pieces) {
      const std::optional<Object> object = json_.AsObject(piece, name);
      if (!object) return;
      if (const auto special = json_.Find(*object, "SpecialToken")) {
        AppendSpecial(processor, *special, where, num_texts == 0 ? added.before : added.behind);
      } else if (json_.Find(*object, "Sequence")) {
        ++num_texts;
      } else {
        json_.Refuse(name, "SpecialToken or Sequence", "another piece");
      }
    }
    if (num_texts != 1) return json_.Refuse(name, "the text once", absl::StrFormat("it %d times", num_texts));
    Surround(std::move(added.before), added.behind);
  }

  void AppendSpecial(Object processor, Element special, const std::string& where, std::vector<int32_t>& ids) {
    const std::optional<Object> object = json_.AsObject(special, MemberName(where, "single"));
    if (!object) return;
    const std::string_view token = json_.RequireString(*object, "id", MemberName(where, "single"));
    const std::string name = MemberName(where, "special_tokens");
    const std::optional<Element> all = json_.Require(processor, "special_tokens", where);
    const auto table = all ? json_.AsObject(*all, name) : std::nullopt;
    const auto entry = table ? json_.Require(*table, token, name) : std::nullopt;
    const std::string path = absl::StrFormat("%s[%s]", name, QuotedExcerpt(token));
    const auto fields = entry ? json_.AsObject(*entry, path) : std::nullopt;
    const auto list = fields ? json_.Require(*fields, "ids", path) : std::nullopt;
    const auto array = list ? json_.AsArray(*list, path) : std::nullopt;
    if (!array) return;
    for (const Element id : *array) ids.push_back(json_.AsInteger(id, path, Vocabulary::kMaxTokens));
  }

  JsonFile& json_;
  PromptFrame frame_;
};

}  // namespace

PromptFrame ReadPostProcessor(JsonFile& json, JsonFile::Object root) {
  const std::optional<Element> element = json.Find(root, "post_processor");
  return element ? PostProcessorReader(json).Read(*element) : PromptFrame();
}

}  // namespace latentd
