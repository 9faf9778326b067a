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

std::vector<std::string> ParameterList::all_problems(
    const WeightSource& source, const std::vector<std::string>& ignorable) const {
  std::vector<std::string> found = problems;
  for (const std::string& name : source.names()) {
    const bool ignored = std::ranges::any_of(ignorable, [&](const std::string& rule) {
      return rule.starts_with('*') ? name.ends_with(rule.substr(1)) : name.starts_with(rule);
    });
    if (!used.contains(name) && !ignored) found.push_back(fmt::format("unexpected: {}", name));
  }
  return found;
}

void ParameterList::require_complete(const WeightSource& source,
                                     const std::vector<std::string>& ignorable) const {
  const std::vector<std::string> found = all_problems(source, ignorable);
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

template <typename Found>
Parameter Params::gather(std::string_view merged, int64_t rows, const Leaf& leaf,
                         const Found& found) const {
  const size_t known_problems = list_->problems.size();
  Parameter parameter;
  parameter.name = fmt::format("{}.{}", canonical(merged), leaf.name);
  parameter.shape = leaf.columns ? Shape{rows, leaf.columns} : Shape{rows};
  if (source_->naming() == WeightNaming::kCanonical) {
    parameter.parts.push_back(
        find(fmt::format("{}.{}", found_as(merged), leaf.name), parameter.shape));
  } else {
    parameter.parts = found(leaf);
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

template <typename Found>
Linear Params::make_linear(std::string_view merged, const std::vector<LinearPart>& parts,
                           int64_t in_features, Bias with_bias, const Found& found) const {
  int64_t rows = 0;
  for (const LinearPart& part : parts) rows += part.rows;
  const Parameter weight = gather(merged, rows, {.name = "weight", .columns = in_features}, found);
  Buffer weight_memory;
  Buffer bias_memory;
  Linear linear;
  linear.weight = stack_rows(weight, weight_memory);
  if (with_bias == Bias::kYes)
    linear.bias = stack_rows(gather(merged, rows, {.name = "bias"}, found), bias_memory);
  linear.format = weight.format;
  linear.parts = parts;
  ops_->prepare(linear);
  return linear;
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

Tensor Params::table(std::string_view name, const Shape& shape) const {
  const Tensor found = find(found_as(name), shape);
  list_->parameters.push_back({.name = canonical(name),
                               .shape = shape,
                               .format = {.dtype = found.dtype},
                               .parts = {found}});
  return ops_->place_table(found);
}

RmsNorm Params::rms_norm(std::string_view name, int64_t features, float eps, float offset) const {
  return {.weight = (*this / name).tensor("weight", {features}), .eps = eps, .offset = offset};
}

Linear Params::linear(std::string_view name, int64_t out_features, int64_t in_features,
                      Bias bias) const {
  return merged_linear(name, {{.name = std::string(name), .rows = out_features}}, in_features,
                       bias);
}

Linear Params::merged_linear(std::string_view name, const std::vector<LinearPart>& parts,
                             int64_t in_features, Bias bias) const {
  return make_linear(name, parts, in_features, bias, [&](const Leaf& leaf) {
    std::vector<Tensor> found;
    for (const LinearPart& part : parts) {
      found.push_back(find(fmt::format("{}.{}", found_as(part.name), leaf.name),
                           leaf.columns ? Shape{part.rows, leaf.columns} : Shape{part.rows}));
    }
    return found;
  });
}

Linear Params::reordered_linear(std::string_view name, std::string_view source_name,
                                const std::vector<RowRange>& order, int64_t in_features,
                                Bias bias) const {
  int64_t rows = 0;
  for (const RowRange& range : order) rows += range.end - range.begin;
  const std::vector<LinearPart> parts = {{.name = std::string(name), .rows = rows}};
  return make_linear(name, parts, in_features, bias, [&](const Leaf& leaf) {
    const Tensor whole = find(fmt::format("{}.{}", found_as(source_name), leaf.name),
                              leaf.columns ? Shape{rows, leaf.columns} : Shape{rows});
    if (!whole.data) return std::vector<Tensor>{whole};
    std::vector<Tensor> found;
    for (const RowRange& range : order) found.push_back(whole.slice_rows(range.begin, range.end));
    return found;
  });
}

Linear Params::tied_linear(std::string_view name, const Shape& shape) const {
  Linear linear;
  const size_t known_problems = list_->problems.size();
  linear.weight = find(found_as(name), shape);
  list_->problems.resize(known_problems);  // what is wrong with it was noted the first time
  linear.format = {.dtype = linear.weight.dtype};
  linear.parts = {{.name = std::string(name), .rows = shape[0]}};
  ops_->prepare(linear);
  return linear;
}

}  // namespace millrace
