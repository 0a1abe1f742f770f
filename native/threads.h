// Several threads for the time of one call: they are begun, do the same function each with its number, and end with the call.
//
// Nothing outlives a call: no pool, nothing to go wrong after a fork, nothing that spins beside PyTorch. Training, which makes
// thousands of short calls, may lend the workers of PyTorch's own OpenMP instead (`Workers`). It knows nothing of what is done.
#pragma once
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace escriba {

// Where all threads of a team wait for one another: a short while turning, then giving way to others.
class Barrier {
  public:
    explicit Barrier(int size) : size_(size) {}
    void wait() {
        if (size_ == 1) return;
        const int round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int turns = 0; round_.load(std::memory_order_acquire) == round; ++turns)
            if (turns > 4096) std::this_thread::yield();
    }

  private:
    const int size_;
    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<int> round_{0};
};

struct Team {
    int number;   // of this thread, from 0
    int size;
    Barrier* barrier;
    void wait() const { barrier->wait(); }
    // this thread's share of n things, the same for the same n and size
    int from(int n) const { return int(std::ptrdiff_t(n) * number / size); }
    int to(int n) const { return int(std::ptrdiff_t(n) * (number + 1) / size); }
};

// Calls work(team) on `threads` threads at once and comes back when all are done; with fewer where no more can be had.
template <class Work>
void together(int threads, Work&& work) {
    if (threads <= 1) {
        Barrier none(1);
        work(Team{0, 1, &none});
        return;
    }
    std::atomic<int> size{0};  // told when it is known how many threads there are
    Barrier* barrier = nullptr;
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    auto body = [&](int number) {
        int n;
        while (!(n = size.load(std::memory_order_acquire))) std::this_thread::yield();
        work(Team{number, n, barrier});
    };
    try {
        for (int number = 1; number < threads; ++number) others.emplace_back(body, number);
    } catch (const std::system_error&) {
        // as many as there are
    }
    Barrier all(int(others.size()) + 1);
    barrier = &all;
    size.store(int(others.size()) + 1, std::memory_order_release);
    work(Team{0, int(others.size()) + 1, barrier});
    for (std::thread& other : others) other.join();
}

}  // namespace escriba
