// The branches of a residual block in learning, as Python calls them: the first, the second, or one after the other; forward, or all of
// their gradients.
//
// Threads take stretches of rows, which go through both branches, so that what one leaves to the other is still near; of the second branch
// alone, chunks. Backward, they then take rows of the weights' gradients. Whoever is free takes the next, as processors are not always
// equally fast; nothing depends on who does what. It knows nothing of what a branch computes, nor of gradients' bookkeeping (Python).
#include <atomic>
#include <optional>

#include "export.h"
#include "train_mixer.h"
#include "train_mlp.h"
#include "workers.h"

namespace escriba {
namespace {

class BranchesWork {
  public:
    BranchesWork(const Kernels& kernels, int threads, const Mixer* mixer, const Mlp* mlp, bool backward, unsigned char* room)
        : threads_(threads), mixer_record_(mixer), mlp_record_(mlp) {
        Room shared(room), own(nullptr);
        if (mixer) mixer_.emplace(kernels, *mixer, backward, shared);
        if (mlp) mlp_.emplace(kernels, *mlp, backward, shared);
        Bench(own, *this);
        own_size_ = own.size();
        own_ = shared.take<unsigned char>(threads * own_size_);
        size_ = shared.size();
    }
    std::int64_t room() const { return size_; }

    void forward() {
        together_with_workers(threads_, [&](const Team& team) {
            pack_weights(team);
            const Bench bench = bench_of(team);
            for (int task; (task = taken_++) < tasks();) forward(bench, task);
        });
    }

    void backward() {
        together_with_workers(threads_, [&](const Team& team) {
            pack_weights(team);
            const Bench bench = bench_of(team);
            for (int task; (task = taken_++) <= tasks();)
                if (task < tasks()) backward(bench, task);
                else zeros_beyond(bench);
            team.wait();
            const int of_mixer = mixer_ ? mixer_->weight_tasks() : 0, all = of_mixer + (mlp_ ? mlp_->weight_tasks() : 0);
            for (int task; (task = weights_taken_++) < all;)
                if (task < of_mixer) mixer_->weight_gradients(task);
                else mlp_->weight_gradients(task - of_mixer);
        });
    }

  private:
    // What one thread needs for itself; `between` is what the first branch leaves to the second, of one row, or its gradient.
    struct Bench {
        std::optional<MixerWork::Bench> mixer;
        std::optional<MlpWork::Bench> mlp;
        Half* between = nullptr;
        Bench(Room& room, const BranchesWork& work) {
            if (work.mixer_) mixer = work.mixer_->bench(room);
            if (work.mlp_) mlp = work.mlp_->bench(room);
            if (mixer && mlp) between = room.take<Half>(work.mixer_->stretch() * work.mixer_record_->width);
        }
    };
    Bench bench_of(const Team& team) const {
        Room room(own_ + team.number * own_size_);
        return Bench(room, *this);
    }
    int tasks() const { return mixer_ ? mixer_->stretches() : mlp_->chunks(); }

    void pack_weights(const Team& team) const {
        if (mixer_) mixer_->pack_weights(team);
        if (mlp_) mlp_->pack_weights(team);
        team.wait();
    }

    // A stretch of the first branch, and of the second what the first leaves; or a chunk of the second alone.
    void forward(const Bench& bench, int task) const {
        if (!mixer_) {
            const auto [stretch, first, place] = chunk_of(task);
            return mlp_->forward(*bench.mlp, stretch, first, mlp_record_->x + place, mlp_record_->branch + place);
        }
        const Mixer& a = *mixer_record_;
        const std::ptrdiff_t first = task * mixer_->stretch() * a.width;
        mixer_->forward(*bench.mixer, task, mlp_ ? bench.between : a.out + first);
        for (int at = 0; mlp_ && at < mixer_->places_of(task); at += CHUNK)
            mlp_->forward(*bench.mlp, task, at, a.sum + first + at * a.width, bench.between + at * a.width);
    }
    void backward(const Bench& bench, int task) const {
        if (!mixer_) {
            const auto [stretch, first, place] = chunk_of(task);
            return mlp_->backward(*bench.mlp, stretch, first, mlp_record_->d_x + place, mlp_record_->d_branch + place);
        }
        const Mixer& a = *mixer_record_;
        const std::ptrdiff_t first = task * mixer_->stretch() * a.width;
        for (int at = 0; mlp_ && at < mixer_->places_of(task); at += CHUNK)
            mlp_->backward(*bench.mlp, task, at, a.d_x + first + at * a.width, bench.between + at * a.width);
        mixer_->backward(*bench.mixer, task, mlp_ ? bench.between : a.d_out + first);
    }
    struct Chunk { int stretch, first; std::ptrdiff_t place; };
    Chunk chunk_of(int task) const {
        const int stretch = task / mlp_->chunks_a_stretch(), first = task % mlp_->chunks_a_stretch() * CHUNK;
        return {stretch, first, (std::ptrdiff_t(stretch) * mlp_->stretch() + first) * mlp_record_->width};
    }
    void zeros_beyond(const Bench& bench) const {
        if (mixer_) mixer_->zeros_beyond(*bench.mixer);
        if (mlp_) mlp_->zeros_beyond(*bench.mlp);
    }

    const int threads_;
    const Mixer* const mixer_record_;
    const Mlp* const mlp_record_;
    std::optional<MixerWork> mixer_;
    std::optional<MlpWork> mlp_;
    unsigned char* own_;
    std::ptrdiff_t own_size_, size_;
    std::atomic<int> taken_{0}, weights_taken_{0};
};

}  // namespace
}  // namespace escriba

using namespace escriba;

// Either record may be null. Where both are there, the first branch's `sum` is the second's x, and its `d_x`, written by the second branch
// first, is its own `d_sum`. The room is of as many bytes as `escriba_branches_room` says, at a multiple of 64.
ESCRIBA_API void escriba_branches_room(int threads, const Mixer* mixer, const Mlp* mlp, int backward, std::int64_t* bytes) {
    *bytes = BranchesWork(kernels(Level::PLAIN), threads, mixer, mlp, backward != 0, nullptr).room();
}
ESCRIBA_API void escriba_branches(int level, int threads, const Mixer* mixer, const Mlp* mlp, int backward, unsigned char* room) {
    BranchesWork work(kernels(Level(level)), threads, mixer, mlp, backward != 0, room);
    if (backward) work.backward();
    else work.forward();
}
