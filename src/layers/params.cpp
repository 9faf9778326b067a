// Finding, checking, merging and placing of weights.
#include "layers/params.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "tensor/buffer.h"

namespace millrace {

namespace {

// All rows in one host tensor: the part itself when there is one, a copy in `memory` when several.
// Without values when a part has none or is of another type than the first, which the list notes.
Tensor stack_rows(const Parameter& parameter, Buffer& memory) {
  if (parameter.parts.size() == 1) return parameter.parts.front();
  Tensor out = Tensor::contiguous(nullptr, parameter.format.dtype, parameter.shape);
  if (!std::ranges::all_of(parameter.parts, [&](const Tensor& part) {
        return part.data != nullptr && part.dtype == parameter.format.dtype;
      }))
    return out;
  memory = Buffer::host(out.bytes());
  out.data = memory.data();
  auto* to = static_cast<std::byte*>(out.data);
  for (const Tensor& part : parameter.parts) {
    const auto bytes = part.as<std::byte>();
    std::memcpy(to, bytes.data(), bytes.size());
    to += bytes.size();
  }
  return out;
}

}  // namespace

int64_t ParameterList::numel() const {
  int64_t total = 0;
  for (const Parameter& parameter : parameters) total += parameter.numel();
  return total;
}

int64_t ParameterList::bytes() const {
  int64_t total = 0;
  for (const Parameter& parameter : parameters) total += parameter.bytes();
  return total;
}

void ParameterList::require_complete(const WeightSource& source,
                                     const std::vector<std::string>& ignorable) const {
  std::vector<std::string> found = problems;
  for (const std::string& name : source.names()) {
    const bool ignored = std::ranges::any_of(
        ignorable, [&](const std::string& prefix) { return name.starts_with(prefix); });
    if (!used.contains(name) && !ignored) found.push_back(fmt::format("unexpected: {}", name));
  }
  if (found.empty()) return;
  std::string text =
      fmt::format("the weights do not fit the model's config ({} problems):", found.size());
  for (const std::string& problem : found) text += "\n  " + problem;
  throw Error(ErrorCode::kCorrupt, text,
              "check that config.json and the safetensors files belong together");
}

Params Params::operator/(std::string_view name) const {
  Params child = *this;
  child.canonical_ += std::string(name) + ".";
  child.found_as_ += std::string(name) + ".";
  return child;
}

Params Params::within_optional(std::string_view name) const {
  Params inner = *this;
  if (source_->naming() == WeightNaming::kCheckpoint && has(name))
    inner.found_as_ += std::string(name) + ".";
  return inner;
}

bool Params::has(std::string_view name) const {
  const std::string path = found_as(name);
  return std::ranges::any_of(source_->names(), [&](const std::string& candidate) {
    return candidate == path || candidate.starts_with(path + ".");
  });
}

Tensor Params::find(const std::string& name, const Shape& shape) const {
  const Tensor absent = Tensor::contiguous(nullptr, DType::kF32, shape);
  const auto found = source_->find(name, shape);
  if (!found) {
    list_->problems.push_back(fmt::format("missing: {} {}", name, to_string(shape)));
    return absent;
  }
  list_->used.insert(name);
  if (found->shape != shape) {
    list_->problems.push_back(fmt::format("misshaped: {} is {}, the config asks for {}", name,
                                          to_string(found->shape), to_string(shape)));
    return absent;
  }
  if (found->dtype != DType::kF32 && found->dtype != DType::kF16 && found->dtype != DType::kBF16) {
    list_->problems.push_back(fmt::format("wrong type: {} is {}, allowed are F32, F16 and BF16",
                                          name, to_string(found->dtype)));
    return absent;
  }
  return *found;
}

Parameter Params::gather(std::string_view merged, const std::vector<LinearPart>& parts,
                         std::string_view leaf, int64_t columns) const {
  const auto shape_of = [&](int64_t rows) { return columns ? Shape{rows, columns} : Shape{rows}; };
  int64_t rows = 0;
  for (const LinearPart& part : parts) rows += part.rows;
  const size_t known_problems = list_->problems.size();
  Parameter parameter;
  parameter.name = fmt::format("{}.{}", canonical(merged), leaf);
  parameter.shape = shape_of(rows);
  if (source_->naming() == WeightNaming::kCanonical) {
    parameter.parts.push_back(find(fmt::format("{}.{}", found_as(merged), leaf), parameter.shape));
  } else {
    for (const LinearPart& part : parts) {
      parameter.parts.push_back(
          find(fmt::format("{}.{}", found_as(part.name), leaf), shape_of(part.rows)));
    }
  }
  parameter.format.dtype = parameter.parts.front().dtype;
  // A stand-in has a type of its own, which is no further problem.
  const bool one_type = std::ranges::all_of(
      parameter.parts, [&](const Tensor& part) { return part.dtype == parameter.format.dtype; });
  if (!one_type && list_->problems.size() == known_problems) {
    list_->problems.push_back(
        fmt::format("mixed types: the parts of {} are not of one type", parameter.name));
  }
  list_->parameters.push_back(parameter);
  return parameter;
}

Tensor Params::tensor(std::string_view name, const Shape& shape) const {
  const Tensor found = find(found_as(name), shape);
  list_->parameters.push_back({.name = canonical(name),
                               .shape = shape,
                               .format = {.dtype = found.dtype},
                               .parts = {found}});
  return ops_->place(found);
}

LayerNorm Params::layer_norm(std::string_view name, int64_t features, float eps) const {
  const Params module = *this / name;
  return {.weight = module.tensor("weight", {features}),
          .bias = module.tensor("bias", {features}),
          .eps = eps};
}

Linear Params::linear(std::string_view name, int64_t out_features, int64_t in_features) const {
  return merged_linear(name, {{.name = std::string(name), .rows = out_features}}, in_features);
}

Linear Params::merged_linear(std::string_view name, const std::vector<LinearPart>& parts,
                             int64_t in_features) const {
  const Parameter weight = gather(name, parts, "weight", in_features);
  const Parameter bias = gather(name, parts, "bias", 0);
  Buffer weight_memory;
  Buffer bias_memory;
  Linear linear;
  linear.weight = stack_rows(weight, weight_memory);
  linear.bias = stack_rows(bias, bias_memory);
  linear.format = weight.format;
  linear.parts = parts;
  ops_->prepare(linear);
  return linear;
}

}  // namespace millrace
