// Stream capture into a CUDA graph.
#include "ops/cuda/step_graph.h"

namespace millrace::cuda {

StepGraph::StepGraph(const GpuContext& context, const std::function<void()>& launches)
    : context_(context) {
  const Driver& driver = context_.driver();
  CUgraph graph = nullptr;
  // Other threads may allocate and wait meanwhile.
  MILLRACE_CUDA(driver, capture_begin(context_.stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  try {
    launches();
  } catch (...) {
    driver.capture_end(context_.stream(), &graph);
    if (graph) driver.graph_destroy(graph);
    throw;
  }
  MILLRACE_CUDA(driver, capture_end(context_.stream(), &graph));
  const CUresult result = driver.graph_instantiate(&exec_, graph, 0);
  driver.graph_destroy(graph);
  driver.check(result, "graph_instantiate");
}

StepGraph::~StepGraph() {
  context_.driver().stream_synchronize(context_.stream());
  context_.driver().graph_exec_destroy(exec_);
}

void StepGraph::replay() const {
  MILLRACE_CUDA(context_.driver(), graph_launch(exec_, context_.stream()));
}

}  // namespace millrace::cuda
