#include "base/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace latentd {
namespace {

constexpr size_t kLookedAt = 1024;  // a pointer is shorter, and what else is told apart begins with it
constexpr std::string_view kLfs = "version https://git-lfs.github.com/spec/";
constexpr std::string_view kLfsSize = "\nsize ";

// The digits behind "size ", in groups of three.
std::string SizeOfPointer(std::string_view pointer) {
  const size_t at = pointer.find(kLfsSize);
  if (at == std::string_view::npos) return {};
  std::string_view digits = pointer.substr(at + kLfsSize.size());
  digits = digits.substr(0, std::min(digits.find_first_not_of("0123456789"), digits.size()));
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped.empty() ? "" : " of " + grouped + " bytes";
}

bool BeginsWith(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         std::equal(lower_case.begin(), lower_case.end(), text.begin(), [](char wanted, char found) {
           return static_cast<unsigned char>(wanted) == std::tolower(static_cast<unsigned char>(found));
         });
}

struct Beginning {
  std::string_view text;  // in lower case
  std::string_view what;
};
constexpr std::array kPages = {Beginning{"<!doctype html", "an HTML page"}, Beginning{"<html", "an HTML page"},
                               Beginning{"<?xml", "an XML page"}};
// Pages that servers answer in place of a file, as text.
constexpr std::array<std::string_view, 8> kAnswers = {"entry not found",
                                                      "repository not found",
                                                      "invalid username or password",
                                                      "404: not found",
                                                      "not found",
                                                      "access to model",
                                                      "unauthorized",
                                                      "{\"error\":"};
constexpr std::array kContainers = {Beginning{"gguf", "a GGUF file"}, Beginning{"pk\x03\x04", "a zip archive"},
                                    Beginning{"\x89hdf\r\n", "an HDF5 file"}};
// The numbers that archives and compressed files begin with.
constexpr std::array kPacked = {Beginning{"\x1f\x8b\x08", "a gzip file"},
                                Beginning{"\xfd"
                                          "7zxz",
                                          "an xz file"},
                                Beginning{"\x28\xb5\x2f\xfd", "a zstd file"},
                                Beginning{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
                                Beginning{"rar!\x1a", "a RAR archive"}};

// Behind its name stands how large its blocks are.
bool IsBzip2(std::string_view content) {
  return content.starts_with("BZh") && content.size() > 3 && content[3] >= '1' && content[3] <= '9' &&
         content.substr(4).starts_with("1AY&SY");
}

// Empty: by none of them.
std::string_view PackedBy(std::string_view content) {
  if (IsBzip2(content)) return "a bzip2 file";
  for (const Beginning& packed : kPacked) {
    if (BeginsWith(content, packed.text)) return packed.what;
  }
  return {};
}

// A safetensors file begins with its header's length, which may be any number, and then the header.
bool IsSafetensors(std::string_view content) { return content.size() > 8 && content[8] == '{'; }

}  // namespace

std::string NotTheFile(std::string_view content) {
  if (content.starts_with(kLfs)) {
    return "a git-lfs pointer in place of the file" + SizeOfPointer(content.substr(0, kLookedAt)) +
           "; fetch the file itself with 'git lfs pull' or 'hf download'";
  }
  for (const Beginning& container : kContainers) {
    if (BeginsWith(content, container.text)) {
      return std::string(container.what) + "; is it under a wrong name?";
    }
  }
  if (const std::string_view packed = PackedBy(content); !packed.empty() && !IsSafetensors(content)) {
    return std::string(packed) + "; unpack it, and put the file that is in it in its place";
  }
  std::string_view text = content.substr(0, kLookedAt);
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n\xEF\xBB\xBF"), text.size()));
  for (const Beginning& page : kPages) {
    if (BeginsWith(text, page.text)) {
      return std::string(page.what) + ", as a download leaves it that did not succeed; fetch the file again";
    }
  }
  if (content.size() > kLookedAt) return {};
  for (const std::string_view answer : kAnswers) {
    if (BeginsWith(text, answer)) return "a server's answer that there was an error; fetch the file again";
  }
  return {};
}

}  // namespace latentd
