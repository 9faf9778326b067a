// What a config.json may say a network is made of.
#pragma once

#include <cstdint>

namespace millrace {

// Far above every published model, and small enough that no product of them overflows.
inline constexpr int64_t kMaxVocab = int64_t{1} << 28;
inline constexpr int64_t kMaxPositions = int64_t{1} << 24;
inline constexpr int64_t kMaxHidden = int64_t{1} << 17;
inline constexpr int64_t kMaxIntermediate = int64_t{1} << 20;
inline constexpr int64_t kMaxLayers = 10'000;

}  // namespace millrace
