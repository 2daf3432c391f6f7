#include "server/api/sampling_numbers.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <variant>

#include <google/protobuf/descriptor.h>

#include "base/check.h"
#include "base/number_text.h"
#include "engine/model/config/sampling_ranges.h"

namespace latentd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

enum class Told : uint8_t { kAlways, kWhereOn };  // in the log line of the defaults

// A float, or a count such as top_k.
using InRule = std::variant<float SamplingRule::*, int SamplingRule::*>;
// A float's range, or the most that a count may be.
using Allowed = std::variant<SamplingRange, uint32_t>;
using InFile = std::variant<std::optional<double> GenerationDefaults::*, std::optional<int> GenerationDefaults::*>;

struct SamplingNumber {
  const char* name;  // of the field, in both messages
  InRule in_rule;
  InFile in_file;
  float off;  // what neither request nor file mention; changes nothing
  Allowed allowed;
  Told told = Told::kWhereOn;

  bool is_count() const { return std::holds_alternative<int SamplingRule::*>(in_rule); }
};

using Rule = SamplingRule;
using File = GenerationDefaults;

// In the order in which mistakes are told.
constexpr SamplingNumber kNumbers[] = {
    {"temperature", &Rule::temperature, &File::temperature, 1.0f, kTemperatures, Told::kAlways},
    {"top_p", &Rule::top_p, &File::top_p, 1.0f, kTopPs, Told::kAlways},
    {"top_k", &Rule::top_k, &File::top_k, 0.0f, uint32_t{kMaxTopK}},
    {"min_p", &Rule::min_p, &File::min_p, 0.0f, kMinPs},
    {"presence_penalty", &Rule::presence_penalty, &File::presence_penalty, 0.0f, kPresencePenalties},
    {"frequency_penalty", &Rule::frequency_penalty, &File::frequency_penalty, 0.0f, kFrequencyPenalties},
    {"repetition_penalty", &Rule::repetition_penalty, &File::repetition_penalty, 1.0f, kRepetitionPenalties},
};

const FieldDescriptor* FieldOf(const Message& message, const SamplingNumber& number) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(number.name);
  CHECK(field != nullptr);
  return field;
}

bool IsSet(const Message& message, const SamplingNumber& number) {
  return message.GetReflection()->HasField(message, FieldOf(message, number));
}

float FloatOf(const Message& message, const SamplingNumber& number) {
  return message.GetReflection()->GetFloat(message, FieldOf(message, number));
}

uint32_t CountOf(const Message& message, const SamplingNumber& number) {
  return message.GetReflection()->GetUInt32(message, FieldOf(message, number));
}

void SetFloat(const SamplingNumber& number, float value, Message* message) {
  message->GetReflection()->SetFloat(message, FieldOf(*message, number), value);
}

void SetCount(const SamplingNumber& number, uint32_t value, Message* message) {
  message->GetReflection()->SetUInt32(message, FieldOf(*message, number), value);
}

// A default with presence may be absent from a model's description.
float DefaultOf(const v1::SamplingDefaults& defaults, const SamplingNumber& number) {
  const bool is_absent = FieldOf(defaults, number)->has_presence() && !IsSet(defaults, number);
  return is_absent ? number.off : FloatOf(defaults, number);
}

}  // namespace

void CheckNumbers(const v1::Sampling& sampling, FieldChecks& checks) {
  for (const SamplingNumber& number : kNumbers) {
    if (!IsSet(sampling, number)) continue;
    const std::string field = std::string("sampling.") + number.name;
    if (number.is_count()) {
      checks.Range(field, CountOf(sampling, number), 0, std::get<uint32_t>(number.allowed));
    } else {
      checks.Within(field, FloatOf(sampling, number), std::get<SamplingRange>(number.allowed));
    }
  }
}

void ResolveNumbers(const v1::SamplingDefaults& defaults, v1::Sampling* sampling) {
  for (const SamplingNumber& number : kNumbers) {
    if (IsSet(*sampling, number)) continue;
    if (number.is_count()) {
      SetCount(number, CountOf(defaults, number), sampling);
    } else {
      SetFloat(number, DefaultOf(defaults, number), sampling);
    }
  }
}

SamplingRule RuleOf(const v1::Sampling& sampling) {
  SamplingRule rule{.seed = sampling.seed()};
  for (const SamplingNumber& number : kNumbers) {
    if (number.is_count()) {
      rule.*std::get<int SamplingRule::*>(number.in_rule) = static_cast<int>(CountOf(sampling, number));
    } else {
      rule.*std::get<float SamplingRule::*>(number.in_rule) = FloatOf(sampling, number);
    }
  }
  return rule;
}

void SetDefaultNumbers(const GenerationDefaults& generation, v1::SamplingDefaults* defaults) {
  for (const SamplingNumber& number : kNumbers) {
    if (number.is_count()) {
      const std::optional<int> count = generation.*std::get<std::optional<int> File::*>(number.in_file);
      SetCount(number, static_cast<uint32_t>(count.value_or(static_cast<int>(number.off))), defaults);
    } else {
      const std::optional<double> value = generation.*std::get<std::optional<double> File::*>(number.in_file);
      SetFloat(number, value ? static_cast<float>(*value) : number.off, defaults);
    }
  }
}

std::vector<std::string> DescribeNumbers(const v1::SamplingDefaults& defaults) {
  std::vector<std::string> parts;
  for (const SamplingNumber& number : kNumbers) {
    const float value = number.is_count() ? static_cast<float>(CountOf(defaults, number)) : DefaultOf(defaults, number);
    if (number.told == Told::kWhereOn && value == number.off) continue;
    parts.push_back(std::string(number.name) + "=" +
                    (number.is_count() ? NumberText(CountOf(defaults, number)) : NumberText(value)));
  }
  return parts;
}

}  // namespace latentd
