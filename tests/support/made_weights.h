// MadeWeights: the weights of tests/golden/decoders, made from their names as make_decoders.py
// does.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "layers/weight_source.h"
#include "tensor/buffer.h"

namespace millrace::test {

// All of them are F32. The tensors live as long as the source.
class MadeWeights : public WeightSource {
 public:
  explicit MadeWeights(const std::filesystem::path& directory) {
    const std::string file = (directory / "weights.json").string();
    const json::value recipes = json::parse(read_file(file), file);
    for (const auto& member : json::as_object(recipes, file)) {
      const json::Reader recipe(json::as_object(member.value(), file), file);
      tensors_.emplace(std::string(member.key()), make(recipe));
    }
  }

  std::optional<Tensor> find(const std::string& name, const Shape& /*expected*/) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? std::nullopt : std::optional(found->second);
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> names;
    for (const auto& [name, tensor] : tensors_) names.push_back(name);
    return names;
  }
  WeightNaming naming() const override { return WeightNaming::kCheckpoint; }

  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

 private:
  // FNV-1a, 64 bits.
  static uint64_t hash(std::string_view name) {
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    return h;
  }

  // The top 16 bits of SplitMix64, from -32768 on.
  static int32_t whole(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    x ^= x >> 31;
    return static_cast<int32_t>(x >> 48) - 32768;
  }

  Tensor make(const json::Reader& recipe) {
    std::vector<int64_t> sizes;
    for (const json::value& size : recipe.find("shape")->as_array())
      sizes.push_back(size.as_int64());
    const Shape shape{std::span<const int64_t>(sizes)};
    const int64_t columns = shape.rank() == 2 ? shape[1] : 1;
    const auto scale = static_cast<float>(*recipe.number("scale") / 32768);
    const auto mean = static_cast<float>(*recipe.number("mean"));
    const Buffer& memory = memory_.emplace_back(Buffer::host(shape.numel() * 4));
    auto* out = static_cast<float*>(memory.data());
    for (const json::value& part : recipe.find("rows")->as_array()) {
      const json::array& range = part.as_array();
      const uint64_t first = hash(range[0].as_string());
      for (int64_t i = range[1].as_int64() * columns; i < range[2].as_int64() * columns; ++i)
        *out++ = static_cast<float>(whole(first + static_cast<uint64_t>(i))) * scale + mean;
    }
    return Tensor::contiguous(memory.data(), DType::kF32, shape);
  }

  std::deque<Buffer> memory_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace millrace::test
