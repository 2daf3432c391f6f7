// One rendering: its budget, its first error, the objects it owns. Everything that grows or loops asks it first, so a
// hostile template or conversation costs bounded time and memory. One thread, one Render call.
#pragma once

#include <cstddef>
#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "jinja/value.h"

namespace latentd::jinja {

struct For;

// Hugging Face's sandbox keeps a template from changing lists. Some published templates, such as Kimi-K2's, append to
// and pop from lists of their own, and fail there.
enum class ListChanges : uint8_t { kRefused, kOwnLists };

struct RenderLimits {
  // Text that the template prints, or that any one value holds. Far above what fits any model's context.
  size_t text_bytes = size_t{32} << 20;
  // One unit is an evaluated node, an eighth of a list item's share of memory, or eight bytes of text made or scanned.
  size_t work = size_t{1} << 26;
};

// Lists and objects deeper than this are refused: printing, comparing and freeing them recurses.
inline constexpr int kMaxValueDepth = 200;
// Evaluations inside each other: nested expressions and statements, macro calls, recursive loops.
inline constexpr int kMaxCallDepth = 500;

// The for statement that is running. Owned by the Runtime because the template may keep `loop` in a namespace.
struct Loop {
  Value list;
  const For* statement = nullptr;
  Scope* scope = nullptr;  // the scope around it
  int depth0 = 0;
  size_t index = 0;
  bool has_changed_value = false;
  Value changed_value;

  const std::vector<Value>& items() const { return list.items(); }
};

class Runtime {
 public:
  Runtime(const RenderLimits& limits, ListChanges list_changes, const std::tm& now)
      : limits_(limits), list_changes_(list_changes), now_(now) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // The first error ends the rendering: later ones are consequences and ignored. Both return undefined.
  Value Fail(const std::string& message);  // the status names the line
  // What Jinja has and we do not: a text in its place could differ from Jinja's.
  Value FailNotImplemented(std::string_view what);
  Value FailKey(const Value& value);                 // of a dict
  Value RaiseException(const std::string& message);  // the status carries exactly this message
  // What Python says when an undefined value is used as anything but nothing.
  Value FailUndefined(const Value& value);
  bool failed() const { return !status_.ok(); }
  const absl::Status& status() const { return status_; }
  void set_line(int line) { line_ = line; }
  int line() const { return line_; }

  // False, and failed(), when the budget is used up.
  bool Spend(size_t work);
  bool SpendBytes(size_t bytes) { return Spend(bytes / 8 + 1); }
  // To be asked before text of this size is made from something smaller.
  bool ReserveText(size_t bytes);

  // Calls a built-in. Text that it makes where request text is involved counts as request text, unless the
  // function says which parts are.
  Value Call(Function function, const Value& receiver, const Arguments& arguments);

  // Values with their size charged and their depth checked.
  Value Text(std::string text);
  Value Text(TracedText text);
  // `part` lies within the text of `whole`.
  Value Part(const Value& whole, std::string_view part);
  Value List(std::vector<Value> items);
  Value Tuple(std::vector<Value> items);
  Value MakeObject(Object object);
  Value MakeIterable(Iterable iterable);
  // What `filter` makes, which is a generator in Jinja: it fails when it is gone through, or never. A call that could
  // not be made fails at once.
  Value Lazily(Function filter, const Value& value, const Arguments& arguments);
  // To be asked before a generator is gone through. False, and failed(), where it fails.
  bool Resume(const Iterable& iterable);
  Value Generator(std::vector<Value> items) { return MakeIterable({.items = std::move(items)}); }

  // Both live as long as the Runtime.
  Object* NewNamespace();
  Loop* NewLoop();
  const std::tm& now() const { return now_; }
  const RenderLimits& limits() const { return limits_; }

 private:
  friend class Parameters;
  // `generator` goes through `source`, which may be one itself.
  Value Reading(const Value& source, const Value& generator);
  bool CheckDepth(int depth);

  RenderLimits limits_;
  ListChanges list_changes_;
  std::tm now_;
  bool makes_request_text_ = false;
  bool has_wrong_arguments_ = false;
  size_t spent_ = 0;
  int line_ = 0;
  absl::Status status_;
  std::deque<Object> namespaces_;
  std::deque<Loop> loops_;
};

}  // namespace latentd::jinja
