// A JSON file of a model directory, read with suspicion: the first thing that is not as expected is remembered as a
// one-line status, everything asked for after it is empty. So a reader asks for all it wants and checks once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <absl/status/statusor.h>
#include <simdjson.h>

namespace latentd {

class JsonFile {
 public:
  using Element = simdjson::dom::element;
  using Object = simdjson::dom::object;
  using Array = simdjson::dom::array;

  // NOT_FOUND if there is no such file, INVALID_ARGUMENT if it is no JSON.
  static absl::StatusOr<std::unique_ptr<JsonFile>> Load(const std::filesystem::path& path);

  const Element& root() const { return root_; }
  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

  // In these `where` names the value in messages, e.g. "model.merges[3]".
  void Refuse(std::string_view where, std::string_view expected, std::string_view found);
  void Refuse(std::string_view where, std::string_view expected, Element found);
  std::optional<Object> AsObject(Element element, std::string_view where);
  std::optional<Array> AsArray(Element element, std::string_view where);
  std::string_view AsString(Element element, std::string_view where);
  int32_t AsInteger(Element element, std::string_view where, int32_t limit);  // in [0, limit)

  // Members of an object; null counts as absent.
  std::optional<Element> Find(Object object, std::string_view key) const;
  std::optional<Element> Require(Object object, std::string_view key, std::string_view where);
  std::string_view RequireString(Object object, std::string_view key, std::string_view where);
  bool Flag(Object object, std::string_view key, bool absent, std::string_view where);

 private:
  explicit JsonFile(const std::filesystem::path& path) : path_(path) {}
  absl::Status Parse();

  const std::filesystem::path path_;
  simdjson::dom::parser parser_;
  Element root_;
  absl::Status status_;
};

// "where.key", or the key alone at the root.
std::string MemberName(std::string_view where, std::string_view key);

}  // namespace latentd
