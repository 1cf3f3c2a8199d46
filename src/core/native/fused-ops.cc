// The addon: registers the fused operations with the TensorFlow that the binding has loaded.
#include "fused-ops.h"

#include <node_api.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace onestep {

// ---------------------------------------------------------------------------------------------------------------------
// Threads

namespace {

// Below this many elements per thread, waking it costs more than it saves.
constexpr int64_t kLeastWork = 16384;
// How long a thread looks out for more before it sleeps: waking one costs up to a millisecond, operations follow each other
// in a tenth of that.
constexpr auto kLookout = std::chrono::microseconds(2000);

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until the condition holds, for `kLookout` at most.
template <class Condition> void lookOut(Condition holds) {
  const auto end = std::chrono::steady_clock::now() + kLookout;
  do {
    for (int i = 0; i < 64; i++) {
      if (holds()) return;
      pause();
    }
    std::this_thread::yield(); // to whoever has something to do
  } while (std::chrono::steady_clock::now() < end);
}

class Pool {
 public:
  void run(int64_t count, int threads, const std::function<void(int64_t)>& body) {
    // Another JavaScript thread is using the pool.
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) {
      for (int64_t i = 0; i < count; i++) body(i);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int>(workers_) < threads - 1) {
        const int index = workers_++;
        std::thread([this, index] { work(index); }).detach();
      }
      body_ = &body;
      count_ = count;
      next_ = 0;
      wanted_ = threads - 1;
      generation_++;
    }
    wake_.notify_all();
    take(body, count);
    // Everything is taken: who has not woken by now is not waited for.
    std::unique_lock<std::mutex> lock(mutex_);
    wanted_ = 0;
    if (running_ > 0) {
      lock.unlock();
      lookOut([this] { return running_ == 0; });
      lock.lock();
    }
    done_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void take(const std::function<void(int64_t)>& body, int64_t count) {
    for (int64_t i = next_++; i < count; i = next_++) body(i);
  }

  void work(int index) {
    uint64_t seen = 0;
    for (;;) {
      lookOut([&] { return generation_ != seen; });
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (index >= wanted_) continue;
      running_++;
      const auto* body = body_;
      const int64_t count = count_;
      lock.unlock();
      take(*body, count);
      lock.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex turn_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t)>* body_ = nullptr;
  std::atomic<int64_t> next_{0};
  int64_t count_ = 0;
  int workers_ = 0, wanted_ = 0;
  std::atomic<int> running_{0};
  std::atomic<uint64_t> generation_{0};
};

// Never destroyed: its threads wait on it when the process ends.
Pool& pool() {
  static Pool* const instance = new Pool;
  return *instance;
}

std::atomic<int> threads_{1};

}  // namespace

void setThreads(int threads) { threads_ = threads < 1 ? 1 : threads; }
int threads() { return threads_; }

