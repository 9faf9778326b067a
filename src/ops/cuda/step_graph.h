// StepGraph: the launches of a step, recorded once and replayed with one call.
#pragma once

#include <functional>

#include "ops/cuda/gpu_context.h"

namespace millrace::cuda {

class StepGraph {
 public:
  // Calls `launches`, which enqueues on the context's stream what must not wait, allocate or copy
  // from the host; it is recorded instead of run.
  StepGraph(const GpuContext& context, const std::function<void()>& launches);
  ~StepGraph();  // waits for the stream
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  // Enqueues all of it, with the arguments that the kernels were recorded with.
  void replay() const;

 private:
  const GpuContext& context_;
  CUgraphExec exec_ = nullptr;
};

}  // namespace millrace::cuda
