// Calls work on the threads of an OpenMP that was found in the process, through GCC's interface, which LLVM's and Intel's offer too.
#include "workers.h"

#include <atomic>
#include <memory>

#include "export.h"

namespace escriba {
namespace {

struct Workers {
    void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);
    int (*number)();
    int (*size)();
};

std::atomic<const Workers*> lent{nullptr};

struct Job {
    const Workers& workers;
    WorkOf work;
    void* data;
    std::unique_ptr<Barrier> barrier;
    std::atomic<bool> ready{false};  // the barrier is there: only inside is known how many threads came
    std::atomic<bool> failed{false};
};

void body_of_worker(void* address) {
    Job& job = *static_cast<Job*>(address);
    const int number = job.workers.number();
    const int size = job.workers.size();
    if (number == 0) {
        try {
            job.barrier = std::make_unique<Barrier>(size);
        } catch (...) {
            job.failed.store(true, std::memory_order_relaxed);
        }
        job.ready.store(true, std::memory_order_release);
    }
    while (!job.ready.load(std::memory_order_acquire)) std::this_thread::yield();
    if (!job.failed.load(std::memory_order_relaxed)) job.work(job.data, Team{number, size, job.barrier.get()});
}

}  // namespace

bool done_by_workers(int threads, WorkOf work, void* data) {
    const Workers* workers = lent.load(std::memory_order_acquire);
    if (!workers) return false;
    Job job{*workers, work, data, nullptr};
    workers->parallel(body_of_worker, &job, unsigned(threads), 0);
    return !job.failed.load(std::memory_order_relaxed);
}

}  // namespace escriba

// GOMP_parallel, omp_get_thread_num and omp_get_num_threads of the OpenMP that lends its threads. To be called once, before training.
ESCRIBA_API void escriba_set_workers(void* parallel, void* number, void* size) {
    using namespace escriba;
    static Workers workers;
    if (lent.load(std::memory_order_acquire) || !parallel || !number || !size) return;
    workers.parallel = reinterpret_cast<decltype(workers.parallel)>(parallel);
    workers.number = reinterpret_cast<decltype(workers.number)>(number);
    workers.size = reinterpret_cast<decltype(workers.size)>(size);
    lent.store(&workers, std::memory_order_release);
}