void parallelFor(int64_t count, int64_t work, const std::function<void(int64_t)>& body) {
  int64_t threads = threads_;
  if (threads > count) threads = count;
  if (threads > work / kLeastWork) threads = work / kLeastWork;
  if (threads > 1) {
    pool().run(count, static_cast<int>(threads), body);
  } else {
    for (int64_t i = 0; i < count; i++) body(i);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// TensorFlow

std::vector<int64_t> Tensor::shape() const {
  std::vector<int64_t> shape(TF_NumDims(raw));
  for (size_t i = 0; i < shape.size(); i++) shape[i] = TF_Dim(raw, static_cast<int>(i));
  return shape;
}

std::string describe(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Tensor Call::input(int index) {
  Tensor tensor;
  Status status;
  TF_GetInput(context_, index, &tensor.raw, status.raw);
  expect(status.ok(), TF_Message(status.raw));
  return tensor;
}

Tensor Call::output(int index, const std::vector<int64_t>& shape) {
  Tensor tensor;
  if (!ok_) return tensor;
  int64_t size = 1;
  for (int64_t length : shape) size *= length;
  Status status;
  tensor.raw = TF_AllocateOutput(context_, index, TF_FLOAT, shape.data(), static_cast<int>(shape.size()),
                                 static_cast<size_t>(size) * sizeof(float), status.raw);
  expect(status.ok(), TF_Message(status.raw));
  return tensor;
}

bool Call::expect(bool condition, const std::string& message) {
  if (ok_ && !condition) {
    ok_ = false;
    Status status;
    TF_SetStatus(status.raw, TF_INVALID_ARGUMENT, message.c_str());
    TF_OpKernelContext_Failure(context_, status.raw);
  }
  return ok_;
}

int64_t Construction::integer(const char* name) const {
  int64_t value = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrInt64(raw, name, &value, status.raw);
  if (!status.ok()) TF_OpKernelConstruction_Failure(raw, status.raw);
  return value;
}

std::vector<int64_t> Construction::integers(const char* name) const {
  std::vector<int64_t> values;
  int32_t length = 0, unused = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrSize(raw, name, &length, &unused, status.raw);
  if (status.ok() && length > 0) {
    values.resize(static_cast<size_t>(length));
    TF_OpKernelConstruction_GetAttrInt64List(raw, name, values.data(), length, status.raw);
  }
  if (!status.ok()) TF_OpKernelConstruction_Failure(raw, status.raw);
  return values;
}

float Construction::number(const char* name) const {
  float value = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrFloat(raw, name, &value, status.raw);
  if (!status.ok()) TF_OpKernelConstruction_Failure(raw, status.raw);
  return value;
}

bool Construction::flag(const char* name) const {
  TF_Bool value = 0;
  Status status;
  TF_OpKernelConstruction_GetAttrBool(raw, name, &value, status.raw);
  if (!status.ok()) TF_OpKernelConstruction_Failure(raw, status.raw);
  return value != 0;
}

std::string registerOperation(const char* name, const std::vector<const char*>& attributes,
                              const std::vector<const char*>& inputs, const std::vector<const char*>& outputs,
                              void* (*create)(TF_OpKernelConstruction*), void (*compute)(void*, TF_OpKernelContext*),
                              void (*destroy)(void*)) {
  Status status;
  TF_OpDefinitionBuilder* builder = TF_NewOpDefinitionBuilder(name);
  for (const char* attribute : attributes) TF_OpDefinitionBuilderAddAttr(builder, attribute);
  for (const char* input : inputs) TF_OpDefinitionBuilderAddInput(builder, input);
  for (const char* output : outputs) TF_OpDefinitionBuilderAddOutput(builder, output);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, [](TF_ShapeInferenceContext* context, TF_Status* result) {
    TF_ShapeInferenceContextSetUnknownShape(context, result);
  });
  TF_RegisterOpDefinition(builder, status.raw);
  if (!status.ok()) return std::string(name) + ": " + TF_Message(status.raw);
  TF_RegisterKernelBuilder(name, TF_NewKernelBuilder(name, "CPU", create, compute, destroy), status.raw);
  return status.ok() ? "" : std::string(name) + ": " + TF_Message(status.raw);
}

}  // namespace onestep

// ---------------------------------------------------------------------------------------------------------------------
// Node

namespace {

// start(threads): registers the operations once a process; throws what went wrong.
napi_value start(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument = nullptr;
  int32_t threads = 1;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  if (count == 1 && argument) napi_get_value_int32(env, argument, &threads);
  onestep::setThreads(threads);

  static std::once_flag once;
  static std::string problem;
  std::call_once(once, [] {
    for (auto* add : {onestep::registerGroupNorm, onestep::registerResidual, onestep::registerAdam, onestep::registerBiasActivation,
                      onestep::registerDepthwise, onestep::registerMaxPool, onestep::registerGelu, onestep::registerLayerNorm, onestep::registerResample,
                      onestep::registerBatchNorm, onestep::registerWinograd, onestep::registerWinogradFilter, onestep::registerPointwise, onestep::registerAttention, onestep::registerReshape, onestep::registerFlatten, onestep::registerChannels, onestep::registerSpectralNorm, onestep::registerMovingAverage}) {
      problem = add();
      if (!problem.empty()) return;
    }
  });
  if (!problem.empty()) napi_throw_error(env, nullptr, problem.c_str());
  return nullptr;
}

napi_value initialize(napi_env env, napi_value exports) {
  napi_value function;
  napi_create_function(env, "start", NAPI_AUTO_LENGTH, start, nullptr, &function);
  napi_set_named_property(env, exports, "start", function);
  return exports;
}

}  // namespace

NAPI_MODULE(onestep_ops, initialize)
