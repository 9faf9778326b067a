// "Did you mean": the known word that a misspelt one stands for.
#pragma once

#include <string_view>
#include <vector>

namespace millrace {

// The candidate fewest edits away, where that is near enough to be a slip; else empty.
std::string_view nearest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace millrace
